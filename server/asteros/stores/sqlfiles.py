"""SQL lives in .sql files: numbered migrations, and queries by name."""

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """Statements of a query file by name, without comments and the closing semicolon."""
    text = resources.files("asteros.stores").joinpath("sql", file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: _statement(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _statement(body: str) -> str:
    lines = (line for line in body.splitlines() if not line.startswith("--"))
    return "\n".join(lines).strip().rstrip(";")


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """(number, script) of every migration, in order."""
    folder = resources.files("asteros.stores").joinpath("sql")
    found = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)
    ]
    return tuple(sorted(found))
