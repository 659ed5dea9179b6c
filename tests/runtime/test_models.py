"""Model calls that fail: retries, fallbacks, what is shown and what is counted (R7, R8)."""

import random

import pytest
from events.fakes import FakeClock
from runtime.helpers import World, call, check_events, kinds, of, shape

from aster.v1 import agent_pb2, common_pb2
from asteros import clock
from asteros.runtime import retries

pytestmark = pytest.mark.anyio

BEGIN = "state_changed state_changed "
FAILED_END = "error complete state_changed"
TEXT = "text_chunk text_done model_call token_usage step_complete complete state_changed"


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept; nothing is."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            slept.append(seconds)

    monkeypatch.setattr(clock, "sleep", sleep)
    return slept


def _fails(kind: str, after: float | None = None) -> dict[str, object]:
    return {"fail": {"kind": kind, **({} if after is None else {"retry_after": after})}}


@pytest.mark.parametrize("kind", ["limit", "unavailable", "stalled", "truncated"])
async def test_twice_again_before_the_first_word(
    world: World, naps: list[float], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or high)
    agent = await world.agent([_fails(kind)])
    turn = await world.turn(agent)
    events = await world.events(agent)
    assert kinds(events) == BEGIN + "model_call model_call model_call " + FAILED_END
    attempts = of(events, "model_call")
    assert [attempt.attempt for attempt in attempts] == [1, 2, 3]
    assert all(attempt.HasField("error") for attempt in attempts)
    assert naps == [0.5, 1.0]
    assert drawn == [(0, 0.5), (0, 1.0)], "full jitter"
    assert (turn.state, turn.stop_reason) == (agent_pb2.TURN_STATE_FAILED, agent_pb2.STOP_REASON_ERROR)
    (error,) = of(events, "error")
    assert (error.severity, error.phase, error.error) == ("error", "model", turn.error)
    (complete,) = of(events, "complete")
    assert (complete.error, complete.state) == (turn.error, turn.state)
    assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_ERROR
    assert agent.lifecycle.status.last_error == turn.error
    check_events(events)


@pytest.mark.parametrize("kind", ["auth", "rejected"])
async def test_what_does_not_get_better_is_not_tried_again(world: World, naps: list[float], kind: str) -> None:
    agent = await world.agent([_fails(kind)])
    turn = await world.turn(agent)
    assert kinds(await world.events(agent)) == BEGIN + "model_call " + FAILED_END
    assert (turn.state, naps) == (agent_pb2.TURN_STATE_FAILED, [])


@pytest.mark.parametrize(("after", "waits"), [(0.0, []), (3.0, [3.0, 3.0]), (retries.LONGEST_WAIT, [30.0, 30.0])])
async def test_retry_after_is_honoured(world: World, naps: list[float], after: float, waits: list[float]) -> None:
    agent = await world.agent([_fails("limit", after)])
    await world.turn(agent)
    assert naps == waits
    assert len(of(await world.events(agent), "model_call")) == 3


async def test_a_wait_that_is_too_long_is_not_waited(world: World, naps: list[float]) -> None:
    agent = await world.agent([_fails("limit", 31.0)])
    await world.turn(agent)
    assert naps == []
    assert len(of(await world.events(agent), "model_call")) == 1


@pytest.mark.parametrize(
    "first",
    ["Half a", {"think": "Hm."}, call("plain")],
    ids=["text", "thinking", "call"],
)
async def test_after_the_first_word_never(world: World, naps: list[float], first: object) -> None:
    agent = await world.agent([first, _fails("unavailable")], expose_thinking=True)  # type: ignore[list-item]
    turn = await world.turn(agent)
    events = await world.events(agent)
    assert len(of(events, "model_call")) == 1
    assert (turn.state, naps, world.box.did) == (agent_pb2.TURN_STATE_FAILED, [], [])
    check_events(events)


async def test_after_the_first_word_no_other_model_either(world: World, naps: list[float]) -> None:
    other = agent_pb2.ModelConfig(provider="scripted", model=world.script(["other"], name="other"))
    for name, first in (("text", "Half"), ("think", {"think": "Hm."})):
        model = world.script([first, _fails("unavailable")], name=name)
        config = agent_pb2.ModelConfig(provider="scripted", model=model, fallbacks=[other])
        agent = await world.agent(agent_id=name, model_config=config, expose_thinking=True)
        turn = await world.turn(agent)
        assert turn.state == agent_pb2.TURN_STATE_FAILED
        assert [c.model for c in of(await world.events(agent), "model_call")] == [model]


async def test_a_cut_stream_is_never_an_answer(world: World, naps: list[float]) -> None:
    """R7: also not one with a whole tool call in it."""
    agent = await world.agent([call("plain"), _fails("truncated")])
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert world.box.did == []
    assert shape(await world.messages(agent)) == "u"


async def test_the_next_model_of_the_fallbacks(world: World, naps: list[float]) -> None:
    models = [world.script([_fails(kind)], name=kind) for kind in ("auth", "limit")]
    models.append(world.script(["ok"], name="good"))
    first, *others = (agent_pb2.ModelConfig(provider="scripted", model=model) for model in models)
    first.fallbacks.extend(others)
    agent = await world.agent(model_config=first)
    turn = await world.turn(agent)
    events = await world.events(agent)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    tried = [(one.model, one.attempt) for one in of(events, "model_call")]
    assert tried == [(models[0], 1), (models[1], 1), (models[1], 2), (models[1], 3), (models[2], 1)]
    assert kinds(events) == BEGIN + "model_call " * 4 + TEXT


async def test_what_was_said_before_a_failure_is_the_reply(world: World, naps: list[float]) -> None:
    """It was shown, so it belongs to the conversation and to the end of the turn."""
    agent = await world.agent([{"text": "half an answer"}, _fails("unavailable")])
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert turn.reply.content[0].text == "half an answer"
    events = await world.events(agent)
    assert of(events, "complete")[0].final_text == "half an answer"
    assert [message.role for message in await world.messages(agent)] == [
        common_pb2.ROLE_USER,
        common_pb2.ROLE_ASSISTANT,
    ]
    world.script(["better"], name="a1")
    assert (await world.turn(agent)).state == agent_pb2.TURN_STATE_COMPLETED
    check_events(await world.events(agent))


async def test_a_failed_turn_does_not_stop_the_next(world: World, naps: list[float]) -> None:
    agent = await world.agent([_fails("auth")])
    await world.turn(agent)
    world.script(["better"], name="a1")
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE
    assert not agent.lifecycle.status.HasField("last_error")
    check_events(await world.events(agent))


async def test_measured_times(world: World, fake_clock: FakeClock) -> None:
    use = {"usage": {"input_tokens": 7, "output_tokens": 2}}
    agent = await world.agent([{"pause": 2}, "one", {"pause": 3}, "two", use])
    accepted = await world.say(agent)
    for seconds in (2, 3):
        while not [nap for nap in fake_clock.naps if nap == seconds]:
            await fake_clock.advance(0)
        await fake_clock.advance(seconds)
    turn = await world.ended(agent, accepted)
    (made,) = of(await world.events(agent), "model_call")
    assert clock.seconds(made.time_to_first_token) == pytest.approx(2)
    assert clock.seconds(made.duration) == pytest.approx(5)
    assert (made.provider, made.attempt, made.stop_reason) == ("scripted", 1, agent_pb2.STOP_REASON_END_TURN)
    assert not made.HasField("cost_usd"), "no price is known: unset, and not 0"
    (usage,) = of(await world.events(agent), "token_usage")
    assert usage == made.usage == turn.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 2, 9)


async def test_counters_add_up(world: World) -> None:
    use = {"usage": {"input_tokens": 10, "output_tokens": 1}}
    agent = await world.agent([use, call("look")], [use, "ok"])
    turns = [await world.turn(agent) for _ in range(2)]
    assert [turn.usage.total_tokens for turn in turns] == [22, 22]
    status = agent.lifecycle.status
    assert (status.step_count, status.total_tokens, status.message_count) == (4, 44, 8)
    found = await world.store.session("default", agent.row.default_session_id)
    assert found is not None
    assert (found[1].input_tokens, found[1].output_tokens, found[1].message_count) == (40, 4, 8)
    row = await world.store.agent("default", "a1")
    assert row is not None
    assert (row.status.step_count, row.status.total_tokens, row.status.message_count) == (4, 44, 8)


@pytest.mark.parametrize("reason", ["max_tokens", "stop_sequence", "end_turn"])
async def test_stop_reasons(world: World, reason: str) -> None:
    agent = await world.agent(["some", {"stop": reason}])
    turn = await world.turn(agent)
    expected = agent_pb2.StopReason.Value(f"STOP_REASON_{reason.upper()}")
    assert (turn.stop_reason, turn.state) == (expected, agent_pb2.TURN_STATE_COMPLETED)
    (complete,) = of(await world.events(agent), "complete")
    assert (complete.stop_reason, complete.final_text, complete.usage) == (expected, "some", turn.usage)


async def test_calls_of_an_answer_that_was_cut_are_not_run(world: World) -> None:
    agent = await world.agent([call("plain"), {"stop": "max_tokens"}])
    turn = await world.turn(agent)
    assert turn.stop_reason == agent_pb2.STOP_REASON_MAX_TOKENS
    assert world.box.did == []


async def test_repeated_call_ids_are_made_distinct(world: World) -> None:
    agent = await world.agent(
        [call("look", "same", text="1"), call("look", "same", text="2")], [call("look", "same")], ["ok"]
    )
    await world.turn(agent)
    events = await world.events(agent)
    check_events(events)
    assert len({start.call.id for start in of(events, "tool_start")}) == 3
    assert sorted(world.box.did) == ["look ", "look 1", "look 2"]
