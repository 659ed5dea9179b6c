"""The door to an agent's workspace: here, and nowhere else, tools touch files.

Every path is opened by ``beneath`` from a folder held since the workspace was
opened (security rule 8.5); what is opened, or replaced, is a regular file.
"""

import asyncio
import contextlib
import errno
import heapq
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asteros.sandbox.beneath import BAD_LINK, FOLDER, LEAVES, NOT_REGULAR, Beneath, checked, facts_of
from asteros.sandbox.beneath import PathRefused as PathRefused
from asteros.sandbox.quota import Uncountable, usage
from asteros.sandbox.walk import Found as Found
from asteros.sandbox.walk import Walk as Walk
from asteros.sandbox.walk import Walker

MAX_WRITE = 16 * 1024 * 1024  # bytes of one write
MAX_ENTRIES = 10_000  # of one folder listing
MAX_LINKS = 8  # links a write follows to the file it replaces

_CHUNK = 1024 * 1024
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    kind: str  # "file", "dir", "link" or "other"
    size: int  # bytes


class Workspace:
    """The files of one agent; implements the promise ``tools.base.Files``.

    Paths are relative to the root; a leading "/" means the root (seed 004 writes
    "/hello.txt"). Raises PathRefused for a path that may not be used and OSError for
    what the file system answers, IsADirectoryError for a folder in place of a file.
    Blocking work runs in a thread: a cancelled call stops waiting at once, but what it
    has begun is finished, so a replacement is done whole or not at all.
    """

    def __init__(self, root: int, *, owner: int | None = None, quota: int = 0) -> None:
        """``owner``: the uid that what is made belongs to, for a server that is root; None:
        the root folder's. ``quota``: bytes on disk it may hold; 0: no limit."""
        self._root = root  # owned: closed by close()
        self._beneath = Beneath(root)
        self._lock = threading.Lock()
        self._closed = False
        self.owner = os.fstat(root).st_uid if owner is None else owner
        self.quota = quota
        self._used: int | None = None  # bytes, as last counted and written since

    @classmethod
    def open(cls, root: Path, *, owner: int | None = None, quota: int = 0) -> "Workspace":
        """Opens ``root``, made with mode 0700 if it is missing. OSError when it cannot be."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(os.open(root, FOLDER), owner=owner, quota=quota)

    def beneath(self, path: str, *, quota: int = 0) -> "Workspace":
        """A workspace in a folder of this one, made if it is missing; it belongs to whom the
        folder belongs. Blocking. PathRefused and OSError as everywhere here."""
        with self._held() as root, self._folder(root, path, create=True) as folder:
            return Workspace(os.dup(folder), quota=quota)

    def copy(self) -> "Workspace":
        """Another hold on the same folder, to be closed on its own."""
        with self._held() as root:
            return Workspace(os.dup(root), owner=self.owner, quota=self.quota)

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """The open root folder, to be given to a box."""
        with self._held() as root:
            yield root

    def changed(self) -> None:
        """Somebody else wrote here: what it holds must be counted anew."""
        self._used = None

    async def used(self, limit: int) -> int:
        """Bytes on disk it holds, and not counted on beyond ``limit``. Raises quota.Uncountable."""
        return await asyncio.to_thread(self._count, limit)

    async def require_folder(self, path: str) -> None:
        """Raises PathRefused or OSError when ``path`` is no folder in here."""
        await asyncio.to_thread(self._require_folder, path)

    def close(self) -> None:
        """Ends the use of the workspace; calls already in a thread finish. Twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._root)

    async def read(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a regular file, fewer when it ends before."""
        return await asyncio.to_thread(self._read, path, limit)

    async def write(self, path: str, data: bytes, *, append: bool = False, create_dirs: bool = True) -> None:
        """Replaces a regular file atomically, or extends it (then a crash may cut ``data``).

        At most MAX_WRITE bytes. A replaced file keeps its permission bits; new ones get
        0600, new folders 0700. A file with more than one name (hard link) is refused, and
        so is a write that would exceed the quota."""
        if len(data) > MAX_WRITE:
            raise PathRefused(f"a write is limited to {MAX_WRITE} bytes and this one has {len(data)}")
        work = self._append if append else self._replace
        await asyncio.to_thread(work, path, data, create_dirs)

    async def list(self, path: str) -> tuple[Entry, ...]:
        """Entries of a folder, sorted by name: the first MAX_ENTRIES. Links are not followed."""
        return await asyncio.to_thread(self._list, path)

    async def walk(
        self,
        path: str,
        *,
        hidden: bool = False,
        follow: bool = False,
        skip: Callable[[str], bool] = lambda path: False,  # noqa: ARG005
    ) -> Walk:
        """All regular files beneath a folder; at most MAX_FOUND entries are looked at.

        ``hidden``: also names that begin with a dot. ``follow``: also through links that
        stay inside. ``skip`` gets each path from the folder on, in a thread, and leaves
        it out with all beneath it."""
        return await asyncio.to_thread(self._walk, path, hidden, follow, skip)

    def _read(self, path: str, limit: int) -> bytes:
        chunks: list[bytes] = []
        with self._held() as root, self._regular(root, path, os.O_RDONLY) as (fd, _):
            while limit > 0 and (chunk := os.read(fd, min(limit, _CHUNK))):
                chunks.append(chunk)
                limit -= len(chunk)
        return b"".join(chunks)

    def _append(self, path: str, data: bytes, create_dirs: bool) -> None:
        folder, _ = _split(path)
        with (
            self._held() as root,
            self._folder(root, folder, create=create_dirs),
            self._for_appending(root, path) as (fd, facts),
        ):
            _refuse_hard_link(facts)
            self._make_room(root, len(data))
            _write_all(fd, data)

    @contextlib.contextmanager
    def _for_appending(self, root: int, path: str) -> Iterator[tuple[int, os.stat_result]]:
        flags = os.O_WRONLY | os.O_APPEND
        with contextlib.ExitStack() as stack:
            try:
                fd, facts = stack.enter_context(self._regular(root, path, flags))
            except FileNotFoundError:
                # EXCL: only what was made here is made over.
                fd, facts = stack.enter_context(self._regular(root, path, flags | os.O_CREAT | os.O_EXCL, 0o600))
                self._give(fd)
            yield fd, facts

    def _replace(self, path: str, data: bytes, create_dirs: bool) -> None:
        with self._held() as root:
            for _ in range(MAX_LINKS):
                folder, name = _split(path)
                with self._folder(root, folder, create=create_dirs) as parent:
                    facts = facts_of(name, parent)
                    if facts is None or not stat.S_ISLNK(facts.st_mode):
                        self._make_room(root, len(data))
                        _swap_in(parent, name, data, facts, self._give)
                        return
                    target = os.readlink(name, dir_fd=parent)
                # The text of a link is only a new path to judge: it goes through the one function again.
                if target.startswith("/"):
                    raise PathRefused(LEAVES)
                path = f"{folder}/{target}"
            raise PathRefused(BAD_LINK)

    def _walk(self, path: str, hidden: bool, follow: bool, skip: Callable[[str], bool]) -> Walk:
        with self._held() as root:
            return Walker(self._beneath, root, checked(path), hidden=hidden, follow=follow, skip=skip).run()

    def _list(self, path: str) -> tuple[Entry, ...]:
        with self._held() as root, self._folder(root, path) as folder, os.scandir(folder) as names:
            first = heapq.nsmallest(MAX_ENTRIES, names, key=lambda item: item.name)
            return tuple(entry for entry in map(_entry, first) if entry is not None)

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """The root folder for one call. A copy: close() in between must not let the
        number come to mean another agent's folder."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the workspace is closed")
            root = os.dup(self._root)
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _regular(self, root: int, path: str, flags: int, mode: int = 0) -> Iterator[tuple[int, os.stat_result]]:
        # O_NONBLOCK: opening a FIFO must not wait for somebody at its other end.
        fd = self._beneath.open(root, path, flags | os.O_NONBLOCK | os.O_NOCTTY, mode)
        try:
            facts = os.fstat(fd)
            _require_regular(facts)
            yield fd, facts
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _folder(self, root: int, path: str, *, create: bool = False) -> Iterator[int]:
        try:
            fd = self._beneath.open(root, path, FOLDER)
        except FileNotFoundError:
            if not create:
                raise
            self._make_folders(root, path)
            fd = self._beneath.open(root, path, FOLDER)
        try:
            yield fd
        finally:
            os.close(fd)

    def _make_folders(self, root: int, path: str) -> None:
        parts = path.split("/")
        for index, name in enumerate(parts):
            if name not in ("", ".", ".."):
                parent = "/".join(parts[:index]) or "."
                with self._folder(root, parent) as folder:
                    self._make_folder(folder, name)

    def _make_folder(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        # By descriptor: a folder has one name only, so this cannot be another's.
        fd = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        try:
            self._give(fd)
        finally:
            os.close(fd)

    def _give(self, fd: int) -> None:
        """What a server that is root has made belongs to the workspace's owner: commands run as that."""
        if os.geteuid() == 0 and self.owner != 0:
            os.fchown(fd, self.owner, self.owner)

    def _require_folder(self, path: str) -> None:
        with self._held() as root, self._folder(root, path):
            return

    def _count(self, limit: int) -> int:
        with self._held() as root:
            return usage(root, limit)

    def _make_room(self, root: int, size: int) -> None:
        """Raises PathRefused when ``size`` more bytes are too many. Counts anew before it does."""
        if not self.quota:
            return
        if self._used is None or self._used + size > self.quota:
            try:
                self._used = usage(root, self.quota)
            except Uncountable:
                raise PathRefused("a folder of the workspace is closed or nested too deeply to be counted") from None
        if self._used + size > self.quota:
            raise PathRefused(f"the workspace is full: it may hold {self.quota} bytes")
        self._used += size


def _split(path: str) -> tuple[str, str]:
    """Folder and file name of a file to write."""
    folder, _, name = checked(path).rpartition("/")
    if name in ("", ".", ".."):
        raise PathRefused("the path names a folder, not a file")
    return folder or ".", name


def _require_regular(facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(facts.st_mode):
        raise PathRefused(NOT_REGULAR)


def _refuse_hard_link(facts: os.stat_result) -> None:
    if facts.st_nlink > 1:
        raise PathRefused("the file has another name (a hard link), so it is not written")


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _swap_in(folder: int, name: str, data: bytes, old: os.stat_result | None, give: Callable[[int], None]) -> None:
    """Puts a whole new file in the place of ``name``; readers see the old or the new one.
    ``give`` makes it over to its owner.

    Not synced to disk: after a power cut the old content may be back."""
    mode = 0o600
    if old is not None:
        _require_regular(old)
        _refuse_hard_link(old)
        mode = stat.S_IMODE(old.st_mode) & 0o777
    temporary = f".aster-{secrets.token_hex(8)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            _write_all(fd, data)
            give(fd)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _entry(item: "os.DirEntry[str]") -> Entry | None:
    """None when the name went away meanwhile."""
    try:
        facts = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    # A name that is not UTF-8 is shown with replacement characters: JSON could not carry it.
    name = os.fsencode(item.name).decode(errors="replace")
    return Entry(name, _KINDS.get(stat.S_IFMT(facts.st_mode), "other"), facts.st_size)
