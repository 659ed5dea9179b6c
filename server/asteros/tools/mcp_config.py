"""Which MCP servers there are: the operator's JSON file in the form that MCP clients share.

    {"mcpServers": {"files": {"command": "mcp-files", "args": ["/srv"], "env": {"TOKEN": "${FILES_TOKEN}"}},
                    "search": {"url": "https://mcp.example.com/mcp", "headers": {"Authorization": "Bearer ${KEY}"}}}}

Ours besides: "timeout" (seconds of a call, 60), "read_only" (names of tools that change
nothing; ["*"]: all) and "disabled". ``${NAME}`` is a variable of the server's environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asteros.errors import ConfigError

MAX_SERVERS = 50
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MEMBERS = {"type", "command", "args", "env", "cwd", "url", "headers", "timeout", "read_only", "disabled"}
_HTTP = ("http", "streamable-http", "streamable_http")


@dataclass(frozen=True, slots=True)
class McpServer:
    """One server: ``command`` for stdio, else ``url`` for streamable HTTP."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None  # besides HOME, PATH and their like; nothing else is inherited
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] | None = None
    timeout: float = 60.0  # seconds of one call
    read_only: frozenset[str] = frozenset()

    def reads(self, tool: str) -> bool:
        """The operator says that a tool changes nothing."""
        return tool in self.read_only or "*" in self.read_only


def parse(text: str, environ: Mapping[str, str]) -> tuple[McpServer, ...]:
    """The servers of a file. Raises ConfigError, which names the server and the member."""
    try:
        document = json.loads(text)
        servers = document["mcpServers"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError('--mcp-config: not a JSON file of the form {"mcpServers": {…}}') from None
    if not isinstance(servers, dict) or len(servers) > MAX_SERVERS:
        raise ConfigError(f"--mcp-config: mcpServers is not an object of at most {MAX_SERVERS} servers")
    return tuple(
        _server(name, entry, environ)
        for name, entry in servers.items()
        if not (isinstance(entry, dict) and entry.get("disabled") is True)
    )


def _server(name: str, entry: Any, environ: Mapping[str, str]) -> McpServer:
    where = f"--mcp-config: {name!r}"
    if not _NAME.fullmatch(name) or "__" in name:
        raise ConfigError(f"{where}: a name has 1 to 32 letters, digits, - and single _")
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is not an object")
    if unknown := sorted(set(entry) - _MEMBERS):
        raise ConfigError(f"{where}: {unknown[0]!r} is not known")
    if ("command" in entry) == ("url" in entry) or entry.get("type", "") == "sse":
        raise ConfigError(f"{where}: needs either command (stdio) or url (streamable HTTP)")
    if entry.get("type", "stdio" if "command" in entry else "http") not in ("stdio", *_HTTP):
        raise ConfigError(f"{where}: type is not stdio or http")
    timeout = entry.get("timeout", 60.0)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 600:
        raise ConfigError(f"{where}: timeout is not a number of seconds up to 600")
    return McpServer(
        name=name,
        command=_text(entry.get("command", ""), f"{where}: command", environ),
        args=tuple(_text(each, f"{where}: args", environ) for each in _list(entry, "args", where)),
        env=_texts(entry, "env", where, environ),
        cwd=_text(entry.get("cwd", ""), f"{where}: cwd", environ),
        url=_text(entry.get("url", ""), f"{where}: url", environ),
        headers=_texts(entry, "headers", where, environ),
        timeout=float(timeout),
        read_only=frozenset(_text(each, f"{where}: read_only", environ) for each in _list(entry, "read_only", where)),
    )


def _text(value: Any, where: str, environ: Mapping[str, str]) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{where} is not a text")
    for variable in _VARIABLE.findall(value):
        if variable not in environ:
            raise ConfigError(f"{where}: the variable {variable} is not set")
    return _VARIABLE.sub(lambda found: environ[found[1]], value)


def _texts(entry: dict[str, Any], member: str, where: str, environ: Mapping[str, str]) -> dict[str, str]:
    value = entry.get(member, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {member} is not an object of texts")
    return {name: _text(each, f"{where}: {member}.{name}", environ) for name, each in value.items()}


def _list(entry: dict[str, Any], member: str, where: str) -> list[Any]:
    value = entry.get(member, [])
    if not isinstance(value, list):
        raise ConfigError(f"{where}: {member} is not a list")
    return value
