"""A stream of events that survives its connection.

Contract (``event_service.proto``): at-least-once from a cursor. This side opens again
after UNAVAILABLE and SUBSCRIBER_TOO_SLOW, drops what was delivered before, and raises
every other failure. What the *server* left out arrives as a gap, never silently.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from aster import errors
from aster._transport import TRIES, Backoff
from aster.events import EventView
from aster.v1 import event_pb2


@dataclass(slots=True)
class Position:
    """How far a stream has come: what its next opening begins from."""

    cursor: str = ""  # after this frame
    turn_id: str = ""  # the one turn it follows; empty: not known, or any
    after_sequence: int | None = None  # where it began, if it began at "now" on one agent


@dataclass(frozen=True, slots=True)
class Source:
    """Where the frames come from, and what is known of them beforehand."""

    open: Callable[[Position], "grpc.aio.UnaryStreamCall[Any, Any]"]
    until_turn_complete: bool = False
    one_turn: bool = False  # all events are of one turn; its id comes with the first
    from_now: bool = False  # one agent, from now: ``started`` says which sequence that was


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one subscription since it was made."""

    received: int  # events handed to the reader or waiting for it
    duplicates: int  # events dropped because they had been received before
    reconnects: int  # times the stream was opened again
    gaps: int  # gap frames
    missed: int  # events those gaps named
    cursor: str  # resume point after the last event that was handed out


class Subscription:
    """Events in order, as an async iterator of ``EventView``; one reader at a time.

    ``async with`` waits until the server has the subscription in place, so no event
    after that line is missed, and cancels the RPC at its end (seed 003, Subscribe and
    ``defer ag.Unsubscribe(eventCh)``). Inside it, giving up one read with
    ``asyncio.timeout`` loses nothing and costs nothing (seed 001, ``time.After``).
    Iterating without ``async with`` opens at the first read; cancelling that reader
    cancels the RPC.
    """

    def __init__(self, source: Source, position: Position) -> None:
        self._source = source
        self._position = position
        self._call: grpc.aio.UnaryStreamCall[Any, Any] | None = None
        self._messages: AsyncIterator[Any] | None = None
        self._reading: asyncio.Task[Any] | None = None
        self._ready: list[event_pb2.EventFrame] = []
        self._index = 0  # of the next frame in _ready
        self._cursor_before = position.cursor  # before the first frame in _ready
        self._last: dict[str, int] = {}  # newest sequence of each log
        self._replayed: dict[str, int] = {}  # logs that may still repeat themselves after a resume
        self._backoff = Backoff()
        self._failures = 0
        self._entered = self._closed = self._completed = False
        self._received = self._duplicates = self._reconnects = self._gaps = self._missed = 0
        self.started: event_pb2.SubscriptionStarted | None = None  # of the newest opening
        self.on_lost: Callable[[errors.AsterError], None] | None = None  # told before each new opening

    async def __aenter__(self) -> Self:
        self._entered = True
        try:
            while self.started is None and not self._closed:
                self._hold(await self._fetch() or [])
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventView:
        while self._index >= len(self._ready):
            frames = await self._next_frames()
            if frames is None:
                raise StopAsyncIteration
            self._hold(frames)
        frame = self._ready[self._index]
        self._index += 1
        return EventView(frame)

    async def batches(self) -> AsyncIterator[list[event_pb2.EventFrame]]:
        """The same events and gaps as raw frames, as many at once as have come: for readers that want speed."""
        rest, self._ready = self._ready[self._index :], []
        if rest:
            yield rest
        while (frames := await self._next_frames()) is not None:
            yield frames

    async def close(self) -> None:
        """Cancels the RPC and ends the iteration; twice is fine (seed 003, Unsubscribe)."""
        self._closed = True
        reading = self._reading
        self._abandon()
        if reading is not None:
            await asyncio.wait((reading,))

    def __del__(self) -> None:
        # A reader that only dropped its reference: the task that reads would keep the RPC.
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the RPC with it
            self._abandon()

    @property
    def turn_id(self) -> str:
        """The turn it follows; on a stream empty until the first event."""
        return self._position.turn_id

    @property
    def cursor(self) -> str:
        """``subscribe(cursor=...)`` from here goes on after the last event that was handed out."""
        if self._index >= len(self._ready):
            return self._position.cursor
        seen = (frame.cursor for frame in reversed(self._ready[: self._index]) if frame.cursor)
        return next(seen, self._cursor_before)

    def statistics(self) -> Statistics:
        """Counters so far."""
        return Statistics(
            self._received, self._duplicates, self._reconnects, self._gaps, self._missed, cursor=self.cursor
        )

    def _hold(self, frames: list[event_pb2.EventFrame]) -> None:
        self._ready, self._index = frames, 0

    async def _next_frames(self) -> list[event_pb2.EventFrame] | None:
        """Some frames, at least one; None at the end."""
        while not self._closed:
            if frames := await self._fetch():
                return frames
        return None

    async def _fetch(self) -> list[event_pb2.EventFrame] | None:
        """One message, or one recovery: maybe no frames. Raises AsterError where opening again is no help."""
        try:
            message = await self._read()
        except grpc.aio.AioRpcError as failure:
            await self._recover(failure)
            return None
        if message is None:
            self._closed = True
            return None
        return self._accept(message.frames)

    async def _read(self) -> Any:
        """The next message; None after the server's OK or our close."""
        if self._reading is None:
            if self._messages is None:
                self._call = self._source.open(self._position)
                self._messages = aiter(self._call)
            # A task of its own: gRPC cancels the whole RPC with a read, and a reader
            # that gives up one read wants the next one all the same.
            self._reading = asyncio.create_task(_pull(self._messages))
            self._reading.add_done_callback(_consume)
        reading = self._reading
        try:
            await asyncio.wait((reading,))
        except asyncio.CancelledError:
            if not self._entered:
                self._abandon()
                self._replayed = dict(self._last)
            raise
        self._reading = None
        return None if reading.cancelled() else reading.result()

    def _abandon(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = self._messages = self._reading = None

    async def _recover(self, failure: grpc.aio.AioRpcError) -> None:
        self._call = self._messages = None
        if self._completed:  # all has come; only the OK was lost
            self._closed = True
            return
        error = errors.from_rpc(failure)
        self._failures += 1
        hopeless = self.started is None and self._failures >= TRIES
        if hopeless or not _resumable(error):
            self._closed = True
            raise error from failure
        if not self._position.cursor and self._position.after_sequence is None:
            self._position.cursor = error.metadata.get("cursor", "")
        self._replayed = dict(self._last)
        self._reconnects += 1
        if self.on_lost is not None:
            self.on_lost(error)
        await asyncio.sleep(self._backoff.next(error.retry_after))

    def _accept(self, frames: Iterable[event_pb2.EventFrame]) -> list[event_pb2.EventFrame]:
        """Notes the position and keeps what is new. The hot path: a few lookups per frame."""
        fresh: list[event_pb2.EventFrame] = []
        cursor = self._cursor_before = self._position.cursor
        for frame in frames:
            kind = frame.WhichOneof("frame")
            if kind == "event":
                event = frame.event
                log = event.agent_id or event.workflow_run_id
                # Within one stream the server's order holds; only a resume repeats. So an
                # agent deleted and made anew, from sequence 1, is not taken for a repetition.
                if self._replayed and self._is_repeated(log, event.sequence):
                    continue
                self._last[log] = event.sequence
                self._received += 1
                fresh.append(frame)
            elif kind == "gap":
                self._gaps += 1
                self._missed += frame.gap.dropped_count
                fresh.append(frame)
            elif kind == "started":
                self._begin(frame)
            else:  # a heartbeat
                self._backoff.reset()
            cursor = frame.cursor or cursor
        self._position.cursor = cursor
        if fresh:
            self._backoff.reset()
            self._watch_turn(fresh)
        return fresh

    def _is_repeated(self, log: str, sequence: int) -> bool:
        if sequence <= self._replayed.get(log, 0):
            self._duplicates += 1
            return True
        self._replayed.pop(log, None)
        return False

    def _begin(self, frame: event_pb2.EventFrame) -> None:
        started = frame.started
        if self.started is not None and self.started.log_epoch != started.log_epoch:
            # Another log, whose sequences begin again: nothing in it is a repetition.
            self._last.clear()
            self._replayed.clear()
        position = self._position
        if self._source.from_now and position.after_sequence is None:
            position.after_sequence = started.latest_sequence
        self.started = started

    def _watch_turn(self, fresh: list[event_pb2.EventFrame]) -> None:
        if not self._source.until_turn_complete:
            return
        position = self._position
        if self._source.one_turn and not position.turn_id:
            position.turn_id = next((frame.event.turn_id for frame in fresh if frame.event.turn_id), "")
        self._completed |= any(
            frame.event.event_type == "progress.complete" and position.turn_id in ("", frame.event.turn_id)
            for frame in fresh
        )


async def _pull(messages: AsyncIterator[Any]) -> Any:
    return await anext(messages, None)


def _consume(reading: asyncio.Task[Any]) -> None:
    # The failure of a read nobody waits for any more is no news for the event loop.
    if not reading.cancelled():
        reading.exception()


def _resumable(error: errors.AsterError) -> bool:
    if isinstance(error, errors.ResourceExhausted):
        return error.reason == "SUBSCRIBER_TOO_SLOW"
    return isinstance(error, errors.Unavailable)
