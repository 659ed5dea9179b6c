import datetime

from aster.v1 import agent_pb2 as _agent_pb2
from aster.v1 import common_pb2 as _common_pb2
from aster.v1 import workflow_pb2 as _workflow_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResolutionOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOLUTION_OUTCOME_UNSPECIFIED: _ClassVar[ResolutionOutcome]
    RESOLUTION_OUTCOME_ALLOWED: _ClassVar[ResolutionOutcome]
    RESOLUTION_OUTCOME_DENIED: _ClassVar[ResolutionOutcome]
    RESOLUTION_OUTCOME_ANSWERED: _ClassVar[ResolutionOutcome]
    RESOLUTION_OUTCOME_EXPIRED: _ClassVar[ResolutionOutcome]
    RESOLUTION_OUTCOME_WITHDRAWN: _ClassVar[ResolutionOutcome]
RESOLUTION_OUTCOME_UNSPECIFIED: ResolutionOutcome
RESOLUTION_OUTCOME_ALLOWED: ResolutionOutcome
RESOLUTION_OUTCOME_DENIED: ResolutionOutcome
RESOLUTION_OUTCOME_ANSWERED: ResolutionOutcome
RESOLUTION_OUTCOME_EXPIRED: ResolutionOutcome
RESOLUTION_OUTCOME_WITHDRAWN: ResolutionOutcome

class Event(_message.Message):
    __slots__ = ("id", "sequence", "event_type", "create_time", "agent_id", "session_id", "turn_id", "step", "trace_id", "ignorable", "star_id", "workflow_run_id", "parent_turn_id", "parent_call_id", "progress", "control", "monitor")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    IGNORABLE_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_TURN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    id: str
    sequence: int
    event_type: str
    create_time: _timestamp_pb2.Timestamp
    agent_id: str
    session_id: str
    turn_id: str
    step: int
    trace_id: str
    ignorable: bool
    star_id: str
    workflow_run_id: str
    parent_turn_id: str
    parent_call_id: str
    progress: ProgressEvent
    control: ControlEvent
    monitor: MonitorEvent
    def __init__(self, id: _Optional[str] = ..., sequence: _Optional[int] = ..., event_type: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., step: _Optional[int] = ..., trace_id: _Optional[str] = ..., ignorable: _Optional[bool] = ..., star_id: _Optional[str] = ..., workflow_run_id: _Optional[str] = ..., parent_turn_id: _Optional[str] = ..., parent_call_id: _Optional[str] = ..., progress: _Optional[_Union[ProgressEvent, _Mapping]] = ..., control: _Optional[_Union[ControlEvent, _Mapping]] = ..., monitor: _Optional[_Union[MonitorEvent, _Mapping]] = ...) -> None: ...

class ProgressEvent(_message.Message):
    __slots__ = ("text_chunk", "think_chunk", "tool_start", "tool_progress", "tool_end", "complete", "text_done", "tool_intermediate", "todo_update", "session_summarized", "custom")
    TEXT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    THINK_CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOOL_START_FIELD_NUMBER: _ClassVar[int]
    TOOL_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TOOL_END_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    TEXT_DONE_FIELD_NUMBER: _ClassVar[int]
    TOOL_INTERMEDIATE_FIELD_NUMBER: _ClassVar[int]
    TODO_UPDATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_SUMMARIZED_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    text_chunk: TextChunk
    think_chunk: ThinkChunk
    tool_start: ToolStart
    tool_progress: ToolProgress
    tool_end: ToolEnd
    complete: TurnComplete
    text_done: TextDone
    tool_intermediate: ToolIntermediate
    todo_update: TodoUpdate
    session_summarized: SessionSummarized
    custom: ProgressCustom
    def __init__(self, text_chunk: _Optional[_Union[TextChunk, _Mapping]] = ..., think_chunk: _Optional[_Union[ThinkChunk, _Mapping]] = ..., tool_start: _Optional[_Union[ToolStart, _Mapping]] = ..., tool_progress: _Optional[_Union[ToolProgress, _Mapping]] = ..., tool_end: _Optional[_Union[ToolEnd, _Mapping]] = ..., complete: _Optional[_Union[TurnComplete, _Mapping]] = ..., text_done: _Optional[_Union[TextDone, _Mapping]] = ..., tool_intermediate: _Optional[_Union[ToolIntermediate, _Mapping]] = ..., todo_update: _Optional[_Union[TodoUpdate, _Mapping]] = ..., session_summarized: _Optional[_Union[SessionSummarized, _Mapping]] = ..., custom: _Optional[_Union[ProgressCustom, _Mapping]] = ...) -> None: ...

class TextChunk(_message.Message):
    __slots__ = ("delta",)
    DELTA_FIELD_NUMBER: _ClassVar[int]
    delta: str
    def __init__(self, delta: _Optional[str] = ...) -> None: ...

class ThinkChunk(_message.Message):
    __slots__ = ("delta",)
    DELTA_FIELD_NUMBER: _ClassVar[int]
    delta: str
    def __init__(self, delta: _Optional[str] = ...) -> None: ...

class TextDone(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class ToolStart(_message.Message):
    __slots__ = ("call",)
    CALL_FIELD_NUMBER: _ClassVar[int]
    call: _common_pb2.ToolCall
    def __init__(self, call: _Optional[_Union[_common_pb2.ToolCall, _Mapping]] = ...) -> None: ...

class ToolProgress(_message.Message):
    __slots__ = ("call_id", "fraction", "message")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    fraction: float
    message: str
    def __init__(self, call_id: _Optional[str] = ..., fraction: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class ToolIntermediate(_message.Message):
    __slots__ = ("call_id", "label", "data_json")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    label: str
    data_json: str
    def __init__(self, call_id: _Optional[str] = ..., label: _Optional[str] = ..., data_json: _Optional[str] = ...) -> None: ...

class ToolEnd(_message.Message):
    __slots__ = ("result", "duration", "error", "state")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    result: _common_pb2.ToolResult
    duration: _duration_pb2.Duration
    error: _status_pb2.Status
    state: _common_pb2.ToolCallState
    def __init__(self, result: _Optional[_Union[_common_pb2.ToolResult, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., state: _Optional[_Union[_common_pb2.ToolCallState, str]] = ...) -> None: ...

class TurnComplete(_message.Message):
    __slots__ = ("final_text", "stop_reason", "usage", "state", "error", "cost_usd")
    FINAL_TEXT_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    final_text: str
    stop_reason: _agent_pb2.StopReason
    usage: _common_pb2.TokenUsage
    state: _agent_pb2.TurnState
    error: _status_pb2.Status
    cost_usd: float
    def __init__(self, final_text: _Optional[str] = ..., stop_reason: _Optional[_Union[_agent_pb2.StopReason, str]] = ..., usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., state: _Optional[_Union[_agent_pb2.TurnState, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., cost_usd: _Optional[float] = ...) -> None: ...

class TodoUpdate(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[TodoItem]
    def __init__(self, items: _Optional[_Iterable[_Union[TodoItem, _Mapping]]] = ...) -> None: ...

class TodoItem(_message.Message):
    __slots__ = ("id", "content", "active_form", "status", "priority")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FORM_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    content: str
    active_form: str
    status: str
    priority: str
    def __init__(self, id: _Optional[str] = ..., content: _Optional[str] = ..., active_form: _Optional[str] = ..., status: _Optional[str] = ..., priority: _Optional[str] = ...) -> None: ...

class SessionSummarized(_message.Message):
    __slots__ = ("messages_before", "messages_after", "tokens_before", "tokens_after", "summary_preview")
    MESSAGES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_AFTER_FIELD_NUMBER: _ClassVar[int]
    TOKENS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_AFTER_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_PREVIEW_FIELD_NUMBER: _ClassVar[int]
    messages_before: int
    messages_after: int
    tokens_before: int
    tokens_after: int
    summary_preview: str
    def __init__(self, messages_before: _Optional[int] = ..., messages_after: _Optional[int] = ..., tokens_before: _Optional[int] = ..., tokens_after: _Optional[int] = ..., summary_preview: _Optional[str] = ...) -> None: ...

class ProgressCustom(_message.Message):
    __slots__ = ("name", "data_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_json: str
    def __init__(self, name: _Optional[str] = ..., data_json: _Optional[str] = ...) -> None: ...

class ControlEvent(_message.Message):
    __slots__ = ("tool_approval_request", "user_input_request", "request_resolved", "iteration_limit", "tool_control", "outcome_unknown", "workflow_approval_request")
    TOOL_APPROVAL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    USER_INPUT_REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    ITERATION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CONTROL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_APPROVAL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    tool_approval_request: ToolApprovalRequest
    user_input_request: UserInputRequest
    request_resolved: RequestResolved
    iteration_limit: IterationLimitReached
    tool_control: ToolControlled
    outcome_unknown: OutcomeUnknown
    workflow_approval_request: WorkflowApprovalRequest
    def __init__(self, tool_approval_request: _Optional[_Union[ToolApprovalRequest, _Mapping]] = ..., user_input_request: _Optional[_Union[UserInputRequest, _Mapping]] = ..., request_resolved: _Optional[_Union[RequestResolved, _Mapping]] = ..., iteration_limit: _Optional[_Union[IterationLimitReached, _Mapping]] = ..., tool_control: _Optional[_Union[ToolControlled, _Mapping]] = ..., outcome_unknown: _Optional[_Union[OutcomeUnknown, _Mapping]] = ..., workflow_approval_request: _Optional[_Union[WorkflowApprovalRequest, _Mapping]] = ...) -> None: ...

class ToolApprovalRequest(_message.Message):
    __slots__ = ("pending_id", "call", "reason", "input_digest", "expire_time")
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    pending_id: str
    call: _common_pb2.ToolCall
    reason: str
    input_digest: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, pending_id: _Optional[str] = ..., call: _Optional[_Union[_common_pb2.ToolCall, _Mapping]] = ..., reason: _Optional[str] = ..., input_digest: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UserInputRequest(_message.Message):
    __slots__ = ("pending_id", "prompt", "options", "multi_select", "expire_time")
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MULTI_SELECT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    pending_id: str
    prompt: str
    options: _containers.RepeatedCompositeFieldContainer[UserInputOption]
    multi_select: bool
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, pending_id: _Optional[str] = ..., prompt: _Optional[str] = ..., options: _Optional[_Iterable[_Union[UserInputOption, _Mapping]]] = ..., multi_select: _Optional[bool] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UserInputOption(_message.Message):
    __slots__ = ("label", "description")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    label: str
    description: str
    def __init__(self, label: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class IterationLimitReached(_message.Message):
    __slots__ = ("pending_id", "current_step", "iteration_limit", "expire_time")
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STEP_FIELD_NUMBER: _ClassVar[int]
    ITERATION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    pending_id: str
    current_step: int
    iteration_limit: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, pending_id: _Optional[str] = ..., current_step: _Optional[int] = ..., iteration_limit: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkflowApprovalRequest(_message.Message):
    __slots__ = ("pending_id", "workflow_id", "step_id", "prompt", "expire_time")
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    pending_id: str
    workflow_id: str
    step_id: str
    prompt: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, pending_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., step_id: _Optional[str] = ..., prompt: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RequestResolved(_message.Message):
    __slots__ = ("pending_id", "outcome", "decided_by", "note", "edited_input_json", "input_digest", "answer", "resolve_time")
    PENDING_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EDITED_INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_TIME_FIELD_NUMBER: _ClassVar[int]
    pending_id: str
    outcome: ResolutionOutcome
    decided_by: str
    note: str
    edited_input_json: str
    input_digest: str
    answer: str
    resolve_time: _timestamp_pb2.Timestamp
    def __init__(self, pending_id: _Optional[str] = ..., outcome: _Optional[_Union[ResolutionOutcome, str]] = ..., decided_by: _Optional[str] = ..., note: _Optional[str] = ..., edited_input_json: _Optional[str] = ..., input_digest: _Optional[str] = ..., answer: _Optional[str] = ..., resolve_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ToolControlled(_message.Message):
    __slots__ = ("call_id", "state", "requested_by", "note")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    state: _common_pb2.ToolCallState
    requested_by: str
    note: str
    def __init__(self, call_id: _Optional[str] = ..., state: _Optional[_Union[_common_pb2.ToolCallState, str]] = ..., requested_by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class OutcomeUnknown(_message.Message):
    __slots__ = ("call",)
    CALL_FIELD_NUMBER: _ClassVar[int]
    call: _common_pb2.ToolCall
    def __init__(self, call: _Optional[_Union[_common_pb2.ToolCall, _Mapping]] = ...) -> None: ...

class MonitorEvent(_message.Message):
    __slots__ = ("state_changed", "error", "tool_execution", "model_call", "token_usage", "governance", "custom", "step_complete", "agent_resumed", "file_changed", "workflow_run", "workflow_step")
    STATE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TOOL_EXECUTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_USAGE_FIELD_NUMBER: _ClassVar[int]
    GOVERNANCE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    STEP_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    AGENT_RESUMED_FIELD_NUMBER: _ClassVar[int]
    FILE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_STEP_FIELD_NUMBER: _ClassVar[int]
    state_changed: StateChanged
    error: ErrorRaised
    tool_execution: ToolExecution
    model_call: ModelCall
    token_usage: _common_pb2.TokenUsage
    governance: Governance
    custom: MonitorCustom
    step_complete: StepComplete
    agent_resumed: AgentResumed
    file_changed: FileChanged
    workflow_run: WorkflowRunChanged
    workflow_step: _workflow_pb2.WorkflowStepRun
    def __init__(self, state_changed: _Optional[_Union[StateChanged, _Mapping]] = ..., error: _Optional[_Union[ErrorRaised, _Mapping]] = ..., tool_execution: _Optional[_Union[ToolExecution, _Mapping]] = ..., model_call: _Optional[_Union[ModelCall, _Mapping]] = ..., token_usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., governance: _Optional[_Union[Governance, _Mapping]] = ..., custom: _Optional[_Union[MonitorCustom, _Mapping]] = ..., step_complete: _Optional[_Union[StepComplete, _Mapping]] = ..., agent_resumed: _Optional[_Union[AgentResumed, _Mapping]] = ..., file_changed: _Optional[_Union[FileChanged, _Mapping]] = ..., workflow_run: _Optional[_Union[WorkflowRunChanged, _Mapping]] = ..., workflow_step: _Optional[_Union[_workflow_pb2.WorkflowStepRun, _Mapping]] = ...) -> None: ...

class StateChanged(_message.Message):
    __slots__ = ("previous_state", "state", "previous_activity", "activity")
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    previous_state: _agent_pb2.AgentState
    state: _agent_pb2.AgentState
    previous_activity: _agent_pb2.AgentActivity
    activity: _agent_pb2.AgentActivity
    def __init__(self, previous_state: _Optional[_Union[_agent_pb2.AgentState, str]] = ..., state: _Optional[_Union[_agent_pb2.AgentState, str]] = ..., previous_activity: _Optional[_Union[_agent_pb2.AgentActivity, str]] = ..., activity: _Optional[_Union[_agent_pb2.AgentActivity, str]] = ...) -> None: ...

class ErrorRaised(_message.Message):
    __slots__ = ("error", "severity", "phase", "context")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    error: _status_pb2.Status
    severity: str
    phase: str
    context: str
    def __init__(self, error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., severity: _Optional[str] = ..., phase: _Optional[str] = ..., context: _Optional[str] = ...) -> None: ...

class ToolExecution(_message.Message):
    __slots__ = ("tool_name", "call_id", "duration", "success", "input_size_bytes", "output_size_bytes")
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    tool_name: str
    call_id: str
    duration: _duration_pb2.Duration
    success: bool
    input_size_bytes: int
    output_size_bytes: int
    def __init__(self, tool_name: _Optional[str] = ..., call_id: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., success: _Optional[bool] = ..., input_size_bytes: _Optional[int] = ..., output_size_bytes: _Optional[int] = ...) -> None: ...

class ModelCall(_message.Message):
    __slots__ = ("provider", "model", "usage", "duration", "cost_usd", "time_to_first_token", "attempt", "stop_reason", "error")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    usage: _common_pb2.TokenUsage
    duration: _duration_pb2.Duration
    cost_usd: float
    time_to_first_token: _duration_pb2.Duration
    attempt: int
    stop_reason: _agent_pb2.StopReason
    error: _status_pb2.Status
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cost_usd: _Optional[float] = ..., time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., attempt: _Optional[int] = ..., stop_reason: _Optional[_Union[_agent_pb2.StopReason, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Governance(_message.Message):
    __slots__ = ("rule", "decision", "call_id", "detail")
    RULE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    rule: str
    decision: str
    call_id: str
    detail: str
    def __init__(self, rule: _Optional[str] = ..., decision: _Optional[str] = ..., call_id: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class StepComplete(_message.Message):
    __slots__ = ("duration", "tool_call_count")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    tool_call_count: int
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tool_call_count: _Optional[int] = ...) -> None: ...

class AgentResumed(_message.Message):
    __slots__ = ("cause", "uncertain_call_ids")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    UNCERTAIN_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    cause: str
    uncertain_call_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cause: _Optional[str] = ..., uncertain_call_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class FileChanged(_message.Message):
    __slots__ = ("path", "change")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    path: str
    change: str
    def __init__(self, path: _Optional[str] = ..., change: _Optional[str] = ...) -> None: ...

class WorkflowRunChanged(_message.Message):
    __slots__ = ("workflow_id", "state", "output", "error")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    state: _workflow_pb2.WorkflowRunState
    output: str
    error: _status_pb2.Status
    def __init__(self, workflow_id: _Optional[str] = ..., state: _Optional[_Union[_workflow_pb2.WorkflowRunState, str]] = ..., output: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class MonitorCustom(_message.Message):
    __slots__ = ("name", "data_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_json: str
    def __init__(self, name: _Optional[str] = ..., data_json: _Optional[str] = ...) -> None: ...

class EventFrame(_message.Message):
    __slots__ = ("cursor", "event", "heartbeat", "started", "gap")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    event: Event
    heartbeat: Heartbeat
    started: SubscriptionStarted
    gap: EventGap
    def __init__(self, cursor: _Optional[str] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., started: _Optional[_Union[SubscriptionStarted, _Mapping]] = ..., gap: _Optional[_Union[EventGap, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("server_time",)
    SERVER_TIME_FIELD_NUMBER: _ClassVar[int]
    server_time: _timestamp_pb2.Timestamp
    def __init__(self, server_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SubscriptionStarted(_message.Message):
    __slots__ = ("subscription_id", "log_epoch", "oldest_sequence", "latest_sequence")
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_EPOCH_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LATEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    subscription_id: str
    log_epoch: str
    oldest_sequence: int
    latest_sequence: int
    def __init__(self, subscription_id: _Optional[str] = ..., log_epoch: _Optional[str] = ..., oldest_sequence: _Optional[int] = ..., latest_sequence: _Optional[int] = ...) -> None: ...

class EventGap(_message.Message):
    __slots__ = ("first_sequence", "last_sequence", "dropped_count", "channel", "agent_id", "workflow_run_id")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    last_sequence: int
    dropped_count: int
    channel: _common_pb2.Channel
    agent_id: str
    workflow_run_id: str
    def __init__(self, first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ..., dropped_count: _Optional[int] = ..., channel: _Optional[_Union[_common_pb2.Channel, str]] = ..., agent_id: _Optional[str] = ..., workflow_run_id: _Optional[str] = ...) -> None: ...
