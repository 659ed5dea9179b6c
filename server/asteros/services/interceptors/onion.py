"""Puts our interceptors around every handler of a grpc.aio server.

grpc.aio answers a request it cannot parse, and any exception, with UNKNOWN and
internal text (decision 8). So the request deserializer is taken away from the
handlers: they get bytes, and parsing is one of our own interceptors. The innermost
step also drives streams itself: the generator of a servicer is closed in the task
that ran it, and its ``finally`` runs there."""

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from asteros import errors
from asteros.services.call import Call, Interceptor, Proceed

# grpc's classes are generic for the type checker alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Onion(grpc.aio.ServerInterceptor):
    """A grpc.aio interceptor made of ours, outermost first."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        proceed: Proceed = _innermost
        for interceptor in reversed(interceptors):
            proceed = functools.partial(_step, interceptor, proceed)
        self._outermost = proceed
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = str(handler_call_details.method)
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return handler  # unknown method: the core answers
            wrapped = self.around(method, handler)
        return wrapped

    def around(self, method: str, handler: Handler) -> Handler:
        """A handler with all interceptors, made once for each method."""
        if method not in self._wrapped:
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        async def stream(raw: Any, context: Context) -> None:
            await self._outermost(_call(method, handler, raw, context))

        async def unary(raw: Any, context: Context) -> Any:
            call = _call(method, handler, raw, context)
            await self._outermost(call)
            return call.response

        # No (de)serializers: what goes in and out are bytes.
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(unary)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


def _call(method: str, handler: Handler, raw: Any, context: Context) -> Call:
    metadata: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            # Joined as in HTTP: two different credentials are none, whichever comes first.
            metadata[key] = value if metadata.get(key, value) == value else f"{metadata[key]}, {value}"
    return Call(method, context, raw, handler, metadata)


def _step(interceptor: Interceptor, proceed: Proceed, call: Call) -> Awaitable[None]:
    """Not a coroutine of its own: each one would cost 240 bytes of every open stream."""
    return interceptor(call, proceed)


async def _innermost(call: Call) -> None:
    handler = call.handler
    request = _requests(call) if handler.request_streaming else call.request
    context = call if call.service.startswith("aster.") else _Foreign(call)
    if handler.response_streaming:
        behavior: Any = handler.unary_stream or handler.stream_stream
        if inspect.iscoroutinefunction(behavior):
            await behavior(request, context)  # writes by itself
            return
        async with contextlib.aclosing(behavior(request, context)) as messages:
            await _send(call, messages)
    else:
        answer: Any = handler.unary_unary or handler.stream_unary
        response = await answer(request, context)
        serialize = handler.response_serializer
        call.response = serialize(response) if serialize else response


class _Foreign:
    """What the servicers of health and reflection use of a grpc.aio context."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def write(self, message: Any) -> None:
        serialize = self._call.handler.response_serializer
        await self._call.write(serialize(message) if serialize else message)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        self._call.code = code.name
        await self._call.context.abort(code, details)


async def _send(call: Call, messages: AsyncGenerator[Any, None]) -> None:
    serialize = call.handler.response_serializer
    async for message in messages:
        await call.write(message if isinstance(message, bytes) or not serialize else serialize(message))


async def _requests(call: Call) -> AsyncIterator[Any]:
    parse = call.handler.request_deserializer
    async for raw in call.raw:
        yield parsed(parse, raw)


def parsed(parse: Callable[[bytes], Any] | None, raw: bytes) -> Any:
    """A request from its bytes.

    :raises MalformedMessage: wire format, UTF-8 or depth."""
    if parse is None:
        return raw
    try:
        return parse(raw)
    except (DecodeError, ValueError, RecursionError):
        raise errors.MalformedMessage(
            [errors.Violation("", "not a valid message of this method: wire format, UTF-8 or depth")]
        ) from None
