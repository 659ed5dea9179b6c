"""Golden events: one of every kind, with every field set. Run it to add new kinds:

    .venv/bin/python tests/golden/make.py

Entries that are there are never changed by it: they are what old releases stored."""

import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from aster.v1 import event_pb2

FILE = Path(__file__).with_name("events.json")
CHANNELS = ("progress", "control", "monitor")
_INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


def kinds() -> list[tuple[str, str]]:
    """Channel and name of every kind of the contract."""
    groups = event_pb2.Event.DESCRIPTOR.fields_by_name
    return [(channel, field.name) for channel in CHANNELS for field in groups[channel].message_type.fields]


def event(channel: str, kind: str) -> event_pb2.Event:
    """An event of a kind with every field set to something of its own."""
    made = event_pb2.Event()
    for field in made.DESCRIPTOR.fields:
        if field.name not in CHANNELS:
            _set(made, field)
    made.event_type = f"{channel}.{kind}"
    made.ignorable = channel != "control" and kind != "complete"
    payload = getattr(getattr(made, channel), kind)
    payload.SetInParent()
    _fill(payload)
    return made


def _fill(message: Message) -> None:
    if isinstance(message, status_pb2.Status):
        message.code, message.message = 8, "no room"
        info = error_details_pb2.ErrorInfo(reason="STORAGE_FULL", domain="aster", metadata={"rule": "x"})
        message.details.add().Pack(info)
        return
    for field in message.DESCRIPTOR.fields:
        _set(message, field)


def _set(message: Message, field: FieldDescriptor) -> None:
    if field.message_type is not None:
        part = getattr(message, field.name)
        _fill(part.add() if field.is_repeated else part)
    elif field.is_repeated:
        getattr(message, field.name).append(_value(field))
    else:
        setattr(message, field.name, _value(field))


def _value(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type in _INTEGERS:
        return 1_000 + field.number
    return {FieldDescriptor.CPPTYPE_BOOL: True, FieldDescriptor.CPPTYPE_DOUBLE: 0.25}.get(
        field.cpp_type, f"{field.name} ü"
    )


def entry(made: event_pb2.Event) -> dict[str, Any]:
    return {
        "binary": made.SerializeToString(deterministic=True).hex(),
        "json": json_format.MessageToDict(made),
    }


def main() -> None:
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    for channel, kind in kinds():
        known.setdefault(f"{channel}.{kind}", entry(event(channel, kind)))
    FILE.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
