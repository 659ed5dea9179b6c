"""The medium kind: Landlock and seccomp, where namespaces are not to be had.

Paths outside the workspace, sockets and signals out of the box are refused; the
process list, the machine's name and its load are still seen. It needs Landlock's
ABI 6 (Linux 6.12): without the scope of signals a command could end the server."""

import ctypes
import errno
import os

from asteros.sandbox import seccomp
from asteros.sandbox.base import Command, Descriptors, Plan, Room, Tier, common_plan, environment

NEEDED_ABI = 6
_CREATE_RULESET, _VERSION = 444, 1

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_ALL = (1 << 16) - 1  # of files; of devices and sockets, too, so that none can be made
_MAKE_DEVICES = (1 << 6) | (1 << 11)
_NETWORK = 0b11  # bind and connect of TCP
_INSIDE = _ALL & ~_MAKE_DEVICES & ~_IOCTL
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives")
_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group")
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def abi() -> int:
    """Version of the kernel's Landlock; 0: none, or switched off."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    version = int(syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))
    if version < 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return max(version, 0)


class Landlock:
    """``base.Kind``: the command runs where it is, and may open its workspace and the system's programs."""

    tier = Tier.MEDIUM

    def plan(self, command: Command, room: Room, fds: Descriptors) -> Plan:
        plan = watched_plan(command, room, fds)
        plan.insert(0, ("env", "GIT_CONFIG_NOSYSTEM=1"))  # git does not start when it may not read that
        plan += [
            ("stage", "1"),
            ("scoped", "1"),
            ("handled", str(_ALL)),
            ("network", str(_NETWORK)),
            ("inside", str(_INSIDE)),
        ]
        plan += [("rule", f"{_EXECUTE | _READ | _LIST}:{path}") for path in _PROGRAMS]
        plan += [("rule", f"{_READ | _LIST}:{path}") for path in _FOLDERS]
        plan += [("rule", f"{_READ}:{path}") for path in _FILES]
        plan += [("rule", f"{_READ | _WRITE | _TRUNCATE}:{path}") for path in _DEVICES]
        # As the server's own user a command could shut the server's files, which it cannot open.
        program = seccomp.program(sockets=False, metadata=room.uid is not None)
        plan.append(("filter", str(fds.memory(program))))
        return plan


class Unboxed:
    """``base.Kind``: no box at all, for operators who allow it. The uid and the limits stay."""

    tier = Tier.NONE

    def plan(self, command: Command, room: Room, fds: Descriptors) -> Plan:
        return watched_plan(command, room, fds)


def watched_plan(command: Command, room: Room, fds: Descriptors) -> Plan:
    """A command that the shim starts and watches over, in the workspace itself."""
    plan = [*common_plan(room, fds), ("status", str(fds.memory())), ("exec", "command"), ("folder", command.folder)]
    plan += [("env", f"{name}={value}") for name, value in environment(command).items()]
    return plan + [("arg", word) for word in (f"/usr/bin/{command.interpreter}", "-c", command.text)]
