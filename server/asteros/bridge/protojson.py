"""Messages as ProtoJSON text, by a printer made once for each type.

``google.protobuf.json_format`` asks the descriptor about every field of every message: some 40 us
for one event. What it would answer is looked up here once: names, defaults, and how a value of
each field is written. The text is the same, to the byte."""

import base64
import functools
import json
import math
import struct
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from asteros.bridge.behaviour import INPUT_ONLY, behaviour_of

Write = Callable[[Any], str]  # a value as JSON

_BY_THEMSELVES = ("google.protobuf.Duration", "google.protobuf.FieldMask")
_SPECIAL = frozenset(
    f"google.protobuf.{name}"
    for name in (
        "Any", "Struct", "Value", "ListValue", "BoolValue", "BytesValue", "DoubleValue", "FloatValue", "Int32Value",
        "Int64Value", "StringValue", "UInt32Value", "UInt64Value",
    )
)  # fmt: skip


def text_of(message: Message) -> str:
    """ProtoJSON on one line, with empty values printed, except of fields that are only for requests."""
    return _printer(message.DESCRIPTOR)(message)


@functools.lru_cache(maxsize=1024)
def _printer(kind: Descriptor) -> Write:
    if kind.full_name == "google.protobuf.Timestamp":
        return _timestamp
    if kind.full_name in _BY_THEMSELVES:
        return lambda message: encode_basestring(message.ToJsonString())
    if kind.full_name in _SPECIAL or kind.is_extendable:
        return functools.partial(_by_the_library, kind.file.pool)
    shown = [field for field in kind.fields if not field.has_presence and INPUT_ONLY not in behaviour_of(field)]
    defaults = {field.number: _member(field) + _default(field) for field in shown}
    writers = {field.number: (_member(field), _writer(field)) for field in kind.fields}

    def write(message: Any) -> str:
        members, numbers = [], []
        for field, value in message.ListFields():
            number = field.number
            name, writer = writers[number]
            members.append(name + writer(value))
            numbers.append(number)
        members += empty(tuple(numbers))
        return f"{{{','.join(members)}}}"

    @functools.lru_cache(maxsize=64)
    def empty(numbers: tuple[int, ...]) -> list[str]:
        """The members that are printed beside these."""
        return [member for number, member in defaults.items() if number not in numbers]

    return write


def _timestamp(message: Any) -> str:
    seconds, nanos = message.seconds, message.nanos
    if not 0 < nanos < 1_000_000_000:
        return encode_basestring(message.ToJsonString())
    digits = f"{nanos:09d}"
    digits = digits[:3] if digits.endswith("000000") else digits[:6] if digits.endswith("000") else digits
    return f'"{_second(seconds)}.{digits}Z"'


@functools.lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return Timestamp(seconds=seconds).ToJsonString().removesuffix("Z")


def _by_the_library(pool: Any, message: Message) -> str:
    value = json_format.MessageToDict(message, always_print_fields_with_no_presence=True, descriptor_pool=pool)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _member(field: FieldDescriptor) -> str:
    return f"{encode_basestring(field.json_name)}:"


def _default(field: FieldDescriptor) -> str:
    if field.is_repeated:
        return "{}" if _is_map(field) else "[]"
    return _one(field)(field.default_value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _writer(field: FieldDescriptor) -> Write:
    if _is_map(field):
        return _map(field)
    if field.is_repeated:
        one = _one(field)
        return lambda values: f"[{','.join([one(each) for each in values])}]"
    return _one(field)


def _map(field: FieldDescriptor) -> Write:
    assert field.message_type is not None
    one = _one(field.message_type.fields_by_name["value"])

    def write(values: Any) -> str:
        return f"{{{','.join([f'{_key(key)}:{one(values[key])}' for key in values])}}}"

    return write


def _key(key: Any) -> str:
    return f'"{str(key).lower()}"' if isinstance(key, bool) else encode_basestring(str(key))


def _one(field: FieldDescriptor) -> Write:
    """How one value of a field is written."""
    if field.message_type is not None:
        return _message
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: f'"{base64.b64encode(value).decode()}"'
    return _SCALARS[field.cpp_type]


def _message(message: Message) -> str:
    return _printer(message.DESCRIPTOR)(message)  # looked up then: types may hold themselves


def _enum(kind: EnumDescriptor) -> Write:
    if kind.full_name == "google.protobuf.NullValue":
        return lambda _number: "null"
    names = {number: f'"{value.name}"' for number, value in kind.values_by_number.items()}
    return lambda number: names.get(number) or str(number)


def _double(value: float) -> str:
    if math.isfinite(value):
        return float.__repr__(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def _float(value: float) -> str:
    """The shortest decimal that is this number in 32 bits."""
    if not math.isfinite(value):
        return _double(value)
    texts = (f"{value:.{digits}g}" for digits in range(6, 9))
    shortest = next((text for text in texts if _in_32_bits(float(text)) == value), f"{value:.9g}")
    return float.__repr__(float(shortest))


def _in_32_bits(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:  # rounded up beyond the largest
        return math.inf


_SCALARS: dict[int, Write] = {
    FieldDescriptor.CPPTYPE_INT32: str,
    FieldDescriptor.CPPTYPE_UINT32: str,
    FieldDescriptor.CPPTYPE_INT64: lambda value: f'"{value}"',
    FieldDescriptor.CPPTYPE_UINT64: lambda value: f'"{value}"',
    FieldDescriptor.CPPTYPE_DOUBLE: _double,
    FieldDescriptor.CPPTYPE_FLOAT: _float,
    FieldDescriptor.CPPTYPE_BOOL: lambda value: "true" if value else "false",
    FieldDescriptor.CPPTYPE_STRING: encode_basestring,
}
