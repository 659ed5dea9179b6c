"""A server in a process of its own: started, killed, drained and started again.

It is ended by its id and nothing else, and always: ``async with`` does it whatever
the test did. After the first start it keeps its port, as an operator's server does,
so that clients find it again by themselves."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from aster.v1 import (
    agent_service_pb2_grpc,
    control_service_pb2_grpc,
    cosmos_service_pb2_grpc,
    event_service_pb2_grpc,
    session_service_pb2_grpc,
    stars_service_pb2_grpc,
)

START_SECONDS = 30.0  # a loaded machine; the promise for a log of 100,000 events is 3
# A server that is killed ten times in ten seconds must be found again at once.
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # one connection per channel: a stalled one holds up no other
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


class ServerProcess:
    """One data directory and the server on it, if one runs."""

    def __init__(
        self,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        program: Sequence[str] = ("-m", "asteros", "serve"),
    ) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}  # of the next start, besides our own
        self.data_dir = folder / "data"
        self.scripts_dir = folder / "scripts"
        self.port = 0
        self.http_port = 0  # where the arguments ask for one
        self.pid = 0  # of the server itself, also behind a prefix
        self.starts = 0
        self.longest_start = 0.0  # seconds from exec to the ready file
        self._ready = folder / "ready.json"
        self._log = folder / "server.log"
        self._arguments = arguments
        self._program = program
        self._prefix = prefix  # a program to run it under, such as strace
        self._process: asyncio.subprocess.Process | None = None
        self.scripts_dir.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What all servers of this folder have said."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    # -- life -------------------------------------------------------------------

    async def spawn(self) -> None:
        """Starts the process and does not wait for it to serve."""
        self._ready.unlink(missing_ok=True)
        self.pid = 0
        command = [
            *self._prefix, sys.executable, *self._program, "--data-dir", str(self.data_dir),
            "--grpc-port", str(self.port), "--http-port", "-1", "--studio-port", "-1",
            "--metrics-port", "-1", "--ready-file", str(self._ready),
            "--scripts-dir", str(self.scripts_dir), *self._arguments,
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env={**os.environ, **self.environment}
            )
        self.starts += 1

    async def start(self) -> None:
        """Starts the server and waits for its ready file."""
        began = time.monotonic()
        await self.spawn()
        await self.ready()
        self.longest_start = max(self.longest_start, time.monotonic() - began)

    async def ready(self) -> None:
        """Waits until the server that was spawned serves. A file has no event to wait for: it is looked at."""
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            while not self._ready.exists():
                assert self._process.returncode is None, f"the server ended by itself:\n{self.log[-3000:]}"
                await asyncio.sleep(0.005)
        ports = json.loads(self._ready.read_text(encoding="utf-8"))
        self.port, self.http_port, self.pid = ports["grpc_port"], ports["http_port"], ports["pid"]

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server, if it runs."""
        process = self._process
        if process is not None and process.returncode is None:
            os.kill(self.pid or process.pid, number)

    async def wait(self, seconds: float = 60.0) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL; nothing when none runs."""
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGKILL)
            await self.wait()

    async def terminate(self, seconds: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait(seconds)


class Stubs:
    """Raw stubs on a channel of their own. ``async with`` closes it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.agents = agent_service_pb2_grpc.AgentServiceStub(self.channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.control = control_service_pb2_grpc.ControlServiceStub(self.channel)
        self.cosmos = cosmos_service_pb2_grpc.CosmosServiceStub(self.channel)
        self.stars = stars_service_pb2_grpc.StarsServiceStub(self.channel)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()
