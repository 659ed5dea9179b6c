"""A tool-using turn is the same turn whoever thinks: the real SDKs against a server that speaks
the providers' true wire format, compared with the offline provider (acceptance 8 of the runtime)."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from wire import AnthropicReply, ErrorReply, OpenAIReply, ResponsesReply, Tool, WireServer

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    common_pb2,
    event_pb2,
    session_service_pb2,
    session_service_pb2_grpc,
)
from asteros import errors
from asteros.app import AsterOS
from asteros.config import Options

GRPC_ALONE: dict[str, Any] = {"http_port": -1, "studio_port": -1, "metrics_port": -1}

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


class Channel(Stub):
    """A stub that remembers its channel, for the other services."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)  # type: ignore[no-untyped-call]
        self.channel = channel


@contextlib.asynccontextmanager
async def served(options: Options) -> AsyncIterator[Channel]:
    """A whole server and a channel to it."""
    house = AsterOS(options)
    await house.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{house.grpc_port}") as channel:
        yield Channel(channel)
    await house.stop()


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Channel]:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "two.yaml").write_text(SCRIPT)
    async with served(Options(data_dir=tmp_path / "data", grpc_port=0, **GRPC_ALONE, scripts_dir=scripts)) as stub:
        yield stub


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


REPLIES = {
    "anthropic": AnthropicReply,
    "openai": OpenAIReply,
    "deepseek": OpenAIReply,
    "openai_responses": ResponsesReply,
}


@pytest.mark.parametrize("provider", REPLIES)
async def test_same_turn(agents: Stub, provider: str) -> None:
    reply = REPLIES[provider]
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


SIGNED = {"type": "thinking", "thinking": "let me see", "signature": "c2lnbmVk"}


@pytest.mark.parametrize("shown", [True, False])
async def test_signed_thinking_survives_a_tool_loop_and_stays_in_the_house(agents: Channel, shown: bool) -> None:
    async with WireServer() as wire:
        wire.reply(
            AnthropicReply(thinking="let me see", text="I will.", tools=TOOLS),
            AnthropicReply(text="Done."),
            AnthropicReply(),
        )
        model = agent_pb2.ModelConfig(
            provider="anthropic", model="claude-sonnet-4-5", api_key="k", base_url=wire.base_url
        )
        model.thinking_budget_tokens = 2000
        config = agent_pb2.AgentConfig(
            template_id="assistant", model_config=model, tool_permissions={"Write": ALLOW}, expose_thinking=shown
        )
        agent = (await agents.CreateAgent(agent_service_pb2.CreateAgentRequest(config=config))).agent
        for text in ("write and read", "thanks"):
            answer = await agents.Chat(agent_service_pb2.ChatRequest(agent_id=agent.id, message=text))
        bodies = [request.body for request in wire.requests]
    display = "summarized" if shown else "omitted"
    assert [body["thinking"] for body in bodies] == [{"type": "enabled", "budget_tokens": 2000, "display": display}] * 3
    assert [block["type"] for block in bodies[1]["messages"][1]["content"]] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert bodies[1]["messages"][1]["content"][0] == SIGNED
    assert "signature" not in str(bodies[2]), "the loop is over"
    listed = await agents.ListTurns(agent_service_pb2.ListTurnsRequest(agent_id=agent.id))
    told = f"{answer} {await messages(agents, listed.turns[0].session_id)}"
    assert "c2lnbmVk" not in told
    assert ("let me see" in told) is shown


async def messages(agents: Channel, session_id: str) -> session_service_pb2.ListMessagesResponse:
    """All messages of a session, as a caller reads them."""
    sessions = session_service_pb2_grpc.SessionServiceStub(agents.channel)
    return await sessions.ListMessages(session_service_pb2.ListMessagesRequest(session_id=session_id))


@pytest.mark.parametrize(
    ("profile", "model"), [("", "gpt-balanced"), ("cost", "gpt-cheap"), ("latency", "gpt-balanced")]
)
async def test_the_routing_profile_chooses_and_model_call_tells(
    tmp_path: Path, profile: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "routes.yaml"
    table.write_text(
        "tasks: {chat: {cost: [{model: claude-none}, {provider: openai, model: gpt-cheap}]}}\n"
        "default: [{provider: openai, model: gpt-balanced}]\n"
    )
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {gpt-cheap: {input: 100000, output: 0}}\n")
    for name in ("ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with WireServer() as wire:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", wire.openai_url)
        wire.reply(OpenAIReply(text="hi", model=""))
        options = Options(data_dir=tmp_path / "data", grpc_port=0, **GRPC_ALONE, routes=table, prices=prices)
        async with served(options) as stub:
            config = agent_pb2.AgentConfig(template_id="chat", routing_profile=profile)
            agent = (await stub.CreateAgent(agent_service_pb2.CreateAgentRequest(config=config))).agent
            events = [
                frame.event
                async for message in stub.Stream(agent_service_pb2.StreamRequest(agent_id=agent.id, message="hi"))
                for frame in message.frames
            ]
        assert wire.requests[0].body["model"] == model
    (made,) = [event.monitor.model_call for event in events if event.event_type == "monitor.model_call"]
    assert (made.provider, made.model) == ("openai", model)
    assert made.HasField("cost_usd") is (model == "gpt-cheap")


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        ("routes", "default: [{model: nobody-knows}]", r"default\[0\]: provider is required"),
        ("prices", "models: {m: {input: -1, output: 1}}", "m: input must be dollars"),
        ("allow_url_cidr", "10.0.0.0/99", "--allow-url-cidr"),
    ],
)
async def test_a_wrong_table_stops_the_start(tmp_path: Path, option: str, text: str, complaint: str) -> None:
    file = tmp_path / "table.yaml"
    file.write_text(text)
    given: dict[str, Any] = {option: text if option == "allow_url_cidr" else file}
    with pytest.raises(errors.ConfigError, match=complaint):
        await AsterOS(Options(data_dir=tmp_path / "data", grpc_port=0, **GRPC_ALONE, **given)).start()


@pytest.mark.parametrize(("opened", "allowed"), [("", False), ("127.0.0.0/8", True)])
async def test_with_authentication_loopback_is_an_address_like_others(
    tmp_path: Path, opened: str, allowed: bool
) -> None:
    key = "k" * 40
    options = Options(
        data_dir=tmp_path / "data", grpc_port=0, **GRPC_ALONE, api_key=key, enable_auth=True, allow_url_cidr=opened
    )
    model = agent_pb2.ModelConfig(provider="custom", model="m", base_url="http://127.0.0.1:11434/v1")
    request = agent_service_pb2.CreateAgentRequest(config=agent_pb2.AgentConfig(template_id="chat", model_config=model))
    async with served(options) as stub:
        creating = stub.CreateAgent(request, metadata=[("authorization", f"Bearer {key}")])
        if allowed:
            assert (await creating).agent.id
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await creating
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "address not allowed" in str(caught.value.details())
