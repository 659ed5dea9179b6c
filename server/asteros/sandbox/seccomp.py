"""The system calls a boxed command may not make, as a BPF program.

Everything that has carried a kernel escape, or would make a second box inside the box,
answers EPERM; another architecture than the one listed here ends the process, because
its numbers mean other calls (security rule 8.2). Two lists: x86-64 and arm64."""

import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

EPERM, ENOSYS = 1, 38
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16  # address families

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; arguments: their low half
_X32 = 0x40000000  # bit of the numbers of the x32 calls
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # put characters into a terminal's input

_BOTH = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443, "open_tree_attr": 467,
}  # fmt: skip
_X86_64 = _BOTH | {
    "ptrace": 101, "syslog": 103, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175,
    "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_ARM64 = _BOTH | {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51, "vhangup": 58,
    "quotactl": 60, "acct": 89, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
    "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162,
    "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224,
    "swapoff": 225, "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266,
    "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280,
    "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip


# What changes a file's mode, owner, times or attributes by its path: Landlock does not judge these.
_X86_64_METADATA = {
    "chmod": 90, "chown": 92, "lchown": 94, "utime": 132, "setxattr": 188, "lsetxattr": 189, "removexattr": 197,
    "lremovexattr": 198, "utimes": 235, "fchownat": 260, "futimesat": 261, "fchmodat": 268, "fchmodat2": 452,
    "setxattrat": 463, "removexattrat": 466,
}  # fmt: skip
_ARM64_METADATA = {
    "setxattr": 5, "lsetxattr": 6, "removexattr": 14, "lremovexattr": 15, "fchmodat": 53, "fchownat": 54,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """The numbers of one architecture."""

    audit: int  # AUDIT_ARCH_*
    denied: Mapping[str, int]
    metadata: Mapping[str, int]
    clone: int
    socket: int
    ioctl: int
    utimensat: int
    clone3: int = 435
    x32: bool = False


MACHINES = {
    "x86_64": Machine(0xC000003E, _X86_64, _X86_64_METADATA, clone=56, socket=41, ioctl=16, utimensat=280, x32=True),
    "aarch64": Machine(0xC00000B7, _ARM64, _ARM64_METADATA, clone=220, socket=198, ioctl=29, utimensat=88),
}


def supported(machine: str = "") -> bool:
    """There is a list for this architecture; "": the one this runs on."""
    return (machine or platform.machine()) in MACHINES


def program(*, sockets: bool, metadata: bool = True, machine: str = "") -> bytes:
    """The filter as struct sock_filter[].

    ``sockets``: UNIX, INET and NETLINK ones may be made (a network namespace keeps those
    in); others, like VSOCK, never. ``metadata``: modes, owners and times of files can be
    changed by path; else that has no effect. KeyError for an architecture without a list."""
    numbers = MACHINES[machine or platform.machine()]
    return b"".join(struct.pack("<HBBI", *line) for line in _lines(numbers, sockets=sockets, metadata=metadata))


Line = tuple[int, int, int, int]  # code, lines to skip when true, when false, operand


def _lines(numbers: Machine, *, sockets: bool, metadata: bool) -> Iterator[Line]:
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, numbers.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    if numbers.x32:
        yield _AT_LEAST, 0, 1, _X32
        yield _RETURN, 0, 0, _KILL
    for number in sorted(numbers.denied.values()):
        yield from _answer(number, EPERM)
    if not metadata:
        # Done as if: git, tar and npm stop at a refusal, and go on well without the effect.
        for number in sorted(numbers.metadata.values()):
            yield from _answer(number, 0)
        # Without a path it is about an open file.
        yield from _argument(numbers.utimensat, _SECOND, [(_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERRNO)])
    # The flags of clone3 lie in memory, where a filter cannot look; libraries fall back to clone.
    yield from _answer(numbers.clone3, ENOSYS)
    if sockets:
        yield from _argument(numbers.socket, _FIRST, _only(UNIX, INET, INET6, NETLINK))
    else:
        yield from _answer(numbers.socket, EPERM)
    yield from _argument(numbers.clone, _FIRST, [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), (_RETURN, 0, 0, _ERRNO | EPERM)])
    yield from _argument(numbers.ioctl, _SECOND, [*_refuse(_TIOCSTI), *_refuse(_TIOCLINUX)])
    yield _RETURN, 0, 0, _ALLOW


def _answer(number: int, errno: int) -> list[Line]:
    return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno)]


def _refuse(value: int) -> list[Line]:
    return [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ERRNO | EPERM)]


def _only(*values: int) -> list[Line]:
    """Lines that refuse every value but these."""
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, _ERRNO | EPERM)]


def _argument(number: int, offset: int, judge: list[Line]) -> Iterator[Line]:
    """Runs ``judge`` on an argument of one call; other calls skip it."""
    body = [(_LOAD, 0, 0, offset), *judge, (_RETURN, 0, 0, _ALLOW)]
    yield _EQUAL, 0, len(body), number
    yield from body
