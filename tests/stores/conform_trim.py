"""Promises of a store about retention; part of ``conformance``."""

import pytest
from stores.helpers import SECOND, Reopen, new_agent, pending_of, put, said, say

from asteros import clock
from asteros.stores.base import PutPending, Store


class TrimPromises:
    """Retention takes whole segments away from the beginning, and says how far it went."""

    async def _log(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> int:
        """Three segments of two events, stored at 10, 20 and 30 seconds."""
        row = await new_agent(store)
        for second, pair in ((10, "ab"), (20, "cd"), (30, "ef")):
            monkeypatch.setattr(clock, "now", lambda second=second: second * SECOND)
            await say(store, row, *pair)
        return row.key

    @pytest.mark.parametrize(
        ("before", "keep", "left"),
        [
            (0, 0, "abcdef"),
            (10, 0, "abcdef"),
            (11, 0, "cdef"),
            (30, 0, "ef"),
            (31, 0, ""),
            (0, 6, "abcdef"),
            (0, 5, "abcdef"),
            (0, 4, "cdef"),
            (0, 1, "ef"),
            (11, 1, "ef"),
            (30, 4, "ef"),
        ],
    )
    async def test_by_age_and_by_count(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, before: int, keep: int, left: str
    ) -> None:
        key = await self._log(store, monkeypatch)
        gone = 6 - len(left)
        assert await store.trim(key, before * SECOND, keep) == gone + 1
        assert said(await store.read_agent_segments(key, 0, 100)) == list(left)
        row = await store.agent_by_key(key)
        assert row is not None
        assert (row.oldest_sequence, row.latest_sequence, row.floor_position) == (gone + 1, 6, gone)
        assert await store.floor_position("default") == gone
        assert await store.floor_position("other") == 0

    async def test_a_trimmed_log_goes_on_with_the_same_numbers(
        self, store: Store, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = await self._log(store, monkeypatch)
        await store.trim(key, 99 * SECOND, 0)
        assert await store.head() == 6
        store = await reopen()
        assert await store.head() == 6
        segment = await say(store, await store.acquire(key), "g")
        assert (segment.first_sequence, segment.position) == (7, 7)

    async def test_events_behind_an_open_request_stay(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        key = await self._log(store, monkeypatch)
        row = await store.acquire(key)
        pending = pending_of("p1", created=20 * SECOND)
        await put(store, row, PutPending(pending))
        assert await store.trim(key, 99 * SECOND, 1) == 3
        assert said(await store.read_agent_segments(key, 0, 100)) == ["c", "d", "e", "f"]

    async def test_trimming_twice_and_trimming_nobody_is_harmless(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = await self._log(store, monkeypatch)
        assert await store.trim(key, 21 * SECOND, 0) == 5
        assert await store.trim(key, 11 * SECOND, 0) == 5
        assert await store.trim(key + 1, 99 * SECOND, 1) == 0
        assert await store.floor_position("default") == 4

    async def test_who_may_have_something_to_trim(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        key = await self._log(store, monkeypatch)
        assert await store.agents_to_trim(10 * SECOND, 0, 9) == []
        assert await store.agents_to_trim(11 * SECOND, 0, 9) == [key]
        assert await store.agents_to_trim(0, 6, 9) == []
        assert await store.agents_to_trim(0, 4, 9) == [key]
        assert await store.agents_to_trim(11 * SECOND, 0, 0) == []

    async def test_they_are_named_in_order_of_their_keys(self, store: Store) -> None:
        keys = []
        for name in ("b", "a", "c"):
            row = await new_agent(store, name)
            await say(store, row, "x", "y")
            keys.append(row.key)
        assert await store.agents_to_trim(0, 1, 2) == keys[:2]
        assert await store.agents_to_trim(0, 1, 2, keys[0]) == keys[1:]

    async def test_the_head_never_goes_back(self, store: Store, reopen: Reopen) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        await say(store, one, "a")
        await say(store, two, "b", "c")
        await store.delete_agent(two.key)
        assert await store.head() == 3
        store = await reopen()
        assert await store.head() == 3
        assert (await say(store, await store.acquire(one.key), "d")).position == 4
