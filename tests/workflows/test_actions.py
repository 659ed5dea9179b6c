"""What single steps do: turns, tools, functions, approvals, waits and other workflows."""

import asyncio
from typing import Any

import grpc
import pytest
from services.helpers import LIMIT, STUCK
from workflows.conftest import Bench
from workflows.plans import call, loop, say, sequence, step, together, told

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    common_pb2,
    control_service_pb2,
    session_service_pb2,
    stars_service_pb2,
    workflow_pb2,
)
from asteros import clock

pytestmark = pytest.mark.anyio
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED
FAILED = workflow_pb2.WORKFLOW_RUN_STATE_FAILED
WAITING = workflow_pb2.WORKFLOW_RUN_STATE_WAITING
AUTO = agent_pb2.PERMISSION_MODE_AUTO_APPROVE


async def test_a_turn_of_an_agent(bench: Bench) -> None:
    run = await bench.run(sequence("all", say("a", input="hello"), say("b")))
    assert (run.state, run.output) == (SUCCEEDED, "hello")
    assert run.usage.total_tokens > 0
    a, b = run.steps[1], run.steps[2]
    turns = [
        (await bench.server.agents.GetTurn(agent_service_pb2.GetTurnRequest(agent_id="echo", turn_id=one.turn_id))).turn
        for one in (a, b)
    ]
    assert {turn.workflow_run_id for turn in turns} == {run.id}
    assert turns[0].session_id == turns[1].session_id  # one of its own for each run


async def test_the_session_may_be_named(bench: Bench) -> None:
    session = session_service_pb2.CreateSessionRequest(agent_id="echo", session_id="talk-7")
    await bench.server.sessions.CreateSession(session)
    run = await bench.run(step("a", agent={"agentId": "echo", "sessionId": "talk-${inputs.n}"}), inputs_json='{"n": 7}')
    turn = agent_service_pb2.GetTurnRequest(agent_id="echo", turn_id=run.steps[0].turn_id)
    assert (await bench.server.agents.GetTurn(turn)).turn.session_id == "talk-7"


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (say("a", "nobody"), "AGENT_NOT_FOUND"),
        (step("a", agent={"agentId": "echo", "sessionId": "none"}), "SESSION_NOT_FOUND"),
        (step("a", workflow={"workflowId": "none"}), "WORKFLOW_NOT_FOUND"),
        (step("a", wait={"time": "soon"}), "EXPRESSION_FAILED"),
        (step("a", wait={"time": "2999-01-01T00:00:00Z"}), "EXPRESSION_FAILED"),
        (call("a", "number"), "TOOL_FAILED"),
        (call("a", input="${steps['x']}"), "EXPRESSION_FAILED"),
        (call("a", when="inputs.yes"), "EXPRESSION_FAILED"),
        (call("a", output="inputs.yes.no"), "EXPRESSION_FAILED"),
        (step("a", tool={"agentId": "echo", "toolName": "Nothing"}), "TOOL_FAILED"),
    ],
)
async def test_what_cannot_be_done_fails_the_run(bench: Bench, plan: dict[str, Any], expected: str) -> None:
    run = await bench.run(plan, inputs_json='{"yes": "no"}')
    assert run.state == FAILED
    assert expected in str(run.error)
    assert told(run.steps) == "a=FAILED"
    assert run.steps[0].error == run.error


async def test_a_tool_runs_in_the_agents_workspace_and_asks_no_model(bench: Bench) -> None:
    agent = await bench.server.agent(template_id="assistant", permission_mode=AUTO)
    write = step(
        "w", tool={"agentId": agent, "toolName": "Write"}, input='{"file_path": "a.txt", "content": "${input}"}'
    )
    read = step("r", tool={"agentId": agent, "toolName": "Read"}, input='{"file_path": "a.txt"}')
    run = await bench.run(sequence("all", write, read, output="parse_json(result).content"), "hi there")
    assert "hi there" in run.output
    assert run.usage.total_tokens == 0
    events = [event.event_type for event in await bench.events(run)]
    assert events.count("progress.tool_start") == events.count("progress.tool_end") == 2
    assert "monitor.model_call" not in events


async def test_a_tool_that_needs_a_yes_waits_for_it(bench: Bench) -> None:
    agent = await bench.server.agent(template_id="assistant")
    plan = step("w", tool={"agentId": agent, "toolName": "Write"}, input='{"file_path": "a.txt", "content": "x"}')
    run = await bench.begin(plan)
    await bench.events(run, "tool_approval_request {")
    listed = control_service_pb2.ListPendingApprovalsRequest(workflow_run_id=run.id)
    (pending,) = (await bench.server.control.ListPendingApprovals(listed)).pending
    assert pending.workflow_run_id == run.id
    decision = control_service_pb2.ApproveToolCallRequest(
        agent_id=agent, pending_id=pending.id, decision=control_service_pb2.DECISION_ALLOW
    )
    await bench.server.control.ApproveToolCall(decision)
    assert (await bench.ended(run)).state == SUCCEEDED


async def test_a_denied_tool_fails_the_step(bench: Bench) -> None:
    agent = await bench.server.agent(
        template_id="assistant", tool_permissions={"Write": common_pb2.PERMISSION_POLICY_DENY}
    )
    plan = step("w", tool={"agentId": agent, "toolName": "Write"}, input='{"file_path": "a.txt", "content": "x"}')
    run = await bench.run(plan)
    assert run.state == FAILED
    assert "denies Write" in run.error.message


async def test_a_function_may_be_a_plain_one(bench: Bench) -> None:
    assert (await bench.run(call("a", "thread"), "abc")).output == "cba"


async def test_a_person_says_yes(bench: Bench) -> None:
    run = await bench.begin(sequence("all", step("ok", approval={}, input="Release ${input}?"), call("after")))
    asked = await bench.asked(run)
    assert (asked.prompt, asked.step_id, asked.workflow_id) == ("Release go?", "ok", run.workflow_id)
    waiting = await bench.look(run)
    assert waiting.state == WAITING
    assert list(waiting.pending_ids) == [asked.pending_id]
    listed = control_service_pb2.ListPendingApprovalsRequest(workflow_run_id=run.id)
    (pending,) = (await bench.server.control.ListPendingApprovals(listed)).pending
    assert pending.id == asked.pending_id
    assert not pending.agent_id
    decided = await bench.decide(run, asked.pending_id, note="fine")
    assert decided.resolution.note == "fine"
    run = await bench.ended(run)
    assert (run.state, run.output, list(run.pending_ids)) == (SUCCEEDED, "fine", [])
    assert (await bench.decide(run, asked.pending_id)).resolution == decided.resolution
    with pytest.raises(grpc.aio.AioRpcError, match="resolved before"):
        await bench.decide(run, asked.pending_id, allow=False)


async def test_a_no_fails_the_step(bench: Bench) -> None:
    run = await bench.begin(step("ok", approval={}, fallback=call("f", input="no: ${previous}")))
    asked = await bench.asked(run)
    await bench.decide(run, asked.pending_id, allow=False)
    run = await bench.ended(run)
    assert run.state == SUCCEEDED
    assert "APPROVAL_DENIED" in run.output
    assert asked.pending_id in run.output
    assert told(run.steps) == "ok=FAILED f"


async def test_nobody_answers_in_time(bench: Bench) -> None:
    run = await bench.run(step("ok", approval={"expireAfter": "0.05s"}))
    assert run.state == FAILED
    kinds = [event.event_type for event in await bench.events(run)]
    assert kinds.count("control.request_resolved") == 1


async def test_an_unknown_request_is_not_found(bench: Bench) -> None:
    run = await bench.begin(step("ok", approval={}))
    asked = await bench.asked(run)
    other = await bench.begin(step("ok", approval={}))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bench.decide(other, asked.pending_id)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_some_time_passes(bench: Bench) -> None:
    at = clock.timestamp(clock.now() + 100_000_000).ToJsonString()
    plan = sequence("all", step("w", wait={"duration": "0.05s"}), step("t", wait={"time": "${inputs.at}"}))
    run = await bench.run(plan, inputs_json=f'{{"at": "{at}"}}')
    assert (run.state, run.output) == (SUCCEEDED, "go")
    wait = run.steps[1]
    assert clock.nanos(wait.end_time) - clock.nanos(wait.start_time) >= 50_000_000
    assert clock.nanos(run.steps[2].end_time) >= clock.nanos(clock.timestamp(0))


async def test_the_run_waits_when_all_that_could_go_on_waits(bench: Bench) -> None:
    run = await bench.begin(together("all", step("ok", approval={}), call("h", "held", input="h")))
    asked = await bench.asked(run)
    await bench.in_progress("h")
    assert (await bench.look(run)).state == workflow_pb2.WORKFLOW_RUN_STATE_RUNNING
    bench.let("h")
    await bench.events(run, "state: WORKFLOW_RUN_STATE_WAITING")
    assert (await bench.look(run)).state == WAITING
    await bench.decide(run, asked.pending_id, note="n")
    assert (await bench.ended(run)).output == "n\n\nh"


async def test_a_workflow_inside_another(bench: Bench) -> None:
    inner = await bench.create(sequence("all", say("a", input="${input}!"), call("b")))
    run = await bench.run(loop("l", step("w", workflow={"workflowId": inner}), most=2))
    assert (run.state, run.output) == (SUCCEEDED, "go!!")
    assert run.usage.total_tokens > 0
    request = agent_service_pb2.ListTurnsRequest(agent_id="echo", page_size=2)
    turns = (await bench.server.agents.ListTurns(request)).turns
    assert len({turn.workflow_run_id for turn in turns} - {run.id}) == 2


async def test_a_failed_workflow_inside_fails_its_step(bench: Bench) -> None:
    inner = await bench.create(call("x", "fail", input="boom"))
    run = await bench.run(step("w", workflow={"workflowId": inner}))
    assert (run.state, told(run.steps)) == (FAILED, "w=FAILED")


async def test_a_star_works_on_its_task(bench: Bench) -> None:
    for name in ("s1", "s2"):
        await bench.server.agent("echo", name)
    members = [stars_service_pb2.StarMember(name=name, agent_id=name, role="worker") for name in ("s1", "s2")]
    team = stars_service_pb2.CreateStarRequest(star_id="team", members=members, strategy="round_robin")
    await bench.server.stars.CreateStar(team)
    run = await bench.run(sequence("all", step("s", star={"starId": "team"}, input="task ${input}"), call("b")))
    assert run.state == SUCCEEDED, run.error
    assert "task go" in run.output
    assert run.usage.total_tokens > 0
    assert run.steps[1].agent_id in ("s1", "s2")
    turns = {event.agent_id for event in await bench.events(run) if event.agent_id}
    assert turns <= {"s1", "s2"}


async def test_a_star_that_is_not_there_fails_its_step(bench: Bench) -> None:
    run = await bench.run(step("s", star={"starId": "nobody"}, onError="WORKFLOW_ON_ERROR_CONTINUE"))
    assert (run.state, told(run.steps)) == (SUCCEEDED, "s=FAILED")
    assert "STAR_NOT_FOUND" in str(run.steps[0].error)


# -- budgets ------------------------------------------------------------------------------


async def test_a_budget_holds_for_all_turns_together(bench: Bench) -> None:
    agent = await bench.server.agent()
    budget = common_pb2.Budget(max_steps=2)
    run = await bench.run(loop("l", say("a", agent), most=5), budget=budget)
    assert run.state == FAILED
    assert "BUDGET_EXCEEDED" in str(run.error)
    assert told(run.steps) == "l=FAILED a.1 a.2 a.3=FAILED"


async def test_the_time_of_a_budget_is_used_up(bench: Bench) -> None:
    budget = common_pb2.Budget(max_duration=clock.duration(0.05))
    plan = sequence("all", call("h", "held", input="h"), call("after"))
    run = await bench.begin(plan, budget=budget)
    await bench.in_progress("h")
    await asyncio.sleep(0.06)  # the time itself is what is tested
    bench.let("h")
    run = await bench.ended(run)
    assert "max_duration" in run.error.message
    assert bench.did == []


async def test_an_interrupted_turn_fails_its_step(bench: Bench) -> None:
    agent = await bench.server.agent(bench.server.script("stuck", STUCK))
    run = await bench.begin(say("a", agent))
    await bench.events(run, "text_chunk {")
    turn_id = (await bench.look(run)).steps[0].turn_id
    async with asyncio.timeout(LIMIT):
        await bench.server.agents.Interrupt(agent_service_pb2.InterruptRequest(agent_id=agent, turn_id=turn_id))
    run = await bench.ended(run)
    assert (run.state, told(run.steps)) == (FAILED, "a=FAILED")
    assert "TURN_INTERRUPTED" in str(run.error)
