import datetime

from aster.v1 import common_pb2 as _common_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_STATE_UNSPECIFIED: _ClassVar[AgentState]
    AGENT_STATE_CREATED: _ClassVar[AgentState]
    AGENT_STATE_STARTED: _ClassVar[AgentState]
    AGENT_STATE_RUNNING: _ClassVar[AgentState]
    AGENT_STATE_STOPPED: _ClassVar[AgentState]
    AGENT_STATE_CLOSED: _ClassVar[AgentState]

class AgentActivity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_ACTIVITY_UNSPECIFIED: _ClassVar[AgentActivity]
    AGENT_ACTIVITY_IDLE: _ClassVar[AgentActivity]
    AGENT_ACTIVITY_WORKING: _ClassVar[AgentActivity]
    AGENT_ACTIVITY_WAITING: _ClassVar[AgentActivity]
    AGENT_ACTIVITY_ERROR: _ClassVar[AgentActivity]

class TurnState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_STATE_UNSPECIFIED: _ClassVar[TurnState]
    TURN_STATE_QUEUED: _ClassVar[TurnState]
    TURN_STATE_RUNNING: _ClassVar[TurnState]
    TURN_STATE_WAITING: _ClassVar[TurnState]
    TURN_STATE_COMPLETED: _ClassVar[TurnState]
    TURN_STATE_FAILED: _ClassVar[TurnState]
    TURN_STATE_INTERRUPTED: _ClassVar[TurnState]

class StopReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_REASON_UNSPECIFIED: _ClassVar[StopReason]
    STOP_REASON_END_TURN: _ClassVar[StopReason]
    STOP_REASON_MAX_TOKENS: _ClassVar[StopReason]
    STOP_REASON_STOP_SEQUENCE: _ClassVar[StopReason]
    STOP_REASON_TOOL_USE: _ClassVar[StopReason]
    STOP_REASON_INTERRUPTED: _ClassVar[StopReason]
    STOP_REASON_BUDGET: _ClassVar[StopReason]
    STOP_REASON_ITERATION_LIMIT: _ClassVar[StopReason]
    STOP_REASON_ERROR: _ClassVar[StopReason]

class PermissionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_MODE_UNSPECIFIED: _ClassVar[PermissionMode]
    PERMISSION_MODE_SMART_APPROVE: _ClassVar[PermissionMode]
    PERMISSION_MODE_ALWAYS_ASK: _ClassVar[PermissionMode]
    PERMISSION_MODE_AUTO_APPROVE: _ClassVar[PermissionMode]
    PERMISSION_MODE_PLAN: _ClassVar[PermissionMode]

class BusyPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUSY_POLICY_UNSPECIFIED: _ClassVar[BusyPolicy]
    BUSY_POLICY_QUEUE: _ClassVar[BusyPolicy]
    BUSY_POLICY_REJECT: _ClassVar[BusyPolicy]

class DisconnectPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISCONNECT_POLICY_UNSPECIFIED: _ClassVar[DisconnectPolicy]
    DISCONNECT_POLICY_INTERRUPT: _ClassVar[DisconnectPolicy]
    DISCONNECT_POLICY_CONTINUE: _ClassVar[DisconnectPolicy]
AGENT_STATE_UNSPECIFIED: AgentState
AGENT_STATE_CREATED: AgentState
AGENT_STATE_STARTED: AgentState
AGENT_STATE_RUNNING: AgentState
AGENT_STATE_STOPPED: AgentState
AGENT_STATE_CLOSED: AgentState
AGENT_ACTIVITY_UNSPECIFIED: AgentActivity
AGENT_ACTIVITY_IDLE: AgentActivity
AGENT_ACTIVITY_WORKING: AgentActivity
AGENT_ACTIVITY_WAITING: AgentActivity
AGENT_ACTIVITY_ERROR: AgentActivity
TURN_STATE_UNSPECIFIED: TurnState
TURN_STATE_QUEUED: TurnState
TURN_STATE_RUNNING: TurnState
TURN_STATE_WAITING: TurnState
TURN_STATE_COMPLETED: TurnState
TURN_STATE_FAILED: TurnState
TURN_STATE_INTERRUPTED: TurnState
STOP_REASON_UNSPECIFIED: StopReason
STOP_REASON_END_TURN: StopReason
STOP_REASON_MAX_TOKENS: StopReason
STOP_REASON_STOP_SEQUENCE: StopReason
STOP_REASON_TOOL_USE: StopReason
STOP_REASON_INTERRUPTED: StopReason
STOP_REASON_BUDGET: StopReason
STOP_REASON_ITERATION_LIMIT: StopReason
STOP_REASON_ERROR: StopReason
PERMISSION_MODE_UNSPECIFIED: PermissionMode
PERMISSION_MODE_SMART_APPROVE: PermissionMode
PERMISSION_MODE_ALWAYS_ASK: PermissionMode
PERMISSION_MODE_AUTO_APPROVE: PermissionMode
PERMISSION_MODE_PLAN: PermissionMode
BUSY_POLICY_UNSPECIFIED: BusyPolicy
BUSY_POLICY_QUEUE: BusyPolicy
BUSY_POLICY_REJECT: BusyPolicy
DISCONNECT_POLICY_UNSPECIFIED: DisconnectPolicy
DISCONNECT_POLICY_INTERRUPT: DisconnectPolicy
DISCONNECT_POLICY_CONTINUE: DisconnectPolicy

class AgentConfig(_message.Message):
    __slots__ = ("template_id", "model_config", "tools", "middlewares", "middleware_config_json", "sandbox", "system_prompt", "routing_profile", "tool_permissions", "permission_mode", "approval_timeout", "iteration_limit", "turn_budget", "total_budget", "expose_thinking", "metadata", "permission_rules", "session_budget", "four_eyes")
    class MiddlewareConfigJsonEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ToolPermissionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.PermissionPolicy
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.PermissionPolicy, str]] = ...) -> None: ...
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    MIDDLEWARES_FIELD_NUMBER: _ClassVar[int]
    MIDDLEWARE_CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    ROUTING_PROFILE_FIELD_NUMBER: _ClassVar[int]
    TOOL_PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_MODE_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ITERATION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TURN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BUDGET_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_THINKING_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_RULES_FIELD_NUMBER: _ClassVar[int]
    SESSION_BUDGET_FIELD_NUMBER: _ClassVar[int]
    FOUR_EYES_FIELD_NUMBER: _ClassVar[int]
    template_id: str
    model_config: ModelConfig
    tools: _containers.RepeatedScalarFieldContainer[str]
    middlewares: _containers.RepeatedScalarFieldContainer[str]
    middleware_config_json: _containers.ScalarMap[str, str]
    sandbox: SandboxConfig
    system_prompt: str
    routing_profile: str
    tool_permissions: _containers.ScalarMap[str, _common_pb2.PermissionPolicy]
    permission_mode: PermissionMode
    approval_timeout: _duration_pb2.Duration
    iteration_limit: int
    turn_budget: _common_pb2.Budget
    total_budget: _common_pb2.Budget
    expose_thinking: bool
    metadata: _struct_pb2.Struct
    permission_rules: _containers.RepeatedCompositeFieldContainer[PermissionRule]
    session_budget: _common_pb2.Budget
    four_eyes: bool
    def __init__(self, template_id: _Optional[str] = ..., model_config: _Optional[_Union[ModelConfig, _Mapping]] = ..., tools: _Optional[_Iterable[str]] = ..., middlewares: _Optional[_Iterable[str]] = ..., middleware_config_json: _Optional[_Mapping[str, str]] = ..., sandbox: _Optional[_Union[SandboxConfig, _Mapping]] = ..., system_prompt: _Optional[str] = ..., routing_profile: _Optional[str] = ..., tool_permissions: _Optional[_Mapping[str, _common_pb2.PermissionPolicy]] = ..., permission_mode: _Optional[_Union[PermissionMode, str]] = ..., approval_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., iteration_limit: _Optional[int] = ..., turn_budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ..., total_budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ..., expose_thinking: _Optional[bool] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., permission_rules: _Optional[_Iterable[_Union[PermissionRule, _Mapping]]] = ..., session_budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ..., four_eyes: _Optional[bool] = ...) -> None: ...

class PermissionRule(_message.Message):
    __slots__ = ("tool", "argument", "policy")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    tool: str
    argument: str
    policy: _common_pb2.PermissionPolicy
    def __init__(self, tool: _Optional[str] = ..., argument: _Optional[str] = ..., policy: _Optional[_Union[_common_pb2.PermissionPolicy, str]] = ...) -> None: ...

class ModelConfig(_message.Message):
    __slots__ = ("provider", "model", "api_key", "api_key_secret", "base_url", "temperature", "max_tokens", "top_p", "stop_sequences", "thinking_budget_tokens", "fallbacks")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    API_KEY_SECRET_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    THINKING_BUDGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    api_key: str
    api_key_secret: str
    base_url: str
    temperature: float
    max_tokens: int
    top_p: float
    stop_sequences: _containers.RepeatedScalarFieldContainer[str]
    thinking_budget_tokens: int
    fallbacks: _containers.RepeatedCompositeFieldContainer[ModelConfig]
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., api_key: _Optional[str] = ..., api_key_secret: _Optional[str] = ..., base_url: _Optional[str] = ..., temperature: _Optional[float] = ..., max_tokens: _Optional[int] = ..., top_p: _Optional[float] = ..., stop_sequences: _Optional[_Iterable[str]] = ..., thinking_budget_tokens: _Optional[int] = ..., fallbacks: _Optional[_Iterable[_Union[ModelConfig, _Mapping]]] = ...) -> None: ...

class SandboxConfig(_message.Message):
    __slots__ = ("kind", "work_dir", "timeout", "allowed_hosts", "watch_files")
    KIND_FIELD_NUMBER: _ClassVar[int]
    WORK_DIR_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_HOSTS_FIELD_NUMBER: _ClassVar[int]
    WATCH_FILES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    work_dir: str
    timeout: _duration_pb2.Duration
    allowed_hosts: _containers.RepeatedScalarFieldContainer[str]
    watch_files: bool
    def __init__(self, kind: _Optional[str] = ..., work_dir: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., allowed_hosts: _Optional[_Iterable[str]] = ..., watch_files: _Optional[bool] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("id", "display_name", "config", "status", "remote", "create_time", "update_time", "etag", "labels", "middleware_order")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MIDDLEWARE_ORDER_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    config: AgentConfig
    status: AgentStatus
    remote: RemoteAgent
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    labels: _containers.ScalarMap[str, str]
    middleware_order: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., config: _Optional[_Union[AgentConfig, _Mapping]] = ..., status: _Optional[_Union[AgentStatus, _Mapping]] = ..., remote: _Optional[_Union[RemoteAgent, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., middleware_order: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoteAgent(_message.Message):
    __slots__ = ("connected", "model", "capabilities", "accepts_commands", "last_seen_time", "metadata")
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    connected: bool
    model: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    accepts_commands: bool
    last_seen_time: _timestamp_pb2.Timestamp
    metadata: _struct_pb2.Struct
    def __init__(self, connected: _Optional[bool] = ..., model: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., accepts_commands: _Optional[bool] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class AgentStatus(_message.Message):
    __slots__ = ("state", "activity", "message_count", "step_count", "uptime", "last_activity_time", "session_id", "turn_id", "queued_turn_count", "latest_sequence", "total_tokens", "total_cost_usd", "last_error", "active_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVITY_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TURN_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COST_USD_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    state: AgentState
    activity: AgentActivity
    message_count: int
    step_count: int
    uptime: _duration_pb2.Duration
    last_activity_time: _timestamp_pb2.Timestamp
    session_id: str
    turn_id: str
    queued_turn_count: int
    latest_sequence: int
    total_tokens: int
    total_cost_usd: float
    last_error: _status_pb2.Status
    active_time: _duration_pb2.Duration
    def __init__(self, state: _Optional[_Union[AgentState, str]] = ..., activity: _Optional[_Union[AgentActivity, str]] = ..., message_count: _Optional[int] = ..., step_count: _Optional[int] = ..., uptime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., last_activity_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., queued_turn_count: _Optional[int] = ..., latest_sequence: _Optional[int] = ..., total_tokens: _Optional[int] = ..., total_cost_usd: _Optional[float] = ..., last_error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., active_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("id", "agent_id", "session_id", "state", "reply", "stop_reason", "usage", "cost_usd", "step_count", "error", "pending_ids", "create_time", "end_time", "first_sequence", "parent_turn_id", "parent_call_id", "star_id", "workflow_run_id", "start_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PENDING_IDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PARENT_TURN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent_id: str
    session_id: str
    state: TurnState
    reply: _common_pb2.Message
    stop_reason: StopReason
    usage: _common_pb2.TokenUsage
    cost_usd: float
    step_count: int
    error: _status_pb2.Status
    pending_ids: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    first_sequence: int
    parent_turn_id: str
    parent_call_id: str
    star_id: str
    workflow_run_id: str
    start_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., state: _Optional[_Union[TurnState, str]] = ..., reply: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., stop_reason: _Optional[_Union[StopReason, str]] = ..., usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., cost_usd: _Optional[float] = ..., step_count: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., pending_ids: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., first_sequence: _Optional[int] = ..., parent_turn_id: _Optional[str] = ..., parent_call_id: _Optional[str] = ..., star_id: _Optional[str] = ..., workflow_run_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
