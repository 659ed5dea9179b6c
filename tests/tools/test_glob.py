import os
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.glob import Glob
from asteros.tools.globs import BadPattern, compiled

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.py", ["a.py", ".py", "é.py"], ["a.pyc", "x/a.py", "a/py"]),
        ("**/*.py", ["a.py", "x/a.py", "x/y/a.py"], ["a.txt"]),
        ("src/**", ["src/a", "src/x/a"], ["src", "srcs/a"]),
        ("src/**/t.py", ["src/t.py", "src/a/b/t.py"], ["src/at.py"]),
        ("a?c", ["abc", "aéc"], ["ac", "a/c", "abbc"]),
        ("[a-c]1", ["a1", "c1"], ["d1"]),
        ("[!a-c]1", ["d1"], ["a1", "/1"]),
        ("[]]x", ["]x"], ["x"]),
        ("[x", ["[x"], ["x"]),
        ("*.{ts,tsx}", ["a.ts", "a.tsx"], ["a.js", "a.{ts,tsx}"]),
        ("{a,b{c,d}}", ["a", "bc", "bd"], ["b", "ad"]),
        ("a,b}", ["a,b}"], ["a"]),
        (r"\*.\p", ["*.p"], ["a.p"]),
        ("a.b+c(d)|e", ["a.b+c(d)|e"], ["axb+c(d)|e", "e"]),
        ("./a/b", ["a/b"], ["./a/b"]),
        ("a**b", ["ab", "ax/yb"], []),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    match = compiled([pattern], anywhere=False)
    assert [path for path in [*yes, *no] if match(path)] == yes


def test_names_anywhere_and_case() -> None:
    assert compiled(["*.py"], anywhere=True)("x/y/a.py")
    assert not compiled(["x/*.py"], anywhere=True)("w/x/a.py")
    assert compiled(["*.PY", "b"], anywhere=False, case_sensitive=False)("a.py")
    assert not compiled([], anywhere=True)("a")


@pytest.mark.parametrize("pattern", ["{a", "/", "x" * 1001, "[z-a]"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compiled([pattern], anywhere=True)


def test_many_stars_take_no_time() -> None:
    """A backtracking engine would need hours for this name."""
    assert not compiled(["*a" * 30 + "b"], anywhere=False)("a" * 4000)


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    for index, name in enumerate(["b.py", "A.py", "src/c.py", "src/deep/d.py", "node_modules/x/e.py", ".hid/f.py"]):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x" * index)
        os.utime(file, (1000 + index, 1000 + index))
    return FakeContext(Workspace.open(tmp_path))


async def glob(context: FakeContext, pattern: str, **more: Any) -> list[str]:
    answer = await Glob().run({"pattern": pattern, **more}, context)
    assert answer["ok"], answer
    assert answer["count"] >= len(answer["files"])
    found: list[str] = answer["files"]
    return found


async def test_finds_files(context: FakeContext) -> None:
    assert await glob(context, "*.py") == ["A.py", "b.py", "node_modules/x/e.py", "src/c.py", "src/deep/d.py"]
    assert await glob(context, "*.py", exclude_patterns=["node_modules", "deep"]) == ["A.py", "b.py", "src/c.py"]
    assert await glob(context, "*.py", recursive=False) == ["A.py", "b.py"]
    assert await glob(context, "src/*.py") == ["src/c.py"]
    assert await glob(context, "*.py", path="/src") == ["src/c.py", "src/deep/d.py"]
    assert await glob(context, "f.*", include_hidden=True) == [".hid/f.py"]
    assert await glob(context, "a.PY", case_sensitive=False) == ["A.py"]
    assert await glob(context, "a.PY") == []


async def test_sorts(context: FakeContext) -> None:
    assert await glob(context, "*.py", sort_by="modified", max_results=2) == ["node_modules/x/e.py", "src/deep/d.py"]
    assert (await glob(context, "*.py", sort_by="size"))[-1] == "b.py"
    assert await glob(context, "*.py", sort_by="name", path="src") == ["src/c.py", "src/deep/d.py"]


async def test_says_what_is_missing(context: FakeContext) -> None:
    answer = await Glob().run({"pattern": "*.py", "max_results": 2}, context)
    assert (len(answer["files"]), answer["count"], answer["truncated"]) == (2, 5, True)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"pattern": "{a"}, "a { of the file pattern is not closed"),
        ({"pattern": "a", "exclude_patterns": ["{a"]}, "a { of the file pattern is not closed"),
        ({"pattern": "a", "path": "../"}, "the path leaves the workspace"),
        ({"pattern": "a", "path": "none"}, "there is no such file or folder"),
        ({"pattern": "a", "path": "b.py"}, "a part of the path is a file, not a folder"),
    ],
)
async def test_failures_are_results(context: FakeContext, args: dict[str, Any], error: str) -> None:
    answer = await Glob().run(args, context)
    assert (answer["ok"], answer["error"]) == (False, error)
