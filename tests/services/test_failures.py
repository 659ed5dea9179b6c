"""Guarantees, part 4 and M8: what fails inside, and how little of it shows outside."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from services.helpers import (
    LIMIT,
    Server,
    call,
    config_of,
    decoded,
    failure,
    filled,
    methods,
    no_leak,
    refused,
)

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import server_service_pb2 as info
from asteros import errors
from asteros.events.subscription import Subscription
from asteros.services.agents import AgentsServicer

pytestmark = pytest.mark.anyio
SERVING = health_pb2.HealthCheckResponse.SERVING


# -- the store and the server itself --------------------------------------------------

STORE = {
    errors.StoreUnavailable: ("UNAVAILABLE", "STORE_UNAVAILABLE", "RetryInfo"),
    errors.StorageFull: ("RESOURCE_EXHAUSTED", "STORAGE_FULL", "QuotaFailure"),
    errors.StoreCorrupt: ("DATA_LOSS", "STORE_CORRUPT"),
    errors.LeaseLost: ("ABORTED", "LEASE_LOST", "RetryInfo"),
}


@pytest.mark.parametrize("kind", STORE, ids=lambda kind: kind.__name__)
async def test_what_a_store_says(server: Server, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """A store that fails by its promise, in a read and in a write."""
    agent_id = await server.agent()

    async def fails(*_: Any) -> Any:
        raise kind

    monkeypatch.setattr(server.store, "agent", fails)
    monkeypatch.setattr(server.store, "create_agent", fails)
    for asked in (
        server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id)),
        server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id)),
        server.agents.CreateAgent(agents.CreateAgentRequest(config=config_of())),
    ):
        await refused(asked, *STORE[kind])


async def test_overload(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """T4: refused at once; what ends an overload keeps a share of its own."""
    waiting, event = await server.asking()
    monkeypatch.setattr(server.house._grpc.limits, "_max_unary", 0)
    said = server.agents.Send(agents.SendRequest(agent_id=waiting, message="x"))
    await refused(said, "RESOURCE_EXHAUSTED", "RATE_LIMITED", "QuotaFailure", "RetryInfo")
    deny = control.ApproveToolCallRequest(agent_id=waiting, pending_id=event.id, decision=control.DECISION_DENY)
    assert (await server.control.ApproveToolCall(deny)).pending.HasField("resolution")
    await server.agents.Interrupt(agents.InterruptRequest(agent_id=waiting, turn_id=event.turn_id))
    health = health_pb2_grpc.HealthStub(server.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


# -- anything else -------------------------------------------------------------------


class Secret(Exception):
    """What must stay inside."""


HIDDEN = [
    Secret("db password=hunter2 /tmp/aster.db"),
    KeyError("hunter2"),
    RecursionError("hunter2"),
    OSError(2, "hunter2", "/srv/hunter2"),
    ExceptionGroup("hunter2", [ValueError("hunter2")]),
    TimeoutError("hunter2"),
    StopAsyncIteration("hunter2"),
]


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda error: type(error).__name__)
async def test_what_nobody_foresaw(server: Server, monkeypatch: pytest.MonkeyPatch, hidden: Exception) -> None:
    """M8: of a foreign exception nothing leaves but the call's id."""

    async def broken(*_: Any) -> Any:
        raise hidden

    agent_id = await server.agent()
    monkeypatch.setattr(server.registry, "row", broken)
    for failing in (
        server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id)),
        server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id)),
        server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id)),
    ):
        await _internal(failing)


async def test_failure_in_the_middle_of_a_stream(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_id = await server.agent()
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()

    async def broken(_: Any) -> Any:
        raise Secret("hunter2")

    monkeypatch.setattr(Subscription, "next", broken)
    await server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id))
    await _internal(stream)


async def _internal(failing: Any) -> None:
    refusal = await refused(failing, "INTERNAL", "INTERNAL")
    assert (refusal.text, refusal.metadata) == ("internal error", {})
    assert "hunter2" not in str(refusal)


async def test_the_log_knows_the_call(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """RequestInfo is what a caller can tell us, and what the log is searched for."""

    async def broken(*_: Any) -> Any:
        raise Secret("the real cause")

    monkeypatch.setattr(AgentsServicer, "_view", broken)
    failing = server.agents.GetStatus(agents.GetStatusRequest(agent_id=await server.agent()))
    refusal = await refused(failing, "INTERNAL", "INTERNAL")
    record = next(each for each in caplog.records if refusal.details["RequestInfo"].request_id in each.getMessage())
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Secret)


# -- what is not built -----------------------------------------------------------------


async def test_not_available(server: Server) -> None:
    """Every method without a servicer says so, with the name that GetServerInfo lists."""
    agent_id = await server.agent()
    features = set()
    for method in methods():
        try:
            answer = call(server.channel, method, filled(method.input_type, agent_id))
            async with asyncio.timeout(LIMIT):
                await (answer.read() if method.server_streaming else answer)
        except grpc.aio.AioRpcError as error:
            refusal = decoded(error)
            if refusal.code is grpc.StatusCode.UNIMPLEMENTED:
                assert (refusal.info.reason, list(refusal.metadata)) == ("NOT_AVAILABLE", ["feature"])
                features.add(refusal.metadata["feature"])
        answer.cancel()
    told = (await server.info.GetServerInfo(info.GetServerInfoRequest())).server.unavailable_features
    assert features <= set(told)  # some features are no methods
    assert "tickets" in features


async def test_the_guard_sees_unknown(unknown: list[str]) -> None:
    """Planted: without our interceptors grpc.aio leaks, and the guard of this suite notices."""

    async def leaks(_request: bytes, _context: Any) -> bytes:
        raise RuntimeError("hunter2")

    bare = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(leaks)
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        error = await failure(channel.unary_unary("/s/m")(b""))
    await bare.stop(None)
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert len(unknown) == 1
    unknown.clear()
    with pytest.raises(AssertionError):
        no_leak(f"Unexpected {RuntimeError}")
