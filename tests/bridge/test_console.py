"""What pages of our own get: files, and a cookie for a key."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from services.helpers import bearer, serving
from starlette.applications import Starlette

from asteros.bridge.static import POLICY, hosted

pytestmark = pytest.mark.anyio


@pytest.fixture
async def files(tmp_path: Path, anyio_backend: str) -> AsyncIterator[httpx2.AsyncClient]:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "console"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>page</title>")
    (folder / "assets" / "main-1a2b.js").write_text("1")
    app = Starlette(routes=hosted("/studio", folder))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["/studio/", "/studio/agents", "/studio/agents/a", "/studio/index.html"])
async def test_one_page_for_all_paths(files: httpx2.AsyncClient, path: str) -> None:
    answer = await files.get(path)
    assert (answer.status_code, answer.text) == (200, "<title>page</title>")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


async def test_assets_never_change(files: httpx2.AsyncClient) -> None:
    answer = await files.get("/studio/assets/main-1a2b.js")
    assert "immutable" in answer.headers["cache-control"]
    again = await files.get("/studio/assets/main-1a2b.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/studio/missing.js", "/studio/..%2fsecret.txt", "/studio/%2e%2e/secret.txt", "/studio//etc/passwd.txt"]
)
async def test_not_a_file_of_ours(files: httpx2.AsyncClient, path: str) -> None:
    assert (await files.get(path)).status_code == 404


async def test_nothing_built(tmp_path: Path) -> None:
    assert hosted("/studio", tmp_path) == []


async def test_cookie(tmp_path: Path, anyio_backend: str) -> None:
    async with serving(tmp_path, http_port=0, api_key="sesame", metadata=bearer("sesame")) as server:
        base = f"http://127.0.0.1:{server.house.http_port}"
        async with httpx2.AsyncClient(base_url=base, headers={"origin": base}) as page:
            refused = await page.post("/studio/login", json={"apiKey": "open"})
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "set-cookie" not in refused.headers
            for bad in ({}, {"apiKey": ""}, {"apiKey": 5}, {"apiKey": "a\nb"}):
                assert (await page.post("/studio/login", json=bad)).status_code == 400
            other = await page.post(
                "/studio/login", json={"apiKey": "sesame"}, headers={"origin": "http://localhost:1"}
            )
            assert other.status_code == 403
            assert (await page.post("/studio/login", content=b'{"apiKey":"sesame"}')).status_code == 415
            assert (await page.get("/api/caller")).status_code == 401
            entered = await page.post("/studio/login", json={"apiKey": "sesame"})
            cookie = entered.headers["set-cookie"]
            assert entered.status_code == 200
            assert all(word in cookie for word in ("aster_key=sesame", "HttpOnly", "SameSite=strict", "Path=/"))
            assert (await page.get("/api/caller")).json()["principal"] == "api-key"
            assert (await page.post("/studio/logout")).status_code == 200
            assert (await page.get("/api/caller")).status_code == 401
