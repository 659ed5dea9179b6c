"""What a subscriber wants to see, as integers that are tested before bytes are touched.

Names of event types come in every spelling the seeds, the original and its SDKs
use; the table below is the list of aliases, and ``canonical`` the rule for the rest
(contract: matching a name)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asteros.events import catalogue, frames
from asteros.stores.base import Segment

# Spellings that the rule of `canonical` does not reach by itself.
ALIASES: dict[str, tuple[str, ...]] = {
    "progress.text_chunk": ("text_delta", "EventTypeTextDelta"),
    "progress.text_done": ("text_chunk_end", "ProgressTextChunkEndEvent"),
    "progress.think_chunk": ("thinking",),
    "progress.tool_start": ("tool_call", "agent.tool_call"),
    "progress.tool_end": (
        "tool_result",
        "tool_call_result",
        "agent.tool_result",
        "tool:error",
        "tool:canceled",
        "tool:cancelled",
        "EventTypeToolCallResult",
        "ProgressToolErrorEvent",
        "ProgressToolCancelledEvent",
        "ProgressToolCanceledEvent",
    ),
    "progress.complete": ("done", "progress.done", "agent.complete", "EventTypeDone", "ProgressDoneEvent"),
    "control.tool_approval_request": (
        "permission_required",
        "approval_required",
        "tool_call_request",
        "EventTypeToolCallRequest",
        "EventTypeApprovalRequired",
        "ControlPermissionRequiredEvent",
    ),
    "control.user_input_request": ("ask_user", "ControlAskUserEvent"),
    "control.request_resolved": (
        "permission_decided",
        "tool_approval_response",
        "user_answer",
        "ControlPermissionDecidedEvent",
        "ControlUserAnswerEvent",
    ),
    "control.tool_control": ("tool_control_response", "ControlToolControlResponseEvent"),
    "monitor.error": ("progress.error", "agent.error"),
    "monitor.state_changed": ("status_change", "EventTypeStatusChange"),
    "monitor.tool_execution": ("tool_executed", "MonitorToolExecutedEvent"),
    "monitor.governance": ("compliance",),
    "monitor.workflow_run": (
        "workflow_started",
        "workflow_completed",
        "workflow_failed",
        "workflow_canceled",
        "workflow.start",
        "workflow.started",
        "workflow.complete",
        "workflow.completed",
        "workflow.error",
        "workflow.failed",
        "workflow.cancelled",
    ),
    "monitor.workflow_step": (
        "step_started",
        "step_progress",
        "step_completed",
        "step_failed",
        "step_skipped",
        "workflow.step",
        "node.completed",
    ),
}
_BY_ALIAS = {alias: event_type for event_type, aliases in ALIASES.items() for alias in aliases}
_BARE = {kind.name: kind.event_type for kind in catalogue.KINDS.values() if kind.name != "custom"}
_CHANNEL_BITS: dict[int, int] = {int(number): bits for number, bits in catalogue.CHANNEL_BITS.items()}
_CHANNEL_PREFIX = re.compile(r"^(progress|control|monitor)_")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def canonical(name: str) -> str | None:
    """The canonical event type of a spelling; None when it is no kind's name.

    First the whole string in the table; else CamelCase becomes snake_case, ``:``
    and ``-`` become ``_``, the original's prefixes and suffix fall away, and what
    is left is looked up as a bare kind or as ``<channel>.<kind>``."""
    if name in catalogue.KINDS:
        return name
    if name in _BY_ALIAS:
        return _BY_ALIAS[name]
    folded = _folded(name)
    channel, dot, rest = folded.partition(".")
    if dot:
        candidate = f"{channel}.{_CHANNEL_PREFIX.sub('', rest)}"
        return candidate if candidate in catalogue.KINDS else _BY_ALIAS.get(folded)
    return _BARE.get(folded) or _BY_ALIAS.get(folded)


def _folded(name: str) -> str:
    folded = _CAMEL.sub("_", name).lower().replace(":", "_").replace("-", "_")
    folded = folded.removeprefix("event_type_").removesuffix("_event")
    return _CHANNEL_PREFIX.sub("", folded)


class Turns:
    """Ids of turns; may grow while somebody follows them. Equal only to itself."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids = set(ids)


@dataclass(frozen=True, slots=True)
class Filter:
    """What one subscription sees of an agent's events. All parts must hold."""

    bits: int = catalogue.ALL_BITS
    names: frozenset[str] = frozenset()  # names of custom events, wanted beside bits
    channel_bits: int = catalogue.ALL_BITS  # custom events must be on one of these
    session_id: str = ""
    turn_id: str = ""
    star_id: str = ""
    workflow_run_id: str = ""
    turns: Turns | None = None  # only these

    def wants_scope(self, segment: Segment) -> bool:
        """Session, turn, Star and run fit."""
        scope = segment.scope
        return (
            (not self.turn_id or scope.turn_id == self.turn_id)
            and (not self.session_id or scope.session_id == self.session_id)
            and (not self.star_id or scope.star_id == self.star_id)
            and (not self.workflow_run_id or scope.workflow_run_id == self.workflow_run_id)
            and (self.turns is None or scope.turn_id in self.turns.ids)
        )

    def indexes(self, segment: Segment) -> Sequence[int]:
        """Which events of a segment to show, by index, in order."""
        if not self.wants_scope(segment):
            return ()
        bits = self.bits
        if bits == catalogue.ALL_BITS:
            return range(segment.count)
        shown = [index for index, code in enumerate(segment.kinds) if bits >> code & 1]
        if self.names:
            shown = sorted({*shown, *self._custom(segment)})
        # A range is cut in no time, and says that the segment's bytes can go out as they are.
        return range(segment.count) if len(shown) == segment.count else shown

    def _custom(self, segment: Segment) -> Iterable[int]:
        """Events of other vocabularies that are wanted by their own name."""
        for index, code in enumerate(segment.kinds):
            if code in catalogue.CUSTOM and self.channel_bits >> code & 1:
                event = frames.event_frames(segment, [index])[0].event
                group = event.progress if event.HasField("progress") else event.monitor
                if group.custom.name in self.names:
                    yield index


def compiled(
    channels: Iterable[int] = (),
    event_types: Iterable[str] = (),
    *,
    session_id: str = "",
    turn_id: str = "",
    star_id: str = "",
    workflow_run_id: str = "",
) -> Filter:
    """A filter from the fields of a request. Empty channels and types mean all."""
    channel_bits = 0
    for channel in channels:
        channel_bits |= _CHANNEL_BITS.get(channel, 0)
    channel_bits = channel_bits or catalogue.ALL_BITS
    bits, names = _types(event_types)
    return Filter(bits & channel_bits, names, channel_bits, session_id, turn_id, star_id, workflow_run_id)


def _types(event_types: Iterable[str]) -> tuple[int, frozenset[str]]:
    bits, names, any_given = 0, set(), False
    for name in event_types:
        any_given = True
        channel, dot, kind = name.partition(".")
        if dot and kind == "*" and channel.lower() in catalogue.CHANNELS:
            bits |= catalogue.CHANNEL_BITS[catalogue.CHANNELS[channel.lower()]]
        elif found := canonical(name):
            bits |= catalogue.KINDS[found].bit
        else:
            names.add(name)
    return (bits, frozenset(names)) if any_given else (catalogue.ALL_BITS, frozenset())
