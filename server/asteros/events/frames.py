"""Events and frames as bytes, encoded once.

A frame's bytes depend on the event alone, so every subscriber of every RPC shares
them: the field ``frames`` has number 1 in every stream response (a test keeps it),
and a response is the joined bytes of its frames."""

from aster.v1 import common_pb2, event_pb2, event_service_pb2
from asteros import clock
from asteros.events import catalogue
from asteros.events.cursor import CursorCodec, Place, SegmentCursors
from asteros.stores.base import Segment, Unit


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# Lengths of ordinary frames, looked up instead of computed.
_LENGTHS = [_varint(value) for value in range(8192)]
_FRAME_TAG = b"\x0a"  # repeated EventFrame frames = 1, in every response
_CURSOR_HEAD = b"\x0a\x24"  # EventFrame.cursor = 1, 36 bytes
_EVENT_TAG = b"\x12"  # EventFrame.event = 2


def _length(value: int) -> bytes:
    return _LENGTHS[value] if value < 8192 else _varint(value)


class Sealer:
    """Numbers and encodes the events of a unit. Runs on the store's writing thread."""

    def __init__(self, codec: CursorCodec) -> None:
        self._codec = codec

    def __call__(self, unit: Unit, first_sequence: int, position: int) -> Segment:
        now = clock.now()
        seconds, nanos = divmod(now, clock.NANOS)
        cursors = SegmentCursors(self._codec, unit.agent_key, position, first_sequence)
        parts: list[bytes] = []
        ends: list[int] = []
        end = 0
        for index, event in enumerate(unit.events):
            event.sequence = first_sequence + index
            stored = event.create_time
            stored.seconds, stored.nanos = seconds, nanos
            data = event.SerializeToString()
            frame = b"".join((_CURSOR_HEAD, cursors[index].encode(), _EVENT_TAG, _length(len(data)), data))
            head = _FRAME_TAG + _length(len(frame))
            parts += (head, frame)
            end += len(head) + len(frame)
            ends.append(end)
        kinds = bytes([catalogue.KINDS[event.event_type].code for event in unit.events])
        return Segment(position, unit.agent_key, first_sequence, now, unit.scope, kinds, tuple(ends), b"".join(parts))


def wrapped(frame: event_pb2.EventFrame) -> bytes:
    """One frame as the bytes of a response that holds it alone."""
    data = frame.SerializeToString()
    return _FRAME_TAG + _length(len(data)) + data


def started(subscription_id: str, log_epoch: str, oldest: int, latest: int, cursor: str) -> bytes:
    """The first frame of every stream."""
    first = event_pb2.SubscriptionStarted(
        subscription_id=subscription_id, log_epoch=log_epoch, oldest_sequence=oldest, latest_sequence=latest
    )
    return wrapped(event_pb2.EventFrame(cursor=cursor, started=first))


def heartbeat(cursor: str) -> bytes:
    """Nothing new, and how far the stream has come."""
    beat = event_pb2.Heartbeat(server_time=clock.timestamp(clock.now()))
    return wrapped(event_pb2.EventFrame(cursor=cursor, heartbeat=beat))


def gap(first: int, last: int, count: int, channel: int, agent_id: str) -> bytes:
    """Events that were left out. Without a cursor: kept events of the range may follow it."""
    left_out = event_pb2.EventGap(
        first_sequence=first,
        last_sequence=last,
        dropped_count=count,
        channel=common_pb2.Channel.Name(channel),
        agent_id=agent_id,
    )
    return wrapped(event_pb2.EventFrame(gap=left_out))


def event_frames(segment: Segment, indexes: "range | list[int]") -> list[event_pb2.EventFrame]:
    """The frames of some events of a segment, parsed: for lists, not for streams."""
    body = b"".join(segment.slice(index, index + 1) for index in indexes)
    return list(event_service_pb2.SubscribeResponse.FromString(body).frames)


def events(segment: Segment) -> list[event_pb2.Event]:
    """The events of a segment, parsed."""
    return [frame.event for frame in event_service_pb2.SubscribeResponse.FromString(segment.body).frames]


def place(segment: Segment, index: int) -> Place:
    """The place just after an event of a segment."""
    return Place(segment.agent_key, segment.position + index, segment.first_sequence + index)
