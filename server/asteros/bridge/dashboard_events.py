"""Events in the words of ``/v1/dashboard``: a bare type, and data by type.

Pure: an ``aster.v1.Event`` in, plain JSON values out."""

import json
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from asteros.bridge.refusal import reason_of

Data = dict[str, Any]
_RENAMED = {
    "progress.text_done": "text_chunk_end",
    "progress.tool_start": "tool:start",
    "progress.tool_progress": "tool:progress",
    "progress.tool_intermediate": "tool:intermediate",
    "progress.complete": "done",
    "control.tool_approval_request": "permission_required",
    "control.user_input_request": "ask_user",
    "control.tool_control": "tool_control_response",
    "monitor.tool_execution": "tool_executed",
}
_ENDS = {"failed": "tool:error", "canceled": "tool:canceled"}
_STATES = {"waiting": "pending", "paused": "executing", "uncertain": "failed"}
_ACTIVITIES = {"idle": "ready", "error": "failed"}
_RUNS = {"succeeded": "completed", "running": "started", "pending": "started"}


def time_of(stamp: Timestamp) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return stamp.ToDatetime().isoformat(timespec="milliseconds") + "Z"


def shown(frame: Any) -> Data:
    """An event frame as a list and a stream show it."""
    event = frame.event
    return {
        "cursor": frame.cursor,
        "timestamp": time_of(event.create_time),
        "agent_id": event.agent_id,
        "channel": event.event_type.partition(".")[0],
        "type": type_of(event),
        "event_type": event.event_type,
        "sequence": event.sequence,
        "data": data_of(event),
    }


def type_of(event: Any) -> str:
    """The bare name of an event."""
    kind, payload = event.event_type.partition(".")[2], payload_of(event)
    if event.event_type in _RENAMED:
        return _RENAMED[event.event_type]
    if payload is None:
        return str(kind)
    match kind:
        case "tool_end":
            return _ENDS.get(_enum(payload, "state"), "tool:end")
        case "request_resolved":
            return "user_answer" if _enum(payload, "outcome") == "answered" else "permission_decided"
        case "workflow_run":
            return f"workflow_{_run_state(payload)}"
        case "workflow_step":
            return f"step_{_run_state(payload)}"
        case "custom":
            return str(payload.name)
    return str(kind)


def data_of(event: Any) -> Data:
    """What an event says, by its type; a kind without words of its own keeps its fields."""
    payload = payload_of(event)
    if payload is None:
        return {}
    maker = _DATA.get(event.event_type.partition(".")[2])
    if maker is not None:
        return maker(event, payload)
    return json_format.MessageToDict(
        payload, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def payload_of(event: Any) -> Any:
    """The message of an event's kind; None when it is newer than this program."""
    channel = event.WhichOneof("payload")
    kind = getattr(event, channel).WhichOneof("kind") if channel else None
    return getattr(getattr(event, channel), kind) if kind else None


def _enum(message: Message, name: str) -> str:
    """An enum value in lower case, without the enum's name."""
    field = message.DESCRIPTOR.fields_by_name[name]
    assert field.enum_type is not None
    value = field.enum_type.values_by_number.get(getattr(message, name))
    return value.name.removeprefix(_prefix(field.enum_type.name)).lower() if value is not None else ""


def _prefix(enum: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum)[1:] + "_"


def _run_state(payload: Any) -> str:
    state = _enum(payload, "state")
    return _RUNS.get(state, state)


def _json(text: str) -> Any:
    """The value of JSON text; the text itself when it is none (a preview that was cut)."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _state(payload: Message) -> str:
    state = _enum(payload, "state")
    return _STATES.get(state, state)


def _error(payload: Any) -> str:
    return str(payload.error.message) if payload.HasField("error") else ""


def _text_chunk(event: Any, payload: Any) -> Data:
    return {"step": event.step, "delta": payload.delta}


def _text_done(event: Any, payload: Any) -> Data:
    return {"step": event.step, "text": payload.text}


def _think_chunk(event: Any, payload: Any) -> Data:
    return {"step": event.step, "delta": payload.delta, "stage": "", "reasoning": payload.delta, "decision": ""}


def _call(payload: Any) -> Data:
    call = payload.call
    return {"tool_id": call.id, "tool_name": call.name, "arguments": _json(call.input_json)}


def _tool_start(_event: Any, payload: Any) -> Data:
    return _call(payload)


def _tool_end(_event: Any, payload: Any) -> Data:
    result = payload.result
    said = _json(result.output_json or result.output_preview)
    return {"tool_id": result.call_id, "state": _state(payload), "result": said, "error": _error(payload)}


def _tool_progress(_event: Any, payload: Any) -> Data:
    known = payload.HasField("fraction")
    return {
        "tool_id": payload.call_id,
        "progress": payload.fraction if known else 0.0,
        "message": payload.message,
        "step": 0,
        "total": 0,
    }


def _complete(event: Any, payload: Any) -> Data:
    return {"step": event.step, "reason": _enum(payload, "state")}


def _approval(_event: Any, payload: Any) -> Data:
    more = {"pending_id": payload.pending_id, "reason": payload.reason, "expires_at": time_of(payload.expire_time)}
    return _call(payload) | more


def _resolved(_event: Any, payload: Any) -> Data:
    return {
        "call_id": "",  # pending_id leads to the request, which names its call
        "decision": _enum(payload, "outcome"),
        "decided_by": payload.decided_by,
        "note": payload.note,
        "pending_id": payload.pending_id,
        **({"answer": payload.answer} if payload.answer else {}),
    }


def _token_usage(event: Any, payload: Any) -> Data:
    names = ("input_tokens", "output_tokens", "total_tokens")
    return {"agent_id": event.agent_id, **{name: getattr(payload, name) for name in names}}


def _tool_execution(event: Any, payload: Any) -> Data:
    return {
        "agent_id": event.agent_id,
        "tool_id": payload.call_id,
        "tool_name": payload.tool_name,
        "state": "completed" if payload.success else "failed",
        "progress": 1.0 if payload.success else 0.0,
        "error": "",
        "arguments": None,
        "result": None,
    }


def _step_complete(event: Any, payload: Any) -> Data:
    return {"agent_id": event.agent_id, "step": event.step, "duration_ms": payload.duration.ToMilliseconds()}


def _error_raised(event: Any, payload: Any) -> Data:
    return {
        "agent_id": event.agent_id,
        "severity": payload.severity,
        "phase": payload.phase,
        "message": payload.error.message,
        "detail": {"reason": reason_of(payload.error).reason, "context": payload.context},
    }


def _state_changed(event: Any, payload: Any) -> Data:
    lifecycle, activity = _enum(payload, "state"), _enum(payload, "activity")
    over = lifecycle in ("stopped", "closed")
    return {"agent_id": event.agent_id, "state": lifecycle if over else _ACTIVITIES.get(activity, activity)}


def _custom(_event: Any, payload: Any) -> Data:
    said = _json(payload.data_json)
    return said if isinstance(said, dict) else {"value": said}


_DATA: dict[str, Callable[[Any, Any], Data]] = {
    "text_chunk": _text_chunk,
    "text_done": _text_done,
    "think_chunk": _think_chunk,
    "tool_start": _tool_start,
    "tool_end": _tool_end,
    "tool_progress": _tool_progress,
    "complete": _complete,
    "tool_approval_request": _approval,
    "request_resolved": _resolved,
    "token_usage": _token_usage,
    "tool_execution": _tool_execution,
    "step_complete": _step_complete,
    "error": _error_raised,
    "state_changed": _state_changed,
    "custom": _custom,
}
