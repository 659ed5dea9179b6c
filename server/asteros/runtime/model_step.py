"""One model step: call the model, show what it says as it says it, keep what it said.

Retries happen only before the first chunk, see ``retries``; then the next model of
``fallbacks`` is tried (guarantee R8).
A stream without its end is an error and never an answer (R7)."""

import contextlib
import functools
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock, errors, failpoints
from asteros.providers.base import Finish, ModelChunk, ModelRequest, Provider, Seal, TextDelta, ThinkDelta, ToolUse
from asteros.runtime import budget, retries
from asteros.runtime.context import TurnContext
from asteros.runtime.rings import ModelHandle


@dataclass(slots=True)
class ModelAnswer:
    """What one model call gave."""

    message: common_pb2.Message
    calls: list[common_pb2.ToolCall]
    finish: Finish
    events: list[ProtoMessage] = field(default_factory=list)  # payloads to store with it
    lowered: str = ""  # the budget that lowered the call's output limit, if one did


@dataclass(slots=True)
class _Attempt:
    """One call of one model, while it runs."""

    provider: str
    model: str  # as the config names it
    number: int
    began: float
    first: float | None = None  # when the first content came
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    seals: list[tuple[int, int, Seal]] = field(default_factory=list)  # behind so many pieces of text and so many calls
    calls: list[common_pb2.ToolCall] = field(default_factory=list)
    finish: Finish | None = None
    called: bool = False  # the model was asked: a budget or a middleware may have refused before
    lowered: str = ""  # the budget that lowered the output limit

    def stream(
        self, context: TurnContext, provider: Provider, request: ModelRequest
    ) -> AsyncGenerator[ModelChunk, None]:
        """The call itself, behind all middlewares, with what the budgets leave."""
        admitted, self.lowered = budget.admit(context, request)
        self.called = True
        return provider.stream(admitted)


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
    service = (config.provider or config.model, config.base_url)
    context.deps.retries.called(service)
    number = 1
    while True:
        try:
            return await _attempt(context, config, number)
        except errors.AsterError as error:
            if context.answering or not retries.retryable(error):
                raise
            wait = retries.backoff(number, error.retry_after, await budget.time_left(context))
            if wait is None or not context.deps.retries.take(service):
                raise
        await clock.sleep(wait)
        number += 1


async def _attempt(context: TurnContext, config: agent_pb2.ModelConfig, number: int) -> ModelAnswer:
    provider, resolved = context.deps.providers.resolve(config)
    attempt = _Attempt(provider.name, resolved.model, number, clock.monotonic())
    context.partial_text = attempt.text
    context.answering = False
    request = ModelRequest(
        config=resolved,
        messages=context.conversation.for_model(),
        system=context.config.system_prompt,
        tools=context.specs,
        show_thinking=context.config.expose_thinking,
    )
    try:
        handle = ModelHandle(context, resolved.model, functools.partial(_aside, context, provider))
        stream = functools.partial(attempt.stream, context, provider)
        async with context.onion.model_call(request, handle, stream) as chunks:
            async for chunk in failpoints.between("run.mid_stream", chunks):
                _take(context, attempt, chunk)
                if not context.journal.flows:
                    await context.journal.flow()
        if attempt.finish is None:
            raise errors.ProviderTruncated(provider=provider.name)
    except errors.AsterError as error:
        if attempt.called or attempt.finish is not None:
            told = _model_call(context, attempt, error)
            if attempt.finish is not None:  # the model has answered, and a middleware took no answer
                context.count(attempt.finish.usage, told.cost_usd)
            context.post(told)
        raise
    return _answer(context, attempt, attempt.finish)


async def _aside(context: TurnContext, provider: Provider, request: ModelRequest) -> str:
    """A model call of a middleware: counted and told like any other, but no part of the conversation."""
    await budget.check(context)
    attempt = _Attempt(provider.name, request.config.model, 1, clock.monotonic())
    try:
        async with contextlib.aclosing(attempt.stream(context, provider, request)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, TextDelta):
                    attempt.text.append(chunk.text)
                elif isinstance(chunk, Finish):
                    attempt.finish = chunk
        if attempt.finish is None:
            raise errors.ProviderTruncated(provider=provider.name)
    except errors.AsterError as error:
        if attempt.called:
            context.post(_model_call(context, attempt, error))
        raise
    told = _model_call(context, attempt, None)
    context.count(attempt.finish.usage, told.cost_usd)
    context.post(told, attempt.finish.usage)
    return "".join(attempt.text)


def _take(context: TurnContext, attempt: _Attempt, chunk: ModelChunk) -> None:
    if attempt.first is None:
        attempt.first = clock.monotonic()
        context.answering = True
    if type(chunk) is TextDelta:  # nearly always
        attempt.text.append(chunk.text)
        stamp = context.stamp
        context.journal.post_text(stamp.text(chunk.text), stamp.scope)
        return
    match chunk:
        case ThinkDelta(text):
            if context.config.expose_thinking:
                attempt.thinking.append(text)
                context.post(event_pb2.ThinkChunk(delta=text))
        case Seal():
            attempt.seals.append((len(attempt.text), len(attempt.calls), chunk))
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
    message.content.extend(_blocks(attempt, calls))
    events: list[ProtoMessage] = [event_pb2.TextDone(text=text)] if text else []
    events += [_model_call(context, attempt, None), finish.usage]
    return ModelAnswer(message, calls, finish, events, attempt.lowered)


def _blocks(attempt: _Attempt, calls: Sequence[common_pb2.ToolCall]) -> Iterator[common_pb2.ContentBlock]:
    """Text, calls and, where a tool loop needs it, sealed reasoning, in the order they came."""
    texts = called = 0
    for texts_before, calls_before, seal in attempt.seals if calls else ():
        yield from _run(attempt.text[texts:texts_before], calls[called:calls_before])
        texts, called = texts_before, calls_before
        sealed = common_pb2.SealedThinking(provider=attempt.provider, model=attempt.model, data=seal.data)
        yield common_pb2.ContentBlock(sealed_thinking=sealed)
    yield from _run(attempt.text[texts:], calls[called:])


def _run(pieces: Sequence[str], calls: Sequence[common_pb2.ToolCall]) -> Iterator[common_pb2.ContentBlock]:
    if text := "".join(pieces):
        yield common_pb2.ContentBlock(text=text)
    for call in calls:
        yield common_pb2.ContentBlock(tool_call=call)


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
