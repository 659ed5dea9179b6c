"""telemetry: OpenTelemetry spans by the GenAI conventions, where a program has set up a tracer.

Without the OpenTelemetry API, or without an SDK behind it, nothing is done and a call
costs nothing more."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aster.v1 import agent_pb2
from asteros import errors
from asteros.middleware.base import (
    CallModel,
    CallTool,
    Middleware,
    MiddlewareContext,
    ModelContext,
    ModelStream,
    ToolRequest,
)
from asteros.providers.base import Finish, ModelRequest
from asteros.tools.base import JsonObject

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer


class Telemetry(Middleware):
    """``chat MODEL`` around a model call and ``execute_tool NAME`` around a tool call.

    Spans carry names, tokens and error types, never what was said."""

    name = "telemetry"
    priority = 5
    about = "OpenTelemetry spans of model and tool calls"

    def __init__(self, config: JsonObject) -> None:  # noqa: ARG002
        self._tracer = _tracer()

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": request.config.provider,
            "gen_ai.request.model": request.config.model,
            **_whose(context),
        }
        span = self._begin(f"chat {request.config.model}", facts)
        return await proceed(request) if span is None else _told(span, proceed, request)

    async def wrap_tool_call(self, call: ToolRequest, context: MiddlewareContext, proceed: CallTool) -> JsonObject:
        name = call.tool.name
        facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": call.call_id,
            **_whose(context),
        }
        span = self._begin(f"execute_tool {name}", facts)
        if span is None:
            return await proceed(call)
        with _ended(span):
            result = await proceed(call)
            if result.get("ok") is False:
                _fail(span, "tool_error")
            return result

    def _begin(self, name: str, facts: dict[str, str]) -> "Span | None":
        """A span, when somebody records it."""
        if self._tracer is None:
            return None
        span = self._tracer.start_span(name, attributes=facts)
        return span if span.is_recording() else None


def _tracer() -> "Tracer | None":
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("asteros")


def _whose(context: MiddlewareContext) -> dict[str, str]:
    return {"gen_ai.agent.id": context.agent_id, "gen_ai.conversation.id": context.session_id}


async def _told(span: "Span", proceed: CallModel, request: ModelRequest) -> ModelStream:
    """The answer, and its end told to the span."""
    with _ended(span):
        async with contextlib.aclosing(await proceed(request)) as stream:
            async for chunk in stream:
                if isinstance(chunk, Finish):
                    span.set_attributes(_of(chunk))
                yield chunk


def _of(finish: Finish) -> dict[str, Any]:
    reason = agent_pb2.StopReason.Name(finish.stop_reason).removeprefix("STOP_REASON_").lower()
    return {
        "gen_ai.response.model": finish.model,
        "gen_ai.response.finish_reasons": [reason],
        "gen_ai.usage.input_tokens": finish.usage.input_tokens,
        "gen_ai.usage.output_tokens": finish.usage.output_tokens,
    }


@contextlib.contextmanager
def _ended(span: "Span") -> Iterator[None]:
    """Ends the span; a failure is told by its type."""
    try:
        yield
    except Exception as error:
        _fail(span, error.reason if isinstance(error, errors.AsterError) else type(error).__name__)
        raise
    finally:
        span.end()


def _fail(span: "Span", kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
