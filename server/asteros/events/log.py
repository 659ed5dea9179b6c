"""The event log: everything agents change goes through here, in order.

``append`` puts a unit in line and returns at once with a future. One committer
takes all that is in line, has the store write it in one durable transaction (one
fsync for all that wait), and only then shows the events to the hub: durable before
visible (guarantee E2). While a group is being written the next one gathers, so
groups grow with the load and an idle log adds no delay. There is no timer."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aster.v1 import event_pb2
from asteros import errors, failpoints
from asteros.events.cursor import MAX_INDEX, CursorCodec
from asteros.events.frames import Sealer
from asteros.events.hub import Hub
from asteros.events.texts import TextDraft
from asteros.stores.base import NO_SCOPE, AgentRef, Row, Scope, Segment, Store, Unit

_log = logging.getLogger(__name__)
MAX_GROUP_EVENTS = 2048  # events of one transaction; a unit is never cut
MAX_SEGMENT_EVENTS = 256  # one message of a stream; below the cursor's MAX_INDEX
ROOM = 2048  # events in line before producers wait
assert MAX_SEGMENT_EVENTS <= MAX_INDEX

Written = asyncio.Future[Segment | None]


@dataclass(slots=True)
class _Entry:
    ref: AgentRef
    unit: Unit
    written: Written


class EventLog:
    """Group commit in front of a store. Start with ``start``, end with ``aclose``."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self.codec = CursorCodec(store.secret)
        self.hub = hub
        self._store = store
        self._seal = Sealer(self.codec)
        self._line: list[_Entry] = []
        # Last entry in line of each agent, while it holds events alone and may grow.
        self._growing: dict[int, _Entry] = {}
        self._events_in_line = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._committer: asyncio.Task[None] | None = None
        self._closing = False
        self.groups = 0
        self.events_written = 0

    async def start(self) -> None:
        self.hub.head = await self._store.head()
        self._committer = asyncio.create_task(self._run(), name="aster-log")

    async def aclose(self) -> None:
        """Writes what is in line, then stops. Appending afterwards fails."""
        self._closing = True
        self._work.set()
        if self._committer is not None:
            await self._committer

    def append(
        self,
        ref: AgentRef,
        epoch: int,
        events: Sequence[event_pb2.Event | TextDraft] = (),
        rows: Sequence[Row] = (),
        scope: Scope = NO_SCOPE,
    ) -> Written:
        """Puts a change of one agent in line: events and rows are stored together or not at all.

        The future gives the segment once it is durable and shown (None without
        events), or raises why it was refused: ``LeaseLost``, ``RequestIdKnown``,
        ``SessionAlreadyExists``, ``StorageFull``, ``StoreUnavailable``. Abandoning
        it changes nothing. Changes of one agent are written in the order of the
        calls. Events alone may share a segment with the change before."""
        if self._closing:
            raise errors.Draining()
        last = self._growing.get(ref.key)
        if last is not None and not rows and last.unit.epoch == epoch and _same(last.unit.scope, scope):
            last.unit.events.extend(events)
            self._count(len(events))
            if len(last.unit.events) >= MAX_SEGMENT_EVENTS:
                del self._growing[ref.key]
            return last.written
        entry = _Entry(ref, Unit(ref.key, epoch, scope, list(events), rows), asyncio.get_running_loop().create_future())
        entry.written.add_done_callback(_observed)
        if rows:
            self._growing.pop(ref.key, None)
        else:
            self._growing[ref.key] = entry
        self._line.append(entry)
        self._count(len(events))
        self._work.set()
        return entry.written

    def extend(self, ref: AgentRef, event: event_pb2.Event | TextDraft, scope: Scope, written: Written) -> bool:
        """Adds an event to the unit in line that ``append`` gave this future for; False, and nothing
        done, when it no longer grows. Made for tokens: ``append`` comes to the same."""
        last = self._growing.get(ref.key)
        if last is None or last.written is not written or last.unit.scope is not scope:
            return False
        events = last.unit.events
        events.append(event)
        self._events_in_line += 1
        if self._events_in_line > ROOM:
            self._room.clear()
        if len(events) >= MAX_SEGMENT_EVENTS:
            del self._growing[ref.key]
        return True

    def _count(self, more: int) -> None:
        self._events_in_line += more
        if self._events_in_line > ROOM:
            self._room.clear()

    @property
    def has_room(self) -> bool:
        """Fewer than ROOM events are in line."""
        return self._events_in_line <= ROOM

    async def wait_for_room(self) -> None:
        """Back-pressure on producers, from the disk alone: readers never cause it."""
        await self._room.wait()

    async def _run(self) -> None:
        while not (self._closing and not self._line):
            await self._work.wait()
            self._work.clear()
            while self._line:
                await self._survive(self._take_group())

    async def _survive(self, group: list[_Entry]) -> None:
        """Commits a group; a fault of ours fails its writers, and never ends the log."""
        try:
            await self._commit(group)
        except Exception as error:
            _log.exception("a group of the log was given up")
            for entry in group:
                _fail(entry.written, error)

    def _take_group(self) -> list[_Entry]:
        self._growing.clear()
        total = 0
        for index, entry in enumerate(self._line):
            total += len(entry.unit.events)
            if total > MAX_GROUP_EVENTS and index:
                group, self._line = self._line[:index], self._line[index:]
                return group
        group, self._line = self._line, []
        return group

    async def _commit(self, group: list[_Entry]) -> None:
        try:
            await failpoints.reach("log.before_append")
            outcomes = await self._store.commit([entry.unit for entry in group], self._seal)
        except Exception as error:
            if not isinstance(error, errors.AsterError):
                _log.exception("the log could not be written")
                if len(group) > 1:  # one of them is bad: the others must not fail with it
                    for entry in group:
                        await self._commit([entry])
                    return
            self._left(group)
            for entry in group:
                _fail(entry.written, error)
            return
        self._left(group)
        shown = [
            (entry.ref, outcome) for entry, outcome in zip(group, outcomes, strict=True) if isinstance(outcome, Segment)
        ]
        self.groups += 1
        await failpoints.reach("log.after_append_before_ack")
        for entry, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                _fail(entry.written, outcome)
            elif not entry.written.done():
                entry.written.set_result(outcome)
        await failpoints.reach("log.after_ack_before_publish")
        self.hub.publish(shown)  # in the same tick: whoever waited runs behind it

    def _left(self, group: list[_Entry]) -> None:
        count = sum(len(entry.unit.events) for entry in group)
        self._events_in_line -= count
        self.events_written += count
        if self._events_in_line <= ROOM:
            self._room.set()


def _same(one: Scope, other: Scope) -> bool:
    return one is other or one == other  # nearly always the same object: a turn has one


def _fail(written: Written, error: Exception) -> None:
    if not written.done():
        written.set_exception(error)


def _observed(written: Written) -> None:
    """Nobody has to wait for a write: an unread failure is no leak."""
    if not written.cancelled():
        written.exception()
