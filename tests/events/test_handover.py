"""From history to live without a seam (E6), and from every position (E4)."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from events.fakes import MemoryStore, settled
from events.helpers import Frame, House, events, frames, message, numbers, only, parsed

from aster.v1 import agent_pb2, event_pb2, session_service_pb2
from asteros import errors
from asteros.events.catalogue import Stamp
from asteros.events.cursor import Place
from asteros.events.subscription import PAGE, Subscription
from asteros.stores.base import AgentRef
from asteros.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


class Naps:
    """Reads and commits that take a random number of turns of the loop: any order is possible."""

    def __init__(self, seed: int, longest: int = 4) -> None:
        self._random = random.Random(seed)
        self._longest = longest

    async def __call__(self) -> None:
        for _ in range(self._random.randrange(self._longest)):
            await asyncio.sleep(0)


async def _until(subscription: Subscription, last: int, found: list[int]) -> None:
    """Reads sequences until the last one came; a stream that goes on too far is caught by the caller."""
    while not found or found[-1] < last:
        found += numbers(parsed(await subscription.next()))


async def _switches(seed: int, count: int) -> None:
    """Subscribers that begin at random places of a log which grows all the time."""
    chance = random.Random(seed)
    async with House(MemoryStore(Naps(seed))) as house:
        mine, other = house.agent("a1"), house.agent("a2")
        for _ in range(count):
            before = house.store._latest[mine.key]
            start = chance.randrange(max(before - 12, 0), before + 1)
            subscription = house.open(mine, start)
            found: list[int] = []
            reading = asyncio.ensure_future(_until(subscription, before + 8, found))
            for size in (1, 3, 1, 2, 1):
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                if chance.random() < 0.3:
                    house.log.append(other, 0, [])
                await house.say(mine, *"x" * size)
            await reading
            subscription.close()
            assert found == list(range(start + 1, before + 9)), f"seed {seed}"


@pytest.mark.parametrize("seed", range(10))
async def test_random_switch_points(anyio_backend: str, seed: int) -> None:
    await _switches(seed, 1000)


@pytest.mark.parametrize("seed", range(5))
async def test_many_agents_hand_over_by_position(anyio_backend: str, seed: int) -> None:
    chance = random.Random(seed)
    async with House(MemoryStore(Naps(seed))) as house:
        refs = [house.agent(f"a{n}") for n in range(4)]
        stranger = house.agent("x", "other")
        for _ in range(100):
            start = chance.randrange(max(house.hub.head - 15, 0), house.hub.head + 1)
            subscription = house.open(refs[:3], Place(0, start))
            for _ in range(6):
                for ref in chance.sample([*refs, stranger], 3):
                    house.log.append(ref, 0, [_text(ref)])
                await asyncio.sleep(0)
            await house.say(refs[3], "all before this is stored")
            expected = _stored(house, refs[:3], start)
            found: list[Frame] = []
            async with asyncio.timeout(5):
                while len(events(found)) < len(expected):
                    found += parsed(await subscription.next())
            subscription.close()
            assert [(event.agent_id, event.sequence) for event in events(found)] == expected


def _text(ref: AgentRef) -> event_pb2.Event:
    return Stamp(ref.id).text("x")


def _stored(house: House, refs: Sequence[AgentRef], after: int) -> list[tuple[str, int]]:
    """What the store has of some agents after a position."""
    names = {ref.key: ref.id for ref in refs}
    return [
        (names[segment.agent_key], segment.first_sequence + index)
        for segment in house.store.segments
        for index in range(segment.count)
        if segment.agent_key in names and segment.position + index > after
    ]


@pytest.fixture
async def sqlite(tmp_path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, durability="normal")
    await store.open()
    yield store
    await store.aclose()


async def test_hand_over_with_sqlite_while_the_log_grows(sqlite: SqliteStore) -> None:
    """The same with real reads, from threads of their own: many readers at once share connections."""
    row = await sqlite.create_agent("default", agent_pb2.Agent(id="a1"), session_service_pb2.Session(id="s1"), None, 0)
    async with House(sqlite) as house:
        chance = random.Random(1)
        last = 600
        found: list[list[int]] = []
        readers = []
        for sequence in range(1, last + 1):
            written = house.log.append(row.ref, 0, [_text(row.ref)])
            if sequence % 3 == 0:
                await written
            if sequence % 2 == 0:
                start = chance.randrange(max(0, sequence - 40), max(1, sequence - 3))
                subscription = house.open([row.ref], Place(row.key, 0, start))
                found.append([start])
                readers.append(asyncio.ensure_future(_until(subscription, last, found[-1])))
        async with asyncio.timeout(20):
            await asyncio.gather(*readers)
        assert [sequences == list(range(sequences[0], last + 1)) for sequences in found] == [True] * 300


# -- every position ------------------------------------------------------------


async def test_resuming_from_every_position_of_a_thousand(house: House) -> None:
    ref = house.agent()
    sizes = itertools.cycle((1, 2, 3, 50, 7))
    while (latest := house.store._latest[ref.key]) < 1000:
        await house.say(ref, *(str(latest + n + 1) for n in range(min(next(sizes), 1000 - latest))))
    whole = await frames(house.open(ref, 0), 1000)
    cursors = ["", *(frame.cursor for frame in whole if frame.HasField("event"))]
    for position, cursor in enumerate(cursors):
        subscription = house.open(ref, house.place(cursor) if position else 0)
        got = numbers(await frames(subscription, 1000 - position)) if position < 1000 else []
        assert got == list(range(position + 1, 1001))
        subscription.close()


async def test_the_started_frame_comes_first_and_is_where_it_began(house: House) -> None:
    ref = house.agent()
    await house.count(ref, 1, 5)
    subscription = house.open(ref, 2)
    (first,) = await message(subscription)
    assert first.started.subscription_id == subscription.id
    assert house.place(first.cursor).sequence == 2
    assert numbers(await frames(subscription, 3)) == [3, 4, 5]


async def test_from_now_on_nothing_old_is_read(house: House) -> None:
    ref = house.agent()
    await house.count(ref, 1, 50)
    reads = house.store.reads
    subscription = house.open(ref)
    await house.say(ref, "new")
    assert numbers(await frames(subscription, 1)) == [51]
    assert house.store.reads == reads


async def test_a_long_history_comes_in_pages(house: House) -> None:
    ref = house.agent()
    await house.count(ref, 1, 3 * PAGE, size=100)
    reads = house.store.reads
    assert numbers(await frames(house.open(ref, 0), 3 * PAGE)) == list(range(1, 3 * PAGE + 1))
    assert 3 <= house.store.reads - reads <= 6


async def test_catching_up_never_overflows(house: House) -> None:
    ref = house.agent()
    await house.count(ref, 1, 500, size=10)
    subscription = house.open(ref, 0, buffer_size=1)
    assert numbers(await frames(subscription, 500)) == list(range(1, 501))


async def test_filters_hold_while_catching_up_and_live(house: House) -> None:
    ref = house.agent()
    for turn in "12":
        await house.say(ref, "a", turn=turn)
    subscription = house.open(ref, 0, wanted=only(turn_id="1"))
    assert numbers(await frames(subscription, 1)) == [1]
    await house.say(ref, "b", turn="2")
    await house.say(ref, "c", turn="1")
    assert numbers(await frames(subscription, 1)) == [4]


# -- interruptions ---------------------------------------------------------------


class HeldReads(MemoryStore):
    """Reads wait at a gate, one that is closed when ``hold`` is set; commits do not."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def _read(self, *args: object) -> list:
        page = await super()._read(*args)  # type: ignore[arg-type]
        await self.gate.wait()
        return page


async def _at_the_seam(house: House, **options: object) -> tuple[AgentRef, Subscription, asyncio.Future]:
    """A subscription that has attached and reads once more; its read is held back."""
    ref = house.agent()
    await house.count(ref, 1, 3)
    subscription = house.open(ref, 0, **options)
    assert numbers(await frames(subscription, 3)) == [1, 2, 3]
    house.store.gate.clear()
    reading = asyncio.ensure_future(subscription.next())
    await settled()
    await house.say(ref, "4")  # between the read of an empty page and the attaching
    house.store.gate.set()  # wakes that read alone
    house.store.gate.clear()
    await settled()
    assert subscription._attached
    assert not reading.done()
    return ref, subscription, reading


async def test_a_cancelled_reader_loses_nothing_at_the_seam(anyio_backend: str) -> None:
    async with House(HeldReads()) as house:
        ref, subscription, reading = await _at_the_seam(house)
        await house.say(ref, "5")
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        house.store.gate.set()
        await house.say(ref, "6")
        assert numbers(await frames(subscription, 3)) == [4, 5, 6]


async def test_a_failed_read_at_the_seam_loses_nothing(anyio_backend: str) -> None:
    async with House(HeldReads()) as house:
        ref, subscription, reading = await _at_the_seam(house)

        async def fail() -> None:
            raise errors.StoreUnavailable(retry_after=1.0)

        house.store.gate.wait = fail  # type: ignore[method-assign]
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        with pytest.raises(errors.StoreUnavailable):
            await subscription.next()
        del house.store.gate.wait
        house.store.gate.set()
        await house.say(ref, "5")
        assert numbers(await frames(subscription, 2)) == [4, 5]


@pytest.mark.parametrize("overflow", [1, 2, 3])
async def test_what_comes_while_the_seam_is_read_is_no_overflow(anyio_backend: str, overflow: int) -> None:
    """Reading the log goes at the reader's pace, whatever the policy and however small the buffer."""
    async with House(HeldReads()) as house:
        ref, subscription, reading = await _at_the_seam(house, buffer_size=2, overflow=overflow)
        for n in range(5, 15):
            await house.say(ref, str(n))
        house.store.gate.set()
        got = numbers(parsed(await reading))
        while got[-1] < 14:
            got += numbers(parsed(await subscription.next()))
        assert got == list(range(4, 15))
        assert house.hub.dropped == 0
