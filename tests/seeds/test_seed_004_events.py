"""Seed 004: events of a running agent, and its close. One test for each block of code, in the seed's order."""

from datetime import timedelta

import pytest
from seeds.support import Server, blocks_of, echo, first, life, only, turn

from aster import (
    Agent,
    AgentState,
    AsterClient,
    ErrorRaised,
    PermissionPolicy,
    TextChunk,
    ToolApprovalRequest,
    ToolEnd,
    ToolExecution,
    ToolStart,
    errors,
)

pytestmark = pytest.mark.anyio
SEED = "004"
BLOCKS = {
    18: "events of the progress channel: text, a tool's start, a tool's end",
    19: "events of the monitor channel: an error, a tool's execution",
    20: "events of the control channel: an approval request",
    21: "closing at the end of a block, or by hand",
    22: "each middleware is told that the agent stops",
    23: "a last chat with a limit, then close",
}


async def writer(client: AsterClient, server: Server, **fields: object) -> Agent:
    """An agent whose model says something and makes the seed's call."""
    call = {"name": "Write", "id": "toolu_123", "input": {"path": "/hello.txt", "content": "Hello World"}}
    model = server.plays([{"text": "部分文本"}, {"tool": call}], [{"text": "好了"}])
    return await client.create_agent("assistant", model=model, **fields)


async def test_18_progress_events(client: AsterClient, server: Server) -> None:
    """seed 004, block 18: events of the progress channel: text, a tool's start, a tool's end"""
    agent = await writer(client, server, tool_permissions={"Write": PermissionPolicy.ALLOW})
    events = await turn(agent, "go", channels=["progress"])
    text = next(event for event in events if isinstance(event.payload, TextChunk))
    (start,) = [event for event in events if isinstance(event.payload, ToolStart)]
    (end,) = [event for event in events if isinstance(event.payload, ToolEnd)]
    assert text.payload.delta == "部分文本"
    assert (start.tool_call.id, start.tool_call.name) == ("toolu_123", "Write")
    assert start.tool_call.input == {"path": "/hello.txt", "content": "Hello World"}
    assert (end.payload.result.call_id, end.tool_result["ok"]) == ("toolu_123", True)
    assert text.sequence < start.sequence < end.sequence


async def test_19_monitor_events(client: AsterClient, server: Server) -> None:
    """seed 004, block 19: events of the monitor channel: an error, a tool's execution"""
    agent = await writer(client, server, tool_permissions={"Write": PermissionPolicy.ALLOW})
    (audit,) = only(await turn(agent, "go", channels=["monitor"]), "tool_execution")
    assert isinstance(audit.payload, ToolExecution)
    assert (audit.payload.tool_name, audit.payload.call_id, audit.payload.success) == ("Write", "toolu_123", True)
    assert audit.payload.duration.ToTimedelta() > timedelta(0)
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    (failed,) = only(await turn(failing, "go", channels=["monitor"]), "error")
    assert isinstance(failed.payload, ErrorRaised)
    assert (failed.error.reason, failed.payload.phase) == ("PROVIDER_AUTH", "model")
    assert failed.payload.context


async def test_20_control_events(client: AsterClient, server: Server) -> None:
    """seed 004, block 20: events of the control channel: an approval request"""
    agent = await writer(client, server, tool_permissions={"Write": PermissionPolicy.ASK})
    sent = await agent.send("go")
    request = await first(agent, "tool_approval_request")
    assert isinstance(request.payload, ToolApprovalRequest)
    assert (request.tool_call.id, request.tool_call.name) == ("toolu_123", "Write")
    assert request.payload.reason
    # The call's own id answers too.
    await agent.approve_tool_call("toolu_123", True)
    assert (await first(agent, "complete")).turn_id == sent.turn_id
    assert (await first(agent, "tool_end")).tool_result["ok"] is True


async def test_21_close(client: AsterClient) -> None:
    """seed 004, block 21: closing at the end of a block, or by hand"""
    async with await echo(client) as agent:
        await agent.chat("hi")
    by_hand = await echo(client)
    await by_hand.close()
    for closed in (agent, by_hand):
        assert await closed.get_state() == AgentState.CLOSED
        await closed.close()
        with pytest.raises(errors.FailedPrecondition) as refused:
            await closed.start()
        assert refused.value.reason == "AGENT_CLOSED"
    assert [message.content async for message in agent.messages()] == ["hi", "hi"]


async def test_22_on_agent_stop(client: AsterClient) -> None:
    """seed 004, block 22: each middleware is told that the agent stops

    From outside the moment is the way from CREATED by STARTED to CLOSED, in this order, and
    nothing after it; the hooks are tested where they stand, in tests/middleware."""
    agent = await client.create_agent("chat", middlewares=["filesystem", "summarization"])
    await agent.start()
    await agent.close()
    path = await life(agent)
    assert [state for state in path if state != "stopped"] == ["created", "started", "closed"]
    # Nothing but these changes was written, so the last of them is the newest event.
    assert (await agent.status()).message.latest_sequence == len(path) - 1


async def test_23_graceful_end(client: AsterClient) -> None:
    """seed 004, block 23: a last chat with a limit, then close"""
    agent = await echo(client)
    result = await agent.chat("最后一个问题", timeout=30)
    await agent.close()
    assert result.text == "最后一个问题"
    path = [state for state in await life(agent) if state != "stopped"]
    assert path == ["created", "started", "running", "started", "closed"]


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
