"""Agents come into memory and leave it; nobody outside can tell, and nothing is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from services.helpers import LIMIT, Server, failure, serving

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions
from asteros import clock, errors
from asteros.cosmos import registry as cosmos
from asteros.cosmos.locks import KeyLocks
from asteros.cosmos.registry import Limits

pytestmark = pytest.mark.anyio
STOPPED = agent_pb2.AGENT_STATE_STOPPED


@pytest.fixture
async def server(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        yield running


async def chat(server: Server, agent_id: str) -> agents.ChatResponse:
    return await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x"))


async def key_of(server: Server, agent_id: str) -> int:
    return (await server.registry.row("default", agent_id)).key


async def states(server: Server, agent_id: str) -> list[str]:
    request = events.ListEventsRequest(agent_id=agent_id, event_types=["monitor.state_changed"])
    changes = [frame.event.monitor.state_changed for frame in (await server.events.ListEvents(request)).frames]
    names = [agent_pb2.AgentState.Name(change.state).removeprefix("AGENT_STATE_") for change in changes]
    return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]


async def state(server: Server, agent_id: str) -> int:
    return (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.state


async def round_of_eviction(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at who is idle, now."""
    monkeypatch.setattr(cosmos, "EVICTION_INTERVAL", 0)
    await server.registry._evict_idle()
    monkeypatch.undo()


# -- eviction --------------------------------------------------------------------------


async def test_idle_agents_leave_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background work does it, and a subscriber sees it."""
    monkeypatch.setattr(cosmos, "EVICTION_INTERVAL", 0.01)
    async with serving(tmp_path, idle_seconds=0.05) as server:
        agent_id = await server.agent()
        await chat(server, agent_id)
        request = events.SubscribeRequest(
            agent_id=agent_id,
            event_types=["monitor.state_changed"],
            position=events.START_POSITION_EARLIEST,
        )
        seen: list[int] = []
        async with asyncio.timeout(LIMIT):
            stream = server.events.Subscribe(request)
            while not seen or seen[-1] != STOPPED:
                frames = (await stream.read()).frames
                seen += [f.event.monitor.state_changed.state for f in frames if f.HasField("event")]
            stream.cancel()
        assert server.registry.awake_count == 0


async def test_evicted_agents_wake(server: Server) -> None:
    agent_id = await server.agent()
    before = await chat(server, agent_id)
    assert await server.registry.evict(await key_of(server, agent_id))
    assert server.registry.awake_count == 0
    assert await state(server, agent_id) == STOPPED
    after = await chat(server, agent_id)
    assert after.turn.session_id == before.turn.session_id
    assert await states(server, agent_id) == [
        "STARTED", "RUNNING", "STARTED", "STOPPED", "STARTED", "RUNNING", "STARTED"
    ]  # fmt: skip
    request = sessions.ListMessagesRequest(session_id=after.turn.session_id)
    assert len((await server.sessions.ListMessages(request)).messages) == 4
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert (status.message_count, status.step_count) == (4, 2)


async def test_events_have_no_seam(server: Server) -> None:
    """A stream that stays open across eviction and waking: dense, in order."""
    agent_id = await server.agent()
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()
    for _ in range(3):
        await chat(server, agent_id)
        await server.registry.evict(await key_of(server, agent_id))
    latest = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.latest_sequence
    found: list[int] = []
    async with asyncio.timeout(LIMIT):
        while not found or found[-1] < latest:
            found += [frame.event.sequence for frame in (await stream.read()).frames]
    stream.cancel()
    assert found == list(range(1, latest + 1))


async def test_never_under_a_turn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a running nor a waiting one, nor under a caller."""
    server.registry.limits = Limits(max_awake=1, idle_seconds=0.0)
    running, _ = await server.stuck()
    waiting, event = await server.asking()
    for agent_id in (running, waiting):
        assert not await server.registry.evict(await key_of(server, agent_id))
    await round_of_eviction(server, monkeypatch)
    assert server.registry.awake_count == 2
    held = await server.agent()
    async with server.registry.agent("default", held):
        assert not await server.registry.evict(await key_of(server, held))
    assert await server.registry.evict(await key_of(server, held))
    approve = control.ApproveToolCallRequest(agent_id=waiting, pending_id=event.id, decision=control.DECISION_ALLOW)
    await server.control.ApproveToolCall(approve)
    assert (await server.ended(waiting, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED


async def test_one_that_never_started_stays_created(server: Server) -> None:
    agent_id = await server.agent()
    await server.agents.SendSystemMessage(agents.SendSystemMessageRequest(agent_id=agent_id, text="x"))
    assert await server.registry.evict(await key_of(server, agent_id))
    assert await state(server, agent_id) == agent_pb2.AGENT_STATE_CREATED
    assert await server.registry.evict(await key_of(server, agent_id))  # not in memory: nothing to do


async def test_most_awake(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones used last stay."""
    made = [await server.agent() for _ in range(5)]
    for agent_id in made:
        await chat(server, agent_id)
    server.registry.limits = Limits(max_awake=2)
    await round_of_eviction(server, monkeypatch)
    awake = {agent.ref.id for agent in server.registry._awake.values()}
    assert awake == set(made[3:])
    assert [(await chat(server, agent_id)).text for agent_id in made] == ["x"] * 5


# -- one agent at a time ------------------------------------------------------------------


def acquired(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every taking of an agent from the store, which is slow here."""
    taken: list[int] = []
    acquire = server.store.acquire

    async def slow(key: int) -> Any:
        taken.append(key)
        for _ in range(5):
            await asyncio.sleep(0)
        return await acquire(key)

    monkeypatch.setattr(server.store, "acquire", slow)
    return taken


async def hold(server: Server, agent_id: str) -> Any:
    async with server.registry.agent("default", agent_id) as agent:
        return agent


async def waiting(server: Server, key: int, count: int) -> None:
    """Until somebody holds the lock of an agent, and so many wait for it."""
    async with asyncio.timeout(LIMIT):
        while (found := server.registry._locks._locks.get(key)) is None or len(found[1]) != count + 1:
            await asyncio.sleep(0)


async def test_concurrent_waking(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = acquired(server, monkeypatch)
    agent_id = await server.agent()
    found = await asyncio.gather(*(hold(server, agent_id) for _ in range(50)))
    assert len({id(agent) for agent in found}) == len(taken) == 1


async def test_waking_while_it_is_evicted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for the eviction, another comes right after it: they find the same agent."""
    agent_id = await server.agent()
    await chat(server, agent_id)
    key = await key_of(server, agent_id)
    taken, go = acquired(server, monkeypatch), asyncio.Event()
    agent = server.registry._awake[key]
    stop = agent.stop

    async def slow_stop() -> None:
        await go.wait()
        await stop()

    monkeypatch.setattr(agent, "stop", slow_stop)
    evicting = asyncio.create_task(server.registry.evict(key))
    await waiting(server, key, 0)
    first = asyncio.create_task(hold(server, agent_id))
    await waiting(server, key, 1)
    go.set()
    assert await evicting
    later = [asyncio.create_task(hold(server, agent_id)) for _ in range(3)]
    found = await asyncio.gather(first, *later)
    assert len({id(each) for each in found}) == len(taken) == 1
    assert found[0] is not agent


async def test_waking_while_it_is_deleted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is not found, and the next agent of that name is not the old one."""
    agent_id = await server.agent()
    await chat(server, agent_id)
    key = await key_of(server, agent_id)
    delete, reached, go = server.store.delete_agent, asyncio.Event(), asyncio.Event()

    async def slow(key: int) -> None:
        reached.set()
        await go.wait()
        await delete(key)

    monkeypatch.setattr(server.store, "delete_agent", slow)
    deleting = asyncio.create_task(server.registry.delete("default", agent_id, "", force=False))
    await reached.wait()
    waking = asyncio.create_task(hold(server, agent_id))
    await waiting(server, key, 1)
    go.set()
    await deleting
    with pytest.raises(errors.AgentNotFound):
        await waking
    await server.agent(agent_id=agent_id)
    assert (await chat(server, agent_id)).text == "x"


async def test_locks_are_let_go() -> None:
    """One for each agent would be a leak; one too few would be two agents."""
    locks, inside, most = KeyLocks(), 0, 0

    async def work(key: int) -> None:
        nonlocal inside, most
        async with locks(key):
            inside += key == 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= key == 1

    await asyncio.gather(*(work(1) for _ in range(20)), *(work(n) for n in range(2, 20)))
    with contextlib.suppress(TimeoutError):  # a waiter that gives up leaves nothing either
        async with locks(1), asyncio.timeout(0):
            await work(1)
    assert most == 1
    assert locks._locks == {}


# -- expiry ------------------------------------------------------------------------------


async def test_expiry_wakes_and_counts_as_denied(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_id, event = await server.asking(approval_timeout={"seconds": 3600})
    later = clock.now() + 3601 * clock.NANOS
    monkeypatch.setattr(clock, "now", lambda: later)
    resolved = await server.seen(agent_id, "control.request_resolved")
    assert resolved.control.request_resolved.outcome == event_pb2.RESOLUTION_OUTCOME_EXPIRED
    assert (await server.ended(agent_id, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED


async def test_one_that_cannot_be_expired_does_not_hold_up_others(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill, _ = await server.asking(approval_timeout={"seconds": 3600})
    well, event = await server.asking(approval_timeout={"seconds": 3601})

    async def fails(_: str) -> None:
        raise errors.LeaseLost

    monkeypatch.setattr(server.registry._awake[await key_of(server, ill)].approvals, "expire", fails)
    later = clock.now() + 3700 * clock.NANOS
    monkeypatch.setattr(clock, "now", lambda: later)
    await server.seen(well, "control.request_resolved")
    assert (await server.ended(well, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED


# -- restart -------------------------------------------------------------------------------


async def test_restart_takes_up_what_was_not_finished(tmp_path: Path) -> None:
    """The turn in progress, those behind it, and a waiting one with the same request."""
    async with serving(tmp_path) as server:
        agent_id, turn_id = await server.stuck()
        queued = await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="next"))
        waiting, event = await server.asking()
        server.script("stuck", "- - text: done\n")
    async with serving(tmp_path) as server:
        for each in (turn_id, queued.turn.id):  # woken without being asked
            assert (await server.ended(agent_id, each)).state == agent_pb2.TURN_STATE_COMPLETED
        assert (await server.seen(agent_id, "monitor.agent_resumed")).turn_id == turn_id
        found = await server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(agent_id=waiting))
        assert [pending.id for pending in found.pending] == [event.id]
        approve = control.ApproveToolCallRequest(agent_id=waiting, pending_id=event.id, decision=control.DECISION_ALLOW)
        await server.control.ApproveToolCall(approve)
        assert (await server.ended(waiting, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED
        request = sessions.ListMessagesRequest(session_id=queued.turn.session_id)
        roles = [message.role for message in (await server.sessions.ListMessages(request)).messages]
        assert roles.count(common_pb2.ROLE_USER) == 2


async def test_restart_stops_who_was_started(tmp_path: Path) -> None:
    """Nothing is in memory after a start, and the log says so; a closed agent stays closed."""
    async with serving(tmp_path) as server:
        started, closed = await server.agent(), await server.agent()
        await chat(server, started)
        await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=closed))
    async with serving(tmp_path) as server:
        assert await state(server, started) == STOPPED
        assert await states(server, started) == ["STARTED", "RUNNING", "STARTED", "STOPPED"]
        assert await states(server, closed) == ["CLOSED"]
        assert await state(server, closed) == agent_pb2.AGENT_STATE_CLOSED
        assert server.registry.awake_count == 0
        assert (await chat(server, started)).text == "x"
        assert (await failure(chat(server, closed))).code().name == "FAILED_PRECONDITION"
