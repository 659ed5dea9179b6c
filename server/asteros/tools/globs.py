"""File patterns as RE2 patterns: ``*``, ``?``, ``[a-z]``, ``{a,b}`` and ``**`` over folders.

RE2 and not ``fnmatch``: that builds a backtracking pattern, which many stars keep busy
for hours."""

from collections.abc import Sequence
from typing import Any, Protocol

MAX_PATTERN = 1000  # characters


class BadPattern(Exception):
    """The pattern cannot be used; the text is one sentence for the model."""


class Matches(Protocol):
    """Whether a path is one of those that a pattern means."""

    def __call__(self, path: str) -> bool: ...


def regex(pattern: str, *, case_sensitive: bool = True, one_line: bool = True) -> Any:
    """A compiled RE2 pattern over bytes. Raises BadPattern; takes linear time to search with.

    ``one_line``: a match never reaches over the end of a line."""
    import re2  # takes longer to import than the rest of the tools

    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.never_nl = one_line
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise BadPattern(f"the pattern is not usable: {text[:200]}") from None


def compiled(patterns: Sequence[str], *, anywhere: bool, case_sensitive: bool = True) -> Matches:
    """Whether a path matches one of the patterns.

    ``anywhere``: a pattern without "/" matches a name in any folder. Raises BadPattern."""
    if not patterns:
        return lambda path: False  # noqa: ARG005
    text = "|".join(f"(?:{_translated(pattern, anywhere)})" for pattern in patterns)
    found = regex(text, case_sensitive=case_sensitive)
    return lambda path: found.fullmatch(path.encode()) is not None


def _translated(pattern: str, anywhere: bool) -> str:
    pattern = pattern.removeprefix("./").lstrip("/")
    if not pattern or len(pattern) > MAX_PATTERN:
        raise BadPattern(f"a file pattern has 1 to {MAX_PATTERN} characters")
    start = "(?:.*/)?" if anywhere and "/" not in pattern else ""
    return start + _Translation(pattern).text()


class _Translation:
    """One pass over a pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._open = 0  # braces

    def text(self) -> str:
        out = []
        while self._at < len(self._pattern):
            out.append(self._next())
        if self._open:
            raise BadPattern("a { of the file pattern is not closed")
        return "".join(out)

    def _next(self) -> str:
        char = self._pattern[self._at]
        if char == "*":
            return self._stars()
        self._at += 1
        if char == "?":
            return "[^/]"
        if char == "[":
            return self._class()
        if char == "{":
            self._open += 1
            return "(?:"
        if char == "}" and self._open:
            self._open -= 1
            return ")"
        if char == "," and self._open:
            return "|"
        if char == "\\" and self._at < len(self._pattern):
            char = self._pattern[self._at]
            self._at += 1
        return _literal(char)

    def _stars(self) -> str:
        rest = self._pattern[self._at :]
        begins = self._at == 0 or self._pattern[self._at - 1] in "/{,"
        if begins and rest.startswith("**/"):
            self._at += 3
            return "(?:.*/)?"
        stars = len(rest) - len(rest.lstrip("*"))
        self._at += stars
        return ".*" if stars > 1 else "[^/]*"

    def _class(self) -> str:
        end = self._pattern.find("]", self._at + 1)  # a "]" that stands first means itself
        if end < 0:
            return _literal("[")
        inner = self._pattern[self._at : end]
        self._at = end + 1
        negated = inner[:1] in ("!", "^")
        members = "".join(char if char == "-" else _literal(char) for char in inner[negated:])
        return f"[{'^/' if negated else ''}{members}]"


def _literal(char: str) -> str:
    return char if char.isalnum() or ord(char) > 127 else f"\\x{ord(char):02x}"
