"""The ASGI app that serves any annotated gRPC service: find, read, call, answer."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import grpc
from google.rpc import status_pb2

from asteros.bridge import credentials, framing, metadata, reply, requests
from asteros.bridge.bindings import Binding, NoRoute, Style, Table
from asteros.bridge.framing import Framing
from asteros.bridge.options import Options
from asteros.bridge.origin import Origins
from asteros.bridge.refusal import HTTP_STATUS, UNAUTHENTICATED, Refusal, bad_request, retry_after, status_of
from asteros.bridge.reply import Items, Renderer
from asteros.bridge.streams import Attended, Drain, Gone, Pump
from asteros.bridge.template import BadEscape

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_FORM = "application/x-www-form-urlencoded"
_OVERRIDE = "x-http-method-override"
_SAFE = ("GET", "HEAD", "OPTIONS")
_EVENTS = "text/event-stream"
_OF_FIELDS = ("FIELD_VIOLATION", "UNKNOWN_FIELD")  # less than what is not there
JSON_HEADERS = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))


class Request:
    """What a request says before its body is read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.receive = receive
        self.verb: str = scope.get("method", "GET")
        raw_path = scope.get("raw_path") or scope["path"].encode()
        self.path: str = raw_path.decode("latin-1").partition("?")[0]
        self.query: bytes = scope.get("query_string", b"")
        self.headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.header = dict(self.headers)
        client: Sequence[Any] | None = scope.get("client")
        self.client = str(client[0]) if client else ""
        self.scheme: str = scope.get("scheme", "http")
        self.media = self.header.get("content-type", "").partition(";")[0].strip().lower()

    async def body(self, limit: int) -> bytes:
        """
        :raises Refusal: more than ``limit`` bytes.
        :raises Gone:"""
        parts: list[bytes] = []
        size = int(declared) if (declared := self.header.get("content-length", "")).isdecimal() else 0
        while size <= limit:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size = sum(map(len, parts))
            if size <= limit and not message.get("more_body"):
                return b"".join(parts)
        raise Refusal(8, "MESSAGE_TOO_LARGE", f"the body is larger than {limit} bytes", http=413)

    async def gone(self) -> None:
        """Returns when the client has left; only after the body was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Upstream:
    """The server behind the bridge: calls by full method name, with bytes on the way back."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[tuple[str, bool], Any] = {}

    def call(
        self,
        rpc: str,
        request: bytes,
        metadata: Sequence[tuple[str, str | bytes]],
        *,
        stream: bool,
        timeout: Any = None,
    ) -> Any:
        method = self._methods.get((rpc, stream))
        if method is None:
            make = self._channel.unary_stream if stream else self._channel.unary_unary
            method = self._methods[rpc, stream] = make(rpc)
        return method(request, metadata=tuple(metadata), timeout=timeout)


class Gate:
    """What every request passes before its call: Origin and credentials, as metadata."""

    def __init__(self, upstream: Upstream, options: Options) -> None:
        self.upstream = upstream
        self.options = options
        self.origins = Origins(options)

    def metadata(self, request: Request, *, changes: bool) -> list[tuple[str, str | bytes]]:
        """Metadata for a call. ``changes``: the request may change something, or opens a socket.

        :raises Refusal: a page that may not do this, or two credentials."""
        options = self.options
        pairs = requests.pairs_of(request.query) if b"=" in request.query else []
        credential = credentials.credential_of(
            request.headers, pairs, cookie=options.cookie, key_in_query=options.key_in_query
        )
        if changes:
            self.origins.check(request.header.get("origin"), request.scheme, request.header.get("host", ""), credential)
        out = metadata.metadata_of(request.headers, credential.text, request.client, options.reserved)
        return [*out, *options.trusted(request.client)]

    async def refused(self, request: Request) -> status_pb2.Status | None:
        """Why the server knows nobody of these credentials; None when it does, or asks for none.

        Who is nobody learns only that: not which paths exist, nor how a body is read."""
        options = self.options
        if not options.auth or not options.whoami:
            return None
        try:
            found = self.metadata(request, changes=False)
            await self.upstream.call(options.whoami, b"", found, stream=False, timeout=10)
        except grpc.aio.AioRpcError as error:
            status = status_of(error)
            return status if status.code in (UNAUTHENTICATED, 8) else None
        except Refusal as refusal:
            return refusal.status(options.error_domain)
        return None


class Transcoder:
    """The app. Every path is its own: mount it last."""

    def __init__(self, table: Table, gate: Gate, drain: Drain) -> None:
        self.table = table
        self._gate = gate
        self._drain = drain
        self._options = gate.options
        self._style: Style = table.bindings[0].style if table.bindings else "gateway"
        self._renderers = {
            binding: Renderer(binding, reply.hook_for(binding, gate.options.hooks))
            for binding in table
            if binding.streaming
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        style = self._style
        try:
            binding, variables = self._find(request)
            style = binding.style
            await self._serve(request, binding, variables, send)
        except Gone:
            return
        except Refusal as refusal:
            await self._refuse(request, refusal, style, send)

    # -- one request ---------------------------------------------------------------

    def _find(self, request: Request) -> tuple[Binding, Mapping[str, str]]:
        verb = request.verb
        form = request.media == _FORM and verb == "POST"
        if form and request.header.get(_OVERRIDE):
            verb = request.header[_OVERRIDE].upper()
        try:
            return self.table.find(verb, request.path)
        except NoRoute as missing:
            if form and "GET" in missing.allowed:
                return self.table.find("GET", request.path)
            if not missing.allowed:
                raise Refusal(5, "", "no such path", http=404) from None
            allow = ", ".join(sorted({*missing.allowed, "OPTIONS"}))
            raise Refusal(12, "", "this path has other methods", http=405, headers=(("Allow", allow),)) from None
        except BadEscape:
            raise bad_request("FIELD_VIOLATION", "the path has a broken escape") from None

    async def _serve(self, request: Request, binding: Binding, variables: Mapping[str, str], send: Send) -> None:
        as_events = self._media(request, binding)
        given = self._gate.metadata(request, changes=binding.verb not in _SAFE)
        timeout = metadata.timeout_of(request.header.get("grpc-timeout", ""))
        body = await request.body(self._options.max_body)
        pairs = requests.pairs_of(request.query)
        if request.media == _FORM and binding.verb == "GET":
            pairs += requests.pairs_of(body)
        elif body and binding.body is not None:
            self._check_media(request, binding)
        try:
            compatibility = self._options.compatibility.get(binding.rpc)
            message = requests.request_of(binding, variables, pairs, body, compatibility)
        except Refusal as refusal:
            if not self._options.unreadable or refusal.reason not in _OF_FIELDS:
                raise
            message = requests.named_by_path(binding, variables)
            given.append((self._options.unreadable, refusal.told()))
        if binding.streaming:
            resume(message, request.header.get("last-event-id", ""), self._options.resume_field)
        call = self._gate.upstream.call(
            binding.rpc, message.SerializeToString(), given, stream=binding.streaming, timeout=timeout
        )
        if binding.streaming:
            await self._stream(request, binding, call, as_events, send)
        else:
            await self._unary(request, binding, call, send)

    def _media(self, request: Request, binding: Binding) -> bool:
        """Whether a stream is wanted as events.

        :raises Refusal: nothing we have is wanted."""
        accept = request.header.get("accept", "")
        offered = ["application/json"]
        if binding.streaming:
            offered = ["application/x-ndjson", "application/json", _EVENTS]
        chosen = metadata.accepts(accept, offered)
        raw = reply.is_raw(binding)
        if not chosen and binding.style == "aster" and not raw:
            raise Refusal(3, "UNSUPPORTED_MEDIA_TYPE", f"this answers as {' or '.join(offered)}", http=406)
        return chosen == _EVENTS and not raw

    @staticmethod
    def _check_media(request: Request, binding: Binding) -> None:
        """A body is JSON and says so: pages of others cannot send that without asking first."""
        if binding.style != "aster":
            return
        json_type = request.media == "application/json" or request.media.endswith("+json")
        if not json_type or request.header.get("content-encoding", "identity") != "identity":
            raise Refusal(3, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json, not compressed", http=415)

    async def _unary(self, request: Request, binding: Binding, call: Any, send: Send) -> None:
        async with Attended(call, request.gone) as attended:
            try:
                raw = await attended.result(call)
            except grpc.aio.AioRpcError as error:
                await self._fail(status_of(error), binding, send)
                return
            body, content_type = reply.body_of(binding, raw)
            headers = [(b"content-type", content_type.encode("latin-1", "ignore")), JSON_HEADERS[1]]
            headers += metadata.to_headers(await call.initial_metadata(), "grpc-metadata-")
            if "trailers" in request.header.get("te", "").lower():
                headers += metadata.to_headers(await call.trailing_metadata(), "grpc-trailer-")
            await answer(send, 200, body, headers)

    async def _stream(self, request: Request, binding: Binding, call: Any, as_events: bool, send: Send) -> None:
        renderer = self._renderers[binding]
        async with Pump(call, request.gone, renderer, self._drain, self._options) as pump:
            try:
                first = await pump.first()
            except grpc.aio.AioRpcError as error:
                await self._fail(status_of(error), binding, send)
                return
            sink = HttpSink(send, self._framing(binding, as_events))
            raw = reply.is_raw(binding) and first is not grpc.aio.EOF
            content_type = next((item.content_type for item in renderer.items(first)), "") if raw else ""
            await sink.open(metadata.to_headers(await call.initial_metadata(), "grpc-metadata-"), content_type)
            await pump.run(first, sink)

    @staticmethod
    def _framing(binding: Binding, as_events: bool) -> Framing:
        pool = binding.method.output_type.file.pool
        if as_events:
            return framing.EventStream(pool)
        return framing.Lines(pool) if binding.style == "aster" else framing.ResultLines(pool)

    # -- failures ---------------------------------------------------------------------

    async def _refuse(self, request: Request, refusal: Refusal, style: Style, send: Send) -> None:
        """Answers what never became a call; who is nobody learns that first."""
        status = await self._gate.refused(request) if refusal.code != UNAUTHENTICATED else None
        if status is not None:
            await answer_status(send, status, style)
            return
        status = refusal.status(self._options.error_domain if style == "aster" else "")
        await answer_status(send, status, style, refusal.http, refusal.headers)

    @staticmethod
    async def _fail(status: status_pb2.Status, binding: Binding, send: Send) -> None:
        pool = binding.method.output_type.file.pool
        if binding.streaming and binding.style == "gateway":
            body = reply.dumped({"error": reply.status_json(status, "gateway", pool)}) + b"\n"
            await answer(
                send, HTTP_STATUS.get(status.code, 500), body, [*JSON_HEADERS, *_advice(status, binding.style)]
            )
        else:
            await answer_status(send, status, binding.style, pool=pool)


def resume(message: Any, last_event_id: str, field: str) -> None:
    """Last-Event-ID replaces where a request begins, also what its URL says again."""
    descriptor = message.DESCRIPTOR.fields_by_name.get(field)
    if last_event_id and descriptor is not None and descriptor.type == descriptor.TYPE_STRING:
        setattr(message, field, last_event_id)  # the other members of its oneof are cleared


class HttpSink:
    """A stream on HTTP: chunks of a framing."""

    def __init__(self, send: Send, how: Framing) -> None:
        self._send = send
        self._framing = how

    async def open(self, headers: Any, content_type: str = "") -> None:
        kind = (b"content-type", (content_type or self._framing.content_type).encode("latin-1", "ignore"))
        head = [kind, JSON_HEADERS[1], *self._framing.headers, *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        await self._chunk(self._framing.opening())

    async def _chunk(self, data: bytes, more: bool = True) -> None:
        if data or not more:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def items(self, items: Items) -> None:
        await self._chunk(items.written(type(self._framing), self._framing.items))

    async def keep_alive(self) -> None:
        await self._chunk(self._framing.keep_alive())

    async def failure(self, status: status_pb2.Status) -> None:
        await self._chunk(self._framing.failure(status), more=False)

    async def goaway(self, status: status_pb2.Status, cursor: str) -> None:
        await self._chunk(self._framing.goaway(status, cursor), more=False)

    async def end(self) -> None:
        await self._chunk(self._framing.end(), more=False)


async def answer(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """A whole response."""
    head = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def answer_status(
    send: Send,
    status: status_pb2.Status,
    style: Style,
    http: int = 0,
    headers: Sequence[tuple[str, str]] = (),
    pool: Any = None,
) -> None:
    """A failure. ``http`` 0: by the code."""
    given = {name.lower() for name, _ in headers}
    advice = [each for each in _advice(status, style) if each[0].decode() not in given]
    more = [(name.lower().encode(), value.encode()) for name, value in headers]
    body = reply.dumped(reply.status_json(status, style, pool))
    await answer(send, http or HTTP_STATUS.get(status.code, 500), body, [*JSON_HEADERS, *advice, *more])


def _advice(status: status_pb2.Status, style: Style) -> Headers:
    """Headers that say what to do about a failure."""
    if status.code == UNAUTHENTICATED:
        return [(b"www-authenticate", b"Bearer")]
    seconds = retry_after(status) if style == "aster" else 0
    return [(b"retry-after", str(seconds).encode())] if seconds else []
