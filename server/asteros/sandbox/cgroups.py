"""Limits for all processes of a box together, where the kernel lets this server set them.

Version 2 in one tree, version 1 with a tree per controller, or none of it (a container
without its cgroup, a server that is not root): rlimits remain, and ``doctor`` says so."""

import contextlib
import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from asteros import clock
from asteros.sandbox.base import Limits

ROOT = Path("/sys/fs/cgroup")
# controller: (file of version 2, file of version 1)
_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max", "pids.max")}
_LEAVING = 50  # times to look whether the last process has left
_numbers = itertools.count()


class Cgroups:
    """Makes a group per box. ``version``: 2, 1, or 0 for none."""

    def __init__(self, own: str = "", root: Path = ROOT) -> None:
        """``own``: the text of /proc/self/cgroup; "": read it."""
        self._folders: dict[str, Path] = {}
        self.version = 0
        if os.geteuid() == 0:
            self._find(own or Path("/proc/self/cgroup").read_text(encoding="utf-8"), root)

    def _find(self, own: str, root: Path) -> None:
        places = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in own.splitlines() if line.count(":") >= 2}
        unified = root / places.get("", "/").lstrip("/")
        for controller, (second, first) in _FILES.items():
            old = root / controller / places.get(controller, "/").lstrip("/")
            if controller in _words(unified / "cgroup.subtree_control") and _works(unified, second):
                self._folders[controller], self.version = unified, 2
            elif controller in places and _works(old, first):
                self._folders[controller], self.version = old, 1

    @property
    def controllers(self) -> tuple[str, ...]:
        """What is limited: "memory", "pids"."""
        return tuple(self._folders)

    def make(self, limits: Limits) -> list[str]:
        """New groups for one box; the folders to join. OSError when the kernel refuses."""
        name = f"aster-{os.getpid()}-{next(_numbers)}"
        values = {"memory": limits.memory, "pids": limits.processes}
        made = list(dict.fromkeys(folder / name for folder in self._folders.values()))
        for folder in made:
            folder.mkdir()
        for controller, parent in self._folders.items():
            second, first = _FILES[controller]
            (parent / name / (second if self.version == 2 else first)).write_text(str(values[controller]))
        return [str(folder) for folder in made]


async def remove(folders: Sequence[str]) -> None:
    """Removes the groups of a box that has ended, and kills what is left in them: nothing of a box
    outlives it. One that stays full is left behind."""
    for _ in range(_LEAVING):
        folders = [folder for folder in folders if not _removed(Path(folder))]
        if not folders:
            return
        for folder in folders:
            _kill(Path(folder))
        await clock.sleep(0.02)


def _kill(folder: Path) -> None:
    for pid in _words(folder / "cgroup.procs"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), signal.SIGKILL)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # not empty yet
        return False
    return True


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").split()
    return []


def _works(folder: Path, file: str) -> bool:
    """A group can be made here, and has the file that limits it."""
    trial = folder / f"aster-{os.getpid()}-trial-{next(_numbers)}"
    try:
        trial.mkdir()
    except OSError:
        return False
    try:
        return os.access(trial / file, os.W_OK)
    finally:
        trial.rmdir()
