"""From our conversation to the body of an OpenAI Responses call; plain dicts, no SDK."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from asteros.providers import history
from asteros.providers.base import ModelRequest, ToolSpec

Json = dict[str, Any]

# The protocol has words for effort, not numbers; each holds for budgets below its number of tokens.
_EFFORTS = ((4096, "low"), (16384, "medium"))
_MOST_EFFORT = "high"  # the most that all reasoning models know
# How little a model can be made to reason; the others can do without.
_LEAST_EFFORT = (("o[0-9]*", "low"), ("gpt-5", "minimal"), ("gpt-5-*", "minimal"), ("gpt-6.1*", "low"))
# Models that refuse to be asked for a summary of reasoning they do not do.
_UNREASONING = ("gpt-3*", "gpt-4*", "chatgpt*")


def body(request: ModelRequest) -> Json:
    """The call's parameters by their names on the wire. Unset ones are left out; 0.0 is set.

    Nothing is stored by the provider: the whole conversation is sent each time, with
    the reasoning of the present tool loop as the provider encrypted it. Stop sequences
    do not exist in this dialect."""
    config = request.config
    params: Json = {"model": config.model, "input": _input(request), "store": False}
    if request.system:
        params["instructions"] = request.system
    if request.tools:
        params["tools"] = [_tool(spec) for spec in request.tools]
    if config.HasField("temperature"):
        params["temperature"] = config.temperature
    if config.HasField("top_p"):
        params["top_p"] = config.top_p
    if config.HasField("max_tokens"):
        params["max_output_tokens"] = config.max_tokens
    if reasoning := _reasoning(config, request.show_thinking):
        params["reasoning"] = reasoning
    return params


def _reasoning(config: agent_pb2.ModelConfig, show: bool) -> Json:
    """Empty leaves the provider's default: it reasons as it likes and shows nothing."""
    chosen: Json = {}
    if config.HasField("thinking_budget_tokens"):
        chosen["effort"] = _effort(config.model, config.thinking_budget_tokens)
    if show and not any(fnmatchcase(config.model, pattern) for pattern in _UNREASONING):
        chosen["summary"] = "auto"
    return chosen


def _effort(model: str, budget: int) -> str:
    if budget == 0:
        return next((word for pattern, word in _LEAST_EFFORT if fnmatchcase(model, pattern)), "none")
    return next((word for below, word in _EFFORTS if budget < below), _MOST_EFFORT)


def _tool(spec: ToolSpec) -> Json:
    schema = json.loads(spec.input_schema_json or '{"type":"object"}')
    # Strict schemas demand that nothing is optional; ours are checked when the call comes.
    return {
        "type": "function",
        "name": spec.name,
        "description": spec.description,
        "parameters": schema,
        "strict": False,
    }


def _input(request: ModelRequest) -> list[Json]:
    """The conversation as items; a system message keeps its place, each tool result is one item."""
    loop = history.ToolLoop(request.config, request.messages)
    out: list[Json] = []
    for message in history.answered_in_order(request.messages):
        match message.role:
            case common_pb2.ROLE_ASSISTANT:
                out.extend(_assistant(message, loop))
            case common_pb2.ROLE_TOOL:
                out.extend(_results(message))
            case common_pb2.ROLE_SYSTEM:
                out.extend({"role": "system", "content": text} for text in history.texts(message))
            case _:
                parts = list(_parts(message))
                out += [{"role": "user", "content": parts}] if parts else []
    return out


def _assistant(message: common_pb2.Message, loop: history.ToolLoop) -> Iterator[Json]:
    for block in message.content:
        match block.WhichOneof("block"):
            case "text" if block.text.strip():
                yield {"role": "assistant", "content": block.text}
            case "tool_call":
                call = block.tool_call
                named = {"call_id": call.id, "name": call.name, "arguments": call.input_json or "{}"}
                yield {"type": "function_call", **named}
            case "sealed_thinking" if (sealed := loop.seal(message, block)) is not None:
                yield sealed
            case _:
                continue


def _results(message: common_pb2.Message) -> Iterator[Json]:
    for block in message.content:
        if block.WhichOneof("block") == "tool_result":
            result = block.tool_result
            yield {"type": "function_call_output", "call_id": result.call_id, "output": history.result_text(result)}


def _parts(message: common_pb2.Message) -> Iterator[Json]:
    for block in message.content:
        match block.WhichOneof("block"):
            case "text" if block.text.strip():
                yield {"type": "input_text", "text": block.text}
            case "media":
                yield _media(block.media)
            case _:
                continue


def _media(media: common_pb2.Media) -> Json:
    text = history.inline_text(media)
    if text is not None:
        return {"type": "input_text", "text": text}
    inline = media.WhichOneof("source") == "data"
    if media.media_type.startswith("image/"):
        return {"type": "input_image", "image_url": history.data_url(media) if inline else media.uri}
    if media.media_type != "application/pdf":
        return {"type": "input_text", "text": history.unseen_note(media)}
    if not inline:
        return {"type": "input_file", "file_url": media.uri}
    return {"type": "input_file", "filename": media.filename or "document.pdf", "file_data": history.data_url(media)}
