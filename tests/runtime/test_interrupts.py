"""A turn is stopped wherever it is, and ends exactly once."""

import asyncio

import pytest
from events.fakes import settled
from runtime.helpers import ASK_ALWAYS, World, call, check_events, check_history, kinds, of, results, shape

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.runtime import turn as turns
from asteros.runtime.agent import Agent
from asteros.runtime.mailbox import Accepted

pytestmark = pytest.mark.anyio

BEGIN = "state_changed state_changed "
MODEL = "model_call token_usage "
LONG = {"pause": 50}


async def _stopped(world: World, agent: Agent, accepted: Accepted) -> agent_pb2.Turn:
    """Interrupts the turn; what holds wherever it was."""
    async with asyncio.timeout(5):
        turn = await agent.mailbox.interrupt(accepted.turn.id, "enough")
    assert (turn.state, turn.stop_reason) == (
        agent_pb2.TURN_STATE_INTERRUPTED,
        agent_pb2.STOP_REASON_INTERRUPTED,
    )
    assert turn.HasField("end_time")
    events = await world.events(agent)
    check_events(events)
    check_history(await world.messages(agent))
    (complete,) = of(await world.events(agent, turn.id), "complete")
    assert (complete.state, complete.stop_reason) == (turn.state, turn.stop_reason)
    assert await world.store.open_pending("default", agent.ref.key, "", 9) == []
    return turn


async def _still_well(world: World, agent: Agent) -> None:
    """The agent is idle, and takes its next turn."""
    assert agent.lifecycle.status.state == agent_pb2.AGENT_STATE_STARTED
    assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE
    await agent.conversations.system_message("go on", "", None)
    assert agent.idle


async def test_in_text_what_was_said_is_kept(world: World) -> None:
    agent = await world.agent([{"text": "half"}, LONG, "never"])
    accepted = await world.say(agent)
    await world.seen(agent, "text_chunk")
    turn = await _stopped(world, agent, accepted)
    assert kinds(await world.events(agent)) == BEGIN + "text_chunk complete state_changed"
    assert shape(await world.messages(agent)) == "u a"
    assert turn.reply.content[0].text == "half"
    await _still_well(world, agent)


async def test_before_the_first_word(world: World) -> None:
    agent = await world.agent([LONG])
    accepted = await world.say(agent)
    await settled()
    await _stopped(world, agent, accepted)
    assert kinds(await world.events(agent)) == BEGIN + "complete state_changed"
    assert shape(await world.messages(agent)) == "u"


async def test_in_a_tool(world: World) -> None:
    agent = await world.agent([call("held", "c1")], ["never"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    await _stopped(world, agent, accepted)
    events = await world.events(agent)
    assert kinds(events) == BEGIN + MODEL + "tool_start tool_progress tool_end tool_execution complete state_changed"
    (end,) = of(events, "tool_end")
    assert end.state == common_pb2.TOOL_CALL_STATE_CANCELED
    assert b"TURN_INTERRUPTED" in end.error.SerializeToString()
    assert results(await world.messages(agent)) == {"c1": {"ok": False, "error": "interrupted"}}
    await _still_well(world, agent)


async def test_with_one_tool_done_one_running_and_one_not_begun(world: World) -> None:
    agent = await world.agent([call("plain", "c1"), call("held", "c2"), call("plain", "c3")], ["never"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    await _stopped(world, agent, accepted)
    told = results(await world.messages(agent))
    assert [told[name]["ok"] for name in ("c1", "c2", "c3")] == [True, False, False]
    assert world.box.did == ["plain ", "held "]
    assert len(of(await world.events(agent), "tool_execution")) == 3
    calls = await world.store.tool_calls(agent.ref.key, accepted.turn.id, 1)
    canceled = common_pb2.TOOL_CALL_STATE_CANCELED
    assert [c.record.state for c in calls] == [common_pb2.TOOL_CALL_STATE_COMPLETED, canceled, canceled]


async def test_in_an_approval_the_request_is_withdrawn(world: World) -> None:
    agent = await world.agent([call("plain", "c1")], ["never"], permission_mode=ASK_ALWAYS)
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    await _stopped(world, agent, accepted)
    events = await world.events(agent)
    assert kinds(events) == (
        BEGIN + MODEL + "governance tool_approval_request state_changed "
        "request_resolved tool_execution complete state_changed"
    )
    with pytest.raises(errors.RequestAlreadyResolved) as late:
        await world.approve(agent, asked.pending_id)
    assert late.value.facts["outcome"] == "WITHDRAWN"
    assert world.box.did == []
    await _still_well(world, agent)


async def test_a_question_is_withdrawn(world: World) -> None:
    agent = await world.agent([call("AskUserQuestion", "c1", questions=[{"question": "Really?"}])], ["never"])
    accepted = await world.say(agent)
    await world.seen(agent, "user_input_request")
    await _stopped(world, agent, accepted)
    assert len(of(await world.events(agent), "request_resolved")) == 1


async def test_while_queued_it_never_begins(world: World) -> None:
    agent = await world.agent([call("held")], ["ok"])
    first = await world.say(agent, "one")
    await world.seen(agent, "tool_progress")
    second, third = await world.say(agent, "two"), await world.say(agent, "three")
    async with asyncio.timeout(5):
        turn = await agent.mailbox.interrupt(second.turn.id, "")
    assert turn.state == agent_pb2.TURN_STATE_INTERRUPTED
    assert kinds(await world.events(agent, second.turn.id)) == "complete"
    world.box.hold.set()
    for accepted in (first, third):
        assert (await world.ended(agent, accepted)).state == agent_pb2.TURN_STATE_COMPLETED
    assert shape(await world.messages(agent)) == "u a1 t1 a u a1 t1 a"
    check_events(await world.events(agent))


async def test_right_at_the_end_the_turn_has_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while its end is being written: one end, and it is the real one."""
    agent = await world.agent(["Hi."])
    interrupted: list[asyncio.Task[agent_pb2.Turn]] = []
    seal = turns.TurnRun._seal

    async def late(self: turns.TurnRun) -> object:
        interrupted.append(asyncio.create_task(agent.mailbox.interrupt("", "late")))
        await settled()
        return await seal(self)

    monkeypatch.setattr(turns.TurnRun, "_seal", late)
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert (await interrupted[0]).state == agent_pb2.TURN_STATE_COMPLETED
    check_events(await world.events(agent))


async def test_twice_and_after_the_end_is_ok(world: World) -> None:
    agent = await world.agent([LONG])
    accepted = await world.say(agent)
    await settled()
    both = await asyncio.gather(*(agent.mailbox.interrupt(accepted.turn.id, str(n)) for n in range(2)))
    assert both[0] == both[1]
    assert await agent.mailbox.interrupt(accepted.turn.id, "again") == both[0]
    check_events(await world.events(agent))


async def test_at_once_after_it_was_accepted(world: World) -> None:
    agent = await world.agent([LONG])
    accepted = await world.say(agent)
    await _stopped(world, agent, accepted)


async def test_without_a_turn_there_is_nothing_to_interrupt(world: World) -> None:
    agent = await world.agent(["Hi."])
    with pytest.raises(errors.WrongState):
        await agent.mailbox.interrupt("", "")
    with pytest.raises(errors.TurnNotFound):
        await agent.mailbox.interrupt("trn_no", "")


async def test_a_decision_and_an_interrupt_at_once_leave_one_resolution(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision comes after the end has looked at the open requests, and before it is written."""
    agent = await world.agent([call("plain", "c1")], ["never"], permission_mode=ASK_ALWAYS)
    accepted = await world.say(agent)
    (asked,) = await world.asked(agent)
    deciding: list[asyncio.Task[object]] = []
    pending_of_turn = world.store.pending_of_turn

    async def then_decide(key: int, turn_id: str) -> object:
        found = await pending_of_turn(key, turn_id)
        deciding.append(asyncio.create_task(world.approve(agent, asked.pending_id)))
        await asyncio.wait(deciding, timeout=0.2)
        return found

    monkeypatch.setattr(world.store, "pending_of_turn", then_decide)
    await agent.mailbox.interrupt(accepted.turn.id, "enough")
    outcome = (await asyncio.gather(*deciding, return_exceptions=True))[0]
    check_events(await world.events(agent))
    row = await world.store.pending(agent.ref.key, asked.pending_id)
    assert row is not None
    (resolved,) = of(await world.events(agent), "request_resolved")
    assert row.pending.resolution == resolved
    assert isinstance(outcome, errors.RequestAlreadyResolved)
