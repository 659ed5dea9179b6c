"""What a server tells of itself: the document and the page that shows it, all from this server."""

import hashlib
import re
from pathlib import Path

import pytest
from bridge.probe import Caller, Stand

from asteros.bridge import docs

pytestmark = pytest.mark.anyio
VIEWER = Path(docs.__file__).with_name("viewer")
# Of swagger-ui-dist 5.35.0.
VENDORED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
}


async def test_document(stand: Stand) -> None:
    answer = await stand.aster("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert "/v1/things/{name}" in answer.json["paths"]
    assert (await stand.aster("GET", "/openapi.json")).body == answer.body


async def test_prefix_is_in_the_document(stand: Stand) -> None:
    caller = Caller(stand.bridge("aster", prefix="/x", name="mine", api_version="v9"))
    found = (await caller("GET", "/openapi.json")).json
    assert found["info"] == {"title": "mine", "version": "v9"}


async def test_page(stand: Stand) -> None:
    moved = await stand.aster("GET", "/docs")
    assert (moved.status, moved.headers["location"]) == (307, "/docs/")
    page = await stand.aster("GET", "/docs/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for name in re.findall(rb'(?:src|href)="([^":]+)"', page.body):
        asset = await stand.aster("GET", f"/docs/{name.decode()}")
        assert asset.status == 200, name
        assert asset.headers["x-content-type-options"] == "nosniff"


async def test_page_needs_no_other_place(stand: Stand) -> None:
    ours = (VIEWER / "index.html").read_text() + (VIEWER / "start.js").read_text()
    assert "//" not in ours.replace("// Shows", "")
    assert "../openapi.json" in ours


async def test_nothing_else_is_served(stand: Stand) -> None:
    for path in ("/docs/../app.py", "/docs/%2e%2e/app.py", "/docs/none.js", "/docs//etc/passwd"):
        assert (await stand.aster("GET", path)).status == 404, path
    assert (await stand.aster("POST", "/docs/index.html")).status == 405


def test_viewer_is_untouched() -> None:
    found = {name: hashlib.sha256((VIEWER / name).read_bytes()).hexdigest() for name in VENDORED}
    assert found == VENDORED
    assert "5.35.0" in (VIEWER / "README.md").read_text()
