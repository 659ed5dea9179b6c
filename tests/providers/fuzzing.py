"""One mutated answer through one real parser, SDK included, and what must hold whatever it says."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
from providers.kinds import KEY, request

from asteros import errors
from asteros.providers import transport
from asteros.providers.anthropic import AnthropicProvider
from asteros.providers.base import Finish, Provider, Seal, TextDelta, ThinkDelta, ToolUse
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE

# The parsers, and the folders of recordings that are theirs.
PARSERS = {"anthropic": ("anthropic",), "chat": ("chat", "compatible"), "responses": ("responses",)}


class Packets(httpx2.AsyncByteStream):
    """A response body in memory: a socket would only make it slow."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        pass


class Memory(httpx2.AsyncBaseTransport):
    """Answers every request with the packets it was given last."""

    pieces: list[bytes]

    async def handle_async_request(self, http_request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=Packets(self.pieces), request=http_request)


def reader(parser: str, memory: Memory) -> Provider:
    """The provider with this parser, which reads from memory."""
    http = transport.new_client()
    http._transport = memory
    if parser == "anthropic":
        return AnthropicProvider(base_url="http://memory", api_key=KEY, http=http)
    preset = TABLE.by_name["deepseek" if parser == "chat" else "openai"]
    return OpenAIProvider(
        preset, name=preset.name, base_url="http://memory", api_key=KEY, responses=parser == "responses", http=http
    )


async def judge(provider: Provider) -> str:
    """Reads one answer; "finished", or the reason of the error. Anything else is a find.

    :raises AssertionError: a promise of ``Provider.stream`` does not hold."""
    finish: Finish | None = None
    try:
        async with asyncio.timeout(10):
            async for chunk in provider.stream(request("m")):
                assert finish is None, "something behind Finish"
                finish = chunk if isinstance(chunk, Finish) else None
                _judge_chunk(chunk)
    except errors.AsterError as error:
        failure = error
    else:
        assert finish is not None, "an end without Finish"
        return "finished"
    assert failure.reason.startswith("PROVIDER_"), failure.reason
    assert finish is None, "an error behind Finish"
    assert KEY not in str(failure.status())
    return failure.reason


def _judge_chunk(chunk: object) -> None:
    match chunk:
        case TextDelta(text) | ThinkDelta(text):
            assert text
            text.encode()  # protobuf could not carry it otherwise
        case Seal(data):
            assert isinstance(json.loads(data), dict)
            data.encode()
        case ToolUse(call):
            assert call.id
            assert call.name
            json.loads(call.input_json)
        case Finish(_, usage, model):
            assert all(count >= 0 for _, count in usage.ListFields())
            model.encode()
        case _:
            raise AssertionError(f"no chunk: {chunk!r}")
