"""A server in this process, raw stubs over a real socket, and how a refusal is read."""

import asyncio
import builtins
import contextlib
import inspect
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from aster.v1 import (
    access_service_pb2_grpc,
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    control_service_pb2_grpc,
    cosmos_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    server_service_pb2_grpc,
    session_service_pb2_grpc,
    stars_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from asteros import errors
from asteros.app import AsterOS
from asteros.config import Options
from asteros.services.server import services

LIMIT = 20.0  # seconds that anything in a test may take; a correct server needs a fraction
Metadata = Sequence[tuple[str, str]]

# A turn that has begun and does not end by itself.
STUCK = "- - text: begun\n  - pause: 50\n"
_NAMES = [name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
_NAMES += [name for name, kind in inspect.getmembers(builtins, inspect.isclass) if issubclass(kind, Exception)]
LEAK = re.compile(
    rf"Traceback|/tmp|/work|/home|\.py\b|sqlite|\bSELECT\b|\bINSERT\b|asteros\.|<class|0x[0-9a-f]+|\b({'|'.join(_NAMES)})\b"
)


# -- a server ------------------------------------------------------------------


class Server:
    """A running server and a channel to it."""

    plain: grpc.aio.Channel  # one without credentials, where a test has set it

    def __init__(self, house: AsterOS, scripts: Path) -> None:
        self.house = house
        self.scripts = scripts
        self.address = f"127.0.0.1:{house.grpc_port}"
        self.registry = house._registry
        self.store = house._registry.deps.store

    def dial(self, channel: grpc.aio.Channel) -> "Server":
        self.channel = channel
        self.agents = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.control = control_service_pb2_grpc.ControlServiceStub(channel)
        self.access = access_service_pb2_grpc.AccessServiceStub(channel)
        self.cosmos = cosmos_service_pb2_grpc.CosmosServiceStub(channel)
        self.stars = stars_service_pb2_grpc.StarsServiceStub(channel)
        self.workflows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self.info = server_service_pb2_grpc.ServerServiceStub(channel)
        return self

    def script(self, name: str, text: str) -> str:
        """Writes a script; the model that plays it."""
        (self.scripts / f"{name}.yaml").write_text(text)
        return f"script:{name}"

    async def agent(self, model: str = "echo", agent_id: str = "", **config: Any) -> str:
        """A new agent with an offline model; its id."""
        request = agent_service_pb2.CreateAgentRequest(agent_id=agent_id, config=config_of(model, **config))
        return (await self.agents.CreateAgent(request)).agent.id

    async def asking(self, text: str = "write a.txt: hi", **config: Any) -> tuple[str, event_pb2.Event]:
        """An agent that waits for a person: its id and the control event."""
        agent_id = await self.agent("demo", **{"template_id": "assistant", **config})
        await self.agents.Send(agent_service_pb2.SendRequest(agent_id=agent_id, message=text))
        return agent_id, await self.seen(
            agent_id, "control.tool_approval_request", "control.user_input_request", "control.iteration_limit"
        )

    async def stuck(self, **config: Any) -> tuple[str, str]:
        """An agent with a turn in progress that does not end by itself: both ids."""
        agent_id = await self.agent(self.script("stuck", STUCK), **config)
        sent = await self.agents.Send(agent_service_pb2.SendRequest(agent_id=agent_id, message="go"))
        await self.seen(agent_id, "progress.text_chunk")
        return agent_id, sent.turn.id

    async def seen(self, agent_id: str, *event_types: str, turn_id: str = "") -> event_pb2.Event:
        """The first stored event of these types, as soon as there is one."""
        request = event_service_pb2.SubscribeRequest(
            agent_id=agent_id,
            event_types=event_types,
            turn_id=turn_id,
            position=event_service_pb2.START_POSITION_EARLIEST,
        )
        async with asyncio.timeout(LIMIT):
            call = self.events.Subscribe(request)
            async for response in call:
                for frame in response.frames:
                    if frame.HasField("event"):
                        call.cancel()
                        return frame.event
        raise AssertionError("the stream ended")

    async def ended(self, agent_id: str, turn_id: str) -> agent_pb2.Turn:
        """The turn, after its end."""
        await self.seen(agent_id, "progress.complete", turn_id=turn_id)
        return (await self.agents.GetTurn(agent_service_pb2.GetTurnRequest(agent_id=agent_id, turn_id=turn_id))).turn


def config_of(model: str = "echo", template_id: str = "chat", **config: Any) -> agent_pb2.AgentConfig:
    return agent_pb2.AgentConfig(
        template_id=template_id, model_config=agent_pb2.ModelConfig(provider="scripted", model=model), **config
    )


def options(folder: Path, **more: Any) -> Options:
    """Quick to stop, and without a sync to the disk for every commit."""
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    ports = {"grpc_port": 0, "http_port": -1, "studio_port": -1, "metrics_port": -1}
    given = {**ports, "durability": "normal", "drain_seconds": 0.2, **more}
    return Options(data_dir=folder / "data", scripts_dir=scripts, **given)


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, tools: Any = None, functions: Any = None, metadata: Metadata = (), **more: Any
) -> AsyncIterator[Server]:
    """A server with its own data; ``metadata`` goes with every call."""
    chosen = options(folder, **more)
    house = AsterOS(chosen, tools=tools, functions=functions)
    await house.start()
    assert chosen.scripts_dir is not None
    try:
        async with dialled(f"127.0.0.1:{house.grpc_port}", metadata) as channel:
            yield Server(house, chosen.scripts_dir).dial(channel)
    finally:
        await house.stop()


def dialled(address: str, metadata: Metadata = ()) -> grpc.aio.Channel:
    interceptors = [_AddsUnary(metadata), _AddsStream(metadata)] if metadata else []
    # A pool of its own: a global one would share connections, and what they were told, between tests.
    return grpc.aio.insecure_channel(
        address, interceptors=interceptors, options=(("grpc.use_local_subchannel_pool", 1),)
    )


def bearer(key: str) -> Metadata:
    return (("authorization", f"Bearer {key}"),)


class _Adds:
    """Metadata for every call of a channel."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def _go(self, continuation: Any, details: Any, request: Any) -> Any:
        merged = grpc.aio.Metadata(*(tuple(details.metadata or ()) + tuple(self._metadata)))
        return await continuation(details._replace(metadata=merged), request)


class _AddsUnary(_Adds, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._go(continuation, client_call_details, request)


class _AddsStream(_Adds, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._go(continuation, client_call_details, request)


# -- a refusal -------------------------------------------------------------------


@dataclass
class Refusal:
    """What a failed call said, decoded."""

    code: grpc.StatusCode
    text: str
    info: error_details_pb2.ErrorInfo
    details: dict[str, Any]
    fields: list[str]  # of BadRequest

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.info.metadata)


_KINDS: dict[str, type[Message]] = {
    name: getattr(error_details_pb2, name)
    for name in (
        "BadRequest", "ErrorInfo", "PreconditionFailure", "QuotaFailure", "RequestInfo", "ResourceInfo", "RetryInfo"
    )
}  # fmt: skip


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error of a call that must fail; of a stream, whatever came before it is read."""
    try:
        async with asyncio.timeout(LIMIT):
            if hasattr(call, "read"):
                while await call.read() is not grpc.aio.EOF:
                    pass
            else:
                await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call was not refused")


async def refused(call: Any, code: str, reason: str, *kinds: str) -> Refusal:
    """Asserts code, reason and exactly these kinds of details (beside ErrorInfo and RequestInfo)."""
    refusal = decoded(await failure(call))
    assert (refusal.code.name, refusal.info.reason) == (code, reason), refusal.text
    assert sorted(set(refusal.details) - {"ErrorInfo", "RequestInfo"}) == sorted(kinds)
    return refusal


def decoded(error: grpc.aio.AioRpcError) -> Refusal:
    """What holds for every error of ours is asserted here (guarantees, part 4; M8, M20)."""
    trailers = dict(error.trailing_metadata() or ())
    raw = trailers.get("grpc-status-details-bin")
    assert raw is not None, f"no details: {error.code()} {error.details()}"
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    details: dict[str, Any] = {}
    for packed in status.details:
        kind = packed.TypeName().removeprefix("google.rpc.")
        details[kind] = message = _KINDS[kind]()
        packed.Unpack(message)
    info = details["ErrorInfo"]
    assert status.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR), "ErrorInfo stands first"
    assert info.domain == "aster"
    assert details["RequestInfo"].request_id
    assert sum(packed.ByteSize() for packed in status.details) <= 4096
    assert (status.code, status.message) == (error.code().value[0], error.details())
    no_leak(f"{status.message} {details}")
    violations = details["BadRequest"].field_violations if "BadRequest" in details else []
    return Refusal(error.code(), status.message, info, details, [each.field for each in violations])


def no_leak(text: str) -> None:
    found = LEAK.search(text)
    assert found is None, f"{found and found[0]!r} in {text}"


async def refused_by_core(call: Any, code: str) -> None:
    """What gRPC itself answers, before any code of ours runs: no details (M21)."""
    error = await failure(call)
    assert error.code().name == code
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ())


# -- every method ------------------------------------------------------------------


def methods() -> list[MethodDescriptor]:
    """Every method of the contract."""
    return [method for service in services() for method in service.methods]


def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Any, metadata: Metadata = ()) -> Any:
    """Calls any method; a client stream sends the one request."""
    assert method.containing_service is not None
    answer = message_factory.GetMessageClass(method.output_type).FromString
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    make = getattr(channel, kind)(path, lambda message: message.SerializeToString(), answer)
    return make(iter([request]) if method.client_streaming else request, metadata=metadata)


def stub(server: Server, request: Any) -> Any:
    """The method that takes a request."""
    name = type(request).__name__.removesuffix("Request")
    groups = (server.agents, server.sessions, server.events, server.control, server.access, server.cosmos, server.stars)
    return next(getattr(group, name) for group in groups if hasattr(group, name))


def filled(kind: Any, agent_id: str = "a") -> Any:
    """A request with its REQUIRED fields set to something plausible."""
    request = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            _fill(request, field, agent_id)
    if "message" in kind.fields_by_name and kind.name in ("ChatRequest", "SendRequest", "StreamRequest"):
        request.message = "hi"
    if kind.name == "RespondToInputRequestRequest":
        request.text = "x"
    return request


def _fill(request: Any, field: Any, agent_id: str) -> None:
    if field.message_type is not None:
        value = filled(field.message_type, agent_id)
        target = getattr(request, field.name)
        target.append(value) if field.is_repeated else target.CopyFrom(value)
        if field.message_type.name == "Agent":
            target.id = agent_id
    elif field.is_repeated:
        getattr(request, field.name).append("admin" if field.name == "scopes" else "x")
    else:
        texts = {"agent_id": agent_id, "template_id": "chat"}
        setattr(request, field.name, texts.get(field.name, "x") if field.type == field.TYPE_STRING else 1)


# -- pages -------------------------------------------------------------------------


async def pages(method: Any, request: Any, field: str) -> list[list[Any]]:
    """Every page of a list, by its tokens."""
    found = []
    while True:
        page = await method(request)
        found.append(list(getattr(page, field)))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
