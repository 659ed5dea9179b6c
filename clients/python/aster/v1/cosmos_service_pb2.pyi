import datetime

from aster.v1 import agent_pb2 as _agent_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_ACTION_UNSPECIFIED: _ClassVar[AgentAction]
    AGENT_ACTION_START: _ClassVar[AgentAction]
    AGENT_ACTION_EVICT: _ClassVar[AgentAction]
    AGENT_ACTION_INTERRUPT: _ClassVar[AgentAction]
    AGENT_ACTION_CLOSE: _ClassVar[AgentAction]
    AGENT_ACTION_DELETE: _ClassVar[AgentAction]

class ResourceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOURCE_KIND_UNSPECIFIED: _ClassVar[ResourceKind]
    RESOURCE_KIND_AGENT: _ClassVar[ResourceKind]
    RESOURCE_KIND_STAR: _ClassVar[ResourceKind]
    RESOURCE_KIND_WORKFLOW: _ClassVar[ResourceKind]
    RESOURCE_KIND_REMOTE_AGENT: _ClassVar[ResourceKind]

class ChangeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_KIND_UNSPECIFIED: _ClassVar[ChangeKind]
    CHANGE_KIND_SNAPSHOT: _ClassVar[ChangeKind]
    CHANGE_KIND_REGISTERED: _ClassVar[ChangeKind]
    CHANGE_KIND_UPDATED: _ClassVar[ChangeKind]
    CHANGE_KIND_UNREGISTERED: _ClassVar[ChangeKind]
    CHANGE_KIND_BOOKMARK: _ClassVar[ChangeKind]
AGENT_ACTION_UNSPECIFIED: AgentAction
AGENT_ACTION_START: AgentAction
AGENT_ACTION_EVICT: AgentAction
AGENT_ACTION_INTERRUPT: AgentAction
AGENT_ACTION_CLOSE: AgentAction
AGENT_ACTION_DELETE: AgentAction
RESOURCE_KIND_UNSPECIFIED: ResourceKind
RESOURCE_KIND_AGENT: ResourceKind
RESOURCE_KIND_STAR: ResourceKind
RESOURCE_KIND_WORKFLOW: ResourceKind
RESOURCE_KIND_REMOTE_AGENT: ResourceKind
CHANGE_KIND_UNSPECIFIED: ChangeKind
CHANGE_KIND_SNAPSHOT: ChangeKind
CHANGE_KIND_REGISTERED: ChangeKind
CHANGE_KIND_UPDATED: ChangeKind
CHANGE_KIND_UNREGISTERED: ChangeKind
CHANGE_KIND_BOOKMARK: ChangeKind

class Cosmos(_message.Message):
    __slots__ = ("agent_count", "max_agents", "awake_agent_count", "max_awake_agents", "working_agent_count", "failed_agent_count", "remote_agent_count", "star_count", "workflow_count", "workflow_run_count", "pending_count", "subscription_count")
    AGENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_AGENTS_FIELD_NUMBER: _ClassVar[int]
    AWAKE_AGENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_AWAKE_AGENTS_FIELD_NUMBER: _ClassVar[int]
    WORKING_AGENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_AGENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMOTE_AGENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    STAR_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    agent_count: int
    max_agents: int
    awake_agent_count: int
    max_awake_agents: int
    working_agent_count: int
    failed_agent_count: int
    remote_agent_count: int
    star_count: int
    workflow_count: int
    workflow_run_count: int
    pending_count: int
    subscription_count: int
    def __init__(self, agent_count: _Optional[int] = ..., max_agents: _Optional[int] = ..., awake_agent_count: _Optional[int] = ..., max_awake_agents: _Optional[int] = ..., working_agent_count: _Optional[int] = ..., failed_agent_count: _Optional[int] = ..., remote_agent_count: _Optional[int] = ..., star_count: _Optional[int] = ..., workflow_count: _Optional[int] = ..., workflow_run_count: _Optional[int] = ..., pending_count: _Optional[int] = ..., subscription_count: _Optional[int] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("kind", "id", "display_name", "register_time")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REGISTER_TIME_FIELD_NUMBER: _ClassVar[int]
    kind: ResourceKind
    id: str
    display_name: str
    register_time: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[_Union[ResourceKind, str]] = ..., id: _Optional[str] = ..., display_name: _Optional[str] = ..., register_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResourceChange(_message.Message):
    __slots__ = ("cursor", "kind", "resource")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    kind: ChangeKind
    resource: Resource
    def __init__(self, cursor: _Optional[str] = ..., kind: _Optional[_Union[ChangeKind, str]] = ..., resource: _Optional[_Union[Resource, _Mapping]] = ...) -> None: ...

class GetCosmosRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCosmosResponse(_message.Message):
    __slots__ = ("cosmos",)
    COSMOS_FIELD_NUMBER: _ClassVar[int]
    cosmos: Cosmos
    def __init__(self, cosmos: _Optional[_Union[Cosmos, _Mapping]] = ...) -> None: ...

class ListResourcesRequest(_message.Message):
    __slots__ = ("kinds", "page_size", "page_token")
    KINDS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[ResourceKind]
    page_size: int
    page_token: str
    def __init__(self, kinds: _Optional[_Iterable[_Union[ResourceKind, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListResourcesResponse(_message.Message):
    __slots__ = ("resources", "next_page_token")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    next_page_token: str
    def __init__(self, resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchResourcesRequest(_message.Message):
    __slots__ = ("kinds", "cursor")
    KINDS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[ResourceKind]
    cursor: str
    def __init__(self, kinds: _Optional[_Iterable[_Union[ResourceKind, str]]] = ..., cursor: _Optional[str] = ...) -> None: ...

class WatchResourcesResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ResourceChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[ResourceChange, _Mapping]]] = ...) -> None: ...

class EvictAgentRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class EvictAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: _agent_pb2.Agent
    def __init__(self, agent: _Optional[_Union[_agent_pb2.Agent, _Mapping]] = ...) -> None: ...

class ForEachAgentRequest(_message.Message):
    __slots__ = ("action", "states", "template_id", "id_prefix", "labels", "stop_on_error", "max_concurrency")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STOP_ON_ERROR_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    action: AgentAction
    states: _containers.RepeatedScalarFieldContainer[_agent_pb2.AgentState]
    template_id: str
    id_prefix: str
    labels: _containers.ScalarMap[str, str]
    stop_on_error: bool
    max_concurrency: int
    def __init__(self, action: _Optional[_Union[AgentAction, str]] = ..., states: _Optional[_Iterable[_Union[_agent_pb2.AgentState, str]]] = ..., template_id: _Optional[str] = ..., id_prefix: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., stop_on_error: _Optional[bool] = ..., max_concurrency: _Optional[int] = ...) -> None: ...

class ForEachAgentResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AgentActionResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AgentActionResult, _Mapping]]] = ...) -> None: ...

class AgentActionResult(_message.Message):
    __slots__ = ("agent_id", "error")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    error: _status_pb2.Status
    def __init__(self, agent_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
