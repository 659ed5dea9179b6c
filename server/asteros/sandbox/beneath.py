"""Opens a path beneath a folder and nowhere else: the one function every file path goes through.

``openat2`` with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS lets the kernel keep the
path inside while it walks, whatever other processes rename or link meanwhile
(security rule 8.5). Kernels without openat2 get a walk of O_NOFOLLOW, one component
at a time, which follows no link at all.
"""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable

MAX_PATH = 4096  # bytes, with the closing NUL as Linux counts
MAX_PARTS = 128  # of one path
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_OPENAT2 = 437  # the same number on every architecture this server is built for
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_ATTEMPTS = 64  # openat2 answers EAGAIN when a rename crosses its walk

LEAVES = "the path leaves the workspace"
BAD_LINK = "the path goes through a link that must not be followed"
NOT_REGULAR = "this is not a regular file"
_REFUSALS = {
    errno.EXDEV: LEAVES,
    errno.ELOOP: BAD_LINK,
    errno.ENXIO: NOT_REGULAR,  # a FIFO without a reader, or a socket
    errno.ENODEV: NOT_REGULAR,
}


class PathRefused(Exception):
    """The path may not be used; the text is one sentence for the model, without host paths."""


class Beneath:
    """Opens files beneath folders, the best way this kernel has; safe from any thread."""

    def __init__(self, folder: int) -> None:
        """``folder``: any open folder, to try the system call on."""
        self._way = _best_way(folder)

    @property
    def by_kernel(self) -> bool:
        """The kernel keeps paths inside, and links that stay there work."""
        return self._way is _openat2

    def open(self, root: int, path: str, flags: int, mode: int = 0) -> int:
        """A new descriptor of what ``path`` names beneath the open folder ``root``.

        A leading "/" means ``root`` itself. Raises PathRefused when the path is
        malformed or leaves ``root``, also by links, and OSError otherwise."""
        try:
            return self._way(root, checked(path), flags | os.O_CLOEXEC, mode)
        except OSError as error:
            refusal = _REFUSALS.get(error.errno or 0)
            if refusal is None:
                raise
            raise PathRefused(refusal) from None


def checked(path: str) -> str:
    """The path relative to the root, or PathRefused for what no path can be."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise PathRefused("the path is not valid Unicode") from None
    if not path:
        raise PathRefused("the path is empty")
    if "\0" in path:
        raise PathRefused("the path contains a NUL character")
    if size >= MAX_PATH or path.count("/") >= MAX_PARTS:
        raise PathRefused(f"the path is longer than {MAX_PATH - 1} bytes or {MAX_PARTS} parts")
    return path.lstrip("/") or "."


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)
_syscall.restype = ctypes.c_long


def _openat2(root: int, path: str, flags: int, mode: int) -> int:
    """Opens ``path`` beneath the folder ``root``; OSError with EXDEV when it leaves it."""
    how = _How(flags, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    number = errno.ENOSYS
    for _ in range(_ATTEMPTS):
        fd = int(_syscall(_OPENAT2, root, path.encode(), ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), path)


def _stepwise(root: int, path: str, flags: int, mode: int) -> int:
    """``_openat2`` for kernels without it: one component at a time, no link followed."""
    *folders, name = _lexical(path)
    fd = os.dup(root)
    try:
        for folder in folders:
            inner = _no_link(folder, FOLDER, 0, fd)
            os.close(fd)
            fd = inner
        return _no_link(name, flags, mode, fd)
    finally:
        os.close(fd)


def _lexical(path: str) -> list[str]:
    """Components without "." and ".."; exact, because the walk follows no links."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts or ["."]


def _no_link(name: str, flags: int, mode: int, folder: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    except NotADirectoryError:
        # O_DIRECTORY hides that the name is a link; say what openat2 would say.
        facts = facts_of(name, folder)
        if facts is not None and stat.S_ISLNK(facts.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


def _best_way(root: int) -> Callable[[int, str, int, int], int]:
    """The best way to open files on this kernel."""
    if sys.platform != "linux":
        return _stepwise
    try:
        os.close(_openat2(root, ".", FOLDER, 0))
    except OSError as error:
        # Old container runtimes answer EPERM to system calls they do not know.
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return _stepwise
        raise
    return _openat2


def facts_of(name: str, folder: int) -> os.stat_result | None:
    """What ``name`` itself is, a link included; None when there is nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
