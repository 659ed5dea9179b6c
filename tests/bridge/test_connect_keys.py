"""Who has no key learns nothing from Connect: neither which paths there are, nor how a body is read."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from services.helpers import serving

from asteros.bridge.bindings import Service
from asteros.bridge.paths import paths_of
from asteros.services import credentials
from asteros.services.server import services

pytestmark = pytest.mark.anyio
PATHS = paths_of([Service(service, "aster") for service in services()])
JSON = {"content-type": "application/json"}
STREAM = {"content-type": "application/connect+json"}
WEB = {"content-type": "application/grpc-web+proto"}
EMPTY = b"\0\0\0\0\0"
EMPTY_JSON = b"\0\0\0\0\2{}"


@pytest.fixture(scope="module")
async def client(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "BAD_TRIES", 10_000)  # this is a guesser of many tries
        async with serving(folder, http_port=0, connect="on", api_key="secret") as server:
            base = f"http://127.0.0.1:{server.house.http_port}"
            async with httpx2.AsyncClient(base_url=base, trust_env=False) as found:
                yield found


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
async def test_every_path_asks_for_a_key(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    for path, (method, _) in PATHS.items():
        kind, body = (STREAM, EMPTY_JSON) if method.server_streaming else (JSON, b"{}")
        answer = await client.post(path, content=body, headers={**kind, **headers})
        assert b'"unauthenticated"' in answer.content, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.status_code == (200 if method.server_streaming else 401), path
        web = await client.post(path, content=EMPTY, headers={**WEB, **headers})
        assert b"grpc-status: 16" in web.content, path


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("POST", JSON, b'{"nonsense":1}'),
        ("POST", JSON, b"{"),
        ("POST", JSON, b"x" * (2 << 20)),
        ("POST", {"content-type": "text/plain"}, b"{}"),
        ("PUT", JSON, b"{}"),
        ("GET", {}, b""),
    ],
)
async def test_what_is_wrong_comes_after_who(
    client: httpx2.AsyncClient, method: str, headers: dict[str, str], body: bytes
) -> None:
    path = "/aster.v1.AgentService/GetAgent"
    answer = await client.request(method, path, content=body, headers=headers)
    assert answer.status_code == 401
    known = await client.request(method, path, content=body, headers={**headers, "authorization": "Bearer secret"})
    assert known.status_code in (400, 405, 415, 429)


async def test_every_form_of_a_key(client: httpx2.AsyncClient) -> None:
    path = "/aster.v1.AgentService/ListAgents"
    for given in ({"authorization": "Bearer secret"}, {"authorization": "secret"}, {"x-api-key": "secret"}):
        assert (await client.post(path, content=b"{}", headers={**JSON, **given})).status_code == 200
    query = "connect=v1&encoding=json&message=%7B%7D"
    assert (await client.get(f"{path}?{query}")).status_code == 401
    assert (await client.get(f"{path}?{query}", headers={"x-api-key": "secret"})).status_code == 200


async def test_what_everybody_may_see(client: httpx2.AsyncClient) -> None:
    for path in ("/openapi.json", "/docs/", "/docs/start.js"):
        assert (await client.get(path)).status_code == 200
