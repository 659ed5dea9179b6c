"""Workspace: every way out is shut (security rule 8.5), with openat2 and without."""

import asyncio
import ctypes
import errno
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from asteros.sandbox import beneath, files
from asteros.sandbox.files import Entry, PathRefused, Workspace

pytestmark = pytest.mark.anyio

LIMIT = 1024


def without_openat2(*_: object) -> int:
    raise OSError(errno.ENOSYS, "not implemented")


@pytest.fixture(params=["openat2", "stepwise"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stepwise":
        monkeypatch.setattr(beneath, "_openat2", without_openat2)
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "agents" / "a1"


@pytest.fixture
def workspace(root: Path, way: str) -> Iterator[Workspace]:
    workspace = Workspace.open(root)
    yield workspace
    workspace.close()


@pytest.fixture
def outside(tmp_path: Path, root: Path) -> Path:
    """A folder whose name begins like the workspace's (the prefix trick of CVE-2025-53110)."""
    folder = tmp_path / "agents" / "a1_evil"
    folder.mkdir(parents=True)
    (folder / "secret").write_text("secret")
    return folder


async def refused(workspace: Workspace, path: str) -> None:
    """Reading, replacing, extending and listing are all refused, and say nothing of the host."""
    for attempt in (
        lambda: workspace.read(path, LIMIT),
        lambda: workspace.write(path, b"x"),
        lambda: workspace.write(path, b"x", append=True),
        lambda: workspace.list(path),
    ):
        with pytest.raises(PathRefused) as caught:
            await attempt()
        assert "agents" not in str(caught.value)


async def test_opens_a_missing_root_for_its_owner_only(root: Path, workspace: Workspace) -> None:
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


async def test_writes_then_reads(root: Path, workspace: Workspace) -> None:
    await workspace.write("/a/b/hello.txt", b"hello")
    assert await workspace.read("a/b/hello.txt", LIMIT) == b"hello"
    assert await workspace.read("a/./../a/b/hello.txt", 2) == b"he"
    assert await workspace.read("a/b/hello.txt", 0) == b""
    assert (root / "a/b/hello.txt").read_bytes() == b"hello"
    assert stat.S_IMODE((root / "a/b/hello.txt").stat().st_mode) == 0o600


async def test_replaces_whole_keeps_the_mode_and_leaves_nothing_behind(root: Path, workspace: Workspace) -> None:
    script = root / "run.sh"
    script.write_text("a long old content")
    script.chmod(0o750)
    before = script.stat().st_ino
    await workspace.write("run.sh", b"new")
    assert script.read_bytes() == b"new"
    assert stat.S_IMODE(script.stat().st_mode) == 0o750
    assert script.stat().st_ino != before
    assert os.listdir(root) == ["run.sh"]


async def test_appends(root: Path, workspace: Workspace) -> None:
    await workspace.write("logs/a.log", b"one\n", append=True)
    await workspace.write("logs/a.log", b"two\n", append=True)
    assert (root / "logs/a.log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("append", [False, True])
async def test_makes_no_folders_when_told(workspace: Workspace, append: bool) -> None:
    with pytest.raises(FileNotFoundError):
        await workspace.write("no/such/file", b"x", create_dirs=False, append=append)
    assert await workspace.list("/") == ()


async def test_a_failed_replace_leaves_nothing_behind(
    root: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    (root / "a").write_text("old")
    monkeypatch.setattr(files, "_write_all", full)
    with pytest.raises(OSError, match="full"):
        await workspace.write("a", b"new")
    assert os.listdir(root) == ["a"]
    assert (root / "a").read_text() == "old"


@pytest.mark.parametrize(
    "path",
    ["../a1_evil/secret", "..", "a/../../a1_evil/secret", "/../a1_evil/secret", "sub/../../a1_evil/secret"],
)
async def test_refuses_dots_that_lead_out(root: Path, workspace: Workspace, outside: Path, path: str) -> None:
    (root / "sub").mkdir()
    (root / "a").mkdir()
    await refused(workspace, path)
    assert os.listdir(outside) == ["secret"]


async def test_an_absolute_path_is_beneath_the_root(root: Path, workspace: Workspace, outside: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await workspace.read(str(outside / "secret"), LIMIT)
    with pytest.raises(FileNotFoundError):
        await workspace.read("/etc/passwd", LIMIT)
    await workspace.write("//etc/passwd", b"mine")
    assert (root / "etc/passwd").read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", "x" * 4096, "é" * 2048, "a/" * 128 + "b"])
async def test_refuses_what_is_no_path(workspace: Workspace, path: str) -> None:
    await refused(workspace, path)


@pytest.mark.parametrize("path", ["/", ".", "a/", "a/..", "a/."])
async def test_refuses_to_write_a_folder(root: Path, workspace: Workspace, path: str) -> None:
    (root / "a").mkdir()
    for append in (False, True):
        with pytest.raises(PathRefused):
            await workspace.write(path, b"x", append=append)


async def test_says_when_it_is_a_folder(root: Path, workspace: Workspace) -> None:
    (root / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        await workspace.read("a", LIMIT)
    for append in (False, True):
        with pytest.raises(IsADirectoryError):
            await workspace.write("a", b"x", append=append)


@pytest.mark.parametrize("absolute", [True, False])
async def test_refuses_links_out(root: Path, workspace: Workspace, outside: Path, absolute: bool) -> None:
    target = outside if absolute else Path("..") / outside.name
    (root / "folder").symlink_to(target)
    (root / "file").symlink_to(target / "secret")
    await refused(workspace, "folder/secret")
    await refused(workspace, "file")
    with pytest.raises(PathRefused):
        await workspace.list("folder")
    with pytest.raises(PathRefused):
        await workspace.write("folder/new/file", b"x")
    assert (outside / "secret").read_text() == "secret"
    assert os.listdir(outside) == ["secret"]


async def test_refuses_a_chain_of_links_out_and_circles(root: Path, workspace: Workspace, outside: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("../a1_evil/secret")
    (root / "circle").symlink_to("circle")
    await refused(workspace, "one")
    await refused(workspace, "circle")
    assert (outside / "secret").read_text() == "secret"


async def test_links_inside_work(root: Path, workspace: Workspace, way: str) -> None:
    (root / "real").mkdir()
    (root / "real/file").write_text("old")
    (root / "folder").symlink_to("real")
    (root / "real/link").symlink_to("../folder/file")
    if way == "stepwise":
        await refused(workspace, "folder/file")
        return
    assert await workspace.read("folder/link", LIMIT) == b"old"
    await workspace.write("folder/link", b"new")
    assert (root / "real/link").is_symlink()
    assert (root / "real/file").read_text() == "new"
    await workspace.write("folder/link", b"er", append=True)
    assert (root / "real/file").read_text() == "newer"


@pytest.mark.parametrize("path", ["exe", "root/etc/passwd", "cwd/x", "fd/0"])
async def test_refuses_magic_links(way: str, path: str) -> None:
    workspace = Workspace.open(Path("/proc/self"))
    try:
        with pytest.raises(PathRefused):
            await workspace.read(path, LIMIT)
    finally:
        workspace.close()


async def test_refuses_links_into_proc(root: Path, workspace: Workspace) -> None:
    (root / "up").symlink_to("/proc/self/root")
    (root / "env").symlink_to("/proc/self/environ")
    await refused(workspace, "up/etc/passwd")
    await refused(workspace, "env")


@pytest.mark.parametrize("reader", [False, True])
async def test_refuses_a_fifo_without_waiting(root: Path, workspace: Workspace, reader: bool) -> None:
    os.mkfifo(root / "fifo")
    fds = [os.open(root / "fifo", os.O_RDONLY | os.O_NONBLOCK)] if reader else []
    try:
        with pytest.raises(PathRefused):
            await workspace.read("fifo", LIMIT)
        for append in (False, True):
            with pytest.raises(PathRefused):
                await workspace.write("fifo", b"x", append=append)
    finally:
        for fd in fds:
            os.close(fd)


async def test_refuses_a_socket(root: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(PathRefused):
            await workspace.read("socket", LIMIT)
        with pytest.raises(PathRefused):
            await workspace.write("socket", b"x")


async def test_refuses_a_device(way: str) -> None:
    workspace = Workspace.open(Path("/dev"))
    try:
        with pytest.raises(PathRefused):
            await workspace.read("zero", LIMIT)
        with pytest.raises(PathRefused):  # only appended: a mistake here must not cost the machine its /dev/null
            await workspace.write("null", b"x", append=True)
    finally:
        workspace.close()


@pytest.mark.parametrize("append", [False, True])
async def test_refuses_to_write_a_hard_link(root: Path, workspace: Workspace, outside: Path, append: bool) -> None:
    os.link(outside / "secret", root / "linked")
    with pytest.raises(PathRefused):
        await workspace.write("linked", b"x", append=append)
    assert (outside / "secret").read_text() == "secret"


async def test_limits_a_write(workspace: Workspace) -> None:
    await workspace.write("a", bytes(files.MAX_WRITE))
    with pytest.raises(PathRefused):
        await workspace.write("a", bytes(files.MAX_WRITE + 1))
    assert len(await workspace.read("a", 2 * files.MAX_WRITE)) == files.MAX_WRITE


async def test_lists_sorted_with_kinds(root: Path, workspace: Workspace) -> None:
    (root / "file").write_text("12345")
    (root / "dir").mkdir()
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    (root / os.fsdecode(b"bad\xff")).write_text("")
    entries = await workspace.list("/")
    assert [(entry.name, entry.kind) for entry in entries] == [
        ("bad\ufffd", "file"),
        ("dir", "dir"),
        ("fifo", "other"),
        ("file", "file"),
        ("link", "link"),
    ]
    assert Entry("file", "file", 5) in entries
    with pytest.raises(NotADirectoryError):
        await workspace.list("file")


async def test_limits_a_listing(root: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 3)
    for name in "edcba":
        (root / name).write_text("")
    assert [entry.name for entry in await workspace.list("/")] == ["a", "b", "c"]


async def test_a_closed_workspace_answers_nothing(workspace: Workspace) -> None:
    workspace.close()
    workspace.close()
    with pytest.raises(OSError, match="closed"):
        await workspace.list("/")


async def test_stays_where_it_was_opened(root: Path, workspace: Workspace, outside: Path) -> None:
    """Replacing the root by a link moves nobody: the folder is held, not its name."""
    root.rename(root.parent / "moved")
    root.symlink_to(outside)
    await workspace.write("file", b"x")
    assert (root.parent / "moved/file").exists()
    assert os.listdir(outside) == ["secret"]


async def test_leaks_no_descriptors(root: Path, workspace: Workspace) -> None:
    await workspace.write("a/b", b"x")
    (root / "out").symlink_to("/etc")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await workspace.write("a/b", b"x")
        await workspace.write("a/b", b"x", append=True)
        await workspace.read("a/b", LIMIT)
        await workspace.list("a")
        await refused(workspace, "out/passwd")
    assert len(os.listdir("/proc/self/fd")) == before


AT_FDCWD, RENAME_EXCHANGE = -100, 2


async def test_loses_no_race_against_swapped_links(root: Path, workspace: Workspace, outside: Path) -> None:
    """Another process keeps exchanging a folder and a link that leads out, atomically."""
    exchange = ctypes.CDLL(None).renameat2
    slot, link = os.fsencode(root / "slot"), os.fsencode(root / "link")
    (root / "slot").mkdir()
    (root / "slot/secret").write_text("mine")
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(AT_FDCWD, slot, AT_FDCWD, link, RENAME_EXCHANGE)

    async def attempt(turn: int) -> str:
        try:
            if turn % 2:
                await workspace.write("slot/secret", b"mine", append=turn % 4 == 1)
            else:
                assert set((await workspace.read("slot/secret", LIMIT)).split(b"mine")) == {b""}
        except (PathRefused, OSError) as error:
            return type(error).__name__
        return "done"

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        outcomes = Counter([await attempt(turn) for turn in range(1000)])
    finally:
        stop.set()
        await asyncio.to_thread(swapper.join)
    assert (outside / "secret").read_text() == "secret"
    assert os.listdir(outside) == ["secret"]
    assert outcomes["done"] > 10, outcomes
    assert outcomes["PathRefused"] > 10, outcomes


async def test_old_runtimes_answer_eperm(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(beneath, "_openat2", forbidden)
    workspace = Workspace.open(root)
    await workspace.write("a", b"x")
    assert await workspace.read("a", LIMIT) == b"x"
    workspace.close()
