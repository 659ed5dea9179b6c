"""Turns with the offline provider, and exactly which events they leave (contract, vector 8)."""

from collections.abc import Sequence

import pytest
from runtime.helpers import ASK_ALWAYS, Action, World, call, check_events, check_history, kinds, of, results, shape

from aster.v1 import agent_pb2, common_pb2
from asteros.runtime.history import for_model

pytestmark = pytest.mark.anyio

BEGIN = "state_changed state_changed "  # STARTED, then RUNNING and WORKING
MODEL = "model_call token_usage "
RAN = "tool_start tool_end tool_execution "
BROKEN = "error "
STEP = "step_complete "
TEXT = "text_chunk text_done "
END = STEP + "complete state_changed"
OK = ["ok"]


@pytest.mark.parametrize(
    ("steps", "expected", "history"),
    [
        ([["Hi."]], BEGIN + TEXT + MODEL + END, "u a"),
        ([["Hello there."]], BEGIN + "text_chunk text_chunk text_done " + MODEL + END, "u a"),
        ([[call("plain")], OK], BEGIN + MODEL + RAN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([["Soon.", call("plain")], OK], BEGIN + TEXT + MODEL + RAN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("look"), call("look")], OK], None, "u a2 t2 a"),
        ([[call("fails")], OK], BEGIN + MODEL + RAN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("raises")], OK], BEGIN + MODEL + RAN + BROKEN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("slow")], OK], BEGIN + MODEL + RAN + BROKEN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("times_out")], OK], BEGIN + MODEL + RAN + BROKEN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("cancels")], OK], BEGIN + MODEL + RAN + BROKEN + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("nothing")], OK], BEGIN + MODEL + "tool_execution " + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[call("plain", text=1)], OK], BEGIN + MODEL + "tool_execution " + STEP + TEXT + MODEL + END, "u a1 t1 a"),
        ([[]], BEGIN + MODEL + END, "u"),
    ],
    ids=[
        "plain_text", "chunks", "one_tool", "text_and_tool", "two_reads", "structured_error", "tool_raises",
        "tool_timeout", "own_timeout", "own_cancel", "unknown_tool", "bad_input", "empty_answer",
    ],
)  # fmt: skip
async def test_a_turn_that_completes(
    world: World, steps: list[Sequence[Action]], expected: str | None, history: str
) -> None:
    agent = await world.agent(*steps)
    turn = await world.turn(agent)
    events = await world.events(agent)
    if expected is not None:
        assert kinds(events) == expected
    check_events(events)
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_END_TURN)
    messages = await world.messages(agent)
    assert shape(messages) == history
    check_history(messages)


@pytest.mark.parametrize(
    ("tool", "state", "reason", "told"),
    [
        ("plain", "COMPLETED", "", {"ok": True, "result": "did "}),
        ("fails", "COMPLETED", "", {"ok": False, "error": "no such city", "city": "Nowhere"}),
        ("raises", "FAILED", "TOOL_FAILED", {"ok": False, "error": "the tool failed", "tool": "raises"}),
        ("times_out", "FAILED", "TOOL_FAILED", {"ok": False, "error": "the tool failed", "tool": "times_out"}),
        ("cancels", "FAILED", "TOOL_FAILED", {"ok": False, "error": "the tool failed", "tool": "cancels"}),
        (
            "slow",
            "FAILED",
            "TOOL_TIMEOUT",
            {"ok": False, "error": "the tool was stopped after 0.02 seconds", "tool": "slow"},
        ),
    ],
)
async def test_how_a_tool_ends(world: World, tool: str, state: str, reason: str, told: object) -> None:
    agent = await world.agent([call(tool, "c1")], OK)
    await world.turn(agent)
    events = await world.events(agent)
    (end,) = of(events, "tool_end")
    (execution,) = of(events, "tool_execution")
    assert common_pb2.ToolCallState.Name(end.state) == f"TOOL_CALL_STATE_{state}"
    assert end.HasField("error") is bool(reason)
    assert reason.encode() in end.SerializeToString()
    assert end.result.is_error is (told["ok"] is False)  # type: ignore[index]
    assert execution.success is (told["ok"] is True)  # type: ignore[index]
    assert results(await world.messages(agent)) == {"c1": told}
    stored = await world.store.tool_call(agent.ref.key, "c1")
    assert stored is not None
    assert (stored.record.state, stored.record.result.output_json) == (end.state, end.result.output_json)


async def test_nothing_of_a_broken_tool_reaches_anybody(world: World) -> None:
    agent = await world.agent([call("raises")], OK)
    await world.turn(agent)
    everything = b"".join(event.SerializeToString() for event in await world.events(agent))
    assert b"secret path" not in everything
    assert b"RuntimeError" not in everything


async def test_a_timed_out_tool_cleans_up_before_the_turn_goes_on(world: World) -> None:
    agent = await world.agent([call("slow")], OK)
    await world.turn(agent)
    assert world.box.did == ["slow cleaned up"]


async def test_denied_by_policy(world: World) -> None:
    agent = await world.agent([call("plain", "c1")], OK, tool_permissions={"PLAIN": common_pb2.PERMISSION_POLICY_DENY})
    await world.turn(agent)
    events = await world.events(agent)
    assert kinds(events) == BEGIN + MODEL + "governance tool_execution " + STEP + TEXT + MODEL + END
    (note,) = of(events, "governance")
    assert (note.rule, note.decision, note.call_id) == ("tool_permissions", "deny", "c1")
    assert of(events, "tool_execution")[0].success is False
    told = results(await world.messages(agent))["c1"]
    assert (told["ok"], told["reason"]) == (False, "TOOL_DENIED")
    assert world.box.did == []


async def test_a_tool_the_agent_does_not_have(world: World) -> None:
    agent = await world.agent([call("plain", "c1")], OK, tools=["look"])
    await world.turn(agent)
    (note,) = of(await world.events(agent), "governance")
    assert (note.rule, note.decision) == ("tools", "deny")
    assert world.box.did == []


ASKED = BEGIN + MODEL + "governance tool_approval_request state_changed "
DECIDED = "request_resolved state_changed "


@pytest.mark.parametrize(
    ("how", "expected", "told"),
    [
        ({}, RAN, {"ok": True, "result": "did x"}),
        (
            {"allow": False, "note": "too late today"},
            "governance tool_execution ",
            {
                "ok": False,
                "error": "the user denied this call",
                "tool": "plain",
                "reason": "TOOL_DENIED",
                "note": "too late today",
            },
        ),
        ({"edited_input_json": '{"text":"edited"}'}, RAN, {"ok": True, "result": "did edited"}),
    ],
    ids=["allowed", "denied", "edited"],
)
async def test_asked(world: World, how: dict[str, object], expected: str, told: object) -> None:
    agent = await world.agent([call("plain", "c1", text="x")], OK, permission_mode=ASK_ALWAYS)
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    waiting = await world.store.turn(agent.ref.key, accepted.turn.id)
    assert waiting is not None
    assert (waiting.turn.state, list(waiting.turn.pending_ids)) == (agent_pb2.TURN_STATE_WAITING, [asked.pending_id])
    assert world.box.did == []
    await world.approve(agent, asked.pending_id, **how)
    turn = await world.ended(agent, accepted)
    events = await world.events(agent)
    assert kinds(events) == ASKED + DECIDED + expected + STEP + TEXT + MODEL + END
    check_events(events)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert results(await world.messages(agent)) == {"c1": told}
    (resolved,) = of(events, "request_resolved")
    assert (resolved.decided_by, resolved.pending_id) == ("ann", asked.pending_id)
    if "edited_input_json" in how:
        assert of(events, "tool_start")[0].call.input_json == how["edited_input_json"]


async def test_an_approval_that_expires_is_a_denial(world: World) -> None:
    agent = await world.agent([call("plain", "c1")], OK, permission_mode=ASK_ALWAYS, approval_timeout={"nanos": 1})
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    await agent.approvals.expire(asked.pending_id)
    turn = await world.ended(agent, accepted)
    events = await world.events(agent)
    assert kinds(events) == ASKED + DECIDED + "governance tool_execution " + STEP + TEXT + MODEL + END
    assert of(events, "request_resolved")[0].decided_by == ""
    assert results(await world.messages(agent))["c1"]["error"] == "the time for approving this call has run out"
    assert (turn.state, world.box.did) == (agent_pb2.TURN_STATE_COMPLETED, [])


async def test_two_queued_turns(world: World) -> None:
    agent = await world.agent([call("held")], OK)
    first = await world.say(agent, "one")
    await world.seen(agent, "tool_progress")
    second = await world.say(agent, "two")
    unfinished = await world.store.unfinished_turns(agent.ref.key)
    assert [row.turn.state for row in unfinished] == [agent_pb2.TURN_STATE_RUNNING, agent_pb2.TURN_STATE_QUEUED]
    assert shape(await world.messages(agent)) == "u a1", "the queued message is not in the history yet"
    world.box.hold.set()
    await world.ended(agent, second)
    held = MODEL + "tool_start tool_progress tool_end tool_execution " + STEP + TEXT + MODEL + STEP + "complete "
    turns = [await world.events(agent, accepted.turn.id) for accepted in (first, second)]
    # Between two turns the agent stays RUNNING; it is idle for no moment in which nothing waits.
    assert kinds(turns[0]) == BEGIN + held + "state_changed"
    assert kinds(turns[1]) == "state_changed " + held + "state_changed"
    events = await world.events(agent)
    assert events == turns[0] + turns[1], "one after the other"
    check_events(events)
    messages = await world.messages(agent)
    assert shape(messages) == "u a1 t1 a u a1 t1 a"
    assert [m.turn_id for m in messages] == [first.turn.id] * 4 + [second.turn.id] * 4


async def test_a_system_message_in_a_tool_step_goes_behind_its_results(world: World) -> None:
    agent = await world.agent([call("held", "c1")], OK)
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    await agent.conversations.system_message("be brief", "", None)
    world.box.hold.set()
    await world.ended(agent, accepted)
    stored = await world.messages(agent)
    assert shape(stored) == "u a1 s t1 a", "stored as it happened"
    assert shape(for_model(stored)) == "u a1 t1 s a"
    assert results(for_model(stored)) == {"c1": {"ok": True, "result": "let go"}}


async def test_steps_and_ids_on_events(world: World) -> None:
    agent = await world.agent([call("plain")], OK)
    accepted = await world.say(agent, trace_id="t" * 32)
    await world.ended(agent, accepted)
    events = await world.events(agent, accepted.turn.id)
    assert {event.trace_id for event in events} == {"t" * 32}
    assert {event.session_id for event in events} == {agent.row.default_session_id}
    steps = [event.step for event in events if event.event_type not in ("monitor.state_changed", "progress.complete")]
    assert steps == [1] * 6 + [2] * 5
    turn = await world.ended(agent, accepted)
    assert (turn.step_count, turn.first_sequence) == (2, 1)
    assert turn.reply.content[0].text == "ok"


async def test_thinking_is_shown_only_when_it_may_be(world: World) -> None:
    steps = [[{"think": "Hm."}, "Hi."]]
    shown = await world.agent(*steps, agent_id="shown", expose_thinking=True)
    hidden = await world.agent(*steps, agent_id="hidden")
    for agent in (shown, hidden):
        await world.turn(agent)
    assert kinds(await world.events(shown)) == BEGIN + "think_chunk " + TEXT + MODEL + END
    assert kinds(await world.events(hidden)) == BEGIN + TEXT + MODEL + END
    assert [m.content[0].WhichOneof("block") for m in await world.messages(shown)] == ["text", "thinking"]
