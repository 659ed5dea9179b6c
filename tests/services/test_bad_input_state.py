"""Guarantees, part 4: the rows that depend on what is there, and on what state it is in."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from services.helpers import (
    Server,
    config_of,
    failure,
    refused,
    serving,
)

from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio
ALLOW, DENY = control.DECISION_ALLOW, control.DECISION_DENY
SERVING = health_pb2.HealthCheckResponse.SERVING


# -- not there, and there already ----------------------------------------------------


async def test_not_found(server: Server) -> None:
    agent_id = await server.agent()
    other = await server.agent()
    session = (await server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=other))).session.id
    decide = {"agent_id": agent_id, "pending_id": "p", "decision": ALLOW}
    rows = [
        ("AGENT", server.agents.GetAgent(agents.GetAgentRequest(agent_id="nobody"))),
        ("AGENT", server.agents.Chat(agents.ChatRequest(agent_id="nobody", message="x"))),
        ("AGENT", server.agents.Stream(agents.StreamRequest(agent_id="nobody", message="x"))),
        ("AGENT", server.events.Subscribe(events.SubscribeRequest(agent_ids=[agent_id, "nobody"]))),
        ("AGENT", server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(agent_id="nobody"))),
        ("SESSION", server.sessions.GetSession(sessions.GetSessionRequest(session_id="nothing"))),
        ("SESSION", server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id="nothing"))),
        ("SESSION", server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", session_id="nothing"))),
        # A session of another agent is as good as none.
        ("SESSION", server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", session_id=session))),
        ("TURN", server.agents.GetTurn(agents.GetTurnRequest(agent_id=agent_id, turn_id="nothing"))),
        ("TURN", server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id="nothing"))),
        ("TOOL_CALL", server.control.GetToolCall(control.GetToolCallRequest(agent_id=agent_id, call_id="c"))),
        ("PENDING_REQUEST", server.control.ApproveToolCall(control.ApproveToolCallRequest(**decide))),
        ("PENDING_REQUEST", server.control.RespondToIterationLimit(control.RespondToIterationLimitRequest(**decide))),
        (
            "PENDING_REQUEST",
            server.control.RespondToInputRequest(
                control.RespondToInputRequestRequest(agent_id=agent_id, pending_id="p", text="x")
            ),
        ),
        ("TEMPLATE", server.agents.CreateAgent(agents.CreateAgentRequest(config={"template_id": "nothing"}))),
        ("TOOL", server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of(tools=["Nothing"])))),
    ]
    for kind, asked in rows:
        refusal = await refused(asked, "NOT_FOUND", f"{kind}_NOT_FOUND", "ResourceInfo")
        assert refusal.details["ResourceInfo"].resource_name


async def test_a_request_of_another_kind(server: Server) -> None:
    """An approval is not to be answered as a question."""
    agent_id, event = await server.asking()
    one = {"agent_id": agent_id, "pending_id": event.id}
    wrong = [
        server.control.RespondToInputRequest(control.RespondToInputRequestRequest(**one, text="x")),
        server.control.RespondToIterationLimit(control.RespondToIterationLimitRequest(**one, decision=ALLOW)),
    ]
    for each in wrong:
        await refused(each, "NOT_FOUND", "PENDING_REQUEST_NOT_FOUND", "ResourceInfo")


async def test_already_exists(server: Server) -> None:
    agent_id = await server.agent(agent_id="taken")
    again = server.agents.CreateAgent(agents.CreateAgentRequest(agent_id=agent_id, config=config_of()))
    refusal = await refused(again, "ALREADY_EXISTS", "AGENT_ALREADY_EXISTS", "ResourceInfo")
    assert "agent already exists: taken" in refusal.text
    request = sessions.CreateSessionRequest(agent_id=agent_id, session_id="mine")
    await server.sessions.CreateSession(request)
    for owner in (agent_id, await server.agent()):
        request.agent_id = owner
        await refused(
            server.sessions.CreateSession(request), "ALREADY_EXISTS", "SESSION_ALREADY_EXISTS", "ResourceInfo"
        )


async def test_request_id_of_another_request(server: Server) -> None:
    agent_id = await server.agent()
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x", request_id="once"))
    others = [
        server.agents.Send(agents.SendRequest(agent_id=agent_id, message="y", request_id="once")),
        server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x", request_id="once")),
        server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="x", request_id="once")),
        server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of(), request_id="once")),
        server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id, request_id="once")),
        server.agents.SendSystemMessage(
            agents.SendSystemMessageRequest(agent_id=agent_id, text="x", request_id="once")
        ),
    ]
    for other in others:
        await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")


# -- states ----------------------------------------------------------------------


async def test_busy_agent(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    one = {"agent_id": agent_id, "message": "x", "busy_policy": agent_pb2.BUSY_POLICY_REJECT}
    for busy in (
        server.agents.Send(agents.SendRequest(**one)),
        server.agents.Chat(agents.ChatRequest(**one)),
        server.agents.Stream(agents.StreamRequest(**one)),
    ):
        refusal = await refused(busy, "ABORTED", "AGENT_BUSY", "RetryInfo")
        assert refusal.metadata == {"agent_id": agent_id, "turn_id": turn_id}
    delete = server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id))
    await refused(delete, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")


async def test_closed_agent(server: Server) -> None:
    agent_id = await server.agent()
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))
    said = {"agent_id": agent_id, "message": "x"}
    for closed in (
        server.agents.Send(agents.SendRequest(**said)),
        server.agents.Chat(agents.ChatRequest(**said)),
        server.agents.Stream(agents.StreamRequest(**said)),
        server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id)),
        server.agents.SendSystemMessage(agents.SendSystemMessageRequest(agent_id=agent_id, text="x")),
        server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=agent_id)),
    ):
        await refused(closed, "FAILED_PRECONDITION", "AGENT_CLOSED", "PreconditionFailure")


async def test_wrong_state(server: Server) -> None:
    agent_id, _ = await server.stuck()
    idle = await server.agent()
    default = (await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))).sessions[0].id
    for wrong in (
        server.agents.Interrupt(agents.InterruptRequest(agent_id=idle)),
        server.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=default)),
    ):
        await refused(wrong, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")


async def test_etag(server: Server) -> None:
    agent_id = await server.agent()
    changed = agent_pb2.Agent(id=agent_id, display_name="x", etag="another")
    for wrong in (
        server.agents.UpdateAgent(agents.UpdateAgentRequest(agent=changed)),
        server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id, etag="another")),
    ):
        await refused(wrong, "ABORTED", "ETAG_MISMATCH", "RetryInfo")


async def test_decided_before(server: Server) -> None:
    agent_id, event = await server.asking()
    one = {"agent_id": agent_id, "pending_id": event.id}
    stale = control.ApproveToolCallRequest(**one, decision=ALLOW, input_digest="0" * 64)
    await refused(server.control.ApproveToolCall(stale), "FAILED_PRECONDITION", "APPROVAL_STALE", "PreconditionFailure")
    await server.control.ApproveToolCall(control.ApproveToolCallRequest(**one, decision=DENY))
    contrary = server.control.ApproveToolCall(control.ApproveToolCallRequest(**one, decision=ALLOW))
    refusal = await refused(contrary, "FAILED_PRECONDITION", "REQUEST_ALREADY_RESOLVED", "PreconditionFailure")
    assert refusal.metadata["decided_by"] == "local"
    assert refusal.metadata["resolve_time"].startswith("20")
    assert refusal.metadata["outcome"] == "DENIED"


async def test_four_eyes(server: Server) -> None:
    """The same person started the turn: refused whatever is decided; a denial would be a decision too."""
    agent_id, event = await server.asking(four_eyes=True)
    for decision in (ALLOW, DENY):
        request = control.ApproveToolCallRequest(agent_id=agent_id, pending_id=event.id, decision=decision)
        await refused(server.control.ApproveToolCall(request), "PERMISSION_DENIED", "FOUR_EYES_REQUIRED")


# -- limits ----------------------------------------------------------------------


async def test_full_turn_queue(server: Server) -> None:
    """100 wait behind the one in progress; the next is refused."""
    agent_id, _ = await server.stuck()
    said = agents.SendRequest(agent_id=agent_id, message="x")
    await asyncio.gather(*(_send(server, said) for _ in range(100)))
    refusal = await refused(server.agents.Send(said), "RESOURCE_EXHAUSTED", "RATE_LIMITED", "QuotaFailure", "RetryInfo")
    assert refusal.details["RetryInfo"].retry_delay.seconds > 0
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert status.queued_turn_count == 100
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))


async def _send(server: Server, request: agents.SendRequest) -> agents.SendResponse:
    return await server.agents.Send(request)


async def test_agent_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, max_agents=2) as full:
        first = await full.agent()
        await full.agent()
        create = agents.CreateAgentRequest(config=config_of())
        refusal = await refused(
            full.agents.CreateAgent(create), "RESOURCE_EXHAUSTED", "AGENT_LIMIT_REACHED", "QuotaFailure", "RetryInfo"
        )
        assert "cosmos is full (max 2 agents)" in refusal.text
        await full.agents.CloseAgent(agents.CloseAgentRequest(agent_id=first))
        await full.agents.CreateAgent(create)  # closed ones do not count


# -- going away --------------------------------------------------------------------


async def test_deadline_and_cancel(server: Server) -> None:
    said = agents.ChatRequest(agent_id=await server.agent(server.script("long", "- - pause: 50\n")), message="x")
    assert (await failure(server.agents.Chat(said, timeout=0.2))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await failure(server.agents.Stream(_stream(said), timeout=0.2))).code() is (
        grpc.StatusCode.DEADLINE_EXCEEDED
    )
    begun = server.agents.Chat(said)
    await server.seen(said.agent_id, "monitor.state_changed")
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    assert await begun.code() is grpc.StatusCode.CANCELLED


def _stream(said: agents.ChatRequest) -> agents.StreamRequest:
    return agents.StreamRequest(agent_id=said.agent_id, message=said.message)


async def test_draining(tmp_path: Path) -> None:
    """New work is refused and streams end with their cursor, while the turn at work may end."""
    async with serving(tmp_path, drain_seconds=10) as server:
        agent_id, turn_id = await server.stuck()
        latest = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status.latest_sequence
        stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id, after_sequence=latest))
        await stream.read()
        health = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == SERVING
        stopping = asyncio.create_task(server.house.stop())
        refusal = await refused(stream, "UNAVAILABLE", "DRAINING", "RetryInfo")
        cursor = refusal.metadata["cursor"]
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        health.cancel()
        for new in (
            server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x")),
            server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x")),
            server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="x")),
            server.events.Subscribe(events.SubscribeRequest(cursor=cursor)),
        ):
            await refused(new, "UNAVAILABLE", "DRAINING", "RetryInfo")
        await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, turn_id=turn_id))
        await stopping
