"""What the three dialects demand of a conversation: each tool call answered once, right behind it.

Providers refuse a request that breaks this, and an agent with such a history would
never answer again. The requests are those that would really be sent."""

from collections.abc import Iterator, Sequence

from aster.v1 import agent_pb2, common_pb2
from asteros.providers import anthropic_messages, openai_messages, responses_messages
from asteros.providers.base import ModelRequest

Messages = Sequence[common_pb2.Message]


def refusals(messages: Messages) -> list[str]:
    """What the providers would say against the conversation."""
    return [*_anthropic(messages), *_chat_completions(messages), *_responses(messages)]


def _anthropic(messages: Messages) -> Iterator[str]:
    waiting: list[str] = []
    for message in anthropic_messages.messages(messages):
        blocks = message["content"]
        answers = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answers) != sorted(waiting):
            yield f"anthropic: {waiting} are answered by {answers}"
        if answers and any(block["type"] != "tool_result" for block in blocks[: len(answers)]):
            yield "anthropic: tool results do not stand first"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
    if waiting:
        yield f"anthropic: {waiting} have no answer"


def _chat_completions(messages: Messages) -> Iterator[str]:
    waiting: list[str] = []
    for message in openai_messages.messages("", messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield f"openai: {message['tool_call_id']} was not asked for here"
            else:
                waiting.remove(message["tool_call_id"])
        elif waiting:
            yield f"openai: {waiting} have no answer before the next message"
            waiting = []
        waiting += [call["id"] for call in message.get("tool_calls", ())]
    if waiting:
        yield f"openai: {waiting} have no answer"


def _responses(messages: Messages) -> Iterator[str]:
    request = ModelRequest(agent_pb2.ModelConfig(provider="openai", model="m"), messages)
    items = responses_messages.body(request)["input"]
    called = [item["call_id"] for item in items if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    if called != answered or len(set(called)) != len(called):
        yield f"responses: the calls {called} are answered by {answered}"
