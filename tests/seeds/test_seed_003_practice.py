"""Seed 003, good practice. One test for each block of code, in the seed's order."""

import asyncio
import logging

import pytest
from seeds.support import Server, blocks_of, echo, first

from aster import Agent, AgentState, AsterClient, Channel, Subscription, TurnState, errors
from aster.types import word
from aster.v1 import agent_pb2

pytestmark = pytest.mark.anyio
SEED = "003"
BLOCKS = {
    28: "closing whatever happens",
    29: "every error is looked at",
    30: "a limit of 30 seconds, and cancelling",
    31: "events handled in a task that unsubscribes at its end",
    32: "calls at once and one after another",
}
_log = logging.getLogger("seed.003")


async def test_28_closing(client: AsterClient) -> None:
    """seed 003, block 28: closing whatever happens"""
    with pytest.raises(errors.NotFound):
        async with await client.create_agent("no-such-template"):
            pytest.fail("there is no agent to use")

    async def program(agent: Agent) -> None:
        async with agent:
            await agent.chat("hi")
            raise ValueError("a mistake of the program")

    agent = await echo(client)
    with pytest.raises(ValueError, match="of the program"):
        await program(agent)
    assert await agent.get_state() == AgentState.CLOSED


async def test_29_errors(client: AsterClient, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """seed 003, block 29: every error is looked at"""
    failing = await client.create_agent("chat", model=server.plays([{"fail": "rejected"}]))
    fallback = await echo(client)
    try:
        result = await failing.chat("hi")
    except errors.AsterError as error:
        _log.error("Chat 失败: %s", error)
        turn = await failing.turn(error.metadata["turn_id"])
        result = await fallback.chat("hi")
    assert result.text == "hi"
    assert word(agent_pb2.TurnState, turn.state) == TurnState.FAILED
    (line,) = caplog.messages
    assert line.startswith("Chat 失败: ")
    assert "[PROVIDER_REJECTED]" in line


async def test_30_limits(client: AsterClient, server: Server) -> None:
    """seed 003, block 30: a limit of 30 seconds, and cancelling

    Who leaves a chat takes its turn along; the agent itself goes on."""
    assert (await (await echo(client)).chat("hi", timeout=30)).text == "hi"
    agent = await client.create_agent("chat", model=server.plays([{"text": "begun"}, {"pause": 50}]))
    with pytest.raises(errors.DeadlineExceeded):
        await agent.chat("go", timeout=1.0)
    ended = await first(agent, "complete")
    assert word(agent_pb2.TurnState, ended.payload.state) == TurnState.INTERRUPTED
    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        chat = asyncio.create_task(agent.chat("go"))
        assert (await anext(events)).text_delta == "begun"
        chat.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chat
        *_, ended = [event async for event in events]
    assert word(agent_pb2.TurnState, ended.payload.state) == TurnState.INTERRUPTED
    assert await agent.get_state() == AgentState.STARTED


async def test_31_a_handler_of_its_own(client: AsterClient) -> None:
    """seed 003, block 31: events handled in a task that unsubscribes at its end"""
    agent = await echo(client)
    handled: list[str] = []
    ready = asyncio.Event()

    async def handle() -> None:
        async with agent.subscribe([Channel.PROGRESS]) as events:
            ready.set()
            async for envelope in events:
                handled.append(envelope.kind)
                if envelope.kind == "complete":
                    return

    handler = asyncio.create_task(handle())
    await ready.wait()
    result = await agent.chat("hi")
    await handler
    assert (result.text, handled) == ("hi", ["text_chunk", "text_done", "complete"])
    # A handler that never ends by itself is ended by whoever unsubscribes.
    async with agent.subscribe([Channel.PROGRESS]) as events:
        handler = asyncio.create_task(_all(events))
        await agent.chat("hi")
        await agent.unsubscribe(events)
        assert {"text_chunk", "text_done", "complete"} >= set(await handler)


async def _all(events: Subscription) -> list[str]:
    return [envelope.kind async for envelope in events]


async def test_32_at_once_or_in_turn(client: AsterClient) -> None:
    """seed 003, block 32: calls at once and one after another

    The seed warns of calls at once. Here they are safe: the turns queue, and messages do not mix."""
    agent = await echo(client)
    sent = await asyncio.gather(agent.send("message1"), agent.send("message2"))
    async with agent.subscribe(event_types=["complete"], start="earliest") as events:
        ended = [(await anext(events)).turn_id, (await anext(events)).turn_id]
    assert sorted(ended) == sorted(result.turn_id for result in sent)
    said = [message.content async for message in agent.messages()]
    assert said in (["message1"] * 2 + ["message2"] * 2, ["message2"] * 2 + ["message1"] * 2)
    # With a lock the order is the program's.
    orderly, lock = await echo(client), asyncio.Lock()

    async def send(text: str) -> None:
        async with lock:
            await orderly.chat(text)

    await asyncio.gather(send("message1"), send("message2"))
    said = [message.content async for message in orderly.messages()]
    assert said == ["message1", "message1", "message2", "message2"]


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
