"""The offline provider: answers without a network, for demonstrations, load and exact tests.

Its models: ``echo`` says the user's text back; ``flood:N@R`` sends N chunks, R per
second (0: as fast as they are taken); ``script:NAME`` plays a file (``script_file``);
``demo`` does what it is told (``demo``). It keeps nothing between calls: what it does
follows from the messages alone, so a replay after a crash plays the same step."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from aster.v1 import agent_pb2, common_pb2
from asteros import clock, errors, ids
from asteros.providers import demo, script_file
from asteros.providers.base import Finish, ModelChunk, ModelRequest, TextDelta, ThinkDelta, ToolUse
from asteros.providers.steps import (
    Action,
    Call,
    Fail,
    Flood,
    Pause,
    Say,
    Step,
    Stop,
    Think,
    Use,
    last_user_text,
    pieces,
    steps_done,
)

NAME = "scripted"
MAX_FLOOD = 10_000_000
BYTES_PER_TOKEN = 4

# What an action comes to, piece by piece: text, seconds of silence, or a chunk.
Item = str | float | ModelChunk
Load = Callable[[], Awaitable[Step]]

_FLOOD = re.compile(r"flood:(\d{1,8})@(\d{1,6}(?:\.\d{1,3})?)")
_SCRIPT = "script:"
# Chunks after which a flood lets others run even when its reader never waits.
_BREATH = 64

_FAILURES: dict[str, type[errors.AsterError]] = {
    "limit": errors.ProviderLimit,
    "unavailable": errors.ProviderUnavailable,
    "stalled": errors.ProviderStalled,
    "truncated": errors.ProviderTruncated,
    "auth": errors.ProviderAuth,
}


class ScriptedProvider:
    """``Provider`` without a network. ``scripts``: the folder of ``script:NAME``; None: no scripts."""

    def __init__(self, scripts: Path | None = None) -> None:
        self.name = NAME
        self._scripts = scripts

    def check(self, model: str, field: str) -> None:
        """Refuses a model name that means nothing, or a script that is missing or wrong.

        Reads the script's file.

        :raises FieldViolation: at ``field``."""
        try:
            if model.startswith(_SCRIPT):
                script_file.load(self._scripts, model.removeprefix(_SCRIPT))
            elif model not in ("echo", "demo"):
                _flood(model)
        except errors.ConfigError as error:
            raise errors.bad_field(field, str(error)) from None

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """See ``Provider.stream``. A model name or script that is not valid raises ``ProviderRejected``."""
        return _Play(request).run(lambda: self._step(request.config.model, request.messages))

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _step(self, model: str, messages: Sequence[common_pb2.Message]) -> Step:
        if model == "echo":
            return (Say(last_user_text(messages)),)
        if model == "demo":
            return demo.step(messages)
        if not model.startswith(_SCRIPT):
            return (_flood(model),)
        steps = await asyncio.to_thread(script_file.load, self._scripts, model.removeprefix(_SCRIPT))
        # The last step is played again and again: a script of one tool call never ends its turn.
        return steps[min(steps_done(messages), len(steps) - 1)]


def _flood(model: str) -> Flood:
    match = _FLOOD.fullmatch(model)
    if match is None or int(match[1]) > MAX_FLOOD:
        raise errors.ConfigError(
            "the scripted provider has the models echo, demo, script:NAME and flood:N@R "
            f"(N chunks, at most {MAX_FLOOD}, R per second, 0 = as fast as possible)"
        )
    return Flood(int(match[1]), float(match[2]))


class _Play:
    """One call: plays actions and counts what they would have cost."""

    def __init__(self, request: ModelRequest) -> None:
        config = request.config
        self._idle = request.idle_timeout
        self._model = config.model
        self._sent = len(request.system.encode()) + sum(
            block.ByteSize() for message in request.messages for block in message.content
        )
        self._produced = 0  # bytes
        self._limit = config.max_tokens * BYTES_PER_TOKEN if config.HasField("max_tokens") else None
        self._usage: common_pb2.TokenUsage | None = None
        self._stop = agent_pb2.STOP_REASON_UNSPECIFIED

    async def run(self, load: Load) -> AsyncGenerator[ModelChunk, None]:
        """The chunks of one step and their ``Finish``.

        One generator for all of it: a flood measures what stands behind the model."""
        called = False
        for action in await _loaded(load):
            for item in _paced(action) if isinstance(action, Say | Flood) else self._chunks(action):
                if isinstance(item, str):
                    if fitting := self._take(item):
                        yield TextDelta(fitting)
                elif isinstance(item, float):
                    await _silence(item, self._idle)
                else:
                    called = called or isinstance(item, ToolUse)
                    yield item
                if self._stop:
                    break
            if self._stop:
                break
        natural = agent_pb2.STOP_REASON_TOOL_USE if called else agent_pb2.STOP_REASON_END_TURN
        yield Finish(self._stop or natural, self._usage or self._counted(), self._model)

    def _chunks(self, action: Action) -> Iterator[Item]:
        match action:
            case Think(text):
                for piece in pieces(text):
                    if fitting := self._take(piece):
                        yield ThinkDelta(fitting)
            case Call(name, input_json, id):
                # A call that the output limit cuts is no call.
                if self._take(input_json) == input_json and not self._stop:
                    yield ToolUse(common_pb2.ToolCall(id=id or ids.new("call_"), name=name, input_json=input_json))
            case Pause(seconds):
                yield float(seconds)
            case Use(usage):
                self._usage = usage
            case Stop(reason):
                self._stop = reason
            case Fail(kind, retry_after):
                _fail(kind, retry_after)

    def _take(self, text: str) -> str:
        """What of the text fits under max_tokens; sets the stop reason once it is cut."""
        data = text.encode()
        room = len(data) if self._limit is None else max(self._limit - self._produced, 0)
        if len(data) > room:
            self._stop = agent_pb2.STOP_REASON_MAX_TOKENS
            text = data[:room].decode("utf-8", "ignore")  # never half a code point
        self._produced += min(len(data), room)
        return text

    def _counted(self) -> common_pb2.TokenUsage:
        sent, produced = _tokens(self._sent), _tokens(self._produced)
        return common_pb2.TokenUsage(input_tokens=sent, output_tokens=produced, total_tokens=sent + produced)


def _tokens(size: int) -> int:
    return max(-(-size // BYTES_PER_TOKEN), 1)


def _fail(kind: str, retry_after: float | None) -> None:
    if kind == "rejected":
        raise errors.ProviderRejected(provider=NAME)
    raise _FAILURES[kind](retry_after=retry_after, provider=NAME)


async def _silence(seconds: float, idle: float) -> None:
    """What a real provider's silence does: beyond the idle timeout the call fails."""
    if seconds >= idle:
        await clock.sleep(idle)
        raise errors.ProviderStalled(provider=NAME)
    await clock.sleep(seconds)


async def _loaded(load: Load) -> Step:
    try:
        return await load()
    except errors.ConfigError as error:
        raise errors.ProviderRejected(str(error), provider=NAME) from None


def _paced(action: Say | Flood) -> Iterator[Item]:
    if isinstance(action, Say):
        for piece in pieces(action.text, action.chunk):
            yield piece
            yield action.pause
        return
    start = clock.monotonic()
    for number in range(action.count):
        if action.rate:
            # By the clock and not by the gap: a slow reader does not slow the flood down for good.
            due = start + number / action.rate - clock.monotonic()
            if due > 0:
                yield due
        yield f"tok{number} "
        if number % _BREATH == _BREATH - 1:
            yield 0.0
