"""Seed 004: the loop, messages, tools. One test for each block of code, in the seed's order."""

import itertools
import json

import pytest
from seeds.support import Server, blocks_of, claude, first, only, turn
from wire import AnthropicReply, Tool, WireServer

from aster import Agent, AgentState, AsterClient, PermissionPolicy, ToolCall, ToolCallState, ToolResult
from aster.types import word
from aster.v1 import common_pb2
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
SEED = "004"
BLOCKS = {
    10: "a picture: message, model step, text or tools, again, until end_turn",
    11: "a message of the user",
    12: "a message of the system",
    13: "a picture: the eight steps from tool_use to the next model call",
    14: "the model's request for a tool, as JSON",
    15: "finding the tool and running it",
    16: "the response to the model, as JSON",
    17: "a failure is a result, and the model goes on",
}
CALL = {
    "type": "tool_use",
    "id": "toolu_123",
    "name": "Write",
    "input": {"path": "/hello.txt", "content": "Hello World"},
}


async def writer(client: AsterClient, wire: WireServer) -> Agent:
    """An agent whose model makes the seed's call and then says that it is done."""
    wire.reply(AnthropicReply(text="好的。", tools=[Tool(CALL["name"], CALL["input"], CALL["id"])]))
    wire.reply(AnthropicReply(text="写好了。"))
    permissions = {"Write": PermissionPolicy.ALLOW}
    return await client.create_agent("chat", model=claude(wire), tools=["filesystem"], tool_permissions=permissions)


async def test_10_the_loop(client: AsterClient) -> None:
    """seed 004, block 10: a picture: message, model step, text or tools, again, until end_turn"""
    agent = await client.create_agent("demo")
    events = await turn(agent, "write hello.txt: Hello World")
    kinds = [kind for kind, _ in itertools.groupby(event.type for event in events)]
    model_step = ["progress.text_chunk", "progress.text_done", "monitor.model_call", "monitor.token_usage"]
    assert kinds == [
        "monitor.state_changed",
        *model_step,
        *["progress.tool_start", "progress.tool_end", "monitor.tool_execution", "monitor.step_complete"],
        *model_step,
        *["monitor.step_complete", "progress.complete"],
    ]
    steps = [event.step for event in events if event.kind in ("model_call", "tool_end", "step_complete")]
    assert steps == [1, 1, 1, 2, 2]


async def test_11_user_message(client: AsterClient) -> None:
    """seed 004, block 11: a message of the user"""
    agent = await client.create_agent("demo")
    sent = await agent.send("请创建一个hello.txt文件")
    await first(agent, "complete")
    said, answered = [message async for message in agent.messages()]
    assert (said.role, said.content, said.message.turn_id) == ("user", "请创建一个hello.txt文件", sent.turn_id)
    assert answered.role == "assistant"


async def test_12_system_message(client: AsterClient, wire: WireServer) -> None:
    """seed 004, block 12: a message of the system

    It starts no turn, and the model sees it from its next step on."""
    wire.reply(AnthropicReply(text="十点半。"))
    agent = await client.create_agent("chat", model=claude(wire))
    message_id = await agent.send_system_message("当前时间是 2024-01-15 10:30")
    assert await agent.get_state() == AgentState.CREATED
    assert [turn.id async for turn in agent.turns()] == wire.requests == []
    assert (await agent.chat("几点了？")).text == "十点半。"
    assert "当前时间是 2024-01-15 10:30" in json.dumps(wire.requests[0].body, ensure_ascii=False)
    note, asked, told = [message async for message in agent.messages()]
    assert [message.role for message in (note, asked, told)] == ["system", "user", "assistant"]
    assert note.id == message_id


async def test_13_a_tool_in_eight_steps(client: AsterClient, wire: WireServer) -> None:
    """seed 004, block 13: a picture: the eight steps from tool_use to the next model call"""
    agent = await writer(client, wire)
    events = await turn(agent, "请创建一个hello.txt文件")
    seen = [event.kind for event in events if event.kind in ("model_call", "tool_start", "tool_end", "complete")]
    assert seen == ["model_call", "tool_start", "tool_end", "model_call", "complete"]
    asked, answered = wire.requests
    # 3: the model knows the tool because it was offered; 7: its result is in the history; 8: called again.
    assert "Write" in [tool["name"] for tool in asked.body["tools"]]
    assert len(answered.body["messages"]) == len(asked.body["messages"]) + 2
    roles = [message.role async for message in agent.messages()]
    assert roles == ["user", "assistant", "tool", "assistant"]


async def test_14_tool_use(client: AsterClient, wire: WireServer) -> None:
    """seed 004, block 14: the model's request for a tool, as JSON"""
    agent = await writer(client, wire)
    (start,) = only(await turn(agent, "请创建一个hello.txt文件"), "tool_start")
    call = start.payload.call
    assert isinstance(call, ToolCall)
    assert (call.id, call.name, json.loads(call.input_json)) == (CALL["id"], CALL["name"], CALL["input"])
    assert (start.tool_call.id, start.tool_call.name, start.tool_call.input) == (call.id, call.name, CALL["input"])
    # And so the model sees its own call again.
    assert CALL in wire.requests[1].body["messages"][-2]["content"]


async def test_15_tool_execution(client: AsterClient, wire: WireServer) -> None:
    """seed 004, block 15: finding the tool and running it"""
    registry = ToolRegistry.builtin()
    tool = registry.get("write")
    assert tool is not None
    assert tool is registry.get("Write")
    # `path` is another name of the tool's own argument.
    arguments = registry.parse_input(tool, json.dumps(CALL["input"]))
    assert arguments == {"file_path": "/hello.txt", "content": "Hello World"}
    agent = await writer(client, wire)
    await agent.chat("请创建一个hello.txt文件")
    record = await agent.tool_call("toolu_123")
    assert word(common_pb2.ToolCallState, record.state) == ToolCallState.COMPLETED
    assert json.loads(record.result.output_json) == {"ok": True, "path": "/hello.txt", "bytes": 11}


async def test_16_tool_result(client: AsterClient, wire: WireServer) -> None:
    """seed 004, block 16: the response to the model, as JSON"""
    agent = await writer(client, wire)
    (end,) = only(await turn(agent, "请创建一个hello.txt文件"), "tool_end")
    assert isinstance(end.payload.result, ToolResult)
    assert (end.payload.result.call_id, end.payload.result.is_error) == ("toolu_123", False)
    last = wire.requests[1].body["messages"][-1]
    (block,) = [block for block in last["content"] if block["type"] == "tool_result"]
    assert (last["role"], block["tool_use_id"]) == ("user", "toolu_123")
    content = json.loads(block["content"])
    assert (content["ok"], content["path"]) == (True, "/hello.txt")


async def test_17_structured_errors(client: AsterClient, wire: WireServer, server: Server) -> None:
    """seed 004, block 17: a failure is a result, and the model goes on"""
    wire.reply(AnthropicReply(tools=[Tool("Read", {"path": "missing.txt"}, "toolu_1")]))
    wire.reply(AnthropicReply(text="没有这个文件。"))
    agent = await client.create_agent("chat", model=claude(wire), tools=["filesystem"])
    events = await turn(agent, "读 missing.txt")
    (end,), (audit,) = only(events, "tool_end"), only(events, "tool_execution")
    assert end.tool_result == {"ok": False, "error": "there is no such file or folder", "path": "missing.txt"}
    assert (end.payload.result.is_error, end.error, audit.payload.success) == (True, None, False)
    assert end.payload.state == common_pb2.TOOL_CALL_STATE_COMPLETED
    block = wire.requests[1].body["messages"][-1]["content"][0]
    assert (json.loads(block["content"]), block["is_error"]) == (end.tool_result, True)
    assert events[-1].payload.final_text == "没有这个文件。"
    # A tool that does not exist, and input that makes no sense, become results of the same form.
    model = server.plays([{"tool": {"name": "Fly"}}, {"tool": {"name": "Read"}}], [{"text": "so be it"}])
    other = await client.create_agent("assistant", model=model)
    assert (await other.chat("go")).text == "so be it"
    results = [result for message in [m async for m in other.messages()] for result in message.tool_results]
    assert [result.name for result in results] == ["Fly", "Read"]
    for result in results:
        answer = json.loads(result.output_json)
        assert (answer["ok"], result.is_error) == (False, True)
        assert answer["error"]


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
