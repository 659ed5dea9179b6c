"""Refuses what the server cannot take: new work while it drains, too much at once.

Overload rejects at once and never queues without end (guarantee T4). Decisions,
interrupts and health keep a share of their own: they are what ends an overload."""

from asteros import errors
from asteros.services.call import Call, Proceed

_RESERVED = frozenset(
    {
        "/aster.v1.ControlService/ApproveToolCall",
        "/aster.v1.ControlService/RespondToInputRequest",
        "/aster.v1.ControlService/RespondToIterationLimit",
        "/aster.v1.AgentService/Interrupt",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }
)
# What begins new work or a new stream; the rest is answered until the end.
_NOT_WHILE_DRAINING = frozenset(
    f"/aster.v1.{name}"
    for name in (
        "AgentService/Chat",
        "AgentService/Send",
        "AgentService/Stream",
        "EventService/Subscribe",
        "EventService/SubscribeProgress",
        "EventService/SubscribeControl",
        "EventService/SubscribeMonitor",
        "StudioService/ConnectAgents",
        "StarsService/RunStar",
        "StarsService/StreamStar",
        "StarsService/SendStarMessage",
        "CosmosService/WatchResources",
        "CosmosService/ForEachAgent",
    )
)


class Limits:
    """Interceptor: counts unary calls in progress; streams are bounded per connection by HTTP/2."""

    def __init__(self, max_unary: int) -> None:
        self.draining = False
        self._max_unary = max_unary
        self._unary = 0

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        if self.draining and call.method in _NOT_WHILE_DRAINING:
            raise errors.Draining(retry_after=1.0)
        if call.handler.response_streaming or call.method in _RESERVED:
            await proceed(call)
            return
        if self._unary >= self._max_unary:
            raise errors.RateLimited("too many calls in progress", retry_after=0.5, limit=self._max_unary)
        self._unary += 1
        try:
            await proceed(call)
        finally:
            self._unary -= 1
