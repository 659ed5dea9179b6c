"""ForkSession: what is copied, where the copy ends, and once for each request_id."""

import asyncio
import json
from typing import Any

import pytest
from services.helpers import Server, refused
from services.test_sessions import chat

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import common_pb2
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio
TOOLS = """
- - text: I look.
  - tool: {name: Ls, input: {}, id: c1}
- - text: Done.
"""


async def fork(server: Server, session_id: str, **more: Any) -> sessions.Session:
    request = sessions.ForkSessionRequest(session_id=session_id, **more)
    return (await server.sessions.ForkSession(request)).session


async def messages(server: Server, session_id: str) -> list[common_pb2.Message]:
    request = sessions.ListMessagesRequest(session_id=session_id, page_size=1000)
    return list((await server.sessions.ListMessages(request)).messages)


async def told(server: Server, model: str = "echo", *said: str, **config: Any) -> tuple[str, str]:
    """An agent to whom this was said: its id and that of its session."""
    agent_id = await server.agent(model, **config)
    turn = None
    for text in said:
        turn = (await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message=text))).turn
    assert turn is not None
    return agent_id, turn.session_id


async def test_a_fork_begins_with_all_of_it_and_goes_its_own_way(server: Server) -> None:
    agent_id, source = await told(server, "echo", "one", "two")
    made = await fork(server, source, title="other")
    assert (made.agent_id, made.parent_session_id, made.title, made.message_count) == (agent_id, source, "other", 4)
    assert await messages(server, made.id) == await messages(server, source)
    await chat(server, agent_id, made.id, "three")
    assert len(await messages(server, source)) == 4
    now = (await server.sessions.GetSession(sessions.GetSessionRequest(session_id=made.id))).session
    assert now.message_count == 6
    # The old one can go: the copy is its own.
    again = await fork(server, made.id, new_session_id="third")
    await server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=made.id))
    assert len(await messages(server, again.id)) == 6


async def test_the_model_sees_what_was_copied(server: Server) -> None:
    model = server.script("remembers", "- - text: ok\n")
    agent_id, source = await told(server, model, "I am Ann")
    made = await fork(server, source)
    request = agents.ChatRequest(agent_id=agent_id, session_id=made.id, message="who am I")
    alone = agents.ChatRequest(agent_id=await server.agent(model), message="who am I")
    grown = (await server.agents.Chat(request)).turn.usage.input_tokens
    assert grown > (await server.agents.Chat(alone)).turn.usage.input_tokens


async def test_up_to_a_message(server: Server) -> None:
    _, source = await told(server, "echo", "one", "two")
    all_of_it = await messages(server, source)
    for place, message in enumerate(all_of_it):
        made = await fork(server, source, message_id=message.id)
        assert await messages(server, made.id) == all_of_it[: place + 1]
        assert made.message_count == place + 1


async def test_a_call_is_copied_only_with_its_results(server: Server) -> None:
    model = server.script("looks", TOOLS)
    _, source = await told(server, model, "go", tools=["Ls"])
    asked, called, results, done = await messages(server, source)
    lengths = {}
    for message in (asked, called, results, done):
        lengths[message.id] = (await fork(server, source, message_id=message.id)).message_count
    assert list(lengths.values()) == [1, 1, 3, 4]


async def test_while_a_tool_runs_the_copy_ends_before_it(server: Server) -> None:
    agent_id, _ = await server.asking()
    turn_id = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.turn_id
    turn = (await server.agents.GetTurn(agents.GetTurnRequest(agent_id=agent_id, turn_id=turn_id))).turn
    made = await fork(server, turn.session_id)
    assert [message.role for message in await messages(server, made.id)] == [common_pb2.ROLE_USER]
    # And a turn of the copy waits behind that of its origin, and then sees a valid history.
    await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id=turn_id))
    await chat(server, agent_id, made.id, "hello")


async def test_what_middlewares_keep_for_the_session_comes_along(server: Server) -> None:
    model = server.script("keeps", "- - tool: {name: update_working_memory, input: {memory: I am Ann}}\n- - text: ok\n")
    _, source = await told(server, model, "go", middlewares=["working_memory"], permission_mode=3)
    made = await fork(server, source)
    key = (await server.store.session("default", made.id) or (0, None))[0]
    assert json.loads((await server.store.notes(key, made.id))["working_memory"]) == "I am Ann"


async def test_forked_once_for_each_request_id(server: Server) -> None:
    _, source = await told(server, "echo", "one")
    made = await asyncio.gather(*(fork(server, source, request_id="fork once") for _ in range(20)))
    assert len({session.id for session in made}) == 1
    await refused(
        server.sessions.ForkSession(sessions.ForkSessionRequest(session_id=source, title="x", request_id="fork once")),
        "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo",
    )  # fmt: skip


async def test_refusals(server: Server) -> None:
    agent_id, source = await told(server, "echo", "one")
    _, other = await told(server, "echo", "two")
    theirs = (await messages(server, other))[0].id
    request = sessions.ForkSessionRequest

    async def says(code: str, reason: str, *kinds: str, **fields: str) -> None:
        await refused(server.sessions.ForkSession(request(**fields)), code, reason, *kinds)

    await says("NOT_FOUND", "SESSION_NOT_FOUND", "ResourceInfo", session_id="nobody")
    await says("NOT_FOUND", "MESSAGE_NOT_FOUND", "ResourceInfo", session_id=source, message_id=theirs)
    await says("ALREADY_EXISTS", "SESSION_ALREADY_EXISTS", "ResourceInfo", session_id=source, new_session_id=other)
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))
    await says("FAILED_PRECONDITION", "AGENT_CLOSED", "PreconditionFailure", session_id=source)
