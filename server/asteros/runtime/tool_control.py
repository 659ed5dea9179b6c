"""What people do to a tool call while its tool runs: stop it."""

import asyncio
import contextlib

from aster.v1 import common_pb2, control_service_pb2
from asteros import errors
from asteros.runtime.agent import Agent
from asteros.runtime.approvals import DENIED, Resolved
from asteros.runtime.tool_call import Call

Request = control_service_pb2.ControlToolRequest
STOP_SECONDS = 5.0  # that the caller waits for a tool that does not stop at once


async def control(agent: Agent, request: Request, principal: str) -> common_pb2.ToolCallState:
    """Stops a running tool; the state of its call when that is stored, or after STOP_SECONDS.

    Stopping it again is fine while it stops. Cancelled: it stops all the same.

    :raises ToolCallNotFound:
    :raises WrongState: its tool does not run, or was to be paused: no tool here can be."""
    found = (run.running_call(request.call_id) for run in agent.runs)
    call = next((one for one in found if one is not None), None)
    if call is None:
        row = await agent.deps.store.tool_call(agent.ref.key, request.call_id)
        if row is None:
            raise errors.ToolCallNotFound(request.call_id, agent_id=agent.ref.id)
        state = common_pb2.ToolCallState.Name(row.record.state)
        raise errors.WrongState("the tool does not run", call_id=request.call_id, state=state)
    if request.action != control_service_pb2.TOOL_ACTION_CANCEL:
        raise errors.WrongState("this tool cannot be paused", call_id=request.call_id)
    call.stop(principal, request.note)
    await _withdraw(agent, call, principal)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await call.over.wait()
    return call.record.state


async def _withdraw(agent: Agent, call: Call, principal: str) -> None:
    """Nobody waits any more for the answers to what the tool has asked."""
    rows = await agent.deps.store.pending_of_turn(agent.ref.key, call.record.turn_id)
    for row in rows:
        if (
            row.call_id == call.call.id
            and row.pending.HasField("user_input")
            and not row.pending.HasField("resolution")
        ):
            with contextlib.suppress(errors.RequestAlreadyResolved):
                await agent.approvals.resolve(row.pending.id, Resolved(outcome=DENIED, decided_by=principal))
