"""What must hold of a recorded run: one function per promise, each gives what is wrong.

They know nothing of servers. A run is handed over as a ``History``, and
``test_validators`` doctors one for each of them: a validator that never turns red
proves nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from robustness.recorder import DISCONNECT, Record, Seen

from aster.v1 import agent_pb2, common_pb2

ENDED = (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_FAILED, agent_pb2.TURN_STATE_INTERRUPTED)
Problems = Iterator[str]


@dataclass
class Sent:
    """One message that was sent until it was acknowledged, and every turn that was named in answer."""

    agent_id: str
    request_id: str
    turn_ids: list[str] = field(default_factory=list)


@dataclass
class Held:
    """An approval that nobody decided until the kills were over."""

    agent_id: str
    pending_id: str
    turn_id: str
    listed: list[str] = field(default_factory=list)  # open requests of the agent, just before it was allowed


@dataclass
class History:
    """A whole run: what was asked, what was seen, and what the server says in the end."""

    records: list[Record] = field(default_factory=list)
    log: dict[str, list[Seen]] = field(default_factory=dict)  # ListEvents, by agent
    sent: list[Sent] = field(default_factory=list)
    turns: dict[str, list[agent_pb2.Turn]] = field(default_factory=dict)  # ListTurns, by agent
    messages: dict[str, list[common_pb2.Message]] = field(default_factory=dict)  # ListMessages, by agent
    marks: dict[str, Sequence[str]] = field(default_factory=dict)  # lines that tools wrote, by agent
    held: list[Held] = field(default_factory=list)

    def of_type(self, *event_types: str) -> Iterator[Seen]:
        """Stored events of some types, in the order of each agent."""
        return (seen for events in self.log.values() for seen in events if seen.event_type in event_types)


# -- the log (E1, E2, E3, E8) ----------------------------------------------------


def validate_ordered(history: History) -> Problems:
    """E1: on one stream and its resumes, the sequences of an agent only rise."""
    for record in history.records:
        newest: dict[str, int] = defaultdict(int)
        for seen in record.seen:
            if seen.sequence < newest[seen.agent_id]:
                yield f"{record.name}: {seen.agent_id} {seen.sequence} came after {newest[seen.agent_id]}"
            newest[seen.agent_id] = max(newest[seen.agent_id], seen.sequence)


def validate_unique(history: History) -> Problems:
    """E1: a resume repeats nothing."""
    for record in history.records:
        counts = Counter((seen.agent_id, seen.sequence) for seen in record.seen)
        for (agent_id, sequence), count in counts.items():
            if count > 1:
                yield f"{record.name}: {agent_id} {sequence} came {count} times"


def validate_dense(history: History) -> Problems:
    """E1: an agent's log counts 1, 2, 3 … over all channels."""
    for agent_id, events in history.log.items():
        sequences = [seen.sequence for seen in events]
        if sequences != list(range(1, len(sequences) + 1)):
            yield f"{agent_id}: the log is not dense"


def validate_gapless(history: History) -> Problems:
    """E1: whoever listened from the beginning saw every event it wanted, but for announced gaps."""
    for record in history.records:
        seen = {(each.agent_id, each.sequence) for each in record.seen}
        for agent_id, events in history.log.items():
            for stored in events:
                if not record.wants(agent_id, stored.channel) or (agent_id, stored.sequence) in seen:
                    continue
                if not _announced(record, stored):
                    yield f"{record.name}: never saw {agent_id} {stored.sequence} {stored.event_type}"


def _announced(record: Record, stored: Seen) -> bool:
    return any(
        gap.agent_id == stored.agent_id and gap.channel == stored.channel and gap.first <= stored.sequence <= gap.last
        for gap in record.gaps
    )


def validate_kept(history: History) -> Problems:
    """E8: no gap swallows a control event or an end, and DISCONNECT has no gap at all."""
    for record in history.records:
        if record.gaps and record.policy == DISCONNECT:
            yield f"{record.name}: a gap under DISCONNECT"
        seen = {(each.agent_id, each.sequence) for each in record.seen}
        for stored in (each for events in history.log.values() for each in events):
            kept = stored.channel == common_pb2.CHANNEL_CONTROL or stored.event_type == "progress.complete"
            missed = record.wants(stored.agent_id, stored.channel) and (stored.agent_id, stored.sequence) not in seen
            if kept and missed and record.gaps:
                yield f"{record.name}: {stored.event_type} {stored.agent_id} {stored.sequence} was left out"


def validate_stored(history: History) -> Problems:
    """E2: what anybody ever saw is in the log, byte for byte and with the same cursor."""
    stored = {(seen.agent_id, seen.sequence): seen.data for events in history.log.values() for seen in events}
    for record in history.records:
        for seen in record.seen:
            known = stored.get((seen.agent_id, seen.sequence))
            if known != seen.data:
                what = "is not stored" if known is None else "is stored otherwise"
                yield f"{record.name}: {seen.agent_id} {seen.sequence} {seen.event_type} {what}"


def validate_filtered(history: History) -> Problems:
    """E3: a filter hides, and does nothing else: with ``stored`` and ``ordered``, a subsequence."""
    for record in history.records:
        for seen in record.seen:
            if not record.wants(seen.agent_id, seen.channel):
                yield f"{record.name}: did not ask for {seen.agent_id} {seen.sequence} {seen.event_type}"


def validate_one_log(history: History) -> Problems:
    """E4: no restart began a new log."""
    for record in history.records:
        if len(record.epochs) > 1:
            yield f"{record.name}: the log began anew: {sorted(record.epochs)}"


# -- turns (E9, R4, R5, R9) ----------------------------------------------------------


def validate_idempotent(history: History) -> Problems:
    """E9: one request_id, one turn, however often it was sent; and no turn that nobody asked for."""
    asked: dict[str, set[str]] = defaultdict(set)
    for sent in history.sent:
        asked[sent.agent_id].update(sent.turn_ids)
        if len(set(sent.turn_ids)) > 1:
            yield f"{sent.agent_id}: {sent.request_id} made the turns {sent.turn_ids}"
    for agent_id, turns in history.turns.items():
        for turn in turns:
            if turn.id not in asked[agent_id]:
                yield f"{agent_id}: nobody asked for {turn.id}"


def validate_one_terminal(history: History) -> Problems:
    """R9: every acknowledged turn has exactly one end, in the log and in its row."""
    ends = Counter((seen.agent_id, seen.event.turn_id) for seen in history.of_type("progress.complete"))
    states = {turn.id: turn.state for turns in history.turns.values() for turn in turns}
    for sent in history.sent:
        for turn_id in set(sent.turn_ids):
            if (count := ends[sent.agent_id, turn_id]) != 1:
                yield f"{sent.agent_id}: {turn_id} has {count} ends"
            if states.get(turn_id) not in ENDED:
                yield f"{sent.agent_id}: {turn_id} is stored as {states.get(turn_id)}"


def validate_tools(history: History) -> Problems:
    """Every tool_start has exactly one tool_end, behind it."""
    open_calls: Counter[tuple[str, str]] = Counter()
    for seen in history.of_type("progress.tool_start", "progress.tool_end"):
        progress = seen.event.progress
        if seen.event_type == "progress.tool_start":
            open_calls[seen.agent_id, progress.tool_start.call.id] += 1
        else:
            open_calls[seen.agent_id, progress.tool_end.result.call_id] -= 1
            if open_calls[seen.agent_id, progress.tool_end.result.call_id] < 0:
                yield f"{seen.agent_id}: {seen.sequence} ends a tool that was not running"
    for (agent_id, call_id), count in open_calls.items():
        if count > 0:
            yield f"{agent_id}: {call_id} was started and never ended"


def validate_pairing(history: History) -> Problems:
    """R4: every tool call of the conversation has one result, in the message right behind it."""
    for agent_id, messages in history.messages.items():
        waiting: list[str] = []
        for message in messages:
            answered = [b.tool_result.call_id for b in message.content if b.WhichOneof("block") == "tool_result"]
            if answered != waiting:
                yield f"{agent_id}: {message.id} answers {answered}, the calls are {waiting}"
            waiting = [b.tool_call.id for b in message.content if b.WhichOneof("block") == "tool_call"]
        if waiting:
            yield f"{agent_id}: {waiting} have no answer"


def validate_effects(history: History) -> Problems:
    """R5: a tool runs at most once, and one that is said to have completed has run."""
    for agent_id, marks in history.marks.items():
        for mark, count in Counter(marks).items():
            if count > 1:
                yield f"{agent_id}: {mark} was written {count} times"
    called: dict[tuple[str, str], str] = {}
    for seen in history.of_type("progress.tool_start", "progress.tool_end"):
        progress = seen.event.progress
        if seen.event_type == "progress.tool_start":
            called[seen.agent_id, progress.tool_start.call.id] = progress.tool_start.call.input_json
        elif seen.agent_id in history.marks and progress.tool_end.state == common_pb2.TOOL_CALL_STATE_COMPLETED:
            text = called.get((seen.agent_id, progress.tool_end.result.call_id), "")
            if not any(f'"{mark}\\n"' in text for mark in history.marks[seen.agent_id]):
                yield f"{seen.agent_id}: {seen.sequence} completed a tool that left nothing: {text}"


def validate_held(history: History) -> Problems:
    """A1, A4: an open approval outlives every kill, is listed, and its tool then runs once."""
    for held in history.held:
        if held.listed != [held.pending_id]:
            yield f"{held.agent_id}: {held.pending_id} is open, listed were {held.listed}"
        if list(history.marks.get(held.agent_id, ())) != ["mark-0"]:
            yield f"{held.agent_id}: its tool left {list(history.marks.get(held.agent_id, ()))}"


ALL: tuple[Callable[[History], Problems], ...] = (
    validate_ordered,
    validate_unique,
    validate_dense,
    validate_gapless,
    validate_kept,
    validate_stored,
    validate_filtered,
    validate_one_log,
    validate_idempotent,
    validate_one_terminal,
    validate_tools,
    validate_pairing,
    validate_effects,
    validate_held,
)


def problems(history: History) -> list[str]:
    """What all validators have to say, each at most three times: the first ones tell the story."""
    found = []
    for validator in ALL:
        mine = list(validator(history))
        found += [f"{validator.__name__}: {problem}" for problem in mine[:3]]
        if len(mine) > 3:
            found.append(f"{validator.__name__}: and {len(mine) - 3} more")
    return found
