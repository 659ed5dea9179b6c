"""What describes a server to its users: /openapi.json, and a page that shows it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from asteros.bridge import openapi, reply
from asteros.bridge.bindings import Table
from asteros.bridge.options import Options
from asteros.bridge.transcode import Receive, Scope, Send

DOCUMENT = "/openapi.json"
PAGE = "/docs"
_VIEWER = Path(__file__).with_name("viewer")
# Everything comes from here. The viewer writes its styles into elements, and icons into addresses.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


class Description:
    """The routes. They are open to everybody: they say what the protos say, and nothing of what is stored."""

    def __init__(self, table: Table, options: Options) -> None:
        self._table = table
        self._options = options
        self._document: bytes | None = None
        self._page = StaticFiles(directory=_VIEWER, html=True)

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route(DOCUMENT, self._show_document),
            Route(PAGE, self._lead_to_page),
            Mount(PAGE, self._show_page),
        )

    def document(self) -> bytes:
        """The document as JSON."""
        options = self._options
        found = openapi.document(
            self._table, options.name, options.api_version, options.comments(), options.resume_field
        )
        return reply.dumped(found)

    async def _show_document(self, request: Request) -> Response:  # noqa: ARG002
        if self._document is None:
            # Some tenths of a second, once: not in the loop of everybody's streams.
            self._document = await asyncio.to_thread(self.document)
        return Response(self._document, media_type="application/json", headers={"cache-control": "no-cache"})

    async def _lead_to_page(self, request: Request) -> Response:  # noqa: ARG002
        return RedirectResponse(f"{PAGE}/")

    async def _show_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._page(scope, receive, sending)
