"""Faults by the hundred, and what they must not leave behind."""

import asyncio
import gc
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from providers.kinds import KEY, request
from providers.recorded import DIALECTS, Readers, Recording, load
from wire import BytesReply, End, WireServer

from asteros import errors
from asteros.providers import transport
from asteros.providers.addresses import Address, Addresses
from asteros.providers.anthropic import AnthropicProvider
from asteros.providers.base import Provider
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE

IDLE = 0.02  # seconds of silence; a stall is one of the faults
Fault = Callable[[], Awaitable[None]]


def open_files() -> int:
    """File descriptors of this process, sockets included."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


class Faults:
    """Draws faults from a seed and lets every dialect meet them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._recordings = {dialect: load(dialect) for dialect in DIALECTS}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Faults":
        self.wire = await self._stack.enter_async_context(WireServer())
        self._readers = Readers(self.wire)
        self._stack.push_async_callback(self._readers.aclose)
        self._unreachable = [*_providers(await self._refused()), *_providers(await self._no_tls())]
        self._unreachable += _providers("http://nobody.invalid/v1", Addresses(_unknown))
        for provider in self._unreachable:
            self._stack.push_async_callback(provider.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def meet(self, count: int) -> int:
        """Meets so many faults, one after the other; how many ended in an error."""
        failed = 0
        for number in range(count):
            kind = (self._cut, self._cut, self._whole, self._leave, self._cancel, self._nowhere)[number % 6]
            try:
                async with asyncio.timeout(10):
                    await kind()
            except errors.AsterError:
                failed += 1
        return failed

    def _draw(self) -> tuple[Recording, Provider]:
        recording = self._random.choice(self._recordings[self._random.choice(DIALECTS)])
        return recording, self._readers.of(recording)

    async def _cut(self) -> None:
        """An answer that stops somewhere, in one of the ways it can."""
        recording, provider = self._draw()
        size = self._random.randrange(len(recording.body) + 1)
        end = self._random.choice(list(End))
        self.wire.reply(BytesReply(data=recording.body[:size], sizes=(self._random.randrange(1, 2000),), end=end))
        await _listen(provider)

    async def _whole(self) -> None:
        recording, provider = self._draw()
        self.wire.reply(recording.reply())
        await _listen(provider)

    async def _leave(self) -> None:
        """The consumer stops listening after some chunks."""
        recording, provider = self._draw()
        self.wire.reply(recording.reply())
        await _listen(provider, self._random.randrange(4))

    async def _cancel(self) -> None:
        """The consumer is cancelled, before or while something comes."""
        recording, provider = self._draw()
        self.wire.reply(BytesReply(data=recording.body, end=End.SILENT))
        task = asyncio.ensure_future(_listen(provider))
        for _ in range(self._random.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _nowhere(self) -> None:
        """No connection: refused, no such name, no TLS on the other side."""
        await _listen(self._random.choice(self._unreachable))

    async def _refused(self) -> str:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return f"http://127.0.0.1:{port}"

    async def _no_tls(self) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 plain text\r\n\r\n")
            writer.close()

        server = await self._stack.enter_async_context(await asyncio.start_server(answer, "127.0.0.1", 0))
        return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _unknown(host: str, port: int, field: str) -> Sequence[Address]:
    raise OSError("no such name")


def _providers(url: str, addresses: Addresses | None = None) -> list[Provider]:
    preset = TABLE.by_name["openai"]
    return [
        AnthropicProvider(base_url=url, api_key=KEY, http=transport.new_client(addresses)),
        *(
            OpenAIProvider(
                preset,
                name="openai",
                base_url=url,
                api_key=KEY,
                responses=responses,
                http=transport.new_client(addresses),
            )
            for responses in (False, True)
        ),
    ]


async def _listen(provider: Provider, chunks: int | None = None) -> None:
    """Hears so many chunks, or all."""
    async with aclosing(provider.stream(request("m", idle_timeout=IDLE))) as stream:
        heard = 0
        async for _ in stream:
            heard += 1
            if heard == chunks:
                return


async def check_nothing_is_left(count: int, seed: int) -> int:
    """Meets faults and compares tasks, sockets and files with what was there before; how many failed."""
    async with Faults(seed) as warm:  # modules, resolver threads and caches are no leak
        await warm.meet(12)
    tasks, files = len(asyncio.all_tasks()), open_files()
    async with Faults(seed) as faults:
        failed = await faults.meet(count)
    await faults.wire.all_closed()
    assert len(asyncio.all_tasks()) == tasks
    assert open_files() == files, os.listdir("/proc/self/fd")
    return failed
