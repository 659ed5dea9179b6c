"""The way out of a box for chosen hosts: a CONNECT proxy that the server keeps.

The box has a network of its own with nothing but loopback. The listener there is made
by the shim and handed to the server, which answers on it from outside: nothing of the
host's network is inside, and there is no other way (security rule 8.2)."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Sequence

from asteros import errors
from asteros.sandbox import netguard

HTTPS = 443
MAX_HEADER = 8 * 1024  # bytes of a CONNECT request
MAX_TUNNELS = 64  # of one box at once
_HEADER_SECONDS = 10.0
_CONNECT_SECONDS = 10.0
_HANDOVER_SECONDS = 10.0
_BLOCK = 64 * 1024


class Refused(Exception):
    """The proxy answers with this status line."""


class Proxy:
    """Tunnels of one box to the hosts its agent may reach."""

    def __init__(self, hosts: Iterable[str], cidrs: Sequence[netguard.Network] = ()) -> None:
        """``hosts``: names or NAME:PORT, port 443 unless said otherwise. ``cidrs``: private
        ranges they may lead to."""
        self._allowed = {_host_and_port(host) for host in hosts}
        self._cidrs = cidrs
        self._ours, self._theirs = socket.socketpair()
        self._task: asyncio.Task[None] | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def channel(self) -> int:
        """The descriptor the shim sends its listener on; valid until ``start``."""
        return self._theirs.fileno()

    def start(self) -> None:
        """Serves as soon as the listener comes; call it when the box has been started."""
        self._theirs.close()
        self._task = asyncio.create_task(self._serve(), name="box proxy")

    async def aclose(self) -> None:
        """Cuts all tunnels. Twice is fine."""
        tasks = [*self._tunnels, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ours.close()
        self._theirs.close()

    async def _serve(self) -> None:
        self._ours.settimeout(_HANDOVER_SECONDS)
        try:
            _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, self._ours, 1, 1)
        except OSError:
            return  # the box did not come up; it says why itself
        if not fds:
            return
        with socket.socket(fileno=fds[0]) as listener:
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            while True:
                connection, _ = await loop.sock_accept(listener)
                if len(self._tunnels) >= MAX_TUNNELS:
                    connection.close()
                    continue
                tunnel = asyncio.create_task(self._tunnel(connection), name="box tunnel")
                self._tunnels.add(tunnel)
                tunnel.add_done_callback(self._tunnels.discard)

    async def _tunnel(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_HEADER)
        try:
            try:
                target = await self._target(reader)
                far_reader, far_writer = await self._connect(*target)
            except Refused as refusal:
                writer.write(f"HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            finally:
                far_writer.close()
        except OSError:
            return  # one end went away: so does the other
        finally:
            writer.close()

    async def _target(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        try:
            async with asyncio.timeout(_HEADER_SECONDS):
                header = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            raise Refused("400 Bad Request") from None
        words = header.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "CONNECT":
            raise Refused("405 Method Not Allowed")
        try:
            target = _host_and_port(words[1])
        except ValueError:
            raise Refused("400 Bad Request") from None
        if target not in self._allowed:
            raise Refused("403 Forbidden")
        return target

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            addresses = await netguard.resolve(host, port, self._cidrs)
        except errors.UrlNotAllowed:
            raise Refused("403 Forbidden") from None
        except OSError:
            raise Refused("502 Bad Gateway") from None
        for address in addresses:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(str(address), port)
        raise Refused("502 Bad Gateway")


def _host_and_port(text: str) -> tuple[str, int]:
    """NAME or NAME:PORT or [IPV6]:PORT, folded. Raises ValueError."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket:
            raise ValueError(text)
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port) if port else HTTPS
    if not host or not 0 < number < 65536:
        raise ValueError(text)
    return host.rstrip(".").casefold(), number


def valid_host(text: str) -> bool:
    """It may stand in allowed_hosts."""
    try:
        _host_and_port(text)
    except ValueError:
        return False
    return len(text) <= 260 and not any(char.isspace() or char in "/@*\0" for char in text)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction until its end, which is passed on."""
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
