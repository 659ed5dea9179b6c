"""Everything that is wrong with a workflow is found when it is created."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from workflows.conftest import Bench
from workflows.plans import call, loop, made, sequence, step, together

from aster.v1 import workflow_service_pb2 as pb

pytestmark = pytest.mark.anyio


async def refused(bench: Bench, plan: dict[str, Any], workflow_id: str = "") -> dict[str, str]:
    """Violations by field."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await bench.create(plan, workflow_id)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (raw,) = [value for key, value in error.value.trailing_metadata() or () if key == "grpc-status-details-bin"]
    found: dict[str, str] = {}
    for detail in status_pb2.Status.FromString(raw).details:  # type: ignore[arg-type]
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            found |= {each.field: each.description for each in bad.field_violations}
    return found


@pytest.mark.parametrize(
    ("plan", "field", "text"),
    [
        (step("a"), "root", "has no action"),
        (call("a b"), "root.id", "must be 1 to 63"),
        (sequence("s", call("a"), call("a")), "root.sequential.steps[1].id", "a stands twice"),
        (call("a", "unknown"), "root.function.name", "no such function"),
        (call("a", when="1"), "root.when", "is INT, and must be BOOL"),
        (call("a", when="previous = 2"), "root.when", "Syntax error"),
        (call("a", when="item == 1"), "root.when", "undeclared reference to 'item'"),
        (call("a", when="result == ''"), "root.when", "undeclared reference to 'result'"),
        (call("a", output="nobody"), "root.output", "undeclared reference"),
        (call("a", output="'x'" * 2000), "root.output", "is longer than 4096"),
        (call("a", input="${previous"), "root.input", "has no }"),
        (call("a", input="${}"), "root.input", "Syntax error"),
        (call("a", input="${input + 1}"), "root.input", "no matching overload"),
        (call("a", timeout="0s"), "root.timeout", "must be above"),
        (call("a", retry={"maxRetries": 11}), "root.retry.max_retries", "from 0 to 10"),
        (call("a", retry={"multiplier": 0.5}), "root.retry.multiplier", "from 1 to 100"),
        (call("a", retry={"maxBackoff": "3601s"}), "root.retry.max_backoff", "at most 1 h"),
        (step("a", approval={"expireAfter": "2592001s"}), "root.approval.expire_after", "at most 30 days"),
        (step("a", wait={}), "root.wait", "exactly one"),
        (step("a", wait={"duration": "31536001s"}), "root.wait.duration", "at most 365 days"),
        (step("a", wait={"time": "${nope}"}), "root.wait.time", "undeclared"),
        (together("p", call("a"), at_once=-1), "root.parallel.max_concurrency", "negative"),
        (loop("l", call("a"), most=1001), "root.loop.max_iterations", "from 1 to 1000"),
        (loop("l", call("a"), untilExpression="round"), "root.loop.until_expression", "must be BOOL"),
        (loop("l", call("a"), forEachExpression="input"), "root.loop.for_each_expression", "must be LIST"),
        (step("r", router={"routes": [{"step": call("a")}]}), "root.router.routes[0].when", "without a chooser"),
        (
            step("r", router={"routes": [{"step": call("a")}], "chooserAgentId": "x"}),
            "root.router.routes[0].description",
            "with a chooser",
        ),
        (call("a", fallback=call("b", input="${x}")), "root.fallback.input", "undeclared"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told_with_its_place(bench: Bench, plan: dict[str, Any], field: str, text: str) -> None:
    found = await refused(bench, plan)
    assert list(found) == [field]
    assert text in found[field]


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (step("a", agent={}), "root.agent.agent_id"),
        (step("a", tool={"agentId": "x"}), "root.tool.tool_name"),
        (sequence("s"), "root.sequential.steps"),
        (step("l", loop={"maxIterations": 1}), "root.loop.body"),
        (step("", function={"name": "note"}), "root.id"),
    ],
)
async def test_what_is_missing_is_told_with_its_place(bench: Bench, plan: dict[str, Any], field: str) -> None:
    assert await refused(bench, plan) == {field: "is required"}


async def test_all_violations_are_told_at_once(bench: Bench) -> None:
    plan = sequence("s", call("a", when="x"), call("a", "unknown", timeout="0s"), step("w", wait={}))
    assert list(await refused(bench, plan)) == [
        "root.sequential.steps[0].when",
        "root.sequential.steps[1].id",
        "root.sequential.steps[1].function.name",
        "root.sequential.steps[1].timeout",
        "root.sequential.steps[2].wait",
    ]


async def test_depth_and_number_of_steps_are_limited(bench: Bench) -> None:
    deep = call("x0")
    for level in range(1, 8):
        deep = sequence(f"x{level}", deep)
    await bench.create(deep)
    assert list((await refused(bench, sequence("x8", deep))).values()) == ["stands deeper than 8 levels"]
    many = [call(f"s{number}") for number in range(100)]
    await bench.create(sequence("all", *many[:99]))
    assert await refused(bench, sequence("all", *many)) == {"root": "has more than 100 steps"}


async def test_a_workflow_cannot_contain_itself(bench: Bench) -> None:
    inside = "a workflow cannot contain itself"
    assert inside in (await refused(bench, step("a", workflow={"workflowId": "self"}), "self"))["root"]
    await bench.create(step("a", workflow={"workflowId": "ring2"}), "ring1")
    await bench.create(step("a", workflow={"workflowId": "ring3"}), "ring2")
    assert inside in (await refused(bench, step("a", workflow={"workflowId": "ring1"}), "ring3"))["root"]


async def test_a_run_keeps_the_workflow_it_began_with(bench: Bench) -> None:
    run = await bench.begin(sequence("all", call("h", "held", input="h"), call("b", input="old")))
    await bench.in_progress("h")
    await bench.server.workflows.DeleteWorkflow(pb.DeleteWorkflowRequest(workflow_id=run.workflow_id))
    bench.let("h")
    assert (await bench.ended(run)).output == "old"


async def test_a_workflow_is_stored_as_it_was_given(bench: Bench) -> None:
    plan = sequence("s", call("a", retry={"maxRetries": 2}), loop("l", call("b"), whileExpression="true"))
    workflow_id = await bench.create(plan)
    found = await bench.server.workflows.GetWorkflow(pb.GetWorkflowRequest(workflow_id=workflow_id))
    assert found.workflow.root == made(plan)
    assert workflow_id.startswith("wfl_")
