"""A boxed command as a process of the server: start it, read it, signal it, see the end of it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from asteros import clock
from asteros.sandbox.base import GRACE, Command, Descriptors, Kind, Plan, Room, Tier

SHIM = str(Path(__file__).with_name("shim.py"))
SHIM_FAILED = 125
_BLOCK = 64 * 1024
_REAPS = 100  # times to look for the end of the first process, 10 ms apart
_CLOSING = 2.0  # seconds for the pipes of a tree that was killed

# Takes what was written: (to standard error, bytes).
Sink = Callable[[bool, bytes], None]


class Box:
    """One command and all the processes it starts. ``kill`` may be called at any time."""

    def __init__(self, tier: Tier, process: asyncio.subprocess.Process, status: int, sink: Sink) -> None:
        self._tier = tier
        self._process = process
        self._status = status  # owned: what the shim and bubblewrap report
        self._over = False
        self._killed = False
        self.over_quota = False  # it was ended, because the workspace is full
        assert process.stdout is not None
        assert process.stderr is not None
        self._tasks = [
            asyncio.create_task(_pump(process.stdout, sink, False), name="box stdout"),
            asyncio.create_task(_pump(process.stderr, sink, True), name="box stderr"),
            asyncio.create_task(process.wait(), name="box"),
        ]
        self._tasks[2].add_done_callback(self._left)

    @classmethod
    async def start(cls, kind: Kind, command: Command, room: Room, sink: Sink) -> "Box":
        """Starts a command; its whole output goes to ``sink`` as it comes.

        :raises OSError: no process could be started"""
        with Descriptors() as fds:
            plan = kind.plan(command, room, fds)
            # The interpreter may need it to start; nothing else of the server's environment is handed on,
            # and the box gets an empty one from the shim.
            environ = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
            status = os.dup(int(dict(plan)["status"]))
            try:
                arguments = ("-I", "-S", "-B", SHIM, str(fds.memory(_encoded(plan))))
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *arguments,
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                    env=environ, cwd="/", pass_fds=fds.passed, start_new_session=True,
                )  # fmt: skip
            except BaseException:
                os.close(status)
                raise
        return cls(kind.tier, process, status, sink)

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def exit_code(self) -> int:
        """Of the command; 128 + number when a signal ended it."""
        code = self._process.returncode or 0
        return code if code >= 0 else 128 - code

    async def wait(self) -> None:
        """Waits until the command has ended and its output is read. Cancelled: it goes on."""
        await asyncio.wait(self._tasks)

    def refusal(self) -> str:
        """Why the box could not be shut, and so nothing was run; "" when it could."""
        _, marked, text = self._report().partition("!")
        return text or "unknown" if marked and self.exit_code == SHIM_FAILED else ""

    def signal(self, number: int) -> None:
        """Signals the command's process group; the rest of the box when it has left that."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # not that far yet, or already gone
            os.killpg(self._first() or self._process.pid, number)

    def kill(self) -> None:
        """Ends every process of the box; returns at once."""
        # A namespace dies with its first process, and that one with bubblewrap. What watches
        # over a box without one must live to end the rest.
        self._killed = True
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL if self._tier is Tier.STRONG else signal.SIGTERM)
        self._kill_first()

    def _left(self, process: object) -> None:  # noqa: ARG002 - a callback
        if self._killed:
            self._kill_first()  # it may have been told of since

    def _kill_first(self) -> None:
        """Ends the first process of a namespace, and so all in it, by itself: bubblewrap, killed
        before that process asked to die with it, would leave it running (seen under load)."""
        first = self._first() if self._tier is Tier.STRONG and not self._over else 0
        if first and _is_first(first):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(first, signal.SIGKILL)

    async def stop(self, grace: float = GRACE) -> None:
        """SIGTERM to the command, SIGKILL to all of it ``grace`` seconds later."""
        self.signal(signal.SIGTERM)
        await asyncio.wait(self._tasks[2:], timeout=grace)
        self.kill()
        await asyncio.wait(self._tasks, timeout=_CLOSING)

    async def aclose(self) -> None:
        """Ends what runs and frees everything. Twice is fine."""
        self.kill()
        try:
            await asyncio.wait(self._tasks, timeout=_CLOSING)
        finally:
            for task in self._tasks:
                task.cancel()
            if not self._over:
                await self._reap()
                self._over = True
                os.close(self._status)

    async def _reap(self) -> None:
        """Takes the end of the box's first process: orphaned by bubblewrap, it comes to this
        process where that is the first one of a container."""
        first = self._first()
        if os.getpid() != 1 or not first:
            return
        for _ in range(_REAPS):
            try:
                if os.waitpid(first, os.WNOHANG)[0]:  # noqa: ASYNC222 - it does not wait
                    return
            except ChildProcessError:
                return
            await clock.sleep(0.01)

    def _first(self) -> int:
        """The first process of the box; 0: not known yet."""
        match = re.search(r'"child-pid": (\d+)', self._report())
        return int(match[1]) if match else 0

    def _report(self) -> str:
        return "" if self._over else os.pread(self._status, 4096, 0).decode(errors="replace")


def _is_first(pid: int) -> bool:
    """The process is the first one of a namespace below ours: its number was not given to another since."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        return re.search(rf"^NSpid:(?:\t\d+)*\t{pid}\t1$", status, re.MULTILINE) is not None
    return False


async def _pump(stream: asyncio.StreamReader, sink: Sink, is_error: bool) -> None:
    while data := await stream.read(_BLOCK):
        sink(is_error, data)


def _encoded(plan: Plan) -> bytes:
    """Raises ValueError for a NUL, which no argument can hold."""
    if any("\0" in value for _, value in plan):
        raise ValueError("a NUL character in a command")
    return "".join(f"{key}={value}\0" for key, value in plan).encode(errors="surrogateescape")
