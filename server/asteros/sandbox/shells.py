"""Background shells of one agent: bounded in number and output, ended with the agent."""

import asyncio
import itertools

from asteros import clock
from asteros.sandbox.base import Command, Tier
from asteros.sandbox.output import Ring
from asteros.sandbox.process import Box

MAX_SHELLS = 8  # of one agent that run at once
MAX_ENDED = 16  # that have ended and can still be read


class Shell:
    """One command in the background."""

    def __init__(self, shell_id: str, command: Command, tier: Tier) -> None:
        self.id = shell_id
        self.command = command
        self.tier = tier
        self.ring = Ring()
        self.read_to = 0  # offset up to which it has been read
        self.box: Box | None = None  # once it is shut
        self.task: asyncio.Task[None] | None = None  # which ends with the shell
        self.began = clock.monotonic()
        self.ran = 0.0  # seconds, once it has ended
        self.running = True
        self.over_quota = False  # it was ended, because the workspace is full
        self._news = asyncio.Event()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return clock.monotonic() - self.began if self.running else self.ran

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self.running or self.box is None else self.box.exit_code

    def write(self, is_error: bool, data: bytes) -> None:
        """The sink of its box."""
        self.ring.add(is_error, data)
        self._news.set()

    def over(self) -> None:
        """It has ended."""
        self.ran, self.running = self.seconds, False
        self.over_quota = self.box is not None and self.box.over_quota
        self._news.set()

    async def news(self, since: int, timeout: float) -> None:
        """Waits for output beyond an offset, for the end, or ``timeout`` seconds."""
        if self.ring.end > since or not self.running:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return

    def signal(self, number: int) -> None:
        """Signals its process group."""
        if self.box is not None:
            self.box.signal(number)

    def kill(self) -> None:
        """Ends all its processes; returns at once."""
        if self.box is not None:
            self.box.kill()

    async def ended(self, timeout: float) -> bool:
        """Waits at most ``timeout`` seconds for its end; whether it came."""
        if self.task is not None:
            await asyncio.wait((self.task,), timeout=timeout)
        return not self.running


class Shells:
    """The shells of one agent, by id. They do not survive the server."""

    def __init__(self) -> None:
        self._shells: dict[str, Shell] = {}
        self._numbers = itertools.count(1)

    def get(self, shell_id: str) -> Shell | None:
        return self._shells.get(shell_id)

    def new_id(self) -> str:
        """An id that is free."""
        return next(name for number in self._numbers if (name := f"shell_{number}") not in self._shells)

    @property
    def running(self) -> int:
        return sum(shell.running for shell in self._shells.values())

    def add(self, shell: Shell) -> None:
        """Keeps a shell; the oldest ended ones are forgotten."""
        self._shells[shell.id] = shell
        ended = [one.id for one in self._shells.values() if not one.running and one is not shell]
        for name in ended[: max(len(ended) - MAX_ENDED, 0)]:
            del self._shells[name]

    def forget(self, shell_id: str) -> None:
        """Drops an ended shell and its output."""
        shell = self._shells.get(shell_id)
        if shell is not None and not shell.running:
            del self._shells[shell_id]

    def kill(self) -> None:
        """Ends all; returns at once."""
        for shell in self._shells.values():
            shell.kill()

    async def aclose(self) -> None:
        """Ends all and waits until they are gone. Twice is fine."""
        self.kill()
        await asyncio.gather(*(shell.ended(5.0) for shell in self._shells.values()))
        self._shells.clear()
