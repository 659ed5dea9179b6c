import datetime

from aster.v1 import agent_pb2 as _agent_pb2
from aster.v1 import common_pb2 as _common_pb2
from aster.v1 import event_pb2 as _event_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Star(_message.Message):
    __slots__ = ("id", "display_name", "members", "create_time", "strategy", "limits")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    members: _containers.RepeatedCompositeFieldContainer[StarMember]
    create_time: _timestamp_pb2.Timestamp
    strategy: str
    limits: StarLimits
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., members: _Optional[_Iterable[_Union[StarMember, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., strategy: _Optional[str] = ..., limits: _Optional[_Union[StarLimits, _Mapping]] = ...) -> None: ...

class StarLimits(_message.Message):
    __slots__ = ("max_rounds", "max_depth", "max_concurrency")
    MAX_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    MAX_DEPTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    max_rounds: int
    max_depth: int
    max_concurrency: int
    def __init__(self, max_rounds: _Optional[int] = ..., max_depth: _Optional[int] = ..., max_concurrency: _Optional[int] = ...) -> None: ...

class StarMember(_message.Message):
    __slots__ = ("name", "agent_id", "role", "join_time", "a2a_card_url")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    JOIN_TIME_FIELD_NUMBER: _ClassVar[int]
    A2A_CARD_URL_FIELD_NUMBER: _ClassVar[int]
    name: str
    agent_id: str
    role: str
    join_time: _timestamp_pb2.Timestamp
    a2a_card_url: str
    def __init__(self, name: _Optional[str] = ..., agent_id: _Optional[str] = ..., role: _Optional[str] = ..., join_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., a2a_card_url: _Optional[str] = ...) -> None: ...

class StarMessage(_message.Message):
    __slots__ = ("id", "from_member", "to_member", "text", "create_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    FROM_MEMBER_FIELD_NUMBER: _ClassVar[int]
    TO_MEMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    from_member: str
    to_member: str
    text: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., from_member: _Optional[str] = ..., to_member: _Optional[str] = ..., text: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateStarRequest(_message.Message):
    __slots__ = ("star_id", "display_name", "members", "request_id", "strategy", "limits")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    display_name: str
    members: _containers.RepeatedCompositeFieldContainer[StarMember]
    request_id: str
    strategy: str
    limits: StarLimits
    def __init__(self, star_id: _Optional[str] = ..., display_name: _Optional[str] = ..., members: _Optional[_Iterable[_Union[StarMember, _Mapping]]] = ..., request_id: _Optional[str] = ..., strategy: _Optional[str] = ..., limits: _Optional[_Union[StarLimits, _Mapping]] = ...) -> None: ...

class CreateStarResponse(_message.Message):
    __slots__ = ("star",)
    STAR_FIELD_NUMBER: _ClassVar[int]
    star: Star
    def __init__(self, star: _Optional[_Union[Star, _Mapping]] = ...) -> None: ...

class GetStarRequest(_message.Message):
    __slots__ = ("star_id",)
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    def __init__(self, star_id: _Optional[str] = ...) -> None: ...

class GetStarResponse(_message.Message):
    __slots__ = ("star",)
    STAR_FIELD_NUMBER: _ClassVar[int]
    star: Star
    def __init__(self, star: _Optional[_Union[Star, _Mapping]] = ...) -> None: ...

class ListStarsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStarsResponse(_message.Message):
    __slots__ = ("stars", "next_page_token")
    STARS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    stars: _containers.RepeatedCompositeFieldContainer[Star]
    next_page_token: str
    def __init__(self, stars: _Optional[_Iterable[_Union[Star, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteStarRequest(_message.Message):
    __slots__ = ("star_id",)
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    def __init__(self, star_id: _Optional[str] = ...) -> None: ...

class DeleteStarResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JoinStarRequest(_message.Message):
    __slots__ = ("star_id", "agent_id", "role", "name", "a2a_card_url")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    A2A_CARD_URL_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    agent_id: str
    role: str
    name: str
    a2a_card_url: str
    def __init__(self, star_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., role: _Optional[str] = ..., name: _Optional[str] = ..., a2a_card_url: _Optional[str] = ...) -> None: ...

class JoinStarResponse(_message.Message):
    __slots__ = ("member",)
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    member: StarMember
    def __init__(self, member: _Optional[_Union[StarMember, _Mapping]] = ...) -> None: ...

class LeaveStarRequest(_message.Message):
    __slots__ = ("star_id", "agent_id", "name")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    agent_id: str
    name: str
    def __init__(self, star_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LeaveStarResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStarMembersRequest(_message.Message):
    __slots__ = ("star_id", "page_size", "page_token")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    page_size: int
    page_token: str
    def __init__(self, star_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStarMembersResponse(_message.Message):
    __slots__ = ("members", "next_page_token")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[StarMember]
    next_page_token: str
    def __init__(self, members: _Optional[_Iterable[_Union[StarMember, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RunStarRequest(_message.Message):
    __slots__ = ("star_id", "message", "request_id", "disconnect_policy", "budget")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DISCONNECT_POLICY_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    message: str
    request_id: str
    disconnect_policy: _agent_pb2.DisconnectPolicy
    budget: _common_pb2.Budget
    def __init__(self, star_id: _Optional[str] = ..., message: _Optional[str] = ..., request_id: _Optional[str] = ..., disconnect_policy: _Optional[_Union[_agent_pb2.DisconnectPolicy, str]] = ..., budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ...) -> None: ...

class RunStarResponse(_message.Message):
    __slots__ = ("turn", "text", "usage", "cost_usd")
    TURN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    turn: _agent_pb2.Turn
    text: str
    usage: _common_pb2.TokenUsage
    cost_usd: float
    def __init__(self, turn: _Optional[_Union[_agent_pb2.Turn, _Mapping]] = ..., text: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.TokenUsage, _Mapping]] = ..., cost_usd: _Optional[float] = ...) -> None: ...

class StreamStarRequest(_message.Message):
    __slots__ = ("star_id", "message", "request_id", "disconnect_policy", "budget")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DISCONNECT_POLICY_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    message: str
    request_id: str
    disconnect_policy: _agent_pb2.DisconnectPolicy
    budget: _common_pb2.Budget
    def __init__(self, star_id: _Optional[str] = ..., message: _Optional[str] = ..., request_id: _Optional[str] = ..., disconnect_policy: _Optional[_Union[_agent_pb2.DisconnectPolicy, str]] = ..., budget: _Optional[_Union[_common_pb2.Budget, _Mapping]] = ...) -> None: ...

class StreamStarResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[_event_pb2.EventFrame, _Mapping]]] = ...) -> None: ...

class SendStarMessageRequest(_message.Message):
    __slots__ = ("star_id", "text", "to_member", "from_member", "request_id")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TO_MEMBER_FIELD_NUMBER: _ClassVar[int]
    FROM_MEMBER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    text: str
    to_member: str
    from_member: str
    request_id: str
    def __init__(self, star_id: _Optional[str] = ..., text: _Optional[str] = ..., to_member: _Optional[str] = ..., from_member: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SendStarMessageResponse(_message.Message):
    __slots__ = ("message", "turns")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    message: StarMessage
    turns: _containers.RepeatedCompositeFieldContainer[_agent_pb2.Turn]
    def __init__(self, message: _Optional[_Union[StarMessage, _Mapping]] = ..., turns: _Optional[_Iterable[_Union[_agent_pb2.Turn, _Mapping]]] = ...) -> None: ...

class ListStarMessagesRequest(_message.Message):
    __slots__ = ("star_id", "page_size", "page_token")
    STAR_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    star_id: str
    page_size: int
    page_token: str
    def __init__(self, star_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStarMessagesResponse(_message.Message):
    __slots__ = ("messages", "next_page_token")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[StarMessage]
    next_page_token: str
    def __init__(self, messages: _Optional[_Iterable[_Union[StarMessage, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
