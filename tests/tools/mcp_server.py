"""A real MCP server for tests, made with the SDK: over stdio, or over HTTP with --http.

Over HTTP it writes its port to the file named behind --http. ``--token`` demands a header."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ImageContent

server = MCPServer("testing")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool(name="say.it")
def say(text: str, times: int = 1) -> str:
    """Says something, often."""
    return text * times


@server.tool()
def fails() -> str:
    """Is broken."""
    raise ValueError("no luck")


@server.tool()
def picture() -> ImageContent:
    """Shows a picture."""
    return ImageContent(type="image", data="AAAA", mime_type="image/png")


@server.tool()
def variable(name: str) -> str:
    """Tells a variable of its environment."""
    return os.environ.get(name, "unset")


@server.tool()
def dies() -> str:
    """Ends the server at once."""
    os._exit(3)


@server.tool()
async def waits(started: str, ended: str, context: Context) -> str:
    """Waits for ever; leaves marks where it began and where it was cancelled."""
    await context.report_progress(1, 4, "a quarter")
    Path(started).touch()
    try:
        await asyncio.Event().wait()
    finally:
        Path(ended).touch()
    return ""


@server.resource("notes://today")
def today() -> str:
    """What is on today."""
    return "nothing"


@server.resource("notes://blob", mime_type="application/octet-stream")
def blob() -> bytes:
    """Bytes."""
    return b"12345"


class Guarded:
    """Demands a header of every request."""

    def __init__(self, app: object, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-token", b"").decode() != self.token:
            await send({"type": "http.response.start", "status": 401, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]
            return
        await self.app(scope, receive, send)  # type: ignore[operator]


def main() -> None:
    if "--http" not in sys.argv:
        server.run(transport="stdio")
        return
    listening = socket.create_server(("127.0.0.1", 0))
    token = sys.argv[sys.argv.index("--token") + 1]
    app = Guarded(server.streamable_http_app(), token)
    place = Path(sys.argv[sys.argv.index("--http") + 1])
    aside = place.with_suffix(".tmp")
    aside.write_text(str(listening.getsockname()[1]))
    aside.rename(place)
    config = uvicorn.Config(app, log_level="error", lifespan="on")  # type: ignore[arg-type]
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
