"""Questions to people, and the limit of steps: raised, answered, expired."""

import pytest
from runtime.helpers import World, call, check_events, kinds, results, shape

from aster.v1 import agent_pb2, control_service_pb2, event_pb2
from asteros import errors
from asteros.runtime import decisions
from asteros.runtime.approvals import Resolved

pytestmark = pytest.mark.anyio


def _question(*options: str, multi: bool = False) -> dict[str, object]:
    return {"question": "Which?", "options": [{"label": label} for label in options], "multi_select": multi}


async def test_questions_are_answered_each_by_its_own(world: World) -> None:
    asks = call("AskUserQuestion", "c1", questions=[_question("A", "B"), _question("C", "D", multi=True)])
    agent = await world.agent([asks], ["ok"])
    accepted = await world.say(agent)
    asked = [e.control.user_input_request for e in await world.seen(agent, "user_input_request", 2)]
    wanted = {len(one.options): one for one in asked}
    assert len(wanted) == 1
    by_multi = {one.multi_select: one.pending_id for one in asked}
    request = control_service_pb2.RespondToInputRequestRequest
    with pytest.raises(errors.InvalidArgument):
        await decisions.answer(agent, request(pending_id=by_multi[False], option_indexes=[0, 1]), "ann")
    with pytest.raises(errors.InvalidArgument):
        await decisions.answer(agent, request(pending_id=by_multi[False], option_indexes=[2]), "ann")
    await decisions.answer(agent, request(pending_id=by_multi[True], option_indexes=[0, 1], text="and E"), "ann")
    await decisions.answer(agent, request(pending_id=by_multi[False], option_indexes=[1]), "ann")
    await world.ended(agent, accepted)
    answers = results(await world.messages(agent))["c1"]["answers"]
    assert [answer["answer"] for answer in answers] == ["B", "C\nD\nand E"]
    events = await world.events(agent)
    check_events(events)
    assert kinds(events).count("tool_end") == 1


async def test_a_dismissed_question_is_a_failure_the_model_sees(world: World) -> None:
    agent = await world.agent([call("AskUserQuestion", "c1", questions=[_question()])], ["ok"])
    accepted = await world.say(agent)
    (asked,) = await world.seen(agent, "user_input_request")
    dismiss = control_service_pb2.RespondToInputRequestRequest(pending_id=asked.id, dismiss=True)
    await decisions.answer(agent, dismiss, "ann")
    turn = await world.ended(agent, accepted)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert results(await world.messages(agent))["c1"]["ok"] is False


LIMIT_STEPS = [call("look", "", text="again")]


@pytest.mark.parametrize("how", ["deny", "expire", "allow"])
async def test_the_iteration_limit(world: World, how: str) -> None:
    agent = await world.agent(["first", *LIMIT_STEPS], iteration_limit=2, approval_timeout={"seconds": 3600})
    accepted = await world.say(agent)
    (event,) = await world.seen(agent, "iteration_limit")
    asked = event.control.iteration_limit
    assert (asked.current_step, asked.iteration_limit) == (2, 2)
    request = control_service_pb2.RespondToIterationLimitRequest(pending_id=event.id)
    if how == "allow":
        request.decision, request.additional_steps = control_service_pb2.DECISION_ALLOW, 3
        await decisions.go_on(agent, request, "ann")
        event = (await world.seen(agent, "iteration_limit", 2))[1]
        assert event.control.iteration_limit.current_step == 5
        request.pending_id = event.id
    if how == "expire":
        await agent.approvals.resolve(event.id, Resolved(outcome=event_pb2.RESOLUTION_OUTCOME_EXPIRED))
    else:
        request.decision = control_service_pb2.DECISION_DENY
        await decisions.go_on(agent, request, "ann")
    turn = await world.ended(agent, accepted)
    assert (turn.state, turn.stop_reason) == (
        agent_pb2.TURN_STATE_COMPLETED,
        agent_pb2.STOP_REASON_ITERATION_LIMIT,
    )
    steps = 5 if how == "allow" else 2
    assert turn.step_count == steps
    assert world.box.did == ["look again"] * steps
    assert turn.reply.content[0].text == "first"
    assert shape(await world.messages(agent)) == "u" + " a1 t1" * steps
    check_events(await world.events(agent))


async def test_no_limit_is_no_limit(world: World) -> None:
    steps = [LIMIT_STEPS] * 60
    agent = await world.agent(*steps, ["ok"], iteration_limit=0)
    assert (await world.turn(agent)).step_count == 61
    usual = await world.agent(*steps, ["ok"], agent_id="usual")
    await world.say(usual)
    (event,) = await world.seen(usual, "iteration_limit")
    assert event.control.iteration_limit.current_step == 50
