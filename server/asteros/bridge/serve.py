"""Serves an ASGI app on ports of this process, in the loop of everything else."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asteros.bridge.liveness import LivelySocket
from asteros.bridge.options import MAX_BODY

KEEP_ALIVE = 60  # seconds that an idle connection may stay
PING = 20.0  # seconds between pings on a WebSocket, and for each answer
HEADER_SECONDS = 10.0  # in which the head of a request must have come
BACKLOG = 2048
MAX_HEAD = 64 * 1024  # bytes of a request before its body; the app refuses less, and says so


class _Server(uvicorn.Server):
    """A server whose signals somebody else takes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Prompt(HttpToolsProtocol):
    """A connection that is closed when the head of a request does not come, comes too slowly, or has no
    end: the parser, which is in C, has limits for neither."""

    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit: asyncio.TimerHandle | None = None
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._count(len(data))
        if self._waits():
            self._expect()
        elif self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD:
            self._in_head = False
            self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what follows a body is no header, and nobody counts it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def _waits(self) -> bool:
        """The head of a request is under way: none is being answered, and no WebSocket took over."""
        idle = self.cycle is None or self.cycle.response_complete
        return bool(idle and not self.transport.is_closing() and self.transport.get_protocol() is self)

    def _expect(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(HEADER_SECONDS, self._late)

    def _late(self) -> None:
        self._limit = None
        if self._waits():
            self.transport.close()


class Port:
    """One listening port."""

    def __init__(self, app: Any, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """
        :raises OSError: the port is in use, or the address is not this machine's."""
        self._socket = _listening(host, port)
        self.number: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # a query may hold a key
            lifespan="off",
            http=_Prompt,
            ws=LivelySocket,
            ws_max_size=MAX_BODY,
            ws_ping_interval=PING,
            ws_ping_timeout=PING,
            timeout_keep_alive=KEEP_ALIVE,
            proxy_headers=False,
            server_header=False,
            ssl_context_factory=(lambda _config, _default: tls()) if tls else None,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to serve; needs a running loop."""
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        self._task = asyncio.create_task(self._server.serve([self._socket]), name=f"aster-http-{self.number}")

    def close(self) -> None:
        """Stops listening; for a port that never started to serve too."""
        self._socket.close()

    async def stop(self, seconds: float) -> None:
        """No new connections; open ones have ``seconds`` to end, then they are cut."""
        if self._task is None:
            return
        self._server.should_exit = True
        done, _ = await asyncio.wait((self._task,), timeout=seconds)
        if not done:
            self._server.force_exit = True
            for connection in list(self._server.server_state.connections):
                transport = connection.transport
                if transport is not None:
                    transport.abort()
            await asyncio.wait((self._task,))


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio switches off Nagle's delay for what it accepts.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
