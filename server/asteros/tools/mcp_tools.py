"""Tools of MCP servers as tools of ours, and the two that look at resources."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from asteros.tools.base import JsonObject, RerunPolicy, ToolContext, ToolInfo
from asteros.tools.mcp import Connection, McpServers, Unanswered
from asteros.tools.mcp_answers import clean
from asteros.tools.mcp_config import McpServer

_log = logging.getLogger(__name__)
MAX_NAME = 64  # characters: what every model provider takes
MAX_DESCRIPTION = 4000  # characters
MAX_SCHEMA = 64 * 1024  # bytes of JSON


def source(server: str) -> str:
    """What the names of a server's tools begin with, and their group."""
    return f"mcp__{server}"


class McpTool:
    """One tool of an MCP server: {"ok", "text", "content", "structured", "truncated"}."""

    def __init__(self, info: ToolInfo, remote_name: str, connection: Connection) -> None:
        self.info = info
        self._remote_name = remote_name
        self._connection = connection

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            context.progress(clean(message or ""), progress / total if total else None)

        try:
            return await self._connection.call(self._remote_name, args, report)
        except Unanswered as refused:
            return {"ok": False, "error": refused.sentence}


def tools_of(connection: Connection, tools: Iterable[Any]) -> list[McpTool]:
    """The tools of a server that can be used; the others are left out with a line in the log."""
    made: dict[str, McpTool] = {}
    for tool in tools:
        info = _info(connection.server, tool)
        if info is None or info.name.casefold() in made:
            _log.warning("MCP server %s: a tool is left out: %s", connection.server.name, clean(tool.name)[:100])
            continue
        made[info.name.casefold()] = McpTool(info, tool.name, connection)
    return list(made.values())


def _info(server: McpServer, tool: Any) -> ToolInfo | None:
    schema = tool.input_schema
    try:
        size = len(json.dumps(schema, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(schema, dict) or size > MAX_SCHEMA:
        return None
    reads = server.reads(tool.name)
    return ToolInfo(
        name=_name(server.name, tool.name),
        description=clean(tool.description or "")[:MAX_DESCRIPTION],
        input_schema={"type": "object", **schema},
        read_only=reads,  # the operator's word; the server's own hints are not trusted
        rerun=RerunPolicy.SAFE if reads else RerunPolicy.NEVER,
        timeout=server.timeout,
        groups=("mcp", source(server.name)),
        origin=f"mcp:{server.name}",
    )


def _name(server: str, tool: str) -> str:
    """mcp__SERVER__TOOL in the letters and the length that providers take."""
    name = f"{source(server)}__{re.sub(r'[^A-Za-z0-9_-]', '_', tool)}"
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"


class ListMcpResources:
    """{"ok", "resources": [{"server", "uri", "name", "mime_type", "description"}], "failed": [servers]}."""

    info = ToolInfo(
        name="ListMcpResources",
        description="Lists the resources of the MCP servers of this installation; ReadMcpResource reads one.",
        input_schema={
            "type": "object",
            "properties": {"server": {"type": "string", "minLength": 1, "description": "Only of this server."}},
            "additionalProperties": False,
        },
        rerun=RerunPolicy.SAFE,
        groups=("mcp",),
        main_argument="server",
    )

    def __init__(self, servers: McpServers) -> None:
        self._servers = servers

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """A server that does not answer is named in ``failed``; asked for alone it is an error."""
        wanted: str | None = args.get("server")
        if wanted is not None and wanted not in self._servers.connections:
            return _unknown(wanted, self._servers)
        found: list[JsonObject] = []
        failed: list[str] = []
        for name, connection in self._servers.connections.items():
            if wanted not in (None, name):
                continue
            try:
                found += await connection.resources()
            except Unanswered as refused:
                if wanted is not None:
                    return {"ok": False, "error": refused.sentence, "server": name}
                failed.append(name)
        return {"ok": True, "resources": found, "failed": failed}


class ReadMcpResource:
    """{"ok", "contents": [{"uri", "mime_type", "text" or "bytes"}], "truncated"}."""

    info = ToolInfo(
        name="ReadMcpResource",
        description="Reads a resource of an MCP server.",
        input_schema={
            "type": "object",
            "properties": {
                "server": {"type": "string", "minLength": 1},
                "uri": {"type": "string", "minLength": 1, "maxLength": 8000},
            },
            "required": ["server", "uri"],
            "additionalProperties": False,
        },
        rerun=RerunPolicy.SAFE,
        groups=("mcp",),
        main_argument="uri",
    )

    def __init__(self, servers: McpServers) -> None:
        self._servers = servers

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """Of a resource that is not text only the size is told."""
        connection = self._servers.connections.get(args["server"])
        if connection is None:
            return _unknown(args["server"], self._servers)
        try:
            return await connection.read(args["uri"])
        except Unanswered as refused:
            return {"ok": False, "error": refused.sentence, "server": args["server"]}


def _unknown(name: str, servers: McpServers) -> JsonObject:
    return {"ok": False, "error": "there is no such MCP server", "server": name, "servers": list(servers.connections)}
