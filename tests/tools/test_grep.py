from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.grep import Grep

pytestmark = pytest.mark.anyio

FILES = {
    "a.py": "import os\n\ndef f():\n    return os\n",
    "src/b.py": "import sys\nprint('OS')\n",
    "src/c.txt": "the os\nno\nno\nno\nthe os again\nend",
    ".hidden.py": "import os\n",
    "binary": "import os\0\n",
    "empty.py": "",
}


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "link.py").symlink_to("a.py")
    return FakeContext(Workspace.open(tmp_path))


async def grep(context: FakeContext, pattern: str, **more: Any) -> dict[str, Any]:
    answer = await Grep().run({"pattern": pattern, **more}, context)
    assert answer["ok"], answer
    return answer


async def lines(context: FakeContext, pattern: str, **more: Any) -> str:
    found: str = (await grep(context, pattern, output_mode="content", **more))["content"]
    return found


async def test_files_that_match(context: FakeContext) -> None:
    assert await grep(context, "os") == {
        "ok": True,
        "path": "/",
        "files": ["a.py", "src/c.txt"],
        "match_count": 2,
        "file_count": 2,
        "truncated": False,
    }
    for more, files in [
        ({"case_insensitive": True}, ["a.py", "src/b.py", "src/c.txt"]),
        ({"glob": "*.py"}, ["a.py"]),
        ({"file_type": "txt"}, ["src/c.txt"]),
        ({"file_type": "py", "glob": "src/*"}, []),
        ({"hidden": True}, [".hidden.py", "a.py", "src/c.txt"]),
        ({"follow": True}, ["a.py", "link.py", "src/c.txt"]),
        ({"path": "src"}, ["src/c.txt"]),
        ({"path": "/src/c.txt"}, ["/src/c.txt"]),
    ]:
        assert (await grep(context, "os", **more))["files"] == files, more


async def test_lines_that_match(context: FakeContext) -> None:
    assert (
        await lines(context, "os")
        == "a.py:1:import os\na.py:4:    return os\nsrc/c.txt:1:the os\nsrc/c.txt:5:the os again"
    )
    assert await lines(context, "^import", line_numbers=False) == "a.py:import os\nsrc/b.py:import sys"
    assert await lines(context, "def", no_heading=False) == "a.py\n3:def f():"
    assert await lines(context, r"end$") == "src/c.txt:6:end"
    assert await lines(context, "again", context_lines=1) == "src/c.txt-4-no\nsrc/c.txt:5:the os again\nsrc/c.txt-6-end"
    assert "src/c.txt-2-no\n--\nsrc/c.txt-4-no" in await lines(context, "the", context_lines=1)


async def test_whole_words_and_counts(context: FakeContext) -> None:
    assert (await grep(context, "o|impor", whole_word=True))["files"] == []
    counted = await grep(context, "os|no", output_mode="count")
    assert counted["counts"] == [{"path": "a.py", "count": 2}, {"path": "src/c.txt", "count": 5}]
    assert counted["match_count"] == 7


async def test_an_empty_match_is_one_of_each_line(context: FakeContext) -> None:
    counted = await grep(context, "x*", output_mode="count", path="src")
    assert counted["counts"] == [{"path": "src/b.py", "count": 2}, {"path": "src/c.txt", "count": 6}]


async def test_only_multiline_reaches_over_lines(context: FakeContext) -> None:
    assert (await grep(context, r"def.*\s+return"))["files"] == []
    assert (await grep(context, r"import os\n"))["files"] == []
    assert await lines(context, r"def.*return", multiline=True) == "a.py:3:def f():\na.py:4:    return os"


async def test_limits(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await grep(context, "os", max_results=1)
    assert (one["files"], one["truncated"]) == (["a.py"], True)
    content = await grep(context, "no|os", output_mode="content", max_results=3)
    assert (content["content"].count("\n"), content["match_count"], content["truncated"]) == (2, 3, True)
    monkeypatch.setattr("asteros.tools.grep.MAX_LINE", 3)
    assert await lines(context, "def") == "a.py:3:def…"
    monkeypatch.setattr("asteros.tools.grep.MAX_TEXT", 30)
    short = await grep(context, "os", output_mode="content")
    assert (short["content"], short["truncated"]) == ("a.py:1:imp…\na.py:4:   …", True)


async def test_a_pattern_that_would_hang_another_engine(context: FakeContext, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("a" * 50_000 + "!")
    assert (await grep(context, r"^(a+)+$", path="evil.txt"))["files"] == []


async def test_text_that_is_not_utf8(context: FakeContext, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9 os\r\n")
    assert await lines(context, "caf.* os", path="latin") == ""  # . is a character, and that is none
    assert await lines(context, "os", path="latin") == "latin:1:caf\ufffd os"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"pattern": "("}, "the pattern is not usable: missing ): ("),
        ({"pattern": "(?=a)"}, "the pattern is not usable: invalid perl operator: (?="),
        ({"pattern": "(x{1000}){1000}"}, "the pattern is not usable: invalid repetition size: {1000}"),
        ({"pattern": "a", "glob": "{"}, "a { of the file pattern is not closed"),
        ({"pattern": "a", "path": "../x"}, "the path leaves the workspace"),
        ({"pattern": "a", "path": "none"}, "there is no such file or folder"),
    ],
)
async def test_failures_are_results(context: FakeContext, args: dict[str, Any], error: str) -> None:
    answer = await Grep().run(args, context)
    assert (answer["ok"], answer["error"]) == (False, error)


async def test_a_long_search_reports(tmp_path: Path) -> None:
    for number in range(501):
        (tmp_path / f"{number}").write_text("")
    context = FakeContext(Workspace.open(tmp_path))
    await grep(context, "x")
    assert context.reports == ["500 of 501 files searched"]
