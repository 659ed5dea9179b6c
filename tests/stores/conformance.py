"""What every store must keep (``stores/base.py``), whatever it is made of.

A store's test file inherits ``Conformance`` and gives the fixtures ``store``, a new
and empty one, and ``reopen``, which closes it and opens the same place again. A
promise that a store cannot keep is overridden there as an expected failure, with
its reason."""

import asyncio

import pytest
from stores.conform_agents import AgentPromises
from stores.conform_resources import ResourcePromises
from stores.conform_stars import StarPromises
from stores.conform_trim import TrimPromises
from stores.conform_work import WorkPromises
from stores.conform_workflows import WorkflowPromises
from stores.helpers import (
    SEAL,
    SECOND,
    Reopen,
    message_of,
    new_agent,
    numbers,
    put,
    said,
    say,
    session_of,
    turn_of,
    unit,
)

from asteros import clock, errors
from asteros.stores.base import (
    AddMessage,
    AddRequest,
    AddRule,
    PutSession,
    PutTurn,
    RequestIdKnown,
    Segment,
    Store,
)


class CommitPromises:
    """One durable transaction for many units, each whole or not at all."""

    async def test_events_are_numbered_per_agent_and_over_the_whole_log(self, store: Store) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        outcomes = await store.commit([unit(one, "a", "b"), unit(two, "c"), unit(one, "d")], SEAL)
        segments = [outcome for outcome in outcomes if isinstance(outcome, Segment)]
        assert [(s.agent_key, s.first_sequence, s.last_sequence, s.position) for s in segments] == [
            (one.key, 1, 2, 1),
            (two.key, 1, 1, 3),
            (one.key, 3, 3, 4),
        ]
        assert await store.head() == 4

    async def test_sequences_are_dense_over_units_and_restarts(self, store: Store, reopen: Reopen) -> None:
        row = await new_agent(store)
        for start in range(0, 9, 3):
            await say(store, row, *map(str, range(start, start + 3)))
            store = await reopen()
            row = await store.acquire(row.key)
        found = await store.read_agent_segments(row.key, 0, 100)
        assert numbers(found) == list(range(1, 10))
        assert said(found) == [str(number) for number in range(9)]
        assert row.latest_sequence == 9

    async def test_a_unit_without_events_gives_no_segment_and_no_number(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, AddRule("ses", "Read", 1))
        assert (await say(store, row, "x")).first_sequence == 1

    async def test_a_lower_epoch_is_refused_and_writes_nothing(self, store: Store) -> None:
        row = await new_agent(store)
        newer = await store.acquire(row.key)
        assert newer.epoch > row.epoch
        stale = unit(row, "stale", rows=[PutTurn(turn_of("t1")), AddMessage("ses", message_of("stale"))])
        (refused,) = await store.commit([stale], SEAL)
        assert isinstance(refused, errors.LeaseLost)
        assert await store.turn(row.key, "t1") is None
        assert await store.messages("default", "ses", 0, 0) == []
        assert (await say(store, newer, "fresh")).first_sequence == 1

    async def test_a_unit_of_a_deleted_agent_is_refused(self, store: Store) -> None:
        row = await new_agent(store)
        await store.delete_agent(row.key)
        (refused,) = await store.commit([unit(row, "late")], SEAL)
        assert isinstance(refused, errors.LeaseLost)
        assert await store.head() == 0

    async def test_a_refused_unit_leaves_the_others_alone(self, store: Store) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        await put(store, one, AddRequest("r1", b"first", "made"))
        refused = unit(one, "b", rows=[PutTurn(turn_of("t1")), AddRequest("r1", b"second", "other")])
        first, known, last = await store.commit([unit(one, "a"), refused, unit(two, "c")], SEAL)
        assert isinstance(known, RequestIdKnown)
        assert (known.digest, known.target) == (b"first", "made")
        assert isinstance(first, Segment)
        assert isinstance(last, Segment)
        assert (first.position, last.position) == (1, 2)
        assert await store.turn(one.key, "t1") is None
        assert (await say(store, one, "next")).first_sequence == 2

    async def test_a_request_id_counts_per_tenant(self, store: Store) -> None:
        one, other = await new_agent(store, "a1"), await new_agent(store, "a1", "other")
        await put(store, one, AddRequest("r1", b"d", "x"))
        await put(store, other, AddRequest("r1", b"e", "y"))
        assert await store.request("default", "r1") == (b"d", "x")
        assert await store.request("other", "r1") == (b"e", "y")
        assert await store.request("default", "r2") is None

    async def test_of_two_equal_request_ids_in_one_commit_the_first_wins(self, store: Store) -> None:
        row = await new_agent(store)
        units = [unit(row, text, rows=[AddRequest("r1", b"d", text)]) for text in "ab"]
        first, second = await store.commit(units, SEAL)
        assert isinstance(first, Segment)
        assert isinstance(second, RequestIdKnown)
        assert second.target == "a"
        assert said(await store.read_agent_segments(row.key, 0, 10)) == ["a"]

    async def test_a_taken_session_id_refuses_the_whole_unit(self, store: Store) -> None:
        row = await new_agent(store, session_id="taken")
        insert = unit(row, "x", rows=[AddRule("s", "Read", 1), PutSession(session_of("taken"), insert=True)])
        (refused,) = await store.commit([insert], SEAL)
        assert isinstance(refused, errors.SessionAlreadyExists)
        assert await store.session_rules(row.key, "s") == {}
        assert await store.head() == 0

    async def test_a_failed_transaction_writes_nothing_at_all(self, store: Store) -> None:
        row = await new_agent(store)

        def broken(*_: object) -> Segment:
            raise ArithmeticError("no seal")

        units = [unit(row, rows=[PutTurn(turn_of("t1"))]), unit(row, "x")]
        with pytest.raises(ArithmeticError):
            await store.commit(units, broken)
        assert await store.turn(row.key, "t1") is None
        assert await store.head() == 0
        assert (await say(store, row, "y")).position == 1

    async def test_a_cancelled_commit_is_written_all_the_same(self, store: Store) -> None:
        row = await new_agent(store)
        committing = asyncio.ensure_future(store.commit([unit(row, "x")], SEAL))
        await asyncio.sleep(0)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        assert (await say(store, row, "y")).first_sequence == 2
        assert said(await store.read_agent_segments(row.key, 0, 10)) == ["x", "y"]

    async def test_requests_are_forgotten_by_age(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, AddRequest("r1", b"d", "x"))
        await store.forget_requests(clock.now() - 60 * SECOND)
        assert await store.request("default", "r1") is not None
        await store.forget_requests(clock.now() + SECOND)
        assert await store.request("default", "r1") is None
        await put(store, row, AddRequest("r1", b"e", "y"))


class ReadPromises:
    """The log, read by agent and as a whole."""

    async def test_what_was_sealed_is_read_back(self, store: Store, reopen: Reopen) -> None:
        row = await new_agent(store)
        (written,) = await store.commit([unit(row, "a", "b", turn="t1")], SEAL)
        store = await reopen()
        assert await store.read_agent_segments(row.key, 0, 10) == [written]
        assert await store.read_segments("default", 0, 10) == [written]

    async def test_segments_after_a_sequence(self, store: Store) -> None:
        row = await new_agent(store)
        for pair in ("ab", "cd", "ef"):
            await say(store, row, *pair)
        for after, expected in ((0, "abcdef"), (1, "abcdef"), (2, "cdef"), (3, "cdef"), (5, "ef"), (6, "")):
            assert said(await store.read_agent_segments(row.key, after, 100)) == list(expected)
            assert said(await store.read_segments("default", after, 100)) == list(expected)

    async def test_segments_before_come_newest_first(self, store: Store) -> None:
        row = await new_agent(store)
        for pair in ("ab", "cd", "ef"):
            await say(store, row, *pair)
        cases = ((0, 9, "efcdab"), (0, 5, "cdab"), (0, 4, "cdab"), (2, 9, "efcd"), (3, 9, "efcd"))
        for after, before, expected in cases:
            assert said(await store.read_agent_segments(row.key, after, 100, before)) == list(expected)
            assert said(await store.read_segments("default", after, 100, before)) == list(expected)

    async def test_a_limit_stops_at_whole_segments_and_never_at_none(self, store: Store) -> None:
        row = await new_agent(store)
        for pair in ("abc", "def", "ghi"):
            await say(store, row, *pair)
        for limit, expected in ((1, "abc"), (3, "abc"), (4, "abcdef"), (9, "abcdefghi")):
            assert said(await store.read_agent_segments(row.key, 0, limit)) == list(expected)
            assert said(await store.read_segments("default", 0, limit)) == list(expected)

    async def test_the_log_of_a_tenant_leaves_others_out(self, store: Store) -> None:
        mine, other = await new_agent(store, "a1"), await new_agent(store, "a1", "other")
        for text in "abcd":
            await say(store, mine if text in "ac" else other, text)
        assert said(await store.read_segments("default", 0, 100)) == ["a", "c"]
        assert said(await store.read_segments("other", 1, 100)) == ["b", "d"]
        assert said(await store.read_segments("other", 2, 100)) == ["d"]

    async def test_sequence_at_a_position(self, store: Store) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        await store.commit([unit(one, "a", "b"), unit(two, "c", "d"), unit(one, "e")], SEAL)
        assert [await store.sequence_at(one.key, position) for position in range(7)] == [0, 1, 2, 2, 2, 3, 3]
        assert [await store.sequence_at(two.key, position) for position in range(7)] == [0, 0, 0, 1, 2, 2, 2]

    async def test_position_at_a_time(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        row = await new_agent(store)
        for second, pair in ((10, "ab"), (20, "cd"), (15, "e")):  # the clock steps back
            monkeypatch.setattr(clock, "now", lambda second=second: second * SECOND)
            await say(store, row, *pair)
        found = [await store.position_at_time(second * SECOND) for second in (0, 10, 11, 20, 21)]
        assert found == [0, 0, 2, 2, 5]


class Conformance(
    CommitPromises,
    ReadPromises,
    TrimPromises,
    AgentPromises,
    WorkPromises,
    ResourcePromises,
    StarPromises,
    WorkflowPromises,
):
    """Every promise of a store."""
