"""A store that takes nothing for a while: callers are told, nothing is half done, work goes on after."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from events.fakes import settled
from events.helpers import as_event
from runtime.helpers import ASK_ALWAYS, World, call, check_events, check_history, kinds, of, shape

from aster.v1 import agent_pb2
from asteros import clock, errors
from asteros.runtime.lifecycle import CLOSED, STARTED
from asteros.stores.base import AddRequest, Outcome, Sealer, Unit

pytestmark = pytest.mark.anyio

TEXT = "text_chunk text_done model_call token_usage step_complete complete state_changed"


class Disk:
    """Stands before a store's commits; the groups that ``full`` picks are refused."""

    def __init__(self, world: World) -> None:
        self._commit = world.store.commit
        self.full: Callable[[str], bool] = lambda kinds: False
        self.refused = 0
        world.store.commit = self  # type: ignore[method-assign, assignment]

    async def __call__(self, units: Sequence[Unit], seal: Sealer) -> list[Outcome]:
        if self.full(kinds([as_event(event) for unit in units for event in unit.events])):
            self.refused += 1
            raise errors.StorageFull()
        return await self._commit(units, seal)

    def once(self, kind: str) -> None:
        """Refuses the next group with an event of this kind."""
        before = self.refused
        self.full = lambda names: kind in names.split() and self.refused == before


@pytest.fixture
def disk(world: World, monkeypatch: pytest.MonkeyPatch) -> Disk:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.001 if seconds else 0)

    monkeypatch.setattr(clock, "sleep", sleep)
    return Disk(world)


async def _well(world: World, turns: int) -> None:
    """What must hold in the end: everything stored is whole, and memory agrees with it."""
    row = await world.store.agent("default", "a1")
    assert row is not None
    agent = await world.awake(row.key)
    check_events(await world.events(agent))
    messages = await world.messages(agent)
    check_history(messages)
    assert await world.store.unfinished_turns(row.key) == []
    assert len(await world.store.turns(row.key, "", "", 99)) == turns
    found = await world.store.session("default", row.default_session_id)
    assert found is not None
    assert found[1].message_count == len(messages) == row.status.message_count
    assert row.status.state == agent.lifecycle.status.state == STARTED


async def test_a_turn_that_could_not_be_accepted_never_was(world: World, disk: Disk) -> None:
    agent = await world.agent(["ok"])
    disk.full = lambda names: True
    for _ in range(2):
        with pytest.raises(errors.StorageFull):
            await world.say(agent, "lost")
    await settled(200)
    disk.full = lambda names: False
    await settled(200)
    turn = await world.turn(agent, "kept")
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert kinds(await world.events(agent)) == "state_changed state_changed " + TEXT
    assert shape(await world.messages(agent)) == "u a"
    await _well(world, 1)


async def test_a_request_refused_at_the_door_starts_nothing(world: World, disk: Disk) -> None:
    """Another agent took the request id at the same moment."""
    one, two = await world.agent(["ok"]), await world.agent(["ok"], agent_id="a2")
    same = [world.say(agent, request=AddRequest("r1", agent.ref.id.encode(), "")) for agent in (one, two)]
    first, second = await asyncio.gather(*same, return_exceptions=True)
    assert isinstance(second, errors.RequestIdReused)
    await world.ended(one, first)
    await settled(100)
    assert await world.events(two) == []
    assert await world.store.turns(two.ref.key, "", "", 9) == []
    assert (await world.turn(two)).state == agent_pb2.TURN_STATE_COMPLETED
    check_events(await world.events(two))


@pytest.mark.parametrize("kind", ["text_chunk", "tool_start", "tool_end", "step_complete", "tool_approval_request"])
async def test_a_turn_whose_events_cannot_be_stored_fails_and_is_whole(world: World, disk: Disk, kind: str) -> None:
    ask = kind == "tool_approval_request"
    agent = await world.agent(
        [call("plain", "c1"), call("held_read", "c2")] if kind != "text_chunk" else ["one", {"pause": 0.1}, "two"],
        ["ok"],
        **({"permission_mode": ASK_ALWAYS} if ask else {}),
    )
    world.box.hold.set()
    disk.once(kind)
    turn = await world.turn(agent)
    assert disk.refused
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert b"STORAGE_FULL" in turn.error.SerializeToString()
    await _well(world, 1)
    world.script(["better"], name="a1")
    assert (await world.turn(agent)).state == agent_pb2.TURN_STATE_COMPLETED
    await _well(world, 2)


async def test_the_end_of_a_turn_waits_for_room(world: World, disk: Disk) -> None:
    agent = await world.agent(["ok"])
    disk.full = lambda names: "complete" in names.split() and disk.refused < 5
    turn = await world.turn(agent)
    assert disk.refused == 5
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert len(of(await world.events(agent), "complete")) == 1
    await _well(world, 1)


async def test_a_queued_turn_begins_when_there_is_room(world: World, disk: Disk) -> None:
    agent = await world.agent([call("held")], ["ok"])
    first = await world.say(agent)
    await world.seen(agent, "tool_progress")
    second = await world.say(agent)
    world.box.hold.set()
    disk.full = lambda names: names == "state_changed" and disk.refused < 3
    for accepted in (first, second):
        assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_COMPLETED
    assert disk.refused == 3
    assert kinds(await world.events(agent, second.turn.id)).startswith("state_changed")
    await _well(world, 2)


async def test_a_system_message_that_was_not_stored_is_not_remembered(world: World, disk: Disk) -> None:
    agent = await world.agent(["ok"])
    disk.full = lambda names: True
    with pytest.raises(errors.StorageFull):
        await agent.conversations.system_message("lost", "", None)
    disk.full = lambda names: False
    await world.turn(agent)
    assert shape(await world.messages(agent)) == "u a"
    await _well(world, 1)


async def test_a_decision_that_was_not_stored_can_be_taken_again(world: World, disk: Disk) -> None:
    agent = await world.agent([call("plain", "c1")], ["ok"], permission_mode=ASK_ALWAYS)
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    disk.once("request_resolved")
    with pytest.raises(errors.StorageFull):
        await world.approve(agent, asked.pending_id)
    assert world.box.did == []
    await world.approve(agent, asked.pending_id)
    assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_COMPLETED
    await _well(world, 1)


async def test_a_close_that_was_not_stored_has_not_happened(world: World, disk: Disk) -> None:
    agent = await world.agent(["ok"])
    await world.turn(agent)
    disk.full = lambda names: True
    with pytest.raises(errors.StorageFull):
        await agent.close()
    disk.full = lambda names: False
    assert (await world.turn(agent)).state == agent_pb2.TURN_STATE_COMPLETED
    await _well(world, 2)
    await agent.close()
    row = await world.store.agent("default", "a1")
    assert row is not None
    assert row.status.state == CLOSED
