import datetime

from aster.v1 import common_pb2 as _common_pb2
from aster.v1 import event_pb2 as _event_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_ALLOW: _ClassVar[Decision]
    DECISION_DENY: _ClassVar[Decision]

class DecisionScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_SCOPE_UNSPECIFIED: _ClassVar[DecisionScope]
    DECISION_SCOPE_ONCE: _ClassVar[DecisionScope]
    DECISION_SCOPE_SESSION: _ClassVar[DecisionScope]
    DECISION_SCOPE_ALWAYS: _ClassVar[DecisionScope]

class ToolAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_ACTION_UNSPECIFIED: _ClassVar[ToolAction]
    TOOL_ACTION_PAUSE: _ClassVar[ToolAction]
    TOOL_ACTION_RESUME: _ClassVar[ToolAction]
    TOOL_ACTION_CANCEL: _ClassVar[ToolAction]
DECISION_UNSPECIFIED: Decision
DECISION_ALLOW: Decision
DECISION_DENY: Decision
DECISION_SCOPE_UNSPECIFIED: DecisionScope
DECISION_SCOPE_ONCE: DecisionScope
DECISION_SCOPE_SESSION: DecisionScope
DECISION_SCOPE_ALWAYS: DecisionScope
TOOL_ACTION_UNSPECIFIED: ToolAction
TOOL_ACTION_PAUSE: ToolAction
TOOL_ACTION_RESUME: ToolAction
TOOL_ACTION_CANCEL: ToolAction

class PendingRequest(_message.Message):
    __slots__ = ("id", "agent_id", "session_id", "turn_id", "create_time", "expire_time", "tool_approval", "user_input", "iteration_limit", "workflow_approval", "resolution", "workflow_run_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TOOL_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    USER_INPUT_FIELD_NUMBER: _ClassVar[int]
    ITERATION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent_id: str
    session_id: str
    turn_id: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    tool_approval: _event_pb2.ToolApprovalRequest
    user_input: _event_pb2.UserInputRequest
    iteration_limit: _event_pb2.IterationLimitReached
    workflow_approval: _event_pb2.WorkflowApprovalRequest
    resolution: _event_pb2.RequestResolved
    workflow_run_id: str
    def __init__(self, id: _Optional[str] = ..., agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tool_approval: _Optional[_Union[_event_pb2.ToolApprovalRequest, _Mapping]] = ..., user_input: _Optional[_Union[_event_pb2.UserInputRequest, _Mapping]] = ..., iteration_limit: _Optional[_Union[_event_pb2.IterationLimitReached, _Mapping]] = ..., workflow_approval: _Optional[_Union[_event_pb2.WorkflowApprovalRequest, _Mapping]] = ..., resolution: _Optional[_Union[_event_pb2.RequestResolved, _Mapping]] = ..., workflow_run_id: _Optional[str] = ...) -> None: ...

class ToolCallRecord(_message.Message):
    __slots__ = ("call", "state", "result", "turn_id", "create_time", "end_time", "next_output_offset")
    CALL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_OUTPUT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    call: _common_pb2.ToolCall
    state: _common_pb2.ToolCallState
    result: _common_pb2.ToolResult
    turn_id: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    next_output_offset: int
    def __init__(self, call: _Optional[_Union[_common_pb2.ToolCall, _Mapping]] = ..., state: _Optional[_Union[_common_pb2.ToolCallState, str]] = ..., result: _Optional[_Union[_common_pb2.ToolResult, _Mapping]] = ..., turn_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_output_offset: _Optional[int] = ...) -> None: ...

class ApproveToolCallRequest(_message.Message):
    __slots__ = ("agent_id", "pending_id", "decision", "note", "edited_input_json", "scope", "input_digest")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EDITED_INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    pending_id: str
    decision: Decision
    note: str
    edited_input_json: str
    scope: DecisionScope
    input_digest: str
    def __init__(self, agent_id: _Optional[str] = ..., pending_id: _Optional[str] = ..., decision: _Optional[_Union[Decision, str]] = ..., note: _Optional[str] = ..., edited_input_json: _Optional[str] = ..., scope: _Optional[_Union[DecisionScope, str]] = ..., input_digest: _Optional[str] = ...) -> None: ...

class ApproveToolCallResponse(_message.Message):
    __slots__ = ("pending",)
    PENDING_FIELD_NUMBER: _ClassVar[int]
    pending: PendingRequest
    def __init__(self, pending: _Optional[_Union[PendingRequest, _Mapping]] = ...) -> None: ...

class RespondToInputRequestRequest(_message.Message):
    __slots__ = ("agent_id", "pending_id", "text", "option_indexes", "dismiss")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    OPTION_INDEXES_FIELD_NUMBER: _ClassVar[int]
    DISMISS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    pending_id: str
    text: str
    option_indexes: _containers.RepeatedScalarFieldContainer[int]
    dismiss: bool
    def __init__(self, agent_id: _Optional[str] = ..., pending_id: _Optional[str] = ..., text: _Optional[str] = ..., option_indexes: _Optional[_Iterable[int]] = ..., dismiss: _Optional[bool] = ...) -> None: ...

class RespondToInputRequestResponse(_message.Message):
    __slots__ = ("pending",)
    PENDING_FIELD_NUMBER: _ClassVar[int]
    pending: PendingRequest
    def __init__(self, pending: _Optional[_Union[PendingRequest, _Mapping]] = ...) -> None: ...

class RespondToIterationLimitRequest(_message.Message):
    __slots__ = ("agent_id", "pending_id", "decision", "additional_steps")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ADDITIONAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    pending_id: str
    decision: Decision
    additional_steps: int
    def __init__(self, agent_id: _Optional[str] = ..., pending_id: _Optional[str] = ..., decision: _Optional[_Union[Decision, str]] = ..., additional_steps: _Optional[int] = ...) -> None: ...

class RespondToIterationLimitResponse(_message.Message):
    __slots__ = ("pending",)
    PENDING_FIELD_NUMBER: _ClassVar[int]
    pending: PendingRequest
    def __init__(self, pending: _Optional[_Union[PendingRequest, _Mapping]] = ...) -> None: ...

class RespondToWorkflowApprovalRequest(_message.Message):
    __slots__ = ("workflow_id", "run_id", "pending_id", "decision", "note")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    run_id: str
    pending_id: str
    decision: Decision
    note: str
    def __init__(self, workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., pending_id: _Optional[str] = ..., decision: _Optional[_Union[Decision, str]] = ..., note: _Optional[str] = ...) -> None: ...

class RespondToWorkflowApprovalResponse(_message.Message):
    __slots__ = ("pending",)
    PENDING_FIELD_NUMBER: _ClassVar[int]
    pending: PendingRequest
    def __init__(self, pending: _Optional[_Union[PendingRequest, _Mapping]] = ...) -> None: ...

class ListPendingApprovalsRequest(_message.Message):
    __slots__ = ("agent_id", "page_size", "page_token", "workflow_run_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    page_size: int
    page_token: str
    workflow_run_id: str
    def __init__(self, agent_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., workflow_run_id: _Optional[str] = ...) -> None: ...

class ListPendingApprovalsResponse(_message.Message):
    __slots__ = ("pending", "next_page_token")
    PENDING_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pending: _containers.RepeatedCompositeFieldContainer[PendingRequest]
    next_page_token: str
    def __init__(self, pending: _Optional[_Iterable[_Union[PendingRequest, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ControlToolRequest(_message.Message):
    __slots__ = ("agent_id", "call_id", "action", "note")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    call_id: str
    action: ToolAction
    note: str
    def __init__(self, agent_id: _Optional[str] = ..., call_id: _Optional[str] = ..., action: _Optional[_Union[ToolAction, str]] = ..., note: _Optional[str] = ...) -> None: ...

class ControlToolResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.ToolCallState
    def __init__(self, state: _Optional[_Union[_common_pb2.ToolCallState, str]] = ...) -> None: ...

class GetToolCallRequest(_message.Message):
    __slots__ = ("agent_id", "call_id", "output_offset")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    call_id: str
    output_offset: int
    def __init__(self, agent_id: _Optional[str] = ..., call_id: _Optional[str] = ..., output_offset: _Optional[int] = ...) -> None: ...

class GetToolCallResponse(_message.Message):
    __slots__ = ("tool_call",)
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    tool_call: ToolCallRecord
    def __init__(self, tool_call: _Optional[_Union[ToolCallRecord, _Mapping]] = ...) -> None: ...
