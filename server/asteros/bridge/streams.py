"""Carries a stream from an RPC to its reader: one pump for HTTP and for WebSockets.

Back-pressure is the awaited write of the sink: while the reader does not read, nothing is
read from the RPC, whose server decides what a slow subscriber loses. There is no queue here.
Whoever leaves cancels the RPC."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc
from google.rpc import status_pb2

from asteros.bridge.options import Options
from asteros.bridge.refusal import Refusal, reason_of, status_of
from asteros.bridge.reply import Items, Renderer

WRITE_SECONDS = 10.0  # that one write may be blocked by a reader who does not read
GRACE = 1.0  # seconds in which a draining server ends its streams itself, with the best cursor
_UNAVAILABLE = 14


class Gone(Exception):
    """Nobody is there any more, or reads: there is nothing to answer."""


class Drain:
    """Ends every stream of a bridge, and tells health."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def begin(self) -> None:
        self._event.set()

    @property
    def begun(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


class Sink(Protocol):
    """Where a stream goes."""

    async def items(self, items: Items) -> None: ...

    async def keep_alive(self) -> None: ...

    async def failure(self, status: status_pb2.Status) -> None: ...

    async def goaway(self, status: status_pb2.Status, cursor: str) -> None: ...

    async def end(self) -> None: ...


class Attended:
    """An RPC with somebody watching the other side: it is cancelled when the client leaves.

    Use as an async context manager around every await of the call."""

    def __init__(self, call: Any, gone: Callable[[], Awaitable[object]]) -> None:
        """``gone`` returns when the client has left."""
        self._call = call
        self._gone = gone

    async def __aenter__(self) -> "Attended":
        self._watch = asyncio.create_task(self._attend())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        self._call.cancel()

    async def _attend(self) -> None:
        await self._gone()
        self._call.cancel()

    async def result(self, awaited: Awaitable[Any]) -> Any:
        """What the call gives.

        :raises Gone: it was cancelled because the client left.
        :raises grpc.aio.AioRpcError:"""
        try:
            return await awaited
        except asyncio.CancelledError:  # house: cancelled -- a call that we cancelled says so this way too
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Gone from None


class Pump(Attended):
    """One stream. Take ``first``, answer, then ``run``."""

    def __init__(
        self, call: Any, gone: Callable[[], Awaitable[object]], renderer: Renderer, drain: Drain, options: Options
    ) -> None:
        super().__init__(call, gone)
        self._renderer = renderer
        self._drain = drain
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._sink: Sink | None = None
        self._last_id = ""
        self._writing = False
        self._touched = self._loop.time()  # when the last write began or ended
        self._drained = self._stuck = False

    async def first(self) -> Any:
        """The first message, or EOF.

        :raises grpc.aio.AioRpcError: the stream was refused.
        :raises Gone:"""
        return await self._read()

    async def run(self, raw: Any, sink: Sink) -> None:
        """Carries everything from the first message on, and the end, whichever it is.

        :raises Gone:"""
        self._sink = sink
        try:
            await self._carry(raw, sink)
        except grpc.aio.AioRpcError as error:
            await self._failed(status_of(error), sink)
        except asyncio.CancelledError:  # house: cancelled -- our own end of a write that nobody takes
            if not self._stuck:
                raise
            raise Gone from None

    async def _carry(self, raw: Any, sink: Sink) -> None:
        while raw is not grpc.aio.EOF:
            items = self._renderer.items(raw)
            if items:
                self._last_id = next((item.id for item in reversed(items) if item.id), self._last_id)
                await self._write(sink.items(items))
            raw = await self._read()
        await self._write(sink.end())

    async def _read(self) -> Any:
        try:
            return await self.result(self._call.read())
        except Gone:
            if not self._drained:
                raise
            raise self._draining() from None

    def _draining(self) -> grpc.aio.AioRpcError:
        facts = {"cursor": self._last_id} if self._last_id else {}
        refusal = Refusal(_UNAVAILABLE, "DRAINING", "the server drains", facts=facts)
        details = refusal.status(self._options.error_domain or "bridge").SerializeToString()
        trailing = grpc.aio.Metadata(("grpc-status-details-bin", details))
        return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailing, refusal.text)

    async def _failed(self, status: status_pb2.Status, sink: Sink) -> None:
        info = reason_of(status)
        if self._drained or (status.code == _UNAVAILABLE and info.reason in self._options.drain_reasons):
            await self._write(sink.goaway(status, info.metadata["cursor"] or self._last_id))
        else:
            await self._write(sink.failure(status))

    async def _write(self, write: Awaitable[None]) -> None:
        self._writing, self._touched = True, self._loop.time()
        await write
        self._writing, self._touched = False, self._loop.time()

    # -- beside ------------------------------------------------------------------------

    async def __aenter__(self) -> "Pump":
        self._task = asyncio.current_task()
        await super().__aenter__()
        return self

    async def _attend(self) -> None:
        gone = asyncio.ensure_future(self._gone())
        drain = asyncio.ensure_future(self._drain.wait())
        try:
            while True:
                done, _ = await asyncio.wait(
                    (gone, drain), timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
                await self._quiet()
            if gone not in done:
                await asyncio.wait((gone,), timeout=GRACE)
                self._drained = not gone.done()
            self._call.cancel()
        finally:
            gone.cancel()
            drain.cancel()

    def _patience(self) -> float:
        """Seconds until something must be done about silence."""
        limit = WRITE_SECONDS if self._writing else self._options.keep_alive
        return max(0.001, self._touched + limit - self._loop.time())

    async def _quiet(self) -> None:
        silent = self._loop.time() - self._touched
        if self._writing and silent >= WRITE_SECONDS and self._task is not None:
            self._stuck = True
            self._task.cancel()
        elif not self._writing and silent >= self._options.keep_alive:
            self._touched = self._loop.time()
            if self._sink is not None:
                await self._sink.keep_alive()
