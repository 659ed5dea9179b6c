"""Guarantees, part 4: the rows that depend on what is there, and on what state it is in."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from services.helpers import (
    LIMIT,
    Server,
    call,
    config_of,
    decoded,
    failure,
    filled,
    methods,
    no_leak,
    refused,
    serving,
)

from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import server_service_pb2 as info
from aster.v1 import session_service_pb2 as sessions
from asteros.events.subscription import Subscription
from asteros.services.agents import AgentsServicer

pytestmark = pytest.mark.anyio
ALLOW, DENY = control.DECISION_ALLOW, control.DECISION_DENY


# -- cursors and page tokens -------------------------------------------------------


async def talked(server: Server, times: int = 3) -> tuple[str, list[str]]:
    """An agent with a log, and the cursors of its events."""
    agent_id = await server.agent()
    for _ in range(times):
        await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="hi"))
    listed = await server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id))
    return agent_id, [frame.cursor for frame in listed.frames]


def readers(server: Server, agent_id: str, cursor: str) -> list[Any]:
    """All that take a cursor."""
    one = {"agent_id": agent_id, "cursor": cursor}
    return [
        server.events.Subscribe(events.SubscribeRequest(**one)),
        server.events.SubscribeControl(events.SubscribeControlRequest(**one)),
        server.events.ListEvents(events.ListEventsRequest(**one)),
    ]


async def test_cursor_that_nobody_made(server: Server) -> None:
    agent_id, cursors = await talked(server)
    other_id, _ = await talked(server, 1)
    good = cursors[1]
    swapped = good[:-1] + ("A" if good[-1] != "A" else "B")
    for forged in (
        "x",
        "A" * 36,
        "é" * 36,
        "x" * 60_000,
        swapped,
        good[:10] + good[11:] + "A",
        good.lower(),
        good + " ",
    ):
        for reader in readers(server, agent_id, forged):
            await refused(reader, "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest")
    for reader in readers(server, other_id, good):
        await refused(reader, "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest")


async def test_cursor_of_another_server(server: Server, tmp_path: Path) -> None:
    agent_id, _ = await talked(server, 1)
    async with serving(tmp_path) as elsewhere:
        _, cursors = await talked(elsewhere, 1)
    for reader in readers(server, agent_id, cursors[0]):
        await refused(reader, "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest")


async def test_cursor_of_a_deleted_agent(server: Server) -> None:
    """The same id is another log now: never old events, never wrong ones (etcd #20221)."""
    agent_id, cursors = await talked(server, 1)
    await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id))
    await server.agent(agent_id=agent_id)
    for reader in readers(server, agent_id, cursors[0]):
        refusal = await refused(reader, "OUT_OF_RANGE", "EVENT_LOG_RESET")
        assert refusal.metadata["log_epoch"]


async def test_resume_below_the_floor(server: Server) -> None:
    agent_id, cursors = await talked(server)
    row = await server.registry.row("default", agent_id)
    oldest = await server.store.trim(row.key, 0, 1)
    assert oldest > 2
    for reader in readers(server, agent_id, cursors[0]):
        refusal = await refused(reader, "OUT_OF_RANGE", "EVENT_CURSOR_EXPIRED")
        facts = {"requested": "1", "oldest": str(oldest), "latest": str(row.latest_sequence)}
        assert refusal.metadata == facts
    for request in ({"after_sequence": oldest - 2}, {"after_sequence": 1}):
        for method in (
            server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id, **request)),
            server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id, **request)),
        ):
            await refused(method, "OUT_OF_RANGE", "EVENT_CURSOR_EXPIRED")
    # At the limit: the last lost event is a place to go on after.
    whole = await server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id, after_sequence=oldest - 1))
    assert whole.frames[0].event.sequence == oldest


async def test_resume_above_the_head(server: Server) -> None:
    agent_id, cursors = await talked(server, 1)
    latest = len(cursors)
    for wrong in (latest + 1, (1 << 63) - 1):
        for reader in (
            server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id, after_sequence=wrong)),
            server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id, after_sequence=wrong)),
        ):
            refusal = await refused(reader, "OUT_OF_RANGE", "EVENT_CURSOR_AHEAD")
            assert refusal.metadata == {"requested": str(wrong), "oldest": "1", "latest": str(latest)}


async def test_page_tokens(server: Server) -> None:
    """Bound to the request that made them, its page size excepted."""
    for _ in range(3):
        await server.agent()
    first = await server.agents.ListAgents(agents.ListAgentsRequest(page_size=1))
    token = first.next_page_token
    assert (await server.agents.ListAgents(agents.ListAgentsRequest(page_size=2, page_token=token))).agents
    wrong: list[Any] = [
        server.agents.ListAgents(agents.ListAgentsRequest(page_token=token, id_prefix="a")),
        server.agents.ListAgents(agents.ListAgentsRequest(page_token=token, labels={"a": "b"})),
        server.sessions.ListSessions(sessions.ListSessionsRequest(page_token=token)),
        server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(page_token=token)),
        server.events.ListEvents(events.ListEventsRequest(page_token=token)),
    ]
    for forged in ("x", "é", "AAAA", "=", token[:-4], token + "AAAA", "\x00", "A" * 50_000):
        wrong.append(server.agents.ListAgents(agents.ListAgentsRequest(page_token=forged)))
    for each in wrong:
        refusal = await refused(each, "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest")
        assert refusal.fields == ["page_token"]


# -- not there, and there already ----------------------------------------------------


async def test_not_found(server: Server) -> None:
    agent_id = await server.agent()
    other = await server.agent()
    session = (await server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=other))).session.id
    decide = {"agent_id": agent_id, "pending_id": "p", "decision": ALLOW}
    rows = [
        ("AGENT", server.agents.GetAgent(agents.GetAgentRequest(agent_id="nobody"))),
        ("AGENT", server.agents.Chat(agents.ChatRequest(agent_id="nobody", message="x"))),
        ("AGENT", server.agents.Stream(agents.StreamRequest(agent_id="nobody", message="x"))),
        ("AGENT", server.events.Subscribe(events.SubscribeRequest(agent_ids=[agent_id, "nobody"]))),
        ("AGENT", server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(agent_id="nobody"))),
        ("SESSION", server.sessions.GetSession(sessions.GetSessionRequest(session_id="nothing"))),
        ("SESSION", server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id="nothing"))),
        ("SESSION", server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", session_id="nothing"))),
        # A session of another agent is as good as none.
        ("SESSION", server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", session_id=session))),
        ("TURN", server.agents.GetTurn(agents.GetTurnRequest(agent_id=agent_id, turn_id="nothing"))),
        ("TURN", server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id="nothing"))),
        ("TOOL_CALL", server.control.GetToolCall(control.GetToolCallRequest(agent_id=agent_id, call_id="c"))),
        ("PENDING_REQUEST", server.control.ApproveToolCall(control.ApproveToolCallRequest(**decide))),
        ("PENDING_REQUEST", server.control.RespondToIterationLimit(control.RespondToIterationLimitRequest(**decide))),
        (
            "PENDING_REQUEST",
            server.control.RespondToInputRequest(
                control.RespondToInputRequestRequest(agent_id=agent_id, pending_id="p", text="x")
            ),
        ),
        ("TEMPLATE", server.agents.CreateAgent(agents.CreateAgentRequest(config={"template_id": "nothing"}))),
        ("TOOL", server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of(tools=["Nothing"])))),
    ]
    for kind, asked in rows:
        refusal = await refused(asked, "NOT_FOUND", f"{kind}_NOT_FOUND", "ResourceInfo")
        assert refusal.details["ResourceInfo"].resource_name


async def test_a_request_of_another_kind(server: Server) -> None:
    """An approval is not to be answered as a question."""
    agent_id, event = await server.asking()
    one = {"agent_id": agent_id, "pending_id": event.id}
    wrong = [
        server.control.RespondToInputRequest(control.RespondToInputRequestRequest(**one, text="x")),
        server.control.RespondToIterationLimit(control.RespondToIterationLimitRequest(**one, decision=ALLOW)),
    ]
    for each in wrong:
        await refused(each, "NOT_FOUND", "PENDING_REQUEST_NOT_FOUND", "ResourceInfo")


async def test_already_exists(server: Server) -> None:
    agent_id = await server.agent(agent_id="taken")
    again = server.agents.CreateAgent(agents.CreateAgentRequest(agent_id=agent_id, config=config_of()))
    refusal = await refused(again, "ALREADY_EXISTS", "AGENT_ALREADY_EXISTS", "ResourceInfo")
    assert "agent already exists: taken" in refusal.text
    request = sessions.CreateSessionRequest(agent_id=agent_id, session_id="mine")
    await server.sessions.CreateSession(request)
    for owner in (agent_id, await server.agent()):
        request.agent_id = owner
        await refused(
            server.sessions.CreateSession(request), "ALREADY_EXISTS", "SESSION_ALREADY_EXISTS", "ResourceInfo"
        )


async def test_request_id_of_another_request(server: Server) -> None:
    agent_id = await server.agent()
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", request_id="once"))
    others = [
        server.agents.Send(agents.SendRequest(agent_id=agent_id, message="y", request_id="once")),
        server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x", request_id="once")),
        server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="x", request_id="once")),
        server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of(), request_id="once")),
        server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id, request_id="once")),
        server.agents.SendSystemMessage(
            agents.SendSystemMessageRequest(agent_id=agent_id, text="x", request_id="once")
        ),
    ]
    for other in others:
        await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")


# -- states ----------------------------------------------------------------------


async def test_busy_agent(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    one = {"agent_id": agent_id, "message": "x", "busy_policy": agent_pb2.BUSY_POLICY_REJECT}
    for busy in (
        server.agents.Send(agents.SendRequest(**one)),
        server.agents.Chat(agents.ChatRequest(**one)),
        server.agents.Stream(agents.StreamRequest(**one)),
    ):
        refusal = await refused(busy, "ABORTED", "AGENT_BUSY", "RetryInfo")
        assert refusal.metadata == {"agent_id": agent_id, "turn_id": turn_id}
    delete = server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id))
    await refused(delete, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")


async def test_closed_agent(server: Server) -> None:
    agent_id = await server.agent()
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))
    said = {"agent_id": agent_id, "message": "x"}
    for closed in (
        server.agents.Send(agents.SendRequest(**said)),
        server.agents.Chat(agents.ChatRequest(**said)),
        server.agents.Stream(agents.StreamRequest(**said)),
        server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id)),
        server.agents.SendSystemMessage(agents.SendSystemMessageRequest(agent_id=agent_id, text="x")),
        server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id)),
    ):
        await refused(closed, "FAILED_PRECONDITION", "AGENT_CLOSED", "PreconditionFailure")


async def test_wrong_state(server: Server) -> None:
    agent_id, _ = await server.stuck()
    idle = await server.agent()
    default = (await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))).sessions[0].id
    for wrong in (
        server.agents.Interrupt(agents.InterruptRequest(agent_id=idle)),
        server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=default)),
    ):
        await refused(wrong, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")


async def test_etag(server: Server) -> None:
    agent_id = await server.agent()
    changed = agent_pb2.Agent(id=agent_id, display_name="x", etag="another")
    for wrong in (
        server.agents.UpdateAgent(agents.UpdateAgentRequest(agent=changed)),
        server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id, etag="another")),
    ):
        await refused(wrong, "ABORTED", "ETAG_MISMATCH", "RetryInfo")


async def test_decided_before(server: Server) -> None:
    agent_id, event = await server.asking()
    one = {"agent_id": agent_id, "pending_id": event.id}
    stale = control.ApproveToolCallRequest(**one, decision=ALLOW, input_digest="0" * 64)
    await refused(server.control.ApproveToolCall(stale), "FAILED_PRECONDITION", "APPROVAL_STALE", "PreconditionFailure")
    await server.control.ApproveToolCall(control.ApproveToolCallRequest(**one, decision=DENY))
    contrary = server.control.ApproveToolCall(control.ApproveToolCallRequest(**one, decision=ALLOW))
    refusal = await refused(contrary, "FAILED_PRECONDITION", "REQUEST_ALREADY_RESOLVED", "PreconditionFailure")
    assert refusal.metadata["decided_by"] == "local"
    assert refusal.metadata["resolve_time"].startswith("20")
    assert refusal.metadata["outcome"] == "DENIED"


async def test_four_eyes(server: Server) -> None:
    """The same person started the turn: refused whatever is decided; a denial would be a decision too."""
    agent_id, event = await server.asking(four_eyes=True)
    for decision in (ALLOW, DENY):
        request = control.ApproveToolCallRequest(agent_id=agent_id, pending_id=event.id, decision=decision)
        await refused(server.control.ApproveToolCall(request), "PERMISSION_DENIED", "FOUR_EYES_REQUIRED")


# -- limits ----------------------------------------------------------------------


async def test_full_turn_queue(server: Server) -> None:
    """100 wait behind the one in progress; the next is refused."""
    agent_id, _ = await server.stuck()
    said = agents.SendRequest(agent_id=agent_id, message="x")
    await asyncio.gather(*(_send(server, said) for _ in range(100)))
    refusal = await refused(server.agents.Send(said), "RESOURCE_EXHAUSTED", "RATE_LIMITED", "QuotaFailure", "RetryInfo")
    assert refusal.details["RetryInfo"].retry_delay.seconds > 0
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert status.queued_turn_count == 100
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))


async def _send(server: Server, request: agents.SendRequest) -> agents.SendResponse:
    return await server.agents.Send(request)


async def test_agent_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, max_agents=2) as full:
        first = await full.agent()
        await full.agent()
        create = agents.CreateAgentRequest(config=config_of())
        refusal = await refused(
            full.agents.CreateAgent(create), "RESOURCE_EXHAUSTED", "AGENT_LIMIT_REACHED", "QuotaFailure", "RetryInfo"
        )
        assert "cosmos is full (max 2 agents)" in refusal.text
        await full.agents.CloseAgent(agents.CloseAgentRequest(agent_id=first))
        await full.agents.CreateAgent(create)  # closed ones do not count


# -- going away --------------------------------------------------------------------


async def test_deadline_and_cancel(server: Server) -> None:
    said = agents.ChatRequest(agent_id=await server.agent(server.script("long", "- - pause: 50\n")), message="x")
    assert (await failure(server.agents.Chat(said, timeout=0.2))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await failure(server.agents.Stream(_stream(said), timeout=0.2))).code() is (
        grpc.StatusCode.DEADLINE_EXCEEDED
    )
    begun = server.agents.Chat(said)
    await server.seen(said.agent_id, "monitor.state_changed")
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    assert await begun.code() is grpc.StatusCode.CANCELLED


def _stream(said: agents.ChatRequest) -> agents.StreamRequest:
    return agents.StreamRequest(agent_id=said.agent_id, message=said.message)


async def test_draining(tmp_path: Path) -> None:
    """New work is refused and streams end with their cursor, while the turn at work may end."""
    async with serving(tmp_path, drain_seconds=10) as server:
        agent_id, turn_id = await server.stuck()
        latest = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.latest_sequence
        stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id, after_sequence=latest))
        await stream.read()
        stopping = asyncio.create_task(server.house.stop())
        refusal = await refused(stream, "UNAVAILABLE", "DRAINING", "RetryInfo")
        cursor = refusal.metadata["cursor"]
        for new in (
            server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x")),
            server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x")),
            server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="x")),
            server.events.Subscribe(events.SubscribeRequest(cursor=cursor)),
        ):
            await refused(new, "UNAVAILABLE", "DRAINING", "RetryInfo")
        await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id=turn_id))
        await stopping


# -- anything else -------------------------------------------------------------------


class Secret(Exception):
    """What must stay inside."""


HIDDEN = [
    Secret("db password=hunter2 /tmp/aster.db"),
    KeyError("hunter2"),
    RecursionError("hunter2"),
    OSError(2, "hunter2", "/work/hunter2"),
    ExceptionGroup("hunter2", [ValueError("hunter2")]),
    TimeoutError("hunter2"),
    StopAsyncIteration("hunter2"),
]


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda error: type(error).__name__)
async def test_what_nobody_foresaw(server: Server, monkeypatch: pytest.MonkeyPatch, hidden: Exception) -> None:
    """M8: of a foreign exception nothing leaves but the call's id."""

    async def broken(*_: Any) -> Any:
        raise hidden

    agent_id = await server.agent()
    monkeypatch.setattr(server.registry, "row", broken)
    for failing in (
        server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id)),
        server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id)),
        server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id)),
    ):
        await _internal(failing)


async def test_failure_in_the_middle_of_a_stream(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_id = await server.agent()
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()

    async def broken(_: Any) -> Any:
        raise Secret("hunter2")

    monkeypatch.setattr(Subscription, "next", broken)
    await server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id))
    await _internal(stream)


async def _internal(failing: Any) -> None:
    refusal = await refused(failing, "INTERNAL", "INTERNAL")
    assert (refusal.text, refusal.metadata) == ("internal error", {})
    assert "hunter2" not in str(refusal)


async def test_the_log_knows_the_call(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """RequestInfo is what a caller can tell us, and what the log is searched for."""

    async def broken(*_: Any) -> Any:
        raise Secret("the real cause")

    monkeypatch.setattr(AgentsServicer, "_view", broken)
    failing = server.agents.GetStatus(agents.GetStatusRequest(agent_id=await server.agent()))
    refusal = await refused(failing, "INTERNAL", "INTERNAL")
    record = next(each for each in caplog.records if refusal.details["RequestInfo"].request_id in each.getMessage())
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Secret)


# -- what is not built -----------------------------------------------------------------


async def test_not_available(server: Server) -> None:
    """Every method without a servicer says so, with the name that GetServerInfo lists."""
    agent_id = await server.agent()
    features = set()
    for method in methods():
        try:
            answer = call(server.channel, method, filled(method.input_type, agent_id))
            async with asyncio.timeout(LIMIT):
                await (answer.read() if method.server_streaming else answer)
        except grpc.aio.AioRpcError as error:
            refusal = decoded(error)
            if refusal.code is grpc.StatusCode.UNIMPLEMENTED:
                assert (refusal.info.reason, list(refusal.metadata)) == ("NOT_AVAILABLE", ["feature"])
                features.add(refusal.metadata["feature"])
        answer.cancel()
    told = (await server.info.GetServerInfo(info.GetServerInfoRequest())).server.unavailable_features
    assert features == {feature for feature in told if not feature.startswith("middleware.")}
    assert "stars" in features


async def test_the_guard_sees_unknown(unknown: list[str]) -> None:
    """Planted: without our interceptors grpc.aio leaks, and the guard of this suite notices."""

    async def leaks(_request: bytes, _context: Any) -> bytes:
        raise RuntimeError("hunter2")

    bare = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(leaks)
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = await failure(channel.unary_unary("/s/m")(b""))
    await bare.stop(None)
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert len(unknown) == 1
    unknown.clear()
    with pytest.raises(AssertionError):
        no_leak(f"Unexpected {RuntimeError}")
