"""The promise of a model provider, and what crosses it.

A provider turns a conversation into a stream of chunks. Nothing of HTTP, of a
vendor's SDK or of its JSON leaks out: callers see the dataclasses below and the
errors of ``asteros.errors``."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aster.v1 import agent_pb2, common_pb2


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it."""

    name: str
    description: str
    input_schema_json: str  # JSON Schema of the input object


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. ``config.api_key`` is resolved: empty only where no key is needed."""

    config: agent_pb2.ModelConfig
    messages: Sequence[common_pb2.Message]  # oldest first; every tool_call is answered
    system: str = ""
    tools: Sequence[ToolSpec] = ()
    # The caller may read the reasoning; else the provider is asked to keep it sealed, where it can.
    show_thinking: bool = False
    # Seconds without a byte after which the call fails with ProviderStalled.
    idle_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the answer; never empty, never cuts a code point."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkDelta:
    """Some more reasoning; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Seal:
    """Reasoning as the provider wants it back behind a tool call; see ``SealedThinking.data``."""

    data: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model asks for a tool. Sent once per call, when its input JSON is complete."""

    call: common_pb2.ToolCall


@dataclass(frozen=True, slots=True)
class Finish:
    """The model's own word that the answer is complete; always the last chunk."""

    stop_reason: agent_pb2.StopReason
    usage: common_pb2.TokenUsage = field(default_factory=common_pb2.TokenUsage)
    model: str = ""  # the model that answered, as the provider names it


ModelChunk = TextDelta | ThinkDelta | Seal | ToolUse | Finish


class Provider(Protocol):
    """One kind of model service. Safe for concurrent calls; holds no conversation."""

    name: str

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Runs one model call.

        Yields chunks in the order the model produced them and ends after exactly
        one ``Finish``. A stream that ends without the provider's stop frame raises
        ``ProviderTruncated``: a cut answer is never a finished one, and a tool call
        whose JSON is incomplete is never yielded. Makes one attempt: retries are
        the caller's. Closing the generator (or cancelling its consumer) closes the
        connection.

        :raises ProviderAuth: no key, or the key was refused (HTTP 401, 403).
        :raises ProviderRejected: the request was refused (HTTP 400, 404, 413, 422).
        :raises ProviderLimit: rate or quota (HTTP 429, 529); ``retry_after`` if told.
        :raises ProviderUnavailable: HTTP 5xx, refused or broken connection, DNS, TLS.
        :raises ProviderStalled: no byte for ``idle_timeout``.
        :raises ProviderTruncated: the stream ended early or was not well formed.
        """
        ...

    async def aclose(self) -> None:
        """Frees connections. Idempotent."""
        ...
