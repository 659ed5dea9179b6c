"""The HTTP client of the bench counts what a real server sends. No timing."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is no installed package: it is run from the root

from bench import http_client, load_http
from bench.http_client import Plan
from bench.load import parse
from bench.peers import environments, peers

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def loaded(plan: Plan, answer: Callable[[asyncio.StreamWriter], None]) -> tuple[Any, list[bytes]]:
    """What the client saw of a server that answers each request head, and the heads."""
    heads: list[bytes] = []
    serving: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        try:
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has what it wanted
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        load = load_http.Load(server.sockets[0].getsockname()[1], json.loads(plan.text()))
        await load.run()
        await asyncio.gather(*serving)
    return parse([json.dumps(load.result(1.0))]), heads


async def test_runs_count_events_and_failures() -> None:
    left = iter([3, 1, 3])

    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"data: x\n\n" * next(left))
        writer.close()

    plan = Plan("runs", (http_client.get("/"),), conns=1, calls=3, needle="data: ", least=3)
    result, _ = await loaded(plan, answer)
    assert (result.calls, result.failed, result.events) == (3, 1, 7)
    assert result.codes == {"200/1": 1}


@pytest.mark.parametrize("cut", range(1, 6))
async def test_a_needle_in_two_pieces_is_one_event(cut: int) -> None:
    connection = load_http.Connection(b"data: ")
    connection.status = 200
    for piece in (b"data: a\n\n" + b"data: "[:cut], b"data: "[cut:] + b"b\n\n"):
        connection.data_received(piece)
    assert connection.events == 2


async def test_followers_stop_when_they_have_enough(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"data: x\n\n" * 4)  # and stays open

    plan = Plan("follow", (http_client.get("/"),), conns=2, needle="data: ", stop=4)
    result, _ = await loaded(plan, answer)
    assert (result.events, result.failed) == (8, 0)
    assert json.loads(capsys.readouterr().out)["open"] == 2


async def test_calls_share_their_connection() -> None:
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    plan = Plan("unary", (http_client.get("/a"), http_client.get("/b")), conns=1, calls=4)
    result, heads = await loaded(plan, answer)
    assert (result.calls, result.failed) == (4, 0)
    assert [head.split()[1] for head in heads] == [b"/a", b"/b", b"/a", b"/b"]


def test_requests_are_whole() -> None:
    head, body = http_client.post("/x", {"a": 1}).split(b"\r\n\r\n")
    assert json.loads(body) == {"a": 1}
    assert f"content-length: {len(body)}".encode() in head
    asked = dict(line.split(": ") for line in http_client.socket("/ws").decode().splitlines()[1:-1])
    assert len(base64.b64decode(asked["sec-websocket-key"])) == 16


def test_every_peer_has_its_lock_and_its_server() -> None:
    for peer in (peers.FASTAPI, *peers.PEERS):
        lock = (environments.LOCKS / f"{peer.name}.txt").read_text()
        assert "--hash=sha256:" in lock, peer.name
        assert peer.run("s").startswith(b"POST /")
        named = [word for word in peer.command.split() if word.startswith("{servers}/")]
        assert named
        assert all(Path(word.replace("{servers}", str(peers.SERVERS))).exists() for word in named)
