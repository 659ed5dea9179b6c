"""Which boxes this machine can shut, found out by shutting them and trying to get out."""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asteros.sandbox import bubblewrap, landlock, seccomp
from asteros.sandbox.base import Command, Kind, Room, Tier
from asteros.sandbox.output import Capture
from asteros.sandbox.process import Box

PROBE_SECONDS = 10.0
_GROUND = "/var/tmp"  # noqa: S108 - not /tmp, which the boxes cover with something else
# Each line that gets through says so; none may. Opening for writing is enough, nothing is written.
_ESCAPES = r"""
(cat "$OUTSIDE") 2>/dev/null && echo "leak: a file outside is read"
(: >> "$OUTSIDE") 2>/dev/null && echo "leak: a file outside is written"
(: >> /proc/sys/kernel/core_pattern) 2>/dev/null && echo "leak: /proc/sys is written"
(cat "/proc/$SERVER/environ") 2>/dev/null && echo "leak: the server's environment is read"
(kill -0 "$SERVER") 2>/dev/null && echo "leak: the server can be signalled"
(exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && echo "leak: TCP leaves the box"
(echo x > "/dev/udp/127.0.0.1/$PORT") 2>/dev/null
mount -t tmpfs none /tmp 2>/dev/null && echo "leak: mount works"
unshare -U true 2>/dev/null && echo "leak: namespaces can be made"
(echo x > inside) 2>/dev/null || echo "leak: the workspace is not writable"
echo done
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known about one kind of box here. ``kind`` is None when it is not offered."""

    tier: Tier
    kind: Kind | None
    missing: str = ""  # one sentence
    fix: str = ""  # what to do about it


_known: dict[tuple[Tier, int | None], Found] = {}  # of this machine, for the life of the process


async def probe(tier: Tier, uid: int | None) -> Found:
    """What this machine offers of a tier, tried once. ``uid``: who commands run as when this is
    root; None: as this process."""
    if (tier, uid) not in _known:
        _known[tier, uid] = await (_probe_strong(uid) if tier is Tier.STRONG else _probe_medium(uid))
    return _known[tier, uid]


async def _probe_strong(uid: int | None) -> Found:
    """bubblewrap."""
    path = bubblewrap.found()
    if not path:
        return Found(Tier.STRONG, None, "bubblewrap is not installed", "apt-get install bubblewrap")
    if not seccomp.supported():
        return Found(Tier.STRONG, None, "there is no system call list for this processor", "use x86-64 or arm64")
    fix = "allow user namespaces (user.max_user_namespaces, AppArmor, the container's seccomp profile)"
    return await _tried(Tier.STRONG, lambda: bubblewrap.Bubblewrap(path), uid, fix)


async def _probe_medium(uid: int | None) -> Found:
    """Landlock and seccomp."""
    if not seccomp.supported():
        return Found(Tier.MEDIUM, None, "there is no system call list for this processor", "use x86-64 or arm64")
    version = landlock.abi()
    if version < landlock.NEEDED_ABI:
        missing = f"Landlock ABI {landlock.NEEDED_ABI} is needed and the kernel has {version or 'none'}"
        return Found(Tier.MEDIUM, None, missing, "run Linux 6.12 or newer with Landlock in its lsm= list")
    return await _tried(Tier.MEDIUM, landlock.Landlock, uid, "see the reason")


async def _tried(tier: Tier, make: Callable[[], Kind], uid: int | None, fix: str) -> Found:
    kind = make()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            complaint = await _complaint(kind, uid)
    except TimeoutError:
        complaint = f"the trial did not end within {PROBE_SECONDS:g} s"
    except OSError as error:
        complaint = f"the trial could not be started: {error.strerror}"
    return Found(tier, None, complaint, fix) if complaint else Found(tier, kind)


async def _complaint(kind: Kind, uid: int | None) -> str:
    """What speaks against a kind; "" when it holds."""
    with _trial_ground(uid) as (workspace, command, knock):
        captured = (Capture(), Capture())
        box = await Box.start(kind, command, Room(workspace, uid), lambda is_error, data: captured[is_error].add(data))
        try:
            await box.wait()
            refusal = box.refusal()
        finally:
            await box.aclose()
        said, wrong = captured[0].result().text, captured[1].result().text
        if refusal:
            return refusal
        leaks = [line.removeprefix("leak: ") for line in said.splitlines() if line.startswith("leak: ")]
        if knock():
            leaks.append("UDP leaves the box")
        if not leaks and not said.endswith("done\n"):
            leaks.append(wrong.strip().partition("\n")[0][:200] or f"the trial ended with {box.exit_code}")
        return "; ".join(leaks)


Ground = tuple[int, Command, Callable[[], bool]]


@contextlib.contextmanager
def _trial_ground(uid: int | None) -> Iterator[Ground]:
    """A workspace, the escapes, and whether anything knocked by UDP from inside."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aster-probe-", dir=_GROUND)))
        workspace, outside = folder / "ws", folder / "outside"
        workspace.mkdir(mode=0o700)
        outside.write_text("outside\n")
        outside.chmod(0o666)
        folder.chmod(0o755)  # the box is to keep it out, not the file's own bits
        if uid is not None:
            os.chown(workspace, uid, uid)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        udp.setblocking(False)
        fd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, fd)
        facts = {"OUTSIDE": str(outside), "SERVER": str(os.getpid()), "PORT": str(tcp.getsockname()[1])}
        yield fd, Command(_ESCAPES, environment=facts), lambda: _received(udp)


def _received(udp: socket.socket) -> bool:
    try:
        return bool(udp.recv(1))
    except BlockingIOError:
        return False
