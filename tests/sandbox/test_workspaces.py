"""Which folder is whose, and how much it may hold."""

import os
from pathlib import Path

import pytest

from asteros import errors
from asteros.sandbox import quota
from asteros.sandbox.beneath import FOLDER
from asteros.sandbox.files import PathRefused
from asteros.sandbox.workspaces import Workspaces

pytestmark = pytest.mark.anyio
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")


def owner(path: Path) -> int:
    return path.stat().st_uid


@as_root
async def test_each_agent_has_a_uid(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path, uid_base=200_000)
    one, two = workspaces.open(1, ""), workspaces.open(2, "")
    await one.write("in/a", b"x")
    folder = tmp_path / "agents/1"
    assert [owner(folder), owner(folder / "in"), owner(folder / "in/a"), two.owner] == [200_001] * 3 + [200_002]
    assert folder.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_folder_of_the_server_is_made_over(tmp_path: Path) -> None:
    inside = tmp_path / "agents/1/deep"
    inside.mkdir(parents=True)
    (inside / "file").write_text("x")
    (inside / "link").symlink_to("/etc/passwd")
    assert Workspaces(tmp_path).open(1, "").owner == 100_001
    assert {owner(inside), owner(inside / "file"), (inside / "link").lstat().st_uid} == {100_001}
    assert owner(Path("/etc/passwd")) == 0


@as_root
async def test_a_folder_of_a_user_stays_his(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    os.chown(mine, 1234, 1234)
    (mine / "old").write_text("x")
    workspace = Workspaces(tmp_path / "w", [tmp_path]).open(7, "mine")
    await workspace.write("new", b"x")
    await workspace.write("old", b" y", append=True)
    assert [owner(mine), owner(mine / "new"), owner(mine / "old")] == [1234, 1234, 0]


@as_root
def test_a_named_folder_that_is_made_belongs_to_its_first_agent(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    assert [workspaces.open(1, "./shared").owner, workspaces.open(2, "shared").owner] == [100_001, 100_001]


def test_work_dir_stays_in_its_roots(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    workspaces = Workspaces(tmp_path / "w", [first, second])
    workspaces.open(1, "a").close()
    workspaces.open(1, str(second / "b")).close()
    assert (first / "a").is_dir()
    assert (second / "b").is_dir()
    for bad in ("../x", "a/../../x", "/", "/etc", str(tmp_path), f"{second}/../x", "~root", "a\0b", f"{first}x"):
        with pytest.raises(errors.FieldViolation):
            workspaces.check(bad)
        with pytest.raises(PathRefused):
            workspaces.open(1, bad)
    (first / "out").symlink_to("/etc")
    with pytest.raises(PathRefused):
        workspaces.open(1, "out")


def test_an_agents_own_folder_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/1").symlink_to("/etc")
    with pytest.raises(OSError, match="1"):
        Workspaces(tmp_path).open(1, "")


# -- quota ------------------------------------------------------------------------------------


def counted(folder: Path, limit: int = 1 << 40) -> int:
    fd = os.open(folder, FOLDER)
    try:
        return quota.usage(fd, limit)
    finally:
        os.close(fd)


def test_everything_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 100_000)
    one = counted(tmp_path)
    assert 100_000 <= one < 130_000
    os.link(tmp_path / "a/b/file", tmp_path / "again")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "far").symlink_to("/usr")
    assert counted(tmp_path) < one + 2000
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert counted(tmp_path) < one + 10_000


def dig(place: Path, depth: int) -> None:
    folder = os.open(place, FOLDER)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", FOLDER, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)


async def test_what_is_too_deep_cannot_be_counted(tmp_path: Path) -> None:
    workspace = Workspaces(tmp_path, quota=10_000_000).open(1, "")
    dig(tmp_path / "agents/1", quota.MAX_DEPTH + 5)
    with pytest.raises(quota.Uncountable):
        counted(tmp_path)
    with pytest.raises(PathRefused, match="too deeply"):
        await workspace.write("a", b"x")


def test_a_deep_workspace_can_be_removed(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    workspaces.open(1, "").close()
    folder = tmp_path / "agents/1"
    (folder / "out").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    for name in ("a", "b"):
        (folder / name).mkdir()
        dig(folder / name, 2500)
    workspaces.remove(1)
    assert not folder.exists()
    assert (tmp_path / "kept/file").exists()


async def test_a_write_beyond_the_quota_is_refused(tmp_path: Path) -> None:
    workspace = Workspaces(tmp_path, quota=100_000).open(1, "")
    await workspace.write("a", b"x" * 60_000)
    for append in (False, True):
        with pytest.raises(PathRefused, match="full"):
            await workspace.write("b", b"x" * 60_000, append=append)
    assert [entry.name for entry in await workspace.list(".")] in (["a"], ["a", "b"])
    (tmp_path / "agents/1/a").unlink()
    await workspace.write("b", b"x" * 60_000)
