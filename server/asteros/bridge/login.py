"""A cookie for pages of our own: it holds the key itself, and nothing is stored here.

What it gives is what the key gives, to pages of exactly this origin (see ``origin``)."""

import grpc
from google.rpc import status_pb2
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asteros.bridge import bodies
from asteros.bridge.credentials import Credential
from asteros.bridge.refusal import Refusal, bad_field, status_of
from asteros.bridge.transcode import Gate, Receive, Request, Scope, Send, answer_status

_MAX_BODY = 4096
_MAX_KEY = 1024


class Login:
    """``POST <prefix>/login`` {"apiKey"} and ``POST <prefix>/logout``."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def routes(self, prefix: str) -> list[Route]:
        """The two routes."""
        return [
            Route(f"{prefix}/login", self._login, methods=["POST"]),
            Route(f"{prefix}/logout", self._logout, methods=["POST"]),
        ]

    async def _login(self, request: StarletteRequest) -> Response:
        try:
            key = await self._key(request)
        except Refusal as refusal:
            return self._refused(refusal)
        failed = await self._try(key, request.client.host if request.client else "")
        if failed is not None:
            return Refused(failed)
        response = JSONResponse({})
        secure = request.url.scheme == "https"
        response.set_cookie(self._gate.options.cookie, key, httponly=True, samesite="strict", secure=secure)
        return response

    async def _logout(self, request: StarletteRequest) -> Response:
        try:
            self._check_origin(request)
        except Refusal as refusal:
            return self._refused(refusal)
        response = JSONResponse({})
        response.delete_cookie(self._gate.options.cookie, httponly=True, samesite="strict")
        return response

    async def _key(self, request: StarletteRequest) -> str:
        """
        :raises Refusal: a page of others, or no key in the body."""
        self._check_origin(request)
        asked = Request(request.scope, request.receive)
        if asked.media != "application/json":
            raise Refusal(3, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json", http=415)
        value = bodies.parsed(await asked.body(_MAX_BODY))
        key = value.get("apiKey") if isinstance(value, dict) else None
        if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY or not key.isascii() or not key.isprintable():
            raise bad_field("apiKey", "must be a key")
        return key

    def _check_origin(self, request: StarletteRequest) -> None:
        headers = request.headers
        self._gate.origins.check(
            headers.get("origin"), request.scope["scheme"], headers.get("host", ""), Credential("cookie")
        )

    async def _try(self, key: str, client: str) -> status_pb2.Status | None:
        """Why the server does not take the key; None when it does."""
        options = self._gate.options
        metadata = (("authorization", f"Bearer {key}"), *options.trusted(client))
        try:
            await self._gate.upstream.call(options.whoami, b"", metadata, stream=False, timeout=10)
        except grpc.aio.AioRpcError as error:
            return status_of(error)
        return None

    def _refused(self, refusal: Refusal) -> Response:
        return Refused(refusal.status(self._gate.options.error_domain), refusal.http)


class Refused(Response):
    """A status as the transcoder prints it."""

    def __init__(self, status: status_pb2.Status, http: int = 0) -> None:
        super().__init__()
        self._status, self._http = status, http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await answer_status(send, self._status, "aster", self._http)
