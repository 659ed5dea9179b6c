"""Seed 003: configs, dependencies, messages, envelopes. One test for each block of code, in the seed's order."""

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from seeds.support import Server, blocks_of, claude, echo, house, only, turn
from wire import AnthropicReply, WireServer

from aster import (
    AgentConfig,
    AsterClient,
    ContentBlock,
    Media,
    ModelConfig,
    PermissionPolicy,
    SandboxConfig,
    errors,
)
from asteros.config import Options
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.templates import TemplateRegistry
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
SEED = "003"
BLOCKS = {
    21: "the config: ids, model, tools, middlewares, sandbox, prompt, routing, metadata",
    22: "the model's config: provider, model, key, address and sampling",
    23: "what a server is made of: tools, sandboxes, providers, store, templates",
    24: "making the parts of a server",
    25: "a message: role, content, blocks, tool calls and results",
    26: "an envelope: id, agent, channel, event, time",
    27: "an event: type, text, tool call, tool result, error",
}


async def test_21_agent_config(client: AsterClient, wire: WireServer) -> None:
    """seed 003, block 21: the config: ids, model, tools, middlewares, sandbox, prompt, routing, metadata"""
    wire.reply(AnthropicReply(text="Ahoi!"))
    agent = await client.create_agent(
        config=AgentConfig(
            template_id="assistant",
            model_config=claude(wire),
            tools=["Read"],
            middlewares=["summarization"],
            sandbox=SandboxConfig(kind="local", work_dir="seed-003/21"),
            system_prompt="You are a pirate.",
            routing_profile="performance",
        ),
        metadata={"team": "docs", "tries": 3, "tags": ["a", "b"]},
        agent_id="seed-003-config",
    )
    assert agent.id == "seed-003-config"
    config = (await client.get_agent(agent.id)).info.config
    assert MessageToDict(config.metadata) == {"team": "docs", "tries": 3, "tags": ["a", "b"]}
    assert (config.routing_profile, config.sandbox.work_dir) == ("performance", "seed-003/21")
    assert (await agent.chat("hi")).text == "Ahoi!"
    # The prompt replaces the template's, the tools too, and the model of a config wins over routing.
    (request,) = wire.requests
    assert "You are a pirate." in str(request.body["system"])
    assert "helpful" not in str(request.body["system"])
    assert [offered["name"] for offered in request.body["tools"]] == ["Read"]
    assert request.body["model"] == "claude-sonnet-4-5"
    for profile in ("cost", "balanced", "performance"):
        assert (await echo(client, routing_profile=profile)).info.config.routing_profile == profile
    for refused in (
        AgentConfig(),  # the template is required
        AgentConfig(template_id="chat", routing_profile="cheapest"),
        AgentConfig(template_id="chat", middlewares=["no-such-thing"]),
        AgentConfig(template_id="chat", sandbox=SandboxConfig(kind="docker")),
    ):
        with pytest.raises(errors.InvalidArgument):
            await client.create_agent(config=refused)


async def test_22_model_config(client: AsterClient, wire: WireServer) -> None:
    """seed 003, block 22: the model's config: provider, model, key, address and sampling"""
    wire.reply(AnthropicReply(text="1"), AnthropicReply(text="2"))
    config = claude(wire, temperature=0.0, max_tokens=77, top_p=0.5)
    assert config.HasField("temperature")
    assert not ModelConfig().HasField("temperature")
    await (await client.create_agent("chat", model=config)).chat("hi")
    await (await client.create_agent("chat", model=claude(wire))).chat("hi")
    given, left_out = wire.requests
    assert (given.headers["x-api-key"], given.body["model"]) == ("sk-seed", "claude-sonnet-4-5")
    # 0.0 is a value, not the lack of one.
    assert [given.body[name] for name in ("temperature", "max_tokens", "top_p")] == [0.0, 77, 0.5]
    assert not {"temperature", "top_p"} & set(left_out.body)
    for provider, model in (("openai", "gpt-4.1"), ("deepseek", "deepseek-chat"), ("anthropic", "claude-sonnet-4-5")):
        await client.create_agent("chat", provider=provider, model=model)
    with pytest.raises(errors.InvalidArgument):
        await client.create_agent("chat", provider="nobody", model="m")


async def test_23_dependencies(client: AsterClient) -> None:
    """seed 003, block 23: what a server is made of: tools, sandboxes, providers, store, templates

    They belong to the server and are made once for all its agents. A router is not among
    them: a config without a model gets its template's, else the server's."""
    assert {"tools", "open_workspace", "providers", "store", "templates"} <= set(Dependencies.__dataclass_fields__)
    tools = ToolRegistry.builtin()
    assert {"Read", "Write", "Ls"} <= {each.info.name for each in tools.select(["filesystem"])}
    templates = TemplateRegistry()
    assert templates.get("general-assistant") is templates.get("assistant")
    info = await client.server_info()
    assert (info.name, info.store) == ("AsterOS", "sqlite")
    assert info.sandbox_tier in ("strong", "medium", "none")


async def test_24_making_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """seed 003, block 24: making the parts of a server"""
    monkeypatch.chdir(tmp_path)
    assert Options().data_dir == Path(".aster")

    @tool(read_only=True)
    async def weather(city: str) -> str:
        """Tells the weather."""
        return f"sunny in {city}"

    (tmp_path / "scripts").mkdir()
    steps = '[[{"tool": {"name": "weather", "input": {"city": "Paris"}}}], [{"text": "Sunny."}]]'
    (tmp_path / "scripts/weather.yaml").write_text(steps)
    parts = {"tools": ToolRegistry.builtin().with_tools(weather), "scripts_dir": tmp_path / "scripts"}
    async with house(Path(".aster"), **parts) as client:
        agent = await client.create_agent("chat", provider="scripted", model="script:weather", tools=["weather"])
        (end,) = only(await turn(agent, "How is the weather?"), "tool_end")
        assert end.tool_result == {"ok": True, "result": "sunny in Paris"}
    # What is stored is there again for the next server.
    async with house(Path(".aster"), **parts) as client:
        assert [message.content async for message in client.agent(agent.id).messages()][-1] == "Sunny."


async def test_25_message(client: AsterClient) -> None:
    """seed 003, block 25: a message: role, content, blocks, tool calls and results"""
    agent = await client.create_agent("demo")
    note = Media(data=b"abc", media_type="text/plain", filename="note.txt")
    await agent.chat("write hello.txt: Hello World", content=[ContentBlock(media=note)])
    said, asked, answered, told = [message async for message in agent.messages()]
    assert [message.role for message in (said, asked, answered, told)] == ["user", "assistant", "tool", "assistant"]
    assert said.content == "write hello.txt: Hello World"
    assert [block.WhichOneof("block") for block in said.content_blocks] == ["text", "media"]
    assert said.content_blocks[1].media.filename == "note.txt"
    assert (asked.content, asked.tool_calls[0].name) == ("I will write hello.txt.", "Write")
    assert asked.tool_calls[0].input == {"file_path": "hello.txt", "content": "Hello World"}
    assert answered.tool_results[0].call_id == asked.tool_calls[0].id
    assert (told.content, told.tool_calls, told.tool_results) == ("hello.txt is written.", [], [])
    await agent.send_system_message("Be brief.")
    assert [message.role async for message in agent.messages()][-1] == "system"


async def test_26_envelope(client: AsterClient) -> None:
    """seed 003, block 26: an envelope: id, agent, channel, event, time"""
    agent = await echo(client)
    events = await turn(agent, "hi")
    for envelope in events:
        assert len(envelope.id) == 26
        assert envelope.agent_id == agent.id
        assert envelope.channel == envelope.type.partition(".")[0]
        assert envelope.event.id == envelope.id
        assert envelope.timestamp.tzinfo is not None
    assert len({envelope.id for envelope in events}) == len(events)
    assert [envelope.sequence for envelope in events] == list(range(1, len(events) + 1))


async def test_27_event(client: AsterClient, server: Server) -> None:
    """seed 003, block 27: an event: type, text, tool call, tool result, error

    The facts of the seed's free metadata stand in the envelope: session, turn, step."""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ALLOW})
    events = await turn(agent, "write hello.txt: Hello World")
    (start,), (end,) = only(events, "tool_start"), only(events, "tool_end")
    text = only(events, "text_chunk")[0]
    assert (text.type, text.text_delta) == ("progress.text_chunk", "I ")
    assert (text.tool_call, text.tool_result, text.error) == (None, None, None)
    assert (start.tool_call.name, start.text_delta) == ("Write", "")
    assert end.tool_result["ok"] is True
    assert all((event.turn_id, event.session_id) == (text.turn_id, text.session_id) for event in events[1:])
    assert (text.step, only(events, "text_done")[-1].step) == (1, 2)
    failing = await client.create_agent("chat", model=server.plays([{"fail": "auth"}]))
    (failed,) = only(await turn(failing, "hi"), "error")
    assert isinstance(failed.error, errors.AsterError)
    assert failed.error.reason == "PROVIDER_AUTH"


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
