"""Both dialects of the Studio socket, frame by frame: JSON to messages of ConnectAgents and back.

D is the documented dialect, S the one of older servers; the key ``payload`` tells them apart.
Nothing here waits, and nothing here knows a socket."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from asteros.bridge.studio_events import BadEvent, Events

GREETING = "Connected to Aster Studio Remote Agent Service"
MAX_DEPTH = 64
MAX_BATCH = 1000
_ID = re.compile(r"[^\x00-\x1f\x7f/\\]{1,128}")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_SHOWN = 200  # characters of what a client sent that an error text repeats
_STATUSES = {"ready", "idle", "working", "waiting", "error"}
_FAILED_PRECONDITION = 9
INVALID, FAILED = "invalid_message", "message_handling_failed"


@dataclass
class FrameError(Exception):
    """A frame that is refused; the socket stays."""

    text: str
    code: str = FAILED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in the terms of its dialect."""

    type: str
    dialect: str  # "D", "S", or "" where both write the same
    body: Mapping[str, Any]


# -- in ---------------------------------------------------------------------------------


def parsed(raw: bytes) -> Frame:
    """One frame.

    :raises FrameError: no JSON object in UTF-8, or nested too deep."""
    try:
        value = json.loads(raw.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise FrameError("Failed to parse message", INVALID) from None
    if not isinstance(value, dict) or (raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH):
        raise FrameError("Failed to parse message", INVALID)
    if b"\\u" in raw:
        value = _whole(value)
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else ""
    if "payload" in value:
        return Frame(kind, "S", value)
    return Frame(kind, "" if kind in ("ping", "command_result") else "D", value)


def _no_number(_: str) -> float:
    raise ValueError("no JSON number")


def _depth(value: Any) -> int:
    """How deep a value nests; stops counting just beyond the limit."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        depth += bool(inner)
        level = [item for items in inner for item in items]
        if not inner:
            break
    return depth


def _whole(value: Any) -> Any:
    """Half a surrogate pair, as a program leaves that cuts a text anywhere, becomes U+FFFD."""
    if isinstance(value, str):
        return _HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_HALF_PAIR.sub("\ufffd", key): _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


class Translator:
    """Frames to requests. ``request``: the class of ConnectAgentsRequest."""

    def __init__(self, request: Callable[..., Any], events: Events) -> None:
        self._request = request
        self._events = events

    def register(self, frame: Frame) -> tuple[Any, bool]:
        """The request, and whether acknowledgements are wanted.

        :raises FrameError:"""
        said = _object(frame, "agent")
        request = self._request()
        register = request.register
        register.agent_id = _id(said, frame, *(("agent_id", "id") if frame.dialect == "S" else _AGENT_NAMES))
        if frame.dialect == "S" and not said.get("template_id"):
            raise FrameError("template_id is required")
        for name in ("name", "model", "instance_id"):
            setattr(register, name, _typed(said, name, str, "", frame))
        status = _typed(said, "status", str, "", frame)
        register.status = status if status in _STATUSES else "working" if status in ("running", "busy") else ""
        register.accepts_commands = _typed(said, "accepts_commands", bool, False, frame)
        register.capabilities.extend(_texts(said, "capabilities", frame))
        metadata = dict(_typed(said, "metadata", dict, {}, frame))
        if frame.dialect == "S":
            metadata.setdefault("template_id", said["template_id"])
        if metadata:
            _struct(register.metadata, metadata, frame)
        return request, _typed(said, "ack", bool, False, frame)

    def register_session(self, frame: Frame) -> Any:
        """
        :raises FrameError:"""
        said = _object(frame, "session")
        request = self._request()
        session = request.register_session
        session.session_id = _id(said, frame, "session_id" if frame.dialect == "S" else "id", "session_id")
        session.agent_id = _id(said, frame, *_AGENT_NAMES[1:])
        session.status = _typed(said, "status", str, "", frame)
        count = _typed(said, "message_count", int, 0, frame)
        if not 0 <= count < 2**31:
            raise _unparsed(frame, "message_count is out of range")
        session.message_count = count
        if said.get("created_at") is not None:
            try:
                session.create_time.FromJsonString(_typed(said, "created_at", str, "", frame))
            except ValueError:
                raise _unparsed(frame, "created_at is not a time") from None
            if session.create_time.seconds < 0:
                raise _unparsed(frame, "created_at is before 1970")
        metadata = _typed(said, "metadata", dict, {}, frame)
        if metadata:
            _struct(session.metadata, metadata, frame)
        return request

    def agent_of(self, frame: Frame) -> str:
        """Whose events, or who is unregistered: checked before anything else of the frame.

        :raises FrameError:"""
        said = _object(frame, "") if frame.dialect == "S" else frame.body
        agent_id = _first(said, "agent_id", "AgentID", "agentId")
        if agent_id is None or agent_id == "":
            raise FrameError("agent_id is required")
        if not isinstance(agent_id, str):
            raise _unparsed(frame, "agent_id must be a text")
        return agent_id

    def unregister(self, agent_id: str) -> Any:
        request = self._request()
        request.unregister.agent_id = agent_id
        return request

    def events(self, frame: Frame, agent_id: str) -> Any:
        """
        :raises FrameError:"""
        said = frame.body["payload"] if frame.dialect == "S" else frame.body
        one, many = ("envelope", "envelopes") if frame.dialect == "S" else ("event", "events")
        batch = said.get(many)
        if batch is None:
            if said.get(one) is None:
                raise FrameError("failed to push event: event is nil")
            batch = [said[one]]
        if not isinstance(batch, list) or not 1 <= len(batch) <= MAX_BATCH:
            raise _unparsed(frame, f"{many} must be a list of 1 to {MAX_BATCH}")
        request = self._request()
        events = request.events
        events.agent_id = agent_id
        events.first_client_sequence = self._number(frame, said, batch)
        for index, each in enumerate(batch):
            where = f"{many}[{index}]: " if many in said else ""
            events.events.append(self._event(frame, each, where))
        return request

    def _number(self, frame: Frame, said: Mapping[str, Any], batch: Sequence[Any]) -> int:
        number = said.get("client_sequence")
        if number is None and frame.dialect == "S" and isinstance(batch[0], dict):
            number = batch[0].get("cursor")
            number = number if isinstance(number, int) else None
        if number is None:
            return 0
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**62:
            raise _unparsed(frame, "client_sequence must be a number from 1")
        return number

    def _event(self, frame: Frame, said: Any, where: str) -> Any:
        seconds = None
        if frame.dialect == "S":
            if not isinstance(said, dict):
                raise _unparsed(frame, f"{where}envelope must be an object")
            bookmark = said.get("bookmark")
            seconds = bookmark.get("timestamp") if isinstance(bookmark, dict) else None
            said = said.get("event")
        if said is None:
            raise FrameError(f"failed to push event: {where}event is nil")
        try:
            return self._events.event(said, seconds)
        except BadEvent as error:
            raise _unparsed(frame, f"{where}{error.args[0]}") from None

    def command_result(self, frame: Frame) -> Any:
        """
        :raises FrameError:"""
        said = _object(frame, "") if frame.dialect == "S" else frame.body
        request = self._request()
        request.correlation_id = _typed(said, "command_id", str, "", frame)
        request.command_result.SetInParent()
        if not _typed(said, "ok", bool, True, frame) or said.get("error") is not None:
            error = said.get("error")
            request.command_result.error.code = _FAILED_PRECONDITION
            request.command_result.error.message = error if isinstance(error, str) else "the program refused"
        return request

    def ping(self) -> Any:
        request = self._request()
        request.ping.SetInParent()
        return request


_AGENT_NAMES = ("id", "agent_id", "AgentID", "agentId")


def _object(frame: Frame, name: str) -> Mapping[str, Any]:
    """What the frame is about: ``payload`` in S, the member of that name in D."""
    said = frame.body.get("payload" if frame.dialect == "S" else name)
    if said is None and frame.dialect == "S":
        return {}
    if not isinstance(said, dict):
        raise _unparsed(frame, f"{'payload' if frame.dialect == 'S' else name} must be an object")
    return said


def _first(said: Mapping[str, Any], *names: str) -> Any:
    return next((said[name] for name in names if said.get(name) is not None), None)


def _id(said: Mapping[str, Any], frame: Frame, *names: str) -> str:
    value = _first(said, *names)
    if value is None or value == "":
        required = "session_id" if "session_id" in names else "agent_id"
        raise FrameError(f"{required} is required")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _unparsed(frame, "invalid id")
    return value


def _typed(said: Mapping[str, Any], name: str, kind: type, default: Any, frame: Frame) -> Any:
    value = said.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _unparsed(frame, f"{name} has a wrong type")
    return value


def _texts(said: Mapping[str, Any], name: str, frame: Frame) -> list[str]:
    values = _typed(said, name, list, [], frame)
    if not all(isinstance(value, str) for value in values):
        raise _unparsed(frame, f"{name} must hold texts")
    return list(values)


def _struct(target: Any, value: Mapping[str, Any], frame: Frame) -> None:
    try:
        json_format.ParseDict(dict(value), target)
    except (json_format.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise _unparsed(frame, "metadata cannot be stored") from None


def _unparsed(frame: Frame, why: str) -> FrameError:
    return FrameError(f"failed to parse {frame.type} payload: {why}")


def shown(text: str) -> str:
    """What a client sent, as far as an error text repeats it."""
    return text[:_SHOWN]


# -- out ---------------------------------------------------------------------------------


def frame(kind: str, **payload: Any) -> str:
    """A frame of the server."""
    return json.dumps({"type": kind, "payload": payload}, ensure_ascii=False, separators=(",", ":"))


def pong(dialect: str) -> str:
    return '{"type":"pong","payload":null}' if dialect == "S" else '{"type":"pong"}'


def error(refusal: FrameError) -> str:
    reason = {"reason": refusal.reason} if refusal.reason else {}
    return frame("error", code=refusal.code, message=refusal.text, **reason)


def registered(said: Any, ack: bool) -> str:
    more = {}
    if ack:
        more = {
            "connection_id": said.connection_id,
            "ping_interval_ms": said.ping_interval.ToMilliseconds(),
            "acked_client_sequence": said.acked_client_sequence,
        }
    return frame("registered", agent_id=said.agent_id, message="Agent registered successfully", **more)


def session_registered(said: Any) -> str:
    return frame("session_registered", session_id=said.session_id, message="Session registered successfully")


def event_ack(agent_id: str, number: int) -> str:
    return frame("event_ack", agent_id=agent_id, acked_client_sequence=number)


def command(command_id: str, said: Any) -> str:
    """Something for the program to do."""
    payload: dict[str, Any] = {"command_id": command_id, "agent_id": said.agent_id}
    match said.WhichOneof("command"):
        case "chat":
            payload["chat"] = {"turn_id": said.chat.turn_id, "message": said.chat.message}
            if said.chat.session_id:
                payload["chat"]["session_id"] = said.chat.session_id
        case "interrupt":
            payload["interrupt"] = {"turn_id": said.interrupt.turn_id, "reason": said.interrupt.reason}
        case "resolved":
            payload["resolved"] = _resolved(said.resolved)
    return frame("command", **payload)


def _resolved(said: Any) -> dict[str, Any]:
    names = said.DESCRIPTOR.fields_by_name["outcome"].enum_type.values_by_number
    resolved = {"pending_id": said.pending_id}
    resolved["outcome"] = names[said.outcome].name.removeprefix("RESOLUTION_OUTCOME_").lower()
    for name in ("answer", "note", "decided_by"):
        if getattr(said, name):
            resolved[name] = getattr(said, name)
    if said.HasField("edited_input_json"):
        resolved["edited_input_json"] = said.edited_input_json
    return resolved


def refusal(status: status_pb2.Status, doing: str) -> FrameError:
    """What the server refused, in the words of this socket. ``doing``: the frame's type."""
    info = error_details_pb2.ErrorInfo()
    if not (status.details and status.details[0].Unpack(info)):
        info.Clear()
    text = status.message
    if not text.endswith((" already registered", " not registered")):
        done = {"event": "failed to push event", "register_session": "failed to save session"}.get(doing)
        text = f"{done}: {text}" if done else text
    return FrameError(text, FAILED, info.reason)
