"""Starts a server, looks at what it costs, stops it. Only what was started here is ended here."""

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.report import Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = os.sysconf("SC_PAGE_SIZE")
START_LIMIT = 60.0  # seconds
GRPC_ALONE = ("--http-port", "-1", "--studio-port", "-1", "--metrics-port", "-1")


class Process:
    """A started server, watched through the kernel and not through itself."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        quiet = {"cwd": ROOT, "stdin": subprocess.DEVNULL} | options
        with log.open("wb") as out:
            # A session of its own: a signal to the terminal's group is for the bench, which then stops the server.
            self.popen = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **quiet)
        self.log = log

    def cpu_s(self) -> float:
        """CPU seconds of all its threads, ended ones too, in nanosecond steps: the clock that
        clock_getcpuclockid(3) names (/proc/PID/stat counts in steps of 10 ms)."""
        return time.clock_gettime_ns((~self.popen.pid << 3) | 2) / 1e9

    def rss_kib(self) -> float:
        """Memory in RAM now."""
        return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * PAGE / 1024

    def stop(self) -> None:
        for kind in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):  # a second one skips the drain
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.send_signal(kind)
                self.popen.wait(3)
                return

    def words(self) -> str:
        """The end of its log, for error messages."""
        return self.log.read_text(errors="replace")[-600:]


@dataclass
class Server:
    """A server that answers."""

    process: Process
    port: int
    data_dir: Path
    start_s: float  # from exec to the first answer SERVING
    http_port: int = 0  # 0: none

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """For set-up, never for what is measured."""
        with grpc.insecure_channel(self.address) as channel:
            yield channel


@dataclass
class Bench:
    """One run: how much to measure, where to work, and what was found."""

    quick: bool
    work: Path
    raw: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reps(self) -> int:
        return 1 if self.quick else 5

    def pick(self, quick: Any, full: Any) -> Any:
        return quick if self.quick else full

    def folder(self, name: str) -> Path:
        """An empty folder that is deleted with the run."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))

    def note(self, label: str, **facts: Any) -> None:
        """Keeps a measurement for the JSON file."""
        self.raw.append({"label": label, **facts})

    def repeat(self, work: Callable[[], Any]) -> list[Any]:
        """Runs work as often as this run repeats."""
        return [work() for _ in range(self.reps)]

    # -- servers --------------------------------------------------------------------

    @contextlib.contextmanager
    def aster(self, data_dir: Path | None = None, *flags: str) -> Iterator[Server]:
        """Our server as users run it: every option at its default but ports and folder."""
        data = data_dir or self.folder("data")
        options = ["--data-dir", str(data), "--grpc-port", "0", *GRPC_ALONE, "--log-level", "warning"]
        command = [sys.executable, "-m", "asteros", "serve", *options, *flags]
        with self._started(command, data) as server:
            yield server

    @contextlib.contextmanager
    def ceiling(self) -> Iterator[Server]:
        """The bare grpc.aio server of ``ceilings/raw_grpc.py``."""
        with self._started([sys.executable, "-m", "bench.ceilings.raw_grpc"], self.folder("raw")) as server:
            yield server

    @contextlib.contextmanager
    def _started(self, command: list[str], folder: Path) -> Iterator[Server]:
        ready = folder / f"ready-{time.monotonic_ns()}.json"
        began = time.perf_counter()
        process = Process([*command, "--ready-file", str(ready)], folder / "server.log")
        try:
            while not ready.exists():
                if process.popen.poll() is not None or time.perf_counter() - began > START_LIMIT:
                    raise RuntimeError(f"{' '.join(command[1:4])} did not start: {process.words()}")
                time.sleep(0.002)
            ports = json.loads(ready.read_text())
            port: int = ports["grpc_port"]
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            yield Server(process, port, folder, time.perf_counter() - began, ports.get("http_port", 0))
        finally:
            process.stop()


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A folder for the whole run, on the disk that holds the temporary files."""
    path = Path(tempfile.mkdtemp(prefix="aster-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


Scenario = Callable[[Bench], list[Row]]
