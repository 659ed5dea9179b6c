"""Seed 001, the monitor channel. One test for each block of code, in the seed's order."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

import pytest
from seeds.support import Server, blocks_of, claude, first, only, turn
from wire import AnthropicReply, ErrorReply, Tool, WireServer

from aster import (
    Agent,
    AsterClient,
    Channel,
    ErrorRaised,
    ModelCall,
    PermissionPolicy,
    StateChanged,
    Subscription,
    ToolExecution,
)
from aster.v1 import agent_pb2

pytestmark = pytest.mark.anyio
SEED = "001"
BLOCKS = {
    15: "the event of an error holds the error, its context and the agent",
    16: "logging an error and raising an alert",
    17: "the event of a tool's execution holds name, duration, success and sizes",
    18: "an audit log, a database and metrics of tools",
    19: "the event of a model call holds model, tokens, duration and cost",
    20: "tokens and cost of each call, summed up, and a warning for slow ones",
    21: "statistics of everything that is monitored, beside the program",
}
_log = logging.getLogger("seed.001")
CALL = 10 * 3e-6 + 5 * 15e-6  # dollars of one call of the wire server: 10 tokens in, 5 out


async def test_15_error(client: AsterClient, server: Server) -> None:
    """seed 001, block 15: the event of an error holds the error, its context and the agent"""
    agent = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    await agent.send("hi")
    envelope = await first(agent, "MonitorErrorEvent")
    assert isinstance(envelope.payload, ErrorRaised)
    assert envelope.error.reason == "PROVIDER_AUTH"
    assert envelope.payload.context == "running a turn"
    assert (envelope.payload.severity, envelope.payload.phase) == ("error", "model")
    assert envelope.agent_id == agent.id


async def test_16_errors_raise_alerts(client: AsterClient, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """seed 001, block 16: logging an error and raising an alert"""
    alerts: list[tuple[str, str]] = []
    agent = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    async with agent.subscribe([Channel.MONITOR], until_turn_complete=True) as events:
        await agent.send("hi")
        async for envelope in events:
            match envelope.payload:
                case ErrorRaised(context=context):
                    _log.error("[ERROR] Agent %s: %s (Context: %s)", envelope.agent_id, envelope.error, context)
                    alerts.append(("AgentError", envelope.error.reason))
    assert alerts == [("AgentError", "PROVIDER_AUTH")]
    (line,) = caplog.messages
    assert line.startswith(f"[ERROR] Agent {agent.id}: ")
    assert line.endswith("[PROVIDER_AUTH] (Context: running a turn)")


async def test_17_tool_execution(client: AsterClient) -> None:
    """seed 001, block 17: the event of a tool's execution holds name, duration, success and sizes"""
    agent = await client.create_agent("demo")
    events = await turn(agent, "write hello.txt: Hello World")
    (event,), (start,), (end,) = (only(events, kind) for kind in ("tool_execution", "tool_start", "tool_end"))
    assert isinstance(event.payload, ToolExecution)
    assert (event.payload.tool_name, event.payload.success) == ("Write", True)
    assert timedelta(0) < event.payload.duration.ToTimedelta() < timedelta(seconds=10)
    assert event.payload.input_size_bytes == len(start.payload.call.input_json.encode()) > 0
    assert event.payload.output_size_bytes == len(end.payload.result.output_json.encode()) > 0


async def test_18_tools_are_audited(client: AsterClient, caplog: pytest.LogCaptureFixture) -> None:
    """seed 001, block 18: an audit log, a database and metrics of tools"""
    caplog.set_level(logging.INFO, _log.name)
    database: list[ToolExecution] = []
    durations: dict[str, list[timedelta]] = {}
    agent = await client.create_agent("demo")
    async with agent.subscribe([Channel.MONITOR], until_turn_complete=True) as events:
        await agent.send("read missing.txt\nwrite hello.txt: Hello World")
        async for envelope in events:
            match envelope.payload:
                case ToolExecution(tool_name=name, success=success) as execution:
                    took = execution.duration.ToTimedelta()
                    _log.info("[AUDIT] Tool=%s Duration=%s Success=%s", name, took, success)
                    database.append(execution)
                    durations.setdefault(name, []).append(took)
    assert [(row.tool_name, row.success) for row in database] == [("Read", False), ("Write", True)]
    assert [message.split(" Duration")[0] for message in caplog.messages] == ["[AUDIT] Tool=Read", "[AUDIT] Tool=Write"]
    assert all(took > timedelta(0) for took in (*durations["Read"], *durations["Write"]))


async def test_19_model_call(client: AsterClient, wire: WireServer) -> None:
    """seed 001, block 19: the event of a model call holds model, tokens, duration and cost"""
    wire.reply(AnthropicReply(text="你好"))
    agent = await client.create_agent("chat", model=claude(wire))
    (event,) = only(await turn(agent, "hi"), "model_call")
    assert isinstance(event.payload, ModelCall)
    assert event.payload.model.startswith("claude-sonnet-4-5")
    assert (event.payload.usage.input_tokens, event.payload.usage.output_tokens) == (10, 5)
    assert event.payload.duration.ToTimedelta() > timedelta(0)
    assert event.payload.cost_usd == pytest.approx(CALL)


async def test_20_cost_adds_up(
    client: AsterClient, wire: WireServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """seed 001, block 20: tokens and cost of each call, summed up, and a warning for slow ones"""
    wire.reply(
        AnthropicReply(text="一", usage={"input_tokens": 100_000, "output_tokens": 1000}), AnthropicReply(text="二")
    )
    agent = await client.create_agent("chat", model=claude(wire))
    tokens, total = [], 0.0
    async with agent.subscribe([Channel.MONITOR], event_types=["MonitorModelCallEvent"]) as events:
        await agent.chat("第一个问题")
        await agent.chat("第二个问题")
        async for envelope in events:
            match envelope.payload:
                case ModelCall(usage=usage, cost_usd=cost) as call:
                    tokens.append((usage.input_tokens, usage.output_tokens))
                    total += cost
                    print(f"本次调用成本: ${cost:.4f} (累计: ${total:.4f})")
                    if call.duration.ToTimedelta() > timedelta(seconds=30):
                        _log.warning("[WARN] 模型调用耗时过长: %s", call.duration.ToTimedelta())
            if len(tokens) == 2:
                break
    assert tokens == [(100_000, 1000), (10, 5)]
    lines = ["本次调用成本: $0.3150 (累计: $0.3150)", "本次调用成本: $0.0001 (累计: $0.3151)"]
    assert capsys.readouterr().out.splitlines() == lines
    assert (await agent.status()).message.total_cost_usd == pytest.approx(total)
    assert not caplog.messages


@dataclass
class Stats:
    """What the monitor counts."""

    total_cost: float = 0.0
    tool_calls: int = 0
    errors: int = 0
    average: timedelta = timedelta(0)


async def count(events: Subscription, stats: Stats) -> None:
    """Until the agent is closed."""
    async for envelope in events:
        match envelope.payload:
            case ErrorRaised():
                _log.error("❌ Error: %s", envelope.error)
                stats.errors += 1
            case ToolExecution(duration=duration):
                stats.tool_calls += 1
                stats.average = (stats.average + duration.ToTimedelta()) / 2
            case ModelCall(cost_usd=cost):
                stats.total_cost += cost
                _log.info("💰 Cost: $%.4f (Total: $%.4f)", cost, stats.total_cost)
            case StateChanged(state=agent_pb2.AGENT_STATE_CLOSED):
                return


async def work(agent: Agent) -> None:
    """A turn with a tool, one that fails, and the end."""
    assert (await agent.chat("写一个文件")).text == "写好了"
    await agent.send("再写一个")
    assert (await first(agent, "error")).error.reason == "PROVIDER_AUTH"
    await agent.close()


async def test_21_statistics(client: AsterClient, wire: WireServer, caplog: pytest.LogCaptureFixture) -> None:
    """seed 001, block 21: statistics of everything that is monitored, beside the program"""
    caplog.set_level(logging.INFO, _log.name)
    wire.reply(AnthropicReply(tools=[Tool("Write", {"file_path": "a.txt", "content": "hi"})]))
    wire.reply(AnthropicReply(text="写好了"), ErrorReply(status=401, type="authentication_error"))
    permissions = {"Write": PermissionPolicy.ALLOW}
    agent = await client.create_agent("chat", model=claude(wire), tools=["Write"], tool_permissions=permissions)
    stats = Stats()
    async with agent.subscribe([Channel.MONITOR]) as events:
        monitoring = asyncio.create_task(count(events, stats))
        await work(agent)
        await monitoring
    assert stats.total_cost == pytest.approx(2 * CALL)
    assert (stats.tool_calls, stats.errors) == (1, 1)
    assert stats.average > timedelta(0)
    costs = [line for line in caplog.messages if line.startswith("💰")]
    assert costs[:2] == ["💰 Cost: $0.0001 (Total: $0.0001)", "💰 Cost: $0.0001 (Total: $0.0002)"]


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
