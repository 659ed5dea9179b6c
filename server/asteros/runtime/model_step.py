"""One model step: call the model, show what it says as it says it, keep what it said.

Retries happen only before the first chunk, at most twice, with full jitter, and
honour Retry-After; then the next model of ``fallbacks`` is tried (guarantee R8).
A stream without its end is an error and never an answer (R7)."""

import contextlib
import random
from dataclasses import dataclass, field

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock, errors
from asteros.providers.base import Finish, ModelRequest, TextDelta, ThinkDelta, ToolUse
from asteros.runtime import history
from asteros.runtime.context import TurnContext

MAX_RETRIES = 2
FIRST_BACKOFF = 0.5  # seconds; doubles
LONGEST_WAIT = 30.0  # seconds of Retry-After that are worth waiting for
_RETRYABLE = (errors.ProviderLimit, errors.Unavailable)


@dataclass(slots=True)
class ModelAnswer:
    """What one model call gave."""

    message: common_pb2.Message
    calls: list[common_pb2.ToolCall]
    finish: Finish
    events: list[ProtoMessage] = field(default_factory=list)  # payloads to store with it


@dataclass(slots=True)
class _Attempt:
    """One call of one model, while it runs."""

    provider: str
    model: str
    number: int
    began: float
    first: float | None = None  # when the first content came
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: list[common_pb2.ToolCall] = field(default_factory=list)
    finish: Finish | None = None


async def run(context: TurnContext) -> ModelAnswer:
    """Runs the step; its text is streamed, the rest is returned to be stored.

    :raises AsterError: the model failed with all retries and fallbacks."""
    config = context.config.model_config
    candidates = [config, *config.fallbacks]
    for place, candidate in enumerate(candidates):
        try:
            return await _with_retries(context, candidate)
        except errors.AsterError:
            if place + 1 == len(candidates) or context.answering:
                raise
    raise AssertionError("unreachable: the last candidate raises")


async def _with_retries(context: TurnContext, config: agent_pb2.ModelConfig) -> ModelAnswer:
    number = 1
    while True:
        try:
            return await _attempt(context, config, number)
        except _RETRYABLE as error:
            if number > MAX_RETRIES or context.answering:
                raise
            wait = _backoff(number, error.retry_after)
            if wait is None:
                raise
        await clock.sleep(wait)
        number += 1


def _backoff(number: int, retry_after: float | None) -> float | None:
    if retry_after is not None:
        return retry_after if retry_after <= LONGEST_WAIT else None
    return random.uniform(0, FIRST_BACKOFF * 2 ** (number - 1))  # noqa: S311 - jitter


async def _attempt(context: TurnContext, config: agent_pb2.ModelConfig, number: int) -> ModelAnswer:
    provider, resolved = context.deps.providers.resolve(config)
    attempt = _Attempt(provider.name, resolved.model, number, clock.monotonic())
    context.partial_text = attempt.text
    context.answering = False
    request = ModelRequest(
        config=resolved,
        messages=history.for_model(context.history),
        system=context.config.system_prompt,
        tools=context.specs,
    )
    try:
        async with contextlib.aclosing(provider.stream(request)) as chunks:
            async for chunk in chunks:
                _take(context, attempt, chunk)
                if not context.journal.flows:
                    await context.journal.flow()
        if attempt.finish is None:
            raise errors.ProviderTruncated(provider=provider.name)
    except errors.AsterError as error:
        context.post(_model_call(context, attempt, error))
        raise
    return _answer(context, attempt, attempt.finish)


def _take(context: TurnContext, attempt: _Attempt, chunk: TextDelta | ThinkDelta | ToolUse | Finish) -> None:
    if attempt.first is None:
        attempt.first = clock.monotonic()
        context.answering = True
    match chunk:
        case TextDelta(text):
            attempt.text.append(text)
            context.journal.post([context.stamp.text(text)], (), context.stamp.scope)
        case ThinkDelta(text):
            if context.config.expose_thinking:
                attempt.thinking.append(text)
                context.post(event_pb2.ThinkChunk(delta=text))
        case ToolUse(call):
            attempt.calls.append(call)
        case Finish():
            attempt.finish = chunk


def _answer(context: TurnContext, attempt: _Attempt, finish: Finish) -> ModelAnswer:
    text = "".join(attempt.text)
    calls = attempt.calls if finish.stop_reason == agent_pb2.STOP_REASON_TOOL_USE else []
    message = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT)
    if attempt.thinking:
        message.content.add(thinking="".join(attempt.thinking))
    if text:
        message.content.add(text=text)
    for call in calls:
        message.content.add(tool_call=call)
    events: list[ProtoMessage] = [event_pb2.TextDone(text=text)] if text else []
    events += [_model_call(context, attempt, None), finish.usage]
    return ModelAnswer(message, calls, finish, events)


def _model_call(context: TurnContext, attempt: _Attempt, error: errors.AsterError | None) -> event_pb2.ModelCall:
    """monitor.model_call of an attempt. An unknown price leaves cost_usd unset, never 0."""
    finish = attempt.finish or Finish(agent_pb2.STOP_REASON_ERROR)
    model = finish.model or attempt.model
    call = event_pb2.ModelCall(
        provider=attempt.provider,
        model=model,
        usage=finish.usage,
        duration=clock.duration(clock.monotonic() - attempt.began),
        attempt=attempt.number,
        stop_reason=finish.stop_reason,
    )
    if attempt.first is not None:
        call.time_to_first_token.CopyFrom(clock.duration(attempt.first - attempt.began))
    cost = context.deps.prices.cost_usd(model, finish.usage)
    if cost is not None:
        call.cost_usd = cost
    if error is not None:
        call.error.CopyFrom(error.status())
    return call
