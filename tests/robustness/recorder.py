"""Subscribers that write down every frame as it arrived, and come back after every loss.

A listener goes on from the last cursor it received, whatever ended its stream. What it
has seen is judged later, by ``validators``; here nothing is judged, sorted or left out."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from robustness.harness import Stubs

from aster.v1 import common_pb2, event_pb2, event_service_pb2

DISCONNECT = event_service_pb2.OVERFLOW_POLICY_DISCONNECT
DROP_OLDEST = event_service_pb2.OVERFLOW_POLICY_DROP_OLDEST
ALL_CHANNELS = frozenset((common_pb2.CHANNEL_PROGRESS, common_pb2.CHANNEL_CONTROL, common_pb2.CHANNEL_MONITOR))
_CHANNEL_NUMBERS = {
    "progress": common_pb2.CHANNEL_PROGRESS,
    "control": common_pb2.CHANNEL_CONTROL,
    "monitor": common_pb2.CHANNEL_MONITOR,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One event frame as received. ``data`` is the whole frame, its cursor included."""

    agent_id: str
    sequence: int
    event_type: str
    data: bytes

    @property
    def channel(self) -> int:
        return _CHANNEL_NUMBERS[self.event_type.partition(".")[0]]

    @property
    def event(self) -> event_pb2.Event:
        return event_pb2.EventFrame.FromString(self.data).event


@dataclass(frozen=True, slots=True)
class Gap:
    """An announced hole in one agent's events on one channel."""

    agent_id: str
    channel: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class End:
    """How one stream ended: the code, and the reason and facts of our own errors."""

    code: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass
class Record:
    """What one subscription wanted and what came of it, over all its streams."""

    name: str
    agent_ids: frozenset[str] = frozenset()  # empty: every agent
    channels: frozenset[int] = ALL_CHANNELS
    policy: int = DISCONNECT
    seen: list[Seen] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    epochs: set[str] = field(default_factory=set)

    def wants(self, agent_id: str, channel: int) -> bool:
        return channel in self.channels and (not self.agent_ids or agent_id in self.agent_ids)


class Pool:
    """Frames of one run: equal ones are kept once, however many listeners saw them."""

    def __init__(self) -> None:
        self._known: dict[bytes, Seen] = {}

    def seen(self, frame: event_pb2.EventFrame) -> Seen:
        data = frame.SerializeToString(deterministic=True)
        known = self._known.get(data)
        if known is None:
            event = frame.event
            known = self._known[data] = Seen(event.agent_id, event.sequence, event.event_type, data)
        return known


Hook = Callable[[event_pb2.Event], None]


class Listener:
    """A subscriber. ``run`` follows the log until it is cancelled."""

    def __init__(self, stubs: Stubs, pool: Pool, record: Record, *, buffer: int = 16_384) -> None:
        self.record = record
        self.cursor = ""
        self._stubs = stubs
        self._pool = pool
        self._buffer = buffer
        self._newest: dict[str, int] = {}
        self._hooks: list[Hook] = []
        self._moved = asyncio.Event()
        self.started = asyncio.Event()

    def on_event(self, hook: Hook) -> None:
        """Calls the hook with every event, as it arrives."""
        self._hooks.append(hook)

    async def run(self) -> None:
        """Follows until it is cancelled; grpc tells of that now and then with a status instead of an exception."""
        task = asyncio.current_task()
        while task is not None and not task.cancelling():
            self.record.ends.append(await self.follow())
            await asyncio.sleep(0)  # a refusal that comes at once must not starve the others

    async def follow(self) -> End:
        """One stream from the last cursor on; how it ended."""
        call = self.open()
        try:
            async for response in call:
                self.take(response.frames)
        except grpc.aio.AioRpcError as error:
            return end_of(error)
        finally:
            call.cancel()
        return End("OK")

    def open(self) -> Any:
        """A stream from the last cursor on."""
        return self._stubs.events.Subscribe(self.request(), wait_for_ready=True)

    def request(self) -> event_service_pb2.SubscribeRequest:
        record = self.record
        request = event_service_pb2.SubscribeRequest(
            agent_ids=sorted(record.agent_ids),
            channels=sorted(record.channels) if record.channels != ALL_CHANNELS else (),
            overflow_policy=record.policy,
            buffer_size=self._buffer,
        )
        if self.cursor:
            request.cursor = self.cursor
        else:
            request.position = event_service_pb2.START_POSITION_EARLIEST
        return request

    def take(self, frames: Iterable[event_pb2.EventFrame]) -> None:
        """Writes down the frames of one message."""
        for frame in frames:
            self._take(frame)
            self.cursor = frame.cursor or self.cursor
        self._moved.set()

    def _take(self, frame: event_pb2.EventFrame) -> None:
        match frame.WhichOneof("frame"):
            case "event":
                event = frame.event
                self.record.seen.append(self._pool.seen(frame))
                self._newest[event.agent_id] = event.sequence
                for hook in self._hooks:
                    hook(event)
            case "gap":
                gap = frame.gap
                self.record.gaps.append(Gap(gap.agent_id, gap.channel, gap.first_sequence, gap.last_sequence))
            case "started":
                self.record.epochs.add(frame.started.log_epoch)
                self.started.set()

    def reached(self, newest: dict[str, int]) -> bool:
        """These events have come, or later ones of their agents."""
        return all(self._newest.get(agent_id, 0) >= sequence for agent_id, sequence in newest.items())

    async def reach(self, newest: dict[str, int], seconds: float) -> bool:
        """Waits until these events have come. False: they never did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.reached(newest):
                    self._moved.clear()
                    await self._moved.wait()
                return True
        return False


def end_of(error: grpc.aio.AioRpcError) -> End:
    """The code of a failed call, and the reason our servers give with it."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return End(error.code().name, info.reason, dict(info.metadata), error.details() or "")
    return End(error.code().name, text=error.details() or "")
