"""The bridge as one ASGI app: what every request passes, the fixed routes, and the transcoder behind them."""

from collections.abc import Mapping, Sequence

import grpc
from grpc_health.v1 import health_pb2
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from asteros.bridge.bindings import Service, Style, Table
from asteros.bridge.docs import Description
from asteros.bridge.options import Options
from asteros.bridge.paths import ConnectRoute
from asteros.bridge.refusal import Refusal
from asteros.bridge.streams import Drain
from asteros.bridge.transcode import Gate, Receive, Scope, Send, Transcoder, Upstream, answer, answer_status
from asteros.bridge.websocket import Sockets, denying

MAX_HEADERS = 16 * 1024  # bytes of all headers and the path
_ALLOWED = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Content-Type, Authorization, X-API-Key, Last-Event-ID, "
        b"Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent",
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = (b"access-control-expose-headers", b"grpc-status, grpc-message, grpc-status-details-bin, retry-after")
_HEALTH = "/grpc.health.v1.Health/Check"


class Bridge:
    """HTTP for a channel. An ASGI app; ``drain`` ends its streams.

    ``routes``: what else this server answers, before the transcoder. They pass the same checks
    of Host and the same CORS, and look after credentials themselves (``gate``)."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        services: Sequence[Service],
        options: Options | None = None,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        """
        :raises BindingError: an annotation does not fit its method."""
        self.options = options or Options()
        self.table = Table(services, self.options.prefix)
        self.drain = Drain()
        self.upstream = Upstream(channel)
        self.gate = Gate(self.upstream, self.options)
        self._style: Style = services[0].style if services else "gateway"
        transcoder = Transcoder(self.table, self.gate, self.drain)
        sockets = Sockets(self.table, self.gate, self.drain)
        described = Description(self.table, self.options).routes()
        connect = [ConnectRoute(services, self.gate, self.drain)] if self.options.connect else []
        health = [Route("/health", self._health)] if self.options.health else []
        self._inner = Starlette(routes=[*health, *described, *routes, *connect])
        # Whatever else: a route would leave out paths with an encoded line feed.
        self._inner.router.default = _Either(transcoder, sockets)
        self._inner.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    # -- what every request passes -----------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = self._checked(scope)
        except Refusal as refusal:
            await self._refuse(send, refusal)
            return
        origin, host = headers.get(b"origin"), headers.get(b"host", b"").decode("latin-1")
        shared = self.gate.origins.shared(origin.decode("latin-1") if origin else None, scope["scheme"], host)
        if scope["method"] == "OPTIONS":
            await answer(send, 204, b"", [*_cors(shared), *(_ALLOWED if shared else ())])
            return
        await self._inner(scope, receive, _with_cors(send, shared) if origin else send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._checked(scope)
        except Refusal as refusal:
            await receive()  # the wish to connect
            await self._refuse(denying(send), refusal)
            return
        await self._inner(scope, receive, send)

    def _checked(self, scope: Scope) -> Mapping[bytes, bytes]:
        """Headers by name.

        :raises Refusal: too large, or for another host."""
        headers = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        if size + sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
            raise Refusal(8, "", f"the headers are larger than {MAX_HEADERS} bytes", http=431)
        found = dict(headers)
        self.gate.origins.check_host(found.get(b"host", b"").decode("latin-1"))
        return found

    async def _refuse(self, send: Send, refusal: Refusal) -> None:
        domain = self.options.error_domain if self._style == "aster" else ""
        await answer_status(send, refusal.status(domain), self._style, refusal.http, refusal.headers)

    # -- health ------------------------------------------------------------------------

    async def _health(self, request: StarletteRequest) -> Response:  # noqa: ARG002 - nobody asks who wants to know
        healthy = not self.drain.begun and await self._serving()
        state = "healthy" if healthy else "unhealthy"
        return JSONResponse({"status": state, "name": self.options.name}, 200 if healthy else 503)

    async def _serving(self) -> bool:
        try:
            raw = await self.upstream.call(_HEALTH, b"", (), stream=False, timeout=5)
        except grpc.aio.AioRpcError:
            return False
        return bool(health_pb2.HealthCheckResponse.FromString(raw).status == health_pb2.HealthCheckResponse.SERVING)


class _Either:
    """One path space for HTTP and WebSockets."""

    def __init__(self, http: Transcoder, websocket: Sockets) -> None:
        self._http, self._websocket = http, websocket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._http if scope["type"] == "http" else self._websocket)(scope, receive, send)


def _cors(shared: str) -> list[tuple[bytes, bytes]]:
    vary = [] if shared == "*" else [(b"vary", b"Origin")]
    return [(b"access-control-allow-origin", shared.encode("latin-1")), *vary] if shared else vary


def _with_cors(send: Send, shared: str) -> Send:
    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_cors(shared), *((_EXPOSED,) if shared else ())]
        await send(message)

    return sending
