"""ControlService: what people decide about running agents."""

from aster.v1 import common_pb2
from aster.v1 import control_service_pb2 as pb
from asteros import errors
from asteros.cosmos import commands
from asteros.cosmos.registry import Registry
from asteros.runtime import decisions, tool_control
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.stores.base import PendingRow
from asteros.workflows.runs import Workflows

_SCAN = 500  # requests looked through at once for those of one run
PART_BYTES = 1024 * 1024  # of a tool's output in one answer


class ControlServicer:
    """Check, call, translate; decisions are taken in ``runtime.decisions``."""

    def __init__(self, registry: Registry, workflows: Workflows, pages: Pages) -> None:
        self._registry = registry
        self._workflows = workflows
        self._store = registry.deps.store
        self._pages = pages

    async def ApproveToolCall(self, request: pb.ApproveToolCallRequest, call: Call) -> pb.ApproveToolCallResponse:
        if request.scope == pb.DECISION_SCOPE_ALWAYS and not call.caller.has("agents:write"):
            raise errors.ScopeRequired("agents:write")
        link = self._registry.remotes.commanded(call.caller.tenant, request.agent_id)
        if link is not None:
            return pb.ApproveToolCallResponse(pending=await commands.approve(link, request, call.caller.principal))
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            pending = await decisions.approve(agent, request, call.caller.principal)
        return pb.ApproveToolCallResponse(pending=pending)

    async def RespondToInputRequest(
        self, request: pb.RespondToInputRequestRequest, call: Call
    ) -> pb.RespondToInputRequestResponse:
        link = self._registry.remotes.commanded(call.caller.tenant, request.agent_id)
        if link is not None:
            return pb.RespondToInputRequestResponse(pending=await commands.answer(link, request, call.caller.principal))
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            pending = await decisions.answer(agent, request, call.caller.principal)
        return pb.RespondToInputRequestResponse(pending=pending)

    async def RespondToIterationLimit(
        self, request: pb.RespondToIterationLimitRequest, call: Call
    ) -> pb.RespondToIterationLimitResponse:
        link = self._registry.remotes.commanded(call.caller.tenant, request.agent_id)
        if link is not None:
            pending = await commands.go_on(link, request, call.caller.principal)
            return pb.RespondToIterationLimitResponse(pending=pending)
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            pending = await decisions.go_on(agent, request, call.caller.principal)
        return pb.RespondToIterationLimitResponse(pending=pending)

    async def ListPendingApprovals(
        self, request: pb.ListPendingApprovalsRequest, call: Call
    ) -> pb.ListPendingApprovalsResponse:
        tenant, size = call.caller.tenant, self._pages.size(request)
        key = (await self._registry.row(tenant, request.agent_id)).key if request.agent_id else 0
        after = self._pages.start(call, request)
        rows = await self._open(tenant, key, after, size + 1, request.workflow_run_id)
        response = pb.ListPendingApprovalsResponse(pending=[row.pending for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = self._pages.token(call, request, rows[size - 1].pending.id)
        return response

    async def _open(self, tenant: str, key: int, after: str, size: int, run_id: str) -> list[PendingRow]:
        """Open requests; with a run those of its own and of the turns it has caused."""
        found: list[PendingRow] = []
        while rows := await self._store.open_pending(tenant, key, after, max(size, _SCAN if run_id else 0)):
            found += [row for row in rows if run_id in ("", row.pending.workflow_run_id)]
            after = rows[-1].pending.id
            if len(found) >= size or not run_id:
                break
        return found[:size]

    async def RespondToWorkflowApproval(
        self, request: pb.RespondToWorkflowApprovalRequest, call: Call
    ) -> pb.RespondToWorkflowApprovalResponse:
        row = await self._workflows.row(call.caller.tenant, request.workflow_id, request.run_id)
        pending = await self._workflows.respond(row, request, call.caller.principal)
        return pb.RespondToWorkflowApprovalResponse(pending=pending)

    async def ControlTool(self, request: pb.ControlToolRequest, call: Call) -> pb.ControlToolResponse:
        async with self._registry.agent(call.caller.tenant, request.agent_id) as agent:
            state = await tool_control.control(agent, request, call.caller.principal)
        return pb.ControlToolResponse(state=state)

    async def GetToolCall(self, request: pb.GetToolCallRequest, call: Call) -> pb.GetToolCallResponse:
        agent = await self._registry.row(call.caller.tenant, request.agent_id)
        row = await self._store.tool_call(agent.key, request.call_id)
        if row is None:
            raise errors.ToolCallNotFound(request.call_id, agent_id=request.agent_id)
        record = row.record
        if record.HasField("result"):
            record.next_output_offset = _cut(record.result, request.output_offset)
        return pb.GetToolCallResponse(tool_call=record)


def _cut(result: common_pb2.ToolResult, offset: int) -> int:
    """Leaves one part of the output, cut between characters; where the next part begins, or 0.

    :raises FieldViolation: the offset is not one that was given out."""
    data = result.output_json.encode()
    if offset > len(data) or (offset < len(data) and data[offset] & 0xC0 == 0x80):
        raise errors.bad_field("output_offset", "must be 0 or a next_output_offset")
    part = data[offset : offset + PART_BYTES].decode(errors="ignore")
    result.output_json = part
    end = offset + len(part.encode())
    return end if end < len(data) else 0
