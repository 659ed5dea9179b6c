from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.fakes import FakeContext, promised

from asteros.sandbox.files import Workspace
from asteros.tools import files
from asteros.tools.base import JsonObject, RerunPolicy, ToolContext
from asteros.tools.files import Ls, Read, Write

pytestmark = pytest.mark.anyio


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ToolContext]:
    workspace = Workspace.open(tmp_path)
    yield FakeContext(promised(workspace))
    workspace.close()


async def read(context: ToolContext, **args: object) -> JsonObject:
    return await Read().run({"file_path": "a", **args}, context)


async def test_writes_and_reads(context: ToolContext, tmp_path: Path) -> None:
    written = await Write().run({"file_path": "/hello.txt", "content": "你好\nagain"}, context)
    assert written == {"ok": True, "path": "/hello.txt", "bytes": 12}
    assert await Read().run({"file_path": "hello.txt"}, context) == {
        "ok": True,
        "path": "hello.txt",
        "content": "你好\nagain",
        "line_count": 2,
        "truncated": False,
    }


async def test_appends_and_backs_up(context: ToolContext, tmp_path: Path) -> None:
    args = {"file_path": "a", "backup": True, "append": True}
    first = await Write().run({**args, "content": "one"}, context)
    assert "backup" not in first
    second = await Write().run({**args, "content": "two"}, context)
    assert second == {"ok": True, "path": "a", "bytes": 3, "backup": "a.bak"}
    assert (tmp_path / "a").read_text() == "onetwo"
    assert (tmp_path / "a.bak").read_text() == "one"


@pytest.mark.parametrize(
    ("offset", "limit", "content", "truncated", "following"),
    [
        (1, 2, "1\n2\n", True, 3),
        (3, 2, "3\n4", False, None),
        (4, 9, "4", False, None),
        (2, 1, "2\n", True, 3),
    ],
)
async def test_reads_some_lines(
    context: ToolContext,
    tmp_path: Path,
    offset: int,
    limit: int,
    content: str,
    truncated: bool,
    following: int | None,
) -> None:
    (tmp_path / "a").write_text("1\n2\n3\n4")
    answer = await read(context, offset=offset, limit=limit)
    assert (answer["content"], answer["truncated"], answer.get("next_offset")) == (content, truncated, following)
    assert answer["line_count"] == 4


async def test_reads_an_empty_file_and_refuses_lines_beyond_the_end(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert (await read(context))["content"] == ""
    (tmp_path / "a").write_text("1\n")
    answer = await read(context, offset=2)
    assert answer == {"ok": False, "path": "a", "error": "the file has only 1 lines", "line_count": 1}


async def test_pages_through_a_long_file(context: ToolContext, tmp_path: Path) -> None:
    text = "".join(f"line {number} " + "é" * 50 + "\n" for number in range(9000))
    (tmp_path / "a").write_text(text)
    pages: list[str] = []
    offset: int | None = 1
    while offset is not None:
        answer = await read(context, offset=offset, limit=5000)
        assert len(answer["content"].encode()) <= files.MAX_READ
        pages.append(answer["content"])
        offset = answer.get("next_offset")
    assert "".join(pages) == text
    assert len(pages) > 2
    assert (await read(context))["next_offset"] == files.DEFAULT_LINES + 1


async def test_cuts_a_huge_line_between_characters(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x" + "€" * files.MAX_READ)
    answer = await read(context)
    assert answer["truncated"]
    assert "note" not in answer
    assert files.MAX_READ - 3 < len(answer["content"].encode()) <= files.MAX_READ


async def test_looks_at_no_more_than_its_limit(
    context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 4)
    (tmp_path / "a").write_text("1\n2\n3\n4\n")
    answer = await read(context)
    assert (answer["content"], answer["line_count"], answer["truncated"]) == ("1\n2\n", 2, True)


async def test_says_that_bad_utf8_is_replaced(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"ok \xff")
    answer = await read(context)
    assert answer["content"] == "ok \ufffd"
    assert "U+FFFD" in answer["note"]


async def test_lists(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("12")
    (tmp_path / "a").mkdir()
    answer = await Ls().run({}, context)
    assert answer["ok"]
    assert answer["path"] == "/"
    assert answer["entries"][1] == {"name": "b", "kind": "file", "size": 2}
    assert [entry["kind"] for entry in answer["entries"]] == ["dir", "file"]
    assert not answer["truncated"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("none", "there is no such file or folder"),
        ("folder", "this is a folder, not a file"),
        ("file/inner", "a part of the path is a file, not a folder"),
        ("../out", "the path leaves the workspace"),
        ("x" * 300, "the file system answered: File name too long"),
    ],
)
async def test_failures_are_results(context: ToolContext, tmp_path: Path, path: str, error: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert await Read().run({"file_path": path}, context) == {"ok": False, "error": error, "path": path}
    written = await Write().run({"file_path": path, "content": "", "backup": True, "create_dirs": False}, context)
    assert written["ok"] is (path == "none")
    if path != "folder":
        assert not (await Ls().run({"path": path}, context))["ok"] or path == "none"


def test_only_reading_runs_again_by_itself() -> None:
    assert [tool.info.rerun for tool in (Read(), Ls())] == [RerunPolicy.SAFE] * 2
    assert Write().info.rerun is RerunPolicy.NEVER
    assert not Write().info.read_only
