"""The paths that RPCs have by their own names, and the route to who serves them."""

import asyncio
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from starlette.routing import BaseRoute, Match

from asteros.bridge.bindings import Service, Style
from asteros.bridge.streams import Drain
from asteros.bridge.transcode import Gate, Receive, Scope, Send

DRIVER = "connectrpc"


def available() -> bool:
    """The extra [connect] is installed."""
    return importlib.util.find_spec(DRIVER) is not None


def paths_of(services: Sequence[Service]) -> Mapping[str, tuple[MethodDescriptor, Style]]:
    """``/package.Service/Method`` of every method whose request is one message."""
    return {
        f"/{service.descriptor.full_name}/{method.name}": (method, service.style)
        for service in services
        for method in service.descriptor.methods
        if not method.client_streaming
    }


class ConnectRoute(BaseRoute):
    """Leads to Connect and gRPC-Web. Their library is imported with the first request, not at
    the start, of which it would be a fifth."""

    def __init__(self, services: Sequence[Service], gate: Gate, drain: Drain) -> None:
        self._made_of = (services, gate, drain)
        self._paths = frozenset(paths_of(services))
        self._app: Any = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["type"] == "http" and scope["path"] in self._paths else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            module = await asyncio.to_thread(importlib.import_module, "asteros.bridge.connect")
            self._app = self._app or module.Connect(*self._made_of)
        await self._app(scope, receive, send)
