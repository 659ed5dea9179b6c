"""Rounds of retention: each agent once, whatever could not be trimmed (E7)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from events.fakes import FakeClock, settled
from stores.helpers import SECOND, new_agent, pending_of, put, said, say

from asteros import clock
from asteros.events import retention
from asteros.events.retention import Retention
from asteros.stores.base import AddRequest, PutPending
from asteros.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path, durability="normal")
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def keys(store: SqliteStore) -> list[int]:
    """Seven agents with three segments of two events."""
    found = []
    for n in range(7):
        row = await new_agent(store, f"a{n}")
        for pair in ("ab", "cd", "ef"):
            await say(store, row, *pair)
        found.append(row.key)
    return found


async def _left(store: SqliteStore, keys: list[int]) -> list[str]:
    return ["".join(said(await store.read_agent_segments(key, 0, 100))) for key in keys]


async def test_by_count_over_several_batches(
    store: SqliteStore, keys: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    assert await Retention(store, 0, 2).round() == 7
    assert await _left(store, keys) == ["ef"] * 7
    assert await Retention(store, 0, 2).round() == 0


async def test_by_age(store: SqliteStore, keys: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Retention(store, 1, 0).round() == 0
    later = clock.now() + 2 * DAY * SECOND
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await Retention(store, 1, 0).round() == 7
    assert await _left(store, keys) == [""] * 7


async def test_without_limits_nothing_goes(store: SqliteStore, keys: list[int], fake_clock: FakeClock) -> None:
    fake_clock.seconds = 10 * 365 * DAY * 10
    assert await Retention(store, 0, 0).round() == 0
    assert await _left(store, keys) == ["abcdef"] * 7


async def test_a_round_ends_although_nothing_can_be_trimmed(
    store: SqliteStore, keys: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More agents than one batch, all kept by an open request: they are named again and again."""
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for key in keys:
        await put(store, await store.acquire(key), PutPending(pending_of("p1")))
    assert await Retention(store, 0, 2).round() == 7
    assert await _left(store, keys) == ["abcdef"] * 7


async def test_old_request_ids_are_forgotten(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await new_agent(store)
    await put(store, row, AddRequest("r1", b"d", "x"))
    made = clock.now()
    monkeypatch.setattr(clock, "now", lambda: made + 86_399 * SECOND)
    await Retention(store, 0, 0).round()
    assert await store.request("default", "r1") is not None
    monkeypatch.setattr(clock, "now", lambda: made + 86_402 * SECOND)
    await Retention(store, 0, 0).round()
    assert await store.request("default", "r1") is None


async def test_rounds_go_on_after_a_failure(
    store: SqliteStore, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []

    async def failing(self: Retention) -> int:
        rounds.append(fake_clock.seconds)
        raise OSError("no disk")

    monkeypatch.setattr(Retention, "round", failing)
    running = Retention(store, 1, 0)
    running.start()
    await fake_clock.advance(3.5 * retention.INTERVAL)
    await settled()
    await running.aclose()
    assert len(rounds) == 3
