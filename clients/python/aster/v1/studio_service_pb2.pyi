import datetime

from aster.v1 import agent_pb2 as _agent_pb2
from aster.v1 import event_pb2 as _event_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectAgentsRequest(_message.Message):
    __slots__ = ("correlation_id", "register", "register_session", "events", "ping", "command_result", "unregister")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    REGISTER_SESSION_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    COMMAND_RESULT_FIELD_NUMBER: _ClassVar[int]
    UNREGISTER_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    register: ConnectRegister
    register_session: ConnectRegisterSession
    events: ConnectEvents
    ping: ConnectPing
    command_result: ConnectCommandResult
    unregister: ConnectUnregister
    def __init__(self, correlation_id: _Optional[str] = ..., register: _Optional[_Union[ConnectRegister, _Mapping]] = ..., register_session: _Optional[_Union[ConnectRegisterSession, _Mapping]] = ..., events: _Optional[_Union[ConnectEvents, _Mapping]] = ..., ping: _Optional[_Union[ConnectPing, _Mapping]] = ..., command_result: _Optional[_Union[ConnectCommandResult, _Mapping]] = ..., unregister: _Optional[_Union[ConnectUnregister, _Mapping]] = ...) -> None: ...

class ConnectAgentsResponse(_message.Message):
    __slots__ = ("correlation_id", "registered", "events_ack", "pong", "command", "error", "session_registered", "ping")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_ACK_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SESSION_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    registered: ConnectRegistered
    events_ack: ConnectEventsAck
    pong: ConnectPong
    command: ConnectCommand
    error: _status_pb2.Status
    session_registered: ConnectSessionRegistered
    ping: ConnectPing
    def __init__(self, correlation_id: _Optional[str] = ..., registered: _Optional[_Union[ConnectRegistered, _Mapping]] = ..., events_ack: _Optional[_Union[ConnectEventsAck, _Mapping]] = ..., pong: _Optional[_Union[ConnectPong, _Mapping]] = ..., command: _Optional[_Union[ConnectCommand, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., session_registered: _Optional[_Union[ConnectSessionRegistered, _Mapping]] = ..., ping: _Optional[_Union[ConnectPing, _Mapping]] = ...) -> None: ...

class ConnectRegister(_message.Message):
    __slots__ = ("agent_id", "name", "status", "model", "capabilities", "metadata", "instance_id", "accepts_commands")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    name: str
    status: str
    model: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    metadata: _struct_pb2.Struct
    instance_id: str
    accepts_commands: bool
    def __init__(self, agent_id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[str] = ..., model: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., instance_id: _Optional[str] = ..., accepts_commands: _Optional[bool] = ...) -> None: ...

class ConnectRegisterSession(_message.Message):
    __slots__ = ("session_id", "agent_id", "create_time", "message_count", "metadata", "status")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    agent_id: str
    create_time: _timestamp_pb2.Timestamp
    message_count: int
    metadata: _struct_pb2.Struct
    status: str
    def __init__(self, session_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message_count: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., status: _Optional[str] = ...) -> None: ...

class ConnectEvents(_message.Message):
    __slots__ = ("agent_id", "first_client_sequence", "events")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_CLIENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    first_client_sequence: int
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, agent_id: _Optional[str] = ..., first_client_sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class ConnectPing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConnectUnregister(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class ConnectCommandResult(_message.Message):
    __slots__ = ("error", "turn")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    error: _status_pb2.Status
    turn: _agent_pb2.Turn
    def __init__(self, error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., turn: _Optional[_Union[_agent_pb2.Turn, _Mapping]] = ...) -> None: ...

class ConnectRegistered(_message.Message):
    __slots__ = ("agent_id", "connection_id", "ping_interval", "acked_client_sequence")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    PING_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    ACKED_CLIENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    connection_id: str
    ping_interval: _duration_pb2.Duration
    acked_client_sequence: int
    def __init__(self, agent_id: _Optional[str] = ..., connection_id: _Optional[str] = ..., ping_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., acked_client_sequence: _Optional[int] = ...) -> None: ...

class ConnectSessionRegistered(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class ConnectEventsAck(_message.Message):
    __slots__ = ("agent_id", "acked_client_sequence")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ACKED_CLIENT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    acked_client_sequence: int
    def __init__(self, agent_id: _Optional[str] = ..., acked_client_sequence: _Optional[int] = ...) -> None: ...

class ConnectPong(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConnectCommand(_message.Message):
    __slots__ = ("agent_id", "chat", "interrupt", "resolved")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    chat: ConnectChat
    interrupt: ConnectInterrupt
    resolved: _event_pb2.RequestResolved
    def __init__(self, agent_id: _Optional[str] = ..., chat: _Optional[_Union[ConnectChat, _Mapping]] = ..., interrupt: _Optional[_Union[ConnectInterrupt, _Mapping]] = ..., resolved: _Optional[_Union[_event_pb2.RequestResolved, _Mapping]] = ...) -> None: ...

class ConnectChat(_message.Message):
    __slots__ = ("turn_id", "message", "session_id")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    message: str
    session_id: str
    def __init__(self, turn_id: _Optional[str] = ..., message: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class ConnectInterrupt(_message.Message):
    __slots__ = ("turn_id", "reason")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    reason: str
    def __init__(self, turn_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListRemoteAgentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRemoteAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_page_token", "total_size")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[_agent_pb2.Agent]
    next_page_token: str
    total_size: int
    def __init__(self, agents: _Optional[_Iterable[_Union[_agent_pb2.Agent, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...
