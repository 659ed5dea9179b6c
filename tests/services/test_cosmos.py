"""CosmosService: counters, the list of what is registered, watching it, and many agents at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from services.helpers import LIMIT, STUCK, Server, config_of, pages, refused, serving

from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import cosmos_service_pb2 as pb
from asteros.cosmos import resources as watching

pytestmark = pytest.mark.anyio
SNAPSHOT, REGISTERED, UPDATED, UNREGISTERED, BOOKMARK = range(1, 6)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server of its own: everything on it is counted."""
    async with serving(tmp_path) as running:
        yield running


class Watch:
    """A watch that is read change by change."""

    def __init__(self, server: Server, **fields: Any) -> None:
        self._call = server.cosmos.WatchResources(pb.WatchResourcesRequest(**fields))
        self._left: list[pb.ResourceChange] = []

    async def take(self, count: int) -> list[pb.ResourceChange]:
        """The next changes; waits for them."""
        async with asyncio.timeout(LIMIT):
            while len(self._left) < count:
                self._left += (await self._call.read()).changes
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    async def until_bookmark(self) -> list[pb.ResourceChange]:
        """What comes before the next bookmark, and that."""
        found = await self.take(1)
        while found[-1].kind != BOOKMARK:
            found += await self.take(1)
        return found

    def close(self) -> None:
        self._call.cancel()


def told(changes: Sequence[pb.ResourceChange]) -> list[tuple[int, str]]:
    return [(change.kind, change.resource.id) for change in changes]


async def cosmos(server: Server) -> pb.Cosmos:
    return (await server.cosmos.GetCosmos(pb.GetCosmosRequest())).cosmos


async def delete(server: Server, agent_id: str) -> None:
    await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id))


# -- counters and lists ------------------------------------------------------------


async def test_counters(tmp_path: Path) -> None:
    async with serving(tmp_path, max_agents=10, max_awake_agents=7) as server:
        await server.agent(agent_id="idle")
        await server.stuck(template_id="chat")
        await server.asking()
        failing = await server.agent(server.script("fails", "- - fail: auth\n"))
        turn = (await server.agents.Send(agents.SendRequest(agent_id=failing, message="x"))).turn
        await server.ended(failing, turn.id)
        closed = await server.agent()
        await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=closed))
        async with asyncio.timeout(LIMIT):
            while (found := await cosmos(server)).subscription_count:  # the streams that waited are being closed
                await asyncio.sleep(0)
        assert found == pb.Cosmos(
            agent_count=4,
            max_agents=10,
            awake_agent_count=4,
            max_awake_agents=7,
            working_agent_count=2,
            failed_agent_count=1,
            pending_count=1,
        )


async def test_a_full_cosmos(tmp_path: Path) -> None:
    async with serving(tmp_path, max_agents=1) as server:
        closed = await server.agent()
        refusal = await refused(
            server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of())),
            "RESOURCE_EXHAUSTED", "AGENT_LIMIT_REACHED", "QuotaFailure", "RetryInfo",
        )  # fmt: skip
        assert refusal.text == "cosmos is full (max 1 agents)"
        await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=closed))
        await server.agent()


async def test_resources_in_pages(server: Server) -> None:
    for name in ("b", "c", "a"):
        await server.agents.CreateAgent(
            agents.CreateAgentRequest(
                agent_id=name, display_name=name.upper() if name != "c" else "", config=config_of()
            )
        )
    listed = await pages(server.cosmos.ListResources, pb.ListResourcesRequest(page_size=2), "resources")
    assert [[(one.id, one.display_name) for one in page] for page in listed] == [
        [("a", "A"), ("b", "B")],
        [("c", "c")],
    ]
    stored = (await server.agents.GetAgent(agents.GetAgentRequest(agent_id="a"))).agent
    assert listed[0][0].register_time == stored.create_time
    stars = pb.ListResourcesRequest(kinds=[pb.RESOURCE_KIND_STAR])
    assert not (await server.cosmos.ListResources(stars)).resources


# -- watching --------------------------------------------------------------------------


async def test_a_snapshot_then_every_change(server: Server) -> None:
    await server.agent(agent_id="a1")
    watch = Watch(server)
    first = await watch.until_bookmark()
    assert told(first) == [(SNAPSHOT, "a1"), (BOOKMARK, "")]
    assert [bool(change.cursor) for change in first] == [False, True]
    await server.agent(agent_id="a2")
    renamed = agent_pb2.Agent(id="a2", display_name="Two")
    await server.agents.UpdateAgent(agents.UpdateAgentRequest(agent=renamed))
    await delete(server, "a1")
    found = await watch.take(3)
    assert told(found) == [(REGISTERED, "a2"), (UPDATED, "a2"), (UNREGISTERED, "a1")]
    assert found[1].resource.display_name == "Two"
    watch.close()


async def test_every_cursor_resumes_exactly(server: Server) -> None:
    watch = Watch(server)
    cursors = [(await watch.take(1))[0].cursor]
    for name in ("a", "b", "c"):
        await server.agent(agent_id=name)
    cursors += [change.cursor for change in await watch.take(3)]
    for skipped, cursor in enumerate(cursors[:-1]):
        again = Watch(server, cursor=cursor)
        assert [change.resource.id for change in await again.take(3 - skipped)] == ["a", "b", "c"][skipped:]
        again.close()
    newest = Watch(server, cursor=cursors[-1])
    await server.agent(agent_id="d")
    assert told(await newest.take(1)) == [(REGISTERED, "d")]
    assert told(await watch.take(1)) == [(REGISTERED, "d")]
    newest.close()
    watch.close()


async def test_only_some_kinds(server: Server) -> None:
    await server.agent()
    watch = Watch(server, kinds=[pb.RESOURCE_KIND_STAR])
    assert told(await watch.until_bookmark()) == [(BOOKMARK, "")]
    watch.close()


async def test_a_bookmark_passes_what_is_hidden(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK", 0.05)
    stars, everything = Watch(server, kinds=[pb.RESOURCE_KIND_STAR]), Watch(server)
    before = (await stars.take(1))[0].cursor
    await everything.until_bookmark()
    await server.agent(agent_id="a1")
    seen = next(change.cursor for change in await everything.take(2) if change.kind == REGISTERED)
    async with asyncio.timeout(LIMIT):
        while (bookmark := (await stars.take(1))[0]).cursor == before:
            pass
    assert (bookmark.kind, bookmark.cursor) == (BOOKMARK, seen)
    stars.close()
    everything.close()


async def test_what_nobody_rang_for_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.registry.resources, "ring", lambda: None)
    watch = Watch(server)
    await watch.take(1)
    await server.agent(agent_id="a1")
    assert told(await watch.take(1)) == [(REGISTERED, "a1")]
    watch.close()


async def test_who_is_behind_reads_from_the_store(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(server)
    start = (await watch.take(1))[0].cursor
    server.registry.resources._recent = type(server.registry.resources._recent)(maxlen=4)
    monkeypatch.setattr(watching, "RECENT", 4)
    names = [f"a{number}" for number in range(10)]
    for name in names:
        await server.agent(agent_id=name)
    assert [change.resource.id for change in await watch.take(10)] == names
    late = Watch(server, cursor=start)
    assert [change.resource.id for change in await late.take(10)] == names
    late.close()
    watch.close()


async def test_a_hundred_watchers_see_the_same(server: Server) -> None:
    watches = [Watch(server) for _ in range(100)]
    for watch in watches:
        await watch.until_bookmark()
    names = [f"a{number:02}" for number in range(20)]
    await asyncio.gather(*(server.agent(agent_id=name) for name in names))
    first = await watches[0].take(len(names))
    assert sorted(change.resource.id for change in first) == names
    for watch in watches[1:]:
        assert await watch.take(len(names)) == first
    for watch in watches:
        watch.close()
    async with asyncio.timeout(LIMIT):
        while server.registry.resources._watchers:
            await asyncio.sleep(0.01)
    assert server.registry.resources._follower is None


async def test_cursors_that_are_none(server: Server) -> None:
    watch = Watch(server)
    cursor = (await watch.take(1))[0].cursor
    watch.close()
    forged = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    for bad in ("x", "é", cursor[:-1], forged):
        await refused(
            server.cosmos.WatchResources(pb.WatchResourcesRequest(cursor=bad)),
            "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest",
        )  # fmt: skip
    other = server.registry.resources.cursor("other", 0)
    await refused(
        server.cosmos.WatchResources(pb.WatchResourcesRequest(cursor=other)),
        "INVALID_ARGUMENT", "INVALID_CURSOR", "BadRequest",
    )  # fmt: skip
    ahead = server.registry.resources.cursor("default", 5)
    refusal = await refused(
        server.cosmos.WatchResources(pb.WatchResourcesRequest(cursor=ahead)), "OUT_OF_RANGE", "EVENT_CURSOR_AHEAD"
    )
    assert refusal.metadata == {"requested": "5", "oldest": "0", "latest": "0"}


async def test_a_cursor_outlives_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        watch = Watch(server)
        cursor = (await watch.take(1))[0].cursor
        await server.agent(agent_id="a1")
        await watch.take(1)
        server.registry.resources.drain()
        refusal = await refused(watch._call, "UNAVAILABLE", "DRAINING", "RetryInfo")
        assert refusal.metadata["cursor"] != cursor
    async with serving(tmp_path) as server:
        again = Watch(server, cursor=cursor)
        assert told(await again.take(1)) == [(REGISTERED, "a1")]
        again.close()


# -- eviction ------------------------------------------------------------------------------


async def test_evict(server: Server) -> None:
    agent_id = await server.agent()
    assert (await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x"))).text == "x"
    for _ in range(2):  # OK when it is not in memory
        found = (await server.cosmos.EvictAgent(pb.EvictAgentRequest(agent_id=agent_id))).agent
        assert (found.status.state, server.registry.awake_count) == (agent_pb2.AGENT_STATE_STOPPED, 0)
    assert (await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="y"))).text == "y"


async def test_never_under_a_turn(server: Server) -> None:
    agent_id, _ = await server.stuck()
    evict = server.cosmos.EvictAgent(pb.EvictAgentRequest(agent_id=agent_id))
    await refused(evict, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")
    unknown = server.cosmos.EvictAgent(pb.EvictAgentRequest(agent_id="nobody"))
    await refused(unknown, "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")


# -- many at once ------------------------------------------------------------------------------


async def for_each(server: Server, action: int, **only: Any) -> list[pb.AgentActionResult]:
    request = pb.ForEachAgentRequest(action=action, **only)  # type: ignore[arg-type]
    async with asyncio.timeout(LIMIT):
        return [result async for response in server.cosmos.ForEachAgent(request) for result in response.results]


async def states(server: Server) -> dict[str, int]:
    listed = await server.agents.ListAgents(agents.ListAgentsRequest())
    return {agent.id: agent.status.state for agent in listed.agents}


async def test_for_each(server: Server) -> None:
    names = [f"a{number}" for number in range(5)]
    for name in (*names, "b"):
        await server.agent(agent_id=name)
    started, stopped, closed = (
        agent_pb2.AGENT_STATE_STARTED, agent_pb2.AGENT_STATE_STOPPED, agent_pb2.AGENT_STATE_CLOSED
    )  # fmt: skip
    for action, state in (
        (pb.AGENT_ACTION_START, started),
        (pb.AGENT_ACTION_EVICT, stopped),
        (pb.AGENT_ACTION_CLOSE, closed),
    ):
        results = await for_each(server, action, id_prefix="a", max_concurrency=2)
        assert sorted(result.agent_id for result in results) == names
        assert not any(result.HasField("error") for result in results)
        assert await states(server) == {**dict.fromkeys(names, state), "b": agent_pb2.AGENT_STATE_CREATED}
    await for_each(server, pb.AGENT_ACTION_DELETE, states=[closed])
    assert list(await states(server)) == ["b"]


async def test_for_each_interrupts_what_runs(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    idle = await server.agent()
    results = await for_each(server, pb.AGENT_ACTION_INTERRUPT)
    assert sorted(result.agent_id for result in results) == sorted([agent_id, idle])
    assert (await server.ended(agent_id, turn_id)).state == agent_pb2.TURN_STATE_INTERRUPTED


async def test_for_each_goes_on_or_stops_at_a_failure(server: Server) -> None:
    await server.agent(server.script("stuck", STUCK), agent_id="a1")
    await server.agents.Send(agents.SendRequest(agent_id="a1", message="go"))
    await server.agent(agent_id="a2")
    results = {result.agent_id: result.error for result in await for_each(server, pb.AGENT_ACTION_EVICT)}
    assert (results["a1"].code, results["a2"].code) == (9, 0)
    request = pb.ForEachAgentRequest(action=pb.AGENT_ACTION_EVICT, stop_on_error=True, max_concurrency=1)
    refusal = await refused(
        server.cosmos.ForEachAgent(request), "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure"
    )
    assert refusal.metadata["agent_id"] == "a1"


@pytest.mark.parametrize("fields", [{}, {"action": 1, "max_concurrency": -1}])
async def test_for_each_of_what(server: Server, fields: dict[str, Any]) -> None:
    call = server.cosmos.ForEachAgent(pb.ForEachAgentRequest(**fields))
    await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
