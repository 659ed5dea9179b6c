"""OpenAI Chat Completions, streamed, for every server that speaks them. The only file that imports ``openai``."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import failures, openai_messages, transport
from asteros.providers.base import Finish, ModelChunk, ModelRequest, TextDelta, ThinkDelta, ToolUse
from asteros.providers.deltas import TextJoiner, ToolDraft
from asteros.providers.presets import Preset

# The SDK refuses to work without a key, also for servers that want none.
_NO_KEY = "unused"
_DONE = b"[DONE]"

_STOPS = {
    "stop": agent_pb2.STOP_REASON_END_TURN,
    "length": agent_pb2.STOP_REASON_MAX_TOKENS,
    "model_length": agent_pb2.STOP_REASON_MAX_TOKENS,  # Mistral
    "tool_calls": agent_pb2.STOP_REASON_TOOL_USE,
    "function_call": agent_pb2.STOP_REASON_TOOL_USE,
}
_FILTERED = frozenset({"content_filter", "sensitive"})  # the second one is GLM's
# Finish reasons that tell of a failure: DeepSeek, GLM, Mistral and OpenRouter.
_FAILED = frozenset({"insufficient_system_resource", "network_error", "error"})
# The SDK builds its chunks without looking at them: a malformed one shows as any of these.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError, IndexError)


class OpenAIProvider:
    """``Provider`` for one address and one key."""

    def __init__(self, preset: Preset, *, name: str, base_url: str, api_key: str) -> None:
        self.name = name
        self._preset = preset
        self._key = api_key
        self._client = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            base_url=base_url,
            max_retries=0,  # retries are the caller's
            http_client=transport.new_client(),
        )
        # The SDK takes these from its own environment variables and would tell them to every server.
        self._client.organization = self._client.project = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """See ``Provider.stream``."""
        events = await self._open(request)
        reader = _Reader(self.name)
        try:
            async for event in events:
                for chunk in reader.feed(event):
                    yield chunk
            for chunk in reader.end(transport.ended_with(events.response, _DONE)):
                yield chunk
        except openai.APIConnectionError as error:
            raise transport.failure(self.name, error, streaming=True) from None
        except openai.APIError as error:
            kind = error.code or error.type
            raise failures.of_kind(self.name, kind, text=error.message, key=self._key) from None
        except transport.TransportFailure as error:
            raise transport.failure(self.name, error, streaming=True) from None
        except _MALFORMED:
            raise failures.malformed(self.name, "is not well formed") from None
        finally:
            await events.close()

    async def aclose(self) -> None:
        """See ``Provider.aclose``."""
        await self._client.close()

    async def _open(self, request: ModelRequest) -> openai.AsyncStream[ChatCompletionChunk]:
        params: dict[str, Any] = openai_messages.body(request, self._preset)
        timeout = transport.limits(request.idle_timeout)
        try:
            events: openai.AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
                **params, stream=True, timeout=timeout
            )
            return events
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.APIConnectionError, transport.TransportFailure) as error:
            raise transport.failure(self.name, error, streaming=False) from None

    def _refusal(self, error: openai.APIStatusError) -> errors.AsterError:
        return failures.of_status(
            self.name,
            error.status_code,
            text=_message(error.body),
            key=self._key,
            retry_after=failures.retry_after(error.response.headers),
        )


def _message(body: object) -> str:
    """The ``message`` of an error body, which the SDK has already taken out of ``error``."""
    text = body.get("message") if isinstance(body, dict) else None
    return text if isinstance(text, str) else ""


class _Reader:
    """Turns the chunks of one stream into ours; tool calls and ``Finish`` come from ``end``."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._model = ""
        self._stop = ""
        self._usage: common_pb2.TokenUsage | None = None
        self._text, self._thoughts = TextJoiner(), TextJoiner()
        self._tools: list[ToolDraft] = []
        self._open: dict[int, ToolDraft] = {}  # by the index deltas name it with

    def feed(self, event: Any) -> Iterator[ModelChunk]:
        """The text and reasoning of this chunk."""
        self._model = event.model or self._model
        if event.usage is not None:
            self._usage = _usage(event.usage)
        for choice in event.choices or ():
            # Text may still follow a finish reason with some servers; the last reason counts.
            self._stop = choice.finish_reason or self._stop
            if choice.delta is not None:
                yield from self._delta(choice.delta)

    def _delta(self, delta: Any) -> Iterator[ModelChunk]:
        # reasoning_content: DeepSeek, Moonshot, GLM; reasoning: OpenRouter, Groq, Ollama.
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if thought and (whole := self._thoughts.feed(thought)):
            yield ThinkDelta(whole)
        said = delta.content or getattr(delta, "refusal", None)
        if said and (whole := self._text.feed(said)):
            yield TextDelta(whole)
        for piece in delta.tool_calls or ():
            self._tool(piece)

    def _tool(self, piece: Any) -> None:
        function = piece.function
        index = getattr(piece, "index", None) or 0
        draft = self._open.get(index)
        # Gemini and others send every call whole and under index 0: a new id is a new call.
        if draft is None or (piece.id and draft.id and piece.id != draft.id and function.name):
            draft = self._open[index] = ToolDraft(piece.id or "", function.name or "")
            self._tools.append(draft)
        draft.id = draft.id or piece.id or ""
        draft.name = draft.name or function.name or ""
        draft.feed(function.arguments or "")

    def end(self, done: bool) -> Iterator[ModelChunk]:
        """Tool calls and ``Finish``, if the answer is complete.

        ``done``: the provider sent its last frame. Its usage counts for it: servers
        exist that leave out the one or the other, none that leave out both.

        :raises ProviderTruncated: no finish reason, or nothing behind it.
        :raises ProviderRejected: the provider's filter stopped the answer.
        :raises ProviderUnavailable: the finish reason tells of a failure."""
        if not self._stop or not (done or self._usage is not None):
            raise failures.malformed(self._provider, "ended without its stop frame")
        if self._stop in _FILTERED:
            raise failures.rejected("its content filter stopped the answer", provider=self._provider)
        if self._stop in _FAILED:
            raise errors.ProviderUnavailable(provider=self._provider)
        if text := self._text.flush():
            yield TextDelta(text)
        reason = _STOPS.get(self._stop, agent_pb2.STOP_REASON_END_TURN)
        calls = self._calls(reason)
        yield from map(ToolUse, calls)
        if reason != agent_pb2.STOP_REASON_MAX_TOKENS:
            # Ollama and others say "stop" behind tool calls; nobody may say "tool_calls" without.
            reason = agent_pb2.STOP_REASON_TOOL_USE if calls else _not_tools(reason)
        yield Finish(reason, self._usage or common_pb2.TokenUsage(), self._model)

    def _calls(self, reason: agent_pb2.StopReason) -> list[common_pb2.ToolCall]:
        calls = []
        for draft in self._tools:
            call = draft.call()
            if call is not None:
                calls.append(call)
            elif reason != agent_pb2.STOP_REASON_MAX_TOKENS:  # the output limit may cut a call
                raise failures.malformed(self._provider, "holds half a tool call")
        return calls


def _not_tools(reason: agent_pb2.StopReason) -> agent_pb2.StopReason:
    return agent_pb2.STOP_REASON_END_TURN if reason == agent_pb2.STOP_REASON_TOOL_USE else reason


def _usage(usage: Any) -> common_pb2.TokenUsage:
    """Cached tokens are a part of the prompt here, as with us."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    sent, produced = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = getattr(sent, "cached_tokens", None)
    if cached is None:  # DeepSeek's and Moonshot's own names
        cached = getattr(usage, "prompt_cache_hit_tokens", None) or getattr(usage, "cached_tokens", None)
    return common_pb2.TokenUsage(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=prompt + completion,
        cached_input_tokens=cached or 0,
        cache_write_tokens=getattr(sent, "cache_write_tokens", None) or 0,
        reasoning_tokens=getattr(produced, "reasoning_tokens", None) or 0,
    )
