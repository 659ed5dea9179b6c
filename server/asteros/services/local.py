"""A channel to the server of this very process: how the bridge calls it, without a socket between.

A call passes the same interceptors and servicers as one from outside, with the same bytes in and
out, and fails with the same statuses. What it spares is HTTP/2 twice over, and the poller threads
that wake the loop: most of what a small call costs. Methods that read a stream, and services that
are not ours, go through the channel that stands behind."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Metadata = Sequence[tuple[str, str | bytes]]
_PEER = "unix:"  # what a socket of our own would say


class LocalChannel:
    """What the bridge uses of a ``grpc.aio.Channel``. ``handlers``: by "/package.Service/Method",
    interceptors included."""

    def __init__(self, handlers: Mapping[str, Handler], outside: grpc.aio.Channel) -> None:
        self._handlers = handlers
        self._outside = outside

    def unary_unary(self, method: str, *coders: Any, **options: Any) -> Any:
        """As grpc.aio has it; so are the others."""
        behavior = self._of(method, "unary_unary")
        return self._outside.unary_unary(method, *coders, **options) if behavior is None else _Opener(behavior, Answer)

    def unary_stream(self, method: str, *coders: Any, **options: Any) -> Any:
        behavior = self._of(method, "unary_stream")
        return self._outside.unary_stream(method, *coders, **options) if behavior is None else _Opener(behavior, Stream)

    def stream_unary(self, method: str, *coders: Any, **options: Any) -> Any:
        return self._outside.stream_unary(method, *coders, **options)

    def stream_stream(self, method: str, *coders: Any, **options: Any) -> Any:
        return self._outside.stream_stream(method, *coders, **options)

    def _of(self, method: str, shape: str) -> Any:
        return getattr(self._handlers.get(method), shape, None)

    async def close(self) -> None:
        await self._outside.close()


class _Opener:
    """A method of one service."""

    def __init__(self, behavior: Any, kind: "type[Answer | Stream]") -> None:
        self._behavior = behavior
        self._kind = kind

    def __call__(self, request: bytes, *, metadata: Metadata = (), timeout: float | None = None) -> "Answer | Stream":
        return self._kind(self._behavior, request, metadata, timeout)


class _Call:
    """One call, seen from both ends: the caller's call object, and the servicer's context."""

    def __init__(
        self,
        behavior: Callable[[bytes, Any], Awaitable[Any]],
        request: bytes,
        metadata: Metadata,
        timeout: float | None,
    ) -> None:
        self._metadata = metadata
        self._status: Any = None
        self._task = asyncio.create_task(self._run(behavior, request, timeout))
        self._task.add_done_callback(_seen)

    async def _run(self, behavior: Any, request: bytes, timeout: float | None) -> Any:
        """
        :raises grpc.aio.AioRpcError: whatever status it ended with."""
        try:
            async with asyncio.timeout(timeout):
                return await behavior(request, self)
        except TimeoutError:
            raise _failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except grpc.aio.AbortError:
            status = self._status
            raise _failure(status.code, status.details, status.trailing_metadata or ()) from None

    # -- for the caller ---------------------------------------------------------------

    def cancel(self) -> bool:
        """Ends the call; who waits for it gets CancelledError."""
        return self._task.cancel()

    def done(self) -> bool:
        return self._task.done()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    # -- for the servicer -------------------------------------------------------------

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def peer(self) -> str:
        return _PEER

    async def send_initial_metadata(self, _metadata: Metadata) -> None:
        """The caller knows: its call has begun."""

    async def abort_with_status(self, status: Any) -> None:
        self._status = status
        raise grpc.aio.AbortError


class Answer(_Call):
    """A call with one response. Await it."""

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()


class Stream(_Call):
    """A call with a stream of responses. One of them waits to be read; the writer of the next
    waits too, which is the back-pressure that a full window is outside."""

    def __init__(self, *arguments: Any) -> None:
        self._messages: deque[bytes] = deque()
        self._moved: asyncio.Future[None] | None = None  # somebody waits for the queue to change
        self._cancelled = False
        super().__init__(*arguments)
        self._task.add_done_callback(lambda _task: self._wake())

    async def read(self) -> Any:
        """The next message, or EOF.

        :raises grpc.aio.AioRpcError:"""
        while not self._messages and not self._task.done() and not self._cancelled:
            await self._change()
        if self._cancelled:
            raise asyncio.CancelledError
        if not self._messages:
            self._task.result()
            return grpc.aio.EOF
        message = self._messages.popleft()
        self._wake()
        return message

    def cancel(self) -> bool:
        self._cancelled = True
        self._wake()
        return super().cancel()

    async def write(self, message: bytes) -> None:
        """Returns when the one before has been read. Who is interrupted meanwhile has written all the
        same, as outside: a cursor that counts the message is right."""
        self._messages.append(message)
        self._wake()
        while len(self._messages) > 1:
            await self._change()

    async def _change(self) -> None:
        self._moved = asyncio.get_running_loop().create_future()
        await self._moved

    def _wake(self) -> None:
        """Reader and writer never wait at once: one needs the queue empty, the other not."""
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)


def _failure(code: grpc.StatusCode, details: str, trailing: Any = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


def _seen(task: "asyncio.Task[Any]") -> None:
    """A failure that nobody waits for is no news: metrics and log have it."""
    if not task.cancelled():
        task.exception()
