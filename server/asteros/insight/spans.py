"""A tree of spans, put together from the events of a turn and of the turns it delegated."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock
from asteros.events.catalogue import KINDS
from asteros.insight.fold import COUNTED, counted
from asteros.stores.base import Segment
from asteros.stores.insights import TraceRow, TraceStatus

_TOOL_ENDS = frozenset(KINDS[f"progress.{name}"].code for name in ("tool_start", "tool_end"))
STATUS = {TraceStatus.RUNNING: "running", TraceStatus.OK: "ok", TraceStatus.ERROR: "error"}


def shown(segment: Segment) -> list[int]:
    """Indexes of the events of a segment that a tree is made of."""
    both = {index for index, code in enumerate(segment.kinds) if code in _TOOL_ENDS}
    return sorted(both.union(counted(segment))) if any(code in COUNTED for code in segment.kinds) else sorted(both)


class SpanTree:
    """Give it ``turn``, then the turn's events, for each turn; parents before children."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turns: dict[str, pb.TraceSpan] = {}
        self._parents: dict[str, tuple[str, str]] = {}  # turn -> its parent's turn and call
        self._tools: dict[tuple[str, str], pb.TraceSpan] = {}  # by turn and call

    @property
    def full(self) -> bool:
        return self._left <= 0

    def turn(self, row: TraceRow) -> None:
        """Begins a turn: its own span."""
        span = pb.TraceSpan(
            id=row.turn_id,
            name=row.agent_id,
            kind="agent",
            start_time=clock.timestamp(row.start_time),
            end_time=clock.timestamp(row.end_time) if row.end_time else None,
            status=STATUS[TraceStatus(row.status)],
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": row.agent_id,
                "gen_ai.conversation.id": row.session_id,
                "aster.turn.id": row.turn_id,
            },
        )
        if row.error:
            _fail(span, status_pb2.Status.FromString(row.error))
        self._turns[row.turn_id] = span
        self._parents[row.turn_id] = (row.parent_turn_id, "")
        self._left -= 1

    def event(self, row: TraceRow, event: event_pb2.Event) -> None:
        """Adds what one event of the turn tells."""
        if event.parent_call_id:
            self._parents[row.turn_id] = (event.parent_turn_id, event.parent_call_id)
        match event.event_type:
            case "monitor.model_call":
                self._model_call(row, event, event.monitor.model_call)
            case "monitor.token_usage":
                self._add(row, _span(event, "model", "llm", _tokens(event.monitor.token_usage)))
            case "progress.tool_start":
                call = event.progress.tool_start.call
                self._tool(row, event, call.id, call.name)
            case "progress.tool_end":
                self._tool_end(row, event, event.progress.tool_end)
            case "monitor.tool_execution":
                self._tool_ran(row, event, event.monitor.tool_execution)

    def root(self, turn_id: str) -> pb.TraceSpan:
        """The whole tree; delegated turns stand under the tools that began them."""
        for child, (parent, call) in reversed(self._parents.items()):  # the deepest first: adding copies
            if child != turn_id and parent in self._turns:
                above = self._tools.get((parent, call), self._turns[parent])
                above.children.append(self._sorted(child))
        return self._sorted(turn_id)

    def _sorted(self, turn_id: str) -> pb.TraceSpan:
        """The span of a turn, its parts in the order they began."""
        span = self._turns[turn_id]
        parts = [*span.children, *(tool for (turn, _), tool in self._tools.items() if turn == turn_id)]
        del span.children[:]
        span.children.extend(sorted(parts, key=lambda part: (clock.nanos(part.start_time), part.id)))
        return span

    def _add(self, row: TraceRow, span: pb.TraceSpan) -> None:
        if not self.full:
            self._turns[row.turn_id].children.append(span)
            self._left -= 1

    def _model_call(self, row: TraceRow, event: event_pb2.Event, call: event_pb2.ModelCall) -> None:
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.provider,
            "gen_ai.response.model": call.model,
            "gen_ai.response.finish_reasons": _reason(call.stop_reason),
            "aster.model.attempt": str(call.attempt),
            **_tokens(call.usage),
        }
        if call.HasField("cost_usd"):
            facts["aster.cost_usd"] = f"{call.cost_usd:.9f}".rstrip("0").rstrip(".")
        if call.HasField("time_to_first_token"):
            facts["aster.time_to_first_token_s"] = f"{clock.seconds(call.time_to_first_token):.6f}"
        span = _span(event, call.model, "llm", facts, call.duration)
        if call.HasField("error"):
            _fail(span, call.error)
        self._add(row, span)

    def _tool(self, row: TraceRow, event: event_pb2.Event, call_id: str, name: str) -> pb.TraceSpan | None:
        """The span of a tool call, begun with this event if it is the first of it; None: no room."""
        span = self._tools.get((row.turn_id, call_id))
        if span is None and not self.full:
            facts = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.call.id": call_id,
            }
            span = self._tools[row.turn_id, call_id] = _span(event, name, "tool", facts)
            span.ClearField("end_time")
            span.status = "running"
            self._left -= 1
        return span

    def _tool_end(self, row: TraceRow, event: event_pb2.Event, end: event_pb2.ToolEnd) -> None:
        span = self._tool(row, event, end.result.call_id, end.result.name)
        if span is None:
            return
        span.end_time.CopyFrom(event.create_time)
        completed = end.state == common_pb2.TOOL_CALL_STATE_COMPLETED
        span.status = "ok" if completed and not end.result.is_error else "error"
        if end.HasField("error"):
            _fail(span, end.error)
        elif end.result.is_error:
            span.attributes["error.type"] = "tool_error"

    def _tool_ran(self, row: TraceRow, event: event_pb2.Event, ran: event_pb2.ToolExecution) -> None:
        """The audit comes with the end, and alone for a call that was refused."""
        span = self._tool(row, event, ran.call_id, ran.tool_name)
        if span is None:
            return
        span.attributes["aster.tool.input_size"] = str(ran.input_size_bytes)
        span.attributes["aster.tool.output_size"] = str(ran.output_size_bytes)
        if not span.HasField("end_time"):
            span.end_time.CopyFrom(event.create_time)
            span.status = "ok" if ran.success else "error"
            if not ran.success:
                span.attributes["error.type"] = "tool_refused"


def _span(
    event: event_pb2.Event, name: str, kind: str, facts: dict[str, str], took: Duration | None = None
) -> pb.TraceSpan:
    """A span that ended with the event."""
    end = clock.nanos(event.create_time)
    return pb.TraceSpan(
        id=event.id,
        name=name,
        kind=kind,
        start_time=clock.timestamp(max(end - (took.ToNanoseconds() if took else 0), 0)),
        end_time=event.create_time,
        status="ok",
        attributes=facts,
    )


def _tokens(usage: common_pb2.TokenUsage) -> dict[str, str]:
    facts = {
        "gen_ai.usage.input_tokens": str(usage.input_tokens),
        "gen_ai.usage.output_tokens": str(usage.output_tokens),
    }
    if usage.cached_input_tokens:
        facts["gen_ai.usage.cache_read.input_tokens"] = str(usage.cached_input_tokens)
    if usage.cache_write_tokens:
        facts["gen_ai.usage.cache_creation.input_tokens"] = str(usage.cache_write_tokens)
    return facts


def _reason(stop: agent_pb2.StopReason) -> str:
    return agent_pb2.StopReason.Name(stop).removeprefix("STOP_REASON_").lower()


def _fail(span: pb.TraceSpan, error: status_pb2.Status) -> None:
    """The error's reason, never its text: that may quote what was said."""
    span.status = "error"
    info = error_details_pb2.ErrorInfo()
    known = bool(error.details) and error.details[0].Unpack(info)
    span.attributes["error.type"] = info.reason if known else str(error.code)
