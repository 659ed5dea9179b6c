"""One reader of the log: catch up from the store, then follow live, with no seam.

How the two meet. While it catches up a subscription reads pages of the store at its
own pace, unbounded in time and without overflow. When a page comes back empty, it
attaches to the hub, so that from this moment every commit is offered to it, and
reads once more what lies between. What is then offered a second time is recognised
by its position. Nothing is awaited between "attached" and "from here on", so there
is neither a gap nor a duplicate (guarantee E6).

What waits for a live reader is bounded. Full, the overflow policy decides by each
event's own channel: progress and monitor events are left out and announced by a
``gap`` frame; control events and ``progress.complete`` are never left out, and when
they alone fill the buffer the stream ends with SUBSCRIBER_TOO_SLOW and the cursor."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aster.v1 import event_service_pb2
from asteros import clock, errors, ids
from asteros.events import catalogue, frames
from asteros.events.cursor import CursorCodec, Place
from asteros.events.filters import Filter
from asteros.events.hub import Hub
from asteros.stores.base import AgentRef, Segment, Store

DROP_OLDEST = event_service_pb2.OVERFLOW_POLICY_DROP_OLDEST
DROP_NEWEST = event_service_pb2.OVERFLOW_POLICY_DROP_NEWEST
DISCONNECT = event_service_pb2.OVERFLOW_POLICY_DISCONNECT

MAX_FRAMES = 256  # of one message, so that one reader does not starve others
MAX_BYTES = 64 * 1024  # of one message, about
BUFFER_SIZE = 1024  # events that may wait, by default
MAX_BUFFER_SIZE = 16_384
BUFFER_BYTES = 4 * 1024 * 1024
PAGE = 1024  # events read at once while catching up
HEARTBEAT = 15.0  # seconds
WRITE_LIMIT = 10.0  # seconds one write may block


@dataclass(frozen=True, slots=True)
class Options:
    """How a subscription behaves; defaults are those of the contract."""

    heartbeat: float = HEARTBEAT
    buffer_size: int = BUFFER_SIZE
    overflow: int = DROP_OLDEST
    until_turn_complete: bool = False
    until_turn_id: str = ""  # empty: the first turn that ends
    end_at: int = 0  # end with OK once this position has been passed; 0: never


@dataclass(slots=True)
class _Gap:
    """Events of one agent and channel that were left out, one after another."""

    agent_id: str
    channel: int
    first: int
    last: int
    count: int = 1


class Subscription:
    """An asynchronous source of response bytes. One consumer; owned by one stream.

    Open with ``open``, read with ``next`` until it returns None or raises, and call
    ``close`` in the end whatever happened. ``end`` and ``offer`` never block."""

    __slots__ = (
        "_attached",
        "_bytes",
        "_codec",
        "_complete",
        "_count",
        "_end_at",
        "_error",
        "_front",
        "_gaps",
        "_hub",
        "_key",
        "_last_sent",
        "_options",
        "_overflowed",
        "_pending",
        "_place",
        "_read_sequence",
        "_read_to",
        "_seam",
        "_seen",
        "_stop",
        "_store",
        "_ticking",
        "_waiter",
        "agent_keys",
        "filter",
        "id",
        "tenant",
    )

    def __init__(
        self,
        hub: Hub,
        store: Store,
        codec: CursorCodec,
        *,
        tenant: str,
        agents: Sequence[AgentRef] | None,
        wanted: Filter,
        start: Place,
        options: Options,
    ) -> None:
        self.id = ids.new("sub_")
        self.tenant = tenant
        self.agent_keys = None if agents is None else frozenset(ref.key for ref in agents)
        self.filter = wanted
        one = agents[0] if agents is not None and len(agents) == 1 else None
        self._key = one.key if one else 0  # of the only agent; 0: many
        self._hub = hub
        self._store = store
        self._codec = codec
        self._options = options
        self._end_at = options.end_at
        self._place = start  # after the last event given out
        self._read_to = start.position  # read from the store up to here
        self._read_sequence = start.sequence
        self._seen = start  # given out, waiting, or hidden by the filter
        self._front: list[bytes] = []
        self._pending: deque[tuple[AgentRef | None, Segment, Sequence[int]]] = deque()
        self._gaps: dict[tuple[str, int], _Gap] = {}
        self._count = 0
        self._bytes = 0
        self._attached = False
        self._overflowed = False
        self._seam = False  # attached, and what lies between is still being read
        self._ticking = False  # the hub's clock has an entry for it
        self._complete = False  # the turn waited for has ended: nothing after it
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._last_sent = clock.monotonic()
        self._stop: Callable[[Exception], None] | None = None

    # -- life -------------------------------------------------------------------

    def open(self, log_epoch: str, oldest: int, latest: int) -> None:
        """Puts the ``started`` frame in front. Attaches at once when there is nothing to catch up."""
        self._hub.opened(self)
        self._front.append(frames.started(self.id, log_epoch, oldest, latest, self._codec.encode(self._place)))
        if self._read_to >= self._hub.head:
            self._attach()

    def close(self) -> None:
        """Frees everything. Idempotent."""
        self._attached = False
        self._hub.closed(self)
        self._pending.clear()
        self._front.clear()
        self._gaps.clear()

    def end(self, error: Exception | None) -> None:
        """Lets the stream end, with the error or with OK, after what already waits."""
        if self._error is None and not self._complete:
            self._error = error
            self._complete = error is None
            self._detach()
            self._wake()

    def end_at(self, position: int) -> None:
        """Lets the stream end with OK once it has passed this position."""
        self._end_at = position
        self._wake()

    # -- reading ----------------------------------------------------------------

    async def next(self) -> bytes | None:
        """The bytes of the next response; waits for it. None: the stream ends with OK.

        :raises SubscriberTooSlow, Draining, CursorOutOfRange: it ends with this.
        Cancelling loses nothing."""
        while True:
            if self._front:  # alone: what follows is shared by all readers as it stands
                return self._sent(self._front.pop(0))
            if self._pending or self._gaps:
                return self._sent(self._take())
            if not self._attached and not self._ended:
                await self._catch_up()
                continue
            if self._error is not None:
                raise self._final(self._error)
            if self._complete:
                return None
            if 0 < self._end_at <= self._hub.head:
                return None
            beat = self._heartbeat()
            if beat is not None:
                return self._sent(beat)
            await self._wait()

    @property
    def _ended(self) -> bool:
        return self._complete or self._error is not None

    @property
    def failed(self) -> Exception | None:
        """Why the stream ends, once it does so with an error."""
        return self._error

    def _final(self, error: Exception) -> Exception:
        return errors.Draining(cursor=self.cursor) if isinstance(error, errors.Draining) else error

    @property
    def cursor(self) -> str:
        """Where to go on after what was given out."""
        return self._codec.encode(self._place)

    def _sent(self, data: bytes) -> bytes:
        self._last_sent = clock.monotonic()
        return data

    def _take(self) -> bytes:
        """Joins what waits, up to one message."""
        parts = [frames.gap(gap.first, gap.last, gap.count, gap.channel, gap.agent_id) for gap in self._gaps.values()]
        self._gaps.clear()
        room, space = MAX_FRAMES - len(parts), MAX_BYTES
        while self._pending and room > 0 and space > 0:
            ref, segment, indexes = self._pending[0]
            if parts and (len(indexes) > room or len(segment.body) > space):
                break  # whole segments where possible: their bytes are shared and never copied
            now, later = _fitting(segment, indexes, room, space, alone=space == MAX_BYTES)
            if not now:
                break
            data = _bytes(segment, now)
            parts.append(data)
            room -= len(now)
            space -= len(data)
            if ref is not None:
                self._count -= len(now)
                self._bytes -= len(segment.body) * len(now) // segment.count
            if later:
                self._pending[0] = (ref, segment, later)
            else:
                self._pending.popleft()
            self._place = frames.place(segment, now[-1])
        if not self._count:
            self._bytes = 0  # shares of a segment are rounded
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _heartbeat(self) -> bytes | None:
        now = clock.monotonic()
        if now - self._last_sent < self._options.heartbeat:
            return None
        # Nothing waits: whatever was stored up to here was sent, or hidden by the filter.
        self._place = self._seen if self._key else Place(0, max(self._hub.head, self._read_to))
        return frames.heartbeat(self.cursor)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        if not self._ticking:  # one entry, moved on when it comes up: a busy stream waits thousands of times
            self._ticking = True
            self._hub.heartbeat_at(self, self._last_sent + self._options.heartbeat)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def tick(self, now: float) -> None:
        """The hub's clock: time for a heartbeat, or for another look later."""
        self._ticking = False
        if self._waiter is None:
            return
        if now - self._last_sent >= self._options.heartbeat:
            self._wake()
        else:
            self._ticking = True
            self._hub.heartbeat_at(self, self._last_sent + self._options.heartbeat)

    # -- writing limits -----------------------------------------------------------

    def write_began(self, stop: Callable[[Exception], None]) -> None:
        """The consumer writes to its peer; ``stop`` is called when that blocks too long."""
        self._stop = stop
        self._hub.writing(self, clock.monotonic())

    def write_ended(self) -> None:
        self._hub.writing(self, None)

    def check_write(self, seconds: float) -> None:
        if seconds > WRITE_LIMIT and self._stop is not None:
            self._hub.writing(self, None)
            self._too_slow()  # what is being written still arrives, before the status
            if self._error is not None:
                self._stop(self._error)

    # -- catching up ----------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Reads a page; after the last one attaches and reads what came in between."""
        if self._accept(await self._page()):
            return
        self._attach()
        self._seam = True
        try:
            await self._read_seam(self._hub.head)
        except BaseException:  # house: cancelled -- raised again; what lies between must be read by the next call
            self._detach()
            self._drop_live()
            raise
        finally:
            self._seam = False

    async def _read_seam(self, seam: int) -> None:
        """Reads what came between the last page and the attaching."""
        more = True
        while more and self._attached and self._read_to < seam:
            page = await self._page()
            if self._overflowed:  # live events outran the reading: go on catching up
                self._detach()
                self._drop_live()
                return
            live = self._drop_live()
            more = self._accept(page)
            for ref, segment, indexes in live:
                if segment.position > self._read_to:
                    self._queue(ref, segment, indexes)

    def _drop_live(self) -> list[tuple[AgentRef | None, Segment, Sequence[int]]]:
        """Takes back what was offered while the seam was read."""
        live = [item for item in self._pending if item[0] is not None]
        self._pending = deque(item for item in self._pending if item[0] is None)
        self._count = self._bytes = 0
        self._gaps.clear()
        return live

    async def _page(self) -> list[Segment]:
        if self._key:
            return await self._store.read_agent_segments(self._key, self._read_sequence, PAGE)
        return await self._store.read_segments(self.tenant, self._read_to, PAGE)

    def _accept(self, page: Sequence[Segment]) -> bool:
        """Queues a page. True: there may be more; only an empty page is the end."""
        for segment in page:
            if self._ended:
                return True
            if self._key:
                first = max(0, self._read_sequence + 1 - segment.first_sequence)
            else:
                first = max(0, self._read_to + 1 - segment.position)
            self._read_to, self._read_sequence = segment.last_position, segment.last_sequence
            if self.agent_keys is not None and segment.agent_key not in self.agent_keys:
                continue
            self._saw(segment)
            indexes = [index for index in self.filter.indexes(segment) if index >= first]
            self._queue(None, segment, self._cut(segment, indexes, first))
        return bool(page)

    def _saw(self, segment: Segment) -> None:
        if segment.last_position > self._seen.position:
            self._seen = frames.place(segment, segment.count - 1)

    def _attach(self) -> None:
        if not self._ended:
            self._attached = True
            self._overflowed = False
            self._hub.attach(self)

    def _detach(self) -> None:
        if self._attached:
            self._attached = False
            self._hub.detach(self)

    # -- live -------------------------------------------------------------------------

    def offer(self, ref: AgentRef, segment: Segment, indexes: Sequence[int]) -> None:
        """A segment has become durable. Called by the hub; never blocks."""
        if segment.last_position <= self._read_to or self._ended:
            return
        self._saw(segment)
        if self._options.until_turn_complete:
            indexes = self._cut(segment, indexes)
        if indexes:
            self._queue(ref, segment, indexes)
            if self._full():
                self._overflow()
        if indexes or self._complete:
            self._wake()

    def _queue(self, ref: AgentRef | None, segment: Segment, indexes: Sequence[int]) -> None:
        """Puts events in line. Only live ones (``ref`` set) count against the buffer."""
        if not indexes:
            return
        self._pending.append((ref, segment, indexes))
        if ref is not None:
            self._count += len(indexes)
            self._bytes += len(segment.body) * len(indexes) // segment.count

    def _cut(self, segment: Segment, indexes: Sequence[int], first: int = 0) -> Sequence[int]:
        """Leaves out what comes after the end of the turn that is waited for: from index ``first`` on,
        and within the filter's scope; only its channels and types may hide the end."""
        options = self._options
        if not options.until_turn_complete or (end := segment.kinds.find(catalogue.COMPLETE.code, first)) < 0:
            return indexes
        if options.until_turn_id and segment.scope.turn_id != options.until_turn_id:
            return indexes
        if not options.until_turn_id and not self.filter.wants_scope(segment):
            return indexes
        self._complete = True
        self._detach()
        return [index for index in indexes if index <= end]

    # -- overflow -----------------------------------------------------------------------

    def _overflow(self) -> None:
        """The buffer is full: leave events out and say so, or end."""
        self._overflowed = True
        if self._seam:  # catching up never overflows: what is dropped here is read again
            self._drop_live()
            return
        if self._options.overflow == DISCONNECT:
            self._too_slow()
            return
        newest = self._options.overflow == DROP_NEWEST
        kept: deque[tuple[AgentRef | None, Segment, Sequence[int]]] = deque()
        while self._pending and self._full():
            ref, segment, indexes = self._pending.pop() if newest else self._pending.popleft()
            stay = indexes
            if ref is not None:
                stay = _kept(segment, indexes)
                self._left_out(ref.id, segment, indexes)
            self._count -= len(indexes) - len(stay)
            self._bytes -= len(segment.body) * (len(indexes) - len(stay)) // segment.count
            if stay and newest:
                kept.appendleft((ref, segment, stay))
            elif stay:
                kept.append((ref, segment, stay))
        self._pending = self._pending + kept if newest else kept + self._pending
        if self._full():
            self._too_slow()

    def _full(self) -> bool:
        return self._count > self._options.buffer_size or self._bytes > BUFFER_BYTES

    def _left_out(self, agent_id: str, segment: Segment, indexes: Sequence[int]) -> None:
        """Counts by kind and not by event: who is behind must not be made slower by it."""
        kinds = bytes([segment.kinds[index] for index in indexes])
        for code in set(kinds):
            if catalogue.KEPT_BITS >> code & 1:
                continue
            channel, count = catalogue.BY_CODE[code].channel, kinds.count(code)
            first = segment.first_sequence + indexes[kinds.index(code)]
            last = segment.first_sequence + indexes[kinds.rindex(code)]
            self._hub.dropped += count
            gap = self._gaps.get((agent_id, channel))
            if gap is None:
                self._gaps[agent_id, channel] = _Gap(agent_id, channel, first, last, count)
            else:
                gap.first, gap.last, gap.count = min(gap.first, first), max(gap.last, last), gap.count + count

    def _too_slow(self) -> None:
        """Ends at once: what waits can be read again from the cursor."""
        self._pending.clear()
        self._gaps.clear()
        self._front.clear()
        self._count = self._bytes = 0
        self.end(errors.SubscriberTooSlow(retry_after=0.1, cursor=self.cursor, buffer_size=self._options.buffer_size))


def _kept(segment: Segment, indexes: Sequence[int]) -> Sequence[int]:
    """Those of the events that are never left out; mostly none, which the few kinds of a segment tell."""
    if not any(catalogue.KEPT_BITS >> code & 1 for code in set(segment.kinds)):
        return ()
    return [index for index in indexes if catalogue.KEPT_BITS >> segment.kinds[index] & 1]


def _fitting(
    segment: Segment, indexes: Sequence[int], room: int, space: int, *, alone: bool
) -> tuple[Sequence[int], Sequence[int]]:
    """Splits indexes into what one message still holds, at least one if it is ``alone`` in it, and the rest."""
    now = indexes[:room]
    if len(segment.body) <= space:
        return now, indexes[room:]
    total = 0
    for count, index in enumerate(now):
        total += segment.ends[index] - (segment.ends[index - 1] if index else 0)
        if total > space and (count or not alone):
            return indexes[:count], indexes[count:]
    return now, indexes[len(now) :]


def _bytes(segment: Segment, indexes: Sequence[int]) -> bytes:
    """Frames of some events: one slice where they stand together."""
    first, last = indexes[0], indexes[-1]
    if last - first + 1 == len(indexes):
        return segment.body if len(indexes) == segment.count else segment.slice(first, last + 1)
    return b"".join([segment.slice(index, index + 1) for index in indexes])
