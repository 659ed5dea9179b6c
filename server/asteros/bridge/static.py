"""Built assets of a single-page application: ETag, strict content policy, one page for all its paths."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Scripts, styles, pictures and connections of our own alone: model text is shown, never run.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_FOR_EVER = "public, max-age=31536000, immutable"
_PAGE = "index.html"


class Assets(StaticFiles):
    """Files of a folder. What lies in ``assets/`` has its hash in its name and never changes."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as refused:
            # A path of the application itself; a missing file is still missing.
            if refused.status_code != 404 or "." in path.rpartition("/")[2]:
                raise
            response = await super().get_response(_PAGE, scope)
        response.headers.update(_HEADERS)
        response.headers["cache-control"] = _FOR_EVER if path.startswith("assets/") else "no-cache"
        return response


def hosted(prefix: str, folder: Path) -> list[Mount]:
    """The route to a folder's files; none when it has not been built."""
    if not (folder / _PAGE).is_file():
        return []
    return [Mount(prefix, Assets(directory=folder, html=True))]
