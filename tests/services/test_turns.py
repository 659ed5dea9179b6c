"""AgentService, the conversation: one engine behind Chat, Send and Stream, one turn at a time (R3, R6, E9)."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from services.helpers import LIMIT, Server, failure, pages, refused

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio
USER, ASSISTANT, SYSTEM = common_pb2.ROLE_USER, common_pb2.ROLE_ASSISTANT, common_pb2.ROLE_SYSTEM
COMPLETED, INTERRUPTED = agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_INTERRUPTED


async def chat(server: Server, agent_id: str, message: str = "x", **more: Any) -> agents.ChatResponse:
    return await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message=message, **more))


async def send(server: Server, agent_id: str, message: str = "x", **more: Any) -> agents.SendResponse:
    return await server.agents.Send(agents.SendRequest(agent_id=agent_id, message=message, **more))


async def interrupt(server: Server, agent_id: str, turn_id: str = "") -> agent_pb2.Turn:
    return (await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id=turn_id))).turn


async def streamed(stream: Any) -> list[event_pb2.Event]:
    async with asyncio.timeout(LIMIT):
        return [frame.event async for response in stream for frame in response.frames if frame.HasField("event")]


async def history(server: Server, agent_id: str) -> list[tuple[int, str]]:
    """Role and text of every message of the default session."""
    listed = await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))
    request = sessions.ListMessagesRequest(session_id=listed.sessions[0].id, page_size=1000)
    messages = (await server.sessions.ListMessages(request)).messages
    return [(message.role, message.content[0].text) for message in messages]


async def all_turns(server: Server, agent_id: str) -> list[agent_pb2.Turn]:
    return list((await server.agents.ListTurns(agents.ListTurnsRequest(agent_id=agent_id, page_size=1000))).turns)


# -- three ways to say it --------------------------------------------------------------


async def test_chat(server: Server) -> None:
    agent_id = await server.agent()
    said = await chat(server, agent_id, "hello there")
    assert (said.text, said.turn.state) == ("hello there", COMPLETED)
    assert said.turn.stop_reason == agent_pb2.STOP_REASON_END_TURN
    assert said.turn.reply.content[0].text == "hello there"
    assert (said.turn.step_count, said.turn.usage.total_tokens > 0) == (1, True)
    assert await history(server, agent_id) == [(USER, "hello there"), (ASSISTANT, "hello there")]


async def test_content_blocks(server: Server) -> None:
    blocks = [common_pb2.ContentBlock(text="b"), common_pb2.ContentBlock(text="c")]
    assert (await chat(server, await server.agent(), "a", content=blocks)).text == "a\nb\nc"
    assert (await chat(server, await server.agent(), "", content=blocks)).text == "b\nc"


async def test_send_returns_a_cursor_that_misses_nothing(server: Server) -> None:
    agent_id = await server.agent()
    await chat(server, agent_id, "before")
    sent = await send(server, agent_id, "now")
    request = events.SubscribeRequest(
        agent_id=agent_id, cursor=sent.cursor, turn_id=sent.turn.id, until_turn_complete=True
    )
    found = await streamed(server.events.Subscribe(request))
    listed = await server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id, turn_id=sent.turn.id))
    stored = [frame.event.sequence for frame in listed.frames]
    assert [event.sequence for event in found] == stored[: len(found)]
    assert found[-1].progress.HasField("complete")


async def test_stream(server: Server) -> None:
    agent_id = await server.agent()
    await chat(server, agent_id, "before")
    found = await streamed(server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="a b c")))
    assert "".join(event.progress.text_chunk.delta for event in found) == "a b c"
    assert {event.turn_id for event in found} == {found[0].turn_id}
    assert found[-1].progress.complete.state == COMPLETED
    sequences = [event.sequence for event in found]
    assert sequences == list(range(sequences[0], sequences[0] + len(found)))


async def test_stream_of_one_channel(server: Server) -> None:
    request = agents.StreamRequest(agent_id=await server.agent(), message="x", channels=[common_pb2.CHANNEL_MONITOR])
    found = await streamed(server.agents.Stream(request))
    kinds = {event.event_type for event in found}
    assert "progress.text_chunk" not in kinds
    # The end ends the stream whatever was asked for.
    assert {kind for kind in kinds if not kind.startswith("monitor.")} <= {"progress.complete"}
    assert "monitor.model_call" in kinds


# -- once --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["echo", "slow"])
async def test_fifty_equal_requests(server: Server, model: str) -> None:
    """E9: one effect, also while the first still runs, and one answer to all."""
    slow = server.script("slow", "- - pause: 0.2\n  - text: done\n")
    agent_id = await server.agent(slow if model == "slow" else "echo")
    chats = await asyncio.gather(*(chat(server, agent_id, request_id=f"chat {model}") for _ in range(50)))
    assert len({each.turn.id for each in chats}) == 1
    assert len({each.SerializeToString(deterministic=True) for each in chats}) == 1
    sends = await asyncio.gather(*(send(server, agent_id, request_id=f"send {model}") for _ in range(50)))
    assert len({each.turn.id for each in sends}) == 1
    await server.ended(agent_id, sends[0].turn.id)
    assert len(await all_turns(server, agent_id)) == 2
    assert len(await history(server, agent_id)) == 4


async def test_repeated_stream_shows_the_turn_again(server: Server) -> None:
    agent_id = await server.agent(server.script("slow", "- - pause: 0.2\n  - text: done\n"))
    request = agents.StreamRequest(agent_id=agent_id, message="x", request_id="stream twice")
    both = await asyncio.gather(*(streamed(server.agents.Stream(request)) for _ in range(3)))
    later = await streamed(server.agents.Stream(request))
    assert {event.turn_id for found in (*both, later) for event in found} == {later[0].turn_id}
    for found in both:
        assert [event.sequence for event in found] == [event.sequence for event in later]
    assert len(await all_turns(server, agent_id)) == 1


async def test_repeated_answer_of_a_failed_turn(server: Server) -> None:
    agent_id = await server.agent(server.script("fails", "- - fail: auth\n"))
    turn_ids = set()
    for _ in range(3):
        call = chat(server, agent_id, request_id="fails always")
        refusal = await refused(call, "FAILED_PRECONDITION", "PROVIDER_AUTH", "PreconditionFailure")
        turn_ids.add(refusal.metadata["turn_id"])
    assert len(turn_ids) == 1


# -- one after another --------------------------------------------------------------------


async def test_32_callers_at_once(server: Server) -> None:
    """R3: first come, first served, and no message of another turn in between."""
    agent_id = await server.agent()
    answers = await asyncio.gather(*(chat(server, agent_id, f"message {n}") for n in range(32)))
    assert [answer.text for answer in answers] == [f"message {n}" for n in range(32)]
    texts = await history(server, agent_id)
    assert [role for role, _ in texts] == [USER, ASSISTANT] * 32
    for (_, asked), (_, answered) in zip(texts[::2], texts[1::2], strict=True):
        assert asked == answered
    accepted = sorted(answers, key=lambda answer: answer.turn.create_time.ToNanoseconds())
    assert [answer.text for answer in accepted] == [text for role, text in texts if role == USER]


async def test_several_sessions_share_the_line(server: Server) -> None:
    agent_id = await server.agent()
    opened = [
        (await server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id))).session.id
        for _ in range(3)
    ]
    said = [(session, f"{session} {n}") for n in range(4) for session in opened]
    await asyncio.gather(*(chat(server, agent_id, text, session_id=session) for session, text in said))
    for session in opened:
        listed = await server.sessions.ListMessages(sessions.ListMessagesRequest(session_id=session))
        assert len(listed.messages) == 8
        assert all(message.content[0].text.startswith(session) for message in listed.messages)


# -- going away -------------------------------------------------------------------------

LEAVE = ["cancel", "deadline"]


def begin(server: Server, kind: str, agent_id: str, timeout: float | None = None, **more: Any) -> Any:
    request = {"Chat": agents.ChatRequest, "Stream": agents.StreamRequest}[kind]
    return getattr(server.agents, kind)(request(agent_id=agent_id, message="x", **more), timeout=timeout)


async def leave(server: Server, kind: str, how: str, agent_id: str, **more: Any) -> str:
    """A caller that begins a turn and goes; the turn's id."""
    call = begin(server, kind, agent_id, 0.3 if how == "deadline" else None, **more)
    watcher = asyncio.ensure_future(failure(call)) if how == "deadline" else None
    if kind == "Stream" and watcher is None:
        await call.read()
    turn_id = (await server.seen(agent_id, "progress.text_chunk")).turn_id
    if watcher is None:
        call.cancel()
    else:
        assert (await watcher).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return turn_id


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("kind", ["Chat", "Stream"])
async def test_leaving_interrupts(server: Server, kind: str, how: str) -> None:
    agent_id = await server.agent(server.script("stuck", "- - text: begun\n  - pause: 50\n"))
    turn = await server.ended(agent_id, await leave(server, kind, how, agent_id))
    assert (turn.state, turn.stop_reason) == (INTERRUPTED, agent_pb2.STOP_REASON_INTERRUPTED)
    assert (await history(server, agent_id))[-1] == (ASSISTANT, "begun")  # what was said is kept


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("kind", ["Chat", "Stream"])
async def test_leaving_with_continue(server: Server, kind: str, how: str) -> None:
    agent_id = await server.agent(server.script("goes-on", "- - text: begun\n  - pause: 0.5\n  - text: end\n"))
    policy = agent_pb2.DISCONNECT_POLICY_CONTINUE
    turn = await server.ended(agent_id, await leave(server, kind, how, agent_id, disconnect_policy=policy))
    assert turn.state == COMPLETED


async def test_leaving_the_queue(server: Server) -> None:
    """A caller that still waits for its turn takes only its own turn away."""
    agent_id, first = await server.stuck()
    call = begin(server, "Chat", agent_id)
    while len(turns := await all_turns(server, agent_id)) < 2:
        await asyncio.sleep(0)
    call.cancel()
    turn = await server.ended(agent_id, turns[0].id)
    assert (turn.state, turn.step_count) == (INTERRUPTED, 0)
    assert (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.turn_id == first


async def test_no_turn_is_left_behind(server: Server) -> None:
    """Whenever a caller goes, its turn is none or comes to an end; the agent works on."""
    agent_id = await server.agent()
    calls = [begin(server, kind, agent_id) for _ in range(30) for kind in ("Chat", "Stream")]
    calls += [server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x")) for _ in range(30)]
    for number, call in enumerate(calls):
        if number % 7 == 0:
            await asyncio.sleep(0.001)
        call.cancel()
    assert (await chat(server, agent_id, "still there")).text == "still there"
    for turn in await all_turns(server, agent_id):
        await server.ended(agent_id, turn.id)


async def test_a_subscriber_leaves_nothing(server: Server) -> None:
    agent_id = await server.agent(server.script("goes-on", "- - text: begun\n  - pause: 0.5\n  - text: end\n"))
    sent = await send(server, agent_id)
    watching = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id, cursor=sent.cursor))
    await watching.read()
    watching.cancel()
    assert (await server.ended(agent_id, sent.turn.id)).state == COMPLETED


# -- interrupting -------------------------------------------------------------------------


async def test_interrupt_running_then_ended(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    async with asyncio.timeout(1):  # R6: the terminal event within a second
        first = await interrupt(server, agent_id, turn_id)
    assert first.state == INTERRUPTED
    assert await interrupt(server, agent_id, turn_id) == first  # OK again, and nothing changes
    listed = await server.events.ListEvents(
        events.ListEventsRequest(agent_id=agent_id, event_types=["progress.complete"])
    )
    assert len(listed.frames) == 1


async def test_interrupt_a_queued_turn(server: Server) -> None:
    agent_id, running = await server.stuck()
    queued = [(await send(server, agent_id, f"q{n}")).turn.id for n in range(3)]
    turn = await interrupt(server, agent_id, queued[1])
    assert (turn.state, turn.step_count) == (INTERRUPTED, 0)
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert (status.turn_id, status.queued_turn_count) == (running, 2)
    for turn_id in (running, queued[0], queued[2]):
        await interrupt(server, agent_id, turn_id)
    assert [text for role, text in await history(server, agent_id) if role == USER][:1] == ["go"]


async def test_interrupt_a_waiting_turn(server: Server) -> None:
    """Its open request is withdrawn, and its call answered (R4)."""
    agent_id, event = await server.asking()
    turn = await interrupt(server, agent_id)
    assert turn.state == INTERRUPTED
    assert not turn.pending_ids
    resolved = (await server.seen(agent_id, "control.request_resolved")).control.request_resolved
    assert (resolved.pending_id, resolved.outcome) == (event.id, event_pb2.RESOLUTION_OUTCOME_WITHDRAWN)
    assert (await chat(server, agent_id, "and now?")).turn.state == COMPLETED


async def test_interrupt_at_once(server: Server) -> None:
    """Right behind Send, before the turn has done anything."""
    agent_id = await server.agent("flood:100000@0")
    sent = [await send(server, agent_id) for _ in range(3)]
    turns = await asyncio.gather(*(interrupt(server, agent_id, each.turn.id) for each in sent))
    assert [turn.state for turn in turns] == [INTERRUPTED] * 3


# -- system messages ------------------------------------------------------------------------


async def system(server: Server, agent_id: str, text: str = "note", **more: Any) -> str:
    request = agents.SendSystemMessageRequest(agent_id=agent_id, text=text, **more)
    return (await server.agents.SendSystemMessage(request)).message_id


async def test_system_message_starts_no_turn(server: Server) -> None:
    agent_id = await server.agent()
    message_id = await system(server, agent_id)
    assert message_id.startswith("msg_")
    assert await history(server, agent_id) == [(SYSTEM, "note")]
    assert await all_turns(server, agent_id) == []
    assert (await chat(server, agent_id)).text == "x"


async def test_system_message_once(server: Server) -> None:
    agent_id = await server.agent()
    ids = await asyncio.gather(*(system(server, agent_id, request_id="note once") for _ in range(50)))
    assert len(set(ids)) == 1
    await chat(server, agent_id)
    assert await history(server, agent_id) == [(SYSTEM, "note"), (USER, "x"), (ASSISTANT, "x")]
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert status.message_count == 3
    request = sessions.ListSessionsRequest(agent_id=agent_id)
    assert (await server.sessions.ListSessions(request)).sessions[0].message_count == 3


async def test_refused_system_message_leaves_nothing(server: Server) -> None:
    agent_id = await server.agent()
    await system(server, agent_id, request_id="reused")
    other = system(server, agent_id, "another", request_id="reused")
    await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert status.message_count == 1


# -- reading turns ---------------------------------------------------------------------------


async def test_list_turns_over_three_pages(server: Server) -> None:
    agent_id = await server.agent()
    session = (await server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id))).session.id
    made = [(await chat(server, agent_id)).turn.id for _ in range(4)]
    apart = (await chat(server, agent_id, session_id=session)).turn.id
    found = await pages(server.agents.ListTurns, agents.ListTurnsRequest(agent_id=agent_id, page_size=2), "turns")
    assert [[turn.id for turn in page] for page in found] == [[apart, made[3]], [made[2], made[1]], [made[0]]]
    assert not any(turn.HasField("reply") for page in found for turn in page)
    only = await pages(server.agents.ListTurns, agents.ListTurnsRequest(agent_id=agent_id, session_id=session), "turns")
    assert [turn.id for turn in only[0]] == [apart]


async def test_get_turn(server: Server) -> None:
    agent_id = await server.agent()
    said = await chat(server, agent_id)
    request = agents.GetTurnRequest(agent_id=agent_id, turn_id=said.turn.id)
    assert (await server.agents.GetTurn(request)).turn == said.turn


async def test_trace_id_of_the_caller(server: Server) -> None:
    agent_id = await server.agent()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01"),)
    said = agents.SendRequest(agent_id=agent_id, message="x")
    await server.agents.Send(said, metadata=metadata)
    assert (await server.seen(agent_id, "progress.complete")).trace_id == trace


async def test_an_error_in_a_turn_is_a_status(server: Server) -> None:
    agent_id = await server.agent(server.script("fails", "- - fail: auth\n"))
    sent = await send(server, agent_id)
    turn = await server.ended(agent_id, sent.turn.id)
    info = error_details_pb2.ErrorInfo()
    assert turn.error.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("aster", "PROVIDER_AUTH")
