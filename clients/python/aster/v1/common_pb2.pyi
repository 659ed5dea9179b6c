import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_PROGRESS: _ClassVar[Channel]
    CHANNEL_CONTROL: _ClassVar[Channel]
    CHANNEL_MONITOR: _ClassVar[Channel]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_ASSISTANT: _ClassVar[Role]
    ROLE_SYSTEM: _ClassVar[Role]
    ROLE_TOOL: _ClassVar[Role]

class PermissionPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_POLICY_UNSPECIFIED: _ClassVar[PermissionPolicy]
    PERMISSION_POLICY_ALLOW: _ClassVar[PermissionPolicy]
    PERMISSION_POLICY_ASK: _ClassVar[PermissionPolicy]
    PERMISSION_POLICY_DENY: _ClassVar[PermissionPolicy]

class ToolCallState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_CALL_STATE_UNSPECIFIED: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_PENDING: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_WAITING: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_EXECUTING: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_PAUSED: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_COMPLETED: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_FAILED: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_CANCELED: _ClassVar[ToolCallState]
    TOOL_CALL_STATE_UNCERTAIN: _ClassVar[ToolCallState]
CHANNEL_UNSPECIFIED: Channel
CHANNEL_PROGRESS: Channel
CHANNEL_CONTROL: Channel
CHANNEL_MONITOR: Channel
ROLE_UNSPECIFIED: Role
ROLE_USER: Role
ROLE_ASSISTANT: Role
ROLE_SYSTEM: Role
ROLE_TOOL: Role
PERMISSION_POLICY_UNSPECIFIED: PermissionPolicy
PERMISSION_POLICY_ALLOW: PermissionPolicy
PERMISSION_POLICY_ASK: PermissionPolicy
PERMISSION_POLICY_DENY: PermissionPolicy
TOOL_CALL_STATE_UNSPECIFIED: ToolCallState
TOOL_CALL_STATE_PENDING: ToolCallState
TOOL_CALL_STATE_WAITING: ToolCallState
TOOL_CALL_STATE_EXECUTING: ToolCallState
TOOL_CALL_STATE_PAUSED: ToolCallState
TOOL_CALL_STATE_COMPLETED: ToolCallState
TOOL_CALL_STATE_FAILED: ToolCallState
TOOL_CALL_STATE_CANCELED: ToolCallState
TOOL_CALL_STATE_UNCERTAIN: ToolCallState

class Message(_message.Message):
    __slots__ = ("id", "role", "content", "metadata", "create_time", "turn_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    role: Role
    content: _containers.RepeatedCompositeFieldContainer[ContentBlock]
    metadata: _struct_pb2.Struct
    create_time: _timestamp_pb2.Timestamp
    turn_id: str
    def __init__(self, id: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., content: _Optional[_Iterable[_Union[ContentBlock, _Mapping]]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., turn_id: _Optional[str] = ...) -> None: ...

class ContentBlock(_message.Message):
    __slots__ = ("text", "thinking", "media", "tool_call", "tool_result", "sealed_thinking")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    TOOL_RESULT_FIELD_NUMBER: _ClassVar[int]
    SEALED_THINKING_FIELD_NUMBER: _ClassVar[int]
    text: str
    thinking: str
    media: Media
    tool_call: ToolCall
    tool_result: ToolResult
    sealed_thinking: SealedThinking
    def __init__(self, text: _Optional[str] = ..., thinking: _Optional[str] = ..., media: _Optional[_Union[Media, _Mapping]] = ..., tool_call: _Optional[_Union[ToolCall, _Mapping]] = ..., tool_result: _Optional[_Union[ToolResult, _Mapping]] = ..., sealed_thinking: _Optional[_Union[SealedThinking, _Mapping]] = ...) -> None: ...

class SealedThinking(_message.Message):
    __slots__ = ("provider", "model", "data")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    data: str
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., data: _Optional[str] = ...) -> None: ...

class Media(_message.Message):
    __slots__ = ("data", "uri", "media_type", "filename")
    DATA_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    uri: str
    media_type: str
    filename: str
    def __init__(self, data: _Optional[bytes] = ..., uri: _Optional[str] = ..., media_type: _Optional[str] = ..., filename: _Optional[str] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("id", "name", "input_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    input_json: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., input_json: _Optional[str] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("call_id", "name", "output_json", "is_error", "output_preview", "output_size_bytes")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    IS_ERROR_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PREVIEW_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    name: str
    output_json: str
    is_error: bool
    output_preview: str
    output_size_bytes: int
    def __init__(self, call_id: _Optional[str] = ..., name: _Optional[str] = ..., output_json: _Optional[str] = ..., is_error: _Optional[bool] = ..., output_preview: _Optional[str] = ..., output_size_bytes: _Optional[int] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "cached_input_tokens", "total_tokens", "cache_write_tokens", "reasoning_tokens")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    total_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("max_cost_usd", "max_tokens", "max_steps", "max_duration")
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    max_cost_usd: float
    max_tokens: int
    max_steps: int
    max_duration: _duration_pb2.Duration
    def __init__(self, max_cost_usd: _Optional[float] = ..., max_tokens: _Optional[int] = ..., max_steps: _Optional[int] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
