"""Events as outside programs write them, flat JSON in many spellings, become events of the contract.

Only names and shapes change here. What the contract has no kind for becomes a custom event with
its own name and its fields as they came."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

Fields = Mapping[str, Any]
Shape = Callable[[Fields, str], dict[str, Any]]
# The canonical "<channel>.<kind>" of a spelling, or None.
Canonical = Callable[[str], str | None]

CHANNELS = ("progress", "control", "monitor")
_FRAME = {"channel", "event_type", "type", "id", "sequence", "cursor", "bookmark"}
_ENVELOPE = {"session_id": ("session_id", "sessionId"), "turn_id": ("turn_id", "turnId"), "trace_id": ("trace_id",)}
_TIMES = ("timestamp", "create_time", "created_at", "time")
_HINTS = (
    ("progress", ("delta", "call", "text")),
    ("control", ("request_id", "questions", "approved")),
    ("monitor", ("state", "severity")),
)
_ACTIVITY = {
    "ready": "IDLE", "idle": "IDLE", "working": "WORKING", "running": "WORKING", "busy": "WORKING",
    "waiting": "WAITING", "paused": "WAITING", "error": "ERROR", "failed": "ERROR",
}  # fmt: skip
_INTERNAL = 13


class BadEvent(ValueError):
    """An event that cannot be one; its text says why."""


class Events:
    """Makes ``Event`` messages of one contract."""

    def __init__(self, event: type[Message], canonical: Canonical) -> None:
        self._event = event
        self._canonical = canonical

    def event(self, said: Any, seconds: Any = None) -> Any:
        """The event a program sent. ``seconds``: when it says it happened, beside the event itself.

        :raises BadEvent:"""
        if not isinstance(said, dict):
            raise BadEvent("not an object")
        channel, name = _named(said)
        canonical = self._canonical(f"{channel}.{name}") or self._canonical(name)
        event: Any = self._event()
        if canonical is None or canonical.endswith(".custom"):
            _custom(event, channel, name, said)
        else:
            self._typed(event, canonical, name, said)
        _envelope(event, said, seconds)
        return event

    def _typed(self, event: Any, canonical: str, name: str, said: Fields) -> None:
        channel, _, kind = canonical.partition(".")
        payload = getattr(getattr(event, channel), kind)
        payload.SetInParent()
        shape = _SHAPES.get(canonical)
        _fill(payload, shape(said, name) if shape else _without_envelope(said))


def _named(said: Fields) -> tuple[str, str]:
    name = said.get("event_type") or said.get("type") or ""
    channel = said.get("channel") or ""
    if not isinstance(name, str) or not isinstance(channel, str):
        raise BadEvent("channel and event_type must be texts")
    if not name:
        raise BadEvent("it has no event_type")
    if channel not in CHANNELS:
        channel = next((of for of, hints in _HINTS if any(hint in said for hint in hints)), "progress")
    return channel, name


def _custom(event: Any, channel: str, name: str, said: Fields) -> None:
    custom = event.progress.custom if channel == "progress" else event.monitor.custom
    if name in ("custom", "progress.custom", "monitor.custom") and isinstance(said.get("name"), str):
        name = said["name"]
        data = said.get("data_json", said.get("data", {}))
    else:
        data = {key: value for key, value in said.items() if key not in _FRAME}
    custom.name = f"control.{name}" if channel == "control" else name
    custom.data_json = data if isinstance(data, str) else _dumped(data)


def _envelope(event: Any, said: Fields, seconds: Any) -> None:
    for field, names in _ENVELOPE.items():
        value = _first(said, *names)
        if isinstance(value, str):
            setattr(event, field, value)
    step = said.get("step")
    if isinstance(step, int) and 0 <= step < 2**31 and not isinstance(step, bool):
        event.step = step
    set_time(event.create_time, next((said[name] for name in _TIMES if name in said), seconds))
    if not event.create_time.seconds:
        event.ClearField("create_time")


def set_time(stamp: Any, value: Any) -> None:
    """A time as RFC 3339, or in seconds or milliseconds since 1970; nothing when it is none of these."""
    try:
        if isinstance(value, str):
            stamp.FromJsonString(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e14:
            stamp.FromNanoseconds(int((value / 1000 if value > 1e11 else value) * 1e9))
    except (ValueError, OverflowError):
        stamp.Clear()


def _fill(payload: Message, value: dict[str, Any]) -> None:
    kept = {key: each for key, each in value.items() if each is not None}
    try:
        json_format.ParseDict(kept, payload, ignore_unknown_fields=True)
    except (json_format.Error, ValueError, TypeError, OverflowError, AttributeError, RecursionError):
        raise BadEvent("a field has a value of a wrong type") from None


# -- parts ---------------------------------------------------------------------------


def _first(said: Fields, *names: str) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)


def _without_envelope(said: Fields) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in _FRAME}


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json_text(value: Any) -> str | None:
    """JSON text of a value; a text that is JSON already stays."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return _dumped(value)
        return value
    return _dumped(value)


def _duration(said: Fields) -> str | None:
    value = _first(said, "duration_ms", "Duration", "durationMs")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return f"{value / 1000:.9f}s"
    given = said.get("duration")
    return given if isinstance(given, str) and re.fullmatch(r"\d{1,12}(\.\d{1,9})?s", given) else None


def _status(value: Any, message: Any = None) -> dict[str, Any] | None:
    """A google.rpc.Status of an error in any form; details are not taken over."""
    if isinstance(value, dict):
        code = value.get("code")
        known = isinstance(code, int) and 0 < code <= 16 and not isinstance(code, bool)
        return {"code": code if known else _INTERNAL, "message": _text(_first(value, "message", "error") or message)}
    value = value if value is not None else message
    return None if value is None or value is False else {"code": _INTERNAL, "message": _text(value)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _dumped(value)


def _call_id(said: Fields) -> Any:
    return _first(said, "call_id", "callId", "tool_use_id")


def _call(said: Fields) -> dict[str, Any]:
    """A tool call: its snapshot in ``call``, or its fields beside the event's."""
    call = said["call"] if isinstance(said.get("call"), dict) else said
    own = call is not said
    return {
        "id": (call.get("id") if own else None) or _call_id(call),
        "name": _first(call, "name", "tool_name", "tool"),
        "input_json": _first(call, "input_json")
        or _json_text(_first(call, "input", "Input", "arguments", "params"))
        or "{}",
    }


def _usage(said: Fields) -> dict[str, Any]:
    usage = {
        "input_tokens": _first(said, "input_tokens", "inputTokens", "promptTokens", "prompt_tokens"),
        "output_tokens": _first(said, "output_tokens", "outputTokens", "completionTokens", "completion_tokens"),
        "cached_input_tokens": _first(said, "cached_input_tokens", "cachedInputTokens"),
        "cache_write_tokens": _first(said, "cache_write_tokens", "cacheWriteTokens"),
        "reasoning_tokens": _first(said, "reasoning_tokens", "reasoningTokens"),
        "total_tokens": _first(said, "total_tokens", "totalTokens"),
    }
    counts = (usage["input_tokens"], usage["output_tokens"])
    if usage["total_tokens"] is None and any(isinstance(count, int) for count in counts):
        usage["total_tokens"] = sum(count for count in counts if isinstance(count, int))
    return {key: value for key, value in usage.items() if value is not None}


# -- shapes: (fields, name as sent) -> ProtoJSON of the kind ----------------------------


def _text_chunk(said: Fields, _: str) -> dict[str, Any]:
    return {"delta": _first(said, "delta", "text", "reasoning")}


def _text_done(said: Fields, _: str) -> dict[str, Any]:
    return {"text": _first(said, "text", "delta")}


def _tool_start(said: Fields, _: str) -> dict[str, Any]:
    return {"call": _call(said)}


def _tool_end(said: Fields, name: str) -> dict[str, Any]:
    call = said["call"] if isinstance(said.get("call"), dict) else {}
    both = {**call, **{key: value for key, value in said.items() if value is not None}}
    given = both.get("result")
    result = given if isinstance(given, dict) and ("call_id" in given or "output_json" in given) else None
    error = _status(both.get("error"))
    folded = name.lower().replace("_", ":")
    canceled = folded.endswith(("cancelled", "canceled")) or both.get("state") in ("canceled", "cancelled")
    failed = error is not None or folded.endswith("error") or both.get("state") == "failed"
    output = {
        "call_id": call.get("id") or _call_id(both),
        "name": _first(both, "name", "tool_name", "tool"),
        "output_json": _first(both, "output_json") or _json_text(_first(both, "result", "output")),
        "is_error": failed or canceled,
    }
    return {
        "result": {key: value for key, value in (result or output).items() if value is not None},
        "duration": _duration(both),
        "error": error,
        "state": f"TOOL_CALL_STATE_{'CANCELED' if canceled else 'FAILED' if failed else 'COMPLETED'}",
    }


def _tool_progress(said: Fields, _: str) -> dict[str, Any]:
    fraction = _first(said, "fraction", "progress")
    within = isinstance(fraction, int | float) and 0 <= fraction <= 1
    call = _call(said)["id"]
    return {"call_id": call, "fraction": fraction if within else None, "message": said.get("message")}


def _tool_intermediate(said: Fields, _: str) -> dict[str, Any]:
    data = _first(said, "data_json") or _json_text(said.get("data"))
    return {"call_id": _call(said)["id"], "label": said.get("label"), "data_json": data}


def _complete(said: Fields, _: str) -> dict[str, Any]:
    error = _status(said.get("error"))
    reason = said.get("reason")
    state = "INTERRUPTED" if reason == "interrupted" else "FAILED" if reason == "failed" or error else "COMPLETED"
    stop = said.get("stop_reason")
    usage = said.get("usage")
    return {
        "final_text": _first(said, "final_text", "text"),
        "state": f"TURN_STATE_{state}",
        "stop_reason": stop if isinstance(stop, str) and stop.startswith("STOP_REASON_") else None,
        "usage": _usage(usage) if isinstance(usage, dict) else None,
        "error": error,
        "cost_usd": said.get("cost_usd"),
    }


def _todo_update(said: Fields, _: str) -> dict[str, Any]:
    items = _first(said, "items", "todos") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadEvent("todos must be a list of objects")
    return {"items": [{**item, "active_form": _first(item, "active_form", "activeForm")} for item in items]}


def _approval(said: Fields, _: str) -> dict[str, Any]:
    call = _call(said)
    return {
        "pending_id": _first(said, "pending_id", "request_id") or call["id"],
        "call": call,
        "reason": said.get("reason"),
        "input_digest": said.get("input_digest"),
        "expire_time": said.get("expire_time"),
    }


def _question(said: Fields, _: str) -> dict[str, Any]:
    questions: list[Fields] = [each for each in said.get("questions") or () if isinstance(each, dict)] or [said]
    prompts = [_text(_first(each, "prompt", "question")) for each in questions]
    return {
        "pending_id": _first(said, "pending_id", "request_id"),
        "prompt": "\n".join(prompts),
        "options": _first(questions[0], "options"),
        "multi_select": _first(questions[0], "multi_select", "multiSelect"),
        "expire_time": said.get("expire_time"),
    }


def _resolved(said: Fields, _: str) -> dict[str, Any]:
    answer = _first(said, "answer", "answers")
    allowed = said.get("approved", _first(said, "decision") in ("allow", "allowed", "approve", "approved"))
    outcome = _first(said, "outcome") or ("ANSWERED" if answer is not None else "ALLOWED" if allowed else "DENIED")
    return {
        "pending_id": _first(said, "pending_id", "request_id") or _call(said)["id"],
        "outcome": f"RESOLUTION_OUTCOME_{_text(outcome).upper().removeprefix('RESOLUTION_OUTCOME_')}",
        "decided_by": said.get("decided_by"),
        "note": said.get("note"),
        "answer": None if answer is None else _text(answer),
    }


def _iteration_limit(said: Fields, _: str) -> dict[str, Any]:
    return {
        "pending_id": _first(said, "pending_id", "request_id"),
        "current_step": _first(said, "current_step", "current_iteration"),
        "iteration_limit": _first(said, "iteration_limit", "max_iteration", "max_iterations"),
    }


def _tool_control(said: Fields, _: str) -> dict[str, Any]:
    states = {"pause": "PAUSED", "resume": "EXECUTING", "cancel": "CANCELED"}
    action = said.get("action")
    state = states.get(action) if isinstance(action, str) else None
    return {
        "call_id": _call(said)["id"],
        "state": f"TOOL_CALL_STATE_{state}" if state else None,
        "requested_by": said.get("requested_by"),
        "note": _first(said, "note", "reason"),
    }


def _state_changed(said: Fields, _: str) -> dict[str, Any]:
    state = _first(said, "activity", "state")
    activity = _ACTIVITY.get(state.lower()) if isinstance(state, str) else None
    if state is not None and not isinstance(state, str):
        raise BadEvent("state must be a text")
    return {"activity": f"AGENT_ACTIVITY_{activity}" if activity else None}


def _error(said: Fields, _: str) -> dict[str, Any]:
    return {
        "error": _status(_first(said, "error", "message"), said.get("message")),
        "severity": _first(said, "severity") or "error",
        "phase": said.get("phase"),
        "context": _text(_first(said, "context", "detail")),
    }


def _token_usage(said: Fields, _: str) -> dict[str, Any]:
    return _usage(said)


def _model_call(said: Fields, _: str) -> dict[str, Any]:
    usage = said.get("usage")
    return {
        "provider": said.get("provider"),
        "model": said.get("model"),
        "usage": _usage(usage if isinstance(usage, dict) else said),
        "duration": _duration(said),
        "cost_usd": _first(said, "cost_usd", "cost"),
        "attempt": said.get("attempt"),
        "error": _status(said.get("error")),
    }


def _tool_execution(said: Fields, _: str) -> dict[str, Any]:
    call = _call(said)
    snapshot = said["call"] if isinstance(said.get("call"), dict) else said
    return {
        "tool_name": call["name"],
        "call_id": call["id"],
        "duration": _duration(said) or _duration(snapshot),
        "success": said.get("success", not snapshot.get("error") and snapshot.get("state") != "failed"),
        "input_size_bytes": said.get("input_size_bytes"),
        "output_size_bytes": said.get("output_size_bytes"),
    }


def _step_complete(said: Fields, _: str) -> dict[str, Any]:
    return {"duration": _duration(said), "tool_call_count": said.get("tool_call_count")}


def _workflow(said: Fields, name: str) -> dict[str, Any]:
    ends = {"start": "RUNNING", "progress": "RUNNING", "complete": "SUCCEEDED", "fail": "FAILED", "error": "FAILED"}
    ends |= {"cancel": "CANCELED"}
    state = next((state for word, state in ends.items() if word in name), None)
    return {
        "workflow_id": said.get("workflow_id"),
        "step_id": said.get("step_id"),
        "state": f"WORKFLOW_RUN_STATE_{state}" if state and "step" not in name and "node" not in name else None,
        "output": _text(said.get("output")) if said.get("output") is not None else None,
        "error": _status(said.get("error")),
    }


_SHAPES: Mapping[str, Shape] = {
    "progress.text_chunk": _text_chunk,
    "progress.think_chunk": _text_chunk,
    "progress.text_done": _text_done,
    "progress.tool_start": _tool_start,
    "progress.tool_end": _tool_end,
    "progress.tool_progress": _tool_progress,
    "progress.tool_intermediate": _tool_intermediate,
    "progress.complete": _complete,
    "progress.todo_update": _todo_update,
    "control.tool_approval_request": _approval,
    "control.user_input_request": _question,
    "control.request_resolved": _resolved,
    "control.iteration_limit": _iteration_limit,
    "control.tool_control": _tool_control,
    "control.outcome_unknown": _tool_start,
    "monitor.state_changed": _state_changed,
    "monitor.error": _error,
    "monitor.token_usage": _token_usage,
    "monitor.model_call": _model_call,
    "monitor.tool_execution": _tool_execution,
    "monitor.step_complete": _step_complete,
    "monitor.workflow_run": _workflow,
    "monitor.workflow_step": _workflow,
}
