"""How many tokens models take: the packaged table, and what is refused."""

from pathlib import Path

import pytest

from asteros.errors import ConfigError
from asteros.providers.windows import Windows


def table(folder: Path, text: str) -> Windows:
    (folder / "windows.yaml").write_text(text)
    return Windows(folder / "windows.yaml")


def test_the_packaged_table_is_sound() -> None:
    windows = Windows()
    assert windows.tokens("claude-sonnet-5-5") == 200_000
    assert windows.tokens("no-such-model") is None


def test_an_exact_name_then_the_longest_beginning(tmp_path: Path) -> None:
    windows = table(tmp_path, 'models: {"a*": 1, "a-b*": 2, a-b-c: 3}')
    assert [windows.tokens(name) for name in ("a-x", "a-b-x", "a-b-c", "b")] == [1, 2, 3, None]


@pytest.mark.parametrize(
    "text", ["", "models: 5", "models: {a: 0}", "models: {a: true}", "models: {a: x}", "models: ["]
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="window table"):
        table(tmp_path, text)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Windows(tmp_path / "none.yaml")
