"""A heartbeat is a bookmark (E5): all that matches up to its cursor was sent."""

import asyncio
import itertools
import random

import pytest
from events.fakes import FakeClock, settled
from events.helpers import House, asked, deltas, frames, kinds, message, numbers, only, parsed, text

from asteros.events.hub import TICK
from asteros.events.subscription import HEARTBEAT, Subscription

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(fake_clock: FakeClock, anyio_backend: str) -> object:
    async with House() as running:
        await settled()
        yield running


def _reading(subscription: Subscription) -> asyncio.Future[bytes | None]:
    return asyncio.ensure_future(subscription.next())


@pytest.mark.parametrize("interval", [1.0, HEARTBEAT, 300.0])
async def test_it_follows_every_quiet_interval(house: House, fake_clock: FakeClock, interval: float) -> None:
    subscription = house.open(house.agent(), heartbeat=interval)
    await message(subscription)
    came = [fake_clock.seconds]
    for _ in range(4):
        reading = _reading(subscription)
        while not reading.done():
            await fake_clock.advance(TICK)
        (beat,) = parsed(await reading)
        assert beat.HasField("heartbeat")
        assert beat.heartbeat.server_time.seconds == int(fake_clock.seconds)
        came.append(fake_clock.seconds)
    quiet = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert all(interval <= length <= interval + 2 * TICK for length in quiet)


async def test_every_message_begins_the_interval_anew(house: House, fake_clock: FakeClock) -> None:
    ref = house.agent()
    subscription = house.open(ref, heartbeat=10)
    await message(subscription)
    for n in range(1, 5):
        reading = _reading(subscription)
        await fake_clock.advance(8)
        assert not reading.done()
        await house.say(ref, str(n))
        assert numbers(parsed(await reading)) == [n]
    reading = _reading(subscription)
    await fake_clock.advance(9)
    assert not reading.done()
    await fake_clock.advance(2)
    assert kinds(parsed(await reading)) == ["heartbeat"]


async def test_hidden_events_move_its_cursor_on(house: House, fake_clock: FakeClock) -> None:
    ref = house.agent()
    subscription = house.open(ref, wanted=only("control.*"))
    await message(subscription)
    for last in (3, 5):
        await house.count(ref, last - 1, last)
        reading = _reading(subscription)
        await fake_clock.advance(HEARTBEAT + 1)
        (beat,) = parsed(await reading)
        latest = house.store._latest[ref.key]
        assert house.place(beat.cursor).sequence == latest
        assert house.place(beat.cursor).position == house.position(ref, latest)


async def test_hidden_history_moves_its_cursor_on(house: House, fake_clock: FakeClock) -> None:
    ref = house.agent()
    await house.count(ref, 1, 7)
    subscription = house.open(ref, 0, wanted=only("control.*"))
    await message(subscription)
    reading = _reading(subscription)
    await fake_clock.advance(HEARTBEAT + 1)
    (beat,) = parsed(await reading)
    assert house.place(beat.cursor).sequence == 7


async def test_over_many_agents_its_cursor_is_a_position(house: House, fake_clock: FakeClock) -> None:
    """Also of a quiet agent, while others of other tenants write."""
    ref, quiet, stranger = house.agent("a1"), house.agent("a2"), house.agent("x", "other")
    subscription = house.open([ref, quiet])
    await message(subscription)
    await house.count(stranger, 1, 4)
    reading = _reading(subscription)
    await fake_clock.advance(HEARTBEAT + 1)
    (beat,) = parsed(await reading)
    assert (house.place(beat.cursor).agent_key, house.place(beat.cursor).position) == (0, 4)
    await house.say(quiet, "x")
    resumed = house.open([ref, quiet], house.place(beat.cursor))
    assert deltas(await frames(resumed, 1)) == ["x"]


async def test_it_never_runs_ahead_of_what_waits(house: House, fake_clock: FakeClock) -> None:
    ref = house.agent()
    subscription = house.open(ref)
    await message(subscription)
    await house.say(ref, "1")
    await fake_clock.advance(10 * HEARTBEAT)  # the reader was busy elsewhere
    assert kinds(parsed(await subscription.next())) == ["progress.text_chunk"]


@pytest.mark.parametrize("many", [False, True])
async def test_all_up_to_a_heartbeat_was_sent(house: House, fake_clock: FakeClock, many: bool) -> None:
    """The promise, over random traffic: resuming from any heartbeat repeats and misses nothing."""
    chance = random.Random(5)
    ref, other = house.agent("a1"), house.agent("a2")
    wanted = only("user_input_request")
    subscription = house.open([ref, other] if many else ref, wanted=wanted, heartbeat=1)
    await message(subscription)
    seen: list[tuple[str, int]] = []
    beats = 0
    for _ in range(150):
        reading = _reading(subscription)
        for _ in range(chance.randrange(4)):
            target = chance.choice([ref, other])
            await house.put(target, *(asked() if chance.random() < 0.3 else text("x") for _ in range(3)))
        if not reading.done():
            await fake_clock.advance(1.5)
        for frame in parsed(await reading):
            if frame.HasField("event"):
                seen.append((frame.event.agent_id, frame.event.sequence))
                continue
            beats += 1
            upto = house.place(frame.cursor).position
            expected = [
                (found.event.agent_id, found.event.sequence)
                for segment in house.store.segments
                for found in parsed(segment.body)
                if found.event.HasField("control")
                and (many or found.event.agent_id == "a1")
                and house.place(found.cursor).position <= upto
            ]
            assert seen == expected
    assert beats > 20


async def test_a_busy_stream_waits_for_one_heartbeat_and_not_for_thousands(house: House) -> None:
    """Every event makes the reader wait anew; that must leave nothing behind."""
    ref = house.agent()
    subscription = house.open(ref)
    await message(subscription)
    for _ in range(500):
        reading = _reading(subscription)
        await asyncio.sleep(0)
        await house.say(ref, "x")
        await reading
    assert sum(map(len, house.hub._due.values())) <= 2


async def test_a_closed_stream_is_forgotten_by_the_clock(house: House, fake_clock: FakeClock) -> None:
    subscription = house.open(house.agent(), heartbeat=5)
    await message(subscription)
    reading = _reading(subscription)
    await settled()
    reading.cancel()
    subscription.close()
    await fake_clock.advance(10)
    assert not house.hub._due
    assert house.hub.count == 0
