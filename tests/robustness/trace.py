"""What a server asked of the system, from strace: was the log on the disk before the event was shown?

Only the order of lines counts. strace prints a call when it begins and, if another
thread came in between, its end as a line of its own ("resumed")."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

_CALLS = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg"
_LINE = re.compile(r"(?P<thread>\d+) +(?P<time>[\d:.]+) (?P<call>\w+)\((?P<rest>.*)", re.DOTALL)
_RESUMED = re.compile(r"(?P<thread>\d+) +[\d:.]+ <\.\.\. (?P<call>\w+) resumed>")
_SYNCS = ("fdatasync", "fsync")
_SENDS = ("write", "writev", "sendto", "sendmsg")
WAL = "aster.db-wal>"


def command(output: Path) -> list[str]:
    """What to put in front of a server: -y names files, -s shows enough of a message."""
    return ["strace", "-f", "-tt", "-y", "-s", "65536", "-e", f"trace={_CALLS}", "-o", str(output), "--"]


@cache
def missing() -> str:
    """Why nothing can be traced here; empty: it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace cannot trace: {tried.stderr.strip()[-200:]}" if tried.returncode else ""


def durable_before_visible(lines: Iterable[str], marker: str) -> tuple[bool, str]:
    """Whether the log was synced between the first append of ``marker`` and the first time it was sent.

    A later append, of the next event, may come between the two. The lines that
    decided it come with the verdict, for whoever reads a red run.

    :raises ValueError: the marker was not appended and then sent: the trace proves nothing."""
    appended, synced = "", ""
    syncing: set[str] = set()
    for line in lines:
        if resumed := _RESUMED.match(line):
            if resumed["thread"] in syncing and resumed["call"] in _SYNCS:
                synced = line
            syncing.discard(resumed["thread"])
            continue
        found = _LINE.match(line)
        if found is None:
            continue
        call, rest = found["call"], found["rest"]
        if call in _SYNCS and WAL in rest:
            if "<unfinished" in rest:
                syncing.add(found["thread"])
            else:
                synced = line
        elif call == "pwrite64" and WAL in rest and marker in rest and not appended:
            appended, synced = line, ""
            syncing.clear()  # a sync that began before does not count
        elif call in _SENDS and marker in rest and _to_a_peer(rest):
            if not appended:
                raise ValueError(f"sent and never appended: {_short(line)}")
            return bool(synced), "\n".join(map(_short, (appended, synced or "(no sync)", line)))
    raise ValueError(f"{marker} was never sent")


def _to_a_peer(rest: str) -> bool:
    """The call's file is a socket: ``23<socket:[123]>`` or ``23<TCP:[…]>``."""
    return re.match(r"\d+<(socket|TCP|TCPv6|UNIX)[:\[]", rest) is not None


def _short(line: str) -> str:
    return line if len(line) < 200 else f"{line[:120]} … {line[-70:]}".replace("\n", " ")


def lines_of(path: Path) -> Sequence[str]:
    """The lines of a trace; bytes that are no text do not matter."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
