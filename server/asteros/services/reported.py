"""What a program may say on a Studio connection, judged before anything of it is done.

Events are many, so they are not walked field by field as requests are: most kinds hold texts and
numbers alone. A kind that holds more (times, errors) must be something JSON can carry, because
every reader of every interface will be shown it."""

from functools import cache

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from aster.v1 import event_pb2
from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors
from asteros.cosmos.links import ACTIVITIES, kind_of
from asteros.errors import Violation
from asteros.services import validation

MAX_EVENTS = 1000  # of one message
MAX_EVENT_BYTES = 1024 * 1024
MAX_CUSTOM_BYTES = 64 * 1024  # of data_json
_LAST = 2**63 - 1


def check(request: pb.ConnectAgentsRequest) -> None:
    """
    :raises InvalidId, FieldViolation:"""
    said = request.WhichOneof("message")
    if said == "events":
        _id(request.events, said)
        _events(request.events)
    elif said is not None:
        _id(getattr(request, said), said)
        found = validation.violations(request)
        if said == "register" and request.register.status not in ACTIVITIES:
            found.append(Violation("register.status", f"must be one of {', '.join(filter(None, ACTIVITIES))}"))
        if found:
            raise errors.FieldViolation(*found)


def _id(message: Message, path: str) -> None:
    bad = validation.bad_id(message)
    if bad is not None:
        raise errors.InvalidId(f"{path}.{bad.field}", bad.description)


def _events(batch: pb.ConnectEvents) -> None:
    if not batch.agent_id:
        raise errors.bad_field("events.agent_id", "is required")
    if not batch.events:
        raise errors.bad_field("events.events", "is required")
    if len(batch.events) > MAX_EVENTS:
        raise errors.bad_field("events.events", f"at most {MAX_EVENTS} at once")
    if not 0 <= batch.first_client_sequence <= _LAST - MAX_EVENTS:
        raise errors.bad_field("events.first_client_sequence", "must not be negative")
    long = batch.ByteSize() > MAX_EVENT_BYTES  # else none of them can be
    for index, event in enumerate(batch.events):
        wrong = _wrong(event, long)
        if wrong:
            raise errors.bad_field(f"events.events[{index}]", wrong)


def _wrong(event: event_pb2.Event, long: bool) -> str:
    """What is wrong with an event; "" when nothing is. ``long``: its size is to be looked at."""
    kind = kind_of(event)
    if kind is None:
        return "has no kind that this server knows"
    if long and event.ByteSize() > MAX_EVENT_BYTES:
        return f"is longer than {MAX_EVENT_BYTES} bytes"
    if (event.session_id or event.turn_id) and validation.bad_id(event):
        return "names a session or turn that cannot be one"
    payload = getattr(getattr(event, event.WhichOneof("payload") or ""), kind.name)
    if kind.name == "custom" and len(payload.data_json.encode()) > MAX_CUSTOM_BYTES:
        return f"data_json is longer than {MAX_CUSTOM_BYTES} bytes"
    if event.HasField("create_time") and not _is_time(event.create_time):
        return "create_time must be a time from 1970 to 9999"
    if _foreign(payload.DESCRIPTOR):
        try:
            json_format.MessageToDict(payload)
        except (json_format.Error, TypeError, ValueError):
            return "holds a value that JSON cannot carry"
    return ""


def _is_time(stamp: Timestamp) -> bool:
    return 0 <= stamp.seconds <= validation.MAX_TIME and 0 <= stamp.nanos < clock.NANOS


@cache
def _foreign(descriptor: Descriptor) -> bool:
    """There are messages in it that are not of this contract: times and errors."""
    return any(
        not field.message_type.full_name.startswith("aster.v1.") or _foreign(field.message_type)
        for field in descriptor.fields
        if field.message_type is not None
    )
