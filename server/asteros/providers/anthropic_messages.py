"""From our conversation to the body of an Anthropic Messages call; plain dicts, no SDK."""

import base64
import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from asteros.providers import history
from asteros.providers.base import ModelRequest, ToolSpec

DEFAULT_MAX_TOKENS = 4096  # the protocol demands one
MIN_THINKING_TOKENS = 1024  # the protocol's least budget
# The last version of the protocol that takes temperature and top_p; the next refuses both.
SAMPLING_VERSION = "2023-06-01"

# Claude models that are told a thinking budget; all later ones choose it themselves and refuse one.
_BUDGETED = ("claude-3*", "claude-*-4-0*", "claude-*-4-1*", "claude-*-4-2025*", "claude-*-4-5*")
# The protocol allows four marks. Tools, system prompt and what was said before are the same
# in the next call; the mark before the last is where that call finds its prefix again.
_CACHED_MESSAGES = 2
_CACHE_MARK = {"type": "ephemeral"}

Json = dict[str, Any]


def headers(config: agent_pb2.ModelConfig) -> dict[str, str]:
    """Headers of the call beside the SDK's own."""
    sampled = config.HasField("temperature") or config.HasField("top_p")
    return {"anthropic-version": SAMPLING_VERSION} if sampled else {}


def body(request: ModelRequest) -> Json:
    """The call's body. Unset parameters are left out; 0.0 is set."""
    config = request.config
    loop = history.ToolLoop(config, request.messages)
    thinking = _thinking(request, loop)
    quiet = thinking is not None and thinking["type"] == "disabled"
    params: Json = {
        "model": config.model,
        "max_tokens": _max_tokens(config, thinking),
        "messages": messages(request.messages, None if quiet else loop),
        "stream": True,
    }
    if request.system:
        params["system"] = [{"type": "text", "text": request.system}]
    if request.tools:
        params["tools"] = [_tool(spec) for spec in request.tools]
    if config.HasField("temperature"):
        params["temperature"] = config.temperature
    if config.HasField("top_p"):
        params["top_p"] = config.top_p
    if config.stop_sequences:
        params["stop_sequences"] = list(config.stop_sequences)
    if thinking is not None:
        params["thinking"] = thinking
    _mark(params)
    return params


def _mark(params: Json) -> None:
    """Marks up to where the provider is to cache the prompt: tools, system, the last messages."""
    asked = [message["content"] for message in params["messages"] if message["role"] == "user"]
    for blocks in (params.get("tools"), params.get("system"), *asked[-_CACHED_MESSAGES:]):
        if blocks:
            blocks[-1]["cache_control"] = _CACHE_MARK


def _thinking(request: ModelRequest, loop: history.ToolLoop) -> Json | None:
    """None leaves the provider's default."""
    config = request.config
    if not config.HasField("thinking_budget_tokens"):
        return None
    if config.thinking_budget_tokens == 0:
        return {"type": "disabled"}
    # Reasoning that nobody may read need not be sent in clear; its signature brings it back all the same.
    display = {"display": "summarized" if request.show_thinking else "omitted"}
    if not _takes_budget(config.model):
        return {"type": "adaptive", **display}
    budget = config.thinking_budget_tokens
    if config.HasField("max_tokens"):  # a limit that was lowered must still leave room to answer
        budget = min(budget, config.max_tokens - 1)
    # In a tool loop these models demand the signed thinking it began with; another model may have begun it.
    if budget < MIN_THINKING_TOKENS or (loop.open and not loop.began_sealed):
        return {"type": "disabled"}
    return {"type": "enabled", "budget_tokens": budget, **(display if _takes_display(config.model) else {})}


def _takes_display(model: str) -> bool:
    return model.startswith("claude-") and not model.startswith("claude-3")


def _takes_budget(model: str) -> bool:
    """Servers with models of other makers follow the older protocol."""
    return not model.startswith("claude-") or any(fnmatchcase(model, pattern) for pattern in _BUDGETED)


def _max_tokens(config: agent_pb2.ModelConfig, thinking: Json | None) -> int:
    if config.HasField("max_tokens"):
        return config.max_tokens
    # Thinking counts against the limit; the default is meant for the answer.
    return DEFAULT_MAX_TOKENS + int((thinking or {}).get("budget_tokens", 0))


def _tool(spec: ToolSpec) -> Json:
    return {
        "name": spec.name,
        "description": spec.description,
        "input_schema": json.loads(spec.input_schema_json or '{"type":"object"}'),
    }


def messages(conversation: Sequence[common_pb2.Message], loop: history.ToolLoop | None = None) -> list[Json]:
    """User and assistant messages in turn; neighbours of one role become one message.

    A tool's results are a user message of this protocol, and so are system messages:
    put into the system prompt they would lose their place in time and spoil the
    provider's cache of everything behind it. ``loop`` gives the reasoning that goes back."""
    out: list[Json] = []
    for message in history.answered_in_order(conversation):
        role = "assistant" if message.role == common_pb2.ROLE_ASSISTANT else "user"
        blocks = list(_blocks(message, loop))
        if out and out[-1]["role"] == role:
            out[-1]["content"] += blocks
        elif blocks:
            out.append({"role": role, "content": blocks})
    return out


def _blocks(message: common_pb2.Message, loop: history.ToolLoop | None) -> Iterator[Json]:
    for block in message.content:
        match block.WhichOneof("block"):
            case "text" if block.text.strip():  # blank text is refused
                yield _text(block.text, message.role)
            case "media":
                yield _media(block.media)
            case "tool_call":
                call = block.tool_call
                yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.input_json)}
            case "tool_result":
                yield _result(block.tool_result)
            case "sealed_thinking" if loop is not None and (sealed := loop.seal(message, block)) is not None:
                yield sealed
            case _:  # bare reasoning: the provider takes its own back only with its signature
                continue


def _text(text: str, role: common_pb2.Role) -> Json:
    if role == common_pb2.ROLE_SYSTEM:
        text = f"<system-note>\n{text}\n</system-note>"
    return {"type": "text", "text": text}


def _input(input_json: str) -> object:
    # The protocol wants an object here, whatever the model made of it at the time.
    value = json.loads(input_json or "{}")
    return value if isinstance(value, dict) else {"value": value}


def _result(result: common_pb2.ToolResult) -> Json:
    return {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": history.result_text(result),
        "is_error": result.is_error,
    }


def _media(media: common_pb2.Media) -> Json:
    text = history.inline_text(media)
    if text is not None:
        return {"type": "text", "text": text}
    kind = "image" if media.media_type.startswith("image/") else "document"
    if kind == "document" and media.media_type != "application/pdf":
        return {"type": "text", "text": history.unseen_note(media)}
    if media.WhichOneof("source") == "uri":
        return {"type": kind, "source": {"type": "url", "url": media.uri}}
    data = base64.b64encode(media.data).decode("ascii")
    return {"type": kind, "source": {"type": "base64", "media_type": media.media_type, "data": data}}
