"""The chunks of a Chat Completions stream, whoever sends them."""

import json
from collections.abc import Iterator
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import counting, failures
from asteros.providers.base import Finish, ModelChunk, Seal, TextDelta, ThinkDelta, ToolUse
from asteros.providers.deltas import TextJoiner, ToolDraft, clean

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


class ChatReader:
    """Turns the chunks of one stream into ours; tool calls and ``Finish`` come from ``end``."""

    done = False  # only the end of the stream tells: usage comes behind the finish reason

    def __init__(self, provider: str, *, seals: bool) -> None:
        """``seals``: reasoning goes back behind a tool call, see ``Preset.takes_reasoning_back``."""
        self._provider = provider
        self._seals = seals
        self._reasoning: list[str] = []
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
            self._reasoning.append(whole)
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
        if thought := self._thoughts.flush():
            yield ThinkDelta(thought)
        if text := self._text.flush():
            yield TextDelta(text)
        reason = _STOPS.get(self._stop, agent_pb2.STOP_REASON_END_TURN)
        calls = self._calls(reason)
        if calls and self._seals and self._reasoning:
            yield Seal(json.dumps({"reasoning_content": "".join(self._reasoning)}))
        yield from map(ToolUse, calls)
        if reason != agent_pb2.STOP_REASON_MAX_TOKENS:
            # Ollama and others say "stop" behind tool calls; nobody may say "tool_calls" without.
            reason = agent_pb2.STOP_REASON_TOOL_USE if calls else _not_tools(reason)
        yield Finish(reason, self._usage or common_pb2.TokenUsage(), clean(self._model))

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
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    sent, produced = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = getattr(sent, "cached_tokens", None)
    if cached is None:  # DeepSeek's and Moonshot's own names
        cached = getattr(usage, "prompt_cache_hit_tokens", None) or getattr(usage, "cached_tokens", None)
    return counting.usage(
        sent=prompt,
        produced=completion,
        read=cached,
        written=getattr(sent, "cache_write_tokens", None),
        reasoning=getattr(produced, "reasoning_tokens", None),
    )
