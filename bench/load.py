"""The native load client: built on first use, run beside a server, its answer read."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
LOAD = BUILD / "load"
# Where an event, its time and a gap's count stand inside an entry of `repeated EventFrame frames`.
EVENTS = {"items": 1, "only": 2, "ts": "2.4", "gap": "5.3"}
COUNT = {"items": 1, "only": 2, "gap": "5.3"}  # the same without latencies: cheaper for the client


class Skipped(Exception):
    """A scenario cannot run here; its text says why and what would help."""


@dataclass(frozen=True)
class Call:
    """What to call: the method and its requests, which calls take in turn."""

    path: str
    requests: tuple[bytes, ...] = (b"",)

    @classmethod
    def of(cls, path: str, *messages: Any) -> "Call":
        """From protobuf messages."""
        return cls(path, tuple(message.SerializeToString() for message in messages))


@dataclass
class Result:
    """What the load client saw. Times are in microseconds."""

    events: int
    messages: int
    dropped: int  # events that gap frames named
    bytes: int
    calls: int
    failed: int
    unanswered: int
    codes: dict[str, int]  # how failed calls ended
    wall_s: float
    span_s: float  # first event to last event
    client_cpu_s: float
    latency_us: dict[str, int]
    first_us: dict[str, int]  # begin of a call to its first event
    call_us: dict[str, int]
    open_s: float = 0.0  # until every first call had its first message
    server_cpu_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def events_s(self) -> float:
        return self.events / self.span_s if self.span_s > 0 else 0.0

    @property
    def calls_s(self) -> float:
        return (self.calls - self.failed) / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def us_event(self) -> float:
        """Server CPU of one event."""
        return self.server_cpu_s / max(1, self.events) * 1e6

    @property
    def us_call(self) -> float:
        return self.server_cpu_s / max(1, self.calls) * 1e6

    @property
    def client_share(self) -> float:
        """Of one core. Above 0.8 the client was the limit: the row is a lower bound."""
        return self.client_cpu_s / max(1e-9, self.wall_s)


def parse(lines: Iterable[str]) -> Result:
    """The client's output: an optional line about opening, then the result.

    :raises ValueError: there is no result in it."""
    found: dict[str, Any] = {}
    for line in lines:
        if line.startswith("{"):
            found |= json.loads(line)
    found.pop("open", None)
    if "wall_s" not in found:
        raise ValueError("the load client gave no result")
    return Result(**found)


def build() -> None:
    """Compiles the client when its source is newer.

    :raises Skipped: no compiler, or no headers and no right to install them."""
    source = HERE / "load.cc"
    if not _newer(LOAD, source) and not _headers():
        _install_headers()
    _compile(LOAD, source, "g++", "-std=c++17", "-lnghttp2")


def slow_sync() -> Path:
    """The library that makes a process see a slow disk (slow_sync.c), compiled when its source is newer.

    :raises Skipped: no compiler."""
    made = BUILD / "slow_sync.so"
    _compile(made, HERE / "slow_sync.c", "gcc", "-shared", "-fPIC", "-ldl")
    return made


def _newer(made: Path, source: Path) -> bool:
    return made.exists() and made.stat().st_mtime > source.stat().st_mtime


def _compile(made: Path, source: Path, compiler: str, *options: str) -> None:
    if _newer(made, source):
        return
    if shutil.which(compiler) is None:
        raise Skipped(f"no {compiler}: install it (apt-get install {compiler}), {source.name} needs it")
    BUILD.mkdir(exist_ok=True)
    command = [compiler, "-O2", "-o", str(made), str(source), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"{source.name} does not compile: {done.stderr.strip()[-400:]}")


def _headers() -> bool:
    probe = ["g++", "-E", "-x", "c++", "-"]
    text = "#include <nghttp2/nghttp2.h>\n"
    return subprocess.run(probe, input=text, capture_output=True, text=True, check=False).returncode == 0


def _install_headers() -> None:
    wanted = "libnghttp2-dev"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Skipped(f"no nghttp2 headers: install {wanted}")
    print(f"bench: installing {wanted} with apt-get, the load client needs its headers", flush=True)
    done = subprocess.run(["apt-get", "install", "-y", wanted], capture_output=True, text=True, check=False)
    if done.returncode or not _headers():
        raise Skipped(f"no nghttp2 headers, and `apt-get install -y {wanted}` failed: {done.stderr.strip()[-200:]}")


class Started:
    """A load client that runs. Use it as a context: what is left of it is ended there."""

    def __init__(self, command: list[str], stdin: str = "") -> None:
        self._lines: list[str] = []
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, cwd=HERE.parent, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._popen.stdin is not None
        self._popen.stdin.write(stdin)
        self._popen.stdin.close()
        self._popen.stdin = None  # communicate() would flush it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def wait_open(self) -> None:
        """Returns when every first call has had its first message, or the client has ended."""
        assert self._popen.stdout is not None
        self._lines.append(self._popen.stdout.readline())

    def result(self) -> Result:
        """Waits for the end.

        :raises RuntimeError: the client failed, or too many calls did."""
        out, err = self._popen.communicate()
        if self._popen.returncode:
            raise RuntimeError(f"load client: {err.strip()[-300:]}")
        result = parse([*self._lines, *out.splitlines()])
        result.extra["stderr"] = err.strip()[-300:]
        return result


class Client(Started):
    """One run of the native client."""

    def __init__(self, port: int, call: Call, **options: object) -> None:
        self._file = tempfile.NamedTemporaryFile("w", suffix=".hex", delete=False)  # noqa: SIM115 - closed here
        with self._file as out:
            out.writelines(request.hex() + "\n" for request in call.requests)
        named = [f"{key}={value}" for key, value in options.items()]
        super().__init__([str(LOAD), str(port), call.path, self._file.name, *named])

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        Path(self._file.name).unlink(missing_ok=True)


def run(port: int, call: Call, cpu: Callable[[], float], options: Mapping[str, object]) -> Result:
    """Runs the client to its end and adds what the server spent meanwhile."""
    before = cpu()
    with Client(port, call, **options) as client:
        result = client.result()
    result.server_cpu_s = cpu() - before
    return result
