"""The peers: how each is started and what one streamed run of it is. A line per peer in ``PEERS``."""

import contextlib
import http.client
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.harness import START_LIMIT, Bench, Process, Server
from bench.http_client import post
from bench.peers import environments

SERVERS = Path(__file__).parent / "servers"
CHUNKS = 50  # of one run
QUIET = {
    "CHUNKS": str(CHUNKS),
    "LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OTEL_SDK_DISABLED": "true",
}
HOST = "127.0.0.1"
Request = Callable[[str], bytes]  # of a session


@dataclass(frozen=True)
class Peer:
    """``command`` and ``{...}``: py, bin, servers, work, port."""

    name: str
    command: str
    health: str
    run: Request
    before: Request | None = None  # what must come before a run; its time counts
    stores: str = "nothing"


@contextlib.contextmanager
def started(bench: Bench, peer: Peer, *arguments: str) -> Iterator[Server]:
    """A peer that answers, on a copy of its files: some write next to their agents.

    :raises Skipped: it cannot be installed here."""
    python = environments.python(peer.name)
    work = bench.folder(peer.name)
    shutil.copytree(SERVERS, work / "servers")
    port = _free_port()
    names = {"py": python, "bin": python.parent, "servers": work / "servers", "work": work, "port": port}
    command = [*peer.command.format(**names).split(), *arguments]
    began = time.perf_counter()
    process = Process(command, work / "server.log", cwd=work, env=os.environ | QUIET)
    try:
        while not _answers(port, peer.health):
            if process.popen.poll() is not None or time.perf_counter() - began > START_LIMIT:
                raise RuntimeError(f"{peer.name} did not start: {process.words()}")
            time.sleep(0.01)
        yield Server(process, 0, work, time.perf_counter() - began, port)
    finally:
        process.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# -- one run of each --------------------------------------------------------------------


def _agno(session: str) -> bytes:
    mark, fields = uuid.uuid4().hex, {"message": "hi", "stream": "true", "session_id": session}
    part = '--{}\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(part.format(mark, name, value) for name, value in fields.items())
    return post("/agents/echo/runs", f"{body}--{mark}--\r\n", f"multipart/form-data; boundary={mark}")


def _adk(session: str) -> bytes:
    message = {"role": "user", "parts": [{"text": "hi"}]}
    facts = {"appName": "echo", "userId": "u", "sessionId": session, "newMessage": message, "streaming": True}
    return post("/run_sse", facts)


def _adk_session(session: str) -> bytes:
    return post(f"/apps/echo/users/u/sessions/{session}", {})


def _pydantic_ai(session: str) -> bytes:
    empty: dict[str, object] = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    message = {"id": "1", "role": "user", "content": "hi"}
    return post("/", {"threadId": session, "runId": uuid.uuid4().hex, "messages": [message], **empty})


def _fastapi(_session: str) -> bytes:
    return post("/run", {"message": "hi"})


FASTAPI = Peer("fastapi", "{py} {servers}/fastapi_app.py {port}", "/health", _fastapi)
PEERS = (
    Peer("agno", "{py} {servers}/agno_app.py {port} {work}/agno.db", "/health", _agno, stores="SQLite"),
    Peer(
        "google-adk",
        "{bin}/adk api_server --host 127.0.0.1 --port {port} --log_level ERROR {servers}/adk_agents",
        "/list-apps", _adk, _adk_session, "SQLite",
    ),
    Peer("pydantic-ai", "{py} {servers}/pydantic_ai_app.py {port}", "/health", _pydantic_ai),
)  # fmt: skip
