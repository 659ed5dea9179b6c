"""Anthropic Messages, streamed. The only file that imports the ``anthropic`` SDK."""

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anthropic
from anthropic.types import Message, RawMessageStreamEvent

from aster.v1 import agent_pb2, common_pb2
from asteros.providers import anthropic_messages, counting, failures, transport
from asteros.providers.base import Finish, ModelChunk, ModelRequest, Seal, TextDelta, ThinkDelta, ToolUse
from asteros.providers.deltas import TextJoiner, ToolDraft, clean

# The SDK refuses to work without a key, also for servers that want none.
_NO_KEY = "unused"

_STOPS = {
    "end_turn": agent_pb2.STOP_REASON_END_TURN,
    "pause_turn": agent_pb2.STOP_REASON_END_TURN,
    "max_tokens": agent_pb2.STOP_REASON_MAX_TOKENS,
    "model_context_window_exceeded": agent_pb2.STOP_REASON_MAX_TOKENS,
    "stop_sequence": agent_pb2.STOP_REASON_STOP_SEQUENCE,
    "tool_use": agent_pb2.STOP_REASON_TOOL_USE,
}
# The SDK builds its events without looking at them: a malformed one shows as any of these.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError)


class AnthropicProvider:
    """``Provider`` for one address and one key."""

    def __init__(
        self, *, name: str = "anthropic", base_url: str, api_key: str, http: transport.Client | None = None
    ) -> None:
        self.name = name
        self._key = api_key
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key or _NO_KEY,
            base_url=base_url,
            # The SDK sends the key as Authorization only, which older gateways do not read.
            default_headers={"X-Api-Key": api_key} if api_key else {},
            max_retries=0,  # retries are the caller's
            http_client=http or transport.new_client(),
        )

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """See ``Provider.stream``."""
        events = await self._open(request)
        reader = _Reader(self.name)
        try:
            async for event in events:
                for chunk in reader.feed(event):
                    yield chunk
                if reader.done:
                    return
        except anthropic.APIStatusError as error:
            raise failures.of_kind(self.name, error.type, text=error.api_message, key=self._key) from None
        except transport.TransportFailure as error:
            raise transport.failure(self.name, error, streaming=True) from None
        except _MALFORMED:
            raise failures.malformed(self.name, "is not well formed") from None
        finally:
            await events.close()
        raise failures.malformed(self.name, "ended without its stop frame")

    async def aclose(self) -> None:
        """See ``Provider.aclose``."""
        await self._client.close()

    async def _open(self, request: ModelRequest) -> anthropic.AsyncStream[RawMessageStreamEvent]:
        # Not messages.create(): it no longer takes temperature and top_p, which older
        # models still do, and warns of each model's end, which is the caller's choice.
        try:
            return await self._client.post(
                "/v1/messages",
                cast_to=Message,
                body=anthropic_messages.body(request),
                options={
                    "headers": anthropic_messages.headers(request.config),
                    "timeout": transport.limits(request.idle_timeout),
                },
                stream=True,
                stream_cls=anthropic.AsyncStream[RawMessageStreamEvent],
            )
        except anthropic.APIStatusError as error:
            text = error.api_message
            raise failures.of_response(self.name, error.response, text=text, key=self._key) from None
        except (anthropic.APIConnectionError, transport.TransportFailure) as error:
            raise transport.failure(self.name, error, streaming=False) from None


class _Block:
    """One content block while it is open."""

    def __init__(self, content: Any) -> None:
        self.kind = content.type
        self.text = TextJoiner()
        self.tool = ToolDraft(content.id, content.name) if content.type == "tool_use" else None
        self.thinking: list[str] = []
        self.signature = (content.signature or "") if content.type == "thinking" else ""
        self.redacted = content.data if content.type == "redacted_thinking" else ""

    def seal(self) -> Seal | None:
        """The block as it must be sent back. Thinking without a signature is taken back by nobody."""
        if self.redacted:
            return _sealed(type="redacted_thinking", data=self.redacted)
        if self.signature:
            return _sealed(type="thinking", thinking="".join(self.thinking), signature=self.signature)
        return None


def _sealed(**block: str) -> Seal:
    # In ASCII: what a provider signs may hold half a code point, which protobuf cannot carry.
    return Seal(json.dumps(block))


class _Reader:
    """Turns the events of one stream into chunks; ``done`` after ``message_stop``."""

    def __init__(self, provider: str) -> None:
        self.done = False
        self._provider = provider
        self._model = ""
        self._stop = ""
        self._tokens: dict[str, int] = {}
        self._blocks: dict[int, _Block] = {}
        self._cut_tool = False

    def feed(self, event: Any) -> Iterator[ModelChunk]:
        """The chunks that this event completes.

        :raises ProviderTruncated: the event does not fit those before it."""
        match event.type:
            case "message_start":
                self._model = event.message.model
                self._count(event.message.usage)
            case "content_block_start":
                yield from self._start(event.index, event.content_block)
            case "content_block_delta":
                yield from self._delta(self._blocks[event.index], event.delta)
            case "content_block_stop":
                yield from self._end(self._blocks.pop(event.index))
            case "message_delta":
                self._stop = event.delta.stop_reason or self._stop
                self._count(event.usage)
            case "message_stop":
                self.done = True
                yield self._finish()
            case _:  # the protocol may add kinds of events
                return

    def _start(self, index: int, content: Any) -> Iterator[ModelChunk]:
        if index in self._blocks or self._stop:
            raise failures.malformed(self._provider, "opens a block twice, or behind the answer")
        self._blocks[index] = block = _Block(content)
        if block.kind == "text" and content.text:
            yield from self._said(block, content.text)
        if block.kind == "thinking" and content.thinking:
            block.thinking.append(content.thinking)
            yield from self._said(block, content.thinking)

    def _delta(self, block: _Block, delta: Any) -> Iterator[ModelChunk]:
        match delta.type:
            case "text_delta":
                yield from self._said(block, delta.text)
            case "thinking_delta":
                block.thinking.append(delta.thinking)
                yield from self._said(block, delta.thinking)
            case "signature_delta":
                block.signature += delta.signature
            case "input_json_delta" if block.tool is not None:
                block.tool.feed(delta.partial_json)
            case _:  # citations
                return

    def _said(self, block: _Block, piece: str) -> Iterator[ModelChunk]:
        yield from _spoken(block, block.text.feed(piece))

    def _end(self, block: _Block) -> Iterator[ModelChunk]:
        yield from _spoken(block, block.text.flush())
        if seal := block.seal():
            yield seal
        if block.tool is not None:
            call = block.tool.call()
            if call is None:
                self._cut_tool = True  # legal only when the output limit cut it; see _finish
            else:
                yield ToolUse(call)

    def _count(self, usage: Any) -> None:
        """Keeps the newest of each cumulative count."""
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            value = getattr(usage, name, None)
            if value is not None:
                self._tokens[name] = value
        details = getattr(usage, "output_tokens_details", None)
        if details is not None:
            self._tokens["thinking_tokens"] = details.thinking_tokens or 0

    def _finish(self) -> Finish:
        if self._stop == "refusal":
            raise failures.rejected("its safety filter stopped the answer", provider=self._provider)
        reason = _STOPS.get(self._stop, agent_pb2.STOP_REASON_END_TURN)
        whole = not self._cut_tool or reason == agent_pb2.STOP_REASON_MAX_TOKENS
        if not self._stop or self._blocks or not whole:
            raise failures.malformed(self._provider, "stopped in the middle of a block")
        return Finish(reason, self._usage(), clean(self._model))

    def _usage(self) -> common_pb2.TokenUsage:
        read, written = (
            self._tokens.get("cache_read_input_tokens", 0),
            self._tokens.get("cache_creation_input_tokens", 0),
        )
        return counting.usage(
            # The provider counts cached tokens beside its input_tokens, we count them as part.
            sent=self._tokens.get("input_tokens", 0) + read + written,
            produced=self._tokens.get("output_tokens"),
            read=read,
            written=written,
            reasoning=self._tokens.get("thinking_tokens"),
        )


def _spoken(block: _Block, text: str) -> Iterator[ModelChunk]:
    if text:
        yield ThinkDelta(text) if block.kind == "thinking" else TextDelta(text)
