"""Hard limits: the next model call is refused, and the turn says which rule it was."""

from typing import Any

import pytest
from runtime.helpers import World, call, check_events, kinds, of

from aster.v1 import agent_pb2, common_pb2

pytestmark = pytest.mark.anyio

USE = {"usage": {"input_tokens": 90, "output_tokens": 10}}
LOOP = [USE, call("look")]
Budget = common_pb2.Budget


async def _turns(world: World, count: int = 1, budget: Budget | None = None, **config: Any) -> list[agent_pb2.Turn]:
    agent = await world.agent(LOOP, LOOP, LOOP, [USE, "ok"], **config)
    return [await world.turn(agent, budget=budget) for _ in range(count)]


@pytest.mark.parametrize(
    ("limit", "steps", "rule"),
    [
        (Budget(max_steps=2), 2, "max_steps"),
        (Budget(max_tokens=101), 2, "max_tokens"),
        (Budget(max_tokens=200), 2, "max_tokens"),
        (Budget(max_tokens=201), 3, "max_tokens"),
        (Budget(max_cost_usd=2.5), 3, "max_cost_usd"),
        (Budget(max_steps=0), 0, "max_steps"),
        (Budget(max_steps=2, max_tokens=1), 1, "max_tokens"),
    ],
)
@pytest.mark.parametrize("whose", ["turn_budget", "total_budget", "budget"])
async def test_a_turn_is_stopped_by(world: World, limit: Budget, steps: int, rule: str, whose: str) -> None:
    world.prices.of_a_token = 0.01  # a step costs 1 dollar
    how: dict[str, Any] = {whose: limit}
    (turn,) = await _turns(world, **how)
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_FAILED, agent_pb2.STOP_REASON_BUDGET)
    assert turn.step_count == steps
    assert turn.cost_usd == pytest.approx(steps)
    agent = await world.awake(1)
    events = await world.events(agent)
    check_events(events)
    assert kinds(events).endswith("error governance complete state_changed")
    (note,) = of(events, "governance")
    assert (note.rule, note.decision) == (f"{whose}.{rule}", "limit")
    (error,) = of(events, "error")
    assert (error.phase, error.error) == ("system", turn.error)
    assert b"BUDGET_EXCEEDED" in turn.error.SerializeToString()


@pytest.mark.parametrize("limit", [Budget(max_steps=4), Budget(max_tokens=400), Budget(max_cost_usd=4.0), Budget()])
async def test_enough_is_enough(world: World, limit: Budget) -> None:
    world.prices.of_a_token = 0.01
    (turn,) = await _turns(world, turn_budget=limit)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert turn.cost_usd == pytest.approx(4)


async def test_the_strictest_of_all_wins(world: World) -> None:
    (turn,) = await _turns(world, budget=Budget(max_steps=3), turn_budget=Budget(max_steps=1))
    assert turn.step_count == 1


@pytest.mark.parametrize(
    ("config", "states"),
    [
        ({"total_budget": Budget(max_tokens=600)}, "COMPLETED FAILED FAILED"),
        ({"session_budget": Budget(max_tokens=600)}, "COMPLETED FAILED FAILED"),
        ({"turn_budget": Budget(max_tokens=600)}, "COMPLETED COMPLETED COMPLETED"),
    ],
)
async def test_what_counts_over_turns(world: World, config: dict[str, Any], states: str) -> None:
    turns = await _turns(world, 3, **config)
    names = [agent_pb2.TurnState.Name(turn.state).removeprefix("TURN_STATE_") for turn in turns]
    assert " ".join(names) == states


async def test_totals_survive_sleep(world: World) -> None:
    agent = await world.agent([USE, "ok"], total_budget=Budget(max_tokens=150))
    await world.turn(agent)
    await world.turn(agent)
    await world.registry.evict(agent.ref.key)
    turn = await world.turn(await world.awake(agent.ref.key))
    assert turn.stop_reason == agent_pb2.STOP_REASON_BUDGET


async def test_money_cannot_be_limited_where_no_price_is_known(world: World) -> None:
    (turn,) = await _turns(world, turn_budget=Budget(max_cost_usd=5))
    assert (turn.stop_reason, turn.step_count) == (agent_pb2.STOP_REASON_BUDGET, 0)
    assert b"MODEL_PRICE_UNKNOWN" in turn.error.SerializeToString()
    events = await world.events(await world.awake(1))
    assert len(of(events, "governance")) == 1
    assert of(events, "model_call") == []


async def test_a_known_price_is_on_the_model_call_and_adds_up(world: World) -> None:
    world.prices.of_a_token = 0.5
    (turn,) = await _turns(world)
    agent = await world.awake(1)
    calls = of(await world.events(agent), "model_call")
    assert [made.cost_usd for made in calls] == [50.0] * 4
    assert turn.cost_usd == agent.lifecycle.status.total_cost_usd == 200.0
    (complete,) = of(await world.events(agent), "complete")
    assert complete.cost_usd == 200.0


async def test_time_is_a_limit_too(world: World) -> None:
    (turn,) = await _turns(world, turn_budget=Budget(max_duration={"nanos": 1}))
    assert (turn.stop_reason, turn.step_count) == (agent_pb2.STOP_REASON_BUDGET, 0)
    assert b"max_duration" in turn.error.SerializeToString()
