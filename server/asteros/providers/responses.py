"""The events of an OpenAI Responses stream."""

import json
from collections.abc import Iterator
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import counting, failures
from asteros.providers.base import Finish, ModelChunk, Seal, TextDelta, ThinkDelta, ToolUse
from asteros.providers.deltas import TextJoiner, ToolDraft, clean

_LIMITS = frozenset({"max_output_tokens", "max_messages"})


class _Item:
    """One item of the output while it is open."""

    def __init__(self, item: Any) -> None:
        self.text = TextJoiner()
        self.thoughts = TextJoiner()
        self.arguments: list[str] = []
        self.kind = item.type


class ResponsesReader:
    """Turns the events of one stream into chunks; ``done`` after the event that ends the response."""

    def __init__(self, provider: str, key: str = "") -> None:
        self.done = False
        self._provider = provider
        self._key = key  # to be kept out of what the provider says
        self._model = ""
        self._items: dict[int, _Item] = {}  # open ones, by their place in the output
        self._seen: set[int] = set()
        self._called = False
        self._cut_tool = False

    def feed(self, event: Any) -> Iterator[ModelChunk]:
        """The chunks that this event completes.

        :raises ProviderTruncated: the event does not fit those before it.
        :raises AsterError: the event tells of a failure."""
        match event.type:
            case "response.created":
                self._model = event.response.model
            case "response.output_item.added":
                self._add(event.output_index, event.item)
            case "response.output_text.delta" | "response.refusal.delta":
                yield from _spoken(TextDelta, self._items[event.output_index].text.feed(event.delta))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from _spoken(ThinkDelta, self._items[event.output_index].thoughts.feed(event.delta))
            case "response.reasoning_summary_part.added" if event.summary_index:
                yield from _spoken(ThinkDelta, self._items[event.output_index].thoughts.feed("\n\n"))
            case "response.function_call_arguments.delta":
                self._items[event.output_index].arguments.append(event.delta)
            case "response.output_item.done":
                yield from self._end(self._items.pop(event.output_index), event.item)
            case "response.completed" | "response.incomplete":
                yield self._finish(event.response, whole=event.type == "response.completed")
                self.done = True
            case "response.failed" | "error":
                raise self._failure(event)
            case _:  # the protocol has many more, and may add kinds of events
                return

    def _add(self, index: int, item: Any) -> None:
        if index in self._seen:
            raise failures.malformed(self._provider, "opens an item twice")
        self._seen.add(index)
        self._items[index] = _Item(item)

    def _end(self, open_item: _Item, item: Any) -> Iterator[ModelChunk]:
        yield from _spoken(TextDelta, open_item.text.flush())
        yield from _spoken(ThinkDelta, open_item.thoughts.flush())
        if item.type != open_item.kind:
            raise failures.malformed(self._provider, "ends another item than it began")
        if item.type == "reasoning" and getattr(item, "encrypted_content", None):
            yield _sealed(item)
        if item.type == "function_call":
            yield from self._call(open_item, item)

    def _call(self, open_item: _Item, item: Any) -> Iterator[ModelChunk]:
        pieces = "".join(open_item.arguments)
        if pieces and pieces != item.arguments:
            raise failures.malformed(self._provider, "holds two inputs for one tool call")
        draft = ToolDraft(item.call_id or "", item.name)
        draft.feed(item.arguments)
        call = draft.call()
        if call is None or getattr(item, "status", None) == "incomplete":
            self._cut_tool = True  # legal only when the output limit cut it; see _finish
        else:
            self._called = True
            yield ToolUse(call)

    def _finish(self, response: Any, *, whole: bool) -> Finish:
        reason = agent_pb2.STOP_REASON_TOOL_USE if self._called else agent_pb2.STOP_REASON_END_TURN
        if not whole:
            why = response.incomplete_details.reason
            if why == "content_filter":
                raise failures.rejected("its content filter stopped the answer", provider=self._provider)
            if why not in _LIMITS:
                raise failures.malformed(self._provider, "ended early")
            reason = agent_pb2.STOP_REASON_MAX_TOKENS
        elif self._items or self._cut_tool:
            raise failures.malformed(self._provider, "stopped in the middle of an item")
        return Finish(reason, _usage(response.usage), clean(response.model or self._model))

    def _failure(self, event: Any) -> errors.AsterError:
        told = event.response.error if event.type == "response.failed" else event
        return failures.of_kind(
            self._provider, getattr(told, "code", None), text=getattr(told, "message", None), key=self._key
        )


def _spoken(kind: type[TextDelta | ThinkDelta], text: str) -> Iterator[ModelChunk]:
    if text:
        yield kind(text)


def _sealed(item: Any) -> Seal:
    summary = [{"type": "summary_text", "text": part.text} for part in item.summary or ()]
    return Seal(
        json.dumps(
            {"type": "reasoning", "id": item.id, "summary": summary, "encrypted_content": item.encrypted_content}
        )
    )


def _usage(usage: Any) -> common_pb2.TokenUsage:
    """Cached tokens are a part of the input here, as with us."""
    if usage is None:
        return common_pb2.TokenUsage()
    sent, produced = usage.input_tokens_details, usage.output_tokens_details
    return counting.usage(
        sent=usage.input_tokens,
        produced=usage.output_tokens,
        read=getattr(sent, "cached_tokens", None),
        written=getattr(sent, "cache_write_tokens", None),
        reasoning=getattr(produced, "reasoning_tokens", None),
    )
