"""Every validator is red on a history that was doctored for it, and green on a sound one."""

from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from robustness.recorder import DROP_OLDEST, Gap, Pool, Record, Seen
from robustness.validators import ALL, Held, History, Sent, problems

from aster.v1 import agent_pb2, common_pb2, event_pb2

Doctor = Callable[[History], None]
PROGRESS, CONTROL = common_pb2.CHANNEL_PROGRESS, common_pb2.CHANNEL_CONTROL
CALL = common_pb2.ToolCall(id="call_1", name="Write", input_json='{"content": "mark-0\\n"}')
RESULT = common_pb2.ToolResult(call_id="call_1", name="Write", output_json="{}")


def frame(sequence: int, kind: str, payload: Message, agent_id: str = "hold-0") -> Seen:
    """A frame as a listener would have received it."""
    channel, _, name = kind.partition(".")
    event = event_pb2.Event(sequence=sequence, agent_id=agent_id, event_type=kind, turn_id="trn_1")
    getattr(getattr(event, channel), name).CopyFrom(payload)
    return Pool().seen(event_pb2.EventFrame(cursor=f"cursor-{sequence}", event=event))


def log() -> list[Seen]:
    """One turn: text, an approval, a tool, the end."""
    ended = event_pb2.ToolEnd(result=RESULT, state=common_pb2.TOOL_CALL_STATE_COMPLETED)
    return [
        frame(1, "progress.text_chunk", event_pb2.TextChunk(delta="I will")),
        frame(2, "control.tool_approval_request", event_pb2.ToolApprovalRequest(pending_id="p1", call=CALL)),
        frame(3, "control.request_resolved", event_pb2.RequestResolved(pending_id="p1")),
        frame(4, "progress.tool_start", event_pb2.ToolStart(call=CALL)),
        frame(5, "progress.tool_end", ended),
        frame(6, "progress.complete", event_pb2.TurnComplete()),
    ]


def messages() -> list[common_pb2.Message]:
    asked = common_pb2.ContentBlock(tool_call=CALL)
    answered = common_pb2.ContentBlock(tool_result=RESULT)
    return [
        common_pb2.Message(id="m1", content=[common_pb2.ContentBlock(text="go on")]),
        common_pb2.Message(id="m2", content=[asked]),
        common_pb2.Message(id="m3", content=[answered]),
    ]


def sound() -> History:
    """A history in which every promise was kept."""
    events = log()
    some = Record("progress", channels=frozenset((PROGRESS,)), policy=DROP_OLDEST, seen=[events[0], *events[3:]])
    turn = agent_pb2.Turn(id="trn_1", state=agent_pb2.TURN_STATE_COMPLETED)
    return History(
        records=[Record("all", seen=list(events), epochs={"log-1"}), some],
        log={"hold-0": events},
        sent=[Sent("hold-0", "r1", ["trn_1", "trn_1"])],
        turns={"hold-0": [turn]},
        messages={"hold-0": messages()},
        marks={"hold-0": ["mark-0"]},
        held=[Held("hold-0", "p1", "trn_1", ["p1"])],
    )


# -- what goes wrong ----------------------------------------------------------------


def swapped(history: History) -> None:
    seen = history.records[0].seen
    seen[2], seen[3] = seen[3], seen[2]


def repeated(history: History) -> None:
    history.records[0].seen.append(history.records[0].seen[-1])


def hole_in_the_log(history: History) -> None:
    del history.log["hold-0"][3]


def lost_on_a_stream(history: History) -> None:
    del history.records[0].seen[3]


def lost_beside_a_gap(history: History) -> None:
    history.records[1].gaps.append(Gap("hold-0", PROGRESS, 4, 4))
    del history.records[1].seen[2]


def lost_inside_the_gap_of_another_channel(history: History) -> None:
    history.records[0].gaps.append(Gap("hold-0", CONTROL, 4, 4))
    del history.records[0].seen[3]


def end_inside_a_gap(history: History) -> None:
    history.records[1].gaps.append(Gap("hold-0", PROGRESS, 6, 6))
    history.records[1].seen.pop()


def gap_under_disconnect(history: History) -> None:
    history.records[0].gaps.append(Gap("hold-0", PROGRESS, 1, 1))


def seen_but_not_stored(history: History) -> None:
    history.log["hold-0"].pop()


def stored_otherwise(history: History) -> None:
    history.log["hold-0"][0] = frame(1, "progress.text_chunk", event_pb2.TextChunk(delta="I shall"))


def stored_under_another_cursor(history: History) -> None:
    seen = history.log["hold-0"][0]
    moved = event_pb2.EventFrame.FromString(seen.data)
    moved.cursor = "cursor-99"
    history.log["hold-0"][0] = Pool().seen(moved)


def channel_not_asked_for(history: History) -> None:
    history.records[1].seen.insert(1, history.log["hold-0"][1])


def agent_not_asked_for(history: History) -> None:
    history.records[0].agent_ids = frozenset(("echo-0",))


def log_began_anew(history: History) -> None:
    history.records[0].epochs.add("log-2")


def two_turns_for_one_request(history: History) -> None:
    history.sent[0].turn_ids[1] = "trn_2"


def turn_nobody_asked_for(history: History) -> None:
    history.turns["hold-0"].append(agent_pb2.Turn(id="trn_2", state=agent_pb2.TURN_STATE_COMPLETED))


def turn_without_end(history: History) -> None:
    history.log["hold-0"].pop()


def turn_with_two_ends(history: History) -> None:
    history.log["hold-0"].append(frame(7, "progress.complete", event_pb2.TurnComplete()))


def turn_still_waiting(history: History) -> None:
    history.turns["hold-0"][0].state = agent_pb2.TURN_STATE_WAITING


def turn_forgotten(history: History) -> None:
    history.turns["hold-0"].clear()


def tool_without_end(history: History) -> None:
    del history.log["hold-0"][4]


def tool_with_two_ends(history: History) -> None:
    history.log["hold-0"].insert(5, history.log["hold-0"][4])


def call_without_result(history: History) -> None:
    history.messages["hold-0"].pop()


def call_with_two_results(history: History) -> None:
    history.messages["hold-0"].append(history.messages["hold-0"][-1])


def call_answered_too_late(history: History) -> None:
    history.messages["hold-0"].insert(2, common_pb2.Message(id="m4"))


def tool_ran_twice(history: History) -> None:
    history.marks["hold-0"] = ["mark-0", "mark-0"]


def tool_never_ran(history: History) -> None:
    history.marks["hold-0"] = []


def approval_lost(history: History) -> None:
    history.held[0].listed = []


def approval_listed_twice(history: History) -> None:
    history.held[0].listed = ["p1", "p2"]


FAULTS: dict[str, tuple[Doctor, ...]] = {
    "validate_ordered": (swapped,),
    "validate_unique": (repeated,),
    "validate_dense": (hole_in_the_log,),
    "validate_gapless": (lost_on_a_stream, lost_beside_a_gap, lost_inside_the_gap_of_another_channel),
    "validate_kept": (end_inside_a_gap, gap_under_disconnect),
    "validate_stored": (seen_but_not_stored, stored_otherwise, stored_under_another_cursor),
    "validate_filtered": (channel_not_asked_for, agent_not_asked_for),
    "validate_one_log": (log_began_anew,),
    "validate_idempotent": (two_turns_for_one_request, turn_nobody_asked_for),
    "validate_one_terminal": (turn_without_end, turn_with_two_ends, turn_still_waiting, turn_forgotten),
    "validate_tools": (tool_without_end, tool_with_two_ends),
    "validate_pairing": (call_without_result, call_with_two_results, call_answered_too_late),
    "validate_effects": (tool_ran_twice, tool_never_ran),
    "validate_held": (approval_lost, approval_listed_twice, tool_never_ran),
}
PLANTED = [(name, doctor) for name, doctors in FAULTS.items() for doctor in doctors]
BY_NAME = {validator.__name__: validator for validator in ALL}


def test_a_sound_history_is_green() -> None:
    assert problems(sound()) == []


@pytest.mark.parametrize(("name", "doctor"), PLANTED, ids=[f"{name}-{doctor.__name__}" for name, doctor in PLANTED])
def test_a_planted_fault_is_red(name: str, doctor: Doctor) -> None:
    history = sound()
    doctor(history)
    assert list(BY_NAME[name](history))


def test_every_validator_has_a_planted_fault() -> None:
    assert set(FAULTS) == set(BY_NAME)
