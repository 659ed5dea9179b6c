"""The tools of one server as its operator has set them up: built in, of entry points, of MCP servers.

A package adds tools by the entry point group ``asteros.tools``: each entry names a tool, a
sequence of tools, or a function without parameters that returns either. A search backend is
an entry of ``asteros.search``: a function without parameters that returns it."""

import contextlib
from collections.abc import Sequence
from importlib import metadata, util
from typing import Any

from asteros.errors import RefusedToStart
from asteros.sandbox.netguard import Network
from asteros.sandbox.outbound import Outbound
from asteros.tools.base import Files, Tool
from asteros.tools.mcp import McpServers
from asteros.tools.mcp_config import McpServer
from asteros.tools.mcp_tools import source, tools_of
from asteros.tools.registry import Kit, ToolRegistry
from asteros.tools.search import SearchBackend, Searxng
from asteros.tools.skill import Skill

TOOLS, SEARCH = "asteros.tools", "asteros.search"


class Installed:
    """The registry and what stands behind it; ``aclose`` ends that."""

    def __init__(self, registry: ToolRegistry, servers: McpServers, stack: contextlib.AsyncExitStack) -> None:
        self.registry = registry
        self._servers = servers
        self._stack = stack

    @classmethod
    async def of(
        cls,
        *,
        networks: Sequence[Network] = (),
        search: str = "",
        skills: Files | None = None,
        servers: Sequence[McpServer] = (),
        registry: ToolRegistry | None = None,
    ) -> "Installed":
        """``networks``: where WebFetch may go besides the public web. ``search``: address of a
        SearXNG server, or name of an entry point. ``registry``: instead of what is built in
        and of entry points.

        Connects to the MCP servers later. Raises RefusedToStart for what cannot be used."""
        if servers and util.find_spec("mcp") is None:
            raise RefusedToStart("--mcp-config needs the extra mcp: pip install 'asteros[mcp]'")
        stack = contextlib.AsyncExitStack()
        connections = McpServers(servers)
        if registry is None:
            outbound = Outbound(networks)
            stack.push_async_callback(outbound.aclose)
            kit = Kit(outbound, _backend(search, stack), await Skill.of(skills) if skills else None, connections)
            registry = _with_entry_points(ToolRegistry.builtin(kit))
        for server in servers:
            registry.offer(source(server.name), ())
        return cls(registry, connections, stack)

    def start(self) -> None:
        """Begins to connect to the MCP servers; waits for none."""

        def offer(server: McpServer, tools: Sequence[Any]) -> None:
            made = tools_of(self._servers.connections[server.name], tools)
            self.registry.offer(source(server.name), made)

        self._servers.start(offer)

    async def aclose(self) -> None:
        await self._servers.aclose()
        await self._stack.aclose()


def _backend(search: str, stack: contextlib.AsyncExitStack) -> SearchBackend | None:
    if search.startswith(("http://", "https://")):
        backend = Searxng(search)
        stack.push_async_callback(backend.aclose)
        return backend
    if not search:
        return None
    found = list(metadata.entry_points(group=SEARCH, name=search))
    if not found:
        raise RefusedToStart(f"--search-backend {search}: neither an address nor an entry point of {SEARCH}")
    made: SearchBackend = _loaded(found[0])()
    return made


def _with_entry_points(registry: ToolRegistry) -> ToolRegistry:
    for entry in metadata.entry_points(group=TOOLS):
        value = _loaded(entry)
        if callable(value) and not hasattr(value, "info"):
            value = value()
        tools: Sequence[Tool] = (value,) if hasattr(value, "info") else tuple(value)
        try:
            registry = registry.with_tools(*tools)
        except (ValueError, AttributeError) as error:
            raise RefusedToStart(f"the entry point {entry.name} of {TOOLS} cannot be used: {error}") from None
    return registry


def _loaded(entry: metadata.EntryPoint) -> Any:
    """A package that is broken stops the start: an agent without its tools would be worse."""
    try:
        return entry.load()
    except Exception as error:
        raise RefusedToStart(f"the entry point {entry.name} of {entry.group} cannot be loaded: {error}") from error
