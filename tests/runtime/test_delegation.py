"""Turns given to helpers: their events and rights, and that they end with the turn that began them."""

from pathlib import Path
from typing import Any

import pytest
from runtime.helpers import ASK_ALWAYS, World, call, kinds, of, results

from aster.v1 import agent_pb2, common_pb2
from asteros.runtime.agent import Agent

pytestmark = pytest.mark.anyio

COMPLETED = agent_pb2.TURN_STATE_COMPLETED
INTERRUPTED = agent_pb2.TURN_STATE_INTERRUPTED


async def _parent(world: World, helper: list[Any], *after: Any, **args: Any) -> Agent:
    """An agent that gives a task to a helper, which plays its own script."""
    world.script(*helper, name="helper")
    args = {"prompt": "look around", "description": "a look", "model": "script:helper", **args}
    config = {"tools": ["Task", "look", "plain", "held", "AskUserQuestion"]} | args.pop("config", {})
    return await world.agent([call("Task", "t1", **args)], *(after or (["done"],)), **config)


async def _helper(world: World, agent: Agent) -> agent_pb2.Turn:
    turns = await world.store.turns(agent.ref.key, "", "", 10)
    (turn,) = [turn for turn in turns if turn.parent_turn_id]
    return turn


async def test_a_helper_answers_the_call(world: World) -> None:
    usage = {"usage": {"input_tokens": 40, "output_tokens": 2}}
    agent = await _parent(world, [[usage, call("look", "", text="here")], [usage, "nothing here"]])
    turn = await world.turn(agent)
    helper = await _helper(world, agent)
    assert (turn.state, helper.state) == (COMPLETED, COMPLETED)
    assert (helper.parent_turn_id, helper.parent_call_id) == (turn.id, "t1")
    answer = results(await world.messages(agent))["t1"]
    assert answer == {
        "ok": True,
        "task_id": helper.id,
        "state": "completed",
        "description": "a look",
        "result": "nothing here",
        "steps": 2,
        "tokens": 84,
    }
    assert world.box.did == ["look here"]
    assert turn.usage.total_tokens >= 84 == helper.usage.total_tokens
    session = await world.store.session("default", helper.session_id)
    assert session is not None
    assert (session[1].parent_session_id, session[1].title) == (turn.session_id, "a look")


async def test_its_events_name_their_parent(world: World) -> None:
    agent = await _parent(world, [[call("look", "")], ["ok"]])
    turn = await world.turn(agent)
    helper = await _helper(world, agent)
    events = await world.events(agent)
    own = [event for event in events if event.turn_id == helper.id]
    assert {(event.parent_turn_id, event.parent_call_id) for event in own} == {(turn.id, "t1")}
    assert "tool_start tool_end" in kinds(own)
    assert kinds(own).endswith("complete")
    assert kinds(events).endswith("complete state_changed")
    assert [event.turn_id for event in events if event.event_type == "progress.complete"] == [helper.id, turn.id]


@pytest.mark.parametrize("kind", ["Explore", "Plan"])
async def test_a_reader_has_only_tools_that_read(world: World, kind: str) -> None:
    agent = await _parent(world, [[call("plain", "p1")], ["ok"]], subagent_type=kind)
    await world.turn(agent)
    helper = await _helper(world, agent)
    stored = await world.store.messages("default", helper.session_id, 0, 0)
    assert results([message for _, message in stored])["p1"]["ok"] is False
    assert world.box.did == []


@pytest.mark.parametrize("tool", ["Task", "AskUserQuestion", "Write"])
async def test_it_has_no_more_rights_than_its_parent(world: World, tool: str) -> None:
    arguments = {"Task": {"prompt": "x"}, "AskUserQuestion": {"questions": [{"question": "?"}]}}
    wanted = call(tool, "w1", **arguments.get(tool, {"file_path": "x", "content": "y"}))
    agent = await _parent(world, [[wanted], ["ok"]])
    await world.turn(agent)
    helper = await _helper(world, agent)
    stored = await world.store.messages("default", helper.session_id, 0, 0)
    assert results([message for _, message in stored])["w1"]["ok"] is False


async def test_what_it_may_do_is_asked_and_answered(world: World) -> None:
    agent = await _parent(world, [[call("plain", "p1", text="x")], ["ok"]], config={"permission_mode": ASK_ALWAYS})
    accepted = await world.say(agent)
    (parents,) = await world.asked(agent)
    await world.approve(agent, parents.call.id)
    _, helpers = await world.asked(agent, 2)
    assert helpers.call.name == "plain"
    assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_WAITING
    await world.approve(agent, helpers.call.id)
    turn = await world.ended(agent, accepted)
    assert (turn.state, world.box.did) == (COMPLETED, ["plain x"])


async def test_an_interrupt_reaches_it(world: World) -> None:
    agent = await _parent(world, [[call("held", "h1")], ["unreached"]])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    turn = await agent.interrupt(accepted.turn.id, "enough")
    helper = await _helper(world, agent)
    assert (turn.state, helper.state) == (INTERRUPTED, INTERRUPTED)
    events = await world.events(agent)
    ends = [event.turn_id for event in events if event.event_type == "progress.complete"]
    assert ends == [helper.id, turn.id]
    assert agent.delegations.runs == []


async def test_it_may_be_interrupted_alone(world: World) -> None:
    agent = await _parent(world, [["some ", call("held", "h1")], ["unreached"]])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    (run,) = agent.delegations.runs
    assert (await agent.interrupt(run.turn.id, "enough")).state == INTERRUPTED
    turn = await world.ended(agent, accepted)
    assert turn.state == COMPLETED
    answer = results(await world.messages(agent))["t1"]
    assert (answer["ok"], answer["state"]) == (False, "stopped")


async def test_its_time_is_up(world: World) -> None:
    agent = await _parent(world, [[call("held", "h1")], ["unreached"]], timeout_minutes=0.001)
    turn = await world.turn(agent)
    answer = results(await world.messages(agent))["t1"]
    assert (turn.state, answer["ok"], answer["state"]) == (COMPLETED, False, "stopped")
    assert (await _helper(world, agent)).state == INTERRUPTED


async def test_beside_its_caller(world: World) -> None:
    """Begun with async, asked about, and waited for."""
    world.script([call("look", "", text="far")], ["found"], name="helper")
    begin = call("Task", "t1", prompt="look", model="script:helper", **{"async": True})
    agent = await world.agent([begin, call("Task", "t2", action="list")], ["done"], tools=["Task", "look"])
    turn = await world.turn(agent)
    answers = results(await world.messages(agent))
    assert (answers["t1"]["state"], turn.state) == ("running", COMPLETED)
    assert [task["task_id"] for task in answers["t2"]["tasks"]] == [answers["t1"]["task_id"]]
    assert (await _helper(world, agent)).state in (COMPLETED, INTERRUPTED)
    task_id = answers["t1"]["task_id"]
    world.script([call("Task", "t3", action="wait", task_id=task_id)], ["done"], name="a1")
    await world.turn(agent)
    assert results(await world.messages(agent))["t3"]["task_id"] == task_id


async def test_it_ends_with_the_turn_that_began_it(world: World) -> None:
    world.script([call("held", "h1")], ["unreached"], name="helper")
    begin = call("Task", "t1", prompt="hold", model="script:helper", **{"async": True})
    agent = await world.agent([begin, call("look", "")], ["done"], tools=["Task", "look", "held"])
    turn = await world.turn(agent)
    helper = await _helper(world, agent)
    assert (turn.state, helper.state) == (COMPLETED, INTERRUPTED)


@pytest.mark.parametrize("args", [{"prompt": ""}, {"action": "wait", "task_id": "trn_x"}, {"model": "script:none"}])
async def test_what_cannot_be_begun(world: World, args: dict[str, Any]) -> None:
    agent = await _parent(world, [["x"]], **args)
    turn = await world.turn(agent)
    assert turn.state == COMPLETED
    assert results(await world.messages(agent))["t1"]["ok"] is False


async def test_its_use_counts_against_the_budget(world: World) -> None:
    usage = {"usage": {"input_tokens": 4000, "output_tokens": 100}}
    helper = [[usage, call("look", "")]] * 4
    budget = common_pb2.Budget(max_tokens=9000)
    agent = await _parent(world, [*helper, ["x"]], config={"turn_budget": budget})
    turn = await world.turn(agent)
    stopped = await _helper(world, agent)
    assert (stopped.stop_reason, stopped.usage.total_tokens) == (agent_pb2.STOP_REASON_BUDGET, 8200)
    assert 8200 < turn.usage.total_tokens <= 9000  # its own two calls had room


async def test_a_crash_in_the_middle(world: World, tmp_path: Path) -> None:
    """The helper goes on where it was, once, and the call gets its answer."""
    agent = await _parent(world, [[call("plain", "p1", text="once"), call("held_read", "h1")], ["found"]], config={
        "tools": ["Task", "plain", "held_read"]
    })  # fmt: skip
    await world.say(agent)
    await world.seen(agent, "tool_start", 3)
    crashed = world.copy(tmp_path / "crashed")
    async with World(crashed) as after:
        after.box.hold.set()
        again = await after.awake(agent.ref.key)
        (turn,) = [row.turn for row in await after.store.unfinished_turns(1) if not row.turn.parent_turn_id]
        ended = await again.mailbox.wait(turn.id)
        assert ended.state == COMPLETED
        assert results(await after.messages(again))["t1"]["result"] == "found"
        assert (await _helper(after, again)).state == COMPLETED
        assert after.box.did == ["held_read "]  # "plain" had ended before the crash
        assert len(of(await after.events(again), "agent_resumed")) == 2
    world.box.hold.set()
