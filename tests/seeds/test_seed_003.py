"""Seed 003: Create, Chat, Send, Stream. One test for each block of code, in the seed's order."""

import asyncio
import os

import pytest
from seeds.support import Server, blocks_of, claude, echo, only
from wire import AnthropicReply, WireServer

from aster import (
    Agent,
    AgentConfig,
    AgentState,
    AsterClient,
    Channel,
    ChatResult,
    EventView,
    ModelConfig,
    PermissionPolicy,
    SendResult,
    StopReason,
    Subscription,
    errors,
)

pytestmark = pytest.mark.anyio
SEED = "003"
BLOCKS = {
    1: "Create takes a config and gives an agent or an error",
    2: "creating an agent with model, tools and middlewares, and closing it",
    3: "Chat takes a text and gives a result or an error",
    4: "a chat that makes a file; its text and its tokens",
    5: "the result holds message, stop reason and usage",
    6: "Send takes a text and gives nothing but an error",
    7: "subscribing, handling in a task, sending",
    8: "Stream takes a text and options and gives a reader",
    9: "reading a stream up to its end",
}


async def test_01_create(client: AsterClient) -> None:
    """seed 003, block 1: Create takes a config and gives an agent or an error"""
    agent = await client.create_agent(config=AgentConfig(template_id="code-generator"))
    assert isinstance(agent, Agent)
    assert agent.info.config.template_id == "code-generator"
    with pytest.raises(errors.NotFound) as missing:
        await client.create_agent("no-such-template")
    assert missing.value.reason == "TEMPLATE_NOT_FOUND"


async def test_02_create_and_close(client: AsterClient, wire: WireServer) -> None:
    """seed 003, block 2: creating an agent with model, tools and middlewares, and closing it"""
    wire.reply(AnthropicReply(text="你好！"))
    agent = await client.create_agent(
        "assistant",
        model=ModelConfig(
            provider="anthropic",
            model="claude-sonnet-4-5",
            api_key=os.environ["ANTHROPIC_API_KEY"],
            base_url=wire.base_url,
        ),
        tools=["filesystem", "bash"],
        middlewares=["filesystem", "summarization"],
    )
    async with agent:
        assert (await agent.chat("你好")).text == "你好！"
    assert await agent.get_state() == AgentState.CLOSED
    (request,) = wire.requests
    assert request.headers["x-api-key"] == "sk-seed"
    assert request.body["model"] == "claude-sonnet-4-5"
    assert {"Read", "Write", "Ls", "Bash"} <= {tool["name"] for tool in request.body["tools"]}
    described = (await client.get_agent(agent.id)).info
    assert list(described.config.middlewares) == ["filesystem", "summarization"]
    assert list(described.middleware_order) == ["summarization", "filesystem"]  # by priority, outermost first
    assert described.config.model_config.api_key == ""


async def test_03_chat(client: AsterClient) -> None:
    """seed 003, block 3: Chat takes a text and gives a result or an error"""
    agent = await echo(client)
    assert isinstance(await agent.chat("hi"), ChatResult)
    with pytest.raises(errors.AsterError) as refused:
        await agent.chat("")
    assert isinstance(refused.value, errors.InvalidArgument)
    assert [violation.field for violation in refused.value.violations] == ["message"]


async def test_04_chat_makes_a_file(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 003, block 4: a chat that makes a file; its text and its tokens"""
    agent = await client.create_agent("demo")
    result = await agent.chat("创建一个 hello.txt 文件,内容为 Hello World")
    print(f"响应: {result.message.content}")
    print(f"Token 使用: {result.usage.total_tokens}")
    assert capsys.readouterr().out == f"响应: hello.txt 已经写好。\nToken 使用: {result.usage.total_tokens}\n"
    assert result.usage.total_tokens > 0
    assert (await agent.chat("read hello.txt")).text == "hello.txt says:\nHello World"


async def test_05_result(client: AsterClient, server: Server) -> None:
    """seed 003, block 5: the result holds message, stop reason and usage

    tool_use, the third reason of the seed, is seen inside a turn and never at its end."""
    agent = await client.create_agent("demo")
    result = await agent.chat("list")
    assert (result.message.role, result.message.content) == ("assistant", result.text)
    assert result.stop_reason == StopReason.END_TURN
    assert result.usage.total_tokens == result.usage.input_tokens + result.usage.output_tokens > 0
    short = await client.create_agent("chat", model=ModelConfig(provider="scripted", model="echo", max_tokens=1))
    cut = await short.chat("a long answer")
    assert (cut.stop_reason, cut.text) == (StopReason.MAX_TOKENS, "a lo")
    use = server.plays([{"tool": {"name": "Ls"}}, {"stop": "tool_use"}], [{"text": "done"}])
    looking = await client.create_agent("assistant", model=use)
    assert (await looking.chat("look")).stop_reason == StopReason.END_TURN


async def test_06_send(client: AsterClient) -> None:
    """seed 003, block 6: Send takes a text and gives nothing but an error

    Here it gives more: the turn it has stored and a cursor before its first event."""
    agent = await echo(client)
    sent = await agent.send("hi")
    assert isinstance(sent, SendResult)
    assert sent.turn_id.startswith("trn_")
    async with agent.subscribe(["progress"], cursor=sent.cursor, until_turn_complete=True) as events:
        assert [event.kind async for event in events] == ["text_chunk", "text_done", "complete"]
    await agent.close()
    with pytest.raises(errors.FailedPrecondition) as refused:
        await agent.send("hi")
    assert refused.value.reason == "AGENT_CLOSED"


async def test_07_send_with_a_handler(client: AsterClient, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 003, block 7: subscribing, handling in a task, sending"""
    model = server.plays(
        [{"text": "我来看看。"}, {"tool": {"name": "Ls", "input": {"path": "."}}}], [{"text": "目录是空的。"}]
    )
    agent = await client.create_agent("assistant", model=model, tool_permissions={"Ls": PermissionPolicy.ASK})

    async def handle(events: Subscription) -> None:
        async for envelope in events:
            match envelope.kind:
                case "text_chunk":
                    print(envelope.text_delta, end="")
                case "tool_approval_request":
                    print(f"[{envelope.tool_call.name}]", end="")
                    await agent.approve_tool_call(envelope.id, True)

    async with agent.subscribe([Channel.PROGRESS, Channel.CONTROL], until_turn_complete=True) as events:
        handler = asyncio.create_task(handle(events))
        await agent.send("分析当前目录的文件结构")
        await handler
    assert capsys.readouterr().out == "我来看看。[Ls]目录是空的。"


async def test_08_stream(client: AsterClient) -> None:
    """seed 003, block 8: Stream takes a text and options and gives a reader"""
    agent = await echo(client)
    reader = agent.stream("hi", channels=[Channel.PROGRESS], request_id="once")
    assert isinstance(reader, Subscription)
    events = [event async for event in reader]
    assert all(isinstance(event, EventView) for event in events)
    assert [event.kind for event in events] == ["text_chunk", "text_done", "complete"]
    again = [event.id async for event in agent.stream("hi", channels=[Channel.PROGRESS], request_id="once")]
    assert again == [event.id for event in events]


async def test_09_reading_a_stream(
    client: AsterClient, wire: WireServer, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """seed 003, block 9: reading a stream up to its end"""
    wire.reply(AnthropicReply(text="Go 是一门语言。"))
    for agent in (await client.create_agent("demo"), await client.create_agent("chat", model=claude(wire))):
        try:
            async for event in agent.stream("list" if agent.info.config.template_id == "demo" else "介绍一下 Go 语言"):
                match event.kind:
                    case "text_chunk":
                        print(event.text_delta, end="")
                    case "tool_start":
                        print(f"\n[工具调用] {event.tool_call.name}")
        except errors.AsterError as error:
            print(f"错误: {error}")
        print(" EOF")
    expected = "I will list the workspace.\n[工具调用] Ls\nThe workspace is empty. EOF\nGo 是一门语言。 EOF\n"
    assert capsys.readouterr().out == expected
    # A turn that fails ends its stream well; the failure is its last event. What cannot begin is raised.
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    events = [event async for event in failing.stream("hi")]
    assert events[-1].error.reason == only(events, "error")[0].error.reason == "PROVIDER_AUTH"
    await failing.close()
    with pytest.raises(errors.FailedPrecondition):
        await anext(failing.stream("hi"))


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
