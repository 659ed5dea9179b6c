"""A small HTTP server on loopback that says what each test needs, byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

Page = tuple[str, dict[str, str], bytes]  # status line, headers, body


@dataclass
class Site:
    """Pages by path; ``seen`` are the requests that arrived, as text."""

    pages: dict[str, Page | Callable[[str], Page]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    port: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)  # a client has gone while it was held

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
            )
            body = (await reader.readexactly(length)).decode()
            self.seen.append(head + body)
            path = head.split(" ")[1]
            if path == "/held":
                await reader.read()
                self.closed.set()
            page = self.pages.get(path.partition("?")[0], ("404 Not Found", {"Content-Type": "text/plain"}, b"nothing"))
            status, headers, data = page(head + body) if callable(page) else page
            lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(data)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
