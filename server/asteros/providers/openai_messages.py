"""From our conversation to the body of an OpenAI Chat Completions call; plain dicts, no SDK."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from aster.v1 import common_pb2
from asteros.providers import history
from asteros.providers.base import ModelRequest, ToolSpec
from asteros.providers.presets import Preset

Json = dict[str, Any]


def body(request: ModelRequest, preset: Preset) -> Json:
    """The call's parameters by their names on the wire. Unset ones are left out; 0.0 is set.

    ``thinking_budget_tokens`` has no counterpart in this dialect."""
    config = request.config
    loop = history.ToolLoop(config, request.messages) if preset.takes_reasoning_back else None
    params: Json = {"model": config.model, "messages": messages(request.system, request.messages, loop)}
    if preset.usage_option:
        params["stream_options"] = {"include_usage": True}
    if request.tools:
        params["tools"] = [_tool(spec) for spec in request.tools]
    if config.HasField("temperature"):
        params["temperature"] = config.temperature
    if config.HasField("top_p"):
        params["top_p"] = config.top_p
    if config.HasField("max_tokens"):
        params[preset.max_tokens_name] = config.max_tokens
    if config.stop_sequences:
        params["stop"] = list(config.stop_sequences)
    return params


def _tool(spec: ToolSpec) -> Json:
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": json.loads(spec.input_schema_json or '{"type":"object"}'),
    }
    return {"type": "function", "function": function}


def messages(
    system: str, conversation: Sequence[common_pb2.Message], loop: history.ToolLoop | None = None
) -> list[Json]:
    """The messages on the wire; a system message keeps its place, each tool result is one message.

    ``loop`` gives the reasoning that goes back."""
    out: list[Json] = [{"role": "system", "content": system}] if system else []
    for message in history.answered_in_order(conversation):
        match message.role:
            case common_pb2.ROLE_ASSISTANT:
                out.extend(_assistant(message, loop))
            case common_pb2.ROLE_TOOL:
                out.extend(_results(message))
            case common_pb2.ROLE_SYSTEM:
                out.extend({"role": "system", "content": text} for text in history.texts(message))
            case _:
                out.extend(_user(message))
    return out


def _assistant(message: common_pb2.Message, loop: history.ToolLoop | None) -> Iterator[Json]:
    text = "\n".join(history.texts(message))
    calls = [_call(block.tool_call) for block in message.content if block.WhichOneof("block") == "tool_call"]
    if not text and not calls:
        return
    answer: Json = {"role": "assistant", "content": text or None}
    if calls:
        answer["tool_calls"] = calls
        if loop is not None:
            # Behind a tool call these providers demand their own reasoning back; anywhere else they refuse it.
            for sealed in filter(None, (loop.seal(message, block) for block in message.content)):
                answer.update(sealed)
    yield answer


def _call(call: common_pb2.ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.input_json or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _results(message: common_pb2.Message) -> Iterator[Json]:
    for block in message.content:
        if block.WhichOneof("block") == "tool_result":
            result = block.tool_result
            yield {"role": "tool", "tool_call_id": result.call_id, "content": history.result_text(result)}


def _user(message: common_pb2.Message) -> Iterator[Json]:
    parts = list(_parts(message))
    if all(part["type"] == "text" for part in parts):
        # Plain text in its oldest form: not every server of this dialect takes a list.
        text = "\n".join(part["text"] for part in parts)
        if text:
            yield {"role": "user", "content": text}
    else:
        yield {"role": "user", "content": parts}


def _parts(message: common_pb2.Message) -> Iterator[Json]:
    for block in message.content:
        match block.WhichOneof("block"):
            case "text" if block.text.strip():
                yield {"type": "text", "text": block.text}
            case "media":
                yield _media(block.media)
            case _:
                continue


def _media(media: common_pb2.Media) -> Json:
    text = history.inline_text(media)
    if text is not None:
        return {"type": "text", "text": text}
    inline = media.WhichOneof("source") == "data"
    if media.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": history.data_url(media) if inline else media.uri}}
    if media.media_type == "application/pdf" and inline:
        file = {"filename": media.filename or "document.pdf", "file_data": history.data_url(media)}
        return {"type": "file", "file": file}
    return {"type": "text", "text": history.unseen_note(media)}
