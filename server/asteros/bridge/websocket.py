"""Event streams on WebSockets: each text message is one frame, the JSON that SSE has as data.

The path and the query say what to subscribe to. A client may also send the request as JSON,
then or later: it takes the place of the subscription before."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.rpc import status_pb2

from asteros.bridge import bodies, framing, reply, requests
from asteros.bridge.bindings import Binding, Table
from asteros.bridge.liveness import NAME as LIVENESS
from asteros.bridge.refusal import UNAUTHENTICATED, Refusal, reason_of, status_of
from asteros.bridge.reply import Items, Renderer
from asteros.bridge.streams import Drain, Gone, Pump
from asteros.bridge.template import BadEscape
from asteros.bridge.transcode import Gate, Receive, Request, Scope, Send, answer_status, resume

_ENDED, _BINARY, _MALFORMED, _BROKEN, _DRAINING = 1000, 1003, 1007, 1011, 1012
_RESOURCE_EXHAUSTED = 8
_SERVER_FAULTS = (2, 13, 15)


class Sockets:
    """The app for every WebSocket path of a bridge."""

    def __init__(self, table: Table, gate: Gate, drain: Drain) -> None:
        self._gate = gate
        self._drain = drain
        options = gate.options
        self._bindings = [table.socket(path, rpc) for path, rpc in options.sockets.items()]
        self._renderers = {each: Renderer(each, reply.hook_for(each, options.hooks)) for each in self._bindings}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the wish to connect
        request = Request(scope, receive)
        try:
            binding, variables = self._find(request)
            metadata = self._gate.metadata(request, changes=True)
            session = Session(self, request, binding, variables, metadata, send)
            session.lively = scope.get("extensions", {}).get(LIVENESS)
            message = session.message(b"")
        except Refusal as refusal:
            await self._deny(request, refusal, send)
            return
        await session.run(message)

    def _find(self, request: Request) -> tuple[Binding, Mapping[str, str]]:
        for binding in self._bindings:
            match = binding.template.matches(request.path)
            if match is not None:
                try:
                    return binding, binding.template.values(match)
                except BadEscape:
                    raise Refusal(3, "FIELD_VIOLATION", "the path has a broken escape") from None
        raise Refusal(5, "", "no such path", http=404)

    async def _deny(self, request: Request, refusal: Refusal, send: Send) -> None:
        status = await self._gate.refused(request) if refusal.code != UNAUTHENTICATED else None
        if status is not None:
            await answer_status(denying(send), status, "aster")
            return
        status = refusal.status(self._gate.options.error_domain)
        await answer_status(denying(send), status, "aster", refusal.http, refusal.headers)

    def pump(self, session: "Session", message: Any) -> Pump:
        """A stream for a socket."""
        binding = session.binding
        call = self._gate.upstream.call(binding.rpc, message.SerializeToString(), session.metadata, stream=True)
        return Pump(call, session.closed.wait, self._renderers[binding], self._drain, self._gate.options)

    @property
    def gate(self) -> Gate:
        return self._gate


class Session:
    """One socket; also the sink of its stream."""

    def __init__(
        self,
        sockets: Sockets,
        request: Request,
        binding: Binding,
        variables: Mapping[str, str],
        metadata: Sequence[tuple[str, str | bytes]],
        send: Send,
    ) -> None:
        self.binding = binding
        self.metadata = metadata
        self.closed = asyncio.Event()
        self.lively: Any = None  # the socket itself, where the server has one that takes several messages at once
        self._sockets = sockets
        self._options = sockets.gate.options
        self._request = request
        self._variables = variables
        self._send = send
        self._accepted = False

    def message(self, body: bytes) -> Any:
        """The RPC's request: what the client sent as JSON, else what its query says.

        :raises Refusal:"""
        pairs = [] if body else requests.pairs_of(self._request.query)
        message = requests.request_of(self.binding.with_body(bool(body)), self._variables, pairs, body)
        if not body:
            resume(message, self._request.header.get("last-event-id", ""), self._options.resume_field)
        return message

    async def run(self, message: Any) -> None:
        """Until either side closes."""
        stream = asyncio.create_task(self._stream(message))
        try:
            while (event := await self._request.receive())["type"] != "websocket.disconnect":
                wanted = await self._heard(event)
                if wanted is not None:
                    stream.cancel()
                    await asyncio.gather(stream, return_exceptions=True)
                    stream = asyncio.create_task(self._stream(wanted))
        finally:
            self.closed.set()
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)

    # -- what the client says -----------------------------------------------------------

    async def _heard(self, event: Mapping[str, Any]) -> Any:
        """A new request to subscribe, or None."""
        text = event.get("text")
        if text is None:
            await self._refuse(Refusal(3, "UNSUPPORTED_MEDIA_TYPE", "messages are text"), _BINARY)
            return None
        try:
            value = bodies.parsed(text.encode("utf-8", "surrogatepass"))
            if isinstance(value, dict) and value.get("type") in ("ping", "pong"):
                if value["type"] == "ping":
                    await self._text(b'{"type":"pong"}')
                return None
            return self.message(text.encode())
        except Refusal as refusal:
            await self._refuse(refusal, _MALFORMED if refusal.reason == "MALFORMED_JSON" else 0)
            return None

    async def _refuse(self, refusal: Refusal, close: int) -> None:
        await self._failure(refusal.status(self._options.error_domain), close)

    # -- the stream ----------------------------------------------------------------------

    async def _stream(self, message: Any) -> None:
        async with self._sockets.pump(self, message) as pump:
            try:
                first = await pump.first()
            except grpc.aio.AioRpcError as error:
                await self._not_opened(status_of(error))
                return
            except Gone:
                return
            await self._accept()
            try:
                await pump.run(first, self)
            except Gone:
                await self._close(1013)

    async def _not_opened(self, status: status_pb2.Status) -> None:
        """Who has no valid credentials gets plain HTTP; every other failure is a frame."""
        guessing = status.code == _RESOURCE_EXHAUSTED and reason_of(status).reason == "AUTH_RATE_LIMITED"
        if not self._accepted and (status.code == UNAUTHENTICATED or guessing):
            await answer_status(denying(self._send), status, "aster")
            return
        await self._accept()
        await self.failure(status)

    async def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            await self._send({"type": "websocket.accept"})

    async def items(self, items: Items) -> None:
        if self.lively is not None and not self.closed.is_set():
            await self.lively.send_texts([item.body for item in items])
            return
        for item in items:
            await self._text(item.body)

    async def keep_alive(self) -> None:
        """The protocol has pings of its own."""

    async def failure(self, status: status_pb2.Status) -> None:
        close = _BROKEN if status.code in _SERVER_FAULTS else 0
        await self._failure(status, self._options.close_codes.get(reason_of(status).reason, close))

    async def goaway(self, status: status_pb2.Status, cursor: str) -> None:  # noqa: ARG002
        await self._text(reply.dumped({"type": "goaway", **framing.goaway(cursor)}))
        await self._close(_DRAINING)

    async def end(self) -> None:
        await self._close(_ENDED)

    async def _failure(self, status: status_pb2.Status, close: int) -> None:
        await self._text(reply.dumped(reply.status_json(status, "aster", self.binding.request.file.pool)))
        if close:
            await self._close(close)

    async def _text(self, body: bytes) -> None:
        if not self.closed.is_set():
            await self._send({"type": "websocket.send", "text": body.decode()})

    async def _close(self, code: int) -> None:
        if not self.closed.is_set():
            self.closed.set()
            await self._send({"type": "websocket.close", "code": code})


def denying(send: Send) -> Send:
    """Answers a wish to connect with plain HTTP."""

    async def sending(message: Any) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return sending
