"""WorkflowService over the wire: idempotency, lists, streams, schedules and refusals."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from services.helpers import LIMIT, Server, refused, serving

from aster.v1 import common_pb2, cosmos_service_pb2, event_pb2, server_service_pb2, workflow_pb2
from aster.v1 import workflow_service_pb2 as pb
from asteros import clock

pytestmark = pytest.mark.anyio
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED
ECHO: dict[str, Any] = {"id": "hello", "agent": {"agentId": "echo"}}
ASK: dict[str, Any] = {"id": "ok", "approval": {}}


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("server")) as running:
        await running.agent("echo", "echo")
        for workflow_id, plan in (("echoing", ECHO), ("asking", ASK)):
            await create(running, workflow_id, plan)
        yield running


async def create(server: Server, workflow_id: str, plan: dict[str, Any] = ECHO, **fields: Any) -> workflow_pb2.Workflow:
    root = json_format.ParseDict(plan, workflow_pb2.WorkflowStep())
    request = pb.CreateWorkflowRequest(workflow_id=workflow_id, root=root, **fields)
    return (await server.workflows.CreateWorkflow(request)).workflow


async def execute(server: Server, workflow_id: str = "echoing", **fields: Any) -> workflow_pb2.WorkflowRun:
    request = pb.ExecuteWorkflowRequest(workflow_id=workflow_id, message="hi", **fields)
    async with asyncio.timeout(LIMIT):
        return (await server.workflows.ExecuteWorkflow(request)).run


async def frames(call: Any) -> list[Any]:
    async with asyncio.timeout(LIMIT):
        return [frame async for response in call for frame in response.frames]


def events(found: list[Any]) -> list[event_pb2.Event]:
    return [frame.event for frame in found if frame.HasField("event")]


def code(error: "pytest.ExceptionInfo[grpc.aio.AioRpcError]") -> str:
    return error.value.code().name


# -- workflows ------------------------------------------------------------------------------


async def test_the_server_has_workflows(server: Server) -> None:
    info = (await server.info.GetServerInfo(server_service_pb2.GetServerInfoRequest())).server
    assert "workflows" not in info.unavailable_features


async def test_an_equal_request_creates_one_workflow(server: Server) -> None:
    made = await create(server, "", request_id="create-1")
    assert (await create(server, "", request_id="create-1")).id == made.id
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await create(server, "", ASK, request_id="create-1")
    assert code(error) == "ALREADY_EXISTS"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await create(server, made.id)
    assert code(error) == "ALREADY_EXISTS"


async def test_workflows_are_listed_in_pages_without_steps(server: Server) -> None:
    for name in ("page1", "page2", "page3"):
        await create(server, name, display_name=name.title())
    found: list[workflow_pb2.Workflow] = []
    token = ""
    while True:
        page = await server.workflows.ListWorkflows(pb.ListWorkflowsRequest(page_size=2, page_token=token))
        found += page.workflows
        token = page.next_page_token
        if not token:
            break
    assert [one.id for one in found] == sorted(one.id for one in found)
    assert {"page1", "page2", "page3", "echoing"} <= {one.id for one in found}
    assert not any(one.HasField("root") for one in found)


async def test_a_workflow_is_registered_and_deleted(server: Server) -> None:
    await create(server, "short")
    kinds = [cosmos_service_pb2.RESOURCE_KIND_WORKFLOW]
    listed = cosmos_service_pb2.ListResourcesRequest(kinds=kinds, page_size=1000)
    assert "short" in {one.id for one in (await server.cosmos.ListResources(listed)).resources}
    await server.workflows.DeleteWorkflow(pb.DeleteWorkflowRequest(workflow_id="short"))
    assert "short" not in {one.id for one in (await server.cosmos.ListResources(listed)).resources}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await server.workflows.DeleteWorkflow(pb.DeleteWorkflowRequest(workflow_id="short"))
    assert code(error) == "NOT_FOUND"


# -- runs -----------------------------------------------------------------------------------


async def test_execute_waits_or_returns_at_once(server: Server) -> None:
    run = await execute(server)
    assert (run.state, run.output, run.message) == (SUCCEEDED, "hi", "hi")
    assert run.id.startswith("wfr_")
    pending = await execute(server, return_immediately=True)
    assert pending.state == workflow_pb2.WORKFLOW_RUN_STATE_PENDING


async def test_an_equal_request_starts_one_run(server: Server) -> None:
    runs = await asyncio.gather(*(execute(server, request_id="run-1") for _ in range(8)))
    assert len({run.id for run in runs}) == 1
    assert {run.output for run in runs} == {"hi"}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await execute(server, "asking", request_id="run-1")
    assert code(error) == "ALREADY_EXISTS"


async def test_runs_are_listed_newest_first_without_steps_and_output(server: Server) -> None:
    await create(server, "listed")
    made = [(await execute(server, "listed")).id for _ in range(3)]
    request = pb.ListWorkflowRunsRequest(workflow_id="listed", page_size=2)
    first = await server.workflows.ListWorkflowRuns(request)
    request.page_token = first.next_page_token
    second = await server.workflows.ListWorkflowRuns(request)
    assert [run.id for run in (*first.runs, *second.runs)] == made[::-1]
    assert not any(run.output or run.steps for run in first.runs)
    states = [workflow_pb2.WORKFLOW_RUN_STATE_FAILED]
    none = await server.workflows.ListWorkflowRuns(pb.ListWorkflowRunsRequest(workflow_id="listed", states=states))
    assert not none.runs
    everything = await server.workflows.ListWorkflowRuns(pb.ListWorkflowRunsRequest(workflow_id="-"))
    assert set(made) <= {run.id for run in everything.runs}
    await server.workflows.DeleteWorkflow(pb.DeleteWorkflowRequest(workflow_id="listed"))
    left = await server.workflows.ListWorkflowRuns(pb.ListWorkflowRunsRequest(workflow_id="listed"))
    assert len(left.runs) == 3


async def test_a_run_streams_from_its_beginning_to_its_end(server: Server) -> None:
    request = pb.StreamWorkflowRequest(workflow_id="echoing", message="hi", request_id="stream-1")
    found = await frames(server.workflows.StreamWorkflow(request))
    assert found[0].HasField("started")
    told = events(found)
    assert told[0].monitor.workflow_run.state == workflow_pb2.WORKFLOW_RUN_STATE_RUNNING
    assert told[-1].monitor.workflow_run.state == SUCCEEDED
    assert "progress.text_chunk" in {event.event_type for event in told}
    again = await frames(server.workflows.StreamWorkflow(request))
    assert [event.id for event in events(again)] == [event.id for event in told]


async def test_a_stream_goes_on_after_a_cursor(server: Server) -> None:
    run = await execute(server)
    request = pb.StreamWorkflowRunRequest(workflow_id="echoing", run_id=run.id)
    found = [frame for frame in await frames(server.workflows.StreamWorkflowRun(request)) if frame.HasField("event")]
    for place in (0, len(found) // 2, len(found) - 1):
        request.cursor = found[place].cursor
        rest = await frames(server.workflows.StreamWorkflowRun(request))
        assert [event.id for event in events(rest)] == [frame.event.id for frame in found[place + 1 :]]


async def test_runs_beside_each_other_do_not_see_each_other(server: Server) -> None:
    runs = await asyncio.gather(*(execute(server) for _ in range(4)))
    for run in runs:
        request = pb.StreamWorkflowRunRequest(workflow_id="echoing", run_id=run.id)
        told = events(await frames(server.workflows.StreamWorkflowRun(request)))
        assert {event.workflow_run_id for event in told} == {run.id}


async def test_leaving_the_call_leaves_the_run_alone(server: Server) -> None:
    request = pb.ExecuteWorkflowRequest(workflow_id="asking", message="hi", request_id="left")
    call = server.workflows.ExecuteWorkflow(request)
    await asyncio.sleep(0)
    stream = server.workflows.StreamWorkflow(pb.StreamWorkflowRequest(workflow_id="asking", message="hi"))
    async for response in stream:
        if any("workflow_approval_request" in frame.event.event_type for frame in response.frames):
            break
    stream.cancel()
    call.cancel()
    states = [workflow_pb2.WORKFLOW_RUN_STATE_WAITING, workflow_pb2.WORKFLOW_RUN_STATE_RUNNING]
    listed = pb.ListWorkflowRunsRequest(workflow_id="asking", states=states)
    runs = (await server.workflows.ListWorkflowRuns(listed)).runs
    assert runs
    for run in runs:
        await server.workflows.CancelWorkflowRun(pb.CancelWorkflowRunRequest(workflow_id="asking", run_id=run.id))


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"),
    [
        ("GetWorkflow", pb.GetWorkflowRequest(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        ("ExecuteWorkflow", pb.ExecuteWorkflowRequest(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        ("ExecuteWorkflow", pb.ExecuteWorkflowRequest(workflow_id="echoing"), "INVALID_ARGUMENT", "FIELD_VIOLATION"),
        (
            "ExecuteWorkflow",
            pb.ExecuteWorkflowRequest(workflow_id="echoing", message="x", inputs_json="[1]"),
            "INVALID_ARGUMENT",
            "FIELD_VIOLATION",
        ),
        ("ListWorkflowRuns", pb.ListWorkflowRunsRequest(workflow_id="none"), "NOT_FOUND", "WORKFLOW_NOT_FOUND"),
        (
            "GetWorkflowRun",
            pb.GetWorkflowRunRequest(workflow_id="echoing", run_id="wfr_1"),
            "NOT_FOUND",
            "WORKFLOW_RUN_NOT_FOUND",
        ),
        (
            "CancelWorkflowRun",
            pb.CancelWorkflowRunRequest(workflow_id="echoing", run_id="x/y"),
            "INVALID_ARGUMENT",
            "INVALID_ID",
        ),
        ("CreateWorkflow", pb.CreateWorkflowRequest(workflow_id="a b"), "INVALID_ARGUMENT", "INVALID_ID"),
        ("CreateWorkflow", pb.CreateWorkflowRequest(), "INVALID_ARGUMENT", "FIELD_VIOLATION"),
        (
            "DeleteWorkflowSchedule",
            pb.DeleteWorkflowScheduleRequest(workflow_id="echoing", schedule_id="x"),
            "NOT_FOUND",
            "SCHEDULE_NOT_FOUND",
        ),
        (
            "ListWorkflowSchedules",
            pb.ListWorkflowSchedulesRequest(workflow_id="none"),
            "NOT_FOUND",
            "WORKFLOW_NOT_FOUND",
        ),
    ],
)
async def test_refusals(server: Server, method: str, request_: Any, code: str, reason: str) -> None:
    detail = "BadRequest" if code == "INVALID_ARGUMENT" else "ResourceInfo"
    await refused(getattr(server.workflows, method)(request_), code, reason, detail)


async def test_taken_ids(server: Server) -> None:
    root = json_format.ParseDict(ECHO, workflow_pb2.WorkflowStep())
    again = server.workflows.CreateWorkflow(pb.CreateWorkflowRequest(workflow_id="echoing", root=root))
    await refused(again, "ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS", "ResourceInfo")
    await schedule(server, daily("taken"))
    request = pb.CreateWorkflowScheduleRequest(workflow_id="echoing", schedule=daily("taken"))
    same = server.workflows.CreateWorkflowSchedule(request)
    await refused(same, "ALREADY_EXISTS", "SCHEDULE_ALREADY_EXISTS", "ResourceInfo")
    delete = pb.DeleteWorkflowScheduleRequest(workflow_id="echoing", schedule_id="taken")
    await server.workflows.DeleteWorkflowSchedule(delete)


async def test_a_run_is_found_under_its_own_workflow_alone(server: Server) -> None:
    run = await execute(server)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await server.workflows.GetWorkflowRun(pb.GetWorkflowRunRequest(workflow_id="asking", run_id=run.id))
    assert code(error) == "NOT_FOUND"


# -- schedules ------------------------------------------------------------------------------


def daily(schedule_id: str, **fields: Any) -> workflow_pb2.WorkflowSchedule:
    return workflow_pb2.WorkflowSchedule(id=schedule_id, cron="30 2 * * *", message="hi", **fields)


async def schedule(server: Server, made: workflow_pb2.WorkflowSchedule, **fields: Any) -> workflow_pb2.WorkflowSchedule:
    request = pb.CreateWorkflowScheduleRequest(workflow_id="echoing", schedule=made, **fields)
    return (await server.workflows.CreateWorkflowSchedule(request)).schedule


async def test_schedules_come_and_go(server: Server) -> None:
    made = await schedule(server, daily("nightly", budget=common_pb2.Budget(max_steps=3)), request_id="s1")
    assert await schedule(server, daily("nightly", budget=common_pb2.Budget(max_steps=3)), request_id="s1") == made
    assert made.workflow_id == "echoing"
    assert clock.nanos(made.next_time) > clock.now()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await schedule(server, daily("nightly"))
    assert code(error) == "ALREADY_EXISTS"
    await schedule(server, daily("another"))
    request = pb.ListWorkflowSchedulesRequest(workflow_id="-", page_size=1)
    first = await server.workflows.ListWorkflowSchedules(request)
    request.page_token = first.next_page_token
    second = await server.workflows.ListWorkflowSchedules(request)
    assert [one.id for one in (*first.schedules, *second.schedules)] == ["another", "nightly"]
    assert second.schedules[0] == made
    for name in ("nightly", "another"):
        delete = pb.DeleteWorkflowScheduleRequest(workflow_id="echoing", schedule_id=name)
        await server.workflows.DeleteWorkflowSchedule(delete)
    left = await server.workflows.ListWorkflowSchedules(pb.ListWorkflowSchedulesRequest(workflow_id="echoing"))
    assert not left.schedules


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron": "61 * * * *"}, "schedule.cron"),
        ({"cron": "* * * *"}, "schedule.cron"),
        ({"cron": "0 0 1 1 1 1"}, "schedule.cron"),
        ({"cron": "0 0 31 2 *"}, "schedule.cron"),
        ({"time_zone": "Mars/Olympus"}, "schedule.time_zone"),
        ({"time_zone": "../etc/passwd"}, "schedule.time_zone"),
        ({"inputs_json": "no"}, "inputs_json"),
        ({"id": "a b"}, "schedule.id"),
        ({"message": ""}, "schedule.message"),
    ],
)
async def test_a_schedule_that_cannot_be(server: Server, fields: dict[str, str], field: str) -> None:
    made = workflow_pb2.WorkflowSchedule(**{"id": "bad", "cron": "* * * * *", "message": "hi"} | fields)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await schedule(server, made)
    assert code(error) == "INVALID_ARGUMENT"
    assert str(error.value.details()).startswith(field)
