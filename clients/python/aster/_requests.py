"""From Python arguments to the contract's requests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from aster.types import Channel
from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_service_pb2

_CHANNELS = {
    Channel.PROGRESS: common_pb2.CHANNEL_PROGRESS,
    Channel.CONTROL: common_pb2.CHANNEL_CONTROL,
    Channel.MONITOR: common_pb2.CHANNEL_MONITOR,
}
_STARTS = {"now": event_service_pb2.START_POSITION_NOW, "earliest": event_service_pb2.START_POSITION_EARLIEST}


class SubscribeOptions(TypedDict, total=False):
    """What a subscription may be told (seed 003, SubscribeOptions); fields of SubscribeRequest."""

    session_id: str
    turn_id: str
    star_id: str
    workflow_run_id: str
    event_types: Sequence[str]  # "progress.text_chunk", "progress.*" or an alias
    start: Literal["now", "earliest"]
    cursor: str
    after_sequence: int
    start_time: datetime  # with a time zone
    heartbeat_interval: float  # seconds
    buffer_size: int  # events that may wait on the server
    overflow_policy: event_service_pb2.OverflowPolicy
    until_turn_complete: bool


class AgentFields(TypedDict, total=False):
    """Fields of AgentConfig that ``create_agent`` takes by name; any other goes into ``config``."""

    model: str | agent_pb2.ModelConfig
    provider: str
    tools: Sequence[str]
    middlewares: Sequence[str]
    system_prompt: str
    routing_profile: str
    tool_permissions: Mapping[str, common_pb2.PermissionPolicy]
    permission_mode: agent_pb2.PermissionMode
    sandbox: agent_pb2.SandboxConfig
    turn_budget: common_pb2.Budget
    iteration_limit: int
    expose_thinking: bool
    metadata: Mapping[str, Any]


def channel_numbers(channels: Iterable[str]) -> list[common_pb2.Channel]:
    """Channels by word, "progress" or ``Channel.PROGRESS``. Raises ValueError for another word."""
    return [_CHANNELS[Channel(channel)] for channel in channels]


def subscribe_request(
    agent_ids: Sequence[str], channels: Iterable[str], **options: Unpack[SubscribeOptions]
) -> event_service_pb2.SubscribeRequest:
    """The request of a subscription. Raises ValueError for two beginnings at once."""
    fields: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if "start" in fields:
        fields["position"] = _STARTS[fields.pop("start")]
    if len(fields.keys() & {"position", "cursor", "after_sequence", "start_time"}) > 1:
        raise ValueError("only one of start, cursor, after_sequence and start_time says where to begin")
    if "heartbeat_interval" in fields:
        fields["heartbeat_interval"] = timedelta(seconds=fields["heartbeat_interval"])
    # A single agent goes by agent_id: only then can sequences say where to begin.
    who = {"agent_id": agent_ids[0]} if len(agent_ids) == 1 else {"agent_ids": agent_ids}
    return event_service_pb2.SubscribeRequest(channels=channel_numbers(channels), **who, **fields)


def agent_config(
    template_id: str, config: agent_pb2.AgentConfig | None, **fields: Unpack[AgentFields]
) -> agent_pb2.AgentConfig:
    """The config of a new agent; what is named wins over the same field of ``config``."""
    values: dict[str, Any] = dict(fields)
    model, provider = values.pop("model", None), values.pop("provider", "")
    if isinstance(model, agent_pb2.ModelConfig):
        values["model_config"] = model
    elif model or provider:
        values["model_config"] = agent_pb2.ModelConfig(provider=provider, model=model or "")
    merged = agent_pb2.AgentConfig()
    if config is not None:
        merged.CopyFrom(config)
    for name in values:
        merged.ClearField(name)
    merged.MergeFrom(agent_pb2.AgentConfig(template_id=template_id, **values))
    return merged


def approval(
    agent_id: str,
    pending_id: str,
    allow: bool,
    *,
    note: str,
    edited_input: Mapping[str, Any] | str | None,
    scope: control_service_pb2.DecisionScope | None,
    input_digest: str,
) -> control_service_pb2.ApproveToolCallRequest:
    """A decision; an edited input given as a mapping becomes JSON text."""
    if edited_input is not None and not isinstance(edited_input, str):
        edited_input = json.dumps(edited_input, ensure_ascii=False)
    return control_service_pb2.ApproveToolCallRequest(
        agent_id=agent_id,
        pending_id=pending_id,
        decision=decision(allow),
        note=note,
        edited_input_json=edited_input,
        scope=scope,
        input_digest=input_digest,
    )


def decision(allow: bool) -> control_service_pb2.Decision:
    """Yes or no, as the contract says it."""
    return control_service_pb2.DECISION_ALLOW if allow else control_service_pb2.DECISION_DENY


def answer(
    agent_id: str, pending_id: str, value: str | int | Iterable[int] | None
) -> control_service_pb2.RespondToInputRequestRequest:
    """An answer: text, the index of an option (from 0), several of them, or None to dismiss."""
    request = control_service_pb2.RespondToInputRequestRequest(agent_id=agent_id, pending_id=pending_id)
    if value is None:
        request.dismiss = True
    elif isinstance(value, str):
        request.text = value
    else:
        request.option_indexes.extend([value] if isinstance(value, int) else value)
    return request
