"""A model service for tests: a small HTTP/1.1 server on a free port of this machine.

    async with WireServer() as wire:
        wire.reply(AnthropicReply(tools=[Tool("Write", {...})]), AnthropicReply(text="Done."))
        config = ModelConfig(provider="anthropic", model="claude-x", api_key="k", base_url=wire.base_url)

Replies go out in the order they were queued, one for each request, whatever its path;
an OpenAI client's base address is ``wire.openai_url``. A request without a queued
reply is answered with HTTP 500, so a test that calls too often fails and does not hang."""

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from wire.replies import End, ErrorReply, Reply

_TLS = b"\x16"  # how a handshake begins; this server has no TLS
_NOTHING = ErrorReply(status=500, message="the test queued no reply for this request")


@dataclass(frozen=True)
class WireRequest:
    """One request as it came in; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class WireServer:
    """Answers with queued replies and records the requests."""

    def __init__(self) -> None:
        self.requests: list[WireRequest] = []
        self.base_url = ""
        self.open_connections = 0
        self._replies: deque[Reply] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()

    @property
    def openai_url(self) -> str:
        return f"{self.base_url}/v1"

    def reply(self, *replies: Reply) -> None:
        """Queues replies for the next requests."""
        self._replies.extend(replies)

    async def client_left(self, timeout: float = 5.0) -> None:
        """Waits until a client has closed its connection in the middle of a reply."""
        async with asyncio.timeout(timeout):
            await self._left.wait()

    async def all_closed(self, timeout: float = 5.0) -> None:
        """Waits until no client is connected."""
        async with asyncio.timeout(timeout):
            while self.open_connections:
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Closes the port and every connection. Idempotent; leaving the server's block does it too."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self._replies.popleft() if self._replies else _NOTHING
                if not await self._answer(reply, reader, writer):
                    break
        except ConnectionError:
            self._left.set()
        finally:
            self.open_connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can be used again."""
        if reply.head:
            writer.write(_head(reply))
        for piece in reply.body():
            await asyncio.sleep(reply.pause)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)  # lets the client see the pieces one by one
        match reply.end:
            case End.CLOSED:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                return True
            case End.SILENT:
                await reader.read(1)  # ends only when the client closes
                self._left.set()
            case End.RESET:
                _reset(writer)
            case End.BROKEN:
                pass
        return False


async def _read(reader: asyncio.StreamReader) -> WireRequest | None:
    try:
        begin = await reader.readexactly(1)
        if begin == _TLS:
            return None
        head = begin + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None  # the client closed an idle connection, or left before it had said all
    return WireRequest(method, path, headers, json.loads(body) if body else None)


def _head(reply: Reply) -> bytes:
    headers = {**reply.headers, "transfer-encoding": "chunked"}
    if isinstance(reply, ErrorReply) and reply.retry_after:
        headers["retry-after"] = reply.retry_after
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else "Overloaded"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Makes closing send RST in place of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
