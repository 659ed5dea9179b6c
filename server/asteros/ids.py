"""Sortable ids: ULIDs (https://github.com/ulid/spec), with a prefix that names their kind.

One generator a process. Within a millisecond the random part counts up, so ids
of one process sort in the order they were made, and making one costs no system
call: an event id is made for every token of every model."""

import secrets
import threading

from asteros import clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Four characters (20 bits) at once.
_PAIRS = [(a + b).encode() for a in _ALPHABET for b in _ALPHABET]
_BLOCK = 1 << 20
ULID_BYTES = 26


def encoded(value: int, length: int) -> str:
    """The low bits of a number in Crockford's base 32, 5 a character."""
    out = []
    for _ in range(length):
        out.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(out))


class UlidGenerator:
    """Makes ULIDs that never go backwards, not even when the clock does. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millis = 0
        self._head = b""  # first 22 characters: time and the high 60 random bits
        self._tail = _BLOCK  # low 20 bits, counted up

    def __call__(self) -> str:
        return self.block(1)[0].decode()

    def block(self, count: int) -> list[bytes]:
        """So many ULIDs in a row, as ASCII; at most _BLOCK / 2."""
        with self._lock:
            millis = clock.now() // 1_000_000
            if millis > self._millis or self._tail + count > _BLOCK:
                self._millis = max(millis, self._millis + 1)
                self._head = (encoded(self._millis, 10) + encoded(secrets.randbits(60), 12)).encode()
                self._tail = secrets.randbits(19)
            head, first = self._head, self._tail
            self._tail = first + count
        return [head + _PAIRS[tail >> 10] + _PAIRS[tail & 1023] for tail in range(first, first + count)]


ulid = UlidGenerator()


def new(prefix: str) -> str:
    """An id of a kind: ``agt_``, ``ses_``, ``trn_``, ``msg_`` … and a ULID."""
    return prefix + ulid()
