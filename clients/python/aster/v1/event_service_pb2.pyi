import datetime

from aster.v1 import common_pb2 as _common_pb2
from aster.v1 import event_pb2 as _event_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OverflowPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERFLOW_POLICY_UNSPECIFIED: _ClassVar[OverflowPolicy]
    OVERFLOW_POLICY_DROP_OLDEST: _ClassVar[OverflowPolicy]
    OVERFLOW_POLICY_DROP_NEWEST: _ClassVar[OverflowPolicy]
    OVERFLOW_POLICY_DISCONNECT: _ClassVar[OverflowPolicy]

class StartPosition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    START_POSITION_UNSPECIFIED: _ClassVar[StartPosition]
    START_POSITION_NOW: _ClassVar[StartPosition]
    START_POSITION_EARLIEST: _ClassVar[StartPosition]
OVERFLOW_POLICY_UNSPECIFIED: OverflowPolicy
OVERFLOW_POLICY_DROP_OLDEST: OverflowPolicy
OVERFLOW_POLICY_DROP_NEWEST: OverflowPolicy
OVERFLOW_POLICY_DISCONNECT: OverflowPolicy
START_POSITION_UNSPECIFIED: StartPosition
START_POSITION_NOW: StartPosition
START_POSITION_EARLIEST: StartPosition

class SubscribeRequest(_message.Message):
    __slots__ = ("agent_id", "session_id", "turn_id", "star_id", "event_types", "position", "cursor", "after_sequence", "start_time", "heartbeat_interval", "buffer_size", "overflow_policy", "until_turn_complete", "channels", "workflow_run_id", "agent_ids")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_POLICY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TURN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    turn_id: str
    star_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    position: StartPosition
    cursor: str
    after_sequence: int
    start_time: _timestamp_pb2.Timestamp
    heartbeat_interval: _duration_pb2.Duration
    buffer_size: int
    overflow_policy: OverflowPolicy
    until_turn_complete: bool
    channels: _containers.RepeatedScalarFieldContainer[_common_pb2.Channel]
    workflow_run_id: str
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., star_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., position: _Optional[_Union[StartPosition, str]] = ..., cursor: _Optional[str] = ..., after_sequence: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., buffer_size: _Optional[int] = ..., overflow_policy: _Optional[_Union[OverflowPolicy, str]] = ..., until_turn_complete: _Optional[bool] = ..., channels: _Optional[_Iterable[_Union[_common_pb2.Channel, str]]] = ..., workflow_run_id: _Optional[str] = ..., agent_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ...) -> None: ...

class SubscribeProgressRequest(_message.Message):
    __slots__ = ("agent_id", "session_id", "turn_id", "star_id", "event_types", "position", "cursor", "after_sequence", "start_time", "heartbeat_interval", "buffer_size", "overflow_policy", "until_turn_complete", "workflow_run_id", "agent_ids")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_POLICY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TURN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    turn_id: str
    star_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    position: StartPosition
    cursor: str
    after_sequence: int
    start_time: _timestamp_pb2.Timestamp
    heartbeat_interval: _duration_pb2.Duration
    buffer_size: int
    overflow_policy: OverflowPolicy
    until_turn_complete: bool
    workflow_run_id: str
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., star_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., position: _Optional[_Union[StartPosition, str]] = ..., cursor: _Optional[str] = ..., after_sequence: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., buffer_size: _Optional[int] = ..., overflow_policy: _Optional[_Union[OverflowPolicy, str]] = ..., until_turn_complete: _Optional[bool] = ..., workflow_run_id: _Optional[str] = ..., agent_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscribeProgressResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ...) -> None: ...

class SubscribeControlRequest(_message.Message):
    __slots__ = ("agent_id", "session_id", "turn_id", "star_id", "event_types", "position", "cursor", "after_sequence", "start_time", "heartbeat_interval", "buffer_size", "overflow_policy", "until_turn_complete", "workflow_run_id", "agent_ids")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_POLICY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TURN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    turn_id: str
    star_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    position: StartPosition
    cursor: str
    after_sequence: int
    start_time: _timestamp_pb2.Timestamp
    heartbeat_interval: _duration_pb2.Duration
    buffer_size: int
    overflow_policy: OverflowPolicy
    until_turn_complete: bool
    workflow_run_id: str
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., star_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., position: _Optional[_Union[StartPosition, str]] = ..., cursor: _Optional[str] = ..., after_sequence: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., buffer_size: _Optional[int] = ..., overflow_policy: _Optional[_Union[OverflowPolicy, str]] = ..., until_turn_complete: _Optional[bool] = ..., workflow_run_id: _Optional[str] = ..., agent_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscribeControlResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ...) -> None: ...

class SubscribeMonitorRequest(_message.Message):
    __slots__ = ("agent_id", "session_id", "turn_id", "star_id", "event_types", "position", "cursor", "after_sequence", "start_time", "heartbeat_interval", "buffer_size", "overflow_policy", "until_turn_complete", "workflow_run_id", "agent_ids")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_POLICY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TURN_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    session_id: str
    turn_id: str
    star_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    position: StartPosition
    cursor: str
    after_sequence: int
    start_time: _timestamp_pb2.Timestamp
    heartbeat_interval: _duration_pb2.Duration
    buffer_size: int
    overflow_policy: OverflowPolicy
    until_turn_complete: bool
    workflow_run_id: str
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_id: _Optional[str] = ..., session_id: _Optional[str] = ..., turn_id: _Optional[str] = ..., star_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., position: _Optional[_Union[StartPosition, str]] = ..., cursor: _Optional[str] = ..., after_sequence: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., buffer_size: _Optional[int] = ..., overflow_policy: _Optional[_Union[OverflowPolicy, str]] = ..., until_turn_complete: _Optional[bool] = ..., workflow_run_id: _Optional[str] = ..., agent_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscribeMonitorResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("agent_id", "after_sequence", "channels", "event_types", "turn_id", "page_size", "page_token", "cursor", "newest_first")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    after_sequence: int
    channels: _containers.RepeatedScalarFieldContainer[_common_pb2.Channel]
    event_types: _containers.RepeatedScalarFieldContainer[str]
    turn_id: str
    page_size: int
    page_token: str
    cursor: str
    newest_first: bool
    def __init__(self, agent_id: _Optional[str] = ..., after_sequence: _Optional[int] = ..., channels: _Optional[_Iterable[_Union[_common_pb2.Channel, str]]] = ..., event_types: _Optional[_Iterable[str]] = ..., turn_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., cursor: _Optional[str] = ..., newest_first: _Optional[bool] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("frames", "next_page_token")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    next_page_token: str
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
