"""Seed 001, the control channel. One test for each block of code, in the seed's order."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from seeds.support import Server, blocks_of, first, house, only

from aster import AgentConfig, AsterClient, Channel, PermissionPolicy, ToolApprovalRequest, UserInputRequest
from aster.v1 import event_pb2
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
SEED = "001"
BLOCKS = {
    10: "the event of an approval request holds the call and the reason",
    11: "asking a person and answering by the envelope's id",
    12: "the event of an input request holds the prompt and the options",
    13: "showing the options and sending the answer",
    14: "a policy for each tool: Write asks, fs_delete is denied, Read is allowed",
}


def typing(monkeypatch: pytest.MonkeyPatch, answer: str) -> Callable[[str], str]:
    """A person at the keyboard."""

    def typed(prompt: str = "") -> str:
        print(prompt)
        return answer

    monkeypatch.setattr("builtins.input", typed)
    return typed


async def test_10_approval_request(client: AsterClient) -> None:
    """seed 001, block 10: the event of an approval request holds the call and the reason"""
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    await agent.send("write hello.txt: Hello World")
    envelope = await first(agent, "ToolApprovalRequest")
    assert isinstance(envelope.payload, ToolApprovalRequest)
    assert envelope.tool_call.name == "Write"
    assert envelope.tool_call.input == {"file_path": "hello.txt", "content": "Hello World"}
    assert "ask" in envelope.payload.reason
    assert envelope.payload.pending_id == envelope.id
    assert len(envelope.payload.input_digest) == 64
    assert envelope.payload.expire_time.ToDatetime() > envelope.event.create_time.ToDatetime()


@pytest.mark.parametrize(("answer", "outcome"), [("y", "ALLOWED"), ("n", "DENIED")])
async def test_11_a_person_decides(
    client: AsterClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    outcome: str,
) -> None:
    """seed 001, block 11: asking a person and answering by the envelope's id"""
    typing(monkeypatch, answer)
    agent = await client.create_agent("demo", tool_permissions={"Write": PermissionPolicy.ASK})
    async with agent.subscribe([Channel.CONTROL], until_turn_complete=True) as events:
        sent = await agent.send("write hello.txt: Hello World")
        resolved = []
        async for envelope in events:
            match envelope.payload:
                case ToolApprovalRequest(call=call, reason=reason):
                    print(f"⚠️ 需要审批: {call.name}")
                    print(f"   原因: {reason}")
                    said = await asyncio.to_thread(input, "   是否允许? (y/n): ")
                    await agent.approve_tool_call(envelope.id, said == "y")
                case event_pb2.RequestResolved(outcome=number):
                    resolved.append(event_pb2.ResolutionOutcome.Name(number))
    assert resolved == [f"RESOLUTION_OUTCOME_{outcome}"]
    assert "⚠️ 需要审批: Write\n" in capsys.readouterr().out
    reply = (await agent.turn(sent.turn_id)).reply.content[0].text
    assert reply == (
        "hello.txt is written." if answer == "y" else "Write hello.txt did not work: the user denied this call"
    )


async def test_12_input_request(client: AsterClient) -> None:
    """seed 001, block 12: the event of an input request holds the prompt and the options"""
    agent = await client.create_agent("demo")
    await agent.send("ask Which colour? [red|green]")
    envelope = await first(agent, "ControlUserInputRequest")
    assert isinstance(envelope.payload, UserInputRequest)
    assert envelope.payload.prompt == "Question: Which colour?"
    assert [option.label for option in envelope.payload.options] == ["red", "green"]
    assert envelope.payload.pending_id == envelope.id
    free = await client.create_agent("demo")
    await free.send("ask What is your name?")
    assert list((await first(free, "user_input_request")).payload.options) == []


async def test_13_a_person_answers(
    client: AsterClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """seed 001, block 13: showing the options and sending the answer"""
    typing(monkeypatch, "green")
    agent = await client.create_agent("demo")
    async with agent.subscribe([Channel.CONTROL], until_turn_complete=True) as events:
        sent = await agent.send("ask Which colour? [red|green]")
        async for envelope in events:
            match envelope.payload:
                case UserInputRequest(prompt=prompt, options=options):
                    print(f"💭 Agent请求输入: {prompt}")
                    for number, option in enumerate(options, 1):
                        print(f"  {number}. {option.label}")
                    await agent.respond_to_input_request(envelope.id, await asyncio.to_thread(input))
    shown = ["💭 Agent请求输入: Question: Which colour?", "  1. red", "  2. green"]
    assert capsys.readouterr().out.splitlines()[:3] == shown
    assert (await agent.turn(sent.turn_id)).reply.content[0].text == "You answered: green"


async def test_14_policies(server: Server, tmp_path: Path) -> None:
    """seed 001, block 14: a policy for each tool: Write asks, fs_delete is denied, Read is allowed

    fs_delete is not among the built-in tools, so who embeds the server brings it along."""
    deleted = []

    @tool()
    async def fs_delete(path: str) -> bool:
        """Deletes a file."""
        deleted.append(path)
        return True

    config = AgentConfig(
        template_id="chat",
        tools=["filesystem", "fs_delete"],
        tool_permissions={
            "Write": PermissionPolicy.ASK,
            "fs_delete": PermissionPolicy.DENY,
            "Read": PermissionPolicy.ALLOW,
        },
        model_config=server.plays(
            [
                {"tool": {"name": "Write", "input": {"file_path": "a.txt", "content": "hi"}}},
                {"tool": {"name": "fs_delete", "input": {"path": "a.txt"}}},
                {"tool": {"name": "Read", "input": {"file_path": "a.txt"}}},
            ],
            [{"text": "done"}],
        ),
    )
    tools = ToolRegistry.builtin().with_tools(fs_delete)
    async with house(tmp_path / "data", tools=tools, scripts_dir=server.scripts_dir) as client:
        agent = await client.create_agent(config=config)
        async with agent.subscribe(until_turn_complete=True) as events:
            await agent.send("go")
            seen = []
            async for envelope in events:
                seen.append(envelope)
                if envelope.kind == "tool_approval_request":
                    assert envelope.tool_call.name == "Write"
                    await agent.approve_tool_call(envelope.id, True)
    assert len(only(seen, "tool_approval_request")) == 1
    assert [event.tool_call.name for event in only(seen, "tool_start")] == ["Write", "Read"]
    audited = {event.payload.tool_name: event.payload.success for event in only(seen, "tool_execution")}
    assert audited == {"fs_delete": False, "Write": True, "Read": True}
    assert [event.payload.decision for event in only(seen, "governance")] == ["ask", "deny"]
    assert deleted == []


def test_every_block_has_its_test() -> None:
    assert blocks_of(SEED, globals()) == BLOCKS
