"""Guarantees, part 4: cursors and page tokens that nobody made, or that are out of range."""

from pathlib import Path
from typing import Any

import pytest
from services.helpers import (
    Server,
    refused,
    serving,
)

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio


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
