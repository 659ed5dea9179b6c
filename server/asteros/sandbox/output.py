"""What commands write, kept within bounds: head and tail of one run, a ring for one that goes on."""

import re
from collections import deque

from asteros.sandbox.base import Captured

KEPT = 256 * 1024  # bytes kept of each stream of a command
RING = 1024 * 1024  # bytes kept of a background shell

# CSI, OSC, other strings, two-character escapes; no part can match in two ways, so this is linear.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")


def plain(data: bytes) -> str:
    """Text for a model and for JSON: UTF-8 with replacements, without terminal escapes and controls."""
    return _CONTROLS.sub("", _ESCAPES.sub("", data.decode(errors="replace"))).replace("\r\n", "\n")


class Capture:
    """The first and the last bytes of a stream, KEPT together."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.size = 0

    def add(self, data: bytes) -> None:
        """Takes more; memory stays within KEPT and one block."""
        self.size += len(data)
        room = KEPT // 2 - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= KEPT // 2:
                self._tail_size -= len(self._tail.popleft())

    def result(self) -> Captured:
        """The text; a line in the middle says how much is missing."""
        tail = b"".join(self._tail)[-(KEPT // 2) :]
        missing = self.size - len(self._head) - len(tail)
        if not missing:
            return Captured(plain(bytes(self._head) + tail), self.size, cut=False)
        note = f"\n... {missing} bytes left out ...\n"
        return Captured(plain(bytes(self._head)) + note + plain(tail), self.size, cut=True)


class Ring:
    """The newest RING bytes of both streams in the order they came, by offset from the start."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, bool, bytes]] = deque()
        self.start = 0  # offset of the oldest byte kept
        self.end = 0

    def add(self, is_error: bool, data: bytes) -> None:
        """Takes more; the oldest blocks go."""
        self.end += len(data)
        kept = data[-RING:]
        self._blocks.append((self.end - len(kept), is_error, kept))
        while self.end - self.start > RING:
            offset, _, block = self._blocks.popleft()
            self.start = self._blocks[0][0] if self._blocks else offset + len(block)

    def clear(self) -> None:
        """Forgets what is kept; offsets go on."""
        self._blocks.clear()
        self.start = self.end

    def read(self, since: int, *, errors: bool = True) -> str:
        """Everything from an offset on, as far as it is kept; ``errors``: standard error too."""
        parts = [
            block[max(since - offset, 0) :]
            for offset, is_error, block in self._blocks
            if offset + len(block) > since and (errors or not is_error)
        ]
        return plain(b"".join(parts))
