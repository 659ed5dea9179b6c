"""A run with every kind of step whose server is killed: at the boundaries of steps and inside
them, it ends with the same output, and what may not be done twice is done once (R5, R9)."""

import asyncio
import contextlib
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from robustness.agents import ALLOW, model
from robustness.harness import ServerProcess, Stubs
from workflows.plans import call, loop, made, say, sequence, step, together, told

from aster.v1 import (
    agent_service_pb2,
    control_service_pb2,
    event_pb2,
    workflow_pb2,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)

pytestmark = pytest.mark.anyio
GO_ON = "WORKFLOW_ON_ERROR_CONTINUE"
ROUNDS = 50
INNER = sequence("inner_all", say("hello", "a1", input="inner ${input}"), call("inner_note", "mark_safe"))
PLAN = sequence(
    "all",
    call("once", "mark_never", input="F", onError=GO_ON),
    step("tool_once", tool={"agentId": "a1", "toolName": "mark_never"}, input='{"text": "T"}', onError=GO_ON),
    step("tool_key", tool={"agentId": "a1", "toolName": "mark_key"}, input='{"text": "K"}'),
    together(
        "both",
        loop("twice", say("turn", "a1", input="${item}${round}"), forEachExpression='["x", "y"]'),
        step("ok", approval={}, input="ok?"),
        step("pause", wait={"duration": "0.2s"}, input="w"),
    ),
    call("skipped", "mark_safe", when="size(previous) < 3"),
    step("inner", workflow={"workflowId": "inner"}, input="i"),
    step(
        "way",
        router={"routes": [{"when": "previous.startsWith('inner')", "step": call("left", "mark_safe", input="L")}]},
    ),
    call("last", "mark_safe", input="${steps.both}|${steps.inner}|${previous}"),
)
OUTPUT = "y2\n\nyes\n\nw|inner i|L"
# Point and how many visits one run makes of it, about.
POINTS = {
    "workflow.after_start": 18,
    "workflow.before_result": 16,
    "workflow.after_result": 16,
    "workflow.before_end": 2,
    "run.before_model": 3,
    "run.before_tool": 2,
    "run.after_tool_before_result": 2,
    "run.before_terminal": 5,
    "approval.after_store_before_wake": 1,
    "log.before_append": 40,
    "log.after_append_before_ack": 40,
    "log.after_ack_before_publish": 40,
}
QUICK = [("workflow.before_result", 12)]


def cases() -> list[tuple[str, int]]:
    chance = random.Random(int(os.environ.get("SEED") or 7))
    points = [chance.choice(sorted(POINTS)) for _ in range(ROUNDS)]
    return [(point, chance.randint(1, POINTS[point])) for point in points]


class Player:
    """What a client does: creates, starts, says yes, and waits, whatever server is there."""

    def __init__(self, stubs: Stubs) -> None:
        self.agents = stubs.agents
        self.control = stubs.control
        self.workflows = workflow_service_pb2_grpc.WorkflowServiceStub(stubs.channel)

    async def _asked(self, method: Any, request: Any) -> Any:
        while True:
            try:
                return await method(request, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.02)

    async def play(self) -> workflow_pb2.WorkflowRun:
        config = model(
            "echo", tools=["mark_never", "mark_key"], tool_permissions={"mark_never": ALLOW, "mark_key": ALLOW}
        )
        create = agent_service_pb2.CreateAgentRequest(agent_id="a1", config=config, request_id="agent")
        await self._asked(self.agents.CreateAgent, create)
        for workflow_id, plan in (("inner", INNER), ("all", PLAN)):
            define = workflow_service_pb2.CreateWorkflowRequest(
                workflow_id=workflow_id, root=made(plan), request_id=workflow_id
            )
            await self._asked(self.workflows.CreateWorkflow, define)
        start = workflow_service_pb2.ExecuteWorkflowRequest(
            workflow_id="all", message="go", request_id="run", return_immediately=True
        )
        run = (await self._asked(self.workflows.ExecuteWorkflow, start)).run
        while not run.HasField("end_time"):
            await self._decide(run)
            await asyncio.sleep(0.02)
            look = workflow_service_pb2.GetWorkflowRunRequest(workflow_id="all", run_id=run.id)
            run = (await self._asked(self.workflows.GetWorkflowRun, look)).run
        return run

    async def _decide(self, run: workflow_pb2.WorkflowRun) -> None:
        for pending_id in run.pending_ids:
            decision = control_service_pb2.RespondToWorkflowApprovalRequest(
                workflow_id="all", run_id=run.id, pending_id=pending_id,
                decision=control_service_pb2.DECISION_ALLOW, note="yes",
            )  # fmt: skip
            with contextlib.suppress(grpc.aio.AioRpcError):  # the server is dying, and asks again
                await self.control.RespondToWorkflowApproval(decision)

    async def events(self, run: workflow_pb2.WorkflowRun) -> list[event_pb2.Event]:
        request = workflow_service_pb2.StreamWorkflowRunRequest(workflow_id="all", run_id=run.id)
        return [
            frame.event
            async for response in self.workflows.StreamWorkflowRun(request)
            for frame in response.frames
            if frame.HasField("event")
        ]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("point", "visit"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.long) for case in cases())]
)
async def test_killed_and_taken_up(tmp_path: Path, point: str, visit: int) -> None:
    marks = tmp_path / "marks.txt"
    server = ServerProcess(tmp_path, program=("-m", "robustness.marking_server"))
    environment = {"ASTER_TEST_MARKS": str(marks), "PYTHONPATH": str(Path(__file__).parents[1])}
    server.environment = {**environment, "ASTER_TESTING": "1", "ASTER_FAILPOINTS": f"{point}=kill#{visit}"}
    async with server, Stubs(server.address) as stubs:
        player = Player(stubs)
        playing = asyncio.create_task(player.play())
        dying = asyncio.create_task(server.wait(60))
        try:
            async with asyncio.timeout(60):
                await asyncio.wait((playing, dying), return_when=asyncio.FIRST_COMPLETED)
                if dying.done():  # else the run had fewer visits than the plan
                    assert dying.result() == -9, server.log[-2000:]
                    server.environment = environment
                    await server.start()
                run = await playing
                events = await player.events(run)
        finally:
            for task in (playing, dying):
                task.cancel()
            await asyncio.gather(playing, dying, return_exceptions=True)
    assert (run.state, run.output) == (workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED, OUTPUT), told(run.steps)
    _check_log(run, events)
    did = Counter(line.rsplit(" ", 1)[0] for line in marks.read_text(encoding="utf-8").splitlines())
    assert did["function mark_never F"] <= 1
    assert did["a1 mark_never T"] <= 1
    assert did["a1 mark_key K"] >= 1


def _check_log(run: workflow_pb2.WorkflowRun, events: list[event_pb2.Event]) -> None:
    own = [event for event in events if not event.agent_id]
    assert [event.sequence for event in own] == list(range(1, len(own) + 1))
    assert [event.event_type for event in own].count("control.request_resolved") == 1
    ended = [
        e.monitor.workflow_run for e in own if e.event_type == "monitor.workflow_run" and e.monitor.workflow_run.output
    ]
    assert [one.output for one in ended] == [OUTPUT]
    assert not [one for one in run.steps if not one.HasField("end_time")]
    turns = Counter(event.turn_id for event in events if event.event_type == "progress.complete")
    assert set(turns.values()) == {1}
