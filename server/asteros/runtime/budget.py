"""Hard limits, checked before a model call (guarantee: the strictest wins)."""

from aster.v1 import common_pb2, event_pb2
from asteros import clock, errors
from asteros.runtime.context import TurnContext


def check(context: TurnContext) -> None:
    """Refuses the next model call when a limit of the turn, the session or the agent is used up.

    :raises BudgetExceeded:
    :raises ModelPriceUnknown: a money limit is set and the model has no known price."""
    turn, session, status = context.turn, context.session, context.lifecycle.status
    for rule in ("budget", "turn_budget"):
        limit = context.row.budget if rule == "budget" else context.config.turn_budget
        _check(context, rule, limit, turn.cost_usd, turn.usage.total_tokens, turn.step_count)
    used = session.input_tokens + session.output_tokens
    _check(context, "session_budget", context.config.session_budget, session.cost_usd, used, None)
    total = context.config.total_budget
    _check(context, "total_budget", total, status.total_cost_usd, status.total_tokens, status.step_count)


def _check(
    context: TurnContext, rule: str, limit: common_pb2.Budget, cost: float, tokens: int, steps: int | None
) -> None:
    if limit.HasField("max_cost_usd"):
        model = context.config.model_config.model
        if context.deps.prices.cost_usd(model, common_pb2.TokenUsage()) is None:
            raise errors.ModelPriceUnknown(model=model)
        _refuse(rule, "max_cost_usd", limit.max_cost_usd, cost)
    if limit.HasField("max_tokens"):
        _refuse(rule, "max_tokens", limit.max_tokens, tokens)
    if limit.HasField("max_steps") and steps is not None:
        _refuse(rule, "max_steps", limit.max_steps, steps)
    if limit.HasField("max_duration"):
        spent = (clock.now() - clock.nanos(context.turn.create_time)) / clock.NANOS
        _refuse(rule, "max_duration", clock.seconds(limit.max_duration), spent)


def _refuse(rule: str, name: str, limit: float, used: float) -> None:
    if used >= limit:
        raise errors.BudgetExceeded(f"{rule}.{name} is used up", rule=f"{rule}.{name}", limit=limit, used=used)


def governance(error: errors.AsterError) -> event_pb2.Governance:
    """monitor.governance for a turn that a limit stopped."""
    return event_pb2.Governance(rule=error.facts.get("rule", "budget"), decision="limit", detail=error.text)
