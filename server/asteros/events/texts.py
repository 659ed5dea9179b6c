"""progress.text_chunk as bytes, without a message in between.

A model's every token is an event, so this one kind is encoded by hand, from parts
that are the same for a whole segment, or for all texts of a length. What comes out
is what protobuf would have written, field by field (a test compares them)."""

from collections.abc import Iterable, Iterator

from aster.v1 import event_pb2
from asteros.events.cursor import TAIL_BYTES, SegmentCursors
from asteros.ids import ULID_BYTES

FRAME_TAG = b"\x0a"  # repeated EventFrame frames = 1, in every response
CURSOR_HEAD = b"\x0a\x24"  # EventFrame.cursor = 1, 36 bytes
EVENT_TAG = b"\x12"  # EventFrame.event = 2
_ID_HEAD = b"\x0a\x1a"  # Event.id = 1, 26 bytes
_SEQUENCE_TAG = b"\x10"  # Event.sequence = 2, with the first byte of the number
_PROGRESS_TAG = b"\xa2\x01"  # Event.progress = 20
_FIELD_1 = b"\x0a"  # ProgressEvent.text_chunk = 1, and TextChunk.delta = 1


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# Lengths of ordinary frames, looked up instead of computed.
_LENGTHS = [varint(value) for value in range(8192)]
_SHORT = [_SEQUENCE_TAG + bytes((value,)) for value in range(128)]
_LOW = [_SEQUENCE_TAG + bytes((value | 128,)) for value in range(128)]  # more of the number follows


def length(value: int) -> bytes:
    """The length of a field as protobuf writes it."""
    return _LENGTHS[value] if value < 8192 else varint(value)


class TextPattern:
    """What the text events of one model step have in common."""

    __slots__ = ("after", "before")

    def __init__(self, pattern: event_pb2.Event) -> None:
        rest = event_pb2.Event()
        rest.CopyFrom(pattern)
        rest.ClearField("event_type")
        # Fields come in the order of their numbers: event_type is 3, create_time 4.
        self.before = event_pb2.Event(event_type=pattern.event_type).SerializeToString()
        self.after = rest.SerializeToString()


# One text event that waits for its sequence. A bare pair: one is made for every token.
TextDraft = tuple[TextPattern, str]


class TextFrames:
    """Encodes the text events of one segment and pattern."""

    def __init__(self, pattern: TextPattern, cursors: SegmentCursors, create_time: bytes) -> None:
        self._cursor_tail = cursors.tail
        self._head = CURSOR_HEAD + cursors.head
        self._rest = pattern.before + create_time + pattern.after  # of the event, behind its sequence
        self._high = -1  # the sequence without its lowest 7 bits, and what stands behind those
        self._behind_low = b""
        # By length of the text and of what stands behind the id: all that follows from these two.
        self._shapes: dict[tuple[int, int], tuple[bytes, bytes, bytes, int]] = {}

    def write(
        self, drafts: Iterable[TextDraft], ids: Iterable[bytes], index: int, sequence: int, parts: list[bytes]
    ) -> Iterator[int]:
        """Appends the frames of drafts that follow one another to ``parts``; yields their sizes.

        ``index`` is the place of the first one in its segment."""
        for (_, delta), event_id in zip(drafts, ids, strict=False):
            if sequence >> 7 != self._high:
                self._raise(sequence >> 7)
            low = _LOW[sequence & 127] if self._high else _SHORT[sequence]
            text = delta.encode()
            shape = len(text), len(self._behind_low)
            head, event_head, text_head, size = self._shapes.get(shape) or self._shape(*shape)
            parts += (head, self._cursor_tail(index), event_head, event_id, low, self._behind_low, text_head, text)
            yield size
            index += 1
            sequence += 1

    def _raise(self, high: int) -> None:
        self._high = high
        self._behind_low = (varint(high) if high else b"") + self._rest

    def _shape(self, text: int, behind_low: int) -> tuple[bytes, bytes, bytes, int]:
        """Parts and size of a frame with a text of so many bytes."""
        delta = _FIELD_1 + length(text) if text else b""  # what is empty is not written
        chunk = _FIELD_1 + length(len(delta) + text)
        text_head = _PROGRESS_TAG + length(len(chunk) + len(delta) + text) + chunk + delta
        event = len(_ID_HEAD) + ULID_BYTES + 2 + behind_low + len(text_head) + text
        event_head = EVENT_TAG + length(event) + _ID_HEAD
        frame = len(self._head) + TAIL_BYTES + len(event_head) - len(_ID_HEAD) + event
        head = FRAME_TAG + length(frame) + self._head
        shape = head, event_head, text_head, len(FRAME_TAG) + len(length(frame)) + frame
        self._shapes[text, behind_low] = shape
        return shape
