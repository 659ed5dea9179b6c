"""The event log of the fake server: storing, streaming by the contract, and ending a stream as a test plans it."""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import duration_pb2, message, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

from aster.v1 import event_pb2, event_service_pb2

NOW = timestamp_pb2.Timestamp(seconds=1_700_000_000)
CHANNELS = {"progress": 1, "control": 2, "monitor": 3}


@dataclass
class Fault:
    """One failure to answer with: what an Aster server puts into its trailers."""

    code: grpc.StatusCode
    reason: str = ""
    text: str = "fault"
    metadata: dict[str, str] | None = None
    retry_after: float | None = None
    violations: tuple[tuple[str, str], ...] = ()

    def status(self) -> status_pb2.Status:
        status = status_pb2.Status(code=self.code.value[0], message=self.text)
        details: list[message.Message] = []
        if self.reason:
            details.append(error_details_pb2.ErrorInfo(reason=self.reason, domain="aster", metadata=self.metadata))
        if self.retry_after is not None:
            delay = duration_pb2.Duration(nanos=int(self.retry_after * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if self.violations:
            fields = [{"field": field, "description": text} for field, text in self.violations]
            details.append(error_details_pb2.BadRequest(field_violations=fields))
        for detail in details:
            status.details.add().Pack(detail)
        return status

    async def abort(self, context: grpc.aio.ServicerContext) -> None:
        trailers = (("grpc-status-details-bin", self.status().SerializeToString()),)
        await context.abort(self.code, self.text, trailing_metadata=trailers if self.reason else ())


UNAVAILABLE = Fault(grpc.StatusCode.UNAVAILABLE)
DRAINING = Fault(grpc.StatusCode.UNAVAILABLE, "DRAINING")
TOO_SLOW = Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "SUBSCRIBER_TOO_SLOW")


@dataclass
class Plan:
    """How one opening of a stream behaves."""

    fault: Fault | None = None  # how it ends ...
    after: int = 0  # ... after so many events
    silent: bool = False  # the fault comes even before ``started``
    repeat: int = 0  # events it sends again before the place it was asked to resume from
    cursors: bool = True
    batch: int = 256  # frames of one message
    epoch: str = "e1"
    gap: event_pb2.EventGap | None = None  # follows ``started``


class EventLog:
    """Events of all agents in the order of storing; a cursor is "g" and how many were stored before it."""

    def __init__(self) -> None:
        self.log: list[event_pb2.Event] = []
        self.sequences: dict[str, int] = defaultdict(int)  # newest, by agent
        self.plans: deque[Plan] = deque()  # of the next openings
        self.open_streams = 0
        self._news = asyncio.Condition()

    async def until(self, condition: Any) -> None:
        """Waits until something that the log or a stream changes is true."""
        async with self._news:
            await self._news.wait_for(condition)

    async def _longer_than(self, position: int) -> None:
        await self.until(lambda: position < len(self.log))

    async def tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def emit(
        self, agent_id: str, event_type: str, payload: message.Message, turn_id: str = ""
    ) -> event_pb2.Event:
        """Stores an event of a kind."""
        event = self.store(agent_id, event_type, payload, turn_id)
        await self.tell()
        return event

    def store(self, agent_id: str, event_type: str, payload: message.Message, turn_id: str = "") -> event_pb2.Event:
        channel, _, kind = event_type.partition(".")
        self.sequences[agent_id] += 1
        event = event_pb2.Event(
            id=f"01EVENT{len(self.log):04}",
            sequence=self.sequences[agent_id],
            event_type=event_type,
            agent_id=agent_id,
            turn_id=turn_id,
            create_time=NOW,
        )
        getattr(getattr(event, channel), kind).CopyFrom(payload)
        self.log.append(event)
        return event

    async def texts(self, agent_id: str, *deltas: str, turn_id: str = "trn_1") -> None:
        for delta in deltas:
            self.store(agent_id, "progress.text_chunk", event_pb2.TextChunk(delta=delta), turn_id)
        await self.tell()

    async def frames(self, request: Any, context: Any) -> Any:
        plan = self.plans.popleft() if self.plans else Plan()
        if plan.silent:
            assert plan.fault is not None
            await plan.fault.abort(context)
        position = self._begin(request)
        started = event_pb2.SubscriptionStarted(subscription_id="sub", log_epoch=plan.epoch)
        if request.agent_id:
            started.latest_sequence = self.sequences[request.agent_id]
        self.open_streams += 1
        await self.tell()
        try:
            first = [event_pb2.EventFrame(started=started)]
            yield first if plan.gap is None else [*first, event_pb2.EventFrame(gap=plan.gap)]
            async for frames in self._events(request, context, plan, max(0, position - plan.repeat)):
                yield frames
        finally:
            self.open_streams -= 1
            await self.tell()

    async def _events(self, request: Any, context: Any, plan: Plan, position: int) -> Any:
        sent = 0
        while True:
            batch: list[event_pb2.EventFrame] = []
            complete = False
            while position < len(self.log) and len(batch) < plan.batch and not complete:
                if plan.fault is not None and sent + len(batch) >= plan.after:
                    break
                event = self.log[position]
                position += 1
                if self._matches(request, event):
                    cursor = f"g{position}" if plan.cursors else ""
                    batch.append(event_pb2.EventFrame(cursor=cursor, event=event))
                    complete = request.until_turn_complete and event.event_type == "progress.complete"
            if batch:
                yield batch
                sent += len(batch)
            if plan.fault is not None and sent >= plan.after:
                await plan.fault.abort(context)
            if complete:
                return
            if not batch:
                await self._longer_than(position)

    def _begin(self, request: Any) -> int:
        match request.WhichOneof("start_from"):
            case "cursor":
                return int(request.cursor.removeprefix("g"))
            case "after_sequence":
                for index, event in enumerate(self.log):
                    if event.agent_id == request.agent_id and event.sequence > request.after_sequence:
                        return index
            case "position" if request.position == event_service_pb2.START_POSITION_EARLIEST:
                return 0
        return len(self.log)

    def _matches(self, request: Any, event: event_pb2.Event) -> bool:
        agents = {request.agent_id, *request.agent_ids} - {""}
        channels = {name for name, number in CHANNELS.items() if number in request.channels}
        return (
            (not agents or event.agent_id in agents)
            and (not request.turn_id or event.turn_id == request.turn_id)
            and (not channels or event.event_type.partition(".")[0] in channels)
            and (not request.event_types or event.event_type in request.event_types)
        )
