"""OpenAI, by Responses or Chat Completions, and every server of the latter. The only file that imports ``openai``."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import openai

from asteros.providers import failures, openai_messages, responses_messages, transport
from asteros.providers.base import ModelChunk, ModelRequest
from asteros.providers.openai_chat import ChatReader
from asteros.providers.presets import Preset
from asteros.providers.responses import ResponsesReader

# The SDK refuses to work without a key, also for servers that want none.
_NO_KEY = "unused"
_DONE = b"[DONE]"

# The SDK builds its chunks without looking at them: a malformed one shows as any of these.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError, IndexError)

Events = openai.AsyncStream[Any]


class OpenAIProvider:
    """``Provider`` for one address and one key.

    ``responses``: the server speaks Responses too, which is then used; but not for stop
    sequences, which only Chat Completions has."""

    def __init__(
        self,
        preset: Preset,
        *,
        name: str,
        base_url: str,
        api_key: str,
        responses: bool = False,
        http: transport.Client | None = None,
    ) -> None:
        self.name = name
        self._preset = preset
        self._key = api_key
        self._responses = responses
        self._client = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            base_url=base_url,
            max_retries=0,  # retries are the caller's
            http_client=http or transport.new_client(),
        )
        # The SDK takes these from its own environment variables and would tell them to every server.
        self._client.organization = self._client.project = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """See ``Provider.stream``."""
        by_responses = self._responses and not request.config.stop_sequences
        events = await self._open(request, by_responses)
        reader = ResponsesReader(self.name, self._key) if by_responses else self._chat_reader()
        try:
            async for event in events:
                for chunk in reader.feed(event):
                    yield chunk
                if reader.done:
                    return
            for chunk in self._last(reader, transport.ended_with(events.response, _DONE)):
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

    def _chat_reader(self) -> ChatReader:
        return ChatReader(self.name, seals=self._preset.takes_reasoning_back)

    def _last(self, reader: ChatReader | ResponsesReader, done: bool) -> Iterator[ModelChunk]:
        """What a stream that is over still gives: the end of an answer, or the error that it was cut."""
        if isinstance(reader, ChatReader):
            return reader.end(done)
        raise failures.malformed(self.name, "ended without its stop frame")

    async def _open(self, request: ModelRequest, by_responses: bool) -> Events:
        timeout = transport.limits(request.idle_timeout)
        try:
            if by_responses:
                body: dict[str, Any] = responses_messages.body(request)
                events: Events = await self._client.responses.create(**body, stream=True, timeout=timeout)
            else:
                body = openai_messages.body(request, self._preset)
                events = await self._client.chat.completions.create(**body, stream=True, timeout=timeout)
            return events
        except openai.APIStatusError as error:
            raise failures.of_response(self.name, error.response, text=_message(error.body), key=self._key) from None
        except (openai.APIConnectionError, transport.TransportFailure) as error:
            raise transport.failure(self.name, error, streaming=False) from None


def _message(body: object) -> object:
    """The ``message`` of an error body, which the SDK has already taken out of ``error``."""
    return body.get("message") if isinstance(body, dict) else None
