"""One RPC on its way through the interceptors to its servicer, and back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from asteros import ids


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the server found out; never what a message says."""

    principal: str
    tenant: str
    scopes: frozenset[str] | None  # None: authentication is off, everything is allowed

    def has(self, scope: str) -> bool:
        return self.scopes is None or scope in self.scopes


@dataclass(slots=True, eq=False)
class Call:
    """One RPC. Interceptors fill it in; a servicer method gets it with its parsed request."""

    method: str  # "/aster.v1.AgentService/Chat"
    context: "grpc.aio.ServicerContext[Any, Any]"
    raw: Any  # bytes of the request, or an iterator of them
    handler: "grpc.RpcMethodHandler[Any, Any]"
    metadata: Mapping[str, str]
    id: str = field(default_factory=ids.ulid)
    request: Message | None = None
    response: Any = None
    trace_id: str = ""
    code: str = "OK"  # what the caller was told, for metrics
    stopped: Exception | None = None  # why we ended a write that was stuck
    caller: Caller = Caller("", "", frozenset())

    @property
    def service(self) -> str:
        return self.method.split("/")[1]

    @property
    def name(self) -> str:
        return self.method.rpartition("/")[2]

    async def begin(self) -> None:
        """Tells the peer that the call was let in, before there is anything to say."""
        await self.context.send_initial_metadata(())

    async def write(self, data: bytes) -> None:
        """Sends one message of a stream; waits while the peer does not read.

        :raises Exception: ``stop`` was called meanwhile, with this."""
        try:
            await self.context.write(data)
        except asyncio.CancelledError:  # house: cancelled -- our own stop of a stuck write is an error to tell
            if self.stopped is None:
                raise
            raise self.stopped from None

    def stopper(self) -> Callable[[Exception], None]:
        """Something that ends a write of this RPC from outside, with an error."""
        task = asyncio.current_task()
        assert task is not None

        def stop(error: Exception) -> None:
            self.stopped = error
            task.cancel()

        return stop


Proceed = Callable[[Call], Awaitable[None]]
# What an interceptor is: it calls `proceed`, and may look, refuse or wrap.
Interceptor = Callable[[Call, Proceed], Awaitable[None]]
