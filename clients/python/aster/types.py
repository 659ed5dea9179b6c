"""Short names for the contract's enums.

Two kinds on purpose. What the views *read* is a word (``event.channel == "progress"``,
``result.stop_reason == "end_turn"``) and has string constants here, so a value newer
than this client is still a word. What goes *into* messages is the contract's number,
typed as its field: ``AgentConfig(tool_permissions={"Write": PermissionPolicy.ASK})``.
"""

import enum
import functools
from typing import Final

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_service_pb2


class Channel(enum.StrEnum):
    """The three event channels of an agent (seed 001)."""

    PROGRESS = "progress"
    CONTROL = "control"
    MONITOR = "monitor"


class AgentState(enum.StrEnum):
    """Life cycle of an agent (seed 004, AgentState)."""

    CREATED = "created"
    STARTED = "started"
    RUNNING = "running"
    STOPPED = "stopped"
    CLOSED = "closed"


class AgentActivity(enum.StrEnum):
    """What an agent is doing (seed 003, AgentRuntimeState; its "running" is WORKING)."""

    IDLE = "idle"
    WORKING = "working"
    WAITING = "waiting"
    ERROR = "error"


class TurnState(enum.StrEnum):
    """Where a turn stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class StopReason(enum.StrEnum):
    """Why a turn or a model call stopped (seeds 001 and 003)."""

    END_TURN = "end_turn"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_USE = "tool_use"
    INTERRUPTED = "interrupted"
    BUDGET = "budget"
    ITERATION_LIMIT = "iteration_limit"
    ERROR = "error"


class ToolCallState(enum.StrEnum):
    """Where a tool call stands."""

    PENDING = "pending"
    WAITING = "waiting"
    EXECUTING = "executing"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    UNCERTAIN = "uncertain"


class PermissionPolicy:
    """What happens when the model asks for a tool (seed 001, ToolPermissions)."""

    ALLOW: Final = common_pb2.PERMISSION_POLICY_ALLOW
    ASK: Final = common_pb2.PERMISSION_POLICY_ASK
    DENY: Final = common_pb2.PERMISSION_POLICY_DENY


class PermissionMode:
    """Policy for tools that ``tool_permissions`` does not name."""

    SMART_APPROVE: Final = agent_pb2.PERMISSION_MODE_SMART_APPROVE
    ALWAYS_ASK: Final = agent_pb2.PERMISSION_MODE_ALWAYS_ASK
    AUTO_APPROVE: Final = agent_pb2.PERMISSION_MODE_AUTO_APPROVE
    PLAN: Final = agent_pb2.PERMISSION_MODE_PLAN


class BusyPolicy:
    """What a new message does while a turn is in progress."""

    QUEUE: Final = agent_pb2.BUSY_POLICY_QUEUE
    REJECT: Final = agent_pb2.BUSY_POLICY_REJECT


class DisconnectPolicy:
    """What happens to a turn when its caller goes away."""

    INTERRUPT: Final = agent_pb2.DISCONNECT_POLICY_INTERRUPT
    CONTINUE: Final = agent_pb2.DISCONNECT_POLICY_CONTINUE


class OverflowPolicy:
    """What happens to a subscriber whose buffer on the server is full."""

    DROP_OLDEST: Final = event_service_pb2.OVERFLOW_POLICY_DROP_OLDEST
    DROP_NEWEST: Final = event_service_pb2.OVERFLOW_POLICY_DROP_NEWEST
    DISCONNECT: Final = event_service_pb2.OVERFLOW_POLICY_DISCONNECT


class DecisionScope:
    """How far an approval reaches."""

    ONCE: Final = control_service_pb2.DECISION_SCOPE_ONCE
    SESSION: Final = control_service_pb2.DECISION_SCOPE_SESSION
    ALWAYS: Final = control_service_pb2.DECISION_SCOPE_ALWAYS


@functools.cache
def _words(kind: EnumTypeWrapper) -> dict[int, str]:
    values = kind.DESCRIPTOR.values
    # The first value is always <PREFIX>_UNSPECIFIED; unset is the empty word.
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return {v.number: v.name.removeprefix(prefix).lower() if v.number else "" for v in values}


def word(kind: EnumTypeWrapper, value: int) -> str:
    """The short word of an enum's value, ``STOP_REASON_END_TURN`` → ``"end_turn"``.

    Unset is ``""``; a value newer than this client is its number as text.
    """
    return _words(kind).get(value, str(value))
