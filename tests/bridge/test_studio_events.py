"""How events of outside programs become events of the contract, and how frames are read."""

import json
from typing import Any

import pytest
from google.protobuf import json_format

from aster.v1 import event_pb2
from aster.v1 import studio_service_pb2 as pb
from asteros.bridge import studio_frames
from asteros.bridge.studio_events import BadEvent, Events
from asteros.events import catalogue, filters

EVENTS = Events(event_pb2.Event, filters.canonical)
CALL = {"id": "c1", "name": "Read", "input": {"path": "a"}}


def made(said: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Event type and payload, as JSON."""
    event = EVENTS.event(said)
    channel = event.WhichOneof("payload")
    kind = getattr(event, channel).WhichOneof("kind")
    payload = json_format.MessageToDict(getattr(getattr(event, channel), kind), preserving_proto_field_name=True)
    return f"{channel}.{kind}", payload


@pytest.mark.parametrize(
    ("said", "event_type", "payload"),
    [
        # the four documented ones
        (
            {"channel": "monitor", "event_type": "token_usage", "input_tokens": 100, "output_tokens": 50},
            "monitor.token_usage",
            {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150},
        ),
        (
            {"channel": "monitor", "event_type": "state_changed", "state": "working"},
            "monitor.state_changed",
            {"activity": "AGENT_ACTIVITY_WORKING"},
        ),
        (
            {"channel": "monitor", "event_type": "error", "severity": "error", "message": "API call failed"},
            "monitor.error",
            {"error": {"code": 13, "message": "API call failed"}, "severity": "error"},
        ),
        (
            {"channel": "progress", "event_type": "text_chunk", "delta": "Hello, "},
            "progress.text_chunk",
            {"delta": "Hello, "},
        ),
        # spellings of names and fields
        ({"type": "text_delta", "text": "x"}, "progress.text_chunk", {"delta": "x"}),
        ({"type": "ProgressTextChunkEvent", "delta": "x"}, "progress.text_chunk", {"delta": "x"}),
        ({"type": "text_chunk_end", "text": "all"}, "progress.text_done", {"text": "all"}),
        ({"type": "thinking", "delta": "hm"}, "progress.think_chunk", {"delta": "hm"}),
        (
            {"type": "tool:start", "call": CALL},
            "progress.tool_start",
            {"call": {"id": "c1", "name": "Read", "input_json": '{"path":"a"}'}},
        ),
        (
            {"type": "tool_call", "callId": "c1", "name": "Read", "arguments": {"path": "a"}},
            "progress.tool_start",
            {"call": {"id": "c1", "name": "Read", "input_json": '{"path":"a"}'}},
        ),
        (
            {"type": "tool:end", "call": {"id": "c1", "name": "Read", "result": [1]}, "duration_ms": 1500},
            "progress.tool_end",
            {
                "result": {"call_id": "c1", "name": "Read", "output_json": "[1]"},
                "duration": "1.500s",
                "state": "TOOL_CALL_STATE_COMPLETED",
            },
        ),
        (
            {"type": "tool:error", "call_id": "c1", "error": "no such file"},
            "progress.tool_end",
            {
                "result": {"call_id": "c1", "is_error": True},
                "error": {"code": 13, "message": "no such file"},
                "state": "TOOL_CALL_STATE_FAILED",
            },
        ),
        (
            {"type": "tool:canceled", "call_id": "c1"},
            "progress.tool_end",
            {"result": {"call_id": "c1", "is_error": True}, "state": "TOOL_CALL_STATE_CANCELED"},
        ),
        (
            {"type": "tool:progress", "call_id": "c1", "progress": 0.5, "message": "half"},
            "progress.tool_progress",
            {"call_id": "c1", "fraction": 0.5, "message": "half"},
        ),
        (
            {"type": "tool:intermediate", "call_id": "c1", "label": "found", "data": {"n": 1}},
            "progress.tool_intermediate",
            {"call_id": "c1", "label": "found", "data_json": '{"n":1}'},
        ),
        ({"type": "done", "reason": "completed"}, "progress.complete", {"state": "TURN_STATE_COMPLETED"}),
        ({"type": "done", "reason": "interrupted"}, "progress.complete", {"state": "TURN_STATE_INTERRUPTED"}),
        (
            {"type": "done", "reason": "failed", "error": {"message": "no", "code": 8}},
            "progress.complete",
            {"state": "TURN_STATE_FAILED", "error": {"code": 8, "message": "no"}},
        ),
        (
            {
                "type": "todo_update",
                "todos": [{"id": "1", "content": "do", "activeForm": "doing", "status": "pending"}],
            },
            "progress.todo_update",
            {"items": [{"id": "1", "content": "do", "active_form": "doing", "status": "pending"}]},
        ),
        (
            {"type": "permission_required", "call": CALL},
            "control.tool_approval_request",
            {"pending_id": "c1", "call": {"id": "c1", "name": "Read", "input_json": '{"path":"a"}'}},
        ),
        (
            {
                "channel": "control",
                "type": "ask_user",
                "request_id": "q1",
                "questions": [{"question": "which?", "options": [{"label": "a"}], "multi_select": True}],
            },
            "control.user_input_request",
            {"pending_id": "q1", "prompt": "which?", "options": [{"label": "a"}], "multi_select": True},
        ),
        (
            {"type": "permission_decided", "call_id": "c1", "approved": True, "decided_by": "ann"},
            "control.request_resolved",
            {"pending_id": "c1", "outcome": "RESOLUTION_OUTCOME_ALLOWED", "decided_by": "ann"},
        ),
        (
            {"type": "user_answer", "request_id": "q1", "answers": {"a": "b"}},
            "control.request_resolved",
            {"pending_id": "q1", "outcome": "RESOLUTION_OUTCOME_ANSWERED", "answer": '{"a":"b"}'},
        ),
        (
            {"type": "iteration_limit", "current_iteration": 5, "max_iteration": 5},
            "control.iteration_limit",
            {"current_step": 5, "iteration_limit": 5},
        ),
        (
            {"type": "tool_control_response", "call_id": "c1", "action": "pause", "reason": "wait"},
            "control.tool_control",
            {"call_id": "c1", "state": "TOOL_CALL_STATE_PAUSED", "note": "wait"},
        ),
        ({"type": "step_complete", "duration_ms": 20}, "monitor.step_complete", {"duration": "0.020s"}),
        (
            {"type": "tool_executed", "call": {**CALL, "state": "failed"}},
            "monitor.tool_execution",
            {"tool_name": "Read", "call_id": "c1"},
        ),
        (
            {"type": "token_usage", "promptTokens": 1, "completionTokens": 2, "total_tokens": 9},
            "monitor.token_usage",
            {"input_tokens": 1, "output_tokens": 2, "total_tokens": 9},
        ),
        (
            {"type": "file_changed", "path": "a.txt", "change": "modified"},
            "monitor.file_changed",
            {"path": "a.txt", "change": "modified"},
        ),
        # what there is no kind for
        (
            {"channel": "progress", "event_type": "ui:surface_update", "surface_id": "s", "root": 1},
            "progress.custom",
            {"name": "ui:surface_update", "data_json": '{"surface_id":"s","root":1}'},
        ),
        (
            {"channel": "monitor", "event_type": "reminder_sent", "category": "c"},
            "monitor.custom",
            {"name": "reminder_sent", "data_json": '{"category":"c"}'},
        ),
        (
            {"channel": "control", "event_type": "ui:action", "action": "go"},
            "monitor.custom",
            {"name": "control.ui:action", "data_json": '{"action":"go"}'},
        ),
        (
            {"type": "latency", "severity": "low"},
            "monitor.custom",
            {"name": "latency", "data_json": '{"severity":"low"}'},
        ),
        ({"type": "made up"}, "progress.custom", {"name": "made up", "data_json": "{}"}),
    ],
)
def test_an_event_becomes_what_the_contract_calls_it(
    said: dict[str, Any], event_type: str, payload: dict[str, Any]
) -> None:
    assert made(said) == (event_type, payload)


@pytest.mark.parametrize(
    ("spelling", "event_type"), sorted((alias, kind) for kind, names in filters.ALIASES.items() for alias in names)
)
def test_every_alias_reaches_its_kind(spelling: str, event_type: str) -> None:
    assert made({"type": spelling, "call": CALL})[0] == event_type


@pytest.mark.parametrize("event_type", sorted(set(catalogue.KINDS) - {"progress.custom", "monitor.custom"}))
def test_every_kind_can_be_sent_by_its_name(event_type: str) -> None:
    channel, _, kind = event_type.partition(".")
    assert made({"channel": channel, "event_type": kind})[0] == event_type


def test_the_envelope_is_taken_over() -> None:
    event = EVENTS.event(
        {"type": "done", "session_id": "s", "turn_id": "t", "step": 3, "timestamp": "2024-01-01T12:00:00Z"}
    )
    assert (event.session_id, event.turn_id, event.step) == ("s", "t", 3)
    assert event.create_time.ToJsonString() == "2024-01-01T12:00:00Z"
    for stamp in (1_704_110_400, 1_704_110_400_000):
        assert EVENTS.event({"type": "done", "timestamp": stamp}).create_time == event.create_time
    assert EVENTS.event({"type": "done"}, 1_704_110_400).create_time == event.create_time
    for stamp in ("noon", -5, True, 1e300, [], None):
        assert not EVENTS.event({"type": "done", "timestamp": stamp}).HasField("create_time")


@pytest.mark.parametrize(
    "said",
    [None, 3, [], {}, {"type": 4}, {"type": "done", "channel": 4}, {"type": "text_chunk", "delta": 5},
     {"type": "token_usage", "input_tokens": 1.5}, {"type": "todo_update", "todos": ["x"]},
     {"type": "state_changed", "state": 7}],
)  # fmt: skip
def test_what_cannot_be_an_event_is_refused(said: Any) -> None:
    with pytest.raises(BadEvent):
        EVENTS.event(said)


def test_depth_is_counted_to_its_limit() -> None:
    fits = '{"type":"ping","x":' + "[" * 63 + "]" * 63 + "}"
    assert studio_frames.parsed(fits.encode()).type == "ping"
    with pytest.raises(studio_frames.FrameError):
        studio_frames.parsed(fits.replace("[[", "[[[").replace("]]", "]]]").encode())
    with pytest.raises(studio_frames.FrameError):
        studio_frames.parsed(b"[" * 1_000_000)


def test_commands_are_written_as_documented() -> None:
    chat = pb.ConnectCommand(agent_id="a", chat=pb.ConnectChat(turn_id="t", message="hi", session_id="s"))
    assert json.loads(studio_frames.command("c", chat)) == {
        "type": "command",
        "payload": {
            "command_id": "c",
            "agent_id": "a",
            "chat": {"turn_id": "t", "message": "hi", "session_id": "s"},
        },
    }
    resolved = event_pb2.RequestResolved(pending_id="p", outcome="RESOLUTION_OUTCOME_ANSWERED", answer="yes")
    told = json.loads(studio_frames.command("c", pb.ConnectCommand(agent_id="a", resolved=resolved)))
    assert told["payload"]["resolved"] == {"pending_id": "p", "outcome": "answered", "answer": "yes"}
    stop = pb.ConnectCommand(agent_id="a", interrupt=pb.ConnectInterrupt(turn_id="t", reason="r"))
    assert json.loads(studio_frames.command("c", stop))["payload"]["interrupt"] == {"turn_id": "t", "reason": "r"}
