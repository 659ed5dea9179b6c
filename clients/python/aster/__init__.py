"""Aster: the contract of the agent control plane and its Python client.

::

    async with aster.AsterClient() as client:
        agent = await client.create_agent("assistant", model="claude-sonnet-4-5")
        async for event in agent.stream("你好"):
            print(event.text_delta, end="")

Names load when they are first used: the server imports ``aster.v1`` alone, and
``aster --help`` needs no gRPC.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aster import errors as errors
    from aster._requests import SubscribeOptions as SubscribeOptions
    from aster.agent import Agent as Agent
    from aster.client import AsterClient as AsterClient
    from aster.errors import AsterError as AsterError
    from aster.events import EventView as EventView
    from aster.events import ToolCallView as ToolCallView
    from aster.results import AgentStatus as AgentStatus
    from aster.results import ChatResult as ChatResult
    from aster.results import MessageView as MessageView
    from aster.results import SendResult as SendResult
    from aster.subscription import Statistics as Statistics
    from aster.subscription import Subscription as Subscription
    from aster.types import AgentActivity as AgentActivity
    from aster.types import AgentState as AgentState
    from aster.types import BusyPolicy as BusyPolicy
    from aster.types import Channel as Channel
    from aster.types import DecisionScope as DecisionScope
    from aster.types import DisconnectPolicy as DisconnectPolicy
    from aster.types import OverflowPolicy as OverflowPolicy
    from aster.types import PermissionMode as PermissionMode
    from aster.types import PermissionPolicy as PermissionPolicy
    from aster.types import StopReason as StopReason
    from aster.types import ToolCallState as ToolCallState
    from aster.types import TurnState as TurnState
    from aster.v1.agent_pb2 import AgentConfig as AgentConfig
    from aster.v1.agent_pb2 import ModelConfig as ModelConfig
    from aster.v1.agent_pb2 import PermissionRule as PermissionRule
    from aster.v1.agent_pb2 import SandboxConfig as SandboxConfig
    from aster.v1.agent_pb2 import Turn as Turn
    from aster.v1.common_pb2 import Budget as Budget
    from aster.v1.common_pb2 import ContentBlock as ContentBlock
    from aster.v1.common_pb2 import Media as Media
    from aster.v1.common_pb2 import TokenUsage as TokenUsage
    from aster.v1.common_pb2 import ToolCall as ToolCall
    from aster.v1.common_pb2 import ToolResult as ToolResult
    from aster.v1.control_service_pb2 import PendingRequest as PendingRequest
    from aster.v1.control_service_pb2 import ToolCallRecord as ToolCallRecord
    from aster.v1.event_pb2 import AgentResumed as AgentResumed
    from aster.v1.event_pb2 import ErrorRaised as ErrorRaised
    from aster.v1.event_pb2 import Event as Event
    from aster.v1.event_pb2 import EventFrame as EventFrame
    from aster.v1.event_pb2 import EventGap as EventGap
    from aster.v1.event_pb2 import FileChanged as FileChanged
    from aster.v1.event_pb2 import Governance as Governance
    from aster.v1.event_pb2 import IterationLimitReached as IterationLimitReached
    from aster.v1.event_pb2 import ModelCall as ModelCall
    from aster.v1.event_pb2 import MonitorCustom as MonitorCustom
    from aster.v1.event_pb2 import OutcomeUnknown as OutcomeUnknown
    from aster.v1.event_pb2 import ProgressCustom as ProgressCustom
    from aster.v1.event_pb2 import RequestResolved as RequestResolved
    from aster.v1.event_pb2 import SessionSummarized as SessionSummarized
    from aster.v1.event_pb2 import StateChanged as StateChanged
    from aster.v1.event_pb2 import StepComplete as StepComplete
    from aster.v1.event_pb2 import SubscriptionStarted as SubscriptionStarted
    from aster.v1.event_pb2 import TextChunk as TextChunk
    from aster.v1.event_pb2 import TextDone as TextDone
    from aster.v1.event_pb2 import ThinkChunk as ThinkChunk
    from aster.v1.event_pb2 import TodoUpdate as TodoUpdate
    from aster.v1.event_pb2 import ToolApprovalRequest as ToolApprovalRequest
    from aster.v1.event_pb2 import ToolControlled as ToolControlled
    from aster.v1.event_pb2 import ToolEnd as ToolEnd
    from aster.v1.event_pb2 import ToolExecution as ToolExecution
    from aster.v1.event_pb2 import ToolIntermediate as ToolIntermediate
    from aster.v1.event_pb2 import ToolProgress as ToolProgress
    from aster.v1.event_pb2 import ToolStart as ToolStart
    from aster.v1.event_pb2 import TurnComplete as TurnComplete
    from aster.v1.event_pb2 import UserInputRequest as UserInputRequest
    from aster.v1.event_pb2 import WorkflowApprovalRequest as WorkflowApprovalRequest
    from aster.v1.event_pb2 import WorkflowRunChanged as WorkflowRunChanged
    from aster.v1.session_service_pb2 import Session as Session
    from aster.v1.workflow_pb2 import WorkflowStepRun as WorkflowStepRun

_HOMES = {
    "aster._requests": "SubscribeOptions",
    "aster.agent": "Agent",
    "aster.client": "AsterClient",
    "aster.errors": "AsterError",
    "aster.events": "EventView ToolCallView",
    "aster.results": "AgentStatus ChatResult MessageView SendResult",
    "aster.subscription": "Statistics Subscription",
    "aster.types": (
        "AgentActivity AgentState BusyPolicy Channel DecisionScope DisconnectPolicy OverflowPolicy PermissionMode "
        "PermissionPolicy StopReason ToolCallState TurnState"
    ),
    "aster.v1.agent_pb2": "AgentConfig ModelConfig PermissionRule SandboxConfig Turn",
    "aster.v1.common_pb2": "Budget ContentBlock Media TokenUsage ToolCall ToolResult",
    "aster.v1.control_service_pb2": "PendingRequest ToolCallRecord",
    "aster.v1.event_pb2": (
        "AgentResumed ErrorRaised Event EventFrame EventGap FileChanged Governance IterationLimitReached "
        "ModelCall MonitorCustom OutcomeUnknown ProgressCustom RequestResolved SessionSummarized StateChanged "
        "StepComplete SubscriptionStarted TextChunk TextDone ThinkChunk TodoUpdate ToolApprovalRequest "
        "ToolControlled ToolEnd ToolExecution ToolIntermediate ToolProgress ToolStart TurnComplete "
        "UserInputRequest WorkflowApprovalRequest WorkflowRunChanged"
    ),
    "aster.v1.session_service_pb2": "Session",
    "aster.v1.workflow_pb2": "WorkflowStepRun",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = [*_MODULES, "errors"]  # all are strings


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("aster.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'aster' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
