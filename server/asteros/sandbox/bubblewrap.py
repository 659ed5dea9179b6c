"""The strong kind: namespaces by bubblewrap, behind a dropped uid, a system call filter and limits.

Flags and their order follow what was measured (security rules 8.2 and 8.3): none is
optional. What the command line would show goes through a descriptor, since the box's
first process shows its own arguments to everybody inside."""

import os
import posixpath
import shutil
from pathlib import Path

from asteros.sandbox import seccomp
from asteros.sandbox.base import Command, Descriptors, Plan, Room, Tier, common_plan, environment
from asteros.sandbox.shim import PROXY_PORT

HOME = "/tmp"  # noqa: S108 - the box's own, in memory
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the same
INSIDE = "/ws"  # where the workspace is seen
_FLAGS = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session",
    "--clearenv",
)  # fmt: skip
# Of the host, read-only. /etc in parts: what programs need to start and to trust certificates.
_ETC = ("alternatives", "ld.so.cache", "localtime", "mime.types", "nsswitch.conf", "protocols", "services")
_CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
)


def found() -> str:
    """Path of bubblewrap; "" when it is not installed."""
    return shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin") or ""


class Bubblewrap:
    """``base.Kind``: the command sees the workspace at /ws, a read-only /usr and nothing else."""

    tier = Tier.STRONG

    def __init__(self, path: str) -> None:
        self._path = path

    def plan(self, command: Command, room: Room, fds: Descriptors) -> Plan:
        status = fds.memory()
        arguments = [*_FLAGS, *_views(room), "--info-fd", str(status)]
        arguments += ["--seccomp", str(fds.memory(seccomp.program(sockets=True)))]
        variables = {"HOME": HOME, "TMPDIR": HOME} | environment(command)
        if room.proxy is not None:
            arguments.append("--share-net")  # with the shim, which has a network of its own by now
            variables |= _proxied()
        for name, value in variables.items():
            arguments += ["--setenv", name, value]
        arguments += _identity(room, fds)
        arguments += ["--remount-ro", "/", "--chdir", posixpath.normpath(f"{INSIDE}/{command.folder}")]
        data = fds.memory("\0".join(arguments).encode(errors="surrogateescape") + b"\0")
        plan = [*common_plan(room, fds), ("status", str(status)), ("exec", "bwrap")]
        if room.proxy is not None:
            plan.append(("listener", str(fds.copy(room.proxy))))
        words = [self._path, "--args", str(data), "--", f"/usr/bin/{command.interpreter}", "-c", command.text]
        return plan + [("arg", word) for word in words]


def _views(room: Room) -> list[str]:
    """What is seen where; mount points are made in this order."""
    limits = room.limits
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()).lstrip("/"), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for part in (*(f"/etc/{name}" for name in _ETC), *_CERTIFICATES):
        arguments += ["--ro-bind-try", part, part]
    arguments += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    # Unsized, these are as large as half the memory.
    arguments += ["--size", str(limits.shared_memory), "--tmpfs", SHARED_MEMORY, "--remount-ro", "/dev"]
    arguments += ["--size", str(limits.temporary), "--tmpfs", HOME, "--bind", ".", INSIDE]
    return arguments


def _identity(room: Room, fds: Descriptors) -> list[str]:
    """A name for the user, so that git, ssh and Python find one."""
    uid = os.geteuid() if room.uid is None else room.uid
    passwd = f"agent:x:{uid}:{uid}:agent:{HOME}:/bin/bash\n".encode()
    group = f"agent:x:{uid}:\n".encode()
    return ["--file", str(fds.memory(passwd)), "/etc/passwd", "--file", str(fds.memory(group)), "/etc/group"]


def _proxied() -> dict[str, str]:
    address = f"http://127.0.0.1:{PROXY_PORT}"
    return dict.fromkeys(("HTTPS_PROXY", "https_proxy"), address)
