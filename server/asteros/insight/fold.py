"""What a piece of the log adds to the sums. Pure: the same events give the same sums,
however they are cut into pieces."""

from collections.abc import Mapping, Sequence

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock
from asteros.events import frames
from asteros.events.catalogue import BY_CODE, COMPLETE, KINDS
from asteros.insight.histogram import slot_of
from asteros.stores.base import Segment
from asteros.stores.insights import (
    MINUTE,
    NANO_USD,
    TOKENS,
    Fold,
    Logged,
    Slot,
    Timed,
    TraceKey,
    TraceRow,
    TraceStatus,
    Usage,
)

_MODEL_CALL = KINDS["monitor.model_call"].code
_TOKEN_USAGE = KINDS["monitor.token_usage"].code
COUNTED = (
    _MODEL_CALL, _TOKEN_USAGE, KINDS["monitor.tool_execution"].code, KINDS["monitor.step_complete"].code, COMPLETE.code,
)  # fmt: skip


def trace_keys(logged: Sequence[Logged]) -> list[TraceKey]:
    """The traces that a piece of the log continues, or begins."""
    return list({(one.segment.agent_key, turn): None for one in logged if (turn := one.segment.scope.turn_id)})


def fold(logged: Sequence[Logged], known: Mapping[TraceKey, TraceRow]) -> Fold:
    """Sums of consecutive segments; ``known``: their traces as stored before. Changes those in place."""
    made = Fold(traces=dict(known))
    for one in logged:
        _Segment(made, one).add()
    return made


def nano_usd(cost: float) -> int:
    """US dollars as the whole number that is summed."""
    return round(cost * NANO_USD)


class _Segment:
    """One segment on its way into the sums."""

    def __init__(self, made: Fold, logged: Logged) -> None:
        self._made = made
        self._logged = logged
        self._time = logged.segment.create_time
        self._minute = self._time // (MINUTE * clock.NANOS) * MINUTE

    def add(self) -> None:
        segment = self._logged.segment
        trace = self._trace(segment) if segment.scope.turn_id else None
        for index in counted(segment) if segment.body else ():
            (frame,) = frames.event_frames(segment, [index])
            event = frame.event
            if trace is not None:
                trace.parent_turn_id = event.parent_turn_id
            match BY_CODE[segment.kinds[index]].name:
                case "model_call":
                    self._model_call(event.monitor.model_call, trace)
                case "token_usage":
                    self._tokens_alone(event.monitor.token_usage, trace)
                case "tool_execution":
                    self._tool(event.monitor.tool_execution, trace)
                case "step_complete":
                    self._usage(trace.model if trace else "").steps += 1
                case "complete":
                    self._complete(event.progress.complete, trace)

    def _trace(self, segment: Segment) -> TraceRow:
        key = (segment.agent_key, segment.scope.turn_id)
        trace = self._made.traces.get(key)
        if trace is None:
            trace = self._made.traces[key] = TraceRow(
                *key,
                tenant=self._logged.tenant,
                agent_id=self._logged.agent_id,
                session_id=segment.scope.session_id,
                parent_turn_id="",
                start_time=segment.create_time,
                end_time=0,
                status=TraceStatus.RUNNING,
                first_sequence=segment.first_sequence,
                last_sequence=segment.last_sequence,
            )
        trace.last_sequence = segment.last_sequence
        return trace

    def _usage(self, model: str) -> Usage:
        key = (self._logged.tenant, self._minute, self._logged.agent_id, model)
        return self._made.usage.setdefault(key, Usage())

    def _timed(self, kind: Timed, nanos: int, name: str = "") -> None:
        key = (self._logged.tenant, int(kind), self._minute, self._logged.agent_id, name, slot_of(nanos))
        self._made.slots.setdefault(key, Slot()).add(Slot(1, nanos, nanos))

    def _model_call(self, call: event_pb2.ModelCall, trace: TraceRow | None) -> None:
        took = call.duration.ToNanoseconds()
        if trace is not None:
            trace.start_time = min(trace.start_time, self._time - took)
            trace.model = call.model if not call.HasField("error") else trace.model or call.model
        cost = nano_usd(call.cost_usd) if call.HasField("cost_usd") else None
        self._called(call.model, call.usage, cost, trace)
        if call.HasField("time_to_first_token"):
            first = call.time_to_first_token.ToNanoseconds()
            self._timed(Timed.FIRST_TOKEN, first)
            if call.usage.output_tokens > 1:
                self._timed(Timed.OUTPUT_TOKEN, max(took - first, 0) // (call.usage.output_tokens - 1))

    def _tokens_alone(self, usage: common_pb2.TokenUsage, trace: TraceRow | None) -> None:
        """A remote agent that tells its tokens and not its calls: nobody knows model and price."""
        self._called("", usage, None, trace)

    def _called(self, model: str, usage: common_pb2.TokenUsage, cost: int | None, trace: TraceRow | None) -> None:
        sums = self._usage(model)
        sums.model_calls += 1
        sums.unpriced_calls += cost is None
        if trace is not None:
            trace.span_count += 1
        for target in (sums, trace) if trace is not None else (sums,):
            target.cost_nanos += cost or 0
            for name in TOKENS:
                setattr(target, name, getattr(target, name) + getattr(usage, name))

    def _tool(self, ran: event_pb2.ToolExecution, trace: TraceRow | None) -> None:
        sums = self._usage(trace.model if trace else "")
        sums.tool_calls += 1
        sums.failed_tool_calls += not ran.success
        if trace is not None:
            trace.span_count += 1
        if took := ran.duration.ToNanoseconds():  # zero: it did not run
            self._timed(Timed.TOOL, took, ran.tool_name)

    def _complete(self, end: event_pb2.TurnComplete, trace: TraceRow | None) -> None:
        failed = end.state == agent_pb2.TURN_STATE_FAILED
        sums = self._usage(trace.model if trace else "")
        sums.turns += 1
        sums.failed_turns += failed
        if trace is not None:
            trace.end_time = self._time
            trace.status = TraceStatus.ERROR if failed else TraceStatus.OK
            trace.error = end.error.SerializeToString()
            self._timed(Timed.TURN, max(trace.end_time - trace.start_time, 0))


def counted(segment: Segment) -> list[int]:
    """Indexes of the events of a segment that count. token_usage repeats the model_call before it."""
    kinds = segment.kinds
    found = [index for index, code in enumerate(kinds) if code in COUNTED]
    return [index for index in found if kinds[index] != _TOKEN_USAGE or not index or kinds[index - 1] != _MODEL_CALL]
