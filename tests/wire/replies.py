"""Replies as the providers send them, frame by frame, and the ways they can go wrong."""

import enum
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PIECES = re.compile(r"\S+\s*|\s+")


class End(enum.Enum):
    """What happens behind the last frame that is sent."""

    CLOSED = "the body ends as HTTP wants it"
    BROKEN = "the connection closes in the middle of the body"
    RESET = "the connection is reset"
    SILENT = "nothing more comes, until the client leaves"


@dataclass(frozen=True)
class Tool:
    """A tool call. ``raw`` replaces the JSON text of the input."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str = "call_1"
    raw: str | None = None

    @property
    def input_json(self) -> str:
        return json.dumps(self.input) if self.raw is None else self.raw


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One HTTP response. Cut: only the first ``frames`` frames are sent, then ``error`` if set."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    end: End = End.CLOSED
    frames: int | None = None  # how many are sent; None: all, -1: all but the last
    error: str = ""  # type of an error frame behind them
    head: bool = True  # False: not even the status line is sent
    pause: float = 0.0  # seconds before each piece
    write_size: int = 0  # bytes per write to the socket; 0: one frame each
    newline: str = "\n"

    def body(self) -> list[bytes]:
        """What is written to the socket, in pieces."""
        frames = list(self._frames())[: self.frames]
        if self.error:
            frames.append(self._error())
        data = [frame.replace("\n", self.newline).encode("utf-8", "surrogateescape") for frame in frames]
        if not self.write_size:
            return data
        whole = b"".join(data)
        return [whole[start : start + self.write_size] for start in range(0, len(whole), self.write_size)]

    def _frames(self) -> Iterator[str]:
        raise NotImplementedError

    def _error(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AnthropicReply(Reply):
    """A message of Anthropic's Messages API as server-sent events."""

    text: str = ""
    thinking: str = ""
    tools: Sequence[Tool] = ()
    stop_reason: str = ""  # empty: tool_use with tools, else end_turn
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    model: str = "claude-sonnet-4-5-20250929"

    def _frames(self) -> Iterator[str]:
        start = {**self.usage, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": []}
        yield _event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": start})
        yield _event("ping")
        for index, (block, deltas) in enumerate(self._blocks()):
            yield _event("content_block_start", index=index, content_block=block)
            for delta in deltas:
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        reason = self.stop_reason or ("tool_use" if self.tools else "end_turn")
        counted = {"output_tokens": self.usage["output_tokens"]}
        yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=counted)
        yield _event("message_stop")

    def _blocks(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        if self.thinking:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _PIECES.findall(self.thinking)]
            signed = {"type": "signature_delta", "signature": "c2lnbmVk"}
            yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
        if self.text:
            yield (
                {"type": "text", "text": ""},
                [{"type": "text_delta", "text": piece} for piece in _PIECES.findall(self.text)],
            )
        for tool in self.tools:
            yield (
                {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}},
                [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_thirds(tool.input_json))],
            )

    def _error(self) -> str:
        return _event("error", error={"type": self.error, "message": "something is wrong"})


@dataclass(frozen=True, kw_only=True)
class OpenAIReply(Reply):
    """A completion of the Chat Completions API as server-sent events."""

    text: str = ""
    reasoning: str = ""  # reasoning_content, as DeepSeek sends it
    tools: Sequence[Tool] = ()
    finish_reason: str = ""  # empty: tool_calls with tools, else stop
    usage: Mapping[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    )
    model: str = "gpt-4.1-2025-04-14"

    def _frames(self) -> Iterator[str]:
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in _PIECES.findall(self.reasoning):
            yield self._chunk({"reasoning_content": piece})
        for piece in _PIECES.findall(self.text):
            yield self._chunk({"content": piece})
        for index, tool in enumerate(self.tools):
            named = {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}
            yield self._chunk({"tool_calls": [{"index": index, **named}]})
            for piece in _thirds(tool.input_json):
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield self._chunk({}, self.finish_reason or ("tool_calls" if self.tools else "stop"))
        if self.usage is not None:
            yield _data({**self._head(), "choices": [], "usage": self.usage})
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _data({**self._head(), "choices": [choice], "usage": None})

    def _head(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.model}

    def _error(self) -> str:
        return _data({"error": {"message": "something is wrong", "type": self.error, "param": None, "code": None}})


@dataclass(frozen=True, kw_only=True)
class ResponsesReply(Reply):
    """A response of OpenAI's Responses API as server-sent events."""

    text: str = ""
    thinking: str = ""  # as a summary
    sealed: str = "Z0FBQUFB"  # the encrypted form of the thinking
    tools: Sequence[Tool] = ()
    incomplete: str = ""  # why the response is incomplete; empty: it is complete
    usage: Mapping[str, Any] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    model: str = "gpt-5.1-2025-11-13"

    def _frames(self) -> Iterator[str]:
        yield from map(_event_of, self._numbered())

    def _numbered(self) -> Iterator[dict[str, Any]]:
        for number, event in enumerate(self._events()):
            yield {**event, "sequence_number": number}

    def _events(self) -> Iterator[dict[str, Any]]:
        yield {"type": "response.created", "response": self._response("in_progress")}
        yield {"type": "response.in_progress", "response": self._response("in_progress")}
        for index, (opened, deltas, closed) in enumerate(self._items()):
            yield {"type": "response.output_item.added", "output_index": index, "item": opened}
            for delta in deltas:
                yield {"output_index": index, "item_id": opened["id"], **delta}
            yield {"type": "response.output_item.done", "output_index": index, "item": closed}
        if self.incomplete:
            ended = self._response("incomplete", incomplete_details={"reason": self.incomplete}, usage=self._usage())
        else:
            ended = self._response("completed", usage=self._usage())
        yield {"type": f"response.{ended['status']}", "response": ended}

    def _items(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]]:
        if self.thinking:
            item: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "summary": []}
            kind = "response.reasoning_summary_text.delta"
            said = [{"type": kind, "summary_index": 0, "delta": piece} for piece in _PIECES.findall(self.thinking)]
            part = {"type": "summary_text", "text": self.thinking}
            first = {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": part}
            yield item, [first, *said], {**item, "summary": [part], "encrypted_content": self.sealed}
        if self.text:
            item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
            kind = "response.output_text.delta"
            said = [{"type": kind, "content_index": 0, "delta": piece} for piece in _PIECES.findall(self.text)]
            whole = {"type": "output_text", "text": self.text, "annotations": []}
            yield item, said, {**item, "status": "completed", "content": [whole]}
        for number, tool in enumerate(self.tools):
            item = {"id": f"fc_{number}", "type": "function_call", "call_id": tool.id, "name": tool.name}
            kind = "response.function_call_arguments.delta"
            said = [{"type": kind, "delta": piece} for piece in _thirds(tool.input_json)]
            yield {**item, "arguments": ""}, said, {**item, "status": "completed", "arguments": tool.input_json}

    def _response(self, status: str, **more: Any) -> dict[str, Any]:
        return {"id": "resp_1", "object": "response", "status": status, "model": self.model, "output": [], **more}

    def _usage(self) -> dict[str, Any]:
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        total = self.usage["input_tokens"] + self.usage["output_tokens"]
        return {**details, "total_tokens": total, **self.usage}

    def _error(self) -> str:
        return _event_of({"type": "error", "code": self.error, "message": "something is wrong", "param": None})


@dataclass(frozen=True, kw_only=True)
class RawReply(Reply):
    """Any frames at all."""

    parts: Sequence[str]

    def _frames(self) -> Iterator[str]:
        yield from self.parts


@dataclass(frozen=True, kw_only=True)
class BytesReply(Reply):
    """A body byte for byte, in writes of the given sizes; the last size repeats."""

    data: bytes
    sizes: Sequence[int] = (64,)

    def body(self) -> list[bytes]:
        pieces, start, sizes = [], 0, list(self.sizes)
        while start < len(self.data):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            pieces.append(self.data[start : start + size])
            start += size
        return pieces


@dataclass(frozen=True, kw_only=True)
class ErrorReply(Reply):
    """An HTTP error with a JSON body that fits both dialects."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    type: str = "api_error"
    message: str = "something is wrong"
    retry_after: str = ""

    def _frames(self) -> Iterator[str]:
        error = {"type": self.type, "message": self.message, "param": None, "code": None}
        yield json.dumps({"type": "error", "error": error})


def _thirds(text: str) -> list[str]:
    """A text in up to three pieces, so that no piece of JSON is whole."""
    size = max(len(text) // 3, 1)
    return [text[start : start + size] for start in range(0, len(text), size)]


def _data(value: Any, name: str = "") -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _event_of(event: Mapping[str, Any]) -> str:
    return _data(event, event["type"])


def _event(name: str, **members: Any) -> str:
    return _data({"type": name, **members}, name)
