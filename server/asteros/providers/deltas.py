"""Putting pieces of a stream together: text without cut code points, tool input that is whole JSON."""

import json
from typing import NoReturn

from aster.v1 import common_pb2
from asteros import ids

_HIGH_FIRST, _HIGH_LAST = "\ud800", "\udbff"


def clean(text: str) -> str:
    """Text that protobuf can carry: surrogate pairs joined, lone ones replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TextJoiner:
    r"""Joins a code point that JSON escapes (``\ud83d`` ``\ude00``) cut over two deltas."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Text that is complete so far; may be empty.

        :raises TypeError: the piece is not text."""
        text = self._held + piece
        self._held = ""
        if text and _HIGH_FIRST <= text[-1] <= _HIGH_LAST:
            text, self._held = text[:-1], text[-1]
        return clean(text)

    def flush(self) -> str:
        """What was held back at the end of the stream."""
        held, self._held = self._held, ""
        return clean(held)


class ToolDraft:
    """One tool call that is still being received."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self._parts: list[str] = []

    def feed(self, piece: str) -> None:
        """Adds a piece of the input's JSON text."""
        self._parts.append(piece)

    def call(self) -> common_pb2.ToolCall | None:
        """The finished call, its input exactly as produced; None while the JSON is incomplete.

        No input at all means an empty object; a call without an id gets one."""
        text = clean("".join(self._parts)).strip() or "{}"
        if not self.name or not _is_json(text):
            return None
        return common_pb2.ToolCall(id=self.id or ids.new("call_"), name=self.name, input_json=text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON
