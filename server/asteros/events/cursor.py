"""Cursors: a position in the whole log, opaque and checked.

A cursor says where in the log an event stands and which event of which agent that
is, so it resumes a stream of one agent or of many, and the same event has the same
cursor on every stream: frames are encoded once. It is no authority (the store
filters by tenant and scope anyway); the check only tells a cursor of this log from
a made-up one.

Form, 36 characters of base64url: 28 that are the same for a whole segment (agent
key, position and sequence of its first event, a 40-bit keyed digest), then the
index in the segment and a 24-bit check of it. The check is a*(index+1)+b with a and
b from the same digest: one keyed hash a segment, two table look-ups an event."""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

_HEAD = struct.Struct(">IQQ")  # agent key, position, sequence; the two Q are cut to 48 bits
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TWO = [(a + b).encode() for a in _ALPHABET for b in _ALPHABET]  # 12 bits as two characters
_MASK = (1 << 24) - 1
LENGTH = 36
MAX_INDEX = 4096  # events in a segment
TAIL_BYTES = 6  # of a cursor: what differs within a segment


@dataclass(frozen=True, slots=True)
class Place:
    """A point in the log: after the event ``sequence`` of the agent, which has ``position``.

    ``agent_key`` 0: between agents, where only the position counts."""

    agent_key: int
    position: int
    sequence: int = 0


class SegmentCursors:
    """Cursors of the events of one segment: ``head`` is common to all, ``tail`` is each one's own."""

    __slots__ = ("_a", "_b", "head")

    def __init__(self, codec: "CursorCodec", agent_key: int, position: int, sequence: int) -> None:
        head, self._a, self._b = codec.begin(agent_key, position, sequence)
        self.head = head + b"AA"

    def tail(self, index: int) -> bytes:
        """The last TAIL_BYTES of an event's cursor."""
        check = (self._a * (index + 1) + self._b) & _MASK
        return _TWO[index] + _TWO[check >> 12] + _TWO[check & 4095]

    def __getitem__(self, index: int) -> str:
        return (self.head + self.tail(index)).decode()


class CursorCodec:
    """Makes and reads the cursors of one log."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, key=b"aster cursor", digest_size=32).digest()

    def begin(self, agent_key: int, position: int, sequence: int) -> tuple[bytes, int, int]:
        packed = _HEAD.pack(agent_key, position, sequence)
        head = packed[:4] + packed[6:12] + packed[14:20]
        digest = hashlib.blake2b(head, key=self._key, digest_size=11).digest()
        text = base64.urlsafe_b64encode(head + digest[:5])
        return text, int.from_bytes(digest[5:8], "big") | 1, int.from_bytes(digest[8:11], "big")

    def encode(self, place: Place) -> str:
        """The cursor of a place."""
        return SegmentCursors(self, place.agent_key, place.position, place.sequence)[0]

    def decode(self, cursor: str) -> Place:
        """The place of a cursor.

        :raises ValueError: not a cursor of this log."""
        if len(cursor) != LENGTH:
            raise ValueError("length")
        try:
            raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise ValueError("not base64url") from error
        agent_key = int.from_bytes(raw[0:4], "big")
        position = int.from_bytes(raw[4:10], "big")
        sequence = int.from_bytes(raw[10:16], "big")
        index = int.from_bytes(raw[21:24], "big")
        if index >= MAX_INDEX or SegmentCursors(self, agent_key, position, sequence)[index] != cursor:
            raise ValueError("check")
        if agent_key:
            sequence += index
        return Place(agent_key, position + index, sequence)
