"""Text of a path or a query becomes the value of a field."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from asteros.bridge.refusal import bad_field

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:Infinity|Inf|inf)|NaN|nan")
_LENGTH = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+)ms)?")
_MAP_KEY = re.compile(r"(.*?)\[(.*)\]")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
LEAVES = _WRAPPERS | frozenset(
    f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Any")
)
_F = FieldDescriptor
_INT32 = (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32)
_INT64 = (_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64)
_UINT32 = (_F.TYPE_UINT32, _F.TYPE_FIXED32)
_UINT64 = (_F.TYPE_UINT64, _F.TYPE_FIXED64)
_RANGES: Mapping[int, tuple[int, int]] = {
    **dict.fromkeys(_INT32, (-(1 << 31), (1 << 31) - 1)),
    **dict.fromkeys(_INT64, (-(1 << 63), (1 << 63) - 1)),
    **dict.fromkeys(_UINT32, (0, (1 << 32) - 1)),
    **dict.fromkeys(_UINT64, (0, (1 << 64) - 1)),
}
_LARGEST_FLOAT = 3.4028234663852886e38


def set_path_field(message: Message, path: Sequence[FieldDescriptor], text: str) -> None:
    """Sets a variable of the path; it wins over what the body said. Lists are comma-separated.

    :raises Refusal:"""
    for field in path[:-1]:
        message = getattr(message, field.name)
        message.SetInParent()
    field = path[-1]
    name = ".".join(each.name for each in path)
    message.ClearField(field.name)
    if is_map(field):
        raise bad_field(name, "cannot be given in the path")
    if field.is_repeated:
        _extend(message, field, text.split(",") if text else [], name)
    else:
        _set(message, field, text, name)


def set_query_fields(message: Message, pairs: Iterable[tuple[str, str]], taken: Sequence[tuple[str, ...]]) -> None:
    """Sets fields from the query. Unknown names are left out, and so is what stands at or under
    one of ``taken``: fields of the path and the body.

    :raises Refusal: a value does not fit, a oneof or a single value is given twice, or a path
        leads through a list."""
    together: dict[str, list[str]] = {}
    for key, value in pairs:
        together.setdefault(key, []).append(value)
    given: set[str] = set()
    for key, values in together.items():
        bracket = _MAP_KEY.fullmatch(key)
        path = _known(message.DESCRIPTOR, (bracket[1] if bracket else key).split("."))
        names = tuple(field.name for field in path)
        if path and not any(names[: len(each)] == each for each in taken):
            _set_query(message, path, values, bracket[2] if bracket else None, given)


def _known(message: Any, names: Sequence[str]) -> list[FieldDescriptor]:
    """The fields of a dotted query key; empty when one of them is unknown."""
    found: list[FieldDescriptor] = []
    inside: Any = message
    for index, name in enumerate(names):
        if inside is None or (found and found[-1].is_repeated):
            raise bad_field(".".join(names), f"{names[index - 1]} is not a single message")
        field = by_name(inside, name)
        if field is None:
            return []
        found.append(field)
        inside = field.message_type
    return found


def by_name(message: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by its proto name or its JSON name."""
    field = message.fields_by_name.get(name)
    if field is not None:
        return field
    field = message.fields_by_camelcase_name.get(name)
    if field is not None and field.json_name == name:
        return field
    return next((each for each in message.fields if each.json_name == name), None)


def _set_query(
    message: Message, path: Sequence[FieldDescriptor], values: list[str], map_key: str | None, given: set[str]
) -> None:
    name = ".".join(field.name for field in path)
    for depth, field in enumerate(path):
        oneof = field.containing_oneof
        last = depth == len(path) - 1
        if oneof is not None:
            set_already = message.WhichOneof(oneof.name)
            if set_already is not None and (last or set_already != field.name):
                raise bad_field(name, f"{oneof.name} is given twice")
        if not last:
            message = getattr(message, field.name)
            message.SetInParent()
    field = path[-1]
    if is_map(field):
        _put(message, field, map_key, values, name)
    elif map_key is not None:
        raise bad_field(name, "is not a map")
    elif field.is_repeated:
        _extend(message, field, values, name)
    elif len(values) > 1 or name in given:
        raise bad_field(name, "is given twice")
    else:
        given.add(name)
        _set(message, field, values[0], name)


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _put(message: Message, field: FieldDescriptor, key: str | None, values: Sequence[str], name: str) -> None:
    if key is None or len(values) != 1:
        raise bad_field(name, f"a map is given as {name}[key]=value, once for each key")
    assert field.message_type is not None
    of_key, of_value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    entries = getattr(message, field.name)
    at = value_of(of_key, key, name)
    value = value_of(of_value, values[0], name)
    if isinstance(value, Message):
        entries[at].CopyFrom(value)
    else:
        entries[at] = value


def _extend(message: Message, field: FieldDescriptor, texts: Iterable[str], name: str) -> None:
    getattr(message, field.name).extend(value_of(field, text, name) for text in texts)


def _set(message: Message, field: FieldDescriptor, text: str, name: str) -> None:
    value = value_of(field, text, name)
    if isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, value)


def value_of(field: FieldDescriptor, text: str, name: str) -> Any:
    """One value of a field's type.

    :raises Refusal:"""
    try:
        return _value(field, text)
    except (ValueError, json_format.ParseError, OverflowError):
        raise bad_field(name, f"is not {_kind(field)}") from None


def _value(field: FieldDescriptor, text: str) -> Any:
    if field.message_type is not None:
        return _message(field.message_type, text)
    if field.enum_type is not None:
        return _enum(field, text)
    if field.type in _RANGES:
        return _integer(text, *_RANGES[field.type])
    return _SCALARS[field.type](text)


def _enum(field: FieldDescriptor, text: str) -> int:
    assert field.enum_type is not None
    value = field.enum_type.values_by_name.get(text)
    if value is None:
        value = field.enum_type.values_by_number.get(_integer(text, -(1 << 31), (1 << 31) - 1))
    if value is None:
        raise ValueError(text)
    return int(value.number)


def _integer(text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError(text)
    return int(text)


def _double(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError(text)
    value = float(text)
    if math.isinf(value) and "nf" not in text:
        raise ValueError(text)
    return value


def _single(text: str) -> float:
    value = _double(text)
    if math.isfinite(value) and abs(value) > _LARGEST_FLOAT:
        raise ValueError(text)
    return value


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(text)


def _bytes(text: str) -> bytes:
    """Standard or URL base64, padded or not."""
    try:
        return base64.b64decode(
            text.translate(_TO_STANDARD).rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), None, True
        )
    except binascii.Error:
        raise ValueError(text) from None


_TO_STANDARD = str.maketrans("-_", "+/")
_SCALARS: Mapping[int, Callable[[str], Any]] = {
    _F.TYPE_BOOL: _bool,
    _F.TYPE_STRING: str,
    _F.TYPE_BYTES: _bytes,
    _F.TYPE_DOUBLE: _double,
    _F.TYPE_FLOAT: _single,
}


def _message(kind: Descriptor, text: str) -> Message:
    """A well-known type from its text; no other message has one."""
    message = message_factory.GetMessageClass(kind)()
    name = kind.full_name
    if name == "google.protobuf.Timestamp":
        message.FromJsonString(text)  # type: ignore[attr-defined]
    elif name == "google.protobuf.Duration":
        message.FromNanoseconds(_nanoseconds(text))  # type: ignore[attr-defined]
    elif name == "google.protobuf.FieldMask":
        message.paths.extend(snake(path) for path in text.split(",") if path)  # type: ignore[attr-defined]
    elif name in _WRAPPERS:
        value = kind.fields_by_name["value"]
        setattr(message, "value", _value(value, text))  # noqa: B010 - the field of a wrapper, of whichever pool
    elif name in ("google.protobuf.Struct", "google.protobuf.Value"):
        json_format.Parse(text, message)
    else:
        raise ValueError(name)
    return message


def snake(path: str) -> str:
    """A path of a field mask in proto names, from either spelling."""
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", path)


def _nanoseconds(text: str) -> int:
    """``90s``, ``1.5s``, ``1m30s``, ``2h``, ``20ms``, with a sign or without."""
    body = text.removeprefix("-")
    match = _LENGTH.fullmatch(body)
    if match is None or not body:
        raise ValueError(text)
    hours, minutes, seconds, millis = match.groups()
    whole, _, part = (seconds or "0").partition(".")
    if len(part) > 9:
        raise ValueError(text)
    total = (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(whole)) * 1_000_000_000
    total += int(part.ljust(9, "0")) + int(millis or 0) * 1_000_000
    return -total if text.startswith("-") else total


def _kind(field: FieldDescriptor) -> str:
    """What a field wants, in words."""
    if field.message_type is not None:
        return f"a {field.message_type.name}"
    if field.enum_type is not None:
        return "a value of its enum"
    if field.type in _RANGES:
        return "an integer in range"
    return {_F.TYPE_BOOL: "true or false", _F.TYPE_STRING: "text", _F.TYPE_BYTES: "base64"}.get(field.type, "a number")
