"""Every kind of event, derived from the contract, and the one way to build one.

``event_type`` is ``<channel>.<kind>``, both of them field names of the proto
(decision 1 of the API): nothing here is typed by hand but the aliases of
``filters`` and the kinds a reader must not skip."""

from dataclasses import dataclass, field

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from aster.v1 import common_pb2, event_pb2
from asteros import ids
from asteros.events.texts import TextDraft, TextPattern
from asteros.stores.base import NO_SCOPE, Scope

CHANNELS = {
    "progress": common_pb2.CHANNEL_PROGRESS,
    "control": common_pb2.CHANNEL_CONTROL,
    "monitor": common_pb2.CHANNEL_MONITOR,
}
_KINDS_PER_CHANNEL = 64  # a kind's code is channel * 64 + field number; stored on disk


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event."""

    code: int  # one byte, stable: from channel and field number
    channel: int
    name: str
    event_type: str
    ignorable: bool  # a reader that does not know it may skip it

    @property
    def bit(self) -> int:
        return 1 << self.code


def _fields(channel: str) -> list[FieldDescriptor]:
    """The kinds of a channel, as fields of its message."""
    group = event_pb2.Event.DESCRIPTOR.fields_by_name[channel].message_type
    assert group is not None
    return list(group.fields)  # type: ignore[arg-type]


def _kinds() -> dict[str, Kind]:
    found = {}
    for channel, number in CHANNELS.items():
        for kind in _fields(channel):
            ignorable = channel != "control" and (channel, kind.name) != ("progress", "complete")
            code = number * _KINDS_PER_CHANNEL + kind.number
            event_type = f"{channel}.{kind.name}"
            found[event_type] = Kind(code, number, kind.name, event_type, ignorable)
    return found


KINDS = _kinds()
BY_CODE = {kind.code: kind for kind in KINDS.values()}
COMPLETE = KINDS["progress.complete"]
CUSTOM = frozenset(kind.code for kind in KINDS.values() if kind.name == "custom")
CHANNEL_BITS = {
    number: sum(kind.bit for kind in KINDS.values() if kind.channel == number) for number in CHANNELS.values()
}
ALL_BITS = sum(CHANNEL_BITS.values())
# Never left out for a slow subscriber (guarantee E8).
KEPT_BITS = CHANNEL_BITS[common_pb2.CHANNEL_CONTROL] | COMPLETE.bit
# Message type of a payload -> where it goes. token_usage is common.TokenUsage, seen nowhere else.
_PLACES = {
    kind.message_type.full_name: (channel, kind.name)
    for channel in CHANNELS
    for kind in _fields(channel)
    if kind.message_type is not None
}


@dataclass(slots=True)
class Stamp:
    """What the events of one turn have in common. Build one per turn, change ``step`` as it goes.

    An event is copied from a pattern that already carries the common fields: it is
    made for every token, and this is a third of the cost of naming every field."""

    agent_id: str
    scope: Scope = NO_SCOPE
    step: int = 0
    trace_id: str = ""
    parent_turn_id: str = ""
    parent_call_id: str = ""
    _patterns: dict[str, event_pb2.Event] = field(default_factory=dict)
    _texts: TextPattern | None = None
    _pattern_step: int = 0

    def event(self, payload: Message) -> event_pb2.Event:
        """An event with this payload; sequence and create_time come when it is stored."""
        self._forget_other_steps()
        name = payload.DESCRIPTOR.full_name
        pattern = self._patterns.get(name)
        if pattern is None:
            pattern = self._patterns[name] = self._pattern(*_PLACES[name])
        event = event_pb2.Event()
        event.CopyFrom(pattern)
        event.id = ids.ulid()
        channel, kind = _PLACES[name]
        getattr(getattr(event, channel), kind).CopyFrom(payload)
        return event

    def text(self, delta: str) -> TextDraft:
        """progress.text_chunk: the hot path. It gets its id when it is stored, too."""
        if self._texts is None or self._pattern_step != self.step:
            self._forget_other_steps()
            self._texts = TextPattern(self._pattern("progress", "text_chunk"))
        return self._texts, delta

    def _forget_other_steps(self) -> None:
        if self._pattern_step != self.step:
            self._patterns.clear()
            self._texts = None
            self._pattern_step = self.step

    def _pattern(self, channel: str, kind: str) -> event_pb2.Event:
        known = KINDS[f"{channel}.{kind}"]
        return event_pb2.Event(
            event_type=known.event_type,
            agent_id=self.agent_id,
            session_id=self.scope.session_id,
            turn_id=self.scope.turn_id,
            step=self.step,
            trace_id=self.trace_id,
            ignorable=known.ignorable,
            star_id=self.scope.star_id,
            workflow_run_id=self.scope.workflow_run_id,
            parent_turn_id=self.parent_turn_id,
            parent_call_id=self.parent_call_id,
        )
