import datetime

from aster.v1 import common_pb2 as _common_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
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

class WorkflowRunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_RUN_STATE_UNSPECIFIED: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_PENDING: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_RUNNING: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_SUCCEEDED: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_FAILED: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_CANCELED: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_WAITING: _ClassVar[WorkflowRunState]
    WORKFLOW_RUN_STATE_PAUSED: _ClassVar[WorkflowRunState]

class WorkflowStepState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_STEP_STATE_UNSPECIFIED: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_RUNNING: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_SUCCEEDED: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_FAILED: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_SKIPPED: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_CANCELED: _ClassVar[WorkflowStepState]
    WORKFLOW_STEP_STATE_WAITING: _ClassVar[WorkflowStepState]

class WorkflowOnError(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_ON_ERROR_UNSPECIFIED: _ClassVar[WorkflowOnError]
    WORKFLOW_ON_ERROR_FAIL: _ClassVar[WorkflowOnError]
    WORKFLOW_ON_ERROR_CONTINUE: _ClassVar[WorkflowOnError]

class WorkflowJoin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_JOIN_UNSPECIFIED: _ClassVar[WorkflowJoin]
    WORKFLOW_JOIN_ALL: _ClassVar[WorkflowJoin]
    WORKFLOW_JOIN_ANY: _ClassVar[WorkflowJoin]
    WORKFLOW_JOIN_FIRST: _ClassVar[WorkflowJoin]
    WORKFLOW_JOIN_MAJORITY: _ClassVar[WorkflowJoin]
WORKFLOW_RUN_STATE_UNSPECIFIED: WorkflowRunState
WORKFLOW_RUN_STATE_PENDING: WorkflowRunState
WORKFLOW_RUN_STATE_RUNNING: WorkflowRunState
WORKFLOW_RUN_STATE_SUCCEEDED: WorkflowRunState
WORKFLOW_RUN_STATE_FAILED: WorkflowRunState
WORKFLOW_RUN_STATE_CANCELED: WorkflowRunState
WORKFLOW_RUN_STATE_WAITING: WorkflowRunState
WORKFLOW_RUN_STATE_PAUSED: WorkflowRunState
WORKFLOW_STEP_STATE_UNSPECIFIED: WorkflowStepState
WORKFLOW_STEP_STATE_RUNNING: WorkflowStepState
WORKFLOW_STEP_STATE_SUCCEEDED: WorkflowStepState
WORKFLOW_STEP_STATE_FAILED: WorkflowStepState
WORKFLOW_STEP_STATE_SKIPPED: WorkflowStepState
WORKFLOW_STEP_STATE_CANCELED: WorkflowStepState
WORKFLOW_STEP_STATE_WAITING: WorkflowStepState
WORKFLOW_ON_ERROR_UNSPECIFIED: WorkflowOnError
WORKFLOW_ON_ERROR_FAIL: WorkflowOnError
WORKFLOW_ON_ERROR_CONTINUE: WorkflowOnError
WORKFLOW_JOIN_UNSPECIFIED: WorkflowJoin
WORKFLOW_JOIN_ALL: WorkflowJoin
WORKFLOW_JOIN_ANY: WorkflowJoin
WORKFLOW_JOIN_FIRST: WorkflowJoin
WORKFLOW_JOIN_MAJORITY: WorkflowJoin

class Workflow(_message.Message):
    __slots__ = ("id", "display_name", "description", "root", "create_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    description: str
    root: WorkflowStep
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., root: _Optional[_Union[WorkflowStep, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkflowStep(_message.Message):
    __slots__ = ("id", "agent", "star", "sequential", "parallel", "loop", "router", "function", "tool", "approval", "wait", "workflow", "when", "input", "output", "timeout", "retry", "on_error", "fallback")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    STAR_FIELD_NUMBER: _ClassVar[int]
    SEQUENTIAL_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    ON_ERROR_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent: WorkflowAgentStep
    star: WorkflowStarStep
    sequential: WorkflowSequence
    parallel: WorkflowParallel
    loop: WorkflowLoop
    router: WorkflowRouter
    function: WorkflowFunctionStep
    tool: WorkflowToolStep
    approval: WorkflowApprovalStep
    wait: WorkflowWaitStep
    workflow: WorkflowSubWorkflowStep
    when: str
    input: str
    output: str
    timeout: _duration_pb2.Duration
    retry: WorkflowRetry
    on_error: WorkflowOnError
    fallback: WorkflowStep
    def __init__(self, id: _Optional[str] = ..., agent: _Optional[_Union[WorkflowAgentStep, _Mapping]] = ..., star: _Optional[_Union[WorkflowStarStep, _Mapping]] = ..., sequential: _Optional[_Union[WorkflowSequence, _Mapping]] = ..., parallel: _Optional[_Union[WorkflowParallel, _Mapping]] = ..., loop: _Optional[_Union[WorkflowLoop, _Mapping]] = ..., router: _Optional[_Union[WorkflowRouter, _Mapping]] = ..., function: _Optional[_Union[WorkflowFunctionStep, _Mapping]] = ..., tool: _Optional[_Union[WorkflowToolStep, _Mapping]] = ..., approval: _Optional[_Union[WorkflowApprovalStep, _Mapping]] = ..., wait: _Optional[_Union[WorkflowWaitStep, _Mapping]] = ..., workflow: _Optional[_Union[WorkflowSubWorkflowStep, _Mapping]] = ..., when: _Optional[str] = ..., input: _Optional[str] = ..., output: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry: _Optional[_Union[WorkflowRetry, _Mapping]] = ..., on_error: _Optional[_Union[WorkflowOnError, str]] = ..., fallback: _Optional[_Union[WorkflowStep, _Mapping]] = ...) -> None: ...

class WorkflowRetry(_message.Message):
    __slots__ = ("max_retries", "initial_backoff", "multiplier", "max_backoff")
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    max_retries: int
    initial_backoff: _duration_pb2.Duration
    multiplier: float
    max_backoff: _duration_pb2.Duration
    def __init__(self, max_retries: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., multiplier: _Optional[float] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WorkflowAgentStep(_message.Message):
    __slots__ = ("agent_id", "session_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class WorkflowStarStep(_message.Message):
    __slots__ = ("star_id",)
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    def __init__(self, star_id: _Optional[str] = ...) -> None: ...

class WorkflowFunctionStep(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WorkflowToolStep(_message.Message):
    __slots__ = ("tool_name", "agent_id")
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    tool_name: str
    agent_id: str
    def __init__(self, tool_name: _Optional[str] = ..., agent_id: _Optional[str] = ...) -> None: ...

class WorkflowApprovalStep(_message.Message):
    __slots__ = ("expire_after",)
    EXPIRE_AFTER_FIELD_NUMBER: _ClassVar[int]
    expire_after: _duration_pb2.Duration
    def __init__(self, expire_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WorkflowWaitStep(_message.Message):
    __slots__ = ("duration", "time")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    time: str
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time: _Optional[str] = ...) -> None: ...

class WorkflowSubWorkflowStep(_message.Message):
    __slots__ = ("workflow_id",)
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    def __init__(self, workflow_id: _Optional[str] = ...) -> None: ...

class WorkflowSequence(_message.Message):
    __slots__ = ("steps",)
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[WorkflowStep]
    def __init__(self, steps: _Optional[_Iterable[_Union[WorkflowStep, _Mapping]]] = ...) -> None: ...

class WorkflowParallel(_message.Message):
    __slots__ = ("steps", "max_concurrency", "join")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    JOIN_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[WorkflowStep]
    max_concurrency: int
    join: WorkflowJoin
    def __init__(self, steps: _Optional[_Iterable[_Union[WorkflowStep, _Mapping]]] = ..., max_concurrency: _Optional[int] = ..., join: _Optional[_Union[WorkflowJoin, str]] = ...) -> None: ...

class WorkflowLoop(_message.Message):
    __slots__ = ("body", "max_iterations", "while_expression", "until_expression", "for_each_expression")
    BODY_FIELD_NUMBER: _ClassVar[int]
    MAX_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    WHILE_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    UNTIL_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    FOR_EACH_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    body: WorkflowStep
    max_iterations: int
    while_expression: str
    until_expression: str
    for_each_expression: str
    def __init__(self, body: _Optional[_Union[WorkflowStep, _Mapping]] = ..., max_iterations: _Optional[int] = ..., while_expression: _Optional[str] = ..., until_expression: _Optional[str] = ..., for_each_expression: _Optional[str] = ...) -> None: ...

class WorkflowRouter(_message.Message):
    __slots__ = ("routes", "otherwise", "chooser_agent_id")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    CHOOSER_AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[WorkflowRoute]
    otherwise: WorkflowStep
    chooser_agent_id: str
    def __init__(self, routes: _Optional[_Iterable[_Union[WorkflowRoute, _Mapping]]] = ..., otherwise: _Optional[_Union[WorkflowStep, _Mapping]] = ..., chooser_agent_id: _Optional[str] = ...) -> None: ...

class WorkflowRoute(_message.Message):
    __slots__ = ("when", "step", "description")
    WHEN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    when: str
    step: WorkflowStep
    description: str
    def __init__(self, when: _Optional[str] = ..., step: _Optional[_Union[WorkflowStep, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...

class WorkflowSchedule(_message.Message):
    __slots__ = ("id", "workflow_id", "cron", "time_zone", "message", "inputs_json", "budget", "next_time", "last_run_id", "create_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CRON_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    workflow_id: str
    cron: str
    time_zone: str
    message: str
    inputs_json: str
    budget: _common_pb2.Budget
    next_time: _timestamp_pb2.Timestamp
    last_run_id: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., cron: _Optional[str] = ..., time_zone: _Optional[str] = ..., message: _Optional[str] = ..., inputs_json: _Optional[str] = ..., budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_run_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkflowRun(_message.Message):
    __slots__ = ("id", "workflow_id", "state", "message", "output", "error", "steps", "usage", "cost_usd", "create_time", "end_time", "inputs_json", "pending_ids", "schedule_id", "parent_run_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
    PENDING_IDS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    workflow_id: str
    state: WorkflowRunState
    message: str
    output: str
    error: _status_pb2.Status
    steps: _containers.RepeatedCompositeFieldContainer[WorkflowStepRun]
    usage: _common_pb2.TokenUsage
    cost_usd: float
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    inputs_json: str
    pending_ids: _containers.RepeatedScalarFieldContainer[str]
    schedule_id: str
    parent_run_id: str
    def __init__(self, id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., state: _Optional[_Union[WorkflowRunState, str]] = ..., message: _Optional[str] = ..., output: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[WorkflowStepRun, _Mapping]]] = ..., usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., cost_usd: _Optional[float] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., inputs_json: _Optional[str] = ..., pending_ids: _Optional[_Iterable[str]] = ..., schedule_id: _Optional[str] = ..., parent_run_id: _Optional[str] = ...) -> None: ...

class WorkflowStepRun(_message.Message):
    __slots__ = ("step_id", "iteration", "attempt", "state", "turn_id", "agent_id", "output", "error", "start_time", "end_time")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    iteration: int
    attempt: int
    state: WorkflowStepState
    turn_id: str
    agent_id: str
    output: str
    error: _status_pb2.Status
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, step_id: _Optional[str] = ..., iteration: _Optional[int] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[WorkflowStepState, str]] = ..., turn_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., output: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
