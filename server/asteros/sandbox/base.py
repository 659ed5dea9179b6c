"""The promise of a sandbox kind, and the nouns of a command: what is run, where, with what outcome."""

import contextlib
import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

DEFAULT_TIMEOUT = 60.0  # seconds of one command
MAX_TIMEOUT = 600.0
MAX_COMMAND = 100_000  # bytes; the kernel takes 128 KiB in one argument
MAX_ENVIRONMENT = 64_000  # bytes of all variables
GRACE = 2.0  # seconds between SIGTERM and SIGKILL when a command's time is over


class CommandRefused(Exception):
    """The command cannot be run; the text is one sentence for the model."""


class Tier(enum.StrEnum):
    """How much a box holds, strongest first."""

    STRONG = "strong"  # own view of files, processes and network
    MEDIUM = "medium"  # files, sockets and signals are refused, but the system is seen
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one box may use. Of numbers the kernel keeps per process, each process has its own."""

    address_space: int = 4 << 30  # bytes of one process; Node does not start with 512 MiB
    memory: int = 2 << 30  # bytes of all processes, where cgroups can be used
    processes: int = 256  # of the agent's uid: processes and threads
    file_size: int = 64 << 20  # bytes of one file
    open_files: int = 256
    cpu_seconds: int = 900  # of one process; above MAX_TIMEOUT, for background shells
    temporary: int = 64 << 20  # bytes of /tmp
    shared_memory: int = 16 << 20  # bytes of /dev/shm


@dataclass(frozen=True, slots=True)
class Command:
    """A command for a shell. ``folder`` is relative to the workspace, normalised, "." for its root."""

    text: str
    interpreter: str = "bash"  # or "sh"
    folder: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT  # seconds; of no effect on a background shell


@dataclass(frozen=True, slots=True)
class Room:
    """The place a command gets: what of the host it is given."""

    workspace: int  # open folder
    uid: int | None = None  # to become, and its group; None: stay who the server is
    limits: Limits = Limits()
    cgroups: Sequence[str] = ()  # folders to join
    proxy: int | None = None  # a socket to hand the box's proxy listener out on; None: no network


@dataclass(frozen=True, slots=True)
class Captured:
    """What a command wrote to one stream."""

    text: str  # UTF-8 with replacements, without terminal escapes
    size: int  # bytes it wrote
    cut: bool  # the middle is missing from ``text``


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    exit_code: int  # 128 + number when a signal ended it
    stdout: Captured
    stderr: Captured
    seconds: float
    tier: Tier
    timed_out: bool = False
    over_quota: bool = False  # stopped, because the workspace is full


class Descriptors:
    """Descriptors for a child that is about to start; closed here when the block ends."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.passed: list[int] = []

    def __enter__(self) -> "Descriptors":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def memory(self, data: bytes = b"") -> int:
        """A file in memory with this content, to be read from its beginning."""
        fd = os.memfd_create("aster", os.MFD_CLOEXEC)
        self._stack.callback(os.close, fd)
        self.passed.append(fd)
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def copy(self, fd: int) -> int:
        """A descriptor of the same thing."""
        copied = os.dup(fd)
        self._stack.callback(os.close, copied)
        self.passed.append(copied)
        return copied


# Instructions for the program ``shim``: pairs of a key and a value; keys may repeat.
Plan = list[tuple[str, str]]


class Kind(Protocol):
    """A way to box a command. One instance serves all agents."""

    tier: Tier

    def plan(self, command: Command, room: Room, fds: Descriptors) -> Plan:
        """What ``shim`` does before the command runs. Descriptors it names come from ``fds``."""
        ...


def common_plan(room: Room, fds: Descriptors) -> Plan:
    """What all kinds have: the workspace, the user to become, the limits."""
    limits = room.limits
    plan: Plan = [("workspace", str(fds.copy(room.workspace)))]
    if room.uid is not None:
        plan.append(("uid", str(room.uid)))
    plan += [("cgroup", folder) for folder in room.cgroups]
    numbers = {
        "AS": limits.address_space,
        "FSIZE": limits.file_size,
        "NOFILE": limits.open_files,
        "CPU": limits.cpu_seconds,
        "CORE": 0,
        "NPROC": limits.processes,
    }
    return plan + [("limit", f"{name}:{number}") for name, number in numbers.items()]


def environment(command: Command) -> dict[str, str]:
    """The environment of a command but for HOME and TMPDIR: built, never inherited."""
    own = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
    return own | dict(command.environment)
