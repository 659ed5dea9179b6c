"""What calls return, as a program wants to read it: thin looks at the contract's messages."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from aster import errors
from aster.events import ToolCallView
from aster.types import word
from aster.v1 import agent_pb2, agent_service_pb2, common_pb2


def text_of(blocks: Iterable[common_pb2.ContentBlock]) -> str:
    """The text blocks, joined."""
    return "".join(block.text for block in blocks)


class MessageView:
    """One message of a conversation (seed 003, Message)."""

    __slots__ = ("message",)

    def __init__(self, message: common_pb2.Message) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"MessageView(role={self.role!r}, content={self.content!r})"

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def role(self) -> str:
        """Who wrote it: "user", "assistant", "system" or "tool"."""
        return word(common_pb2.Role, self.message.role)

    @property
    def content(self) -> str:
        """The text alone."""
        return text_of(self.message.content)

    @property
    def content_blocks(self) -> list[common_pb2.ContentBlock]:
        """All parts, in order."""
        return list(self.message.content)

    @property
    def tool_calls(self) -> list[ToolCallView]:
        return [ToolCallView(block.tool_call) for block in self.message.content if block.HasField("tool_call")]

    @property
    def tool_results(self) -> list[common_pb2.ToolResult]:
        return [block.tool_result for block in self.message.content if block.HasField("tool_result")]


class ChatResult:
    """A completed turn (seed 003, CompleteResult; seed 004, ``result.Text``)."""

    __slots__ = ("_response",)

    def __init__(self, response: agent_service_pb2.ChatResponse) -> None:
        self._response = response

    def __repr__(self) -> str:
        return f"ChatResult(text={self.text!r}, stop_reason={self.stop_reason!r}, turn={self.turn.id!r})"

    @property
    def turn(self) -> agent_pb2.Turn:
        """The turn with its state, counters and cost."""
        return self._response.turn

    @property
    def text(self) -> str:
        """Text of the reply."""
        return self._response.text

    @property
    def message(self) -> MessageView:
        """The reply (seed 003, ``result.Message.Content``)."""
        return MessageView(self.turn.reply)

    @property
    def content(self) -> str:
        """Text of the reply; the same as ``text``."""
        return self.text

    @property
    def content_blocks(self) -> list[common_pb2.ContentBlock]:
        return self.message.content_blocks

    @property
    def stop_reason(self) -> str:
        """Why the turn ended, as in ``StopReason``: "end_turn", "max_tokens", …"""
        return word(agent_pb2.StopReason, self.turn.stop_reason)

    @property
    def usage(self) -> common_pb2.TokenUsage:
        """Tokens of all model calls of the turn: ``usage.total_tokens``."""
        return self.turn.usage


class SendResult:
    """A stored message and its turn, which goes on by itself."""

    __slots__ = ("_response",)

    def __init__(self, response: agent_service_pb2.SendResponse) -> None:
        self._response = response

    def __repr__(self) -> str:
        return f"SendResult(turn_id={self.turn_id!r})"

    @property
    def turn(self) -> agent_pb2.Turn:
        """The turn, queued or running."""
        return self._response.turn

    @property
    def turn_id(self) -> str:
        return self.turn.id

    @property
    def cursor(self) -> str:
        """``subscribe(cursor=...)`` from here misses no event of this turn."""
        return self._response.cursor


class AgentStatus:
    """State and counters of an agent (seed 003, AgentStatus)."""

    __slots__ = ("message",)

    def __init__(self, message: agent_pb2.AgentStatus) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"AgentStatus(state={self.state!r}, activity={self.activity!r})"

    @property
    def state(self) -> str:
        """Life cycle, as in ``AgentState`` (seed 004)."""
        return word(agent_pb2.AgentState, self.message.state)

    @property
    def activity(self) -> str:
        """What it does now, as in ``AgentActivity`` (seed 003)."""
        return word(agent_pb2.AgentActivity, self.message.activity)

    @property
    def message_count(self) -> int:
        return self.message.message_count

    @property
    def step_count(self) -> int:
        return self.message.step_count

    @property
    def uptime(self) -> timedelta:
        """Time since it was last started; zero when it is not in memory."""
        return self.message.uptime.ToTimedelta()

    @property
    def last_activity(self) -> datetime | None:
        """Time of its last event, in UTC; None before the first."""
        if not self.message.HasField("last_activity_time"):
            return None
        return self.message.last_activity_time.ToDatetime(tzinfo=UTC)

    @property
    def error(self) -> errors.AsterError | None:
        """Why the last turn failed; None when it did not."""
        return errors.from_status(self.message.last_error) if self.message.HasField("last_error") else None
