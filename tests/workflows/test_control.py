"""Retries, timeouts and what follows a failure; cancel, pause and resume."""

import asyncio

import grpc
import pytest
from services.helpers import LIMIT, STUCK
from workflows.conftest import Bench
from workflows.plans import call, loop, say, sequence, step, together, told

from aster.v1 import agent_pb2, agent_service_pb2, workflow_pb2
from aster.v1 import workflow_service_pb2 as pb

pytestmark = pytest.mark.anyio
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED
FAILED = workflow_pb2.WORKFLOW_RUN_STATE_FAILED
CANCELED = workflow_pb2.WORKFLOW_RUN_STATE_CANCELED
PAUSED = workflow_pb2.WORKFLOW_RUN_STATE_PAUSED
QUICK = {"maxRetries": 3, "initialBackoff": "0.001s"}
GO_ON = "WORKFLOW_ON_ERROR_CONTINUE"


def third_time(bench: Bench) -> None:
    """The function ``fail`` succeeds at its third call."""

    def answer(text: str) -> str:
        if len(bench.did) < 3:
            raise ValueError(text)
        return "at last"

    bench.answers["go"] = answer


async def cancel(bench: Bench, run: workflow_pb2.WorkflowRun) -> workflow_pb2.WorkflowRun:
    request = pb.CancelWorkflowRunRequest(workflow_id=run.workflow_id, run_id=run.id)
    async with asyncio.timeout(LIMIT):
        return (await bench.server.workflows.CancelWorkflowRun(request)).run


async def pause(bench: Bench, run: workflow_pb2.WorkflowRun) -> workflow_pb2.WorkflowRun:
    request = pb.PauseWorkflowRunRequest(workflow_id=run.workflow_id, run_id=run.id)
    return (await bench.server.workflows.PauseWorkflowRun(request)).run


async def resume(bench: Bench, run: workflow_pb2.WorkflowRun) -> workflow_pb2.WorkflowRun:
    request = pb.ResumeWorkflowRunRequest(workflow_id=run.workflow_id, run_id=run.id)
    return (await bench.server.workflows.ResumeWorkflowRun(request)).run


# -- failures -----------------------------------------------------------------------------


async def test_a_failed_step_is_tried_again(bench: Bench) -> None:
    third_time(bench)
    run = await bench.run(call("a", "fail", retry=QUICK))
    assert (run.state, run.output) == (SUCCEEDED, "at last")
    assert told(run.steps) == "a=FAILED a~2=FAILED a~3"


async def test_retries_come_to_an_end(bench: Bench) -> None:
    run = await bench.run(call("a", "fail", retry={**QUICK, "maxRetries": 2}))
    assert (run.state, len(run.steps), len(bench.did)) == (FAILED, 3, 3)


async def test_what_may_have_had_an_effect_is_not_repeated(bench: Bench) -> None:
    run = await bench.run(call("a", "fail_once", retry=QUICK))
    assert (told(run.steps), len(bench.did)) == ("a=FAILED", 1)
    bench.did.clear()
    inside = sequence("s", call("b", "once"), call("c", "fail", input="no"), retry=QUICK)
    run = await bench.run(inside)
    assert (told(run.steps), bench.did) == ("s=FAILED b c=FAILED", ["go", "no"])


async def test_a_failed_order_of_steps_is_done_again_from_its_beginning(bench: Bench) -> None:
    bench.answers["no"] = lambda text: text if bench.did.count(text) == 2 else (_ for _ in ()).throw(ValueError)
    run = await bench.run(sequence("s", call("b"), call("c", "fail", input="no"), retry=QUICK))
    assert (run.state, told(run.steps)) == (SUCCEEDED, "s=FAILED b c=FAILED s~2 b c")
    assert bench.did == ["go", "no", "go", "no"]


async def test_a_turn_with_a_tool_that_ran_is_not_repeated(bench: Bench) -> None:
    script = "- - tool: {name: Write, input: {file_path: a.txt, content: x}}\n- - fail: {kind: auth}\n"
    agent = await bench.server.agent(
        bench.server.script("writes", script), template_id="assistant",
        permission_mode=agent_pb2.PERMISSION_MODE_AUTO_APPROVE,
    )  # fmt: skip
    run = await bench.run(say("a", agent, retry=QUICK))
    assert (run.state, told(run.steps)) == (FAILED, "a=FAILED")


async def test_go_on_after_a_failure(bench: Bench) -> None:
    run = await bench.run(sequence("all", call("a", "fail", onError=GO_ON), call("b", input="[${previous}]")))
    assert (run.state, run.output, told(run.steps)) == (SUCCEEDED, "[]", "all a=FAILED b")


async def test_a_fallback_reads_the_error(bench: Bench) -> None:
    fallback = call("f", input="${parse_json(previous).details[0].reason}")
    run = await bench.run(sequence("all", call("a", "fail", fallback=fallback), call("b", input="${steps.a}")))
    assert (run.state, run.output, told(run.steps)) == (SUCCEEDED, "TOOL_FAILED", "all a=FAILED f b")


async def test_a_failed_branch_cancels_the_others(bench: Bench) -> None:
    agent = await bench.server.agent(bench.server.script("stuck", STUCK))
    run = await bench.begin(
        together("all", say("a", agent), sequence("s", call("h", "held", input="h"), call("f", "fail")))
    )
    await bench.events(run, "text_chunk {")
    await bench.in_progress("h")
    bench.let("h")
    run = await bench.ended(run)
    assert run.state == FAILED
    assert {told([one]) for one in run.steps} == {"all=FAILED", "a=CANCELED", "s=FAILED", "h", "f=FAILED"}
    turn = agent_service_pb2.GetTurnRequest(agent_id=agent, turn_id=run.steps[1].turn_id or run.steps[2].turn_id)
    assert (await bench.server.agents.GetTurn(turn)).turn.state == agent_pb2.TURN_STATE_INTERRUPTED


async def test_an_attempt_takes_too_long(bench: Bench) -> None:
    agent = await bench.server.agent(bench.server.script("stuck", STUCK))
    run = await bench.run(say("a", agent, timeout="0.1s", retry={**QUICK, "maxRetries": 1}))
    assert (run.state, told(run.steps)) == (FAILED, "a=FAILED a~2=FAILED")
    assert "the step of a workflow took too long" in run.error.message.lower()
    for one in run.steps:
        turn = agent_service_pb2.GetTurnRequest(agent_id=agent, turn_id=one.turn_id)
        assert (await bench.server.agents.GetTurn(turn)).turn.state == agent_pb2.TURN_STATE_INTERRUPTED


async def test_the_time_of_an_order_of_steps(bench: Bench) -> None:
    run = await bench.run(sequence("s", call("a"), step("w", wait={"duration": "60s"}), timeout="0.05s"))
    assert told(run.steps) == "s=FAILED a w=CANCELED"


async def test_a_run_executes_only_so_many_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asteros.workflows.book.MAX_EXECUTIONS", 5)
    run = await bench.run(loop("l", call("a"), most=9))
    assert (run.state, len(run.steps)) == (FAILED, 5)
    assert "at most 5 steps" in run.error.message


# -- cancel ---------------------------------------------------------------------------------


async def test_cancel_reaches_everything_in_progress(bench: Bench) -> None:
    agent = await bench.server.agent(bench.server.script("stuck", STUCK))
    inner = await bench.create(step("ok", approval={}))
    plan = together(
        "all", say("a", agent), step("ok", approval={}), step("w", wait={"duration": "60s"}),
        step("inner", workflow={"workflowId": inner}), call("h", "held", input="h"),
    )  # fmt: skip
    run = await bench.begin(plan)
    await bench.events(run, "text_chunk {")
    await bench.in_progress("h")
    (inner_run,) = (await bench.server.workflows.ListWorkflowRuns(pb.ListWorkflowRunsRequest(workflow_id=inner))).runs
    await bench.asked(inner_run)
    ended = await cancel(bench, run)
    assert (ended.state, ended.output, list(ended.pending_ids)) == (CANCELED, "", [])
    assert told(ended.steps).count("CANCELED") == 6
    turn_id = next(one.turn_id for one in ended.steps if one.step_id == "a")
    turn = agent_service_pb2.GetTurnRequest(agent_id=agent, turn_id=turn_id)
    assert (await bench.server.agents.GetTurn(turn)).turn.state == agent_pb2.TURN_STATE_INTERRUPTED
    assert (await bench.look(inner_run)).state == CANCELED
    kinds = [event.event_type for event in await bench.events(run)]
    assert kinds.count("control.request_resolved") == 1
    assert await cancel(bench, run) == ended


async def test_cancel_before_the_first_step(bench: Bench) -> None:
    run = await bench.begin(call("h", "held", input="h"))
    assert (await cancel(bench, run)).state == CANCELED


async def test_many_cancel_at_once(bench: Bench) -> None:
    run = await bench.begin(call("h", "held", input="h"))
    ended = await asyncio.gather(*(cancel(bench, run) for _ in range(10)))
    assert {one.state for one in ended} == {CANCELED}


# -- pause ----------------------------------------------------------------------------------


async def test_a_paused_run_ends_what_it_does_and_begins_nothing(bench: Bench) -> None:
    run = await bench.begin(sequence("all", call("h", "held", input="h"), call("after")))
    await bench.in_progress("h")
    assert (await pause(bench, run)).state == PAUSED
    assert (await pause(bench, run)).state == PAUSED
    bench.let("h")
    await bench.events(run, 'step_id: "h"\n    attempt: 1\n    state: WORKFLOW_STEP_STATE_SUCCEEDED')
    assert (await bench.look(run)).state == PAUSED
    assert bench.did == []
    assert (await resume(bench, run)).state == workflow_pb2.WORKFLOW_RUN_STATE_RUNNING
    run = await bench.ended(run)
    assert (run.state, bench.did) == (SUCCEEDED, ["h"])


async def test_a_paused_run_can_be_cancelled(bench: Bench) -> None:
    run = await bench.begin(sequence("all", call("h", "held", input="h"), call("after")))
    await bench.in_progress("h")
    await pause(bench, run)
    assert (await cancel(bench, run)).state == CANCELED


async def test_an_ended_run_is_neither_paused_nor_resumed(bench: Bench) -> None:
    run = await bench.run(call("a"))
    for change in (pause, resume):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await change(bench, run)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
