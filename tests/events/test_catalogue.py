"""Every kind of the contract has a place, a stable code and one way to be built."""

import pytest
from events.helpers import as_event

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros.events import catalogue
from asteros.events.catalogue import KINDS, Stamp
from asteros.stores.base import Scope

GROUPS = {"progress": event_pb2.ProgressEvent, "control": event_pb2.ControlEvent, "monitor": event_pb2.MonitorEvent}
FIELDS = [(channel, field) for channel, group in GROUPS.items() for field in group.DESCRIPTOR.fields]


def test_the_kinds_are_those_of_the_proto() -> None:
    assert set(KINDS) == {f"{channel}.{field.name}" for channel, field in FIELDS}
    assert len(KINDS) == 30


def test_codes_are_what_is_stored_on_disk() -> None:
    """channel * 64 + field number: an entry may be added, never changed."""
    assert {name: kind.code for name, kind in KINDS.items() if kind.name in ("text_chunk", "complete", "custom")} == {
        "progress.text_chunk": 65,
        "progress.complete": 70,
        "progress.custom": 75,
        "monitor.custom": 199,
    }
    assert KINDS["control.tool_approval_request"].code == 129
    assert KINDS["monitor.state_changed"].code == 193
    assert len(catalogue.BY_CODE) == len(KINDS)
    assert all(code < 256 for code in catalogue.BY_CODE), "a byte each"


def test_channels_share_out_all_bits() -> None:
    bits = list(catalogue.CHANNEL_BITS.values())
    assert sum(bits) == catalogue.ALL_BITS
    assert bits[0] & bits[1] == bits[1] & bits[2] == bits[0] & bits[2] == 0
    assert bin(catalogue.ALL_BITS).count("1") == len(KINDS)


@pytest.mark.parametrize(("channel", "field"), FIELDS, ids=lambda part: getattr(part, "name", part))
def test_what_a_reader_may_skip(channel: str, field: object) -> None:
    name = f"{channel}.{field.name}"  # type: ignore[attr-defined]
    skippable = channel != "control" and name != "progress.complete"
    assert KINDS[name].ignorable is skippable
    kept = bool(catalogue.KEPT_BITS >> KINDS[name].code & 1)
    assert kept is not skippable, "what may not be skipped is never left out for a slow reader"


@pytest.mark.parametrize(("channel", "field"), FIELDS, ids=lambda part: getattr(part, "name", part))
def test_a_payload_finds_its_place(channel: str, field: object) -> None:
    payload = getattr(getattr(event_pb2.Event(), channel), field.name).__class__()  # type: ignore[attr-defined]
    event = Stamp("a1").event(payload)
    assert event.event_type == f"{channel}.{field.name}"  # type: ignore[attr-defined]
    assert event.WhichOneof("payload") == channel
    assert getattr(event, channel).WhichOneof("kind") == field.name  # type: ignore[attr-defined]
    assert event.ignorable is KINDS[event.event_type].ignorable


def _stamp() -> Stamp:
    scope = Scope("ses", "trn", "star", "run")
    return Stamp("a1", scope, step=2, trace_id="t" * 32, parent_turn_id="pt", parent_call_id="pc")


@pytest.mark.parametrize("payload", [event_pb2.TextChunk(delta="hi"), None], ids=["event", "text"])
def test_the_fields_of_a_stamp(payload: event_pb2.TextChunk | None) -> None:
    event = as_event(_stamp().event(payload) if payload is not None else _stamp().text("hi"))
    assert len(event.id) == (26 if payload is not None else 0)
    event.id = ""
    assert event == event_pb2.Event(
        event_type="progress.text_chunk",
        agent_id="a1",
        session_id="ses",
        turn_id="trn",
        step=2,
        trace_id="t" * 32,
        ignorable=True,
        star_id="star",
        workflow_run_id="run",
        parent_turn_id="pt",
        parent_call_id="pc",
        progress=event_pb2.ProgressEvent(text_chunk=event_pb2.TextChunk(delta="hi")),
    )


def test_a_changed_step_shows_in_the_next_event_of_every_kind() -> None:
    stamp = _stamp()
    makers = (lambda: stamp.text("x"), lambda: stamp.event(event_pb2.TextDone(text="x")))
    for step in (2, 3, 2):
        stamp.step = step
        assert [as_event(make()).step for make in makers] == [step, step]


def test_events_share_nothing_and_have_ids_in_their_order() -> None:
    stamp = _stamp()
    payload = event_pb2.ToolStart(call=common_pb2.ToolCall(id="c1"))
    first = stamp.event(payload)
    payload.call.id = "c2"
    second = stamp.event(payload)
    assert (first.progress.tool_start.call.id, second.progress.tool_start.call.id) == ("c1", "c2")
    assert first.id < second.id


def test_a_payload_of_no_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        Stamp("a1").event(agent_pb2.Turn())
