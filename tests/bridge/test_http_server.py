"""AsterOS over HTTP: turns, streams on three framings, resume, drain, keys, browsers, routes."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from services.helpers import Server, bearer, methods, options, serving
from websockets.asyncio.client import connect

from asteros.app import AsterOS
from asteros.bridge import serve
from asteros.bridge.bindings import Service, Table
from asteros.services.server import services

pytestmark = pytest.mark.anyio
EVENTS = {"accept": "text/event-stream"}
LIMIT = 20.0
SLOW = "- [" + ", ".join(f'{{text: "t{number} "}}, {{pause: 0.02}}' for number in range(25)) + "]\n"


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("http"), http_port=0, studio_port=0) as running:
        yield running


def address(server: Server, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.house.http_port}"


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=address(server), timeout=LIMIT) as client:
        yield client


async def created(http: httpx2.AsyncClient, model: str = "echo") -> str:
    config = {"templateId": "chat", "modelConfig": {"provider": "scripted", "model": model}}
    answer = await http.post("/api/agents", json={"config": config})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


# -- turns -------------------------------------------------------------------------------


async def test_create_run_and_look(http: httpx2.AsyncClient) -> None:
    agent = await created(http)
    ran = (await http.post(f"/api/agents/{agent}/run", json={"message": "hi", "stream": True, "context": {}})).json()
    assert (ran["text"], ran["turn"]["state"]) == ("hi", "TURN_STATE_COMPLETED")
    status = (await http.get(f"/api/agents/{agent}/status")).json()
    assert (status["state"], status["latestSequence"].isdecimal()) == ("AGENT_STATE_STARTED", True)
    listed = (await http.get("/api/agents", params={"pageSize": 1000})).json()
    assert agent in [each["id"] for each in listed["agents"]]
    turn = (await http.get(f"/api/agents/{agent}/turns/{ran['turn']['id']}")).json()
    assert turn["id"] == ran["turn"]["id"]


async def test_patch_changes_what_is_named(http: httpx2.AsyncClient) -> None:
    agent = await created(http)
    changed = (await http.patch(f"/api/agents/{agent}", json={"displayName": "Ann"})).json()
    assert changed["displayName"] == "Ann"
    assert changed["config"]["templateId"] == "chat"


IN_ORDER: list[tuple[str, bytes, str, int]] = [
    ("nobody", b"{", "MALFORMED_JSON", 400),
    ("nobody", b'{"nope":1}', "AGENT_NOT_FOUND", 404),
    ("nobody", b'{"message":5}', "AGENT_NOT_FOUND", 404),
    ("nobody", b"{}", "AGENT_NOT_FOUND", 404),
    ("a%20b%2F..", b'{"nope":1}', "INVALID_ID", 400),
    ("", b'{"nope":1,"neither":2}', "UNKNOWN_FIELD", 400),
    ("", b'{"message":5}', "FIELD_VIOLATION", 400),
    ("", b'{"message":"a","busyPolicy":"NO"}', "FIELD_VIOLATION", 400),
    ("", b"{}", "FIELD_VIOLATION", 400),
]


@pytest.mark.parametrize(("agent", "body", "reason", "status"), IN_ORDER)
async def test_order_of_refusals(http: httpx2.AsyncClient, agent: str, body: bytes, reason: str, status: int) -> None:
    """What is not there comes before a field that is wrong, and after a body that is no JSON."""
    path = f"/api/agents/{agent or await created(http)}/run"
    answer = await http.post(path, content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["details"][0]["reason"]) == (status, reason), error
    if reason == "UNKNOWN_FIELD":
        assert [each["field"] for each in error["details"][1]["fieldViolations"]] == ["nope", "neither"]


# -- streams -----------------------------------------------------------------------------


class Events:
    """Server-sent events of a response, one by one."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> dict[str, str]:
        event: dict[str, str] = {}
        async for line in self._lines:
            if not line and event:
                return event
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value
        raise StopAsyncIteration


def sequence(frame: dict[str, Any]) -> int:
    return int(frame["event"]["sequence"]) if "event" in frame else 0


async def slow_turn(server: Server, http: httpx2.AsyncClient) -> str:
    """An agent whose turn takes half a second and many events; the turn has begun."""
    agent = await created(http, server.script("slow", SLOW))
    await http.post(f"/api/agents/{agent}/send", json={"message": "go"})
    return agent


async def test_events_resume_after_a_cut_connection(server: Server, http: httpx2.AsyncClient) -> None:
    """Last-Event-ID goes on where the stream was cut, though the URL says something else."""
    agent = await slow_turn(server, http)
    url = f"/api/agents/{agent}/events/stream?afterSequence=0&untilTurnComplete=true"
    seen: list[int] = []
    last = ""
    async with http.stream("GET", url, headers=EVENTS) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for event in Events(response):
            last = event.get("id", last)
            seen += filter(None, [sequence(json.loads(event.get("data", "{}")))])
            if len(seen) == 8:
                break  # cut in mid-turn
    async with http.stream("GET", url, headers={**EVENTS, "last-event-id": last}) as response:
        names = []
        async for event in Events(response):
            names.append(event.get("event", ""))
            seen += filter(None, [sequence(json.loads(event.get("data", "{}")))])
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 20
    assert (names[1], names[-1]) == ("started", "end")


async def test_lines_resume(server: Server, http: httpx2.AsyncClient) -> None:
    agent = await slow_turn(server, http)
    url = f"/api/agents/{agent}/events/stream"
    seen: list[int] = []
    cursor = ""
    async with http.stream("GET", f"{url}?afterSequence=0") as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        async for line in response.aiter_lines():
            frame = json.loads(line)
            cursor = frame["cursor"]
            seen += filter(None, [sequence(frame)])
            if len(seen) == 8:
                break
    async with http.stream("GET", url, params={"cursor": cursor, "untilTurnComplete": "true"}) as response:
        async for line in response.aiter_lines():
            seen += filter(None, [sequence(json.loads(line))])
    assert seen == list(range(1, len(seen) + 1))


async def test_sockets_resume(server: Server, http: httpx2.AsyncClient) -> None:
    agent = await slow_turn(server, http)
    url = f"{address(server, 'ws')}/api/agents/{agent}/ws"
    seen: list[int] = []
    cursor = ""
    async with connect(f"{url}?afterSequence=0") as socket:
        async for message in socket:
            frame = json.loads(message)
            cursor = frame["cursor"]
            seen += filter(None, [sequence(frame)])
            if len(seen) == 8:
                break
        socket.transport.abort()
    async with connect(f"{url}?cursor={cursor}&untilTurnComplete=true") as socket:
        async for message in socket:
            seen += filter(None, [sequence(json.loads(message))])
    assert seen == list(range(1, len(seen) + 1))
    assert socket.close_code == 1000


async def test_stream_of_a_turn(http: httpx2.AsyncClient) -> None:
    agent = await created(http)
    url = f"/api/agents/{agent}/stream"
    async with http.stream("POST", url, json={"message": "hi"}, headers=EVENTS) as response:
        names = [event.get("event") async for event in Events(response)]
    assert (names[1], names[-2:]) == ("started", ["progress.complete", "end"])


async def test_refused_stream_is_plain_http(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/api/agents/nobody/events/stream", headers=EVENTS)
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (404, "AGENT_NOT_FOUND")
    agent = await created(http)
    answer = await http.get(f"/api/agents/{agent}/events/stream", headers={**EVENTS, "last-event-id": "forged"})
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (400, "INVALID_CURSOR")


# -- sockets -----------------------------------------------------------------------------


async def test_socket_takes_filters_as_a_message(server: Server, http: httpx2.AsyncClient) -> None:
    agent = await created(http)
    await http.post(f"/api/agents/{agent}/run", json={"message": "hi"})
    async with asyncio.timeout(LIMIT), connect(f"{address(server, 'ws')}/api/agents/{agent}/ws") as socket:
        assert "started" in json.loads(await socket.recv())
        await socket.send('{"type":"ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}
        await socket.send(json.dumps({"afterSequence": "0", "eventTypes": ["progress.*"], "untilTurnComplete": True}))
        frames = [json.loads(message) async for message in socket]
    assert "started" in frames[0]
    assert [frame["event"]["eventType"] for frame in frames[1:]] == [
        "progress.text_chunk", "progress.text_done", "progress.complete"
    ]  # fmt: skip


BAD_MESSAGES = [
    ("{", "MALFORMED_JSON", 1007),
    ('{"a":1,"a":2}', "MALFORMED_JSON", 1007),
    (b"{}", "UNSUPPORTED_MEDIA_TYPE", 1003),
    ('{"nope":1}', "UNKNOWN_FIELD", 0),
    ('{"bufferSize":-1}', "FIELD_VIOLATION", 0),
    ('{"cursor":"forged"}', "INVALID_CURSOR", 0),
    ('{"agentIds":["nobody"]}', "AGENT_NOT_FOUND", 0),
]


@pytest.mark.parametrize(("message", "reason", "code"), BAD_MESSAGES)
async def test_bad_message(server: Server, message: Any, reason: str, code: int) -> None:
    """A frame says what is wrong; the socket stays unless nobody could read what it says."""
    async with asyncio.timeout(LIMIT), connect(f"{address(server, 'ws')}/api/events/ws") as socket:
        await socket.recv()
        await socket.send(message)
        error = json.loads(await socket.recv())["error"]
        assert error["details"][0]["reason"] == reason
        if code:
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == code
        else:
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv()) == {"type": "pong"}


async def test_socket_of_nobody(server: Server) -> None:
    async with asyncio.timeout(LIMIT), connect(f"{address(server, 'ws')}/api/agents/nobody/ws") as socket:
        assert json.loads(await socket.recv())["error"]["details"][0]["reason"] == "AGENT_NOT_FOUND"


async def refused_socket(url: str, **headers: str) -> int:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with asyncio.timeout(LIMIT), connect(url, additional_headers=headers):
            pass
    return int(caught.value.response.status_code)


async def test_socket_before_the_upgrade(server: Server) -> None:
    url = f"{address(server, 'ws')}/api/events/ws"
    assert await refused_socket(url, Origin="https://evil.example") == 403
    assert await refused_socket(url, Origin="null") == 403
    assert await refused_socket(f"{address(server, 'ws')}/api/nothing/ws") == 404
    assert await refused_socket(f"{url}?bufferSize=x") == 400
    async with connect(url, additional_headers={"Origin": "http://localhost:5173"}):
        pass


async def test_leaving_ends_the_subscription_alone(server: Server, http: httpx2.AsyncClient) -> None:
    agent = await slow_turn(server, http)
    before = server.house._streams.hub.count
    async with connect(f"{address(server, 'ws')}/api/agents/{agent}/ws") as socket:
        await socket.recv()
        assert server.house._streams.hub.count == before + 1
    async with asyncio.timeout(LIMIT):
        while server.house._streams.hub.count > before:
            await asyncio.sleep(0.01)
    assert (await server.seen(agent, "progress.complete")).progress.complete.stop_reason


# -- drain ---------------------------------------------------------------------------------


async def texts(socket: Any) -> list[dict[str, Any]]:
    """What a socket says until it is closed, however it is."""
    found = []
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            found.append(json.loads(message))
    return found


async def test_drain_ends_every_stream_with_its_place(tmp_path: Path) -> None:
    house = AsterOS(options(tmp_path, http_port=0))
    await house.start()
    async with contextlib.AsyncExitStack() as stack:
        base = f"127.0.0.1:{house.http_port}"
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=f"http://{base}", timeout=LIMIT))
        agent = await created(http)
        await http.post(f"/api/agents/{agent}/run", json={"message": "hi"})
        url = f"/api/agents/{agent}/events/stream?afterSequence=0"
        events = await stack.enter_async_context(http.stream("GET", url, headers=EVENTS))
        lines = await stack.enter_async_context(http.stream("GET", url))
        socket = await stack.enter_async_context(connect(f"ws://{base}/api/agents/{agent}/ws?afterSequence=0"))
        latest = int((await http.get(f"/api/agents/{agent}")).json()["status"]["latestSequence"])
        shown = [json.loads(await socket.recv())]
        async with asyncio.timeout(LIMIT):
            while sequence(shown[-1]) < latest:  # the last to be opened has all there is
                shown.append(json.loads(await socket.recv()))
        stopping = asyncio.create_task(house.stop())
        async with asyncio.timeout(LIMIT):
            of_events = [event async for event in Events(events)]
            of_lines = [json.loads(line) async for line in lines.aiter_lines()]
            of_socket = shown + await texts(socket)
            await stopping
    goaway = of_events[-1]
    assert goaway["event"] == "goaway"
    cursor = goaway["id"]
    assert json.loads(goaway["data"]) == {"reason": "draining", "cursor": cursor}
    error = of_lines[-1]["error"]
    assert (error["details"][0]["reason"], error["details"][0]["metadata"]["cursor"]) == ("DRAINING", cursor)
    assert of_socket[-1] == {"type": "goaway", "reason": "draining", "cursor": cursor}
    assert socket.close_code == 1012
    last = sequence(of_socket[-2])
    async with serving(tmp_path, http_port=0) as again, httpx2.AsyncClient(base_url=address(again)) as http:
        await http.post(f"/api/agents/{agent}/run", json={"message": "hi"})
        url = f"/api/agents/{agent}/events/stream?untilTurnComplete=true"
        answer = await http.get(url, headers={"last-event-id": cursor})
    assert sequence(json.loads(answer.text.splitlines()[1])) == last + 1


# -- keys --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def locked(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    async with serving(folder, http_port=0, studio_port=-1, api_key="sesame", metadata=bearer("sesame")) as running:
        yield running


@pytest.fixture
async def stranger(locked: Server) -> AsyncIterator[httpx2.AsyncClient]:
    locked.house._credentials._bad.clear()
    async with httpx2.AsyncClient(base_url=address(locked), timeout=LIMIT) as client:
        yield client
    locked.house._credentials._bad.clear()


FORMS: list[dict[str, Any]] = [
    {"headers": {"authorization": "Bearer sesame"}},
    {"headers": {"authorization": "bearer sesame"}},
    {"headers": {"authorization": "sesame"}},
    {"headers": {"x-api-key": "sesame"}},
    {"headers": {"x-api-key": "sesame", "authorization": "Bearer sesame"}},
    {"headers": {"grpc-metadata-authorization": "Bearer sesame"}},
    {"headers": {"cookie": "other=1; aster_key=sesame"}},
    {"params": {"api_key": "sesame"}},
]


@pytest.mark.parametrize("form", FORMS)
async def test_form_of_a_key(stranger: httpx2.AsyncClient, form: dict[str, Any]) -> None:
    answer = await stranger.get("/api/caller", **form)
    assert (answer.status_code, answer.json().get("principal")) == (200, "api-key")


NOT_KEYS: list[dict[str, Any]] = [
    {},
    {"headers": {"authorization": "Bearer open"}},
    {"headers": {"authorization": "Basic sesame"}},
    {"headers": {"authorization": "Bearer sesame", "x-api-key": "open"}},
    {"headers": {"authorization": "Bearer sesame", "grpc-metadata-authorization": "Bearer open"}},
    {"headers": {"cookie": "aster_key=open"}},
    {"headers": {"grpc-metadata-x-api-key": "open"}},
    {"params": {"api_key": "open"}},
]


@pytest.mark.parametrize("form", NOT_KEYS)
async def test_no_key(stranger: httpx2.AsyncClient, form: dict[str, Any]) -> None:
    answer = await stranger.get("/api/caller", **form)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["details"][0]["reason"] == "INVALID_CREDENTIALS"


def routes() -> list[Any]:
    return list(Table([Service(service, "aster") for service in services()]))


async def test_every_route_wants_a_key(locked: Server, stranger: httpx2.AsyncClient) -> None:
    """Also paths, methods and bodies that are none: who is nobody learns nothing else."""
    asked = [(binding.verb, re.sub(r"\{[^}]*\}", "x", binding.template.text), b"") for binding in routes()]
    asked += [
        ("GET", "/api/nothing", b""),
        ("PUT", "/api/agents", b""),
        ("POST", "/api/agents", b"{"),
        ("GET", "/", b""),
    ]
    asked += [("GET", "/metrics", b"")]
    for verb, path, body in asked:
        locked.house._credentials._bad.clear()
        headers = {"content-type": "application/json"}
        answer = await stranger.request(verb, path, content=body, headers=headers)
        assert answer.status_code == 401, f"{verb} {path}: {answer.text}"
    assert await refused_socket(f"{address(locked, 'ws')}/api/events/ws") == 401
    locked.house._credentials._bad.clear()
    assert await refused_socket(f"{address(locked, 'ws')}/api/nothing/ws") == 401


async def test_what_is_public(stranger: httpx2.AsyncClient) -> None:
    answer = await stranger.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy", "name": "AsterOS"})
    assert (await stranger.options("/api/agents")).status_code == 204


async def test_guessing_is_counted_by_the_clients_address(locked: Server, stranger: httpx2.AsyncClient) -> None:
    """Nobody else is locked out, and nobody escapes by saying another address."""
    forged = {"grpc-metadata-aster-client-address": "10.0.0.1", "x-forwarded-for": "10.0.0.2"}
    for _ in range(10):
        assert (await stranger.get("/api/caller", headers=forged)).status_code == 401
    answer = await stranger.get("/api/caller", headers=forged)
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
    assert list(locked.house._credentials._bad) == ["127.0.0.1"]
    assert await refused_socket(f"{address(locked, 'ws')}/api/events/ws") == 429


async def test_metrics(stranger: httpx2.AsyncClient) -> None:
    key = {"authorization": "Bearer sesame"}
    answer = await stranger.get("/metrics", headers=key)
    assert (answer.status_code, "aster_log_events_total" in answer.text) == (200, True)
    made = await stranger.post("/api/keys", json={"name": "n", "scopes": ["agents:read"]}, headers=key)
    refused = await stranger.get("/metrics", headers={"authorization": f"Bearer {made.json()['secret']}"})
    assert (refused.status_code, refused.json()["error"]["details"][0]["metadata"]) == (403, {"scope": "metrics:read"})


# -- browsers ----------------------------------------------------------------------------------

SESAME = {"authorization": "Bearer sesame"}
COOKIE = {"cookie": "aster_key=sesame"}
OWN = "own"
ORIGINS: list[tuple[bool, dict[str, str], str, bool]] = [  # locked, credential, origin, may it change things
    (False, {}, "", True),
    (False, {}, OWN, True),
    (False, {}, "http://localhost:5173", True),
    (False, {}, "http://[::1]:1", True),
    (False, {}, "null", False),
    (False, {}, "https://evil.example", False),
    (False, {}, "http://127.0.0.1.evil.example", False),
    (False, {}, "http://localhost.evil.example", False),
    (True, SESAME, "", True),
    (True, SESAME, OWN, True),
    (True, SESAME, "https://any.example", True),
    (True, SESAME, "null", False),
    (True, COOKIE, "", True),
    (True, COOKIE, OWN, True),
    (True, COOKIE, "http://localhost:5173", False),
    (True, COOKIE, "https://evil.example", False),
    (True, COOKIE, "null", False),
]


@pytest.mark.parametrize(("is_locked", "credential", "origin", "may"), ORIGINS)
async def test_origin(
    server: Server, locked: Server, is_locked: bool, credential: dict[str, str], origin: str, may: bool
) -> None:
    base = address(locked if is_locked else server)
    headers = {**credential, **({"origin": base if origin == OWN else origin} if origin else {})}
    async with httpx2.AsyncClient(base_url=base, timeout=LIMIT) as client:
        changed = await client.post("/api/agents/nobody/interrupt", json={}, headers=headers)
        assert changed.status_code == (404 if may else 403)
        assert (await client.get("/api/agents", headers=headers)).status_code == 200
    socket = f"{base.replace('http', 'ws')}/api/events/ws"
    if may:
        async with connect(socket, additional_headers=headers):
            pass
    else:
        assert await refused_socket(socket, **headers) == 403


async def test_cors(server: Server, locked: Server) -> None:
    for base, origin, shared in (
        (address(locked), "https://any.example", "*"),
        (address(server), "http://localhost:5173", "http://localhost:5173"),
        (address(server), "https://evil.example", None),
    ):
        async with httpx2.AsyncClient(base_url=base, headers={"origin": origin}) as client:
            asked = await client.options("/api/agents", headers={"access-control-request-method": "POST"})
            assert (asked.status_code, asked.headers.get("access-control-allow-origin")) == (204, shared)
            assert ("access-control-allow-methods" in asked.headers) == (shared is not None)
            read = await client.get("/api/agents", headers=SESAME)
            assert read.headers.get("access-control-allow-origin") == shared
            assert "access-control-allow-credentials" not in read.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "[::2]:80", ""]
)
async def test_host_bound_anew(server: Server, http: httpx2.AsyncClient, host: str) -> None:
    answer = await http.get("/health", headers={"host": host})
    assert answer.status_code in (421, 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.9.1:99", "[::1]:8080"])
async def test_own_host(http: httpx2.AsyncClient, host: str) -> None:
    assert (await http.get("/health", headers={"host": host})).status_code == 200


async def test_large_headers(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/health", headers={"x-large": "x" * 17_000})).status_code == 431


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nx: ", b"GET /"], ids=["header", "path"])
async def test_a_head_without_an_end(server: Server, head: bytes) -> None:
    """It is answered while it is still coming: nobody's memory holds it."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.house.http_port)
    writer.write(head)
    async with asyncio.timeout(LIMIT):
        with pytest.raises(ConnectionError):
            await _pour(writer)
    writer.close()


async def _pour(writer: asyncio.StreamWriter) -> None:
    for _ in range(256):
        writer.write(b"x" * 64 * 1024)
        await writer.drain()


async def test_what_follows_a_body_is_no_header(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.house.http_port)
    writer.write(
        b"POST /api/agents HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    writer.write(b"0\r\ncontent-type: application/json\r\nx-api-key: a\r\nauthorization: Bearer b\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        said = await reader.read()
    writer.close()
    assert b"INVALID_CREDENTIALS" not in said  # two keys that differ would be refused


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(("whole", "part"), [(b"", b""), (b"", HEAD[:20]), (HEAD, HEAD[:20])])
async def test_slow_head(server: Server, monkeypatch: pytest.MonkeyPatch, whole: bytes, part: bytes) -> None:
    """Whoever connects and does not ask is let go; also after a first request."""
    monkeypatch.setattr(serve, "HEADER_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.house.http_port)
    async with asyncio.timeout(LIMIT):
        if whole:
            writer.write(whole)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(part)
        assert await reader.read() == b""
    writer.close()


async def test_a_slow_answer_is_no_slow_head(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "HEADER_SECONDS", 0.05)
    async with httpx2.AsyncClient(base_url=address(server), timeout=LIMIT) as http:
        agent = await created(http, server.script("slow", SLOW))
        ran = await http.post(f"/api/agents/{agent}/run", json={"message": "go"})
        assert ran.json()["turn"]["state"] == "TURN_STATE_COMPLETED"
        async with connect(f"{address(server, 'ws')}/api/agents/{agent}/ws") as socket:
            await socket.recv()
            await asyncio.sleep(0.2)
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv()) == {"type": "pong"}


# -- routes ------------------------------------------------------------------------------------

# What the first description of AsterOS promised, `{id}` as it printed it.
PROMISED = {
    "GET /api/agents",
    "POST /api/agents/{id}/run",
    "GET /api/agents/{id}/status",
    "GET /api/stars",
    "POST /api/stars/{id}/run",
    "POST /api/stars/{id}/join",
    "POST /api/stars/{id}/leave",
    "GET /api/stars/{id}/members",
    "GET /api/workflows",
    "POST /api/workflows/{id}/execute",
}


def test_promised_routes() -> None:
    table = [f"{binding.verb} {re.sub(r'{[^}]*}', '{id}', binding.template.text)}" for binding in routes()]
    print("\n".join(sorted(table)))
    assert set(table) >= PROMISED
    assert len(table) == len(set(table)), "two methods on one route"
    assert all(each.split()[1].startswith("/api/") for each in table)


def test_every_method_has_a_route() -> None:
    reached = {binding.rpc.rpartition("/")[2] for binding in routes()}
    assert {method.name for method in methods()} - reached == {"ConnectAgents"}


async def test_prefix(tmp_path: Path) -> None:
    async with serving(tmp_path, http_port=0, api_prefix="/v2/api") as server:
        async with httpx2.AsyncClient(base_url=address(server)) as client:
            assert (await client.get("/v2/api/agents")).status_code == 200
            assert (await client.get("/api/agents")).status_code == 404
            assert (await client.get("/health")).status_code == 200
        async with connect(f"{address(server, 'ws')}/v2/api/events/ws"):
            pass


async def test_both_ports_serve_the_same(server: Server) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.house.studio_port}") as client:
        assert (await client.get("/api/server")).json()["interfaces"][:2] == ["grpc", "http"]


async def test_socket_file_is_ours_alone(server: Server) -> None:
    socket = server.house.options.data_dir / "grpc.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    assert socket.parent.stat().st_mode & 0o077 == 0
