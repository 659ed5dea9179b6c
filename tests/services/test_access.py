"""Who may call what: every method of every service, listed from the descriptors (security, parts 1 to 3)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from services.helpers import LIMIT, Server, bearer, call, config_of, decoded, failure, filled, methods, refused, serving

from aster.v1 import access_service_pb2 as access
from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from asteros.services import credentials
from asteros.services.access_table import ANY, EVENTS, ONE_OF, SCOPES, TABLE
from asteros.services.credentials import new_key

pytestmark = pytest.mark.anyio
ROOT = "the-one-key"
Metadata = tuple[tuple[str, str], ...]
REFLECTION = {f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")}
HEALTH = {f"/grpc.health.v1.Health/{name}" for name in health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name}
# What needs a right of its own whatever is asked: not ANY, or decided by ONE_OF.
OPEN_TO_ALL = {"GetServerInfo", "GetCaller", "CreateTicket"}


@pytest.fixture(scope="module")
async def guarded(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with authentication; its own channel has every right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "BAD_TRIES", 100_000)  # this suite guesses a lot, from one address
        folder = tmp_path_factory.mktemp("guarded")
        async with serving(folder, api_key=ROOT, metadata=bearer(ROOT)) as running:
            await running.agent(agent_id="a")
            yield running


@pytest.fixture(scope="module")
async def bare(guarded: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that adds no credentials."""
    async with grpc.aio.insecure_channel(guarded.address) as channel:
        yield channel


async def key(server: Server, *scopes: str, name: str = "somebody") -> Metadata:
    """Metadata of a new key."""
    row, text = new_key(server.store.secret, "default", name, list(scopes))
    await server.store.put_key(row)
    return tuple(bearer(text))


def path(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


# -- the table ---------------------------------------------------------------------


def test_table_and_descriptors_agree() -> None:
    """Both ways: a new method without a line is found here, and refused by the server."""
    assert set(TABLE) == {path(method) for method in methods()} | HEALTH | REFLECTION
    assert {scope for scopes in TABLE.values() for scope in scopes} - SCOPES == {"*"}
    assert {name for name, scopes in TABLE.items() if scopes == ()} == HEALTH
    assert all(TABLE[name] == ANY for name in ONE_OF)


async def test_every_line_is_served(bare: grpc.aio.Channel) -> None:
    """No line stands for a method that nobody registered."""
    for name in TABLE:
        error = await _error(bare.stream_stream(name)(iter([b"\xff"])))
        assert error is None or error.code() is not grpc.StatusCode.UNIMPLEMENTED, name


async def _error(answer: Any) -> grpc.aio.AioRpcError | None:
    """How a call fails; None when it answers."""
    try:
        async with asyncio.timeout(LIMIT):
            await (answer.read() if hasattr(answer, "read") else answer)
    except grpc.aio.AioRpcError as error:
        return error
    answer.cancel()
    return None


async def test_without_a_key(bare: grpc.aio.Channel) -> None:
    """Every method, also one whose request is wrong: 401 comes first."""
    for method in methods():
        for request in (filled(method.input_type), filled(method.input_type, "../x")):
            refusal = decoded(await failure(call(bare, method, request)))
            assert (refusal.code.name, refusal.info.reason) == ("UNAUTHENTICATED", "INVALID_CREDENTIALS"), method.name
            assert set(refusal.details) == {"ErrorInfo", "RequestInfo"}


async def test_with_a_key_without_scopes(guarded: Server, bare: grpc.aio.Channel) -> None:
    """Whether what is asked for exists does not show."""
    nobody = await key(guarded)
    for method in methods():
        if method.name in OPEN_TO_ALL:
            continue
        for agent_id in ("a", "not-there"):
            refusal = decoded(await failure(call(bare, method, filled(method.input_type, agent_id), nobody)))
            assert (refusal.code.name, refusal.info.reason) == ("PERMISSION_DENIED", "SCOPE_REQUIRED"), method.name
            name = path(method)
            assert refusal.metadata["scope"] in (ONE_OF.get(name) or TABLE[name])


async def test_any_valid_key(guarded: Server, bare: grpc.aio.Channel) -> None:
    nobody = await key(guarded, name="nobody")
    codes = {}
    for method in (method for method in methods() if method.name in OPEN_TO_ALL):
        error = await _error(call(bare, method, filled(method.input_type), nobody))
        codes[method.name] = error and error.code()
    assert codes == {"GetServerInfo": None, "GetCaller": None, "CreateTicket": grpc.StatusCode.UNIMPLEMENTED}


async def test_each_scope_of_a_method_counts(guarded: Server, bare: grpc.aio.Channel) -> None:
    """With its scopes it is let in; with all scopes but one of them it is refused by that one's name."""
    for method in methods():
        needed = [scope for scope in TABLE[path(method)] if scope != "*"]
        needed += EVENTS if method.name == "Stream" else ()  # no channel named means all
        request = filled(method.input_type, "not-there")
        if needed:
            error = await _error(call(bare, method, request, await key(guarded, *needed)))
            assert error is None or error.code() is not grpc.StatusCode.PERMISSION_DENIED, method.name
        for missing in needed:
            rest = await key(guarded, *(SCOPES - {missing}))
            refusal = decoded(await failure(call(bare, method, request, rest)))
            assert refusal.metadata == {"scope": missing}, method.name


async def test_health_is_public(bare: grpc.aio.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(bare)
    for service in ("", "aster.v1.AgentService", "aster.v1.WorkflowService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    error = await failure(stub.Check(health_pb2.HealthCheckRequest(service="nothing")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_needs_admin(guarded: Server, bare: grpc.aio.Channel) -> None:
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    reflect = reflection_pb2_grpc.ServerReflectionStub(bare).ServerReflectionInfo
    await refused(reflect(iter(asked)), "UNAUTHENTICATED", "INVALID_CREDENTIALS")
    others = await key(guarded, *(SCOPES - {"admin"}))
    refusal = await refused(reflect(iter(asked), metadata=others), "PERMISSION_DENIED", "SCOPE_REQUIRED")
    assert refusal.metadata == {"scope": "admin"}
    answer = await reflect(iter(asked), metadata=await key(guarded, "admin")).read()
    assert "aster.v1.AgentService" in [each.name for each in answer.list_services_response.service]


# -- scopes that depend on the request -------------------------------------------------


async def test_channels(guarded: Server) -> None:
    """A missing channel is refused with its name, never narrowed silently."""
    for missing in EVENTS:
        metadata = await key(guarded, "runs:write", *(set(EVENTS) - {missing}))
        for channels in ([], [1, 2, 3], [EVENTS.index(missing) + 1]):
            said = agents.StreamRequest(agent_id="a", message="x", channels=channels)
            for asked in (
                guarded_call(guarded, "Subscribe", events.SubscribeRequest(channels=channels), metadata),
                guarded_call(guarded, "ListEvents", events.ListEventsRequest(channels=channels), metadata),
                guarded_call(guarded, "Stream", said, metadata),
            ):
                refusal = await refused(asked, "PERMISSION_DENIED", "SCOPE_REQUIRED")
                assert refusal.metadata == {"scope": missing}
        others = [n + 1 for n in range(3) if EVENTS[n] != missing]
        listed = guarded_call(guarded, "ListEvents", events.ListEventsRequest(channels=others), metadata)
        await listed


def guarded_call(server: Server, name: str, request: Any, metadata: Metadata) -> Any:
    """A call with these credentials in place of the channel's own."""
    method = next(each for each in methods() if each.name == name)
    return call(server.plain, method, request, metadata)


@pytest.fixture(autouse=True, scope="module")
async def _plain(guarded: Server, bare: grpc.aio.Channel) -> None:
    guarded.plain = bare


CONFIGS: dict[str, tuple[agent_pb2.AgentConfig, str]] = {
    "base_url": (
        agent_pb2.AgentConfig(template_id="chat", model_config={"model": "m", "base_url": "https://x.example"}),
        "providers:admin",
    ),
    "api_key": (agent_pb2.AgentConfig(template_id="chat", model_config={"api_key": "k"}), "providers:admin"),
    "api_key of a fallback": (
        agent_pb2.AgentConfig(template_id="chat", model_config={"fallbacks": [{"api_key": "k"}]}),
        "providers:admin",
    ),
    "auto approve": (config_of(permission_mode=agent_pb2.PERMISSION_MODE_AUTO_APPROVE), "tools:admin"),
    "hosts": (config_of(sandbox={"allowed_hosts": ["x.example"]}), "tools:admin"),
}


@pytest.mark.parametrize("name", CONFIGS)
async def test_what_a_config_needs(guarded: Server, name: str) -> None:
    config, scope = CONFIGS[name]
    metadata = await key(guarded, *(SCOPES - {scope}))
    for asked in (
        guarded_call(guarded, "CreateAgent", agents.CreateAgentRequest(config=config), metadata),
        guarded_call(
            guarded, "UpdateAgent", agents.UpdateAgentRequest(agent=agent_pb2.Agent(id="a", config=config)), metadata
        ),
    ):
        refusal = await refused(asked, "PERMISSION_DENIED", "SCOPE_REQUIRED")
        assert refusal.metadata == {"scope": scope}


async def test_turns_of_others(guarded: Server) -> None:
    """runs:write shows the turns a caller started, sessions:read all."""
    ann, bob = await key(guarded, "runs:write", name="ann"), await key(guarded, "runs:write", name="bob")
    reader = await key(guarded, "sessions:read", name="ann")
    sent = await guarded_call(guarded, "Send", agents.SendRequest(agent_id="a", message="x"), ann)
    request = agents.GetTurnRequest(agent_id="a", turn_id=sent.turn.id)
    for metadata in (ann, reader):
        assert (await guarded_call(guarded, "GetTurn", request, metadata)).turn.id == sent.turn.id
    for turn_id in (sent.turn.id, "not-there"):
        request.turn_id = turn_id
        refusal = await refused(guarded_call(guarded, "GetTurn", request, bob), "PERMISSION_DENIED", "SCOPE_REQUIRED")
        assert refusal.metadata == {"scope": "sessions:read"}


async def test_list_of_own_turns(guarded: Server) -> None:
    ann = await key(guarded, "runs:write", name="ann")
    await guarded_call(guarded, "Send", agents.SendRequest(agent_id="a", message="x"), ann)
    assert (await guarded_call(guarded, "ListTurns", agents.ListTurnsRequest(agent_id="a"), ann)).turns


# -- who decided -------------------------------------------------------------------------


async def test_decided_by_is_the_key(guarded: Server) -> None:
    """From the credentials, never from the request; an approver may do nothing else."""
    agent_id, event = await guarded.asking(four_eyes=True)
    approver = await key(guarded, "approvals:decide", "events:control:read", name="ann")
    request = control.ApproveToolCallRequest(agent_id=agent_id, pending_id=event.id, decision=control.DECISION_ALLOW)
    always = control.ApproveToolCallRequest()
    always.CopyFrom(request)
    always.scope = control.DECISION_SCOPE_ALWAYS
    refusal = await refused(
        guarded_call(guarded, "ApproveToolCall", always, approver), "PERMISSION_DENIED", "SCOPE_REQUIRED"
    )
    assert refusal.metadata == {"scope": "agents:write"}
    decided = await guarded_call(guarded, "ApproveToolCall", request, approver)
    assert decided.pending.resolution.decided_by == "ann"
    resolved = (await guarded.seen(agent_id, "control.request_resolved")).control.request_resolved
    assert resolved.decided_by == "ann"


async def test_caller(guarded: Server) -> None:
    caller = (await guarded.access.GetCaller(access.GetCallerRequest())).caller
    assert (caller.principal, set(caller.scopes)) == ("api-key", set(SCOPES))
