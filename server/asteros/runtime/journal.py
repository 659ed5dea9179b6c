"""The one pen of an agent: every event and row it writes goes through here.

A turn's steps, messages and events are stored together or not at all, so the rows
are the journal: what a crash leaves behind says exactly which step had finished
(the assistant's message and its calls), which call had started (its record is
EXECUTING) and which had ended (its record has a result)."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from aster.v1 import event_pb2
from asteros.events.cursor import Place
from asteros.events.frames import place
from asteros.events.log import EventLog, Written
from asteros.events.texts import TextDraft
from asteros.stores.base import NO_SCOPE, AgentRef, Row, Scope, Segment

M = TypeVar("M", bound=Message)
Event = event_pb2.Event | TextDraft


def snapshot(message: M) -> M:
    """A copy for a row: rows are encoded later, on another thread."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


class Journal:
    """Writes what one agent does, under the epoch with which it was acquired."""

    def __init__(self, log: EventLog, ref: AgentRef, epoch: int, latest_sequence: int) -> None:
        self.ref = ref
        self.epoch = epoch
        self.place = Place(ref.key, log.hub.head, latest_sequence)  # after the newest stored event
        self._log = log
        self._failure: Exception | None = None
        self._newest: Written | None = None  # the last write in line, and the last whose failure counts
        self._watched: Written | None = None

    def put(self, events: Sequence[Event], rows: Sequence[Row] = (), scope: Scope = NO_SCOPE) -> Written:
        """Puts a change in line; see ``EventLog.append``. Whoever waits for it learns of a failure."""
        written = self._log.append(self.ref, self.epoch, events, rows, scope)
        if written is not self._newest:  # events of one segment share its future
            self._newest = written
            written.add_done_callback(self._wrote)
        return written

    def post(self, events: Sequence[Event], rows: Sequence[Row] = (), scope: Scope = NO_SCOPE) -> Written:
        """The same for the turn in progress, which need not wait: a failure shows at its next ``flow``."""
        written = self.put(events, rows, scope)
        if written is not self._watched:
            self._watched = written
            written.add_done_callback(self._failed)
        return written

    def post_text(self, draft: TextDraft, scope: Scope) -> None:
        """``post`` of one piece of text: made for every token of a model."""
        if self._watched is None or not self._log.extend(self.ref, draft, scope, self._watched):
            self.post((draft,), (), scope)

    async def write(self, events: Sequence[Event], rows: Sequence[Row] = (), scope: Scope = NO_SCOPE) -> Segment | None:
        """Puts a change in line and waits until it is durable. Cancelled: it is written all the same."""
        return await asyncio.shield(self.put(events, rows, scope))

    @property
    def flows(self) -> bool:
        """Nothing failed and the disk keeps up: ``flow`` would return at once."""
        return self._failure is None and self._log.has_room

    async def flow(self) -> None:
        """Between two chunks of a model: waits while the disk is behind.

        :raises AsterError: an event posted before could not be written."""
        if self._failure is not None:
            raise self._failure
        if not self._log.has_room:
            await self._log.wait_for_room()

    async def settled(self) -> None:
        """Waits until what was put in line before is written, or has failed: what the store then says is all."""
        if self._newest is not None:
            await asyncio.wait([self._newest])

    def _wrote(self, written: Written) -> None:
        if written is self._newest:  # a finished future would keep its segment
            self._newest = None
        if not written.cancelled() and not written.exception() and (segment := written.result()) is not None:
            self.place = place(segment, segment.count - 1)

    def _failed(self, written: Written) -> None:
        if written is self._watched:
            self._watched = None
        if not written.cancelled() and isinstance(error := written.exception(), Exception):
            self._failure = error

    def forgive(self) -> None:
        """Forgets a failed write: the turn it belonged to ends as failed."""
        self._failure = None
