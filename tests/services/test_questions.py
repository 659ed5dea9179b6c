"""ControlService: answers to an agent's questions, and more steps for its turn."""

import json
from typing import Any

import pytest
from services.helpers import Server, refused

from aster.v1 import agent_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control

pytestmark = pytest.mark.anyio
ALLOW, DENY = control.DECISION_ALLOW, control.DECISION_DENY
ANSWERED, DENIED = event_pb2.RESOLUTION_OUTCOME_ANSWERED, event_pb2.RESOLUTION_OUTCOME_DENIED
MULTI = """\
- - tool: {name: AskUserQuestion, id: call_ask, input: {questions: [
      {question: "Which?", multi_select: true, options: [{label: A}, {label: B}, {label: C}]}]}}
- - text: thanks
"""


async def respond(server: Server, agent_id: str, pending_id: str, **answer: Any) -> control.PendingRequest:
    request = control.RespondToInputRequestRequest(agent_id=agent_id, pending_id=pending_id, **answer)
    return (await server.control.RespondToInputRequest(request)).pending


async def multi(server: Server) -> tuple[str, event_pb2.Event]:
    """A question with several answers."""
    agent_id = await server.agent(server.script("multi", MULTI), tools=["AskUserQuestion"])
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x"))
    return agent_id, await server.seen(agent_id, "control.user_input_request")


async def result(server: Server, agent_id: str, turn_id: str) -> dict[str, Any]:
    """What the model was told."""
    await server.ended(agent_id, turn_id)
    end = (await server.seen(agent_id, "progress.tool_end")).progress.tool_end
    return dict(json.loads(end.result.output_json))


async def test_the_question(server: Server) -> None:
    agent_id, event = await server.asking("ask Which one? [Red|Green]")
    asked = event.control.user_input_request
    assert "Which one?" in asked.prompt
    assert [option.label for option in asked.options] == ["Red", "Green"]
    assert (asked.multi_select, asked.pending_id) == (False, event.id)
    await respond(server, agent_id, event.id, text="x")


ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"option_indexes": [1]}, "Green"),
    ({"text": "Neither"}, "Neither"),
    ({"option_indexes": [0], "text": "but dark"}, "Red\nbut dark"),
]


@pytest.mark.parametrize(("given", "answer"), ANSWERS)
async def test_one_answer(server: Server, given: dict[str, Any], answer: str) -> None:
    agent_id, event = await server.asking("ask Which one? [Red|Green]")
    pending = await respond(server, agent_id, event.id, **given)
    assert (pending.resolution.outcome, pending.resolution.answer) == (ANSWERED, answer)
    assert pending.resolution.decided_by == "local"
    told = await result(server, agent_id, event.turn_id)
    assert (told["ok"], [each["answer"] for each in told["answers"]]) == (True, [answer])


async def test_several_options(server: Server) -> None:
    agent_id, event = await multi(server)
    pending = await respond(server, agent_id, event.id, option_indexes=[0, 2])
    assert pending.resolution.answer == "A\nC"
    assert (await result(server, agent_id, event.turn_id))["answers"][0]["answer"] == "A\nC"


async def test_dismiss(server: Server) -> None:
    agent_id, event = await multi(server)
    pending = await respond(server, agent_id, event.id, dismiss=True)
    assert pending.resolution.outcome == DENIED
    told = await result(server, agent_id, event.turn_id)
    assert (told["ok"], told["unanswered"]) == (False, ["Which?"])


async def test_options_that_are_none(server: Server) -> None:
    agent_id, event = await server.asking("ask Which one? [Red|Green]")
    for wrong in ([2], [-1], [0, 1]):
        call = respond(server, agent_id, event.id, option_indexes=wrong)
        refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
        assert refusal.fields == ["option_indexes"]


async def test_again_and_contrary(server: Server) -> None:
    agent_id, event = await multi(server)
    first = await respond(server, agent_id, event.id, text="yes")
    assert await respond(server, agent_id, event.id, text="yes") == first
    for other in ({"text": "no"}, {"dismiss": True}):
        call = respond(server, agent_id, event.id, **other)
        refusal = await refused(call, "FAILED_PRECONDITION", "REQUEST_ALREADY_RESOLVED", "PreconditionFailure")
        assert refusal.metadata["decided_by"] == "local"


# -- the iteration limit --------------------------------------------------------------------

# Two steps with a tool, then the end.
STEPS = "- - tool: {name: Ls, input: {path: .}}\n- - tool: {name: Ls, input: {path: .}}\n- - text: end\n"


async def limited(server: Server, steps: int = 1) -> tuple[str, event_pb2.Event]:
    """A turn that has reached its limit."""
    agent_id = await server.agent(server.script("steps", STEPS), tools=["Ls"], iteration_limit=steps)
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x"))
    return agent_id, await server.seen(agent_id, "control.iteration_limit")


async def go_on(server: Server, agent_id: str, pending_id: str, decision: int, steps: int = 0) -> Any:
    request = control.RespondToIterationLimitRequest(
        agent_id=agent_id,
        pending_id=pending_id,
        decision=decision,
        additional_steps=steps,  # type: ignore[arg-type]
    )
    return (await server.control.RespondToIterationLimit(request)).pending


async def test_more_steps(server: Server) -> None:
    agent_id, event = await limited(server)
    reached = event.control.iteration_limit
    assert (reached.current_step, reached.iteration_limit) == (1, 1)
    await go_on(server, agent_id, event.id, ALLOW, 5)
    turn = await server.ended(agent_id, event.turn_id)
    assert (turn.stop_reason, turn.step_count) == (agent_pb2.STOP_REASON_END_TURN, 3)


async def test_as_many_steps_again(server: Server) -> None:
    """Without a number it is the limit once more, and then it asks again."""
    agent_id, first = await limited(server)
    await go_on(server, agent_id, first.id, ALLOW)
    while True:
        found = (
            await server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(agent_id=agent_id))
        ).pending
        if found:
            break
    assert found[0].id != first.id
    assert found[0].iteration_limit.current_step == 2
    await go_on(server, agent_id, found[0].id, ALLOW)
    assert (await server.ended(agent_id, first.turn_id)).step_count == 3


async def test_no_more_steps(server: Server) -> None:
    """The turn has completed, with what was said so far; Chat answers OK."""
    agent_id, event = await limited(server)
    await go_on(server, agent_id, event.id, DENY)
    turn = await server.ended(agent_id, event.turn_id)
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_ITERATION_LIMIT)


async def test_no_limit(server: Server) -> None:
    agent_id = await server.agent(server.script("steps", STEPS), tools=["Ls"], iteration_limit=0)
    turn = (await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x"), timeout=10)).turn
    assert turn.step_count == 3
