"""Time that moves when it is told to, and a log that lives in memory."""

import asyncio
import bisect
import heapq
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

from asteros import clock, errors
from asteros.stores.base import AgentRef, Outcome, Sealer, Segment, Unit


class FakeClock:
    """Replaces ``asteros.clock`` while it is entered. Sleepers wake in their order."""

    def __init__(self, start: float = 1_000.0) -> None:
        self.seconds = start
        self.naps: list[float] = []  # lengths that were slept
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def __enter__(self) -> "FakeClock":
        self._kept = clock.now, clock.monotonic, clock.sleep
        clock.now = lambda: int(self.seconds * clock.NANOS)
        clock.monotonic = lambda: self.seconds
        clock.sleep = self.sleep
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        clock.now, clock.monotonic, clock.sleep = self._kept

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self.naps.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.seconds + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Lets time pass; everything that sleeps until then wakes at its own moment."""
        end = self.seconds + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.seconds, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settled()
        self.seconds = end
        await settled()


async def settled(rounds: int = 20) -> None:
    """Lets every task that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def _at_once() -> None:
    """The nap of a store that answers at once."""


class MemoryStore:
    """The log of a store. ``nap`` is awaited before and after every read and commit."""

    kind = "memory"
    log_id = "log"
    secret = b"m" * 32

    def __init__(self, nap: Callable[[], Awaitable[None]] = _at_once) -> None:
        self.nap = nap
        self.failure: Exception | None = None  # raised by the next commits
        self.groups: list[int] = []  # units of each commit
        self.reads = 0
        self._refs: dict[int, AgentRef] = {}
        self._latest: dict[int, int] = {}
        self.segments: list[Segment] = []
        self._by_agent: dict[int, list[Segment]] = {}
        self._head = 0

    def agent(self, agent_id: str = "a1", tenant: str = "default") -> AgentRef:
        ref = AgentRef(len(self._refs) + 1, tenant, agent_id)
        self._refs[ref.key] = ref
        self._latest[ref.key] = 0
        self._by_agent[ref.key] = []
        return ref

    async def commit(self, units: Sequence[Unit], seal: Sealer) -> list[Outcome]:
        await self.nap()
        self.groups.append(len(units))
        if self.failure is not None:
            raise self.failure
        kept = dict(self._latest), self._head, len(self.segments)
        try:
            outcomes = [self._write(unit, seal) for unit in units]
        except Exception:
            self._latest, self._head = kept[0], kept[1]
            for segment in self.segments[kept[2] :]:
                self._by_agent[segment.agent_key].remove(segment)
            del self.segments[kept[2] :]
            raise
        await self.nap()
        return outcomes

    def _write(self, unit: Unit, seal: Sealer) -> Outcome:
        if unit.epoch < 0:
            return errors.LeaseLost(agent_key=unit.agent_key)
        if not unit.events:
            return None
        segment = seal(unit, self._latest[unit.agent_key] + 1, self._head + 1)
        self._latest[unit.agent_key] += segment.count
        self._head += segment.count
        self.segments.append(segment)
        self._by_agent[segment.agent_key].append(segment)
        return segment

    async def head(self) -> int:
        return self._head

    async def read_agent_segments(self, key: int, after: int, limit: int, before: int = 0) -> list[Segment]:
        assert not before
        mine = self._by_agent[key]
        return await self._read(lambda: mine[bisect.bisect_right(mine, after, key=_last_sequence) :], limit)

    async def read_segments(self, tenant: str, after: int, limit: int, before: int = 0) -> list[Segment]:
        assert not before

        def found() -> list[Segment]:
            first = bisect.bisect_right(self.segments, after, key=_last_position)
            return [s for s in self.segments[first:] if self._refs[s.agent_key].tenant == tenant]

        return await self._read(found, limit)

    async def _read(self, found: Callable[[], list[Segment]], limit: int) -> list[Segment]:
        """Whole segments up to about the limit, as they are when the read takes place."""
        self.reads += 1
        await self.nap()
        page: list[Segment] = []
        for segment in found():
            page.append(segment)
            limit -= segment.count
            if limit <= 0:
                break
        await self.nap()
        return page


def _last_sequence(segment: Segment) -> int:
    return segment.last_sequence


def _last_position(segment: Segment) -> int:
    return segment.last_position
