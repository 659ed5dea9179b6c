"""Seed 004: create, start, chat, send. One test for each block of code, in the seed's order."""

import asyncio
import os
from pathlib import Path

import pytest
from seeds.support import Server, blocks_of, echo, first, house, life, only, turn
from wire import AnthropicReply, Tool, WireServer

from aster import (
    Agent,
    AgentConfig,
    AgentState,
    AsterClient,
    Channel,
    ModelConfig,
    PermissionPolicy,
    SandboxConfig,
    StateChanged,
    Subscription,
    TextChunk,
    ToolStart,
    TurnComplete,
    errors,
)
from aster.v1 import agent_pb2
from asteros.runtime.dependencies import Dependencies
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
SEED = "004"
BLOCKS = {
    1: "a picture: create, start, run in a loop with tools, close",
    2: "creating an agent with a model and a local sandbox in a folder",
    3: "the config: id, template, model, sandbox, middlewares, prompt, tools",
    4: "what a server needs: store, sandboxes, tools, providers, templates; middlewares",
    5: "starting an agent, by hand or by its first chat",
    6: "each middleware is told that the agent starts",
    7: "chatting and printing the text of the result",
    8: "the four steps of a chat",
    9: "subscribing, handling in a task, sending",
}


async def test_01_the_life_of_an_agent(client: AsterClient) -> None:
    """seed 004, block 1: a picture: create, start, run in a loop with tools, close"""
    async with await client.create_agent("demo") as agent:
        assert await agent.get_state() == AgentState.CREATED
        events = await turn(agent, "write hello.txt: Hello World")
    assert (await life(agent))[:3] == ["created", "started", "running"]
    assert (await life(agent))[-1] == "closed"
    loop = [event.kind for event in events if event.kind in ("model_call", "tool_start", "tool_end", "complete")]
    assert loop == ["model_call", "tool_start", "tool_end", "model_call", "complete"]


async def test_02_create(client: AsterClient, wire: WireServer, server: Server) -> None:
    """seed 004, block 2: creating an agent with a model and a local sandbox in a folder"""
    wire.reply(AnthropicReply(tools=[Tool("Write", {"path": "hello.txt", "content": "Hello World"})]))
    wire.reply(AnthropicReply(text="写好了"))
    agent = await client.create_agent(
        "assistant",
        model=ModelConfig(
            provider="anthropic",
            model="claude-sonnet-4-5",
            api_key=os.environ["ANTHROPIC_API_KEY"],
            base_url=wire.base_url,
        ),
        sandbox=SandboxConfig(kind="local", work_dir="./workspace"),
        tool_permissions={"Write": PermissionPolicy.ALLOW},
    )
    assert (await agent.chat("请创建一个hello.txt文件")).text == "写好了"
    assert server.named_file("workspace", "hello.txt").read_text() == "Hello World"
    with pytest.raises(errors.InvalidArgument):
        await client.create_agent("assistant", sandbox=SandboxConfig(work_dir="../elsewhere"))


async def test_03_agent_config(client: AsterClient, tmp_path: Path) -> None:
    """seed 004, block 3: the config: id, template, model, sandbox, middlewares, prompt, tools

    Tools go by name over the wire; an instance is given to the server that is embedded."""
    config = AgentConfig(
        template_id="assistant",
        model_config=ModelConfig(provider="scripted", model="demo"),
        sandbox=SandboxConfig(kind="local", work_dir="seed-004"),
        middlewares=["filesystem"],
        system_prompt="Be brief.",
        tools=["AskUserQuestion"],
    )
    agent = await client.create_agent(config=config, agent_id="seed-004-config")
    assert (agent.id, agent.info.config) == ("seed-004-config", config)
    assert (await echo(client)).id.startswith("agt_")  # made up where none is given
    # The middleware has brought its tools along.
    assert only(await turn(agent, "list"), "tool_end")[0].tool_result["ok"] is True

    @tool(name="Ls", read_only=True)
    async def listing(path: str) -> list[str]:
        """Lists what is not there."""
        return [f"{path}: nothing"]

    async with house(tmp_path / "data", tools=ToolRegistry([listing])) as embedded:
        agent = await embedded.create_agent("chat", provider="scripted", model="demo", tools=["Ls"])
        (end,) = only(await turn(agent, "list"), "tool_end")
        assert end.tool_result == {"ok": True, "result": [".: nothing"]}


async def test_04_dependencies(client: AsterClient) -> None:
    """seed 004, block 4: what a server needs: store, sandboxes, tools, providers, templates; middlewares"""
    needed = {"store", "open_workspace", "tools", "providers", "templates"}
    assert needed <= set(Dependencies.__dataclass_fields__)
    agent = await client.create_agent("chat", middlewares=["filesystem", "summarization"])
    assert list(agent.info.middleware_order) == ["summarization", "filesystem"]
    with pytest.raises(errors.InvalidArgument) as refused:
        await client.create_agent("chat", middlewares=["filesystem", "no-such-thing"])
    assert [violation.field for violation in refused.value.violations] == ["config.middlewares[1]"]


async def test_05_start(client: AsterClient) -> None:
    """seed 004, block 5: starting an agent, by hand or by its first chat"""
    agent = await echo(client)
    await agent.start()
    assert await agent.get_state() == AgentState.STARTED
    await agent.start()  # nothing happens
    by_itself = await echo(client)
    await by_itself.chat("hi")
    assert await by_itself.get_state() == AgentState.STARTED
    assert await life(agent, "started") == await life(by_itself, "started") == ["created", "started"]


async def test_06_on_agent_start(client: AsterClient) -> None:
    """seed 004, block 6: each middleware is told that the agent starts

    From outside the moment is the change from CREATED to STARTED, once, before anything of
    the first turn; the hooks are tested where they stand, in tests/middleware."""
    agent = await client.create_agent("demo", middlewares=["filesystem", "summarization"])
    events = await turn(agent, "list")
    assert isinstance(events[0].payload, StateChanged)
    assert events[0].payload.previous_state == agent_pb2.AGENT_STATE_CREATED
    assert events[0].payload.state == agent_pb2.AGENT_STATE_STARTED
    again = [event.payload.state for event in only(await turn(agent, "list"), "state_changed")]
    assert again == [agent_pb2.AGENT_STATE_RUNNING]


async def test_07_chat(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 004, block 7: chatting and printing the text of the result"""
    result = await (await echo(client)).chat("你好，请介绍一下Go语言")
    print(result.text)
    assert capsys.readouterr().out == "你好，请介绍一下Go语言\n"


async def test_08_what_a_chat_is(client: AsterClient) -> None:
    """seed 004, block 8: the four steps of a chat

    Send, Subscribe, a loop up to the end, the result. From the cursor that Send gives, a
    subscription made after it misses nothing."""

    async def chat(agent: Agent, text: str) -> str:
        sent = await agent.send(text)
        async with agent.subscribe([Channel.PROGRESS], cursor=sent.cursor, turn_id=sent.turn_id) as events:
            async for envelope in events:
                if isinstance(envelope.payload, TurnComplete):
                    return envelope.payload.final_text
        raise AssertionError("the stream has ended before the turn")

    text = "write hello.txt: Hello World"
    ours, theirs = await client.create_agent("demo"), await client.create_agent("demo")
    assert await chat(ours, text) == (await theirs.chat(text)).text == "hello.txt is written."


async def test_09_send(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 004, block 9: subscribing, handling in a task, sending"""
    agent = await client.create_agent("demo")

    async def handle(events: Subscription) -> None:
        async for envelope in events:
            match envelope.payload:
                case TextChunk(delta=text):
                    print(text, end="")
                case ToolStart(call=call):
                    print(f"\n[Tool] {call.name}")

    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        handler = asyncio.create_task(handle(events))
        sent = await agent.send("创建一个 hello.txt 文件，内容为 你好")
        await handler
    assert capsys.readouterr().out == "我来写入 hello.txt。\n[Tool] Write\nhello.txt 已经写好。"
    assert (await first(agent, "complete")).turn_id == sent.turn_id


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
