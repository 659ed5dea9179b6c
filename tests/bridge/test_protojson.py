"""The printer says what the library says, for every type of the contract and for special ones."""

import json
import math
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory, struct_pb2, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from aster.v1 import agent_pb2
from asteros.bridge import protojson, reply
from asteros.bridge.behaviour import INPUT_ONLY, behaviour_of
from asteros.services.server import services

TYPES = {method.output_type.full_name: method.output_type for each in services() for method in each.methods}
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: -7, FieldDescriptor.CPPTYPE_INT64: -(2**53) - 1,
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1, FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.1, FieldDescriptor.CPPTYPE_FLOAT: 0.1, FieldDescriptor.CPPTYPE_BOOL: True,
}  # fmt: skip


def _by_the_library(message: Message) -> Any:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _value(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"\x00\xff>"
    return _NUMBERS.get(field.cpp_type, 'a "quote", \n, ü and \u2028')


def _fill(message: Any, depth: int, choice: int) -> None:
    """Sets every field, one member of each oneof, down to ``depth``."""
    for field in message.DESCRIPTOR.fields:
        others = field.containing_oneof.fields if field.containing_oneof else [field]
        if others[choice % len(others)] is not field or INPUT_ONLY in behaviour_of(field):
            continue
        kind: Any = field.message_type
        if kind is None:
            if field.is_repeated:
                getattr(message, field.name).extend([_value(field)] * 2)
            else:
                setattr(message, field.name, _value(field))
        elif kind.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), kind, depth, choice)
        elif depth and kind.full_name != "google.protobuf.Any":
            inner = getattr(message, field.name)
            _inside(inner.add() if field.is_repeated else inner, depth - 1, choice)


def _fill_map(entries: Any, kind: Descriptor, depth: int, choice: int) -> None:
    key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
    if value.message_type is None:
        entries[_value(key)] = _value(value)
    elif depth:
        _inside(entries[_value(key)], depth - 1, choice)


def _inside(message: Any, depth: int, choice: int) -> None:
    if message.DESCRIPTOR.full_name == "google.protobuf.FieldMask":
        message.paths.append("display_name")
    elif message.DESCRIPTOR.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds, message.nanos = 1_700_000_000, 5_000_000
    elif message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        message.update({"a": [1, None, {"b": "ü"}]})
    else:
        message.SetInParent()
        _fill(message, depth, choice)


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("choice", [0, 1, 2])
def test_every_answer_of_the_contract(kind: Descriptor, choice: int) -> None:
    full = message_factory.GetMessageClass(kind)()
    _fill(full, 4, choice)
    wanted = _without_input_only(_by_the_library(full), kind)
    assert protojson.text_of(full) == reply.dumped(wanted).decode()  # the order of members too


def _without_input_only(value: Any, kind: Descriptor) -> Any:
    """What the library prints less empty fields that are only for requests: it does not know of them."""
    for field in kind.fields:
        if field.json_name not in value:
            continue
        inner: Any = field.message_type
        if INPUT_ONLY in behaviour_of(field):
            del value[field.json_name]
        elif inner is not None and inner.GetOptions().map_entry:
            of = inner.fields_by_name["value"].message_type
            for each in value[field.json_name].values() if of is not None else ():
                _without_input_only(each, of)
        elif inner is not None and inner.file.package != "google.protobuf":
            for each in value[field.json_name] if field.is_repeated else [value[field.json_name]]:
                _without_input_only(each, inner)
    return value


@pytest.mark.parametrize(
    "message",
    [
        wrappers_pb2.Int64Value(value=5),
        wrappers_pb2.BytesValue(value=b"\xff"),
        struct_pb2.Value(null_value=struct_pb2.NULL_VALUE),
        struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1.5)]),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_special_types(message: Message) -> None:
    assert json.loads(protojson.text_of(message)) == _by_the_library(message)


@pytest.mark.parametrize("nanos", [0, 1, 999_999_999, 1000, 120_000, 5_000_000, 500_000_000])
@pytest.mark.parametrize("seconds", [0, -1, 1_700_000_000, 253402300799, -62135596800])
def test_times(seconds: int, nanos: int) -> None:
    message = Timestamp(seconds=seconds, nanos=nanos)
    assert json.loads(protojson.text_of(message)) == _by_the_library(message)


@pytest.mark.parametrize("message", [Timestamp(seconds=2**60, nanos=1), Timestamp(nanos=-1)], ids=["second", "nano"])
def test_no_time_at_all_is_refused_as_ever(message: Timestamp) -> None:
    with pytest.raises(ValueError):
        protojson.text_of(message)


def test_any_names_its_type() -> None:
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.StringValue(value="x"))
    assert json.loads(protojson.text_of(packed)) == _by_the_library(packed)


@pytest.mark.parametrize(
    "number", [0.1, 1e-45, 3.4028234663852886e38, 16777216.0, 1 / 3, math.inf, -math.inf, math.nan]
)
@pytest.mark.parametrize("kind", ["FloatValue", "DoubleValue"])
def test_numbers_that_are_not_whole(kind: str, number: float) -> None:
    field = descriptor_pool.Default().FindMessageTypeByName(f"google.protobuf.{kind}").fields_by_name["value"]
    message = getattr(wrappers_pb2, kind)(value=number)
    assert json.loads(protojson._one(field)(message.value)) == _by_the_library(message)


def test_a_number_that_is_no_name_stays_a_number() -> None:
    assert json.loads(protojson.text_of(agent_pb2.AgentStatus(state=4711)))["state"] == 4711  # type: ignore[arg-type]
