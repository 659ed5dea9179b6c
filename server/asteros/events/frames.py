"""Events and frames as bytes, encoded once.

A frame's bytes depend on the event alone, so every subscriber of every RPC shares
them: the field ``frames`` has number 1 in every stream response (a test keeps it),
and a response is the joined bytes of its frames."""

import itertools
from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from aster.v1 import common_pb2, event_pb2, event_service_pb2
from asteros import clock, ids
from asteros.events import catalogue
from asteros.events.cursor import CursorCodec, Place, SegmentCursors
from asteros.events.texts import CURSOR_HEAD, EVENT_TAG, FRAME_TAG, TextDraft, TextFrames, TextPattern, length
from asteros.stores.base import Segment, Unit

_TEXT_KIND = bytes((catalogue.KINDS["progress.text_chunk"].code,))


class Sealer:
    """Numbers and encodes the events of a unit. Runs on the store's writing thread."""

    def __init__(self, codec: CursorCodec) -> None:
        self._codec = codec

    def __call__(self, unit: Unit, first_sequence: int, position: int) -> Segment:
        now = clock.now()
        cursors = SegmentCursors(self._codec, unit.agent_key, position, first_sequence)
        body = _Body(cursors, first_sequence, clock.timestamp(now))
        for pattern, run in itertools.groupby(unit.events, _pattern_of):
            if pattern is None:
                body.add(run)
            else:
                body.add_texts(pattern, list(run))
        ends = tuple(itertools.accumulate(body.sizes))
        return Segment(
            position, unit.agent_key, first_sequence, now, unit.scope, bytes(body.kinds), ends, b"".join(body.parts)
        )


def _pattern_of(event: event_pb2.Event | TextDraft) -> TextPattern | None:
    return event[0] if type(event) is tuple else None


class _Body:
    """The frames of one segment while they are made."""

    def __init__(self, cursors: SegmentCursors, first_sequence: int, create_time: Timestamp) -> None:
        self.parts: list[bytes] = []
        self.sizes: list[int] = []  # one per event
        self.kinds = bytearray()
        self._cursors = cursors
        self._first = first_sequence
        self._create_time = create_time

    def add(self, events: Iterable[event_pb2.Event]) -> None:
        for event in events:
            index = len(self.sizes)
            event.sequence = self._first + index
            if not event.HasField("create_time"):  # a remote program's own time was judged before
                event.create_time.CopyFrom(self._create_time)
            data = event.SerializeToString()
            head = self._cursors.head
            frame = b"".join((CURSOR_HEAD, head, self._cursors.tail(index), EVENT_TAG, length(len(data)), data))
            size = length(len(frame))
            self.parts += (FRAME_TAG, size, frame)
            self.sizes.append(len(FRAME_TAG) + len(size) + len(frame))
            self.kinds.append(catalogue.KINDS[event.event_type].code)

    def add_texts(self, pattern: TextPattern, drafts: Sequence[TextDraft]) -> None:
        create_time = event_pb2.Event(create_time=self._create_time).SerializeToString()
        index = len(self.sizes)
        frames = TextFrames(pattern, self._cursors, create_time)
        event_ids = ids.ulid.block(len(drafts))
        self.sizes += frames.write(drafts, event_ids, index, self._first + index, self.parts)
        self.kinds += _TEXT_KIND * len(drafts)


def wrapped(frame: event_pb2.EventFrame) -> bytes:
    """One frame as the bytes of a response that holds it alone."""
    data = frame.SerializeToString()
    return FRAME_TAG + length(len(data)) + data


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
