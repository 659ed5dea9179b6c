"""Ids sort in the order they were made, whatever the clock does, and never repeat."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from asteros import clock, ids

FORM = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def test_form() -> None:
    assert FORM.fullmatch(ids.ulid())
    assert re.fullmatch(r"agt_" + FORM.pattern, ids.new("agt_"))


def test_time_stands_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the specification: 1469918176385 ms is 01ARYZ6S41."""
    monkeypatch.setattr(clock, "now", lambda: 1_469_918_176_385 * 1_000_000)
    assert ids.UlidGenerator()()[:10] == "01ARYZ6S41"


def test_order_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fit into one block of the random part: it goes on in the next."""
    monkeypatch.setattr(clock, "now", lambda: 10**18)
    monkeypatch.setattr(ids, "_BLOCK", 1 << 10)
    generator = ids.UlidGenerator()
    generator._tail = 0
    made = [generator() for _ in range(5000)]
    assert made == sorted(set(made))


def test_a_clock_that_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10**18, 10**18 - 3_600 * clock.NANOS, 10**18 - 1, 10**18 + 10**6])
    monkeypatch.setattr(clock, "now", lambda: next(now))
    generator = ids.UlidGenerator()
    made = [generator() for _ in range(4)]
    assert made == sorted(set(made))


def test_threads() -> None:
    generator = ids.UlidGenerator()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: generator(), range(20_000)))
    assert len(set(made)) == 20_000


def test_generators_do_not_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in the same millisecond."""
    monkeypatch.setattr(clock, "now", lambda: 10**18)
    made = [ids.UlidGenerator()() for _ in range(2000)]
    assert len(set(made)) == 2000
