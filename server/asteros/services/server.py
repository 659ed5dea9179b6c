"""The gRPC server: every service of the contract, and the interceptors in their order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2  # noqa: F401 - reflection must know what error details are made of
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from prometheus_client import CollectorRegistry

from aster.v1 import (
    access_service_pb2,
    agent_service_pb2,
    control_service_pb2,
    cosmos_service_pb2,
    dashboard_service_pb2,
    event_service_pb2,
    server_service_pb2,
    session_service_pb2,
    stars_service_pb2,
    studio_service_pb2,
    template_service_pb2,
    tool_service_pb2,
    workflow_service_pb2,
)
from asteros import errors
from asteros.services.call import Call, Interceptor
from asteros.services.credentials import Credentials
from asteros.services.interceptors.auth import Auth
from asteros.services.interceptors.errors import errors_to_status
from asteros.services.interceptors.limits import Limits
from asteros.services.interceptors.metrics import RpcMetrics
from asteros.services.interceptors.onion import Onion
from asteros.services.interceptors.tracing import tracing
from asteros.services.interceptors.validate import Exists, Validate
from asteros.services.local import LocalChannel

MAX_RECEIVE = 4 * 1024 * 1024  # bytes of one message
MAX_SEND = 16 * 1024 * 1024
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
MAX_UNARY = 2000  # unary calls in progress
_FILES = (
    access_service_pb2, agent_service_pb2, control_service_pb2, cosmos_service_pb2, dashboard_service_pb2,
    event_service_pb2, server_service_pb2, session_service_pb2, stars_service_pb2, studio_service_pb2,
    template_service_pb2, tool_service_pb2, workflow_service_pb2,
)  # fmt: skip
# Feature names of services that this server does not have, for NOT_AVAILABLE.
_FEATURES = {
    "CosmosService": "cosmos", "DashboardService": "dashboard", "StarsService": "stars", "StudioService": "studio",
    "TemplateService": "templates", "ToolService": "tools", "WorkflowService": "workflows",
    "ForkSession": "fork_session", "ControlTool": "tool_control", "CreateTicket": "tickets",
    "RespondToWorkflowApproval": "workflows",
}  # fmt: skip
OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_RECEIVE),
    ("grpc.max_send_message_length", MAX_SEND),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    # Without these two the core refuses a third of a subscribe storm.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.max_concurrent_streams", 20_000),
    # Vanished clients are found within 40 s; polite ones may ping every 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 5),
    ("grpc.so_reuseport", 0),
)


def services() -> list[ServiceDescriptor]:
    """Every service of the contract."""
    return [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]


class GrpcServer:
    """grpc.aio with our services. ``servicers`` by service name; a missing one, or a missing
    method, answers UNIMPLEMENTED with the reason NOT_AVAILABLE."""

    def __init__(
        self,
        servicers: Mapping[str, object],
        credentials: Credentials,
        exists: Exists,
        metrics: CollectorRegistry,
    ) -> None:
        self.limits = Limits(MAX_UNARY)
        # Outermost first. A call passes them in this order, its answer in the reverse.
        interceptors: list[Interceptor] = [
            tracing,
            RpcMetrics(metrics),
            errors_to_status,
            Auth(credentials),
            self.limits,
            Validate(exists),
        ]
        onion = Onion(interceptors)
        self.server = grpc.aio.server(interceptors=[onion], options=OPTIONS)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}  # of our services, interceptors included
        for service in services():
            methods = _handlers(service, servicers.get(service.name))
            generic = grpc.method_handlers_generic_handler(service.full_name, methods)
            self.server.add_generic_rpc_handlers((generic,))
            for name, handler in methods.items():
                path = f"/{service.full_name}/{name}"
                self._handlers[path] = onion.around(path, handler)
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        names = [service.full_name for service in services()]
        shown = [*names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(shown, self.server)
        self.server.add_generic_rpc_handlers((_reflection_v1(shown),))
        self._names = ["", *names]

    def local(self, outside: grpc.aio.Channel) -> grpc.aio.Channel:
        """A channel to this server for callers in this process. ``outside``: one over a socket."""
        return cast("grpc.aio.Channel", LocalChannel(self._handlers, outside))

    async def set_serving(self, serving: bool) -> None:
        """Health of the server and of every service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self.health.set(name, status)


def _reflection_v1(shown: Sequence[str]) -> grpc.GenericRpcHandler:
    """grpc.reflection.v1, which clients try first: the messages of v1alpha under another name."""
    method = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(shown).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(REFLECTION_V1, {"ServerReflectionInfo": method})


def unavailable_features(servicers: Mapping[str, object]) -> list[str]:
    """Features that answer NOT_AVAILABLE, for GetServerInfo."""
    missing = set()
    for service in services():
        servicer = servicers.get(service.name)
        if servicer is None:
            missing.add(_FEATURES.get(service.name, ""))
        else:
            missing |= {_FEATURES[each.name] for each in service.methods if not hasattr(servicer, each.name)}
    return sorted(missing - {""})


def _handlers(service: ServiceDescriptor, servicer: object | None) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
    return {method.name: _handler(method, getattr(servicer, method.name, None)) for method in service.methods}


def _handler(method: MethodDescriptor, behavior: Callable[..., Any] | None) -> "grpc.RpcMethodHandler[Any, Any]":
    request = message_factory.GetMessageClass(method.input_type).FromString
    if behavior is None:
        behavior = _absent(method)
    if not method.server_streaming:
        return grpc.unary_unary_rpc_method_handler(behavior, request, lambda response: response.SerializeToString())
    # Streams carry bytes that were encoded once, for everyone.
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(behavior, request)
    return grpc.unary_stream_rpc_method_handler(behavior, request)


def _absent(method: MethodDescriptor) -> Callable[..., Any]:
    """What answers for a method that this server does not have."""
    service = method.containing_service
    assert service is not None
    feature = _FEATURES.get(method.name) or _FEATURES[service.name]

    async def unary(_request: Any, _call: Call) -> Any:
        raise errors.NotAvailable(feature)

    async def stream(_request: Any, _call: Call) -> Any:
        raise errors.NotAvailable(feature)
        yield b""

    return stream if method.server_streaming else unary
