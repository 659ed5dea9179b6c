"""A folder of YAML files that is read again when a file changes."""

import logging
from pathlib import Path
from typing import Any

import yaml

from asteros import clock

_log = logging.getLogger(__name__)
LOOK = 1.0  # seconds between looks at the folder
MAX_BYTES = 1 << 20
MAX_FILES = 1000

Stamp = tuple[int, int, int]  # what changes when a file does: time, size, inode


class YamlFolder:
    """No thread: it looks when asked, at most once every LOOK seconds."""

    def __init__(self, folder: Path, holds: str) -> None:
        """``holds``: what its files are, for the log."""
        self._folder = folder
        self._holds = holds
        self._stamps: dict[str, Stamp] = {}
        self._looked: float | None = None
        self._missing = False

    def changes(self) -> tuple[list[str], list[str]]:
        """Names of files that are gone, and of those that are new or have changed, since the last look."""
        now = clock.monotonic()
        if self._looked is not None and now - self._looked < LOOK:
            return [], []
        self._looked = now
        stamps = self._look()
        if stamps is None:
            return [], []
        gone = sorted(set(self._stamps) - set(stamps))
        changed = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        self._stamps = stamps
        return gone, changed

    def _look(self) -> dict[str, Stamp] | None:
        """What is in the folder; None when it cannot be read."""
        try:
            found = sorted(path for path in self._folder.iterdir() if path.suffix in (".yaml", ".yml"))[:MAX_FILES]
            facts = [(path.name, path.stat()) for path in found]
        except OSError as error:
            if not self._missing:
                _log.warning("the folder of %ss %s cannot be read: %s", self._holds, self._folder, error.strerror)
            self._missing = True
            return None
        self._missing = False
        return {name: (fact.st_mtime_ns, fact.st_size, fact.st_ino) for name, fact in facts}

    def read(self, name: str) -> bytes:
        """
        :raises OSError:"""
        return (self._folder / name).read_bytes()

    def broken(self, name: str, error: Exception, *, kept: bool) -> None:
        """Tells in the log that a file is broken; ``kept``: what it said before still holds."""
        what = "what it said before still holds" if kept else "it is left out"
        _log.warning("the %s file %s is broken: %s; %s", self._holds, self._folder / name, error, what)


def document(data: bytes, members: str) -> dict[str, Any]:
    """The mapping that a file holds; ``members`` names them for the message.

    :raises ValueError: what is wrong with it, in one line."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    try:
        found = yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"line {error.problem_mark.line + 1 if error.problem_mark else 0}: is not YAML") from None
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError):
        raise ValueError("is not YAML") from None
    if not isinstance(found, dict):
        raise ValueError(f"must be a mapping of {members}")  # noqa: TRY004
    return found
