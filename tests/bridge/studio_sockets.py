"""A server with the Studio socket in front, and clients that know nothing of our packages."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import websockets
from services.helpers import LIMIT, Server, serving

from aster.v1 import studio_service_pb2
from asteros.bridge.app import Bridge
from asteros.bridge.bindings import Service
from asteros.bridge.options import Options
from asteros.bridge.serve import Port
from asteros.bridge.studio import PATH, Studio
from asteros.events import filters

STUDIO = studio_service_pb2.DESCRIPTOR.services_by_name["StudioService"]


class Wire:
    """One socket, spoken to in raw text."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def send(self, frame: Any) -> None:
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def raw(self) -> str:
        async with asyncio.timeout(LIMIT):
            text = await self.socket.recv()
        assert isinstance(text, str)
        return text

    async def read(self) -> dict[str, Any]:
        found = json.loads(await self.raw())
        assert isinstance(found, dict)
        return found

    async def answers(self) -> list[dict[str, Any]]:
        """All that is said before the answer to a ping."""
        await self.socket.send('{"type":"ping"}')
        found = []
        while (frame := await self.read())["type"] != "pong":
            found.append(frame)
        return found

    async def told(self, frame: Any) -> list[dict[str, Any]]:
        """What is answered to one frame."""
        await self.send(frame)
        return await self.answers()

    async def refused(self, frame: Any) -> tuple[str, str]:
        """Code and text of the one error that is answered."""
        (answer,) = await self.told(frame)
        assert answer["type"] == "error", answer
        return answer["payload"]["code"], answer["payload"]["message"]

    async def closed(self) -> int:
        """The code with which the server ends the socket."""
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        code = self.socket.close_code
        assert code is not None
        return code


class Front:
    """A server and the address of its socket."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.url = f"ws://127.0.0.1:{port}{PATH}"

    @contextlib.asynccontextmanager
    async def dial(self, query: str = "?greeting=0", **options: Any) -> AsyncIterator[Wire]:
        async with websockets.connect(self.url + query, **options) as socket:
            yield Wire(socket)


@contextlib.asynccontextmanager
async def fronted(folder: Path, *, auth: bool = False, **more: Any) -> AsyncIterator[Front]:
    """A server with its own data, and a bridge for Studio alone on a free port."""
    async with serving(folder, **more) as server:
        options = Options(auth=auth, error_domain="aster")
        studio = Studio(server.channel, STUDIO, options, filters.canonical)
        port = Port(Bridge(server.channel, [Service(STUDIO, "aster")], options, studio.routes), "127.0.0.1", 0)
        port.start()
        try:
            yield Front(server, port.number)
        finally:
            await port.stop(0.2)
