"""A workspace with commands in a box of one tier, for the suites that every tier passes."""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asteros.sandbox import probe
from asteros.sandbox.base import Command, Finished, Limits, Tier
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.commands import AgentCommands, Launcher
from asteros.sandbox.files import Workspace
from asteros.sandbox.netguard import networks
from asteros.sandbox.shells import Shells
from asteros.sandbox.workspaces import Workspaces

TIERS = (Tier.STRONG, Tier.MEDIUM)
UID = 100_000 if os.geteuid() == 0 else None
QUOTA = 256 << 20
LOOPBACK = networks(["127.0.0.0/8"])


class Ground:
    """One agent's place: ``files`` is what the file tools use, ``commands`` what Bash uses."""

    def __init__(self, launcher: Launcher, files: Workspace, folder: Path) -> None:
        self._launcher = launcher
        self.files = files
        self.folder = folder
        self.tier = launcher.kind.tier
        self.shells = Shells()
        self.commands = self.commands_to()

    def commands_to(self, *hosts: str, limit: float = 0) -> AgentCommands:
        async def launcher() -> Launcher:
            return self._launcher

        return AgentCommands(launcher, self.files, self.shells, limit=limit, hosts=hosts)

    async def run(self, text: str, *, timeout: float = 20, **how: Any) -> Finished:
        return await self.commands.run(Command(text, timeout=timeout, **how))

    async def out(self, text: str, **how: Any) -> str:
        """Standard output of a command that succeeds."""
        finished = await self.run(text, **how)
        assert finished.exit_code == 0, finished
        return finished.stdout.text


Make = Callable[..., Awaitable[Ground]]


@contextlib.asynccontextmanager
async def grounds(tier: Tier) -> AsyncIterator[Make]:
    """Makes agents' places in one server's folder; ``make(key, quota=…, limits=…)``."""
    found = await probe.probe(tier, UID)
    if found.kind is None:
        pytest.skip(f"the tier {tier} is not offered here: {found.missing} ({found.fix})")
    async with contextlib.AsyncExitStack() as stack:
        # Not pytest's folder: a path without shut folders above it, so that only the box keeps others out.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aster-box-", dir="/var/tmp")))
        folder.chmod(0o755)

        async def make(key: int = 1, *, quota: int = QUOTA, limits: Limits = Limits()) -> Ground:
            workspaces = Workspaces(folder, quota=quota)
            files = workspaces.open(key, "")
            stack.callback(files.close)
            ground = Ground(Launcher(found.kind, limits, Cgroups(), LOOPBACK), files, folder / "agents" / str(key))
            stack.push_async_callback(ground.shells.aclose)
            return ground

        yield make


def processes(marker: str) -> list[str]:
    """Command lines on this machine that name the marker; this process is not one of them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marker in line and place.parent.name != str(os.getpid()):
                found.append(line)
    return found


@contextlib.contextmanager
def outside() -> Iterator[Path]:
    """A folder of the host that anybody may read and write, with a file in it."""
    with tempfile.TemporaryDirectory(prefix="aster-outside-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "secret").write_text("outside-content\n")
        (folder / "secret").chmod(0o666)
        yield folder


def untouched(folder: Path) -> bool:
    """Nothing was made or changed in the folder of ``outside``."""
    secret = folder / "secret"
    modes = folder.stat().st_mode & 0o777, secret.stat().st_mode & 0o777
    names = [path.name for path in folder.iterdir()]
    return (names, modes, secret.read_text()) == (["secret"], (0o777, 0o666), "outside-content\n")


def lines(finished: Finished) -> Sequence[str]:
    return finished.stdout.text.splitlines()
