"""How much a workspace holds, counted where nobody can hide anything."""

import os
import stat

MAX_DEPTH = 200  # of folders
_ENTRY = 512  # bytes of a name, so that empty files count, too


class Uncountable(Exception):
    """A folder gives no permission or is nested too deeply: it would be the place to hide things."""


def usage(folder: int, limit: int) -> int:
    """Bytes on disk beneath an open folder; stops as soon as they exceed ``limit``.

    Links are not followed. Raises Uncountable."""
    return _Count(limit).folder(folder, 0)


class _Count:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._seen: set[int] = set()  # inodes with several names

    def folder(self, fd: int, depth: int) -> int:
        with os.scandir(fd) as entries:
            for entry in entries:
                if self._total > self._limit:
                    break
                self._entry(entry, fd, depth)
        return self._total

    def _entry(self, entry: "os.DirEntry[str]", parent: int, depth: int) -> None:
        try:
            facts = entry.stat(follow_symlinks=False)
            if facts.st_nlink == 1 or stat.S_ISDIR(facts.st_mode) or facts.st_ino not in self._seen:
                self._total += facts.st_blocks * 512 + _ENTRY
            if stat.S_ISDIR(facts.st_mode):
                self._inner(entry.name, parent, depth + 1)
            elif facts.st_nlink > 1:
                self._seen.add(facts.st_ino)
        except (FileNotFoundError, NotADirectoryError):  # it changed meanwhile
            return
        except OSError as error:
            raise Uncountable from error

    def _inner(self, name: str, parent: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Uncountable
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self.folder(fd, depth)
        finally:
            os.close(fd)
