"""Recorded answers, mutated: wrong bytes, wrong lines, wrong values in right JSON."""

import json
import random
from collections.abc import Callable
from typing import Any

_DEEP = 2000
# Values no field expects. DEEP becomes lists within lists, which json.dumps itself could not write.
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 2**31, 2**70, 0.5, "", "x", "\ud83d", "\x00", [], [None], {}, {"type": "x"}, "DEEP",
)  # fmt: skip
_TOKENS = (
    b"\n\n", b"\r\n", b"\n", b"data: ", b"data: [DONE]\n\n", b"event: error\n", b"event: ping\ndata: {}\n\n", b": c\n",
    b"id: 7\n", b"retry: 0\n", b"\x00", b"\xff", b"\xf0\x9f", b"\xef\xbb\xbf", b"}", b'"', b"\\u", b"NaN",
    b'data: {"error":{"message":"m"}}\n\n', b'data: {"type":"error","error":null}\n\n', b"data: null\n\n", b"data:\n\n",
)  # fmt: skip


class Mutator:
    """Draws mutants of a few bodies; the same seed draws the same ones."""

    def __init__(self, bodies: list[bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self._bodies = bodies
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._value, self._value, self._value, self._member, self._lines, self._flip, self._cut, self._insert,
            self._repeat, self._splice,
        )  # fmt: skip

    def draw(self) -> bytes:
        """One body with one to four faults."""
        body = self._random.choice(self._bodies)
        for _ in range(self._random.choice((1, 1, 2, 4))):
            body = self._random.choice(self._ways)(body)
        return body

    def packets(self, body: bytes) -> list[bytes]:
        """The body as it may arrive."""
        largest = self._random.choice((1, 16, 200, 100_000))
        pieces, start = [], 0
        while start < len(body):
            size = self._random.randint(1, largest)
            pieces.append(body[start : start + size])
            start += size
        return pieces

    def _value(self, body: bytes) -> bytes:
        """One value inside one JSON line becomes an odd one."""
        return self._edit(body, lambda holder, key: holder.__setitem__(key, self._random.choice(_ODD)))

    def _member(self, body: bytes) -> bytes:
        """One member or element goes."""
        return self._edit(body, lambda holder, key: holder.__delitem__(key))

    def _edit(self, body: bytes, change: Callable[[Any, Any], None]) -> bytes:
        lines = body.split(b"\n")
        places = [at for at, line in enumerate(lines) if line.startswith(b"data: {")]
        if not places:
            return body
        at = self._random.choice(places)
        try:
            document = json.loads(lines[at].removeprefix(b"data: "))
        except (ValueError, RecursionError):  # an earlier fault
            return body
        holders = [(holder, key) for holder in _containers(document) for key in _keys(holder)]
        if not holders:
            return body
        change(*self._random.choice(holders))
        text = json.dumps(document).replace('"DEEP"', "[" * _DEEP + "]" * _DEEP)
        lines[at] = b"data: " + text.encode()
        return b"\n".join(lines)

    def _lines(self, body: bytes) -> bytes:
        """Frames change places, come twice or go."""
        frames = body.split(b"\n\n")
        first, second = self._random.randrange(len(frames)), self._random.randrange(len(frames))
        match self._random.randrange(3):
            case 0:
                frames[first], frames[second] = frames[second], frames[first]
            case 1:
                frames.insert(second, frames[first])
            case _:
                del frames[first]
        return b"\n\n".join(frames)

    def _flip(self, body: bytes) -> bytes:
        if not body:
            return body
        at = self._random.randrange(len(body))
        return body[:at] + bytes([body[at] ^ (1 << self._random.randrange(8))]) + body[at + 1 :]

    def _cut(self, body: bytes) -> bytes:
        start = self._random.randrange(len(body) + 1)
        return (
            body[:start] if self._random.random() < 0.5 else body[:start] + body[start + self._random.randrange(50) :]
        )

    def _insert(self, body: bytes) -> bytes:
        at = self._random.randrange(len(body) + 1)
        return body[:at] + self._random.choice(_TOKENS) + body[at:]

    def _repeat(self, body: bytes) -> bytes:
        start = self._random.randrange(len(body) + 1)
        return body[:start] + body[start : start + self._random.randrange(300)] * 2 + body[start:]

    def _splice(self, body: bytes) -> bytes:
        other = self._random.choice(self._bodies)
        return body[: self._random.randrange(len(body) + 1)] + other[self._random.randrange(len(other) + 1) :]


def _containers(value: Any) -> list[Any]:
    """The value and all objects and lists within it."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            found.append(each)
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))
