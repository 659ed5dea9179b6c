"""Seed 004: the state machine and good practice. One test for each block of code, in the seed's order."""

import asyncio
import logging
from pathlib import Path

import pytest
from seeds.support import Server, blocks_of, echo, first, house, life

from aster import AgentState, AsterClient, Channel, EventView, StopReason, errors

pytestmark = pytest.mark.anyio
SEED = "004"
BLOCKS = {
    24: "the five states",
    25: "the ways between them, with the loop of conversations",
    26: "asking for the state while a message is processed",
    27: "an agent is always closed",
    28: "a limit of five minutes",
    29: "events in a task, rather than a long chat in the way of the program",
    30: "a limit that ran out is told apart from other errors",
    31: "one agent for a conversation, rather than an agent for each question",
}
_log = logging.getLogger("seed.004")
STUCK = ([{"text": "begun"}, {"pause": 50}],)


async def test_24_states(client: AsterClient, server: Server) -> None:
    """seed 004, block 24: the five states"""
    assert list(AgentState) == ["created", "started", "running", "stopped", "closed"]
    agent = await client.create_agent("chat", model=server.plays(*STUCK))
    assert await agent.get_state() == AgentState.CREATED
    await agent.start()
    assert await agent.get_state() == AgentState.STARTED
    await agent.send("go")
    assert await agent.get_state() == AgentState.RUNNING
    await agent.close()
    assert await agent.get_state() == AgentState.CLOSED


async def test_25_transitions(tmp_path: Path) -> None:
    """seed 004, block 25: the ways between them, with the loop of conversations

    An agent stops when it leaves memory; this server puts every idle one out. A message
    wakes it again, and it can be closed while it sleeps."""
    async with house(tmp_path / "data", idle_seconds=0.3) as client:
        agent = await echo(client)
        await asyncio.gather(agent.send("one"), agent.send("two"))
        path = await life(agent, "stopped")
        assert await agent.get_state() == AgentState.STOPPED
        loop, end = path[2:-2], path[-2:]
        assert (path[:2], end) == (["created", "started"], ["started", "stopped"])
        # The second message finds the agent still running, or started again.
        assert loop in (["running"], ["running", "started", "running"])
        await agent.close()
        assert await life(agent) == [*path, "closed"]


async def test_26_get_state(client: AsterClient, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """seed 004, block 26: asking for the state while a message is processed"""
    caplog.set_level(logging.INFO, _log.name)
    agent = await client.create_agent("chat", model=server.plays(*STUCK))
    await agent.send("go")
    await first(agent, "text_chunk")
    if await agent.get_state() == AgentState.RUNNING:
        _log.info("Agent正在处理消息")
    assert caplog.messages == ["Agent正在处理消息"]
    await agent.interrupt()
    assert await agent.get_state() == AgentState.STARTED


async def test_27_always_closed(client: AsterClient, server: Server) -> None:
    """seed 004, block 27: an agent is always closed"""
    with pytest.raises(errors.AsterError, match="PROVIDER_AUTH"):
        async with await client.create_agent("chat", model=server.plays([{"fail": "auth"}])) as agent:
            await agent.chat("hi")
    assert await agent.get_state() == AgentState.CLOSED


async def test_28_a_long_limit(client: AsterClient) -> None:
    """seed 004, block 28: a limit of five minutes"""
    agent = await echo(client)
    result = await agent.chat("hi", timeout=5 * 60)
    assert (result.text, result.stop_reason) == ("hi", StopReason.END_TURN)
    async with asyncio.timeout(5 * 60):
        assert (await agent.chat("and again")).text == "and again"


async def test_29_a_long_task(client: AsterClient, server: Server) -> None:
    """seed 004, block 29: events in a task, rather than a long chat in the way of the program"""
    agent = await client.create_agent("chat", model=server.plays(*STUCK))
    handled: list[EventView] = []

    async def handle() -> None:
        async for event in events:
            handled.append(event)

    async with agent.subscribe([Channel.PROGRESS], until_turn_complete=True) as events:
        handler = asyncio.create_task(handle())
        sent = await agent.send("a long task")
        # The program is free: it can look at the turn, and stop it.
        await first(agent, "text_chunk")
        assert (await agent.status()).message.turn_id == sent.turn_id
        await agent.interrupt(sent.turn_id)
        await handler
    assert (handled[0].text_delta, handled[-1].kind) == ("begun", "complete")


async def test_30_kinds_of_errors(client: AsterClient, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """seed 004, block 30: a limit that ran out is told apart from other errors"""
    caplog.set_level(logging.INFO, _log.name)
    stuck = await client.create_agent("chat", model=server.plays(*STUCK))
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    for agent in (stuck, failing, await echo(client)):
        try:
            result = await agent.chat("hi", timeout=1.0)
        except TimeoutError:  # which errors.DeadlineExceeded is
            _log.info("超时")
        except errors.AsterError as error:
            _log.info("错误: %s", error.reason)
        else:
            _log.info(result.text)
    assert caplog.messages == ["超时", "错误: PROVIDER_AUTH", "hi"]


async def test_31_one_agent_for_a_conversation(client: AsterClient) -> None:
    """seed 004, block 31: one agent for a conversation, rather than an agent for each question"""
    async with await client.create_agent("demo") as agent:
        await agent.chat("write answer.txt: 42")
        assert (await agent.chat("read answer.txt")).text == "answer.txt says:\n42"
        said = [message.content async for message in agent.messages() if message.role == "user"]
        assert said == ["write answer.txt: 42", "read answer.txt"]
    # Not recommended: the second agent knows nothing of what the first was told.
    answers = []
    for question in ("write answer.txt: 42", "read answer.txt"):
        async with await client.create_agent("demo") as agent:
            answers.append((await agent.chat(question)).text)
    assert answers[1] == "Read answer.txt did not work: there is no such file or folder"
    assert [message.role async for message in agent.messages()] == ["user", "assistant", "tool", "assistant"]


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
