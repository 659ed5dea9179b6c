"""Guarantees, part 4: what a turn's failure becomes for the caller of Chat.

The same Status is stored with the turn, shown as the agent's last error and sent in
``progress.complete``; Stream carries it there and ends with OK."""

import asyncio
from typing import Any

import pytest
from google.rpc import error_details_pb2
from services.helpers import Refusal, Server, refused

from aster.v1 import agent_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents

pytestmark = pytest.mark.anyio

# kind of the script's failure: code, reason, details
FAILURES = {
    "limit": ("RESOURCE_EXHAUSTED", "PROVIDER_LIMIT", "QuotaFailure", "RetryInfo"),
    "unavailable": ("UNAVAILABLE", "PROVIDER_UNAVAILABLE", "RetryInfo"),
    "stalled": ("UNAVAILABLE", "PROVIDER_STALLED", "RetryInfo"),
    "truncated": ("UNAVAILABLE", "PROVIDER_TRUNCATED", "RetryInfo"),
    "auth": ("FAILED_PRECONDITION", "PROVIDER_AUTH", "PreconditionFailure"),
    "rejected": ("INVALID_ARGUMENT", "PROVIDER_REJECTED"),
}


def failing(server: Server, kind: str) -> str:
    """A model that fails at once; tried again without a pause where that is done."""
    retried = "" if kind in ("auth", "rejected") else ", retry_after: 0"
    return server.script(f"fail-{kind}", f"- - fail: {{kind: {kind}{retried}}}\n")


async def chat(server: Server, agent_id: str, **more: Any) -> agents.ChatResponse:
    return await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="x", **more))


async def same_error_everywhere(server: Server, agent_id: str, refusal: Refusal) -> None:
    """In the turn and in the agent's status, as it was in the answer."""
    request = agents.GetTurnRequest(agent_id=agent_id, turn_id=refusal.metadata["turn_id"])
    turn = (await server.agents.GetTurn(request)).turn
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    for stored in (turn.error, status.last_error):
        info = error_details_pb2.ErrorInfo()
        assert stored.details[0].Unpack(info)
        assert (stored.code, info.reason) == (refusal.code.value[0], refusal.info.reason)
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert status.activity == agent_pb2.AGENT_ACTIVITY_ERROR


@pytest.mark.parametrize("kind", FAILURES)
async def test_provider(server: Server, kind: str) -> None:
    agent_id = await server.agent(failing(server, kind))
    code, reason, *details = FAILURES[kind]
    refusal = await refused(chat(server, agent_id), code, reason, *details)
    assert refusal.metadata["provider"] == "scripted"
    await same_error_everywhere(server, agent_id, refusal)


async def test_retry_after_reaches_the_caller(server: Server) -> None:
    model = server.script("busy", "- - fail: {kind: limit, retry_after: 3600}\n")
    call = chat(server, await server.agent(model))
    refusal = await refused(call, "RESOURCE_EXHAUSTED", "PROVIDER_LIMIT", "QuotaFailure", "RetryInfo")
    assert refusal.details["RetryInfo"].retry_delay.seconds == 3600


async def test_provider_without_a_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    config = agent_pb2.AgentConfig(template_id="chat", model_config={"model": "claude-sonnet-4-5"})
    agent_id = (await server.agents.CreateAgent(agents.CreateAgentRequest(config=config))).agent.id
    refusal = await refused(chat(server, agent_id), "FAILED_PRECONDITION", "PROVIDER_AUTH", "PreconditionFailure")
    await same_error_everywhere(server, agent_id, refusal)


async def test_the_next_turn_clears_the_error(server: Server) -> None:
    agent_id = await server.agent(failing(server, "auth"))
    await refused(chat(server, agent_id), "FAILED_PRECONDITION", "PROVIDER_AUTH", "PreconditionFailure")
    server.script("fail-auth", "- - text: better\n")
    assert (await chat(server, agent_id)).text == "better"
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert (status.activity, status.HasField("last_error")) == (agent_pb2.AGENT_ACTIVITY_IDLE, False)


async def test_stream_ends_well_and_tells(server: Server) -> None:
    agent_id = await server.agent(failing(server, "rejected"))
    complete: event_pb2.TurnComplete | None = None
    async for response in server.agents.Stream(agents.StreamRequest(agent_id=agent_id, message="x")):
        for frame in response.frames:
            if frame.event.progress.HasField("complete"):
                complete = frame.event.progress.complete
    assert complete is not None
    assert (complete.state, complete.error.code) == (agent_pb2.TURN_STATE_FAILED, 3)
    assert complete.stop_reason == agent_pb2.STOP_REASON_ERROR


# -- limits ------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["max_tokens", "max_steps"])
@pytest.mark.parametrize("place", ["budget", "turn_budget", "session_budget", "total_budget"])
async def test_budget(server: Server, place: str, limit: str) -> None:
    if (place, limit) == ("session_budget", "max_steps"):
        pytest.skip("a session counts no steps")
    given = {limit: 0}
    agent_id = await server.agent(**({} if place == "budget" else {place: given}))
    call = chat(server, agent_id, **({"budget": given} if place == "budget" else {}))
    refusal = await refused(call, "RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED", "QuotaFailure")
    assert refusal.metadata["rule"] == f"{place}.{limit}"
    governed = (await server.seen(agent_id, "monitor.governance")).monitor.governance
    assert (governed.rule, governed.decision) == (f"{place}.{limit}", "limit")


async def test_total_budget_counts_earlier_turns(server: Server) -> None:
    """The turn that would cross the limit makes no model call."""
    model = server.script("much", "- - text: x\n  - usage: {input_tokens: 600, output_tokens: 400}\n")
    agent_id = await server.agent(model, total_budget={"max_tokens": 1100})
    assert (await chat(server, agent_id)).turn.usage.total_tokens == 1000
    await refused(chat(server, agent_id), "RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED", "QuotaFailure")


async def test_model_without_a_price(server: Server) -> None:
    """A limit in money cannot be kept when nobody knows what a token costs."""
    config = agent_pb2.AgentConfig(
        template_id="chat",
        model_config={"provider": "openai", "model": "nobody-knows"},
        turn_budget={"max_cost_usd": 1},
    )
    agent_id = (await server.agents.CreateAgent(agents.CreateAgentRequest(config=config))).agent.id
    refusal = await refused(chat(server, agent_id), "FAILED_PRECONDITION", "MODEL_PRICE_UNKNOWN", "PreconditionFailure")
    assert refusal.metadata["model"] == "nobody-knows"


# -- interrupted ---------------------------------------------------------------------


async def test_turn_interrupted_by_another_caller(server: Server) -> None:
    agent_id = await server.agent(server.script("stuck", "- - text: begun\n  - pause: 50\n"))
    waiting = asyncio.ensure_future(chat(server, agent_id))
    turn_id = (await server.seen(agent_id, "progress.text_chunk")).turn_id
    ended = (await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id, reason="enough"))).turn
    refusal = await refused(waiting, "CANCELLED", "TURN_INTERRUPTED")
    assert refusal.metadata["turn_id"] == turn_id == ended.id
    assert ended.state == agent_pb2.TURN_STATE_INTERRUPTED
