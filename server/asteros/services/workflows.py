"""WorkflowService: plans of work, their runs, and what starts runs by the clock."""

import asyncio
import contextlib
from typing import Any

from aster.v1 import workflow_pb2
from aster.v1 import workflow_service_pb2 as pb
from asteros import clock, errors
from asteros.events import filters
from asteros.events.cursor import Place
from asteros.events.subscription import HEARTBEAT, Options, Subscription
from asteros.runtime.agent import request_of
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.services.streams import Streams
from asteros.stores.workflows import RunRow
from asteros.workflows.runs import Start, Workflows
from asteros.workflows.schedules import Schedules

ALL = "-"  # in place of a workflow's id


class WorkflowsServicer:
    """Check, call, translate; runs are in ``workflows.runs``."""

    def __init__(self, workflows: Workflows, schedules: Schedules, streams: Streams, pages: Pages) -> None:
        self._workflows = workflows
        self._catalog = workflows.catalog
        self._schedules = schedules
        self._streams = streams
        self._pages = pages

    # -- workflows --------------------------------------------------------------------------

    async def CreateWorkflow(self, request: pb.CreateWorkflowRequest, call: Call) -> pb.CreateWorkflowResponse:
        wanted = workflow_pb2.Workflow(
            id=request.workflow_id,
            display_name=request.display_name,
            description=request.description,
            root=request.root,
        )
        known = request_of(request.request_id, call.method, request)
        return pb.CreateWorkflowResponse(workflow=await self._catalog.create(call.caller.tenant, wanted, known))

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, call: Call) -> pb.GetWorkflowResponse:
        return pb.GetWorkflowResponse(workflow=await self._catalog.get(call.caller.tenant, request.workflow_id))

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, call: Call) -> pb.ListWorkflowsResponse:
        size = self._pages.size(request)
        found = await self._catalog.page(call.caller.tenant, self._pages.start(call, request), size + 1)
        response = pb.ListWorkflowsResponse(workflows=found[:size])
        for workflow in response.workflows:
            workflow.ClearField("root")
        if len(found) > size:
            response.next_page_token = self._pages.token(call, request, found[size - 1].id)
        return response

    async def DeleteWorkflow(self, request: pb.DeleteWorkflowRequest, call: Call) -> pb.DeleteWorkflowResponse:
        await self._catalog.delete(call.caller.tenant, request.workflow_id)
        return pb.DeleteWorkflowResponse()

    # -- runs -------------------------------------------------------------------------------

    async def ExecuteWorkflow(self, request: pb.ExecuteWorkflowRequest, call: Call) -> pb.ExecuteWorkflowResponse:
        row = await self._workflows.execute(call.caller.tenant, _start(request, call))
        if not request.return_immediately:
            row = await self._workflows.wait(row)
        return pb.ExecuteWorkflowResponse(run=await self._workflows.view(row))

    async def StreamWorkflow(self, request: pb.StreamWorkflowRequest, call: Call) -> None:
        row = await self._workflows.execute(call.caller.tenant, _start(request, call))
        await self._follow(call, row, row.first_position, HEARTBEAT)

    async def GetWorkflowRun(self, request: pb.GetWorkflowRunRequest, call: Call) -> pb.GetWorkflowRunResponse:
        return pb.GetWorkflowRunResponse(run=await self._workflows.view(await self._row(request, call)))

    async def ListWorkflowRuns(self, request: pb.ListWorkflowRunsRequest, call: Call) -> pb.ListWorkflowRunsResponse:
        tenant, size = call.caller.tenant, self._pages.size(request)
        wanted = "" if request.workflow_id == ALL else request.workflow_id
        before = self._pages.start(call, request)
        found = await self._workflows.store.runs(tenant, wanted, before, size + 1, request.states)
        if not found and wanted:
            await self._refuse_unknown(tenant, wanted)
        response = pb.ListWorkflowRunsResponse(runs=found[:size])
        for run in response.runs:
            run.ClearField("output")
        if len(found) > size:
            response.next_page_token = self._pages.token(call, request, found[size - 1].id)
        return response

    async def _refuse_unknown(self, tenant: str, workflow_id: str) -> None:
        """A workflow that was deleted is known by its runs.

        :raises WorkflowNotFound:"""
        if not await self._workflows.store.runs(tenant, workflow_id, "", 1, ()):
            await self._catalog.get(tenant, workflow_id)

    async def StreamWorkflowRun(self, request: pb.StreamWorkflowRunRequest, call: Call) -> None:
        row = await self._row(request, call)
        start = row.first_position
        if request.cursor:
            start = max(start, await self._streams.cursor_start(call, request.cursor, None))
        beat = clock.seconds(request.heartbeat_interval) if request.HasField("heartbeat_interval") else HEARTBEAT
        await self._follow(call, row, start, beat)

    async def CancelWorkflowRun(self, request: pb.CancelWorkflowRunRequest, call: Call) -> pb.CancelWorkflowRunResponse:
        row = await self._workflows.cancel(await self._row(request, call))
        return pb.CancelWorkflowRunResponse(run=await self._workflows.view(row))

    async def PauseWorkflowRun(self, request: pb.PauseWorkflowRunRequest, call: Call) -> pb.PauseWorkflowRunResponse:
        row = await self._workflows.pause(await self._row(request, call))
        return pb.PauseWorkflowRunResponse(run=await self._workflows.view(row))

    async def ResumeWorkflowRun(self, request: pb.ResumeWorkflowRunRequest, call: Call) -> pb.ResumeWorkflowRunResponse:
        row = await self._workflows.resume(await self._row(request, call))
        return pb.ResumeWorkflowRunResponse(run=await self._workflows.view(row))

    async def _row(self, request: Any, call: Call) -> RunRow:
        return await self._workflows.row(call.caller.tenant, request.workflow_id, request.run_id)

    async def _follow(self, call: Call, row: RunRow, start: int, heartbeat: float) -> None:
        """Streams what a run and its turns do, until it has ended."""
        wanted = filters.compiled(workflow_run_id=row.run.id)
        subscription = self._streams.from_place(row.tenant, wanted, Place(0, start), Options(heartbeat=heartbeat))
        ending = asyncio.create_task(self._end_with(row, subscription), name=f"stream of {row.run.id}")
        try:
            await self._streams.follow(call, subscription)
        finally:
            subscription.close()
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _end_with(self, row: RunRow, subscription: Subscription) -> None:
        """Lets a stream end after the last event of the run."""
        with contextlib.suppress(errors.Draining):  # which ends the stream by itself
            row = await self._workflows.wait(row)
            subscription.end_at(await self._workflows.last_position(row))

    # -- schedules --------------------------------------------------------------------------

    async def CreateWorkflowSchedule(
        self, request: pb.CreateWorkflowScheduleRequest, call: Call
    ) -> pb.CreateWorkflowScheduleResponse:
        known = request_of(request.request_id, call.method, request)
        caller = call.caller
        made = await self._schedules.create(
            caller.tenant, request.workflow_id, request.schedule, caller.principal, known
        )
        return pb.CreateWorkflowScheduleResponse(schedule=made)

    async def ListWorkflowSchedules(
        self, request: pb.ListWorkflowSchedulesRequest, call: Call
    ) -> pb.ListWorkflowSchedulesResponse:
        tenant, size = call.caller.tenant, self._pages.size(request)
        wanted = "" if request.workflow_id == ALL else request.workflow_id
        workflow_id, _, schedule_id = self._pages.start(call, request).partition("/")
        found = await self._schedules.store.schedules(tenant, wanted, (workflow_id, schedule_id), size + 1)
        if not found and wanted:
            await self._catalog.get(tenant, wanted)
        response = pb.ListWorkflowSchedulesResponse(schedules=found[:size])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = self._pages.token(call, request, f"{last.workflow_id}/{last.id}")
        return response

    async def DeleteWorkflowSchedule(
        self, request: pb.DeleteWorkflowScheduleRequest, call: Call
    ) -> pb.DeleteWorkflowScheduleResponse:
        await self._schedules.delete(call.caller.tenant, request.workflow_id, request.schedule_id)
        return pb.DeleteWorkflowScheduleResponse()


def _start(request: pb.ExecuteWorkflowRequest | pb.StreamWorkflowRequest, call: Call) -> Start:
    return Start(
        request.workflow_id,
        request.message,
        request.inputs_json,
        call.caller.principal,
        request.budget if request.HasField("budget") else None,
        request_of(request.request_id, call.method, request),
    )
