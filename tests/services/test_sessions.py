"""SessionService: conversations and their messages."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from services.helpers import Server, pages, refused, serving

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import common_pb2
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio


async def create(server: Server, agent_id: str, **more: Any) -> sessions.Session:
    request = sessions.CreateSessionRequest(agent_id=agent_id, **more)
    return (await server.sessions.CreateSession(request)).session


async def chat(server: Server, agent_id: str, session_id: str, message: str = "x") -> None:
    await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, session_id=session_id, message=message))


async def test_create_and_get(server: Server) -> None:
    agent_id = await server.agent()
    made = await create(server, agent_id, title="T", metadata={"k": "v"})
    assert made.id.startswith("ses_")
    assert (made.agent_id, made.title, made.status, made.metadata["k"]) == (agent_id, "T", "active", "v")
    assert (await server.sessions.GetSession(sessions.GetSessionRequest(session_id=made.id))).session == made
    named = await create(server, agent_id, session_id="my-own")
    assert named.id == "my-own"


async def test_created_once(server: Server) -> None:
    agent_id = await server.agent()
    made = await asyncio.gather(*(create(server, agent_id, request_id="session once") for _ in range(50)))
    assert len({session.id for session in made}) == 1
    listed = await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))
    assert listed.total_size == 2  # with the default one


async def test_a_session_counts(server: Server) -> None:
    agent_id = await server.agent()
    made = await create(server, agent_id)
    await chat(server, agent_id, made.id)
    after = (await server.sessions.GetSession(sessions.GetSessionRequest(session_id=made.id))).session
    assert (after.message_count, after.input_tokens > 0, after.output_tokens > 0) == (2, True, True)
    assert after.update_time.ToNanoseconds() > made.update_time.ToNanoseconds()


async def test_sessions_keep_apart(server: Server) -> None:
    agent_id = await server.agent()
    one, other = await create(server, agent_id), await create(server, agent_id)
    await chat(server, agent_id, one.id, "secret")
    await chat(server, agent_id, other.id, "public")
    listed = await server.sessions.ListMessages(sessions.ListMessagesRequest(session_id=other.id))
    assert [message.content[0].text for message in listed.messages] == ["public", "public"]


async def test_list_over_three_pages(tmp_path: Path) -> None:
    """Last used first, with a total; skip leaves out the first ones."""
    async with serving(tmp_path) as server:
        agent_id, other = await server.agent(), await server.agent()
        ids = [(await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))).sessions[0].id]
        ids += [(await create(server, agent_id)).id for _ in range(4)]
        await chat(server, agent_id, ids[2])
        wanted = [ids[2], ids[4], ids[3], ids[1], ids[0]]
        request = sessions.ListSessionsRequest(agent_id=agent_id, page_size=2)
        found = await pages(server.sessions.ListSessions, request, "sessions")
        assert [[session.id for session in page] for page in found] == [wanted[:2], wanted[2:4], wanted[4:]]
        skipped = await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id, skip=3))
        assert ([session.id for session in skipped.sessions], skipped.total_size) == (wanted[3:], 5)
        everybody = await server.sessions.ListSessions(sessions.ListSessionsRequest())
        assert everybody.total_size == 6
        assert {session.agent_id for session in everybody.sessions} == {agent_id, other}


async def test_messages_over_three_pages(server: Server) -> None:
    agent_id = await server.agent()
    made = await create(server, agent_id)
    for text in "abc":
        await chat(server, agent_id, made.id, text)
    request = sessions.ListMessagesRequest(session_id=made.id, page_size=2)
    found = await pages(server.sessions.ListMessages, request, "messages")
    assert [[message.content[0].text for message in page] for page in found] == [["a"] * 2, ["b"] * 2, ["c"] * 2]
    first = found[0][0]
    assert first.role == common_pb2.ROLE_USER
    assert first.turn_id
    assert first.HasField("create_time")
    assert len({message.id for page in found for message in page}) == 6


async def test_delete(server: Server) -> None:
    agent_id = await server.agent()
    made = await create(server, agent_id, session_id="to-go")
    await chat(server, agent_id, made.id, "old")
    await server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=made.id))
    for gone in (
        server.sessions.GetSession(sessions.GetSessionRequest(session_id=made.id)),
        server.sessions.ListMessages(sessions.ListMessagesRequest(session_id=made.id)),
        server.agents.Send(agents.SendRequest(agent_id=agent_id, session_id=made.id, message="x")),
    ):
        await refused(gone, "NOT_FOUND", "SESSION_NOT_FOUND", "ResourceInfo")
    again = await create(server, agent_id, session_id="to-go")
    await chat(server, agent_id, again.id, "new")
    listed = await server.sessions.ListMessages(sessions.ListMessagesRequest(session_id=again.id))
    assert [message.content[0].text for message in listed.messages] == ["new", "new"]


async def test_delete_while_it_is_used(server: Server) -> None:
    agent_id, _ = await server.stuck()
    made = await create(server, agent_id)
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, session_id=made.id, message="x"))
    used = server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=made.id))
    await refused(used, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")
