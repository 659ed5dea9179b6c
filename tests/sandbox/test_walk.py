"""What a search may see: everything beneath its folder, and nothing else."""

import os
from pathlib import Path

import pytest

from asteros.sandbox import walk
from asteros.sandbox.beneath import _stepwise
from asteros.sandbox.files import PathRefused, Workspace

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["openat2", "stepwise"])
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Workspace:
    """A tree with hidden names, links in and out, a ring, a FIFO and a name that is not UTF-8."""
    root = tmp_path / "root"
    (root / "src" / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (tmp_path / "outside").mkdir()
    for name in ("a.txt", "src/b.py", "src/deep/c.py", "src/.hidden", ".git/config"):
        (root / name).write_text(name)
    (tmp_path / "outside" / "secret").write_text("secret")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "leak.txt").symlink_to("../outside/secret")
    (root / "src" / "ring").symlink_to("..")
    (root / "linked.py").symlink_to("src/b.py")
    os.mkfifo(root / "pipe")
    os.close(os.open(os.fsencode(root) + b"/\xff.txt", os.O_CREAT | os.O_WRONLY))
    made = Workspace.open(root)
    if request.param == "stepwise":
        made._beneath._way = _stepwise
    return made


def paths(found: walk.Walk) -> list[str]:
    return [file.path for file in found.files]


async def test_files_without_hidden_ones_and_links(workspace: Workspace) -> None:
    found = await workspace.walk("/")
    assert paths(found) == ["a.txt", "src/b.py", "src/deep/c.py"]
    assert found.complete
    assert found.files[0].size == 5
    assert paths(await workspace.walk("src")) == ["b.py", "deep/c.py"]


async def test_hidden_ones(workspace: Workspace) -> None:
    assert paths(await workspace.walk("/", hidden=True)) == [
        ".git/config", "a.txt", "src/.hidden", "src/b.py", "src/deep/c.py"
    ]  # fmt: skip


async def test_followed_links_stay_inside_and_a_ring_ends(workspace: Workspace) -> None:
    found = paths(await workspace.walk("/", follow=True))
    if workspace._beneath._way is _stepwise:  # follows no links at all
        assert found == ["a.txt", "src/b.py", "src/deep/c.py"]
    else:
        assert found == ["a.txt", "linked.py", "src/b.py", "src/deep/c.py"]
    assert not any("secret" in path or path.startswith(("out", "leak")) for path in found)


async def test_skipped_folders_are_not_opened(workspace: Workspace) -> None:
    asked: list[str] = []

    def skip(path: str) -> bool:
        asked.append(path)
        return path == "src"

    assert paths(await workspace.walk("/", skip=skip)) == ["a.txt"]
    assert not any(path.startswith("src/") for path in asked)


async def test_ends_after_so_many_entries(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_FOUND", 3)
    found = await workspace.walk("/")
    assert not found.complete
    assert len(found.files) <= 3


@pytest.mark.parametrize("path", ["../outside", "out", "src/../../outside", "/../outside"])
async def test_beginning_outside_is_refused(workspace: Workspace, path: str) -> None:
    with pytest.raises(PathRefused):
        await workspace.walk(path)


async def test_a_folder_that_cannot_be_read_is_left_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(fd: int) -> object:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/deep"):
            raise PermissionError(13, "denied")
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    found = await workspace.walk("/")
    assert paths(found) == ["a.txt", "src/b.py"]
    assert not found.complete


async def test_a_file_and_nothing_are_errors(workspace: Workspace) -> None:
    with pytest.raises(NotADirectoryError):
        await workspace.walk("a.txt")
    with pytest.raises(FileNotFoundError):
        await workspace.walk("none")
