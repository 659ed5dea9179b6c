"""A slow reader: what is left out is announced, control events never are (E8, T1)."""

import asyncio

import pytest
from events.fakes import FakeClock, settled
from events.helpers import (
    Frame,
    House,
    asked,
    complete,
    events,
    frames,
    governed,
    kinds,
    message,
    numbers,
    parsed,
    rest,
    text,
)

from aster.v1 import common_pb2
from asteros import errors
from asteros.events.subscription import (
    BUFFER_BYTES,
    DISCONNECT,
    DROP_NEWEST,
    DROP_OLDEST,
    MAX_BYTES,
    MAX_FRAMES,
    WRITE_LIMIT,
    Subscription,
)

pytestmark = pytest.mark.anyio

PROGRESS, MONITOR = common_pb2.CHANNEL_PROGRESS, common_pb2.CHANNEL_MONITOR
Gap = tuple[str, int, int, int, int]


async def _slow(house: House, agents: object, **options: object) -> Subscription:
    """A reader that has taken its first frame and no more."""
    subscription = house.open(agents, **options)  # type: ignore[arg-type]
    await message(subscription)
    return subscription


def _gaps(found: list[Frame]) -> list[Gap]:
    return [
        (f.gap.agent_id, f.gap.channel, f.gap.first_sequence, f.gap.last_sequence, f.gap.dropped_count)
        for f in found
        if f.HasField("gap")
    ]


async def test_drop_oldest_keeps_the_newest(house: House) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=5, overflow=DROP_OLDEST)
    await house.count(ref, 1, 12)
    found = await message(reader)
    assert _gaps(found) == [("a1", PROGRESS, 1, 7, 7)]
    assert numbers(found) == [8, 9, 10, 11, 12]
    assert kinds(found)[0] == "gap", "it stands before what comes after it"
    assert house.hub.dropped == 7


async def test_drop_newest_keeps_the_oldest(house: House) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=5, overflow=DROP_NEWEST)
    await house.count(ref, 1, 12)
    found = await message(reader)
    assert numbers(found) == [1, 2, 3, 4, 5]
    assert _gaps(found) == [("a1", PROGRESS, 6, 12, 7)]
    await house.count(ref, 13, 13)
    assert numbers(await message(reader)) == [13]


@pytest.mark.parametrize("overflow", [DROP_OLDEST, DROP_NEWEST])
async def test_control_and_complete_are_never_left_out(house: House, overflow: int) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=6, overflow=overflow)
    for _ in range(10):
        await house.put(ref, text("x"), governed())
    await house.put(ref, asked("?"))
    await house.put(ref, complete())
    for _ in range(10):
        await house.put(ref, text("x"), governed())
    found = await message(reader)
    kept = [kind for kind in kinds(found) if kind in ("control.user_input_request", "progress.complete")]
    assert kept == ["control.user_input_request", "progress.complete"]
    given = numbers(found)
    assert given == sorted(given)
    lost = {PROGRESS: [n for n in _progress() if n not in given], MONITOR: [n for n in _monitor() if n not in given]}
    assert sorted(_gaps(found)) == [
        ("a1", channel, min(missing), max(missing), len(missing)) for channel, missing in lost.items()
    ]


def _progress() -> list[int]:
    return [*range(1, 21, 2), *range(23, 43, 2)]


def _monitor() -> list[int]:
    return [*range(2, 21, 2), *range(24, 43, 2)]


async def test_gaps_are_named_per_agent(house: House) -> None:
    one, two = house.agent("a1"), house.agent("a2")
    reader = await _slow(house, [one, two], buffer_size=4, overflow=DROP_OLDEST)
    for _ in range(5):
        await house.say(one, "x")
        await house.say(two, "y", "z")
    found = await message(reader)
    given = [(event.agent_id, event.sequence) for event in events(found)]
    assert given == [("a1", 5), ("a2", 9), ("a2", 10)], "whole commits are left out"
    assert sorted(_gaps(found)) == [("a1", PROGRESS, 1, 4, 4), ("a2", PROGRESS, 1, 8, 8)]


async def test_what_a_gap_names_and_what_was_given_is_all_there_is(house: House) -> None:
    """E1 on a DROP stream: every missing sequence lies in an announced gap."""
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=7, overflow=DROP_OLDEST)
    given: list[int] = []
    missing = 0
    for n in range(40):
        await house.count(ref, n * 10 + 1, n * 10 + 10, size=(n % 4) + 1)
        if n % 3 == 0:
            found = await message(reader)
            given += numbers(found)
            missing += sum(gap[4] for gap in _gaps(found))
    assert given == sorted(set(given))
    assert len(given) + missing == given[-1] == 400


async def test_disconnect_ends_with_a_cursor_that_loses_nothing(house: House) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=5, overflow=DISCONNECT)
    await house.count(ref, 1, 3)
    assert numbers(await message(reader)) == [1, 2, 3]
    await house.count(ref, 4, 9)
    with pytest.raises(errors.SubscriberTooSlow) as slow:
        await reader.next()
    assert slow.value.retry_after == 0.1
    resumed = house.open(ref, house.place(slow.value.facts["cursor"]))
    assert numbers(await frames(resumed, 6)) == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("overflow", [DROP_OLDEST, DROP_NEWEST])
async def test_a_buffer_full_of_control_events_ends_the_stream(house: House, overflow: int) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=3, overflow=overflow)
    await house.say(ref, "x")
    for _ in range(4):
        await house.put(ref, asked())
    with pytest.raises(errors.SubscriberTooSlow) as slow:
        await reader.next()
    resumed = house.open(ref, house.place(slow.value.facts["cursor"]))
    assert numbers(await frames(resumed, 5)) == [1, 2, 3, 4, 5]


async def test_before_anything_was_read_the_cursor_is_where_it_began(house: House) -> None:
    ref = house.agent()
    await house.count(ref, 1, 4)
    reader = house.open(ref, buffer_size=1, overflow=DISCONNECT)
    await house.count(ref, 5, 8)
    with pytest.raises(errors.SubscriberTooSlow) as slow:
        await reader.next()
    assert house.place(slow.value.facts["cursor"]).sequence == 4


async def test_the_buffer_is_bounded_in_bytes_too(house: House) -> None:
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=10_000, overflow=DROP_OLDEST)
    for n in range(60):
        await house.say(ref, str(n) + "x" * 100_000)
    assert reader._bytes <= BUFFER_BYTES
    found = await message(reader)
    assert _gaps(found)[0][2:] == (1, 19, 19)


async def test_after_all_is_taken_nothing_is_counted(house: House) -> None:
    """Sizes are shared out by division; what that leaves over must not add up for ever."""
    ref = house.agent()
    reader = await _slow(house, ref, buffer_size=500)
    await house.put(ref, *(text("x" * n) for n in range(300)))
    await frames(reader, 300)
    assert (reader._count, reader._bytes) == (0, 0)


async def test_a_slow_reader_takes_nothing_from_a_quick_one(house: House) -> None:
    ref = house.agent()
    slow = await _slow(house, ref, buffer_size=2, overflow=DROP_OLDEST)
    quick = await _slow(house, ref, buffer_size=2, overflow=DROP_OLDEST)
    got: list[int] = []
    for n in range(1, 21):
        await house.count(ref, n, n)
        got += numbers(await message(quick))
    assert got == list(range(1, 21))
    assert numbers(await message(slow)) == [19, 20]


# -- messages --------------------------------------------------------------------


async def test_a_message_holds_at_most_256_frames(house: House) -> None:
    ref = house.agent()
    reader = await _slow(house, ref)
    await house.count(ref, 1, 600, size=100)
    sizes = [len(await message(reader)) for _ in range(3)]
    assert max(sizes) <= MAX_FRAMES
    assert sizes == [200, 200, 200], "whole segments: their bytes go out as they are"


async def test_a_message_holds_about_64_kib(house: House) -> None:
    ref = house.agent()
    await house.put(ref, *(text("x" * 1000) for _ in range(200)))
    reader = await _slow(house, ref, start=0)
    found: list[int] = []
    while len(found) < 200:
        data = await reader.next()
        assert data is not None
        assert len(data) <= MAX_BYTES
        found += numbers(parsed(data))
    assert found == list(range(1, 201))


async def test_one_event_larger_than_a_message_goes_alone(house: House) -> None:
    ref = house.agent()
    await house.put(ref, text("a"), text("x" * 3 * MAX_BYTES), text("b"))
    reader = await _slow(house, ref, start=0)
    assert [numbers(await message(reader)) for _ in range(3)] == [[1], [2], [3]]


# -- a peer that does not take what is written -------------------------------------


async def test_a_write_that_blocks_too_long_ends_the_stream(fake_clock: FakeClock, anyio_backend: str) -> None:
    async with House() as house:
        ref = house.agent()
        reader = await _slow(house, ref)
        stopped: list[Exception] = []
        reader.write_began(stopped.append)
        await fake_clock.advance(WRITE_LIMIT - 1)
        reader.write_ended()
        reader.write_began(stopped.append)
        await fake_clock.advance(WRITE_LIMIT - 0.5)
        assert stopped == []
        await fake_clock.advance(1)
        assert [type(error) for error in stopped] == [errors.SubscriberTooSlow]
        await house.say(ref, "x")
        with pytest.raises(errors.SubscriberTooSlow):
            await reader.next()


async def test_a_waiting_reader_wakes_when_its_stream_is_ended(house: House) -> None:
    reader = await _slow(house, house.agent())
    waiting = asyncio.ensure_future(reader.next())
    await settled()
    reader.end(None)
    assert await waiting is None
    assert await rest(reader) == []
