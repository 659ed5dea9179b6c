"""The command `asteros`: what it refuses and how, and a server as a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from aster.v1 import access_service_pb2, access_service_pb2_grpc
from asteros import __version__, clock
from asteros.app import AsterOS
from asteros.cli import logs, main
from asteros.config import Options
from asteros.errors import RefusedToStart

ASTEROS = [sys.executable, "-m", "asteros"]
LIMIT = 30.0  # seconds
NO_HTTP = {"http_port": -1, "studio_port": -1}
GRPC_ALONE = ("--http-port", "-1", "--studio-port", "-1", "--metrics-port", "-1")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ASTER_* of whoever runs this, and pytest keeps its log handlers."""
    for name in [name for name in os.environ if name.startswith("ASTER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(logs, "configure", lambda *_: None)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line on standard error."""
    code = main(arguments)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("asteros: ")
    return code, err


# -- usage: exit 2 -----------------------------------------------------------------------

USAGE = [
    (),
    ("nothing",),
    ("serve", "--no-such"),
    ("serve", "--grpc-port", "x"),
    ("serve", "--tls-cert", "c"),
    ("serve", "--config", "/none.toml"),
    ("keys",),
    ("keys", "create"),
    ("keys", "nothing"),
]


@pytest.mark.parametrize("arguments", USAGE)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert refused(capsys, *arguments)[0] == 2


def test_bad_variable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTER_GRPC_PORT", "x")
    assert refused(capsys, "serve") == (2, "asteros: ASTER_GRPC_PORT: 'x' is not a int\n")


HELP = [
    ((), ["serve", "doctor", "keys", "--version"]),
    (("serve",), ["--grpc-port", "--enable-auth", "(default 50051)", "--config"]),
    (("keys",), ["create", "list", "revoke"]),
    (("keys", "create"), ["--scope", "--days", "--data-dir"]),
]


@pytest.mark.parametrize(("command", "words"), HELP)
def test_help(capsys: pytest.CaptureFixture[str], command: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in shown for word in words)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"asteros {__version__}\n"


# -- safe defaults: exit 78 (security, part 1) ----------------------------------------------

OUTSIDE = ("--host", "0.0.0.0", "--grpc-port", "0", *GRPC_ALONE)
UNSAFE: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "no authentication": (OUTSIDE, ["asteros keys create", "127.0.0.1", "--insecure-no-auth"]),
    "a name that is not loopback": (("--host", "example.com"), ["asteros keys create", "--insecure-no-auth"]),
    "a key in plain text": ((*OUTSIDE, "--api-key", "k"), ["--tls-cert", "127.0.0.1", "--insecure-plaintext"]),
    "authentication without a key": (("--enable-auth",), ["asteros keys create", "--api-key"]),
    "the same from outside": ((*OUTSIDE, "--enable-auth", "--insecure-plaintext"), ["asteros keys create"]),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    """The text names the ways out."""
    arguments, ways = UNSAFE[name]
    code, line = refused(capsys, "serve", "--data-dir", str(tmp_path), *arguments)
    assert code == 78
    assert all(way in line for way in ways), line


def test_a_stored_key_turns_authentication_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No switch leaves configured keys unused."""
    key(capsys, tmp_path)
    code, line = refused(capsys, "serve", "--data-dir", str(tmp_path), *OUTSIDE)
    assert (code, "--insecure-plaintext" in line) == (78, True)


SAFE: dict[str, dict[str, Any]] = {
    "loopback": {},
    "loopback with a key": {"api_key": "k"},
    "outside without authentication, said aloud": {"host": "0.0.0.0", "insecure_no_auth": True},
    "outside behind a proxy": {"host": "0.0.0.0", "api_key": "k", "insecure_plaintext": True},
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", SAFE)
async def test_safe(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    house = AsterOS(Options(data_dir=tmp_path, grpc_port=0, metrics_port=-1, **NO_HTTP, **SAFE[name]))
    await house.start()
    await house.stop()
    assert ("ANYONE" in caplog.text) == ("insecure_no_auth" in SAFE[name])  # a banner at every start


@pytest.mark.anyio
async def test_ports_in_use(tmp_path: Path) -> None:
    first = AsterOS(Options(data_dir=tmp_path / "1", grpc_port=0, metrics_port=0))
    await first.start()
    taken: dict[str, dict[str, Any]] = {
        "--grpc-port": {"grpc_port": first.grpc_port, **NO_HTTP, "metrics_port": -1},
        "--http-port": {"grpc_port": 0, **NO_HTTP, "http_port": first.grpc_port, "metrics_port": -1},
        "--metrics-port": {"grpc_port": 0, **NO_HTTP, "metrics_port": first.metrics_port},
    }
    for flag, ports in taken.items():
        with pytest.raises(RefusedToStart, match=f"the port is in use.*{flag}"):
            await AsterOS(Options(data_dir=tmp_path / "2", **ports)).start()
    await first.stop()


# -- doctor -----------------------------------------------------------------------------------


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = (
        "--data-dir",
        str(tmp_path / "data"),
        "--grpc-port",
        "0",
        "--http-port",
        "-1",
        "--studio-port",
        "-1",
        "--metrics-port",
        "-1",
    )
    code = main(["doctor", "--json", *where])
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert {"sandbox tier strong", "sandbox tier medium", "commands (Bash)", "cgroups", "fdatasync"} <= set(found)
    assert found["data directory"]["state"].endswith("is writable")
    assert code == int(any(finding["wrong"] for finding in found.values()))
    assert main(["doctor", *where]) == code
    text = capsys.readouterr().out
    assert all(what in text for what in found)


def test_doctor_finds_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        where = (
            "--data-dir",
            str(tmp_path / "file" / "data"),
            "--grpc-port",
            port,
            "--http-port",
            "-1",
            "--studio-port",
            "-1",
            "--metrics-port",
            "-1",
        )
        assert main(["doctor", "--json", *where]) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    for what in ("data directory", "gRPC port"):
        assert found[what]["wrong"]
        assert found[what]["fix"]


# -- keys -------------------------------------------------------------------------------------


def key(capsys: pytest.CaptureFixture[str], folder: Path, *more: str, name: str = "ann") -> str:
    """The text of a new key."""
    assert main(["keys", "create", name, "--data-dir", str(folder), *more]) == 0
    return capsys.readouterr().out.strip()


def listed(capsys: pytest.CaptureFixture[str], folder: Path) -> list[str]:
    assert main(["keys", "list", "--data-dir", str(folder)]) == 0
    return capsys.readouterr().out.splitlines()


def test_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert listed(capsys, tmp_path) == []
    text = key(capsys, tmp_path, "--scope", "agents:read", "--scope", "runs:write")
    key_id, secret = text.split("_", 2)[1:]
    (line,) = listed(capsys, tmp_path)
    assert line == f"{key_id}  live     ann  last used never  agents:read runs:write"
    assert secret not in line
    for _ in range(2):
        assert main(["keys", "revoke", key_id, "--data-dir", str(tmp_path)]) == 0
        assert capsys.readouterr().out == f"revoked {key_id}\n"
    assert "  revoked  ann" in listed(capsys, tmp_path)[0]


def test_the_secret_is_stored_nowhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    secret = key(capsys, tmp_path).split("_", 2)[2]
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()
            assert file.stat().st_mode & 0o077 == 0, file  # nor may others read what is there


def test_key_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path))
    code, line = refused(capsys, "keys", "create", "ann", "--scope", "everything", *where)
    assert (code, "--scope everything: no such scope" in line) == (2, True)
    for days in ("0", "-1", "nan", "x"):
        assert refused(capsys, "keys", "create", "ann", f"--days={days}", *where)[0] == 2
    assert refused(capsys, "keys", "revoke", "nothing", *where) == (1, "asteros: API key not found: nothing\n")
    assert listed(capsys, tmp_path) == []


def test_key_that_ends(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 10**18)
    key(capsys, tmp_path, "--days", "0.5")
    assert "live" in listed(capsys, tmp_path)[0]
    monkeypatch.setattr(clock, "now", lambda: 10**18 + 43_201 * clock.NANOS)
    assert "live" not in listed(capsys, tmp_path)[0]


# -- a server as a process ------------------------------------------------------------------------


class Process:
    """`asteros serve`, ready."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.data, self.ready = folder / "data", folder / "ready.json"
        self.log = folder / "log.txt"
        command = [*ASTEROS, "serve", "--data-dir", self.data, "--ready-file", self.ready, "--grpc-port", "0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, *more], stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.process.kill()  # nobody will stop what never was ready
            raise
        self.ports = json.loads(self.ready.read_text())
        self.address = f"127.0.0.1:{self.ports['grpc_port']}"

    def _wait(self) -> None:
        until = clock.monotonic() + LIMIT
        while not self.ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert clock.monotonic() < until
            time.sleep(0.02)

    def caller(self, key: str = "") -> str:
        """Who the server takes the bearer of a key for; the name of the code when it refuses."""
        with grpc.insecure_channel(self.address) as channel:
            stub = access_service_pb2_grpc.AccessServiceStub(channel)
            metadata = (("authorization", f"Bearer {key}"),) if key else ()
            try:
                request = access_service_pb2.GetCallerRequest()
                return str(stub.GetCaller(request, metadata=metadata, timeout=LIMIT).caller.principal)
            except grpc.RpcError as error:
                return str(error.code().name)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, *GRPC_ALONE)
    yield process
    if process.process.poll() is None:
        process.stop()


def test_ready_file(running: Process) -> None:
    """Ports and pid, whole when it is there; gone after the end, which is a clean one."""
    assert running.ports["pid"] == running.process.pid
    assert running.ports["grpc_port"] > 0
    assert set(running.ports) == {"grpc_port", "http_port", "studio_port", "metrics_port", "pid"}
    assert running.caller() == "local"
    assert running.stop() == 0
    assert not running.ready.exists()


def test_http(tmp_path: Path) -> None:
    """The ready file has real ports, the log line an address to open, and SIGTERM ends all of it."""
    process = Process(tmp_path, "--http-port", "0", "--studio-port", "0", "--metrics-port", "-1", "--name", "Mine")
    ports = process.ports
    assert len({ports["grpc_port"], ports["http_port"], ports["studio_port"]} - {0}) == 3
    for port in (ports["http_port"], ports["studio_port"]):
        with urllib.request.urlopen(f"http://localhost:{port}/health", timeout=LIMIT) as answer:
            assert json.load(answer) == {"status": "healthy", "name": "Mine"}
    assert process.stop() == 0
    log = process.log.read_text()
    assert f"AsterOS 'Mine' is running on http://localhost:{ports['http_port']}" in log
    assert f"curl http://localhost:{ports['http_port']}/api/agents" in log


def test_beside_a_running_server(running: Process, capsys: pytest.CaptureFixture[str]) -> None:
    """A second server is refused, and the first goes on; keys may be made."""
    code, line = refused(capsys, "serve", "--data-dir", str(running.data), "--grpc-port", "0")
    assert (code, "another server runs on this data directory" in line) == (78, True)
    assert key(capsys, running.data).startswith("ast_")
    assert len(listed(capsys, running.data)) == 1
    assert running.caller() == "local"  # authentication is chosen at the start


def test_keys_of_a_running_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made and revoked from outside: counted at once, refused within five seconds."""
    first = key(capsys, tmp_path / "data", name="first")
    with contextlib.closing(_Running(tmp_path)) as process:
        assert process.caller() == "UNAUTHENTICATED"
        assert process.caller(first) == "first"
        second = key(capsys, process.data, name="second")
        assert process.caller(second) == "second"
        assert main(["keys", "revoke", second.split("_")[1], "--data-dir", str(process.data)]) == 0
        until = clock.monotonic() + 5
        while process.caller(second) == "second":
            assert clock.monotonic() < until
            time.sleep(0.1)
        assert process.caller(second) == "UNAUTHENTICATED"
        assert process.caller(first) == "first"


class _Running(Process):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, *GRPC_ALONE)

    def close(self) -> None:
        assert self.stop() == 0


def test_addresses_that_are_called_are_not_logged() -> None:
    """A query may hold a key, and httpx2 logs every address at INFO."""
    program = (
        "import logging; from asteros.cli import logs; logs.configure('text', 'debug');"
        "logging.getLogger('httpx2').info('https://x.example/?key=canary');"
        "logging.getLogger('mcp.client.streamable_http').debug('canary'); logging.getLogger('asteros').debug('heard')"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert "heard" in said
    assert "canary" not in said


def test_json_log(tmp_path: Path) -> None:
    process = Process(tmp_path, "--metrics-port", "0", "--log-format", "json")
    assert process.stop() == 0
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any("AsterOS' is running" in line["message"] for line in lines)
