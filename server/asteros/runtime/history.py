"""The conversation of a session as its turns see it."""

import json
from collections.abc import Mapping, Sequence

from aster.v1 import common_pb2
from asteros.providers.pairing import Message, for_model
from asteros.providers.pairing import calls_of as calls_of
from asteros.providers.pairing import failure_json as failure_json
from asteros.providers.pairing import results_of as results_of
from asteros.providers.pairing import text_of as text_of
from asteros.providers.pairing import tool_message as tool_message
from asteros.tools.base import Tool


def unsealed(message: Message) -> Message:
    """A message as callers see it; the same one when it holds no sealed reasoning."""
    if not any(block.WhichOneof("block") == "sealed_thinking" for block in message.content):
        return message
    shown = Message()
    shown.CopyFrom(message)
    del shown.content[:]
    shown.content.extend(block for block in message.content if block.WhichOneof("block") != "sealed_thinking")
    return shown


def open_calls(messages: Sequence[Message]) -> list[common_pb2.ToolCall]:
    """Calls of the newest assistant message that no tool message has answered."""
    for message in reversed(messages):
        if message.role == common_pb2.ROLE_TOOL:
            return []
        if message.role == common_pb2.ROLE_ASSISTANT:
            return calls_of(message)
    return []


def last_word(messages: Sequence[Message], turn_id: str, tools: Mapping[str, Tool]) -> str:
    """What a ``final`` tool was told to say, when the turn's newest message is its result; else ""."""
    if not messages or messages[-1].role != common_pb2.ROLE_TOOL or messages[-1].turn_id != turn_id:
        return ""
    for result in results_of(messages[-1]):
        tool = tools.get(result.name.casefold())
        if tool is not None and tool.info.final and not result.is_error:
            return str(json.loads(result.output_json).get("answer", ""))
    return ""


def closed(messages: Sequence[Message]) -> int:
    """How many messages from the beginning leave no call unanswered: where a copy may end."""
    end = len(messages)
    for place in reversed(range(len(messages))):
        message = messages[place]
        if message.role == common_pb2.ROLE_TOOL:
            break
        if message.role == common_pb2.ROLE_ASSISTANT:
            if calls_of(message):
                end = place
            break
    return end


class ForModel:
    """``for_model`` of a history that grows: what was looked at once is not looked at again."""

    def __init__(self) -> None:
        self._done: list[Message] = []
        self._count = 0  # messages of the history that _done stands for

    def of(self, history: Sequence[Message]) -> list[Message]:
        """The messages to send; a new list each time."""
        if self._count > len(history):  # something was taken back
            self._done, self._count = [], 0
        end = self._count + closed(history[self._count :])
        # A result right behind the end may still come: it belongs to what stands before.
        self._done += for_model(history[self._count : end])
        self._count = end
        return self._done + for_model(history[end:])
