"""What a request may say, judged before any servicer sees it.

Generic rules follow the descriptors (REQUIRED, known enum values, non-negative page
sizes, ids, list and text limits); the few that belong to one message stand in a table.
All violations are found, not just the first. A bad id is told apart: it is refused
before anything else is looked at (contract: order of refusals)."""

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    control_service_pb2,
    dashboard_service_pb2,
    event_service_pb2,
    stars_service_pb2,
    workflow_service_pb2,
)
from asteros import clock
from asteros.errors import Violation
from asteros.providers.router import PROFILES

MAX_TEXT_BYTES = 512 * 1024  # of a user's message or a system prompt
MAX_FIELD_BYTES = 64 * 1024  # of any other text
MAX_REQUEST_ID = 128
MAX_ITEMS = 1000  # of any list in a request
MAX_LABELS = 32
MAX_SECONDS = 315_576_000_000  # of a Duration: 10,000 years
MAX_TIME = 253_402_300_799  # the last second of 9999
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Ids that dialled in through Studio are less plain; every RPC that names one takes both forms.
_ANY_ID = re.compile(r"[^\x00-\x1f\x7f/\\]{1,128}")
_LONG_TEXTS = {"message", "text", "system_prompt", "input_json", "edited_input_json", "output_json", "thinking"}
# Request fields that give a new thing its id.
_NEW_IDS = {
    "aster.v1.CreateAgentRequest.agent_id",
    "aster.v1.CreateSessionRequest.session_id",
    "aster.v1.ForkSessionRequest.new_session_id",
    "aster.v1.CreateStarRequest.star_id",
    "aster.v1.CreateWorkflowRequest.workflow_id",
}
_ID_NAMES = {"agent_id", "agent_ids", "session_id", "star_id", "workflow_id", "new_session_id"}
_ID_NAMES |= {"turn_id", "key_id", "message_id", "run_id", "workflow_run_id"}
_FORM = "1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"


def bad_id(request: Message) -> Violation | None:
    """The first id of a request that has not the form of one."""
    if isinstance(request, agent_service_pb2.UpdateAgentRequest) and not _is_id(request.agent.id):
        return Violation("agent.id", "is not the id of anything")
    descriptor = _descriptor(request)
    for field in descriptor.fields:
        if field.name not in _ID_NAMES or field.type != FieldDescriptor.TYPE_STRING:
            continue
        value = getattr(request, field.name)
        if f"{descriptor.full_name}.{field.name}" in _NEW_IDS:
            if value and not _PLAIN_ID.fullmatch(value):
                return Violation(field.name, f"must be {_FORM}")
        elif not all(map(_is_id, value if field.is_repeated else [value])):
            return Violation(field.name, "is not the id of anything")
    return None


def _is_id(value: str) -> bool:
    """The form of an id that may exist; empty means none was given."""
    return not value or _ANY_ID.fullmatch(value) is not None


def violations(request: Message) -> list[Violation]:
    """Everything that is wrong with a request."""
    found = list(_walk(request, ""))
    if isinstance(request, agent_service_pb2.UpdateAgentRequest):
        # REQUIRED inside an updated resource counts for the merged resource, not for what is sent.
        found = [each for each in found if not each.field.startswith("agent.")]
    rule = _RULES.get(_descriptor(request).full_name)
    if rule is not None:
        found += rule(request)
    return found


def _descriptor(message: Message) -> Descriptor:
    descriptor = message.DESCRIPTOR
    assert descriptor is not None
    return descriptor  # type: ignore[return-value]


@cache
def _required(descriptor: Any) -> tuple[str, ...]:
    """Fields marked REQUIRED by google.api.field_behavior."""
    marked = []
    for field in descriptor.fields:
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED in behaviors:
            marked.append(field.name)
    return tuple(marked)


def _walk(message: Message, path: str) -> Iterator[Violation]:
    descriptor = _descriptor(message)
    for name in _required(descriptor):
        if _empty(message, descriptor.fields_by_name[name]):
            yield Violation(path + name, "is required")
    for field, value in message.ListFields():
        yield from _field(field, value, path + field.name)


def _empty(message: Message, field: Any) -> bool:
    value = getattr(message, field.name)
    if field.is_repeated:
        return len(value) == 0
    return not message.HasField(field.name) if field.has_presence else not value


def _field(field: Any, value: Any, path: str) -> Iterator[Violation]:
    if field.is_repeated:
        if len(value) > MAX_ITEMS:
            yield Violation(path, f"has {len(value)} entries; at most {MAX_ITEMS} are allowed")
            return
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            for key in value:
                yield from _value(entry.fields_by_name["value"], value[key], f"{path}[{key[:80]!r}]")
            return
        for index, item in enumerate(value):
            yield from _value(field, item, f"{path}[{index}]")
        return
    yield from _value(field, value, path)


def _value(field: Any, value: Any, path: str) -> Iterator[Violation]:
    if field.type == FieldDescriptor.TYPE_ENUM:
        if value not in field.enum_type.values_by_number:
            yield Violation(path, f"{value} is no value of {field.enum_type.name}")
        elif not value and field.enum_type.name == "Channel" and field.is_repeated:
            yield Violation(path, "names no channel")
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if field.message_type.full_name.startswith("aster.v1."):
            yield from _walk(value, path + ".")
        elif wrong := _wrong(value, field.message_type.full_name):
            yield Violation(path, wrong)
    elif field.type == FieldDescriptor.TYPE_STRING:
        limit = MAX_TEXT_BYTES if field.name in _LONG_TEXTS else MAX_FIELD_BYTES
        if len(value) > limit // 4 and len(value.encode()) > limit:
            yield Violation(path, f"is longer than {limit} bytes")
        elif field.name == "request_id" and len(value) > MAX_REQUEST_ID:
            yield Violation(path, f"is longer than {MAX_REQUEST_ID} characters")
    elif field.name in _NOT_NEGATIVE and not 0 <= value < math.inf:  # NaN would be a limit that is never reached
        yield Violation(path, "must not be negative")


def _wrong(value: Any, kind: str) -> str:
    """What is wrong with a message of google.protobuf; "" when nothing is."""
    if kind == "google.protobuf.Duration" and not (
        0 <= value.seconds <= MAX_SECONDS and 0 <= value.nanos < clock.NANOS
    ):
        return "must be a length of time and not negative"
    if kind == "google.protobuf.Timestamp" and not (0 <= value.seconds <= MAX_TIME and 0 <= value.nanos < clock.NANOS):
        return "must be a time from 1970 to 9999"
    if kind == "google.protobuf.Struct" and not all(map(_finite, value.fields.values())):
        return "holds a number that JSON cannot carry"
    return ""


def _finite(value: Any) -> bool:
    match value.WhichOneof("kind"):
        case "number_value":
            return math.isfinite(value.number_value)
        case "struct_value":
            return all(map(_finite, value.struct_value.fields.values()))
        case "list_value":
            return all(map(_finite, value.list_value.values))
    return True


_NOT_NEGATIVE = {
    "page_size", "skip", "buffer_size", "after_sequence", "max_tokens", "max_steps", "max_cost_usd",
    "iteration_limit", "additional_steps", "output_offset", "thinking_budget_tokens", "max_concurrency", "max_rounds",
    "max_depth",
    "input_usd_per_million", "output_usd_per_million", "cache_read_usd_per_million", "cache_write_usd_per_million",
}  # fmt: skip


# -- rules of single messages --------------------------------------------------


def _said(request: Any) -> list[Violation]:
    """Chat, Send, Stream: something must be said."""
    if request.message or request.content:
        return []
    return [Violation("message", "is required, or content")]


def _subscription(request: Any) -> list[Violation]:
    found = []
    if request.HasField("heartbeat_interval") and not 1 <= clock.seconds(request.heartbeat_interval) <= 300:
        found.append(Violation("heartbeat_interval", "must be from 1 s to 300 s"))
    if request.buffer_size > 16_384:
        found.append(Violation("buffer_size", "must be at most 16384"))
    if request.WhichOneof("start_from") == "after_sequence" and (not request.agent_id or request.agent_ids):
        found.append(Violation("after_sequence", "needs exactly one agent, in agent_id"))
    return found


def _list_events(request: event_service_pb2.ListEventsRequest) -> list[Violation]:
    if request.after_sequence and not request.agent_id:
        return [Violation("after_sequence", "needs agent_id")]
    if request.after_sequence and request.cursor:
        return [Violation("cursor", "not together with after_sequence")]
    return []


def _run_stream(request: workflow_service_pb2.StreamWorkflowRunRequest) -> list[Violation]:
    if request.HasField("heartbeat_interval") and not 1 <= clock.seconds(request.heartbeat_interval) <= 300:
        return [Violation("heartbeat_interval", "must be from 1 s to 300 s")]
    return []


def _approval(request: control_service_pb2.ApproveToolCallRequest) -> list[Violation]:
    once = request.scope in (control_service_pb2.DECISION_SCOPE_UNSPECIFIED, control_service_pb2.DECISION_SCOPE_ONCE)
    allowed = request.decision == control_service_pb2.DECISION_ALLOW
    if request.HasField("edited_input_json") and not (once and allowed):
        return [Violation("edited_input_json", "only with DECISION_ALLOW and scope ONCE")]
    return []


def _limit_decision(request: control_service_pb2.RespondToIterationLimitRequest) -> list[Violation]:
    return [Violation("additional_steps", "must be at most 1000")] if request.additional_steps > 1000 else []


def _answer(request: control_service_pb2.RespondToInputRequestRequest) -> list[Violation]:
    if request.dismiss and (request.text or request.option_indexes):
        return [Violation("dismiss", "not together with text or option_indexes")]
    if not (request.dismiss or request.text or request.option_indexes):
        return [Violation("text", "exactly one of text, option_indexes and dismiss is required")]
    return []


def _create_agent(request: agent_service_pb2.CreateAgentRequest) -> list[Violation]:
    return [*_labels(request.labels, "labels"), *_config(request.config, "config.")]


def _update_agent(request: agent_service_pb2.UpdateAgentRequest) -> list[Violation]:
    found = [*_labels(request.agent.labels, "agent.labels"), *_config(request.agent.config, "agent.config.")]
    if not request.agent.id:
        found.append(Violation("agent.id", "is required"))
    return found


def _labels(labels: Any, path: str) -> Iterator[Violation]:
    if len(labels) > MAX_LABELS:
        yield Violation(path, f"at most {MAX_LABELS} are allowed")
    for key, value in labels.items():
        if not _PLAIN_ID.fullmatch(key) or (value and not _PLAIN_ID.fullmatch(value)):
            yield Violation(f"{path}[{key[:80]!r}]", "keys and values have the form of ids")


def _config(config: agent_pb2.AgentConfig, path: str) -> Iterator[Violation]:
    model = config.model_config
    for place, each in (
        ("model_config.", model),
        *((f"model_config.fallbacks[{i}].", f) for i, f in enumerate(model.fallbacks)),
    ):
        if each.HasField("temperature") and not 0.0 <= each.temperature <= 1.0:
            yield Violation(path + place + "temperature", "must be from 0.0 to 1.0")
        if each.HasField("top_p") and not 0.0 < each.top_p <= 1.0:
            yield Violation(path + place + "top_p", "must be above 0.0 and at most 1.0")
        if each.HasField("max_tokens") and each.max_tokens == 0:
            yield Violation(path + place + "max_tokens", "must be above 0")
        if len(each.stop_sequences) > 16:
            yield Violation(path + place + "stop_sequences", "at most 16 are allowed")
    if len(model.fallbacks) > 5:
        yield Violation(path + "model_config.fallbacks", "at most 5 are allowed")
    if any(fallback.fallbacks for fallback in model.fallbacks):
        yield Violation(path + "model_config.fallbacks", "must not have fallbacks of their own")
    if len(config.permission_rules) > 200:
        yield Violation(path + "permission_rules", "at most 200 are allowed")
    if config.HasField("approval_timeout") and not 0 < clock.seconds(config.approval_timeout) <= 30 * 86400:
        yield Violation(path + "approval_timeout", "must be above 0 s and at most 30 days")
    if config.routing_profile not in PROFILES:
        yield Violation(path + "routing_profile", f"must be one of {', '.join(sorted(PROFILES - {''}))}")
    if config.sandbox.kind not in ("", "local", "none"):
        yield Violation(path + "sandbox.kind", f"{config.sandbox.kind!r} is not supported on this server; use 'local'")
    if config.sandbox.HasField("timeout") and not 0 < clock.seconds(config.sandbox.timeout) <= 600:
        yield Violation(path + "sandbox.timeout", "must be above 0 s and at most 600 s")
    if _leaves(config.sandbox.work_dir):
        yield Violation(path + "sandbox.work_dir", "must be a folder inside the server's workspace root")


def _usage(request: dashboard_service_pb2.GetUsageRequest) -> list[Violation]:
    interval = request.interval
    if request.HasField("interval") and (interval.seconds < 60 or interval.seconds % 60 or interval.nanos):
        return [Violation("interval", "must be whole minutes, at least one")]
    return []


def _traces(request: dashboard_service_pb2.ListTracesRequest) -> list[Violation]:
    if request.status not in ("", "ok", "error", "running"):
        return [Violation("status", "must be ok, error or running")]
    return []


def _price(request: dashboard_service_pb2.SetPriceRequest) -> list[Violation]:
    if len(request.price.model) > 200 or not request.price.model.isprintable():
        return [Violation("price.model", "must be 1 to 200 printable characters")]
    return []


def _leave_star(request: stars_service_pb2.LeaveStarRequest) -> list[Violation]:
    return [] if request.name or request.agent_id else [Violation("name", "is required, or agent_id")]


def _leaves(work_dir: str) -> bool:
    return work_dir.startswith("~") or ".." in work_dir.split("/") or "\x00" in work_dir


_RULES: dict[str, Callable[[Any], list[Violation]]] = {
    "aster.v1.ChatRequest": _said,
    "aster.v1.SendRequest": _said,
    "aster.v1.StreamRequest": _said,
    "aster.v1.SubscribeRequest": _subscription,
    "aster.v1.SubscribeProgressRequest": _subscription,
    "aster.v1.SubscribeControlRequest": _subscription,
    "aster.v1.SubscribeMonitorRequest": _subscription,
    "aster.v1.ListEventsRequest": _list_events,
    "aster.v1.StreamWorkflowRunRequest": _run_stream,
    "aster.v1.ApproveToolCallRequest": _approval,
    "aster.v1.RespondToIterationLimitRequest": _limit_decision,
    "aster.v1.RespondToInputRequestRequest": _answer,
    "aster.v1.CreateAgentRequest": _create_agent,
    "aster.v1.UpdateAgentRequest": _update_agent,
    "aster.v1.GetUsageRequest": _usage,
    "aster.v1.ListTracesRequest": _traces,
    "aster.v1.SetPriceRequest": _price,
    "aster.v1.LeaveStarRequest": _leave_star,
}
