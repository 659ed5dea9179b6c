"""Hard limits of a turn, a session and an agent: the strictest wins.

They are checked before every model call, with an estimate of what it will take: the
call's output limit is lowered to what still fits, and when nothing fits there is no
call. The estimate counts bytes, at the rate of the session's last counted call."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock, errors
from asteros.middleware.transcript import size_of, text_size
from asteros.providers.base import ModelRequest
from asteros.runtime.context import TurnContext

LEAST_ANSWER = 16  # tokens: a call that may say less is not made
_MILLION = 1_000_000
_MOST_TOKENS = 1_000_000  # no model says more: a limit above is no limit


@dataclass(frozen=True, slots=True)
class _Limit:
    """One budget, and what was used of it."""

    rule: str  # the field it was set in
    most: common_pb2.Budget
    cost: float
    tokens: int
    steps: int
    before: float  # seconds of earlier turns

    @property
    def counts(self) -> bool:
        """It limits tokens or money."""
        return self.most.HasField("max_tokens") or self.most.HasField("max_cost_usd")

    def refuse(self, name: str, used: float, needed: float = 0.0) -> None:
        """
        :raises BudgetExceeded: what is used up, or would be with what is needed."""
        most = clock.seconds(self.most.max_duration) if name == "max_duration" else getattr(self.most, name)
        if used >= most:
            text = f"{self.rule}.{name} is used up"
        elif used + needed > most:
            text = f"{self.rule}.{name} would be crossed by the next model call"
        else:
            return
        raise errors.BudgetExceeded(text, rule=f"{self.rule}.{name}", limit=most, used=used)


def _limits(within: TurnContext) -> Iterator[_Limit]:
    """Those of the turn that somebody asked for: delegated work counts there."""
    context = within.root
    turn, session, status, config = context.turn, context.session, context.lifecycle.status, context.config
    for rule, most in (("budget", context.row.budget), ("turn_budget", config.turn_budget)):
        yield _Limit(rule, most, turn.cost_usd, turn.usage.total_tokens, turn.step_count, 0.0)
    if (shared := context.shared) is not None:
        before = max(clock.nanos(turn.start_time) - shared.began, 0) / clock.NANOS
        yield _Limit("budget", shared.most, shared.cost, shared.tokens, shared.steps, before)
    yield _Limit(
        "session_budget",
        config.session_budget,
        session.cost_usd,
        session.input_tokens + session.output_tokens,
        session.step_count,
        clock.seconds(session.active_time),
    )
    yield _Limit(
        "total_budget",
        config.total_budget,
        status.total_cost_usd,
        status.total_tokens,
        status.step_count,
        clock.seconds(status.active_time),
    )


async def check(context: TurnContext) -> None:
    """Before a step: refuses it when a limit is used up already.

    :raises BudgetExceeded:
    :raises ModelPriceUnknown: a money limit is set and the model has no known price."""
    for limit in _limits(context):
        if limit.most.HasField("max_cost_usd"):
            _price(context, context.config.model_config.model, common_pb2.TokenUsage())
            limit.refuse("max_cost_usd", limit.cost)
        if limit.most.HasField("max_tokens"):
            limit.refuse("max_tokens", limit.tokens)
        if limit.most.HasField("max_steps"):
            limit.refuse("max_steps", limit.steps)
        if limit.most.HasField("max_duration"):
            limit.refuse("max_duration", limit.before + await active_seconds(context.root))


def admit(context: TurnContext, request: ModelRequest) -> tuple[ModelRequest, str]:
    """Before a model call: the request, with its output limit lowered to what the budgets leave,
    and the rule that lowered it ("": it is as it was).

    :raises BudgetExceeded: what it sends and the shortest answer do not fit.
    :raises ModelPriceUnknown: a money limit is set and the model has no known price."""
    limits = [limit for limit in _limits(context) if limit.counts]
    if not limits:
        return request, ""
    sent = request_bytes(request)
    context.conversation.asked_bytes = sent
    asked = math.ceil(sent / context.conversation.bytes_per_token)
    room, rule = min(_room(context, limit, request.config.model, asked) for limit in limits)
    config = request.config
    if room >= _MOST_TOKENS or (config.HasField("max_tokens") and config.max_tokens <= room):
        return request, ""
    lowered = agent_pb2.ModelConfig()
    lowered.CopyFrom(config)
    lowered.max_tokens = int(room)
    if lowered.thinking_budget_tokens >= lowered.max_tokens:
        lowered.ClearField("thinking_budget_tokens")
    return replace(request, config=lowered), rule


def _room(context: TurnContext, limit: _Limit, model: str, asked: int) -> tuple[float, str]:
    """Tokens of an answer that one budget leaves, and its rule."""
    rooms = [(math.inf, "")]
    if limit.most.HasField("max_tokens"):
        limit.refuse("max_tokens", limit.tokens, asked + LEAST_ANSWER)
        rooms.append((limit.most.max_tokens - limit.tokens - asked, f"{limit.rule}.max_tokens"))
    if limit.most.HasField("max_cost_usd"):
        sent, token = _costs(context, model, asked)
        limit.refuse("max_cost_usd", limit.cost, sent + token * LEAST_ANSWER)
        left = limit.most.max_cost_usd - limit.cost - sent
        rooms.append((left / token if token > 0 else math.inf, f"{limit.rule}.max_cost_usd"))
    return min(rooms)


def _costs(context: TurnContext, model: str, asked: int) -> tuple[float, float]:
    """What so many tokens cost to send, and what one token of the answer costs then."""
    sent = _price(context, model, common_pb2.TokenUsage(input_tokens=asked, total_tokens=asked))
    whole = common_pb2.TokenUsage(input_tokens=asked, output_tokens=_MILLION, total_tokens=asked + _MILLION)
    return sent, (_price(context, model, whole) - sent) / _MILLION


def _price(context: TurnContext, model: str, usage: common_pb2.TokenUsage) -> float:
    cost = context.deps.prices.cost_usd(model, usage)
    if cost is None:
        raise errors.ModelPriceUnknown(model=model)
    return cost


def request_bytes(request: ModelRequest) -> int:
    """About how many bytes of text a request sends."""
    tools = sum(text_size(tool.description) + len(tool.input_schema_json) for tool in request.tools)
    return text_size(request.system) + tools + sum(map(size_of, request.messages))


async def time_left(context: TurnContext) -> float:
    """Seconds until a limit of time is reached; infinite without one."""
    limits = [limit for limit in _limits(context) if limit.most.HasField("max_duration")]
    if not limits:
        return math.inf
    spent = await active_seconds(context.root)
    return min(clock.seconds(limit.most.max_duration) - limit.before for limit in limits) - spent


@contextlib.asynccontextmanager
async def time_limit(context: TurnContext) -> AsyncIterator[asyncio.Timeout]:
    """Cuts off what runs inside when no time is left: TimeoutError, and the scope has expired.

    Time in which the turn waits for people is no time: the end moves while it lasts."""
    async with asyncio.timeout(None) as scope:
        if await time_left(context) == math.inf:
            yield scope
            return
        watch = asyncio.create_task(_expire(context, scope), name=f"time of turn {context.turn.id}")
        try:
            yield scope
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def _expire(context: TurnContext, scope: asyncio.Timeout) -> None:
    while (left := await time_left(context)) > 0:
        await clock.sleep(left)
    scope.reschedule(asyncio.get_running_loop().time())


async def active_seconds(context: TurnContext) -> float:
    """Wall time since the turn began to run, without the time in which it waited for people."""
    now = clock.now()
    waits = []
    store, key = context.deps.store, context.journal.ref.key
    turns = [context.turn.id, *context.delegated]
    rows = [row for turn_id in turns for row in await store.pending_of_turn(key, turn_id)]
    for row in rows:
        pending = row.pending
        end = clock.nanos(pending.resolution.resolve_time) if pending.HasField("resolution") else now
        waits.append((clock.nanos(pending.create_time), end))
    return max(now - clock.nanos(context.turn.start_time) - _covered(waits), 0) / clock.NANOS


def _covered(spans: list[tuple[int, int]]) -> int:
    """The length of what the spans cover together."""
    covered = last = 0
    for start, end in sorted(spans):
        covered += max(end - max(start, last), 0)
        last = max(last, end)
    return covered


def out_of_time(context: TurnContext) -> errors.BudgetExceeded:
    """Why something that ran was cut off."""
    shortest = min(
        (limit for limit in _limits(context) if limit.most.HasField("max_duration")),
        key=lambda limit: clock.seconds(limit.most.max_duration) - limit.before,
    )
    most = clock.seconds(shortest.most.max_duration)
    rule = f"{shortest.rule}.max_duration"
    return errors.BudgetExceeded(f"{rule} is used up", rule=rule, limit=most, used=most)


def cut(rule: str) -> errors.BudgetExceeded:
    """Why an answer ended early: its output limit was lowered, and reached."""
    return errors.BudgetExceeded(f"{rule} left room for a part of the answer only", rule=rule)


def governance(error: errors.AsterError) -> event_pb2.Governance:
    """monitor.governance for a turn that a limit stopped."""
    return event_pb2.Governance(rule=error.facts.get("rule", "budget"), decision="limit", detail=error.text)
