"""Frames are encoded once, by hand, and must be what protobuf would have written."""

import pytest
from events.helpers import House, as_event, parsed, text
from hypothesis import given
from hypothesis import strategies as st

from aster.v1 import agent_service_pb2, common_pb2, event_pb2, event_service_pb2
from asteros import clock, ids
from asteros.events import frames
from asteros.events.catalogue import KINDS, Stamp
from asteros.events.cursor import CursorCodec, Place
from asteros.events.frames import Sealer
from asteros.stores.base import Scope, Segment, Unit

pytestmark = pytest.mark.anyio

CODEC = CursorCodec(b"k" * 32)
# Every response that carries frames, in every service.
STREAMS = [
    descriptor
    for module in (event_service_pb2, agent_service_pb2)
    for descriptor in module.DESCRIPTOR.message_types_by_name.values()
    if "frames" in descriptor.fields_by_name
]


@pytest.fixture
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1_700_000_000_000_000_005)


def _unit(*deltas: str, turn: str = "t1") -> Unit:
    stamp = Stamp("a1", Scope("s1", turn))
    return Unit(7, 1, stamp.scope, [stamp.text(delta) for delta in deltas])


@pytest.mark.parametrize("descriptor", STREAMS, ids=lambda descriptor: descriptor.name)
def test_frames_are_field_1_of_every_stream(descriptor: object) -> None:
    field = descriptor.fields_by_name["frames"]  # type: ignore[attr-defined]
    assert (field.number, field.is_repeated, field.message_type.name) == (1, True, "EventFrame")


def test_there_are_streams() -> None:
    assert len(STREAMS) >= 5


def _check(unit: Unit, first: int, position: int) -> Segment:
    """The segment of a unit, every field of it as protobuf would have written it."""
    segment = Sealer(CODEC)(unit, first, position)
    got = event_service_pb2.SubscribeResponse.FromString(segment.body)
    expected = event_service_pb2.SubscribeResponse()
    for index, event in enumerate(unit.events):
        cursor = CODEC.encode(Place(7, position, first)) if not index else got.frames[index].cursor
        assert CODEC.decode(cursor) == Place(7, position + index, first + index)
        frame = expected.frames.add(cursor=cursor)
        frame.event.CopyFrom(as_event(event))
        frame.event.id = frame.event.id or got.frames[index].event.id
        frame.event.sequence = first + index
        frame.event.create_time.CopyFrom(clock.timestamp(segment.create_time))
    assert segment.body == expected.SerializeToString(deterministic=True)
    assert segment.kinds == bytes(KINDS[frame.event.event_type].code for frame in got.frames)
    assert [got.frames[index].ByteSize() for index in range(segment.count)] == [
        parsed(segment.slice(index, index + 1))[0].ByteSize() for index in range(segment.count)
    ]
    assert len({frame.event.id for frame in got.frames}) == segment.count
    return segment


@pytest.mark.usefixtures("_noon")
def test_sealed_bytes_are_what_protobuf_writes() -> None:
    segment = _check(_unit("a", "b" * 200, "c" * 20_000, ""), 11, 101)
    assert (segment.first_sequence, segment.last_sequence) == (11, 14)
    assert (segment.position, segment.last_position, segment.create_time) == (101, 104, 1_700_000_000_000_000_005)
    assert segment.kinds == bytes([65] * 4)


@pytest.mark.parametrize("first", [1, 120, 127, 128, 16_380, 2_097_150, 2**40])
def test_sequences_at_the_edges_of_their_coding(first: int) -> None:
    _check(_unit(*("x" * length for length in range(9))), first, first)


@given(
    st.lists(st.tuples(st.sampled_from("abT"), st.text(max_size=140)), min_size=1, max_size=12),
    st.integers(1, 2**47),
)
def test_texts_among_other_events_and_of_several_steps(parts: list[tuple[str, str]], first: int) -> None:
    stamps = {"a": Stamp("a1", Scope("s1", "t1"), step=1), "b": Stamp("a1", Scope("s1", "t1"), step=200)}
    events = [
        stamps["a"].event(event_pb2.ThinkChunk(delta=delta)) if which == "T" else stamps[which].text(delta)
        for which, delta in parts
    ]
    _check(Unit(7, 1, Scope("s1", "t1"), events), first, first)


@pytest.mark.usefixtures("_noon")
def test_golden_bytes_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form on disk and on the wire: a change of it is a change of the format."""
    monkeypatch.setattr(ids.ulid, "block", lambda count: [b"01HF0000000000000000000000"] * count)
    segment = Sealer(CODEC)(_unit("hi"), 1, 1)
    assert segment.body.hex() == (
        "0a7c"  # frames, 124 bytes
        "0a24" + b"AAAABwAAAAAAAQAAAAAAARPh0CSMAAAArzXd".hex() + "1254"  # cursor; event, 84 bytes
        "0a1a" + b"01HF0000000000000000000000".hex() + "1001"  # id, sequence
        "1a13" + b"progress.text_chunk".hex() + "22080880e2cfaa061005"  # event_type, create_time
        "2a026131" "32027331" "3a027431" "5001"  # agent, session, turn, ignorable
        "a201060a040a026869"  # progress, text_chunk, delta
    )  # fmt: skip


@given(st.lists(st.text(max_size=300), min_size=1, max_size=20), st.data())
def test_any_slice_is_a_response_of_its_own(deltas: list[str], data: st.DataObject) -> None:
    segment = Sealer(CODEC)(_unit(*deltas), 1, 1)
    first = data.draw(st.integers(0, len(deltas) - 1))
    last = data.draw(st.integers(first + 1, len(deltas)))
    got = parsed(segment.slice(first, last))
    assert [frame.event.progress.text_chunk.delta for frame in got] == deltas[first:last]
    assert [frame.event.sequence for frame in got] == list(range(first + 1, last + 1))


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 8191, 8192, 16_383, 16_384, 2_097_151, 2_097_152])
def test_lengths_at_the_edges_of_their_coding(length: int) -> None:
    segment = Sealer(CODEC)(_unit("x" * length), 1, 1)
    (frame,) = parsed(segment.body)
    assert len(frame.event.progress.text_chunk.delta) == length


@pytest.mark.usefixtures("_noon")
def test_frames_without_an_event() -> None:
    (started,) = parsed(frames.started("sub_1", "log-7", 3, 9, "c" * 36))
    assert started == event_pb2.EventFrame(
        cursor="c" * 36,
        started=event_pb2.SubscriptionStarted(
            subscription_id="sub_1", log_epoch="log-7", oldest_sequence=3, latest_sequence=9
        ),
    )
    (beat,) = parsed(frames.heartbeat("d" * 36))
    assert (beat.cursor, beat.heartbeat.server_time) == ("d" * 36, clock.timestamp(clock.now()))
    (gap,) = parsed(frames.gap(4, 9, 3, common_pb2.CHANNEL_MONITOR, "a1"))
    assert gap.cursor == "", "kept events of the range may follow"
    assert gap.gap == event_pb2.EventGap(
        first_sequence=4, last_sequence=9, dropped_count=3, channel=common_pb2.CHANNEL_MONITOR, agent_id="a1"
    )


async def test_events_are_serialised_once_however_many_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: list[int] = []
    seal = Sealer.__call__

    def counting(self: Sealer, unit: Unit, first: int, position: int) -> object:
        sealed.append(len(unit.events))
        return seal(self, unit, first, position)

    monkeypatch.setattr(Sealer, "__call__", counting)
    ref = house.agent()
    readers = [house.open(ref) for _ in range(20)] + [house.open(None) for _ in range(20)]
    await house.put(ref, *(text(str(n)) for n in range(100)))
    messages = []
    for reader in readers:
        await reader.next()  # started
        messages.append(await reader.next())
    assert sealed == [100]
    assert len({id(message) for message in messages}) == 1, "one object, shared"
    assert len(parsed(messages[0])) == 100
