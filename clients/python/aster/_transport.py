"""The channel and how calls go over it: credentials, deadlines, retries."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from aster import errors
from aster.v1.agent_service_pb2_grpc import AgentServiceStub
from aster.v1.control_service_pb2_grpc import ControlServiceStub
from aster.v1.event_service_pb2_grpc import EventServiceStub
from aster.v1.server_service_pb2_grpc import ServerServiceStub
from aster.v1.session_service_pb2_grpc import SessionServiceStub

if TYPE_CHECKING:  # exist for checkers alone
    from grpc.aio import UnaryUnaryMultiCallable as _Method

    from aster.v1.agent_service_pb2_grpc import AgentServiceAsyncStub
    from aster.v1.control_service_pb2_grpc import ControlServiceAsyncStub
    from aster.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from aster.v1.server_service_pb2_grpc import ServerServiceAsyncStub
    from aster.v1.session_service_pb2_grpc import SessionServiceAsyncStub

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT = 30.0  # seconds of one unary call with its retries; chat has none
TRIES = 3

_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # gRPC's own pause between connection tries is 1 s to 120 s: a subscriber
    # would be told UNAVAILABLE long after the server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_jitter = random.SystemRandom()


def new_request_id() -> str:
    """A fresh idempotency key: 128 random bits as hex."""
    return secrets.token_hex(16)


class Backoff:
    """Pauses with full jitter: a random part of a ceiling that doubles from 0.1 s to 5 s."""

    FIRST = 0.1
    LAST = 5.0

    def __init__(self) -> None:
        self._ceiling = self.FIRST

    def next(self, at_least: float | None = None) -> float:
        """Seconds to wait now; ``at_least`` is what the server asked for (RetryInfo)."""
        pause = (at_least or 0.0) + _jitter.uniform(0.0, self._ceiling)
        self._ceiling = min(self.LAST, self._ceiling * 2)
        return pause

    def reset(self) -> None:
        """Begins again at the first ceiling, after something has worked."""
        self._ceiling = self.FIRST


class Transport:
    """One lazily opened channel with its stubs. Belongs to the event loop that uses it first."""

    def __init__(
        self,
        address: str | None,
        api_key: str | None,
        *,
        tls: bool | None,
        ca: bytes | str | Path | None,
        timeout: float,
    ) -> None:
        self.address = address or os.environ.get("ASTER_ADDRESS") or DEFAULT_ADDRESS
        key = api_key if api_key is not None else os.environ.get("ASTER_API_KEY", "")
        self.metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self.timeout = timeout
        self._tls = tls if tls is not None else ca is not None
        self._ca = ca if ca is None or isinstance(ca, bytes) else Path(ca).read_bytes()

    @cached_property
    def channel(self) -> grpc.aio.Channel:
        if not self._tls:
            return grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(self._ca)
        return grpc.aio.secure_channel(self.address, credentials, options=_OPTIONS)

    @cached_property
    def agents(self) -> "AgentServiceAsyncStub":
        return AgentServiceStub(self.channel)

    @cached_property
    def events(self) -> "EventServiceAsyncStub":
        return EventServiceStub(self.channel)

    @cached_property
    def control(self) -> "ControlServiceAsyncStub":
        return ControlServiceStub(self.channel)

    @cached_property
    def sessions(self) -> "SessionServiceAsyncStub":
        return SessionServiceStub(self.channel)

    @cached_property
    def server(self) -> "ServerServiceAsyncStub":
        return ServerServiceStub(self.channel)

    async def call(
        self,
        method: "_Method[_Request, _Response]",
        request: _Request,
        *,
        timeout: float | None,
        repeatable: bool,
    ) -> _Response:
        """One unary call; ``timeout`` (seconds; None: no limit) covers all tries.

        A repeatable call (a read, or one with a request_id) is tried up to three times
        while the server is UNAVAILABLE. Raises ``AsterError``; cancelling cancels the RPC.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        backoff = Backoff()
        tries = TRIES if repeatable else 1
        while True:
            left = None if end is None else end - loop.time()
            try:
                return await method(request, timeout=left, metadata=self.metadata)
            except grpc.aio.AioRpcError as failure:
                error = errors.from_rpc(failure)
                tries -= 1
                pause = backoff.next(error.retry_after)
                if not tries or not _may_pass(error) or (end is not None and loop.time() + pause >= end):
                    raise error from failure
            await asyncio.sleep(pause)

    async def read(self, method: "_Method[_Request, _Response]", request: _Request) -> _Response:
        """A call without effects, within the default timeout."""
        return await self.call(method, request, timeout=self.timeout, repeatable=True)

    async def write(self, method: "_Method[_Request, _Response]", request: _Request) -> _Response:
        """A call with effects and without a request_id, within the default timeout: tried once."""
        return await self.call(method, request, timeout=self.timeout, repeatable=False)

    async def pages(self, method: "_Method[Any, Any]", request: Any, items: str) -> AsyncIterator[Any]:
        """The members of the field ``items``, page after page; each page is asked for when it is needed."""
        while True:
            page = await self.read(method, request)
            for item in getattr(page, items):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def close(self) -> None:
        """Closes the channel and cancels the calls that still run."""
        if "channel" in self.__dict__:
            await self.channel.close()


def _may_pass(error: errors.AsterError) -> bool:
    # A failed turn is UNAVAILABLE too when its provider was: the same request_id
    # would only be told the same again.
    return isinstance(error, errors.Unavailable) and "turn_id" not in error.metadata
