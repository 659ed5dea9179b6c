"""What a running tool does to its turn: parts, lists, plan mode; and what people do to it."""

import asyncio
import json
from typing import Any

import pytest
from runtime.helpers import World, call, check_events, of, payload, results

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import errors
from asteros.runtime import decisions, tool_control
from asteros.tools.base import ToolContext
from asteros.tools.function import tool

pytestmark = pytest.mark.anyio
SMART = agent_pb2.PERMISSION_MODE_SMART_APPROVE


@tool()
async def shows(context: ToolContext, data: Any) -> str:
    """Shows a part of its result."""
    context.intermediate("part", data)
    return "done"


async def shown(world: World, data: Any) -> event_pb2.ToolIntermediate:
    world.deps.tools.offer("test", [shows])
    agent = await world.agent([call("shows", "c1", data=data)], ["ok"], tools=["shows"])
    await world.turn(agent)
    (event,) = await world.seen(agent, "tool_intermediate")
    return event.progress.tool_intermediate


async def test_a_part_of_a_result(world: World) -> None:
    part = await shown(world, {"b": [1], "a": "é"})
    assert (part.call_id, part.label, json.loads(part.data_json)) == ("c1", "part", {"b": [1], "a": "é"})


@pytest.mark.parametrize("char", ["x", "é", '"', "\\", "\n"])
async def test_a_large_part_is_cut_and_still_json(world: World, char: str) -> None:
    part = await shown(world, [char * 100_000])
    assert len(part.data_json.encode()) <= 64 * 1024
    assert json.loads(part.data_json).startswith('["')


async def test_the_list_of_things_to_do(world: World) -> None:
    todos = [{"content": "a", "status": "in_progress", "active_form": "Doing a"}, {"content": "b", "priority": "low"}]
    steps = [[call("TodoWrite", "c1", todos=todos)], [call("TodoWrite", "c2", todos=[], action="remove", todo_id="1")]]
    agent = await world.agent(*steps, ["ok"], permission_mode=SMART)  # and nobody is asked
    await world.turn(agent)
    first, second = [event.progress.todo_update for event in await world.seen(agent, "todo_update", 2)]
    assert [(item.id, item.content, item.active_form, item.status, item.priority) for item in first.items] == [
        ("1", "a", "Doing a", "in_progress", ""),
        ("2", "b", "", "pending", "low"),
    ]
    assert [item.id for item in second.items] == ["2"]


# -- plan mode ---------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["tool", "config"])
async def test_plan_mode_until_a_person_approves(world: World, start: str) -> None:
    enter = call("EnterPlanMode", "enter") if start == "tool" else call("Ls", "enter")
    agent = await world.agent(
        [enter],
        [call("plain", "denied"), call("Write", "plan", file_path="plan.md", content="the plan")],
        [call("ExitPlanMode", "exit")],
        [call("plain", "allowed")],
        ["done"],
        permission_mode=SMART if start == "tool" else agent_pb2.PERMISSION_MODE_PLAN,
        tool_permissions={"plain": 1, "Write": 1},
    )
    accepted = await world.say(agent)
    (event,) = await world.seen(agent, "user_input_request")
    asked = event.control.user_input_request
    assert asked.prompt.endswith("the plan")
    chosen = control_service_pb2.RespondToInputRequestRequest(pending_id=event.id, option_indexes=[0])
    await decisions.answer(agent, chosen, "ann")
    await world.ended(agent, accepted)
    told = results(await world.messages(agent))
    assert (told["denied"]["ok"], told["denied"]["reason"]) == (False, "TOOL_DENIED")
    assert told["plan"]["ok"]
    assert told["exit"] == {"ok": True, "plan_mode": False, "plan": "the plan"}
    assert world.box.did == ["plain "]
    check_events(await world.events(agent))


async def test_plan_mode_outlives_the_turn_and_the_memory_of_the_agent(world: World) -> None:
    agent = await world.agent([call("EnterPlanMode", "enter"), call("plain", "c1")], ["end"])
    await world.turn(agent)
    other = await world.agent(model="echo", agent_id="a2")
    agent.conversations.forget(agent.row.default_session_id)
    await world.turn(agent)
    told = results(await world.messages(agent))
    assert [answer.get("reason") for answer in told.values()] == [None, None, "TOOL_DENIED", "TOOL_DENIED"]
    assert world.box.did == ["plain "]  # judged before the first turn entered it
    assert (await other.conversations.get()).planning is None


# -- stopping a tool ---------------------------------------------------------------------


def request(call_id: str, action: int = 3, note: str = "") -> control_service_pb2.ControlToolRequest:
    return control_service_pb2.ControlToolRequest(agent_id="a1", call_id=call_id, action=action, note=note)  # type: ignore[arg-type]


async def test_a_person_stops_a_tool_and_the_turn_goes_on(world: World) -> None:
    agent = await world.agent([call("held", "c1")], [call("plain", "c2")], ["done"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    states = await asyncio.gather(
        *(tool_control.control(agent, request("c1", note="enough"), who) for who in ("ann", "bob"))
    )
    assert set(states) == {common_pb2.TOOL_CALL_STATE_CANCELED}
    turn = await world.ended(agent, accepted)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    told = results(await world.messages(agent))
    assert told["c1"] == {"ok": False, "error": "the user stopped the tool", "tool": "held", "note": "enough"}
    assert told["c2"]["ok"]
    events = await world.events(agent)
    check_events(events)
    (end, _) = of(events, "tool_end")
    assert (end.state, end.error.code) == (common_pb2.TOOL_CALL_STATE_CANCELED, 1)
    (controlled,) = of(events, "tool_control")
    assert (controlled.call_id, controlled.state, controlled.requested_by) == ("c1", end.state, "ann")
    assert of(events, "error") == []  # nothing went wrong
    with pytest.raises(errors.WrongState):
        await tool_control.control(agent, request("c1"), "ann")


async def test_stopping_a_question_withdraws_it(world: World) -> None:
    agent = await world.agent([call("AskUserQuestion", "c1", questions=[{"question": "?"}])], ["done"])
    accepted = await world.say(agent)
    await world.seen(agent, "user_input_request")
    assert await tool_control.control(agent, request("c1"), "ann") == common_pb2.TOOL_CALL_STATE_CANCELED
    turn = await world.ended(agent, accepted)
    assert list(turn.pending_ids) == []
    events = await world.events(agent)
    check_events(events)
    assert payload(next(e for e in events if e.event_type == "control.request_resolved")).decided_by == "ann"


async def test_what_does_not_run_cannot_be_stopped(world: World) -> None:
    agent = await world.agent([call("plain", "c1")], ["done"], permission_mode=agent_pb2.PERMISSION_MODE_ALWAYS_ASK)
    await world.say(agent)
    (asked,) = await world.asked(agent)
    with pytest.raises(errors.WrongState) as caught:
        await tool_control.control(agent, request("c1"), "ann")
    assert caught.value.facts == {"call_id": "c1", "state": "TOOL_CALL_STATE_WAITING"}
    with pytest.raises(errors.ToolCallNotFound):
        await tool_control.control(agent, request("c9"), "ann")
    await world.approve(agent, asked.pending_id)


@pytest.mark.parametrize("action", [1, 2])
async def test_no_tool_can_be_paused(world: World, action: int) -> None:
    agent = await world.agent([call("held", "c1")], ["done"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    with pytest.raises(errors.WrongState):
        await tool_control.control(agent, request("c1", action), "ann")
    world.box.hold.set()
    await world.ended(agent, accepted)
    assert results(await world.messages(agent))["c1"]["ok"]
