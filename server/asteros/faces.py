"""Every face but gRPC: what the bridge is told about this server, and the ports it listens on.

The bridge knows no contract; all that is particular to ``aster.v1`` over HTTP is said here,
as data. It speaks to the gRPC server as any client does: small calls stay in this process
(``services/local.py``), the rest goes over a socket of our own."""

import os
import secrets
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aster.v1 import studio_service_pb2
from asteros import errors
from asteros.bridge import options as bridge_options
from asteros.bridge import paths
from asteros.bridge.app import Bridge
from asteros.bridge.bindings import Service
from asteros.bridge.comments import Comments, comments_of
from asteros.bridge.dashboard import Dashboard
from asteros.bridge.login import Login, Refused
from asteros.bridge.refusal import Refusal
from asteros.bridge.serve import Port
from asteros.bridge.static import hosted
from asteros.bridge.studio import Studio
from asteros.bridge.transcode import Gate, Request, Upstream
from asteros.config import Options
from asteros.events import filters
from asteros.services import tls
from asteros.services.credentials import BRIDGE_TOKEN, CLIENT_ADDRESS, Credentials
from asteros.services.interceptors.validate import UNREADABLE
from asteros.services.server import MAX_SEND, GrpcServer, services

COOKIE = "aster_key"
_CONSOLE = Path(__file__).parent / "console"  # its built assets, where they are installed
_MAX_SOCKET_PATH = 107  # bytes; Linux takes no longer ones
_WHOAMI = "/aster.v1.AccessService/GetCaller"
_SUBSCRIBE = "/aster.v1.EventService/Subscribe"
_STUDIO = studio_service_pb2.DESCRIPTOR.services_by_name["StudioService"]
_SOCKETS = {"/api/events/ws": _SUBSCRIBE, "/api/agents/{agent_id}/ws": _SUBSCRIBE}
# Members of bodies as old clients send them: what they are called here, None for no effect.
_COMPATIBILITY: dict[str, dict[str, str | None]] = {
    "/aster.v1.AgentService/CreateAgent": {"id": "agentId", "ID": "agentId", "AgentID": "agentId"},
    "/aster.v1.AgentService/Chat": {"stream": None, "context": None},
    "/aster.v1.StarsService/RunStar": {"task": "message", "context": None},
    "/aster.v1.WorkflowService/ExecuteWorkflow": {"context": None},
}
# Reasons that end a WebSocket; after any other the client may ask again on the same socket.
_CLOSE_CODES = {
    "MALFORMED_MESSAGE": 1007, "MALFORMED_JSON": 1007, "UNSUPPORTED_MEDIA_TYPE": 1003, "INVALID_ID": 1008,
    "MESSAGE_TOO_LARGE": 1009, "SCOPE_REQUIRED": 1008, "INVALID_CREDENTIALS": 1008, "SUBSCRIBER_TOO_SLOW": 1013,
    "RATE_LIMITED": 1013, "QUOTA_EXCEEDED": 1013, "AGENT_LIMIT_REACHED": 1013, "STORAGE_FULL": 1013,
    "DRAINING": 1012, "STORE_UNAVAILABLE": 1012,
}  # fmt: skip


def _frame(frame: Message) -> tuple[str, str]:
    """Id and name of an EventFrame: its cursor, and the type of its event or what else it is."""
    kind = frame.WhichOneof("frame") or ""
    event: Any = frame
    return event.cursor, event.event.event_type if kind == "event" else kind


# What any bridge in front of an Aster server is told.
CONTRACT: Mapping[str, Any] = {
    "hooks": {"aster.v1.EventFrame": _frame},
    "compatibility": _COMPATIBILITY,
    "sockets": _SOCKETS,
    "close_codes": _CLOSE_CODES,
}


class Faces:
    """HTTP and Studio: one app on two ports. ``listen`` before the gRPC server starts, ``start`` after."""

    def __init__(self, options: Options, credentials: Credentials, metrics: CollectorRegistry) -> None:
        self._options = options
        self._credentials = credentials
        self._metrics = metrics
        self._socket: Path | None = None
        self._ports: list[Port] = []
        self._token = secrets.token_hex(32)
        self.http_port = self.studio_port = 0

    @staticmethod
    def wanted(options: Options) -> bool:
        """Some port is."""
        return options.http_port >= 0 or options.studio_port >= 0

    def listen(self, house: GrpcServer) -> None:
        """Gives the gRPC server an address that only we use.

        :raises RefusedToStart: a port is in use."""
        self._credentials.bridge_token = self._token
        path = self._options.data_dir.absolute() / "grpc.sock"
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
            before = os.umask(0o177)
            try:
                house.server.add_insecure_port(f"unix:{path}")
            finally:
                os.umask(before)
            self._socket, self._address = path, f"unix:{path}"
        else:
            self._address = f"127.0.0.1:{house.server.add_insecure_port('127.0.0.1:0')}"
        self._bridge = self._build(house)
        self.http_port = self._port(self._options.http_port, "--http-port")
        self.studio_port = self._port(self._options.studio_port, "--studio-port")

    def _build(self, house: GrpcServer) -> Bridge:
        outside = grpc.aio.insecure_channel(
            self._address,
            options=(
                ("grpc.max_receive_message_length", MAX_SEND),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
            ),
        )
        self._channel = house.local(outside)
        offered = [Service(service, "aster") for service in services()]
        options = self._bridge_options()
        gate = Gate(Upstream(self._channel), options)
        routes: list[BaseRoute] = [
            *([Route("/metrics", self._show_metrics)] if self._options.enable_metrics else []),
            *Dashboard(gate, services()).routes(),
            *Studio(self._channel, _STUDIO, options, filters.canonical).routes,
            *Login(gate).routes("/studio"),
            *hosted("/studio", _CONSOLE),
        ]
        return Bridge(self._channel, offered, options, routes)

    def _bridge_options(self) -> bridge_options.Options:
        options = self._options
        return bridge_options.Options(
            name=options.name,
            prefix=options.api_prefix,
            error_domain=errors.DOMAIN,
            connect=_connect(options.connect),
            comments=contract_comments,
            auth=self._credentials.enabled,
            whoami=_WHOAMI,
            cookie=COOKIE,
            key_in_query=options.key_in_query,
            trusted=lambda address: ((CLIENT_ADDRESS, address), (BRIDGE_TOKEN, self._token)),
            reserved=frozenset((CLIENT_ADDRESS, BRIDGE_TOKEN, UNREADABLE)),
            unreadable=UNREADABLE,
            cors=options.enable_cors,
            health=options.enable_health,
            hosts=frozenset({options.host.lower(), *_words(options.allowed_hosts)}),
            any_address=not options.loopback,
            origins=frozenset(_words(options.allowed_origins)),
            **CONTRACT,
        )

    def _port(self, number: int, flag: str) -> int:
        if number < 0:
            return 0
        options = self._options
        secure = None
        if options.tls_cert is not None and options.tls_key is not None:
            secure = tls.HttpContext(options.tls_cert, options.tls_key, options.tls_client_ca).context
        try:
            port = Port(self._bridge, options.host, number, secure)
        except OSError:
            raise errors.RefusedToStart(
                f"{options.host}:{number}: the port is in use, or the address is not this machine's; "
                f"choose another with {flag}"
            ) from None
        self._ports.append(port)
        return port.number

    def start(self) -> None:
        """Begins to answer."""
        for port in self._ports:
            port.start()

    def drain(self) -> None:
        """Health says so, and streams that the server does not end by itself end here."""
        self._bridge.drain.begin()

    async def stop(self, seconds: float) -> None:
        """Answers what is under way for at most ``seconds``, then closes."""
        for port in self._ports:
            await port.stop(seconds)

    async def aclose(self) -> None:
        """Frees what ``listen`` took, also when nothing was started."""
        for port in self._ports:
            port.close()
        await self._channel.close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    async def _show_metrics(self, request: StarletteRequest) -> Response:
        try:
            await self._check_metrics(request)
        except errors.AsterError as error:
            return Refused(error.status())
        except Refusal as refusal:
            return Refused(refusal.status(errors.DOMAIN))
        return Response(generate_latest(self._metrics), media_type=CONTENT_TYPE_LATEST)

    async def _check_metrics(self, request: StarletteRequest) -> None:
        """
        :raises AsterError: not the right to see them."""
        given = self._bridge.gate.metadata(Request(request.scope, request.receive), changes=False)
        known = {name: value for name, value in given if isinstance(value, str)}
        caller = await self._credentials.caller(known, "")
        if not caller.has("metrics:read"):
            raise errors.ScopeRequired("metrics:read")


def contract_comments() -> Comments:
    """What the protos say about everything they declare, from the descriptors beside the stubs."""
    raw = resources.files("aster.v1").joinpath("descriptors.binpb").read_bytes()
    return comments_of(descriptor_pb2.FileDescriptorSet.FromString(raw).file)


def _connect(wish: str) -> bool:
    """Whether Connect is answered.

    :raises RefusedToStart: it is wanted, and its extra is not installed."""
    if wish == "on" and not paths.available():
        raise errors.RefusedToStart("--connect on needs an extra that is missing: pip install 'asteros[connect]'")
    return wish != "off" and paths.available()


def _words(text: str) -> Sequence[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
