"""Connections to MCP servers, and the only file that imports ``mcp``.

Each server has a task that connects, offers its tools, looks every so often whether it
is still there, and connects again with growing pauses. Starting waits for none of it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from asteros import clock
from asteros.sandbox.outbound import ANYWHERE
from asteros.tools import mcp_answers
from asteros.tools.base import JsonObject
from asteros.tools.mcp_config import McpServer

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Resource, Tool

_log = logging.getLogger(__name__)
HANDSHAKE_SECONDS = 30.0
REFRESH_SECONDS = 30.0  # between two looks whether a server is there and what it has
WAIT_SECONDS = 5.0  # that a call waits for a connection in progress
LAST_PAUSE = 60.0  # seconds between two tries to connect, at most
MAX_ITEMS = 1000  # tools, or resources, of one server
MAX_PAGES = 50

LOST = "the connection to the MCP server {} was lost; nobody knows whether the call took effect"
Offer = Callable[[McpServer, "Sequence[Tool]"], None]


class Progress(Protocol):
    """Gets how far a call is, as the server counts."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class Unanswered(Exception):
    """An MCP server gave no result; ``sentence`` is for the model."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Connection:
    """One MCP server, connected as long as it can be. Several calls at once are fine."""

    def __init__(self, server: McpServer, offer: Offer) -> None:
        self.server = server
        self._offer = offer
        self._client: Client | None = None
        self._ready = asyncio.Event()
        self._look = asyncio.Event()  # something may have changed: do not wait for the next look

    async def keep(self) -> None:
        """Connects and stays connected until it is cancelled; then ends the server's process."""
        pause = 1.0
        while True:
            began = clock.monotonic()
            try:
                await self._connected()
            except Exception as error:  # of the SDK, of anyio, of the system: all mean the same here
                _log.warning("MCP server %s: %s", self.server.name, _cause(error))
            finally:
                self._client = None
                self._ready.clear()
            if clock.monotonic() - began > LAST_PAUSE:
                pause = 1.0
            await clock.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads load, guards nothing
            pause = min(pause * 2, LAST_PAUSE)

    async def _connected(self) -> None:
        """From the handshake to the loss of the connection, which raises."""
        await asyncio.to_thread(_load)
        from mcp import Client

        async with contextlib.AsyncExitStack() as stack:
            transport = await self._transport(stack)
            client = Client(transport, read_timeout_seconds=HANDSHAKE_SECONDS, message_handler=self._told, cache=None)
            await stack.enter_async_context(client)
            offered: list[Tool] | None = None
            while True:
                self._look.clear()
                tools = await _tools(client)
                if tools != offered:
                    self._offer(self.server, tools)
                    offered = tools
                if self._client is None:
                    _log.info("MCP server %s is connected", self.server.name)
                self._client = client
                self._ready.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_SECONDS):
                        await self._look.wait()

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        server = self.server
        if server.url:
            from mcp.client.streamable_http import streamable_http_client

            from asteros.sandbox.http import client

            http = client(ANYWHERE, server.headers or {}, max(server.timeout, HANDSHAKE_SECONDS), keep=10)
            await stack.enter_async_context(http)
            return streamable_http_client(server.url, http_client=http)
        from mcp import StdioServerParameters, stdio_client

        parameters = StdioServerParameters(
            command=server.command, args=list(server.args), env=dict(server.env or {}), cwd=server.cwd or None
        )
        # What it says on stderr may hold anything; our log has other readers.
        return stdio_client(parameters, errlog=cast(Any, asyncio.subprocess.DEVNULL))

    async def _told(self, message: Any) -> None:
        """The server says something by itself, for example that its tools have changed."""
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._look.set()

    # -- calls ------------------------------------------------------------------------

    async def call(self, tool: str, args: JsonObject, progress: Progress) -> JsonObject:
        """Calls a tool once, never again by itself: nobody knows what a lost call has done.

        Cancelled: the server is told so. Raises Unanswered."""
        seconds = self.server.timeout
        return mcp_answers.of_call(
            await self._asked(lambda client: client.call_tool(tool, args, seconds, progress), effects=True)
        )

    async def resources(self) -> list[JsonObject]:
        """At most MAX_ITEMS. Raises Unanswered."""
        return mcp_answers.of_resources(self.server.name, await self._asked(_resources))

    async def read(self, uri: str) -> JsonObject:
        """One resource. Raises Unanswered."""
        return mcp_answers.of_resource(await self._asked(lambda client: client.read_resource(uri)))

    async def _asked(self, ask: "Callable[[Client], Awaitable[Any]]", *, effects: bool = False) -> Any:
        client = await self._get()
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        name = self.server.name
        try:
            return await ask(client)
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                raise Unanswered(f"the MCP server {name} did not answer in time") from None
            if error.code != CONNECTION_CLOSED:
                raise Unanswered(f"the MCP server {name} answered: {mcp_answers.clean(error.message)[:500]}") from None
            failure: Exception = error
        except Exception as error:  # a broken stream, or an answer that is not what the protocol says
            failure = error
        if self._client is client:  # whoever calls next waits until somebody has looked
            self._client = None
            self._ready.clear()
        self._look.set()
        _log.warning("MCP server %s: %s", name, _cause(failure))
        raise Unanswered(LOST.format(name) if effects else f"the MCP server {name} cannot be reached")

    async def _get(self) -> "Client":
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise Unanswered(f"the MCP server {self.server.name} is not connected") from None
        assert self._client is not None
        return self._client


class McpServers:
    """All MCP servers of the operator's file."""

    def __init__(self, servers: Sequence[McpServer] = ()) -> None:
        self.servers = tuple(servers)
        self.connections: Mapping[str, Connection] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, offer: Offer) -> None:
        """Begins to connect; ``offer`` gets the tools of a server whenever it was looked at."""
        self.connections = {server.name: Connection(server, offer) for server in self.servers}
        self._tasks = [
            asyncio.create_task(connection.keep(), name=f"mcp {name}") for name, connection in self.connections.items()
        ]

    async def aclose(self) -> None:
        """Ends the connections and the processes behind them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _load() -> None:
    """Imports the SDK, which takes about a second: run it in a thread."""
    import mcp
    import mcp.client.streamable_http  # noqa: F401


async def _tools(client: "Client") -> "list[Tool]":
    """The tools of a server, which also shows that it is there."""
    found: list[Tool] = []
    capabilities = client.server_capabilities
    if capabilities.tools is None:  # it would not know the question
        await (client.list_resources() if capabilities.resources else client.send_ping())
        return found
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or len(found) >= MAX_ITEMS:
            break
    return found[:MAX_ITEMS]


async def _resources(client: "Client") -> "list[Resource]":
    found: list[Resource] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_resources(cursor=cursor)
        found += page.resources
        cursor = page.next_cursor
        if cursor is None or len(found) >= MAX_ITEMS:
            break
    return found[:MAX_ITEMS]


def _cause(error: BaseException) -> str:
    """What went wrong, by its kind: the text of an exception may hold a key."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    strerror = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {strerror}" if strerror else type(error).__name__
