"""ControlService: approvals, and the record of what was called (A1 to A7)."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from services.helpers import Server, decoded, pages, refused, serving

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import session_service_pb2 as sessions
from asteros import clock
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
ALLOW, DENY = control.DECISION_ALLOW, control.DECISION_DENY
ASK = common_pb2.PERMISSION_POLICY_ASK


async def approve(server: Server, agent_id: str, pending_id: str, decision: int = ALLOW, **more: Any) -> Any:
    request = control.ApproveToolCallRequest(agent_id=agent_id, pending_id=pending_id, decision=decision, **more)  # type: ignore[arg-type]
    return (await server.control.ApproveToolCall(request)).pending


async def again(server: Server, agent_id: str, text: str) -> agent_pb2.Turn:
    """Says something more; the turn, which must not ask."""
    return (await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message=text), timeout=10)).turn


async def record(server: Server, agent_id: str, call_id: str, offset: int = 0) -> control.ToolCallRecord:
    request = control.GetToolCallRequest(agent_id=agent_id, call_id=call_id, output_offset=offset)
    return (await server.control.GetToolCall(request)).tool_call


async def open_requests(server: Server, agent_id: str) -> list[control.PendingRequest]:
    request = control.ListPendingApprovalsRequest(agent_id=agent_id)
    return list((await server.control.ListPendingApprovals(request)).pending)


def called(event: event_pb2.Event) -> common_pb2.ToolCall:
    return event.control.tool_approval_request.call


# -- allow and deny --------------------------------------------------------------------


async def test_what_is_asked(server: Server) -> None:
    """The whole input, and what it is bound to."""
    agent_id, event = await server.asking("write a.txt: hi")
    asked = event.control.tool_approval_request
    assert asked.pending_id == event.id
    assert json.loads(asked.call.input_json) == {"file_path": "a.txt", "content": "hi"}
    assert (asked.call.name, len(asked.input_digest)) == ("Write", 64)
    (pending,) = await open_requests(server, agent_id)
    assert (pending.id, pending.turn_id, pending.tool_approval) == (event.id, event.turn_id, asked)
    turn = (await server.agents.GetTurn(agents.GetTurnRequest(agent_id=agent_id, turn_id=event.turn_id))).turn
    assert (turn.state, list(turn.pending_ids)) == (agent_pb2.TURN_STATE_WAITING, [event.id])
    day = (pending.expire_time.ToNanoseconds() - pending.create_time.ToNanoseconds()) / clock.NANOS
    assert day == 86_400
    assert (await record(server, agent_id, asked.call.id)).state == common_pb2.TOOL_CALL_STATE_WAITING


async def test_allow(server: Server) -> None:
    agent_id, event = await server.asking("write a.txt: hi")
    digest = event.control.tool_approval_request.input_digest
    pending = await approve(server, agent_id, event.id, note="fine", input_digest=digest)
    assert pending.resolution.outcome == event_pb2.RESOLUTION_OUTCOME_ALLOWED
    assert (pending.resolution.note, pending.resolution.decided_by) == ("fine", "local")
    assert (await server.ended(agent_id, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED
    done = await record(server, agent_id, called(event).id)
    assert (done.state, json.loads(done.result.output_json)["ok"]) == (common_pb2.TOOL_CALL_STATE_COMPLETED, True)
    assert await open_requests(server, agent_id) == []
    assert "hi" in (await again(server, agent_id, "read a.txt")).reply.content[0].text


async def test_deny(server: Server) -> None:
    """The model is told, with the note; the turn goes on; nothing was run."""
    agent_id, event = await server.asking("write denied.txt: hi")
    await approve(server, agent_id, event.id, DENY, note="not today")
    assert (await server.ended(agent_id, event.turn_id)).state == agent_pb2.TURN_STATE_COMPLETED
    done = await record(server, agent_id, called(event).id)
    answer = json.loads(done.result.output_json)
    assert (answer["ok"], answer["note"], done.result.is_error) == (False, "not today", True)
    governed = (await server.seen(agent_id, "monitor.governance", turn_id=event.turn_id)).monitor.governance
    assert governed.call_id == called(event).id
    assert "denied.txt" not in (await again(server, agent_id, "list")).reply.content[0].text


async def test_by_the_id_of_the_call(server: Server) -> None:
    agent_id, event = await server.asking()
    assert (await approve(server, agent_id, called(event).id)).id == event.id


async def test_edited_input(server: Server) -> None:
    agent_id, event = await server.asking("write a.txt: hi")
    edited = json.dumps({"file_path": "b.txt", "content": "changed"})
    pending = await approve(server, agent_id, event.id, edited_input_json=edited)
    assert pending.resolution.edited_input_json == edited
    assert pending.resolution.input_digest != event.control.tool_approval_request.input_digest
    await server.ended(agent_id, event.turn_id)
    text = (await again(server, agent_id, "list")).reply.content[0].text
    assert "b.txt" in text
    assert "a.txt" not in text


@pytest.mark.parametrize("edited", ["{", '{"file_path": 3}', "[]", '{"a": 1, "a": 2}', '{"file_path": "x"}'])
async def test_edited_input_that_does_not_fit(server: Server, edited: str) -> None:
    agent_id, event = await server.asking()
    call = approve(server, agent_id, event.id, edited_input_json=edited)
    refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    assert refusal.fields == ["edited_input_json"]
    assert len(await open_requests(server, agent_id)) == 1  # still to be decided


async def test_same_decision_again(server: Server) -> None:
    agent_id, event = await server.asking()
    first = await approve(server, agent_id, event.id, DENY)
    assert await approve(server, agent_id, event.id, DENY) == first


async def test_a_hundred_deciders(server: Server) -> None:
    """A3: one decision wins; who said the same is told so, the others who and when."""
    agent_id, event = await server.asking()

    async def decide(number: int) -> str:
        try:
            await approve(server, agent_id, event.id, ALLOW if number % 2 else DENY)
        except grpc.aio.AioRpcError as error:
            return decoded(error).info.reason
        return "ALLOWED" if number % 2 else "DENIED"

    results = await asyncio.gather(*(decide(number) for number in range(100)))
    won = next(result for result in results if result != "REQUEST_ALREADY_RESOLVED")
    assert results.count(won) == results.count("REQUEST_ALREADY_RESOLVED") == 50
    await server.ended(agent_id, event.turn_id)
    done = await record(server, agent_id, called(event).id)
    assert (done.state == common_pb2.TOOL_CALL_STATE_COMPLETED) == (won == "ALLOWED")


async def test_parallel_calls(server: Server) -> None:
    """A6: each answer reaches its own call."""
    lines = "\n".join(f"write f{n}.txt: {n}" for n in range(8))
    agent_id, first = await server.asking(lines)
    asked = await open_requests(server, agent_id)
    assert len({pending.id for pending in asked}) == 8
    for number, pending in sorted(enumerate(asked), key=lambda each: each[0] * 5 % 8):
        await approve(server, agent_id, pending.id, ALLOW if number % 2 else DENY)
    await server.ended(agent_id, first.turn_id)
    text = (await again(server, agent_id, "list")).reply.content[0].text
    assert [number for number in range(8) if f"f{number}.txt" in text] == [1, 3, 5, 7]


# -- decisions that reach further ----------------------------------------------------------


@pytest.mark.parametrize("decision", [ALLOW, DENY])
async def test_scope_session(server: Server, decision: int) -> None:
    """The next call of the tool does not ask, in this session alone."""
    agent_id, event = await server.asking("write a.txt: hi")
    await approve(server, agent_id, event.id, decision, scope=control.DECISION_SCOPE_SESSION)
    await server.ended(agent_id, event.turn_id)
    turn = await again(server, agent_id, "write c.txt: more")
    assert (turn.state, "c.txt" in (await again(server, agent_id, "list")).reply.content[0].text) == (
        agent_pb2.TURN_STATE_COMPLETED,
        decision == ALLOW,
    )
    opened = await _session(server, agent_id)
    sent = await server.agents.Send(agents.SendRequest(agent_id=agent_id, session_id=opened, message="write d.txt: x"))
    await server.seen(agent_id, "control.tool_approval_request", turn_id=sent.turn.id)


async def _session(server: Server, agent_id: str) -> str:
    request = sessions.CreateSessionRequest(agent_id=agent_id)
    return (await server.sessions.CreateSession(request)).session.id


async def test_scope_always(server: Server) -> None:
    """Leaves a rule on the agent, for calls like this one, in every session."""
    agent_id, event = await server.asking("write a.txt: hi")
    await approve(server, agent_id, event.id, scope=control.DECISION_SCOPE_ALWAYS)
    await server.ended(agent_id, event.turn_id)
    config = (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent.config
    (rule,) = config.permission_rules
    assert (rule.tool, rule.argument, rule.policy) == ("Write", "a.txt", common_pb2.PERMISSION_POLICY_ALLOW)
    assert (await again(server, agent_id, "write a.txt: more")).state == agent_pb2.TURN_STATE_COMPLETED
    sent = await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="write b.txt: x"))
    await server.seen(agent_id, "control.tool_approval_request", turn_id=sent.turn.id)


async def test_always_is_a_change_of_the_agent(server: Server) -> None:
    """Who read the agent before must not write the rule away."""
    agent_id, event = await server.asking()
    before = (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent
    await approve(server, agent_id, event.id, scope=control.DECISION_SCOPE_ALWAYS)
    update = agents.UpdateAgentRequest(agent=agent_pb2.Agent(id=agent_id, config=before.config, etag=before.etag))
    await refused(server.agents.UpdateAgent(update), "ABORTED", "ETAG_MISMATCH", "RetryInfo")


async def test_two_hundred_rules(server: Server) -> None:
    """One more is refused, and the call waits on."""
    rule = agent_pb2.PermissionRule(tool="Nothing", policy=ASK)
    agent_id, event = await server.asking(permission_rules=[rule] * 200)
    call = approve(server, agent_id, event.id, scope=control.DECISION_SCOPE_ALWAYS)
    await refused(call, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "QuotaFailure")
    assert len(await open_requests(server, agent_id)) == 1


# -- expiry ------------------------------------------------------------------------------


async def test_expiry(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A5: at its stored time, whoever waits; it counts as denied."""
    agent_id, event = await server.asking(approval_timeout=duration_pb2.Duration(seconds=60))
    monkeypatch.setattr(clock, "now", lambda: time.time_ns() + 61 * clock.NANOS)
    turn = await server.ended(agent_id, event.turn_id)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    resolved = (await server.seen(agent_id, "control.request_resolved")).control.request_resolved
    assert (resolved.outcome, resolved.decided_by) == (event_pb2.RESOLUTION_OUTCOME_EXPIRED, "")
    assert json.loads((await record(server, agent_id, called(event).id)).result.output_json)["ok"] is False


async def test_too_late(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision itself looks at the clock: no timer has to be in time."""
    agent_id, event = await server.asking(approval_timeout=duration_pb2.Duration(seconds=60))

    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(server.store, "expired_pending", nothing)
    monkeypatch.setattr(clock, "now", lambda: time.time_ns() + 61 * clock.NANOS)
    for decision in (ALLOW, DENY):
        refusal = await refused(
            approve(server, agent_id, event.id, decision),
            "FAILED_PRECONDITION", "REQUEST_ALREADY_RESOLVED", "PreconditionFailure",
        )  # fmt: skip
        assert refusal.metadata["outcome"] == "EXPIRED"


# -- lists and records -----------------------------------------------------------------------


async def test_list_over_three_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        first, _ = await server.asking("write a: 1\nwrite b: 2\nwrite c: 3")
        second, _ = await server.asking("write d: 1\nwrite e: 2")
        request = control.ListPendingApprovalsRequest(page_size=2)
        found = await pages(server.control.ListPendingApprovals, request, "pending")
        assert [[pending.agent_id for pending in page] for page in found] == [
            [first, first], [first, second], [second]
        ]  # fmt: skip
        ids = [pending.id for page in found for pending in page]
        assert ids == sorted(set(ids))
        assert len(await open_requests(server, second)) == 2


async def test_list_of_a_workflow_run(server: Server) -> None:
    """There are no runs here: none waits, and never everything."""
    await server.asking()
    request = control.ListPendingApprovalsRequest(workflow_run_id="run_1")
    assert not (await server.control.ListPendingApprovals(request)).pending


@tool(read_only=True)
async def big(size: int) -> dict[str, str]:
    """Answers with two-byte characters."""
    return {"text": "é" * size}


async def test_output_in_parts(tmp_path: Path) -> None:
    """Each part is whole characters; together they are the result; events have a preview alone."""
    async with serving(tmp_path, tools=ToolRegistry.builtin().with_tools(big)) as server:
        script = "- - tool: {name: big, id: call_big, input: {size: 1500000}}\n- - text: end\n"
        agent_id = await server.agent(server.script("big", script), tools=["big"])
        await again(server, agent_id, "x")
        parts, offset = [], 0
        while True:
            part = await record(server, agent_id, "call_big", offset)
            parts.append(part.result.output_json)
            assert len(parts[-1].encode()) <= 1024 * 1024
            offset = part.next_output_offset
            if not offset:
                break
        assert len(parts) == 3
        assert json.loads("".join(parts)) == {"text": "é" * 1_500_000}
        end = (await server.seen(agent_id, "progress.tool_end")).progress.tool_end.result
        assert (end.output_json, len(end.output_preview.encode()) <= 65_536) == ("", True)
        assert end.output_size_bytes == len("".join(parts).encode())
        for wrong in (10**9, 12):  # beyond the end, and inside a character
            call = record(server, agent_id, "call_big", wrong)
            refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
            assert refusal.fields == ["output_offset"]
