"""One event as a program sees it, in both looks of the seeds.

Seed 001 switches on the type of the event, seed 003 reads its fields::

    match event.payload:                    match event.kind:
        case TextChunk(delta=text): ...         case "text_chunk": print(event.text_delta)
        case ToolStart(call=call): ...          case "tool_start": print(event.tool_call.name)
"""

import json
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from aster import errors
from aster.types import word
from aster.v1 import common_pb2, event_pb2


def parse_json(text: str) -> Any:
    """The value of a JSON text of a model or a tool; None where it is empty or not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class ToolCallView:
    """A tool call with its input parsed (seed 001, ToolCall{ID, Name, Input})."""

    __slots__ = ("message",)

    def __init__(self, message: common_pb2.ToolCall) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"ToolCallView(id={self.id!r}, name={self.name!r}, input={self.message.input_json})"

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def name(self) -> str:
        return self.message.name

    @property
    def input(self) -> Any:
        """The arguments, as a rule a dict; None where the model wrote no JSON."""
        return parse_json(self.message.input_json)


class EventView:
    """An event, or a gap between events (``kind == "gap"``), of a subscription.

    Made for every event of every stream, so it holds the frame and computes the rest
    when asked. On a gap the fields of an event are empty; ``payload`` is the EventGap.
    """

    __slots__ = ("frame",)

    def __init__(self, frame: event_pb2.EventFrame) -> None:
        self.frame = frame

    def __repr__(self) -> str:
        return f"EventView({self.type!r}, agent_id={self.agent_id!r}, sequence={self.sequence})"

    @property
    def event(self) -> event_pb2.Event:
        """The event as it came; an empty one on a gap."""
        return self.frame.event

    @property
    def cursor(self) -> str:
        """Subscribe from here to go on after this event; empty where that is not possible."""
        return self.frame.cursor

    @property
    def id(self) -> str:
        """ULID; for a request on the control channel the pending_id to answer (seed 001, envelope.ID)."""
        return self.frame.event.id

    @property
    def sequence(self) -> int:
        """Position in the agent's log, from 1; 0 on a gap."""
        return self.frame.event.sequence

    @property
    def agent_id(self) -> str:
        return self.frame.gap.agent_id if self.is_gap else self.frame.event.agent_id

    @property
    def session_id(self) -> str:
        return self.frame.event.session_id

    @property
    def turn_id(self) -> str:
        return self.frame.event.turn_id

    @property
    def step(self) -> int:
        """Step within the turn, from 1; 0 outside steps."""
        return self.frame.event.step

    @property
    def is_gap(self) -> bool:
        """Events were left out here because this subscriber was too slow."""
        return self.frame.HasField("gap")

    @property
    def type(self) -> str:
        """``<channel>.<kind>``, for example "progress.text_chunk"; "gap" for a gap."""
        return "gap" if self.is_gap else self.frame.event.event_type

    @property
    def channel(self) -> str:
        """The channel's word, "progress", "control" or "monitor": equal to ``Channel.PROGRESS`` and so on."""
        if self.is_gap:
            return word(common_pb2.Channel, self.frame.gap.channel)
        return self.frame.event.event_type.partition(".")[0]

    @property
    def kind(self) -> str:
        """Second half of ``type``, for example "text_chunk"; set also where this client does not know it."""
        return self.type.rpartition(".")[2]

    @property
    def payload(self) -> Message | None:
        """The kind's message, for ``match``; None for a kind newer than this client."""
        if self.is_gap:
            return self.frame.gap
        event = self.frame.event
        channel = event.WhichOneof("payload")
        if channel is None:
            return None
        body = getattr(event, channel)
        kind = body.WhichOneof("kind")
        return getattr(body, kind) if kind else None

    @property
    def timestamp(self) -> datetime | None:
        """When the event was stored, in UTC; None on a gap."""
        event = self.frame.event
        return event.create_time.ToDatetime(tzinfo=UTC) if event.HasField("create_time") else None

    @property
    def text_delta(self) -> str:
        """Text to append to the answer; empty for every other kind (seed 003, TextDelta)."""
        payload = self.payload
        return payload.delta if isinstance(payload, event_pb2.TextChunk) else ""

    @property
    def tool_call(self) -> ToolCallView | None:
        """The call of tool_start, tool_approval_request and outcome_unknown (seed 003, ToolCall)."""
        call = getattr(self.payload, "call", None)
        return ToolCallView(call) if isinstance(call, common_pb2.ToolCall) else None

    @property
    def tool_result(self) -> Any:
        """The parsed output of tool_end, as a rule a dict (seed 003, ToolResult).

        None for other kinds, and for a result too large for an event: read that with
        ``agent.tool_call(event.payload.result.call_id)``.
        """
        payload = self.payload
        return parse_json(payload.result.output_json) if isinstance(payload, event_pb2.ToolEnd) else None

    @property
    def error(self) -> errors.AsterError | None:
        """Why a tool, a turn, a model call or a workflow failed; None where nothing did (seed 003, Error)."""
        payload = self.payload
        if payload is None or "error" not in payload.DESCRIPTOR.fields_by_name or not payload.HasField("error"):
            return None
        return errors.from_status(getattr(payload, "error"))  # noqa: B009  # not every message has it
