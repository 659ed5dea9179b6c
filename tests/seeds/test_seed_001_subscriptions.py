"""Seed 001, subscriptions and good practice. One test for each block of code, in the seed's order."""

import asyncio
import logging
from datetime import timedelta

import pytest
from seeds.support import Server, blocks_of, echo, only

from aster import (
    AsterClient,
    Channel,
    EventView,
    PermissionPolicy,
    Subscription,
    TextChunk,
    ToolApprovalRequest,
    UserInputRequest,
)

pytestmark = pytest.mark.anyio
SEED = "001"
BLOCKS = {
    22: "several channels on one subscription",
    23: "only some types of events",
    24: "three subscribers at once: screen, log, approvals",
    25: "a handler for each channel, rather than one for all",
    26: "handling in a task, rather than in the way of the program",
    27: "a failure while an event is handled does not end the loop",
    28: "unsubscribing when the work is done",
    29: "a buffer of 100 events, and a read that gives up after 100 ms",
    30: "text shown in batches, every 100 ms",
}
ALL = (Channel.PROGRESS, Channel.CONTROL, Channel.MONITOR)
_log = logging.getLogger("seed.001")


async def test_22_several_channels(client: AsterClient) -> None:
    """seed 001, block 22: several channels on one subscription"""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    async with agent.subscribe([Channel.PROGRESS, Channel.MONITOR], until_turn_complete=True) as events:
        sent = await agent.send("write hello.txt: Hello World")
        seen = []
        async for envelope in events:
            seen.append(envelope.channel)
            if envelope.kind == "governance":
                (request,) = [pending async for pending in client.pending_approvals(agent_id=agent.id)]
                await client.approve(request)
    assert set(seen) == {Channel.PROGRESS, Channel.MONITOR}
    assert (await agent.turn(sent.turn_id)).reply.content[0].text == "hello.txt is written."


async def test_23_types_of_events(client: AsterClient) -> None:
    """seed 001, block 23: only some types of events"""
    agent = await client.create_agent("demo")
    wanted = ["progress.text_chunk", "progress.complete"]
    async with agent.subscribe([Channel.PROGRESS], event_types=wanted, until_turn_complete=True) as events:
        await agent.send("write hello.txt: Hello World")
        types = [envelope.type async for envelope in events]
    assert types[-1] == "progress.complete"
    assert set(types[:-1]) == {"progress.text_chunk"}


async def test_24_three_subscribers(client: AsterClient) -> None:
    """seed 001, block 24: three subscribers at once: screen, log, approvals"""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    shown: list[str] = []
    logged: list[str] = []

    async def handle_ui(events: Subscription) -> None:
        async for envelope in events:
            shown.append(envelope.text_delta)

    async def handle_logs(events: Subscription) -> None:
        async for envelope in events:
            logged.append(envelope.type)

    async def handle_approvals(events: Subscription) -> None:
        async for envelope in events:
            if isinstance(envelope.payload, ToolApprovalRequest):
                await agent.approve_tool_call(envelope.id, True)

    async with (
        agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as ui,
        agent.subscribe([Channel.MONITOR], until_turn_complete=True) as logs,
        agent.subscribe([Channel.CONTROL], until_turn_complete=True) as control,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(handle_ui(ui))
        group.create_task(handle_logs(logs))
        group.create_task(handle_approvals(control))
        result = await agent.chat("write hello.txt: Hello World")
    assert "".join(shown) == f"I will write hello.txt.{result.text}"
    assert {"monitor.governance", "monitor.model_call", "monitor.tool_execution"} <= set(logged)


async def test_25_a_handler_for_each_channel(client: AsterClient) -> None:
    """seed 001, block 25: a handler for each channel, rather than one for all"""
    agent = await client.create_agent("demo")

    async def handle(events: Subscription) -> list[EventView]:
        handled = []
        async for envelope in events:
            handled.append(envelope)
            if isinstance(envelope.payload, UserInputRequest):
                await agent.respond_to_input_request(envelope.id, "red")  # the same answer twice is fine
        return handled

    subscriptions = [agent.subscribe([channel], until_turn_complete=True) for channel in ALL]
    mixed = agent.subscribe(ALL, until_turn_complete=True)
    async with subscriptions[0], subscriptions[1], subscriptions[2], mixed:
        handlers = [asyncio.create_task(handle(events)) for events in (*subscriptions, mixed)]
        sent = await agent.send("ask Which colour? [red|green]")
        *apart, together = await asyncio.gather(*handlers)
    assert all(apart)
    assert sorted(event.sequence for events in apart for event in events) == [event.sequence for event in together]
    assert only(together, "complete")[0].turn_id == sent.turn_id


async def test_26_handling_in_a_task(client: AsterClient) -> None:
    """seed 001, block 26: handling in a task, rather than in the way of the program"""
    agent = await echo(client)
    order: list[str] = []
    slow = asyncio.Event()

    async def process(events: Subscription) -> None:
        async for envelope in events:
            await slow.wait()
            order.append(envelope.kind)

    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        handler = asyncio.create_task(process(events))
        result = await agent.chat("hi")  # the slow handler is in nobody's way
        order.append("the program goes on")
        slow.set()
        await handler
    assert result.text == "hi"
    assert order == ["the program goes on", "text_chunk", "text_done", "complete"]
    # Not recommended: until the stream ends, nothing else happens here.
    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        await agent.send("hi")
        assert [envelope.kind async for envelope in events] == ["text_chunk", "text_done", "complete"]


async def test_27_a_failing_handler(client: AsterClient, caplog: pytest.LogCaptureFixture) -> None:
    """seed 001, block 27: a failure while an event is handled does not end the loop"""
    agent = await client.create_agent("demo")
    handled: list[str] = []

    def process_event(envelope: EventView) -> None:
        if envelope.kind in ("tool_start", "tool_end"):
            raise ValueError(envelope.kind)
        handled.append(envelope.kind)

    async def handle(events: Subscription) -> None:
        async for envelope in events:
            try:
                process_event(envelope)
            except ValueError as error:
                _log.error("处理事件失败: %s", error)
                continue

    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        handler = asyncio.create_task(handle(events))
        await agent.chat("write hello.txt: Hello World")
        await handler
    assert caplog.messages == ["处理事件失败: tool_start", "处理事件失败: tool_end"]
    assert handled[-1] == "complete"


async def test_28_unsubscribe(client: AsterClient) -> None:
    """seed 001, block 28: unsubscribing when the work is done

    The end of ``async with`` is the deferred call; said by hand it does the same. What
    had come by then can still be read."""
    agent = await echo(client)
    async with agent.subscribe([Channel.PROGRESS]) as events:
        await agent.send("hi")
        assert isinstance((await anext(events)).payload, TextChunk)
    assert [envelope.kind async for envelope in events] in ([], ["text_done", "complete"])
    assert events.statistics().received <= 3
    async with agent.subscribe([Channel.PROGRESS]) as events:
        await agent.unsubscribe(events)
        await agent.unsubscribe(events)  # twice is fine
        assert [envelope async for envelope in events] == []
    assert (await agent.chat("and on")).text == "and on"


async def test_29_buffer_and_timeout(client: AsterClient) -> None:
    """seed 001, block 29: a buffer of 100 events, and a read that gives up after 100 ms

    Nothing gets lost silently: what the buffer cannot hold is named by a gap."""
    agent = await client.create_agent("chat", provider="scripted", model="flood:5000@0")
    async with agent.subscribe([Channel.PROGRESS], buffer_size=100, until_turn_complete=True) as events:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(timedelta(milliseconds=100).total_seconds()):
                await anext(events)
        result = await agent.chat("go")  # and nobody reads
        seen = [envelope async for envelope in events]
        numbers = events.statistics()
    async with agent.subscribe([Channel.PROGRESS], start="earliest", until_turn_complete=True) as events:
        stored = [envelope async for envelope in events]
    assert seen[-1].kind == "complete"
    assert "".join(envelope.text_delta for envelope in stored) == result.text
    assert numbers.missed > 0
    assert numbers.missed == len(stored) - numbers.received


async def test_30_batches_of_text(client: AsterClient, server: Server) -> None:
    """seed 001, block 30: text shown in batches, every 100 ms"""
    text = "每秒十到五十个文本片段，一次显示一批。" * 2
    agent = await client.create_agent("chat", model=server.plays([{"text": {"text": text, "chunk": 1, "pause": 0.01}}]))
    displayed: list[str] = []
    buffer: list[str] = []
    chunks = 0
    loop = asyncio.get_running_loop()
    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        await agent.send("hi")
        tick, open_ = loop.time() + 0.1, True
        while open_:
            try:
                async with asyncio.timeout_at(tick):
                    envelope = await anext(events)
                if isinstance(envelope.payload, TextChunk):
                    buffer.append(envelope.payload.delta)
                    chunks += 1
                continue
            except TimeoutError:
                tick += 0.1
            except StopAsyncIteration:
                open_ = False
            if buffer:
                displayed.append("".join(buffer))
                buffer.clear()
    assert "".join(displayed) == text
    assert 1 < len(displayed) < chunks


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
