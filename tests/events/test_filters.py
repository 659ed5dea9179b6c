"""Names of events in every spelling, and what a filter shows."""

from collections.abc import Sequence

import pytest
from events.helpers import House, asked, complete, governed, numbers, only, parsed, text

from aster.v1 import common_pb2, event_pb2
from asteros.events import catalogue, frames
from asteros.events.filters import ALIASES, Filter, canonical, compiled
from asteros.stores.base import Segment

pytestmark = pytest.mark.anyio

# The table of the contract (event catalogue, "also accepted"), one row a line.
TABLE = """
progress.text_chunk: text_chunk text_delta EventTypeTextDelta EventTypeTextChunk ProgressTextChunk
progress.text_chunk: ProgressTextChunkEvent
progress.text_done: text_done text_chunk_end EventTypeTextDone ProgressTextChunkEndEvent
progress.think_chunk: think_chunk thinking ProgressThinkChunkEvent
progress.tool_start: tool_start tool:start tool_call agent.tool_call EventTypeToolStart ProgressToolStart
progress.tool_start: ProgressToolStartEvent
progress.tool_end: tool_end tool:end tool_result tool_call_result agent.tool_result tool:error tool:canceled
progress.tool_end: tool:cancelled EventTypeToolCallResult EventTypeToolEnd ProgressToolEnd ProgressToolEndEvent
progress.tool_end: ProgressToolErrorEvent ProgressToolCancelledEvent
progress.tool_progress: tool:progress tool_progress EventTypeToolProgress ProgressToolProgressEvent
progress.tool_intermediate: tool:intermediate ProgressToolIntermediateEvent
progress.complete: complete done progress.done agent.complete EventTypeDone ProgressCompleteEvent ProgressDoneEvent
progress.session_summarized: session_summarized ProgressSessionSummarizedEvent
progress.todo_update: todo_update ProgressTodoUpdateEvent
control.tool_approval_request: tool_approval_request permission_required approval_required tool_call_request
control.tool_approval_request: EventTypeToolCallRequest EventTypeApprovalRequired ControlToolApprovalRequest
control.tool_approval_request: ControlPermissionRequiredEvent
control.user_input_request: user_input_request ask_user ControlUserInputRequest ControlAskUserEvent
control.request_resolved: request_resolved permission_decided tool_approval_response user_answer
control.request_resolved: ControlPermissionDecidedEvent ControlUserAnswerEvent
control.iteration_limit: iteration_limit ControlIterationLimitEvent
control.tool_control: tool_control tool_control_response ControlToolControlEvent ControlToolControlResponseEvent
monitor.error: error progress.error agent.error EventTypeError MonitorErrorEvent
monitor.state_changed: state_changed status_change EventTypeStatusChange MonitorStateChangedEvent
monitor.tool_execution: tool_execution tool_executed MonitorToolExecutionEvent MonitorToolExecutedEvent
monitor.model_call: MonitorModelCallEvent
monitor.token_usage: MonitorTokenUsageEvent
monitor.step_complete: MonitorStepCompleteEvent
monitor.governance: compliance EventTypeGovernance
monitor.agent_resumed: MonitorAgentResumedEvent
monitor.file_changed: MonitorFileChangedEvent
monitor.workflow_run: workflow_started workflow_completed workflow_failed workflow_canceled workflow.start
monitor.workflow_run: workflow.started workflow.complete workflow.completed workflow.error workflow.failed
monitor.workflow_run: workflow.cancelled
monitor.workflow_step: step_started step_progress step_completed step_failed step_skipped workflow.step node.completed
"""
ROWS = [
    (alias, canonical_name)
    for line in TABLE.strip().splitlines()
    for canonical_name, _, aliases in [line.partition(": ")]
    for alias in aliases.split()
]
BARE = [(kind.name, kind.event_type) for kind in catalogue.KINDS.values() if kind.name != "custom"]
FOLDED = [
    ("TEXT_CHUNK", "progress.text_chunk"),
    ("Text-Chunk", "progress.text_chunk"),
    ("textChunk", "progress.text_chunk"),
    ("Progress.TextChunk", "progress.text_chunk"),
    ("progress_text_chunk", "progress.text_chunk"),
    ("progress.progress_text_chunk", "progress.text_chunk"),
    ("event_type_tool_end", "progress.tool_end"),
    ("Tool_Call", "progress.tool_start"),
    ("AGENT.COMPLETE", "progress.complete"),
    ("MONITOR.STATE_CHANGED", "monitor.state_changed"),
    ("monitor.custom", "monitor.custom"),
]
UNKNOWN = [
    "text_chunk_start",
    "think_chunk_start",
    "ui:surface_update",
    "ui:data_update",
    "ui:delete_surface",
    "breakpoint_changed",
    "reminder_sent",
    "context_compression",
    "scheduler_triggered",
    "tool_manual_updated",
    "control.ui:action",
    "pause",
    "resume",
    "latency",
    "cost",
    "agent.start",
    "agent.progress",
    "team.joined",
    "progress",
    "metrics",
    "custom",
    "MonitorSandboxStartedEvent",
    "control.text_chunk",
    "progress.",
]


@pytest.mark.parametrize(("alias", "event_type"), ROWS)
def test_an_alias_of_the_contract(alias: str, event_type: str) -> None:
    assert canonical(alias) == event_type
    assert compiled((), [alias]) == Filter(bits=catalogue.KINDS[event_type].bit)


def test_no_alias_is_known_beyond_the_contract() -> None:
    # Both spellings of "cancelled" are taken, as the original has both.
    known = {alias for alias, _ in ROWS} | {"ProgressToolCanceledEvent"}
    assert {alias for aliases in ALIASES.values() for alias in aliases} <= known


@pytest.mark.parametrize("event_type", list(catalogue.KINDS))
def test_a_canonical_name_is_itself(event_type: str) -> None:
    assert canonical(event_type) == event_type


@pytest.mark.parametrize(("name", "event_type"), BARE + FOLDED)
def test_other_spellings_by_the_rule(name: str, event_type: str) -> None:
    assert canonical(name) == event_type


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_stays_unknown_waits_for_custom_events(name: str) -> None:
    assert canonical(name) is None
    assert compiled((), [name]) == Filter(bits=0, names=frozenset({name}))


# -- filters on a segment ------------------------------------------------------


def _custom(name: str) -> list[event_pb2.ProgressCustom | event_pb2.MonitorCustom]:
    return [event_pb2.ProgressCustom(name=name), event_pb2.MonitorCustom(name=name)]


async def _segment(house: House) -> Segment:
    """0 text, 1 asked, 2 governed, 3 and 4 custom "x", 5 and 6 custom "y", 7 complete."""
    payloads = [text("a"), asked(), governed(), *_custom("x"), *_custom("y"), complete()]
    return await house.put(house.agent(), *payloads, turn="t1", session="s1")


PROGRESS, CONTROL, MONITOR = (
    common_pb2.CHANNEL_PROGRESS,
    common_pb2.CHANNEL_CONTROL,
    common_pb2.CHANNEL_MONITOR,
)


@pytest.mark.parametrize(
    ("channels", "names", "shown"),
    [
        ((), (), [0, 1, 2, 3, 4, 5, 6, 7]),
        ((PROGRESS,), (), [0, 3, 5, 7]),
        ((CONTROL,), (), [1]),
        ((MONITOR, CONTROL), (), [1, 2, 4, 6]),
        ((), ("progress.*",), [0, 3, 5, 7]),
        ((), ("Control.*", "monitor.governance"), [1, 2]),
        ((), ("*.*", "team.*"), []),
        ((), ("done", "text_delta"), [0, 7]),
        ((PROGRESS,), ("control.*",), []),
        ((MONITOR,), ("compliance", "done"), [2]),
        ((), ("x",), [3, 4]),
        ((MONITOR,), ("x",), [4]),
        ((), ("x", "governance"), [2, 3, 4]),
        ((), ("progress.custom",), [3, 5]),
        ((), ("progress.custom", "y"), [3, 5, 6]),
        ((), ("nothing",), []),
    ],
)
async def test_channels_and_types_both_hold(
    house: House, channels: Sequence[int], names: Sequence[str], shown: list[int]
) -> None:
    segment = await _segment(house)
    assert list(compiled(channels, names).indexes(segment)) == shown


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        ({"turn_id": "t1"}, True),
        ({"session_id": "s1", "turn_id": "t1"}, True),
        ({"session_id": "s2", "turn_id": "t1"}, False),
        ({"turn_id": "t2"}, False),
        ({"star_id": "x"}, False),
        ({"workflow_run_id": "x"}, False),
    ],
)
async def test_scope(house: House, scope: dict[str, str], seen: bool) -> None:
    segment = await _segment(house)
    assert len(only(**scope).indexes(segment)) == (8 if seen else 0)
    assert len(only("text_chunk", **scope).indexes(segment)) == (1 if seen else 0)


async def test_a_filtered_stream_is_a_part_of_the_full_one(house: House) -> None:
    """E3: two readers with one filter see one list, and it is a subsequence of the whole."""
    segment = await _segment(house)
    whole = [frame.SerializeToString() for frame in parsed(segment.body)]
    for names in (("progress.*",), ("x", "done"), ("asked", "control.*")):
        indexes = list(only(*names).indexes(segment))
        part = frames.event_frames(segment, indexes)
        assert [frame.SerializeToString() for frame in part] == [whole[index] for index in indexes]
        assert numbers(part) == [index + 1 for index in indexes]
