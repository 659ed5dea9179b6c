"""The log: what is in line together is one commit, in order, and no failure is lost."""

import asyncio

import pytest
from events.fakes import MemoryStore, settled
from events.helpers import House, frames, message, numbers, text

from aster.v1 import agent_pb2
from asteros import errors, failpoints
from asteros.events.catalogue import Stamp
from asteros.events.frames import events
from asteros.events.log import MAX_GROUP_EVENTS, MAX_SEGMENT_EVENTS, ROOM, Written
from asteros.runtime.journal import Journal
from asteros.stores.base import AgentRef, PutStatus, Scope

pytestmark = pytest.mark.anyio


class Gate:
    """Holds a store's work back until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> None:
        await self.open.wait()


@pytest.fixture
async def gate(house: House) -> Gate:
    gate = house.store.nap = Gate()
    return gate


def _post(house: House, ref: AgentRef, epoch: int = 0, turn: str = "") -> Written:
    scope = Scope(turn_id=turn)
    return house.log.append(ref, epoch, [Stamp(ref.id, scope).text("x")], scope=scope)


async def test_all_of_one_tick_is_one_commit_and_one_wake(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [house.agent(f"a{n}") for n in range(5)]
    published: list[int] = []
    publish = house.hub.publish
    monkeypatch.setattr(house.hub, "publish", lambda group: (published.append(len(group)), publish(group)))
    written = [_post(house, ref, turn=str(n)) for n in range(20) for ref in refs]
    await asyncio.gather(*written)
    assert house.store.groups == [100]
    assert published == [100]
    assert (house.log.groups, house.log.events_written) == (1, 100)


async def test_the_order_of_calls_is_the_order_of_the_log(house: House) -> None:
    refs = [house.agent(f"a{n}") for n in range(3)]
    written = [_post(house, refs[n % 3], turn=str(n)) for n in range(30)]
    segments = [segment for segment in await asyncio.gather(*written) if segment]
    assert [segment.position for segment in segments] == list(range(1, 31))
    assert [segment.agent_key for segment in segments] == [refs[n % 3].key for n in range(30)]
    assert [segment.scope.turn_id for segment in segments] == [str(n) for n in range(30)]


async def test_events_alone_share_a_segment(house: House) -> None:
    ref, other = house.agent("a1"), house.agent("a2")
    written = [_post(house, ref), _post(house, other), _post(house, ref), _post(house, ref)]
    first, second, *more = await asyncio.gather(*written)
    assert more == [first, first]
    assert (first.count, second.count) == (3, 1)
    assert house.store.groups == [2]


@pytest.mark.parametrize("how", ["turn", "epoch", "rows"])
async def test_what_differs_does_not_share(house: House, how: str) -> None:
    ref = house.agent()
    written = [_post(house, ref)]
    if how == "turn":
        written.append(_post(house, ref, turn="t2"))
    elif how == "epoch":
        written.append(_post(house, ref, epoch=1))
    else:
        row = PutStatus(agent_pb2.AgentStatus())
        written.append(house.log.append(ref, 0, [Stamp(ref.id).text("x")], [row]))
    written.append(_post(house, ref))
    segments = await asyncio.gather(*written)
    assert [segment.first_sequence for segment in segments] == [1, 2, 3]


async def test_segments_and_groups_are_bounded(house: House, gate: Gate) -> None:
    gate.open.clear()
    first = _post(house, house.agent("first"))
    await settled()  # its commit is on the way; the rest gathers behind it
    ref = house.agent("a1")
    written = {id(future): future for _ in range(5000) if (future := _post(house, ref))}
    gate.open.set()
    segments = await asyncio.gather(first, *written.values())
    assert max(segment.count for segment in segments) == MAX_SEGMENT_EVENTS
    assert sum(segment.count for segment in segments) == 5001
    assert house.store.groups == [1, 8, 8, 4], f"at most {MAX_GROUP_EVENTS} events each"


async def test_while_one_group_is_written_the_next_gathers(house: House, gate: Gate) -> None:
    gate.open.clear()
    ref = house.agent()
    written = [_post(house, ref, turn="0")]
    await settled()
    written += [_post(house, ref, turn=str(n)) for n in range(1, 10)]
    await settled()
    assert house.store.groups == []
    gate.open.set()
    await asyncio.gather(*written)
    assert house.store.groups == [1, 9]


async def test_nothing_is_shown_before_it_is_durable(house: House, gate: Gate) -> None:
    """E2."""
    ref = house.agent()
    reader = house.open(ref)
    await message(reader)
    gate.open.clear()
    written = _post(house, ref)
    waiting = asyncio.ensure_future(reader.next())
    await settled()
    assert not waiting.done()
    assert house.hub.head == 0
    gate.open.set()
    await asyncio.gather(written, waiting)
    assert house.hub.head == 1


@pytest.mark.parametrize("error", [errors.StorageFull(), errors.StoreUnavailable(retry_after=1.0)])
async def test_a_failed_commit_reaches_every_caller_and_the_next_goes_on(
    house: House, error: errors.AsterError
) -> None:
    ref, other = house.agent("a1"), house.agent("a2")
    house.store.failure = error
    results = await asyncio.gather(_post(house, ref), _post(house, other), return_exceptions=True)
    assert results == [error, error]
    assert house.log.has_room
    house.store.failure = None
    assert (await house.say(ref, "again")).first_sequence == 1


async def test_one_bad_unit_does_not_take_others_with_it(house: House) -> None:
    good, bad = house.agent("a1"), house.agent("a2")
    broken = Stamp(bad.id).event(text("x"))
    broken.event_type = "no.kind"
    written = [_post(house, good), house.log.append(bad, 0, [broken]), _post(house, good, turn="t")]
    first, failed, last = await asyncio.gather(*written, return_exceptions=True)
    assert isinstance(failed, KeyError)
    assert [first.first_sequence, last.first_sequence] == [1, 2]


async def test_a_refused_unit_alone_fails(house: House) -> None:
    ref = house.agent()
    results = await asyncio.gather(_post(house, ref, epoch=-1), _post(house, ref), return_exceptions=True)
    assert isinstance(results[0], errors.LeaseLost)
    assert results[1].first_sequence == 1


async def test_an_abandoned_write_is_written(house: House, gate: Gate) -> None:
    ref = house.agent()
    gate.open.clear()
    abandoned = _post(house, ref, turn="t1")
    await settled()
    abandoned.cancel()
    gate.open.set()
    assert (await house.say(ref, "next")).first_sequence == 2


async def test_back_pressure_holds_producers_until_the_disk_catches_up(house: House, gate: Gate) -> None:
    ref = house.agent()
    gate.open.clear()
    posted = 0
    while house.log.has_room:
        _post(house, ref)
        posted += 1
    assert posted == ROOM + 1
    waiting = asyncio.ensure_future(house.log.wait_for_room())
    await settled()
    assert not waiting.done()
    gate.open.set()
    async with asyncio.timeout(5):
        await waiting
    assert house.log.has_room
    await house.log.wait_for_room()


async def test_closing_writes_what_is_in_line_and_takes_no_more(gate: Gate, house: House) -> None:
    ref = house.agent()
    gate.open.clear()
    written = [_post(house, ref, turn=str(n)) for n in range(10)]
    closing = asyncio.ensure_future(house.log.aclose())
    await settled()
    with pytest.raises(errors.Draining):
        _post(house, ref)
    gate.open.set()
    await closing
    assert [future.result().first_sequence for future in written] == list(range(1, 11))


async def test_a_log_goes_on_where_it_ended(anyio_backend: str) -> None:
    store = MemoryStore()
    async with House(store) as first:
        ref = first.agent()
        await first.count(ref, 1, 3)
    async with House(store) as second:
        assert second.hub.head == 3
        assert (await second.say(ref, "x")).position == 4


# -- the pen of an agent ---------------------------------------------------------


def _journal(house: House, ref: AgentRef, epoch: int = 0) -> Journal:
    return Journal(house.log, ref, epoch, 0)


async def test_a_failed_post_shows_at_the_next_flow(house: House) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    house.store.failure = errors.StorageFull()
    journal.post([Stamp(ref.id).text("x")])
    await settled()
    for _ in range(2):
        with pytest.raises(errors.StorageFull):
            await journal.flow()
    journal.forgive()
    await journal.flow()


async def test_a_flow_waits_for_room(house: House, gate: Gate) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    gate.open.clear()
    while house.log.has_room:
        journal.post([Stamp(ref.id).text("x")])
    flowing = asyncio.ensure_future(journal.flow())
    await settled()
    assert not flowing.done()
    gate.open.set()
    await flowing


async def test_a_journal_knows_its_newest_place(house: House) -> None:
    ref, other = house.agent("a1"), house.agent("a2")
    journal = _journal(house, ref)
    await house.count(other, 1, 5)
    await journal.write([Stamp(ref.id).text("x"), Stamp(ref.id).text("y")])
    assert (journal.place.position, journal.place.sequence) == (7, 2)


async def test_a_write_that_nobody_waits_for_any_more_is_written(house: House, gate: Gate) -> None:
    ref = house.agent()
    reader = house.open(ref)
    journal = _journal(house, ref)
    gate.open.clear()
    writing = asyncio.ensure_future(journal.write([Stamp(ref.id).text("x")]))
    await settled()
    writing.cancel()
    gate.open.set()
    assert numbers(await frames(reader, 1)) == [1]
    await settled()
    assert journal.place.sequence == 1


@pytest.mark.parametrize("point", ["log.before_append", "log.after_append_before_ack", "log.after_ack_before_publish"])
async def test_a_fault_of_ours_does_not_end_the_log(house: House, point: str) -> None:
    """Whoever wrote is told, or was; the next write goes through."""
    ref = house.agent()
    failpoints.install({"ASTER_TESTING": "1", "ASTER_FAILPOINTS": f"{point}=raise"})
    try:
        written = _post(house, ref)
        await asyncio.wait([written])
        await settled()
    finally:
        failpoints.install({})
    assert (written.exception() is None) is (point == "log.after_ack_before_publish")
    assert await _post(house, ref) is not None


async def test_texts_join_the_segment_that_waits(house: House, gate: Gate) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    stamp = Stamp(ref.id, Scope("s", "t"))
    gate.open.clear()
    journal.post_text(stamp.text("first"), stamp.scope)
    await settled()  # it is being written
    for delta in ("a", "b"):
        journal.post_text(stamp.text(delta), stamp.scope)
    journal.post([stamp.event(text("c"))], (), stamp.scope)
    other = Scope("s", "t2")
    journal.post_text(Stamp(ref.id, other).text("d"), other)
    gate.open.set()
    await journal.write((), [])
    assert [segment.count for segment in house.store.segments] == [1, 3, 1]
    said = [event.progress.text_chunk.delta for segment in house.store.segments for event in events(segment)]
    assert said == ["first", "a", "b", "c", "d"]


async def test_no_segment_grows_beyond_its_limit(house: House, gate: Gate) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    stamp = Stamp(ref.id)
    gate.open.clear()
    journal.post_text(stamp.text("x"), stamp.scope)
    await settled()
    for _ in range(MAX_SEGMENT_EVENTS + 1):
        journal.post_text(stamp.text("x"), stamp.scope)
    gate.open.set()
    await journal.write((), [])
    assert [segment.count for segment in house.store.segments] == [1, MAX_SEGMENT_EVENTS, 1]


async def test_texts_that_could_not_be_written_show_at_the_next_flow(house: House) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    stamp = Stamp(ref.id)
    house.store.failure = errors.StorageFull()
    for _ in range(3):
        journal.post_text(stamp.text("x"), stamp.scope)
    await settled()
    with pytest.raises(errors.StorageFull):
        await journal.flow()


async def test_texts_wait_for_room_too(house: House, gate: Gate) -> None:
    ref = house.agent()
    journal = _journal(house, ref)
    stamp = Stamp(ref.id)
    gate.open.clear()
    for _ in range(ROOM + 1):
        journal.post_text(stamp.text("x"), stamp.scope)
    assert not house.log.has_room
    gate.open.set()
    await journal.flow()
    assert house.log.has_room
