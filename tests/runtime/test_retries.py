"""When a failed call is tried again: full jitter, the turn's own limit, the share of retries (R8)."""

import random

import pytest
from events.fakes import FakeClock
from runtime.helpers import World, of

from aster.v1 import agent_pb2, common_pb2
from asteros import clock, errors
from asteros.runtime import retries
from asteros.runtime.retries import RetryBudget, backoff

pytestmark = pytest.mark.anyio
ONE, OTHER = ("openai", ""), ("custom", "https://a.example")


@pytest.mark.parametrize(
    ("number", "after", "left", "wait"),
    [
        (1, None, 60.0, 0.5),
        (2, None, 60.0, 1.0),
        (3, None, 60.0, None),
        (1, 7.0, 60.0, 7.0),
        (1, retries.LONGEST_WAIT + 1, 60.0, None),
        (1, 7.0, 7.0, None),
        (1, None, 0.0, None),
    ],
)
def test_how_long(
    number: int, after: float | None, left: float, wait: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    assert backoff(number, after, left) == wait


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.ProviderLimit(), True),
        (errors.ProviderUnavailable(), True),
        (errors.ProviderStalled(), True),
        (errors.ProviderTruncated(), True),
        (errors.ProviderAuth(), False),
        (errors.ProviderRejected(), False),
        (errors.UrlNotAllowed("x"), False),
    ],
)
def test_what_is_tried_again(error: errors.AsterError, again: bool) -> None:
    assert retries.retryable(error) is again


def test_beyond_the_reserve_one_call_in_ten() -> None:
    budget = RetryBudget()
    taken = 0
    for _ in range(1000):  # a service that is down: each call would like two
        budget.called(ONE)
        taken += budget.take(ONE) + budget.take(ONE)
    assert taken == pytest.approx(1000 * retries.SHARE + retries.RESERVE, abs=2)
    assert budget.take(OTHER), "another service has a budget of its own"


def test_a_rest_fills_no_more_than_the_reserve() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.called(ONE)
    assert sum(budget.take(ONE) for _ in range(100)) == retries.RESERVE


async def test_a_service_that_stays_down_is_asked_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        return

    monkeypatch.setattr(clock, "sleep", sleep)
    agent = await world.agent([{"fail": "unavailable"}])
    for _ in range(8):
        await world.turn(agent)
    attempts = [made.attempt for made in of(await world.events(agent), "model_call")]
    assert attempts[:6] == [1, 2, 3, 1, 2, 3]
    assert attempts[-2:] == [1, 1]


async def test_no_try_that_could_not_begin_within_the_turns_limit(world: World, fake_clock: FakeClock) -> None:
    limit = common_pb2.Budget()
    limit.max_duration.seconds = 5
    agent = await world.agent([{"fail": {"kind": "limit", "retry_after": 6}}], turn_budget=limit)
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert len(of(await world.events(agent), "model_call")) == 1
    assert fake_clock.naps.count(6) == 0
