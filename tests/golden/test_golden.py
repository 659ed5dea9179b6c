"""Events as they were stored once are read for ever, and readers survive what is newer than they are."""

import json

import pytest
from golden.make import FILE, event, kinds
from google.protobuf import json_format
from google.protobuf.message import Message

from aster.v1 import event_pb2, event_service_pb2
from asteros.events.catalogue import KINDS

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


def _binary(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name]["binary"])


def _payload(found: event_pb2.Event) -> Message:
    group = getattr(found, str(found.WhichOneof("payload")))
    return getattr(group, str(group.WhichOneof("kind")))


def test_there_is_one_of_every_kind() -> None:
    assert set(GOLDEN) == set(KINDS) == {f"{channel}.{kind}" for channel, kind in kinds()}


@pytest.mark.parametrize("name", GOLDEN)
def test_both_forms_say_the_same_and_are_written_as_they_were(name: str) -> None:
    found = event_pb2.Event.FromString(_binary(name))
    assert found == json_format.ParseDict(GOLDEN[name]["json"], event_pb2.Event())
    assert found.SerializeToString(deterministic=True) == _binary(name)
    assert json_format.MessageToDict(found) == GOLDEN[name]["json"]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_stored_event_is_where_its_type_says(name: str) -> None:
    found = event_pb2.Event.FromString(_binary(name))
    channel, _, kind = name.partition(".")
    assert (found.event_type, found.WhichOneof("payload")) == (name, channel)
    assert getattr(found, channel).WhichOneof("kind") == kind
    assert found.ignorable is KINDS[name].ignorable


@pytest.mark.parametrize("name", GOLDEN)
def test_every_field_of_today_is_in_the_golden_event(name: str) -> None:
    """A field that is added must be added here too: as a new kind of entry, the old one stays."""
    today = event(*name.split("."))
    stored = event_pb2.Event.FromString(_binary(name))
    assert {field.name for field, _ in _payload(stored).ListFields()} == {
        field.name for field, _ in _payload(today).ListFields()
    }
    assert {field.name for field, _ in stored.ListFields()} == {field.name for field, _ in today.ListFields()}


# -- what is newer than this reader --------------------------------------------------

# field 100, length-delimited, "new": no message here uses that number.
UNKNOWN = b"\xa2\x06\x03new"


def test_the_unknown_field_is_unknown() -> None:
    for message in (event_pb2.Event, event_pb2.ProgressEvent, event_pb2.TextChunk, event_pb2.EventFrame):
        assert 100 not in message.DESCRIPTOR.fields_by_number


@pytest.mark.parametrize("name", GOLDEN)
def test_a_field_of_the_future_is_kept(name: str) -> None:
    found = event_pb2.Event.FromString(_binary(name) + UNKNOWN)
    assert _payload(found) == _payload(event_pb2.Event.FromString(_binary(name)))
    assert found.SerializeToString(deterministic=True) == _binary(name) + UNKNOWN


@pytest.mark.parametrize("channel", ["progress", "control", "monitor"])
def test_a_kind_of_the_future_is_recognised_as_such(channel: str) -> None:
    group = event_pb2.Event.DESCRIPTOR.fields_by_name[channel].message_type._concrete_class.FromString(UNKNOWN)
    sent = event_pb2.Event(sequence=7, event_type=f"{channel}.hologram", ignorable=channel != "control")
    getattr(sent, channel).CopyFrom(group)
    frame = event_pb2.EventFrame(cursor="c", event=sent)
    response = event_service_pb2.SubscribeResponse(frames=[frame]).SerializeToString()
    (read,) = event_service_pb2.SubscribeResponse.FromString(response).frames
    assert read.event.WhichOneof("payload") == channel
    assert getattr(read.event, channel).WhichOneof("kind") is None
    assert (read.event.event_type, read.event.sequence) == (f"{channel}.hologram", 7)
    assert read.event.ignorable is (channel != "control"), "a reader must not skip a control event it does not know"


def test_json_of_the_future_is_read_by_who_allows_it() -> None:
    newer = {**GOLDEN["progress.text_chunk"]["json"], "mood": "fine"}
    newer["progress"] = {"textChunk": {**newer["progress"]["textChunk"], "colour": "red"}}
    read = json_format.ParseDict(newer, event_pb2.Event(), ignore_unknown_fields=True)
    assert read == event_pb2.Event.FromString(_binary("progress.text_chunk"))
