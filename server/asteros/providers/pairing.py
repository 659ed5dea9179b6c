"""The rule every provider enforces: each tool call has exactly one result, in the message
right after it (guarantee R4)."""

import json
from collections.abc import Iterable, Sequence

from aster.v1 import common_pb2

Message = common_pb2.Message


def text_of(message: Message) -> str:
    """The text blocks of a message, joined."""
    return "".join(block.text for block in message.content if block.WhichOneof("block") == "text")


def calls_of(message: Message) -> list[common_pb2.ToolCall]:
    """The tool calls of a message, in the model's order."""
    return [block.tool_call for block in message.content if block.WhichOneof("block") == "tool_call"]


def results_of(message: Message) -> list[common_pb2.ToolResult]:
    """The tool results of a message."""
    return [block.tool_result for block in message.content if block.WhichOneof("block") == "tool_result"]


def failure_json(error: str, **context: object) -> str:
    """A structured tool error as the model reads it (seed 004)."""
    return json.dumps({"ok": False, "error": error, **context}, ensure_ascii=False)


def tool_message(results: Iterable[common_pb2.ToolResult], turn_id: str) -> Message:
    """All results of one step as one message, in the order of the calls."""
    blocks = [common_pb2.ContentBlock(tool_result=result) for result in results]
    return Message(role=common_pb2.ROLE_TOOL, content=blocks, turn_id=turn_id)


def for_model(messages: Sequence[Message]) -> list[Message]:
    """The messages as a provider accepts them, whatever happened to the history.

    A system message that arrived while tools ran moves behind their results; a call
    that was never answered gets the result "interrupted"; a stray result goes."""
    out: list[Message] = []
    waiting: list[common_pb2.ToolCall] = []
    held: list[Message] = []
    for message in messages:
        if waiting and message.role == common_pb2.ROLE_SYSTEM:
            held.append(message)
            continue
        if message.role == common_pb2.ROLE_TOOL:
            if waiting:
                out.append(_answered(waiting, message))
                out += held
            waiting, held = [], []
            continue
        if waiting:
            out.append(_answered(waiting, None))
            out += held
            held = []
        out.append(message)
        waiting = calls_of(message) if message.role == common_pb2.ROLE_ASSISTANT else []
    if waiting:
        out.append(_answered(waiting, None))
    return out + held


def _answered(calls: Sequence[common_pb2.ToolCall], answers: Message | None) -> Message:
    """One result for each call: the stored one, or "interrupted"."""
    given = {result.call_id: result for result in (results_of(answers) if answers else ())}
    results = [
        given.get(call.id)
        or common_pb2.ToolResult(
            call_id=call.id, name=call.name, output_json=failure_json("interrupted"), is_error=True
        )
        for call in calls
    ]
    return tool_message(results, answers.turn_id if answers else "")
