"""A tool-using turn is the same turn whoever thinks: the real SDKs against a server that speaks
the providers' true wire format, compared with the offline provider (acceptance 8 of the runtime)."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from wire import AnthropicReply, ErrorReply, OpenAIReply, Tool, WireServer

from aster.v1 import agent_pb2, agent_service_pb2, agent_service_pb2_grpc, common_pb2, event_pb2
from asteros.app import AsterOS
from asteros.config import Options

pytestmark = pytest.mark.anyio
ALLOW = common_pb2.PERMISSION_POLICY_ALLOW
WRITE = {"file_path": "a.txt", "content": "hi"}
SCRIPT = """
- - text: I will write.
  - tool: {id: call_1, name: Write, input: {file_path: a.txt, content: hi}}
  - tool: {id: call_2, name: Read, input: {file_path: a.txt}}
- - text: Done.
"""
TOOLS = [Tool("Write", WRITE, id="call_1"), Tool("Read", {"file_path": "a.txt"}, id="call_2")]
Stub = agent_service_pb2_grpc.AgentServiceStub


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Stub]:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "two.yaml").write_text(SCRIPT)
    house = AsterOS(Options(data_dir=tmp_path / "data", grpc_port=0, metrics_port=-1, scripts_dir=scripts))
    await house.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{house.grpc_port}") as channel:
        yield Stub(channel)
    await house.stop()


async def turn(agents: Stub, model: agent_pb2.ModelConfig) -> list[event_pb2.Event]:
    """The events of one turn of a new agent with this model."""
    config = agent_pb2.AgentConfig(template_id="assistant", model_config=model, tool_permissions={"Write": ALLOW})
    agent = (await agents.CreateAgent(agent_service_pb2.CreateAgentRequest(config=config))).agent
    events: list[event_pb2.Event] = []
    async for message in agents.Stream(agent_service_pb2.StreamRequest(agent_id=agent.id, message="write and read")):
        events += [frame.event for frame in message.frames if frame.HasField("event")]
    return events


def kinds(events: list[event_pb2.Event]) -> list[str]:
    """Types in order; chunks of one text count once, for providers cut it differently."""
    return [kind for kind, _ in itertools.groupby(event.event_type for event in events)]


def outputs(events: list[event_pb2.Event]) -> list[tuple[str, str]]:
    ends = [event.progress.tool_end.result for event in events if event.event_type == "progress.tool_end"]
    return [(end.call_id, end.output_json) for end in ends]


def complete(events: list[event_pb2.Event]) -> event_pb2.TurnComplete:
    (last,) = [event.progress.complete for event in events if event.event_type == "progress.complete"]
    return last


async def scripted(agents: Stub) -> list[event_pb2.Event]:
    return await turn(agents, agent_pb2.ModelConfig(provider="scripted", model="script:two"))


@pytest.mark.parametrize("provider", ["anthropic", "openai", "deepseek"])
async def test_same_turn(agents: Stub, provider: str) -> None:
    reply = AnthropicReply if provider == "anthropic" else OpenAIReply
    async with WireServer() as wire:
        wire.reply(reply(text="I will write.", tools=TOOLS), reply(text="Done."))
        url = wire.base_url if provider == "anthropic" else wire.openai_url
        model = agent_pb2.ModelConfig(provider=provider, model="some-model", api_key="k", base_url=url)
        events = await turn(agents, model)
        answered = str(wire.requests[1].body)
    expected = await scripted(agents)
    assert kinds(events) == kinds(expected)
    assert outputs(events) == outputs(expected)
    assert complete(events).final_text == complete(expected).final_text == "Done."
    assert complete(events).stop_reason == agent_pb2.STOP_REASON_END_TURN
    assert complete(events).usage.total_tokens == 30  # two calls of 10 in and 5 out
    assert "call_1" in answered
    assert "call_2" in answered


async def test_model_call_says_what_it_cost(agents: Stub) -> None:
    """A known model has its price; an unknown one has none, which is not 0."""
    async with WireServer() as wire:
        wire.reply(
            AnthropicReply(text="One.", model="claude-sonnet-4-5-20250929"), AnthropicReply(text="Two.", model="x-1")
        )
        calls = []
        for _ in range(2):
            model = agent_pb2.ModelConfig(provider="anthropic", model="m", api_key="k", base_url=wire.base_url)
            events = await turn(agents, model)
            calls += [event.monitor.model_call for event in events if event.event_type == "monitor.model_call"]
    priced, unpriced = calls
    assert priced.cost_usd == pytest.approx((10 * 3 + 5 * 15) / 1e6)
    assert not unpriced.HasField("cost_usd")
    assert priced.duration.ToNanoseconds() >= priced.time_to_first_token.ToNanoseconds() > 0


async def test_json_error_fails_the_turn_with_its_reason(agents: Stub) -> None:
    async with WireServer() as wire:
        wire.reply(ErrorReply(status=401))
        model = agent_pb2.ModelConfig(provider="openai", model="m", api_key="bad", base_url=wire.openai_url)
        events = await turn(agents, model)
    assert complete(events).state == agent_pb2.TURN_STATE_FAILED
    assert complete(events).stop_reason == agent_pb2.STOP_REASON_ERROR
    assert complete(events).error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "bad" not in complete(events).error.message
