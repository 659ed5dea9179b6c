"""The HTTP client of the bench: requests as bytes, a plan for ``load_http.py``, its result."""

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.harness import Server
from bench.load import Result, Started

_EVENTS = {"accept": "text/event-stream"}


@dataclass(frozen=True)
class Plan:
    """What to load a server with; modes stand at the top of ``load_http.py``."""

    mode: str
    requests: tuple[bytes, ...]  # taken in turn
    conns: int
    calls: int = 0
    needle: str = ""  # an occurrence of it is an event
    stop: int = 0  # events after which a follower has enough
    least: int = 1  # events of a run that did not fail
    before: tuple[bytes, ...] = ()  # a request that must come before that of the same number

    def text(self) -> str:
        """As JSON."""
        as_text = {
            name: [base64.b64encode(each).decode() for each in getattr(self, name)] for name in ("requests", "before")
        }
        return json.dumps(asdict(self) | as_text)


class HttpClient(Started):
    """One run of ``load_http.py``."""

    def __init__(self, port: int, plan: Plan) -> None:
        super().__init__([sys.executable, "-m", "bench.load_http", str(port)], plan.text())


def run(server: Server, plan: Plan) -> Result:
    """Runs a plan to its end and adds what the server spent meanwhile.

    :raises RuntimeError: the client failed."""
    before = server.process.cpu_s()
    with HttpClient(server.http_port, plan) as client:
        result = client.result()
    result.server_cpu_s = server.process.cpu_s() - before
    return result


def get(path: str, headers: Mapping[str, str] = _EVENTS) -> bytes:
    """A request on a connection that stays."""
    return _head("GET", path, headers) + b"\r\n"


def post(path: str, body: Any, kind: str = "application/json") -> bytes:
    """A request for a stream, on a connection of its own. ``body``: text, or what becomes JSON."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = _EVENTS | {"content-type": kind, "connection": "close", "content-length": str(len(data))}
    return _head("POST", path, headers) + b"\r\n" + data


def socket(path: str) -> bytes:
    """The wish for a WebSocket. The client only listens."""
    key = base64.b64encode(b"sixteen bytes of").decode()
    headers = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": key, "sec-websocket-version": "13"}
    return _head("GET", path, headers) + b"\r\n"


def _head(verb: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{verb} {path} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode()
