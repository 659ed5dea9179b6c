"""The clients of this repository, by their ``task.sh``: what is there, and built."""

import asyncio
import fcntl
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = ROOT / "clients"
BUILD_SECONDS = 900  # the first build of a client compiles all it stands on
MADE = {"build", "node_modules", "target", "dist", "__pycache__"}


@dataclass(frozen=True)
class Language:
    """One folder of clients/ with its tasks."""

    name: str

    @property
    def folder(self) -> Path:
        return CLIENTS / self.name

    def task(self, *arguments: str, **environment: str) -> str:
        """What a task has printed. Fails the test with all it said when it fails."""
        command = [str(self.folder / "task.sh"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL,
            env={**_environment(), **environment},
        )  # fmt: skip
        assert done.returncode == 0, f"{self.name} {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def missing(self) -> str:
        """How to get the toolchain; empty where it is there."""
        done = subprocess.run([str(self.folder / "task.sh"), "needs"], capture_output=True, text=True)
        return (done.stdout or done.stderr).strip() if done.returncode else ""

    def build(self) -> None:
        """Builds what has changed since the last build; one process at a time."""
        made = self.folder / "build"
        made.mkdir(exist_ok=True)
        stamp = made / "built"
        with (made / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            newest = max(path.stat().st_mtime_ns for path in self._sources())
            if not stamp.exists() or stamp.stat().st_mtime_ns < newest:
                self.task("build")
                stamp.touch()

    def _sources(self) -> Iterator[Path]:
        folders = [self.folder, ROOT / "proto"]
        while folders:
            for path in folders.pop().iterdir():
                if path.is_dir() and path.name not in MADE:
                    folders.append(path)
                elif path.is_file():
                    yield path


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("ASTER_")}


LANGUAGES = [Language(path.parent.name) for path in sorted(CLIENTS.glob("*/task.sh"))]


def built(language: Language) -> Language:
    """The language with its client built; skips, and says how to get it, without its toolchain."""
    if missing := language.missing():
        pytest.skip(missing)
    language.build()
    return language


async def start(language: Language, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """A task that goes on beside the test, with pipes to it."""
    return await asyncio.create_subprocess_exec(
        str(language.folder / "task.sh"), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**_environment(), **environment},
    )  # fmt: skip
