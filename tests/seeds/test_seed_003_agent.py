"""Seed 003: Subscribe, Unsubscribe, ID, Status, Close. One test for each block of code, in the seed's order."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from seeds.support import Server, blocks_of, echo, first

from aster import (
    AgentActivity,
    AgentState,
    AgentStatus,
    AsterClient,
    Channel,
    EventView,
    PermissionPolicy,
    Subscription,
    errors,
)

pytestmark = pytest.mark.anyio
SEED = "003"
BLOCKS = {
    10: "Subscribe takes channels and options and gives a channel of envelopes",
    11: "subscribing to two types of two channels",
    12: "Unsubscribe takes a channel of events",
    13: "unsubscribing after use",
    14: "ID gives a text",
    15: "printing the id",
    16: "Status gives a status",
    17: "printing state, messages, steps and uptime",
    18: "the status holds state, counters, uptime and last activity",
    19: "Close gives nothing but an error",
    20: "closing at the end of a block, or by hand with a check",
}
# Every name of the seed's table of event types, and what it means here.
TYPES = {
    "EventTypeTextDelta": "progress.text_chunk",
    "EventTypeTextDone": "progress.text_done",
    "EventTypeToolCallRequest": "control.tool_approval_request",
    "EventTypeToolCallResult": "progress.tool_end",
    "EventTypeGovernance": "monitor.governance",
    "EventTypeError": "monitor.error",
}
_log = logging.getLogger("seed.003")


async def test_10_subscribe(client: AsterClient) -> None:
    """seed 003, block 10: Subscribe takes channels and options and gives a channel of envelopes"""
    agent = await echo(client)
    channels = [Channel.PROGRESS, Channel.CONTROL, Channel.MONITOR]
    subscription = agent.subscribe(channels, event_types=["progress.*"], buffer_size=10, heartbeat_interval=5.0)
    assert isinstance(subscription, Subscription)
    async with subscription as events:
        await agent.send("hi")
        envelope = await anext(events)
    assert isinstance(envelope, EventView)
    assert (envelope.channel, envelope.text_delta) == ("progress", "hi")


async def test_11_types_by_their_names(client: AsterClient, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 003, block 11: subscribing to two types of two channels"""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    async with agent.subscribe(
        [Channel.PROGRESS, Channel.CONTROL],
        event_types=["EventTypeTextDelta", "EventTypeToolCallRequest"],
        until_turn_complete=True,
    ) as events:
        await agent.send("write hello.txt: Hello World")
        async for envelope in events:
            print(f"[{envelope.channel}] {envelope.type}: {envelope}")
            if envelope.kind == "tool_approval_request":
                await agent.approve_tool_call(envelope.id, True)
    lines = capsys.readouterr().out.splitlines()
    heads = {line.partition(": ")[0] for line in lines}
    assert heads == {"[progress] progress.text_chunk", "[control] control.tool_approval_request"}
    # The rest of the seed's table: each name finds its events, and no others.
    await agent.chat("list")
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    await failing.send("hi")
    for name, canonical in TYPES.items():
        source = failing if name == "EventTypeError" else agent
        assert (await first(source, name)).type == canonical


async def test_12_unsubscribe(client: AsterClient) -> None:
    """seed 003, block 12: Unsubscribe takes a channel of events"""
    agent = await echo(client)
    async with agent.subscribe() as events:
        assert await agent.unsubscribe(events) is None
        assert await agent.unsubscribe(events) is None
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_13_unsubscribe_after_use(client: AsterClient) -> None:
    """seed 003, block 13: unsubscribing after use"""
    agent = await echo(client)
    async with agent.subscribe([Channel.PROGRESS]) as events:
        reader = asyncio.create_task(anext(events))
        await agent.send("hi")
        assert (await reader).text_delta == "hi"
        waiting = asyncio.create_task(anext(events, None))
        # Also a reader that waits just now learns that it is over.
        await agent.unsubscribe(events)
        while (envelope := await waiting) is not None:
            assert envelope.channel == "progress"
            waiting = asyncio.create_task(anext(events, None))
    assert (await agent.chat("still there")).text == "still there"


async def test_14_id(client: AsterClient) -> None:
    """seed 003, block 14: ID gives a text"""
    agent = await echo(client, agent_id="seed-003-fourteen")
    assert isinstance(agent.id, str)
    assert agent.id == "seed-003-fourteen"
    with pytest.raises(errors.AlreadyExists):
        await echo(client, agent_id="seed-003-fourteen")


async def test_15_the_id_is_printed(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 003, block 15: printing the id"""
    agent = await echo(client)
    print(f"Agent ID: {agent.id}")
    assert capsys.readouterr().out.startswith("Agent ID: agt_")
    assert (await client.get_agent(agent.id)).id == agent.id


async def test_16_status(client: AsterClient) -> None:
    """seed 003, block 16: Status gives a status"""
    agent = await echo(client)
    assert isinstance(await agent.status(), AgentStatus)
    assert (await agent.status()).state == AgentState.CREATED  # asking wakes nobody
    with pytest.raises(errors.NotFound):
        await client.agent("seed-003-nobody").status()


async def test_17_the_status_is_printed(client: AsterClient, capsys: pytest.CaptureFixture[str]) -> None:
    """seed 003, block 17: printing state, messages, steps and uptime"""
    agent = await client.create_agent("demo")
    await agent.chat("write hello.txt: Hello World")
    status = await agent.status()
    print(f"状态: {status.state}")
    print(f"消息数: {status.message_count}")
    print(f"步数: {status.step_count}")
    print(f"运行时间: {status.uptime}")
    # User, call, result, answer: two steps, because the model spoke twice.
    shown = ["状态: started", "消息数: 4", "步数: 2", f"运行时间: {status.uptime}"]
    assert capsys.readouterr().out.splitlines() == shown


async def test_18_status_fields(client: AsterClient, server: Server) -> None:
    """seed 003, block 18: the status holds state, counters, uptime and last activity

    The seed's four runtime states are ``activity`` here; ``state`` is the life cycle of seed 004."""
    agent = await client.create_agent("demo")
    await agent.chat("list")
    status = await agent.status()
    assert (status.state, status.activity) == (AgentState.STARTED, AgentActivity.IDLE)
    assert (status.message_count, status.step_count) == (4, 2)
    assert timedelta(0) < status.uptime < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - status.last_activity) < timedelta(minutes=1)
    await agent.send("ask Which colour?")
    await first(agent, "user_input_request")
    assert (await agent.status()).activity == AgentActivity.WAITING
    busy = await client.create_agent("chat", model=server.plays([{"text": "begun"}, {"pause": 50}]))
    await busy.send("go")
    await first(busy, "text_chunk")
    assert (await busy.status()).activity == AgentActivity.WORKING
    await busy.interrupt()
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    with pytest.raises(errors.AsterError):
        await failing.chat("hi")
    status = await failing.status()
    assert (status.activity, status.error.reason) == (AgentActivity.ERROR, "PROVIDER_AUTH")


async def test_19_close(client: AsterClient) -> None:
    """seed 003, block 19: Close gives nothing but an error"""
    agent = await echo(client)
    assert await agent.close() is None
    assert await agent.close() is None
    with pytest.raises(errors.NotFound):
        await client.agent("seed-003-nobody").close()


async def test_20_closing(client: AsterClient, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """seed 003, block 20: closing at the end of a block, or by hand with a check"""
    async with await echo(client) as agent:
        await agent.chat("hi")
    assert await agent.get_state() == AgentState.CLOSED
    busy = await client.create_agent("chat", model=server.plays([{"text": "begun"}, {"pause": 50}]))
    sent = await busy.send("go")
    await first(busy, "text_chunk")
    try:
        await busy.close()
    except errors.AsterError as error:
        _log.error("关闭 Agent 失败: %s", error)
    assert not caplog.messages
    # What ran is interrupted, what was said stays readable, and nothing new begins.
    assert (await first(busy, "complete")).turn_id == sent.turn_id
    assert [message.content async for message in busy.messages()] == ["go", "begun"]
    with pytest.raises(errors.FailedPrecondition):
        await busy.chat("again")


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
