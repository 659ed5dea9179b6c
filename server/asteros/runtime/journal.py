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
from asteros import errors
from asteros.events.cursor import Place
from asteros.events.frames import place
from asteros.events.log import EventLog, Written
from asteros.stores.base import NO_SCOPE, AgentRef, RequestIdKnown, Row, Scope, Segment

M = TypeVar("M", bound=Message)


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

    def post(self, events: Sequence[event_pb2.Event], rows: Sequence[Row] = (), scope: Scope = NO_SCOPE) -> Written:
        """Puts a change in line; see ``EventLog.append``. A failure also shows at the next ``flow``."""
        written = self._log.append(self.ref, self.epoch, events, rows, scope)
        written.add_done_callback(self._wrote)
        return written

    async def write(
        self, events: Sequence[event_pb2.Event], rows: Sequence[Row] = (), scope: Scope = NO_SCOPE
    ) -> Segment | None:
        """The same, and waits until it is durable. Cancelled: it is written all the same."""
        return await asyncio.shield(self.post(events, rows, scope))

    async def flow(self) -> None:
        """Between two chunks of a model: waits while the disk is behind.

        :raises AsterError: an event posted before could not be written."""
        if self._failure is not None:
            raise self._failure
        if not self._log.has_room:
            await self._log.wait_for_room()

    def _wrote(self, written: Written) -> None:
        if written.cancelled():
            return
        if error := written.exception():
            # A refused request or session is its caller's business, not the turn's.
            if isinstance(error, Exception) and not isinstance(error, (RequestIdKnown, errors.AlreadyExists)):
                self._failure = error
        elif (segment := written.result()) is not None:
            self.place = place(segment, segment.count - 1)

    def forgive(self) -> None:
        """Forgets a failed write: the turn it belonged to ends as failed."""
        self._failure = None
