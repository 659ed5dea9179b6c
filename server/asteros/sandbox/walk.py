"""Lists what lies beneath a folder of a workspace, for tools that search."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asteros.sandbox.beneath import FOLDER, Beneath, PathRefused

MAX_FOUND = 100_000  # entries looked at in one walk
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file beneath the folder a walk began in."""

    path: str  # from that folder on
    size: int  # bytes
    modified: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Walk:
    """The files found, by path; not complete when there was more than a walk looks at."""

    files: tuple[Found, ...]
    complete: bool


class Walker:
    """One walk. Every folder is opened through ``Beneath`` by its path from the root, so
    that a folder which becomes a link meanwhile leads nowhere else."""

    def __init__(
        self, beneath: Beneath, root: int, start: str, *, hidden: bool, follow: bool, skip: Callable[[str], bool]
    ) -> None:
        self._beneath = beneath
        self._root = root
        self._start = start
        self._hidden = hidden
        self._follow = follow
        self._skip = skip
        self._seen: set[tuple[int, int]] = set()  # folders, where links are followed: they may form a ring
        self._room = MAX_FOUND
        self._complete = True

    def run(self) -> Walk:
        """Raises PathRefused and OSError for the first folder; others that cannot be read are left out."""
        files: list[Found] = []
        folders = [""]
        while folders and self._room > 0:
            path = folders.pop()
            try:
                inner = list(self._folder(path, files))
            except (PathRefused, OSError):
                if not path:
                    raise
                self._complete = False
                continue
            folders += reversed(inner)
        files.sort(key=lambda found: found.path)
        return Walk(tuple(files), self._complete and self._room > 0)

    def _folder(self, path: str, files: list[Found]) -> Iterator[str]:
        """Adds the files of one folder; its folders."""
        fd = self._open(path, FOLDER)
        try:
            if self._follow and self._known(os.fstat(fd)):
                return
            with os.scandir(fd) as items:
                names = sorted((item for item in items if self._wanted(item.name)), key=lambda item: item.name)
            for item in names:
                self._room -= 1
                inner = f"{path}/{item.name}" if path else item.name
                if self._room < 0 or self._skip(inner):
                    continue
                facts = self._facts(inner, item)
                if facts is not None and stat.S_ISDIR(facts.st_mode):
                    yield inner
                elif facts is not None and stat.S_ISREG(facts.st_mode):
                    files.append(Found(inner, facts.st_size, facts.st_mtime))
        finally:
            os.close(fd)

    def _wanted(self, name: str) -> bool:
        if name.startswith(".") and not self._hidden:
            return False
        try:
            name.encode()
        except UnicodeEncodeError:  # no tool could name it
            return False
        return True

    def _facts(self, path: str, item: "os.DirEntry[str]") -> os.stat_result | None:
        """What an entry is, or what its link leads to where links are followed; None: nothing to see."""
        with contextlib.suppress(OSError, PathRefused):
            facts = item.stat(follow_symlinks=False)
            if not (self._follow and stat.S_ISLNK(facts.st_mode)):
                return facts
            fd = self._open(path, _LOOK)
            try:
                return os.fstat(fd)
            finally:
                os.close(fd)
        return None

    def _open(self, path: str, flags: int) -> int:
        return self._beneath.open(self._root, f"{self._start}/{path}" if path else self._start, flags)

    def _known(self, facts: os.stat_result) -> bool:
        key = (facts.st_dev, facts.st_ino)
        known = key in self._seen
        self._seen.add(key)
        return known
