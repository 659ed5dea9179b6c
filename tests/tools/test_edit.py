from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.edit import Edit

pytestmark = pytest.mark.anyio


class Desk:
    """A file and the tool."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "f.py"
        self.context = FakeContext(Workspace.open(folder))

    async def edit(self, before: str | bytes, old: str, new: str, **more: Any) -> dict[str, Any]:
        self.file.write_bytes(before if isinstance(before, bytes) else before.encode())
        return await Edit().run({"file_path": "f.py", "old_string": old, "new_string": new, **more}, self.context)

    @property
    def text(self) -> str:
        return self.file.read_bytes().decode()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_replaces_a_text_that_is_there_once(desk: Desk) -> None:
    assert await desk.edit("a b c", "b", "B") == {"ok": True, "path": "f.py", "replacements": 1}
    assert desk.text == "a B c"


async def test_a_text_that_is_there_twice_needs_replace_all(desk: Desk) -> None:
    answer = await desk.edit("b b", "b", "c")
    assert answer == {
        "ok": False,
        "error": "old_string is in the file 2 times; make it longer, or set replace_all",
        "path": "f.py",
        "occurrences": 2,
    }
    assert desk.text == "b b"
    assert (await desk.edit("b b", "b", "c", replace_all=True))["replacements"] == 2
    assert desk.text == "c c"


@pytest.mark.parametrize(
    ("before", "old", "new", "error"),
    [
        ("a", "b", "c", "old_string is not in the file; it must be the same to the last space"),
        ("a", "a", "a", "old_string and new_string are the same"),
        (b"\xff", "a", "b", "the file is not UTF-8 text"),
    ],
)
async def test_what_cannot_be_replaced_stays(desk: Desk, before: str | bytes, old: str, new: str, error: str) -> None:
    answer = await desk.edit(before, old, new, backup=True)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert desk.file.read_bytes() == (before if isinstance(before, bytes) else before.encode())
    assert [path.name for path in desk.file.parent.iterdir()] == ["f.py"]  # and no backup


async def test_keeps_a_backup(desk: Desk) -> None:
    assert (await desk.edit("a", "a", "b", backup=True))["backup"] == "f.py.bak"
    assert (desk.file.parent / "f.py.bak").read_text() == "a"


async def test_keeps_line_ends(desk: Desk) -> None:
    await desk.edit("a\r\nb\r\n", "a\nb", "x\ny\r\nz")
    assert desk.text == "x\r\ny\r\nz\r\n"


async def test_finds_lines_by_their_own_indentation(desk: Desk) -> None:
    before = "class A:\n    def f():\n        return 1\n\n    x = 2\n"
    answer = await desk.edit(
        before, "def f():\n    return 1\n", "def f():\n\n    return 2\n", preserve_indentation=True
    )
    assert answer["replacements"] == 1
    assert desk.text == "class A:\n    def f():\n\n        return 2\n\n    x = 2\n"


async def test_indentation_matters_without_being_told(desk: Desk) -> None:
    assert not (await desk.edit("  a\n    b\n", "a\n  b", "c"))["ok"]
    assert (await desk.edit("\ta\n\t\tb\n", "a\n\tb", "c\nd", preserve_indentation=True))["ok"]
    assert desk.text == "\tc\n\td\n"


async def test_two_places_with_other_indentation(desk: Desk) -> None:
    before = "a\n  b\n    a\n      b\nend"
    answer = await desk.edit(before, "   a\n     b", "x", preserve_indentation=True)
    assert answer["occurrences"] == 2
    await desk.edit(before, "   a\n     b", "x", preserve_indentation=True, replace_all=True)
    assert desk.text == "x\n    x\nend"


@pytest.mark.parametrize(
    ("path", "error"), [("none", "there is no such"), ("..", "leaves the workspace"), ("/", "fold")]
)
async def test_a_path_that_is_no_file(desk: Desk, path: str, error: str) -> None:
    answer = await Edit().run({"file_path": path, "old_string": "a", "new_string": "b"}, desk.context)
    assert not answer["ok"]
    assert error in answer["error"]


async def test_a_file_that_is_too_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asteros.tools.edit.MAX_WRITE", 10)
    assert "more than 10 bytes" in (await desk.edit("a" * 11, "a", "b"))["error"]
