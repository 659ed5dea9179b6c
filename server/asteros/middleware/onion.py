"""The rings of one agent put around a call: a loop in reverse."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from asteros import errors
from asteros.middleware.base import (
    AgentContext,
    CallModel,
    CallTool,
    Middleware,
    MiddlewareContext,
    ModelContext,
    ModelStream,
    Review,
    ToolRequest,
    overrides,
)
from asteros.providers.base import ModelChunk, ModelRequest
from asteros.tools.base import JsonObject, Tool

_log = logging.getLogger(__name__)
HOOK_LIMIT = 10.0  # seconds of on_agent_start and on_agent_stop


class Onion:
    """Rings in their order. Only those that have a hook stand in the way of a call."""

    def __init__(self, rings: Sequence[Middleware] = ()) -> None:
        self.rings = tuple(sorted(rings, key=lambda ring: ring.priority))  # stable: ties as listed
        self._around_models = [ring for ring in self.rings if overrides(ring, "wrap_model_call")]
        self._around_tools = [ring for ring in self.rings if overrides(ring, "wrap_tool_call")]
        self._reviewers = [ring for ring in self.rings if overrides(ring, "review_tool_call")]
        self._started: list[Middleware] = []

    @property
    def tools(self) -> list[Tool]:
        """What the rings bring themselves."""
        return [tool for ring in self.rings for tool in ring.own_tools()]

    @property
    def reviews(self) -> bool:
        """Some ring has an opinion about tool calls."""
        return bool(self._reviewers)

    # -- calls ----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def model_call(
        self, request: ModelRequest, context: ModelContext, stream: Callable[[ModelRequest], ModelStream]
    ) -> AsyncIterator[ModelStream]:
        """The answer as it leaves the outermost ring. Whatever was opened is closed behind it.

        :raises MiddlewareFailed:"""
        async with contextlib.AsyncExitStack() as opened:

            async def innermost(request: ModelRequest) -> ModelStream:
                return _kept(opened, stream(request))

            proceed: CallModel = innermost
            for ring in reversed(self._around_models):
                proceed = _around_model(ring, context, proceed, opened)
            yield await proceed(request)

    async def tool_call(self, call: ToolRequest, context: MiddlewareContext, run: CallTool) -> JsonObject:
        """The result as it leaves the outermost ring; what the tool raises passes all of them.

        :raises MiddlewareFailed:"""
        raised: list[Exception] = []  # by the tool itself: no ring's fault

        async def innermost(call: ToolRequest) -> JsonObject:
            try:
                return await run(call)
            except Exception as error:
                raised.append(error)
                raise

        proceed: CallTool = innermost
        for ring in reversed(self._around_tools):
            proceed = _around_tool(ring, context, proceed, raised)
        return await proceed(call)

    async def review(self, call: ToolRequest, context: MiddlewareContext) -> Review | None:
        """The outermost opinion about a call; None: nobody has one.

        :raises MiddlewareFailed:"""
        for ring in self._reviewers:
            with _faults_of(ring):
                opinion = await ring.review_tool_call(call, context)
            if opinion is not None:
                return opinion
        return None

    # -- life -----------------------------------------------------------------------

    async def start(self, agent: AgentContext) -> None:
        """Tells every ring, outermost first, that the agent is in memory; once.

        :raises MiddlewareFailed: a hook failed; the next call goes on with it."""
        for ring in self.rings[len(self._started) :]:
            with _faults_of(ring):
                async with asyncio.timeout(HOOK_LIMIT):
                    await ring.on_agent_start(agent)
            self._started.append(ring)

    async def stop(self, agent: AgentContext) -> None:
        """Tells those that were started, innermost first, that the agent leaves. Never fails."""
        while self._started:
            ring = self._started.pop()
            with contextlib.suppress(errors.AsterError), _faults_of(ring):  # which logs them
                async with asyncio.timeout(HOOK_LIMIT):
                    await ring.on_agent_stop(agent)


def _around_model(
    ring: Middleware, context: ModelContext, proceed: CallModel, opened: contextlib.AsyncExitStack
) -> CallModel:
    async def call(request: ModelRequest) -> ModelStream:
        given: list[ModelStream] = []

        async def inner(request: ModelRequest) -> ModelStream:
            stream = await proceed(request)
            given.append(stream)
            return stream

        with _faults_of(ring):
            stream = await ring.wrap_model_call(request, context, inner)
        if any(stream is each for each in given):
            return stream
        return _kept(opened, _watched(ring, stream))

    return call


async def _watched(ring: Middleware, stream: ModelStream) -> ModelStream:
    """An answer that the ring makes itself."""
    async with contextlib.aclosing(stream):
        with _faults_of(ring):
            chunk: ModelChunk
            async for chunk in stream:
                yield chunk


def _kept(opened: contextlib.AsyncExitStack, stream: ModelStream) -> ModelStream:
    opened.push_async_callback(stream.aclose)
    return stream


def _around_tool(ring: Middleware, context: MiddlewareContext, proceed: CallTool, raised: list[Exception]) -> CallTool:
    async def call(request: ToolRequest) -> JsonObject:
        with _faults_of(ring, raised):
            return await ring.wrap_tool_call(request, context, proceed)

    return call


@contextlib.contextmanager
def _faults_of(ring: Middleware, others: Sequence[Exception] = ()) -> Iterator[None]:
    """An exception of the ring's own is its failure; one of ours, or of the tool, is what it was."""
    try:
        yield
    except errors.AsterError:
        raise
    except Exception as error:
        if any(error is each for each in others):
            raise
        _log.exception("the middleware %s failed", ring.name)
        raise errors.MiddlewareFailed(middleware=ring.name) from error
