"""A TCP proxy whose connections can be cut: what a broken network is to a client."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Proxy:
    """Passes bytes on, both ways, to ``port()`` on loopback; TLS goes through as it is."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._running: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def cut(self) -> None:
        """Breaks every connection, without a word to either side."""
        while self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        with contextlib.suppress(asyncio.CancelledError, OSError):  # house: cancelled -- cut() ends this task
            try:
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port())
            except OSError:  # the server is not there: neither is this connection
                writer.transport.abort()
                return
            try:
                done = (asyncio.create_task(_copy(reader, up_writer)), asyncio.create_task(_copy(up_reader, writer)))
                try:
                    await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for copy in done:
                        copy.cancel()
                    await asyncio.gather(*done, return_exceptions=True)
            finally:
                up_writer.transport.abort()
                writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
