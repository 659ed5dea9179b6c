"""Seed 001, the progress channel. One test for each block of code, in the seed's order."""

import asyncio

import pytest
from seeds.support import Server, blocks_of, echo, first, only, turn

from aster import (
    Agent,
    AsterClient,
    Channel,
    ModelCall,
    PermissionPolicy,
    TextChunk,
    ToolApprovalRequest,
    ToolCallView,
    ToolEnd,
    ToolStart,
    TurnComplete,
)
from aster.v1 import agent_pb2

pytestmark = pytest.mark.anyio
SEED = "001"
BLOCKS = {
    1: "a picture: one agent, three channels, three readers",
    2: "the event of a text chunk holds a delta",
    3: "printing the answer as it comes",
    4: "the event of a tool's start holds the call with id, name and input",
    5: "showing which tool begins",
    6: "the event of a tool's end holds call id, result and error",
    7: "showing whether a tool worked or failed",
    8: "the event of a turn's end holds the final text and the stop reason",
    9: "a whole reader of the progress channel",
}


async def test_01_three_channels(client: AsterClient) -> None:
    """seed 001, block 1: a picture: one agent, three channels, three readers"""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    screen = agent.subscribe([Channel.PROGRESS], until_turn_complete=True)
    gateway = agent.subscribe([Channel.CONTROL], until_turn_complete=True)
    log = agent.subscribe([Channel.MONITOR], until_turn_complete=True)
    async with screen, gateway, log:
        await agent.send("write plan.txt: one step at a time")
        decided = []
        async for envelope in gateway:
            decided.append(envelope)
            if isinstance(envelope.payload, ToolApprovalRequest):
                await agent.approve_tool_call(envelope.id, True)
        shown = [envelope async for envelope in screen]
        kept = [envelope async for envelope in log]
    for channel, envelopes in (("progress", shown), ("control", decided), ("monitor", kept)):
        assert {envelope.channel for envelope in envelopes} == {channel}
    # Together they are the whole log, and no event is on two channels.
    numbers = sorted(envelope.sequence for envelope in (*shown, *decided, *kept))
    assert numbers == list(range(1, shown[-1].sequence + 1))


async def test_02_text_chunk(client: AsterClient) -> None:
    """seed 001, block 2: the event of a text chunk holds a delta"""
    events = only(await turn(await echo(client), "流式文本输出"), "text_chunk")
    assert len(events) > 1
    assert all(isinstance(event.payload, TextChunk) for event in events)
    assert "".join(event.payload.delta for event in events) == "流式文本输出"


async def test_03_text_is_printed_as_it_comes(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 001, block 3: printing the answer as it comes"""
    agent = await echo(client)
    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        await agent.send("你好，世界")
        async for envelope in events:
            if isinstance(envelope.payload, TextChunk):
                print(envelope.payload.delta, end="")
    assert capsys.readouterr().out == "你好，世界"


async def test_04_tool_start(client: AsterClient) -> None:
    """seed 001, block 4: the event of a tool's start holds the call with id, name and input"""
    agent = await client.create_agent("demo")
    (event,) = only(await turn(agent, "write hello.txt: Hello World"), "tool_start")
    assert isinstance(event.payload, ToolStart)
    assert isinstance(event.tool_call, ToolCallView)
    assert event.tool_call.id.startswith("call_")
    assert event.tool_call.name == "Write"
    assert event.tool_call.input == {"file_path": "hello.txt", "content": "Hello World"}


async def test_05_the_tool_is_announced(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 001, block 5: showing which tool begins"""
    descriptions = {"Write": "写入文件"}
    agent = await client.create_agent("demo")
    async for envelope in agent.stream("write hello.txt: Hello World"):
        match envelope.payload:
            case ToolStart(call=call):
                print(f"\n[🔧 Tool] {call.name}")
                if description := descriptions.get(call.name):
                    print(f"    {description}")
    assert capsys.readouterr().out == "\n[🔧 Tool] Write\n    写入文件\n"


async def stopped_while_it_asks(agent: Agent) -> None:
    """A turn whose tool is cut off, and so ends with an error of its own."""
    sent = await agent.send("ask Which colour? [red|green]")
    await first(agent, "user_input_request")
    await agent.interrupt(sent.turn_id)


async def test_06_tool_end(client: AsterClient) -> None:
    """seed 001, block 6: the event of a tool's end holds call id, result and error"""
    agent = await client.create_agent("demo")
    events = await turn(agent, "write hello.txt: Hello World")
    (start,), (end,) = only(events, "tool_start"), only(events, "tool_end")
    assert isinstance(end.payload, ToolEnd)
    assert end.payload.result.call_id == start.tool_call.id
    assert end.tool_result == {"ok": True, "path": "hello.txt", "bytes": 11}
    assert end.error is None
    other = await client.create_agent("demo")
    await stopped_while_it_asks(other)
    failed = await first(other, "tool_end")
    assert failed.tool_result["ok"] is False
    assert (failed.error.reason, type(failed.error).__name__) == ("TURN_INTERRUPTED", "Cancelled")


async def test_07_the_result_is_shown(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 001, block 7: showing whether a tool worked or failed"""
    agent = await client.create_agent("demo")
    await agent.chat("write hello.txt: Hello World")
    await stopped_while_it_asks(agent)
    async with agent.subscribe([Channel.PROGRESS], start="earliest") as events:
        ended = 0
        async for envelope in events:
            match envelope.payload:
                case ToolEnd():
                    print(f"  ❌ 失败: {envelope.error.reason}" if envelope.error else "  ✅ 完成")
                    ended += 1
            if ended == 2:
                break
    assert capsys.readouterr().out.splitlines() == ["  ✅ 完成", "  ❌ 失败: TURN_INTERRUPTED"]


async def test_08_turn_complete(client: AsterClient, server: Server) -> None:
    """seed 001, block 8: the event of a turn's end holds the final text and the stop reason

    Three of the four reasons end a turn; tool_use ends a model call inside one."""
    for reason in ("end_turn", "max_tokens", "stop_sequence"):
        agent = await client.create_agent("chat", model=server.plays([{"text": "好"}, {"stop": reason}]))
        last = (await turn(agent, "hi"))[-1].payload
        assert isinstance(last, TurnComplete)
        assert last.final_text == "好"
        assert last.stop_reason == agent_pb2.StopReason.Value(f"STOP_REASON_{reason.upper()}")
    calls = only(await turn(await client.create_agent("demo"), "list"), "model_call")
    assert all(isinstance(call.payload, ModelCall) for call in calls)
    reasons = [agent_pb2.STOP_REASON_TOOL_USE, agent_pb2.STOP_REASON_END_TURN]
    assert [call.payload.stop_reason for call in calls] == reasons


async def test_09_a_reader_of_progress(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 001, block 9: a whole reader of the progress channel"""
    agent = await client.create_agent("demo")

    async def subscribe_progress() -> None:
        async for envelope in events:
            match envelope.payload:
                case TextChunk(delta=text):
                    print(text, end="")
                case ToolStart(call=call):
                    print(f"\n\n🔧 [Tool] {call.name}")
                    print(f"   Input: {envelope.tool_call.input}")
                case ToolEnd():
                    print(f"   ❌ Error: {envelope.error}" if envelope.error else "   ✅ Success")
                case TurnComplete(stop_reason=agent_pb2.STOP_REASON_END_TURN):
                    print("\n\n✅ 完成 (Reason: end_turn)")

    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        reader = asyncio.create_task(subscribe_progress())
        result = await agent.chat("write hello.txt: Hello World")
        await reader
    assert capsys.readouterr().out == (
        "I will write hello.txt.\n\n🔧 [Tool] Write\n"
        "   Input: {'file_path': 'hello.txt', 'content': 'Hello World'}\n"
        f"   ✅ Success\n{result.text}\n\n✅ 完成 (Reason: end_turn)\n"
    )


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
