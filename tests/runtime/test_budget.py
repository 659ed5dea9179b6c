"""Hard limits: the next model call is refused, and the turn says which rule it was."""

from typing import Any

import pytest
from events.fakes import FakeClock
from runtime.helpers import ASK_ALWAYS, World, call, check_events, kinds, of, results

from aster.v1 import agent_pb2, common_pb2

pytestmark = pytest.mark.anyio

USE = {"usage": {"input_tokens": 90, "output_tokens": 10}}
LOOP = [USE, call("look")]
Budget = common_pb2.Budget


async def _turns(world: World, count: int = 1, budget: Budget | None = None, **config: Any) -> list[agent_pb2.Turn]:
    agent = await world.agent(LOOP, LOOP, LOOP, [USE, "ok"], tools=["look"], **config)
    return [await world.turn(agent, budget=budget) for _ in range(count)]


async def _check_stopped(world: World, turn: agent_pb2.Turn, rule: str) -> None:
    """The turn, its events and its error say that this rule stopped it."""
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_FAILED, agent_pb2.STOP_REASON_BUDGET)
    agent = await world.awake(1)
    events = await world.events(agent, turn.id)
    check_events(await world.events(agent))
    assert kinds(events).endswith("error governance complete state_changed")
    (note,) = of(events, "governance")
    assert (note.rule, note.decision) == (rule, "limit")
    (error,) = of(events, "error")
    assert (error.phase, error.error) == ("system", turn.error)
    assert b"BUDGET_EXCEEDED" in turn.error.SerializeToString()
    assert len(of(events, "model_call")) == turn.step_count


@pytest.mark.parametrize(
    ("limit", "steps", "rule"),
    [
        (Budget(max_steps=2), 2, "max_steps"),
        (Budget(max_steps=0), 0, "max_steps"),
        (Budget(max_tokens=10), 0, "max_tokens"),  # the estimate of the first call is more
        (Budget(max_tokens=170), 1, "max_tokens"),  # 100 used, and the second call needs more than 70
        (Budget(max_tokens=330), 2, "max_tokens"),
        (Budget(max_cost_usd=0.1), 0, "max_cost_usd"),
        (Budget(max_cost_usd=1.7), 1, "max_cost_usd"),
        (Budget(max_steps=2, max_tokens=170), 1, "max_tokens"),
    ],
)
@pytest.mark.parametrize("whose", ["turn_budget", "session_budget", "total_budget", "budget"])
async def test_a_turn_is_stopped_by(world: World, limit: Budget, steps: int, rule: str, whose: str) -> None:
    world.prices.of_a_token = 0.01  # a step costs 1 dollar
    how: dict[str, Any] = {whose: limit}
    (turn,) = await _turns(world, **how)
    assert turn.step_count == steps
    assert turn.cost_usd == pytest.approx(steps)
    await _check_stopped(world, turn, f"{whose}.{rule}")


@pytest.mark.parametrize("how", [Budget(max_tokens=300), Budget(max_cost_usd=3.0)], ids=["tokens", "money"])
async def test_the_answer_is_cut_where_the_budget_ends(world: World, how: Budget) -> None:
    """The call's own output limit is lowered: the model stops by itself."""
    world.prices.of_a_token = 0.01
    agent = await world.agent(model="echo", tools=["look"], turn_budget=how)
    turn = await world.turn(agent, "word " * 130)  # 163 tokens to send and to say
    assert turn.usage.total_tokens <= 300
    assert 30 < turn.usage.output_tokens < 163
    assert len(of(await world.events(agent), "text_done")[0].text) > 100
    assert turn.reply.content[0].text.startswith("word word")
    rule = "turn_budget.max_tokens" if how.HasField("max_tokens") else "turn_budget.max_cost_usd"
    await _check_stopped(world, turn, rule)


async def test_a_limit_of_the_model_itself_is_no_budget(world: World) -> None:
    config = agent_pb2.ModelConfig(provider="scripted", model="echo", max_tokens=5)
    agent = await world.agent(tools=["look"], model_config=config, turn_budget=Budget(max_tokens=5000))
    turn = await world.turn(agent, "word " * 50)
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_MAX_TOKENS)


@pytest.mark.parametrize("limit", [Budget(max_steps=4), Budget(max_tokens=900), Budget(max_cost_usd=9.0), Budget()])
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
        ({"total_budget": Budget(max_tokens=700)}, "COMPLETED FAILED FAILED"),
        ({"session_budget": Budget(max_tokens=700)}, "COMPLETED FAILED FAILED"),
        ({"turn_budget": Budget(max_tokens=700)}, "COMPLETED COMPLETED COMPLETED"),
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
    assert turn.step_count == 0
    await _check_stopped(world, turn, "turn_budget.max_duration")


SOON = Budget(max_duration={"nanos": 300_000_000})


async def test_a_model_that_runs_is_cut_off(world: World) -> None:
    agent = await world.agent(["some ", {"pause": 30}, "more"], turn_budget=SOON)
    turn = await world.turn(agent)
    assert turn.stop_reason == agent_pb2.STOP_REASON_BUDGET
    assert [block.text for block in turn.reply.content] == ["some "]
    assert of(await world.events(agent), "governance")[0].rule == "turn_budget.max_duration"


async def test_a_tool_that_runs_is_cut_off(world: World) -> None:
    agent = await world.agent([call("held", "c1")], ["unreached"], turn_budget=SOON)
    turn = await world.turn(agent)
    assert (turn.stop_reason, turn.step_count) == (agent_pb2.STOP_REASON_BUDGET, 1)
    assert "no time left" in results(await world.messages(agent))["c1"]["error"]


async def test_time_of_earlier_turns_counts(world: World) -> None:
    pausing = [[{"pause": 0.05}, "ok"]]
    agent = await world.agent(*pausing, session_budget=Budget(max_duration={"nanos": 60_000_000}))
    states = [(await world.turn(agent)).state for _ in range(3)]
    assert states[0] == agent_pb2.TURN_STATE_COMPLETED
    assert states[2] == agent_pb2.TURN_STATE_FAILED
    conversation = await agent.conversations.get()
    assert conversation.session.active_time.nanos >= 50_000_000
    assert agent.lifecycle.status.active_time == conversation.session.active_time


async def test_waiting_for_people_takes_no_time(world: World, fake_clock: FakeClock) -> None:
    agent = await world.agent(
        [call("plain", "c1"), call("plain", "c2")],
        ["ok"],
        permission_mode=ASK_ALWAYS,
        turn_budget=Budget(max_duration={"seconds": 60}),
    )
    accepted = await world.say(agent)
    first, second = await world.asked(agent, 2)
    fake_clock.seconds += 3600
    await world.approve(agent, "c1")
    fake_clock.seconds += 3600
    await world.approve(agent, "c2")
    turn = await world.ended(agent, accepted)
    assert (turn.state, first.call.id, second.call.id) == (agent_pb2.TURN_STATE_COMPLETED, "c1", "c2")
    assert agent.lifecycle.status.active_time.seconds == 0
