"""Connect (JSON, binary, GET) and gRPC-Web for the methods of a channel, by the library ``connectrpc``.

The library reads and writes the protocols; messages pass it as bytes, and become what our own
rules for JSON make of them only after a caller's credentials were looked at."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.interceptor import MetadataInterceptor
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2
from protobuf.wkt import Any as Packed

from asteros.bridge import bodies, metadata, protojson, requests
from asteros.bridge.bindings import Service, Style
from asteros.bridge.options import Metadata
from asteros.bridge.paths import paths_of
from asteros.bridge.refusal import UNAUTHENTICATED, Refusal, status_of
from asteros.bridge.streams import GRACE, WRITE_SECONDS, Drain, Gone
from asteros.bridge.transcode import Gate, Receive, Request, Scope, Send, answer_status

_UNAVAILABLE = 14
_CODES = {
    status.value[0]: Code[status.name.replace("CANCELLED", "CANCELED")] for status in grpc.StatusCode if status.value[0]
}
_UNARY = frozenset(f"application/{codec}" for codec in ("json", "proto"))
_STREAM = frozenset(f"application/connect+{codec}" for codec in ("json", "proto"))
_WEB = frozenset(f"application/grpc-web{codec}" for codec in ("", "+proto", "+json"))
_OURS = frozenset(("x-api-key", "x-request-id", "x-grpc-web", "x-user-agent"))  # headers with a meaning of their own
# What an answer says itself: a header of this name is not the server's to give.
_TAKEN = ("content-", "access-control-", "connection", "transfer-", "trailer", "set-cookie", "date", "server")


class Connect:
    """The app. Its paths are ``/package.Service/Method`` of every unary and server-streaming method."""

    def __init__(self, services: Sequence[Service], gate: Gate, drain: Drain) -> None:
        self._gate = gate
        self._methods = {
            path: _Method(method, style, gate, drain) for path, (method, style) in paths_of(services).items()
        }
        self._inner = _Application(
            service=self,
            endpoints=lambda _: {path: method.endpoint() for path, method in self._methods.items()},
            interceptors=(_Admission(gate),),
            read_max_bytes=None,  # the body is read, and measured, before
            compressions=(),  # a small body could become a large message
            codecs=(_Bytes("json"), _Bytes("proto")),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request.headers += list(_as_metadata(request.headers))
        arrival = _Arrival(request)
        try:
            self._check(request)
            arrival.body = await request.body(self._gate.options.max_body)
        except Gone:
            return
        except Refusal as refusal:
            if refusal.http != 413:  # that one the library can say in the client's own protocol
                await self._refuse(request, refusal, send)
                return
            arrival.refusal = refusal
        token = _arrival.set(arrival)
        # The library expects UTF-8 in headers, and would answer 500 to anything else.
        plain = {**scope, "headers": [pair for pair in scope["headers"] if pair[1].isascii()]}
        try:
            await self._inner(plain, arrival.receive, _patient(send))
        except Gone:
            return
        finally:
            _arrival.reset(token)

    def _check(self, request: Request) -> None:
        """What is not a request of these protocols at all.

        :raises Refusal: 400, 405, 415."""
        method = self._methods[request.path]
        if request.verb not in method.verbs:
            allow = ", ".join((*method.verbs, "OPTIONS"))
            raise Refusal(12, "METHOD_NOT_ALLOWED", "this path has other methods", 405, headers=(("Allow", allow),))
        if request.verb == "GET":
            media = "application/" + dict(requests.pairs_of(request.query)).get("encoding", "")
        else:
            media = request.media
        if media not in method.media:
            raise Refusal(3, "UNSUPPORTED_MEDIA_TYPE", f"this takes {', '.join(sorted(method.media))}", 415)

    async def _refuse(self, request: Request, refusal: Refusal, send: Send) -> None:
        style = self._methods[request.path].style
        status = await self._gate.refused(request)
        if status is not None:
            await answer_status(send, status, style)
        else:
            status = refusal.status(self._gate.options.error_domain)
            await answer_status(send, status, style, refusal.http, refusal.headers)


class _Arrival:
    """One request, from its arrival to its call."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.body = b""
        self.refusal: Refusal | None = None
        self.metadata: Metadata = ()
        self._given = False

    async def receive(self) -> Any:
        """The body that was read already, then whatever comes."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        return await self.request.receive()


_arrival: ContextVar[_Arrival] = ContextVar("aster_connect_arrival")


class _Application(ConnectASGIApplication[Connect]):
    path = "/"


class _Bytes:
    """A codec that leaves messages as they came."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, message_class: type[bytes]) -> bytes:
        return message_class(data)


class _Admission(MetadataInterceptor[None]):
    """Origin and credentials, before a body is taken apart."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def on_start(self, ctx: RequestContext[Any, Any]) -> None:
        arrival = _arrival.get()
        try:
            if arrival.refusal is not None:
                raise arrival.refusal
            arrival.metadata = self._gate.metadata(arrival.request, changes=ctx.http_method != "GET")
        except Refusal as refusal:
            raise await _refused(self._gate, refusal, ctx) from None


class _Method:
    """One method of the server, as an endpoint of the library."""

    def __init__(self, method: MethodDescriptor, style: Style, gate: Gate, drain: Drain) -> None:
        assert method.containing_service is not None
        self.style = style
        self._descriptor = method
        self._service = method.containing_service.full_name
        self._gate = gate
        self._drain = drain
        options: Any = method.GetOptions()
        self._safe = options.idempotency_level == options.NO_SIDE_EFFECTS
        self.verbs = ("GET", "POST") if self._safe and not method.server_streaming else ("POST",)
        self.media = _WEB | (_STREAM if method.server_streaming else _UNARY)

    def endpoint(self) -> Any:
        info = MethodInfo(
            name=self._descriptor.name,
            service_name=self._service,
            input=bytes,
            output=bytes,
            idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS if "GET" in self.verbs else IdempotencyLevel.UNKNOWN,
            stream_type=StreamType.SERVER_STREAM if self._descriptor.server_streaming else StreamType.UNARY,
        )
        if self._descriptor.server_streaming:
            return Endpoint.server_stream(info, self._stream)
        return Endpoint.unary(info, self._unary)

    async def _unary(self, request: bytes, ctx: RequestContext[Any, Any]) -> bytes:
        call = await self._call(request, ctx)
        try:
            raw = await call
            _add(ctx.response_headers, await call.initial_metadata())
            _add(ctx.response_trailers, await call.trailing_metadata())
            return self._written(raw)
        except grpc.aio.AioRpcError as error:
            raise _failed(error, ctx) from None
        finally:
            call.cancel()

    async def _stream(self, request: bytes, ctx: RequestContext[Any, Any]) -> AsyncIterator[bytes]:
        call = await self._call(request, ctx)
        draining = asyncio.create_task(self._end_when_draining(call))
        try:
            _add(ctx.response_headers, await call.initial_metadata())
            while (raw := await self._read(call)) is not grpc.aio.EOF:
                yield self._written(raw)
            _add(ctx.response_trailers, await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise _failed(error, ctx) from None
        finally:
            draining.cancel()
            call.cancel()

    async def _call(self, request: bytes, ctx: RequestContext[Any, Any]) -> Any:
        try:
            body = self._understood(request)
        except Refusal as refusal:
            raise await _refused(self._gate, refusal, ctx) from None
        left = ctx.timeout_ms
        return self._gate.upstream.call(
            f"/{self._service}/{self._descriptor.name}",
            body,
            _arrival.get().metadata,
            stream=self._descriptor.server_streaming,
            timeout=None if left is None else max(0.0, left / 1000),
        )

    async def _read(self, call: Any) -> Any:
        try:
            return await call.read()
        except asyncio.CancelledError:  # house: cancelled -- our own end of the call says so this way too
            task = asyncio.current_task()
            if not self._drain.begun or (task is not None and task.cancelling()):
                raise
            refusal = Refusal(_UNAVAILABLE, "DRAINING", "the server drains")
            raise _error(refusal.status(self._gate.options.error_domain)) from None

    async def _end_when_draining(self, call: Any) -> None:
        """The server ends its streams itself, with the best cursor; ours is for one that does not."""
        await self._drain.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await call.code()
        call.cancel()

    # -- messages ----------------------------------------------------------------------

    def _understood(self, data: bytes) -> bytes:
        """The request as protobuf.

        :raises Refusal: JSON that does not fit."""
        if not _in_json():
            return data
        message: Message = message_factory.GetMessageClass(self._descriptor.input_type)()
        value = bodies.parsed(data)
        if value is not None:
            pool = self._descriptor.input_type.file.pool
            bodies.fill(message, value, strict=self.style == "aster", pool=pool)
        return message.SerializeToString()

    def _written(self, raw: bytes) -> bytes:
        """A response as its client reads it."""
        if not _in_json():
            return raw
        kind = self._descriptor.output_type
        message: Message = message_factory.GetMessageClass(kind).FromString(raw)
        return protojson.text_of(message).encode()


def _in_json() -> bool:
    request = _arrival.get().request
    if request.verb == "GET":
        return dict(requests.pairs_of(request.query)).get("encoding") == "json"
    return bool(request.media.endswith("json"))


def _as_metadata(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Headers that clients of these protocols mean as metadata, spelled as the gate reads them."""
    for name, value in headers:
        if name.startswith("x-") and not name.startswith("x-forwarded-") and name not in _OURS:
            yield f"grpc-metadata-{name}", value


def _add(headers: Any, given: Any) -> None:
    for name, value in metadata.to_headers(given, ""):
        if not name.decode().startswith(_TAKEN):
            headers.add(name.decode(), value.decode())


def _patient(send: Send) -> Send:
    """Gives up on a reader who does not read."""

    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await send(message)
        except TimeoutError:
            raise Gone from None

    return sending


# -- failures --------------------------------------------------------------------------


async def _refused(gate: Gate, refusal: Refusal, ctx: RequestContext[Any, Any]) -> ConnectError:
    """What the bridge itself refuses; who is nobody learns that first."""
    status = None if refusal.code == UNAUTHENTICATED else await gate.refused(_arrival.get().request)
    return _advised(status or refusal.status(gate.options.error_domain), ctx)


def _failed(error: grpc.aio.AioRpcError, ctx: RequestContext[Any, Any]) -> ConnectError:
    """What the server said."""
    _add(ctx.response_trailers, error.trailing_metadata())
    return _advised(status_of(error), ctx)


def _advised(status: status_pb2.Status, ctx: RequestContext[Any, Any]) -> ConnectError:
    if status.code == UNAUTHENTICATED:
        ctx.response_headers["www-authenticate"] = "Bearer"
    return _error(status)


def _error(status: status_pb2.Status) -> ConnectError:
    details = [ErrorDetail(Packed(type_url=detail.type_url, value=detail.value)) for detail in status.details]
    return ConnectError(_CODES.get(status.code, Code.UNKNOWN), status.message, details)
