"""Promises of a store about what agents did; part of ``conformance``."""

import pytest
from stores.helpers import (
    SEAL,
    SECOND,
    call_of,
    message_of,
    new_agent,
    pending_of,
    put,
    resolved,
    session_of,
    turn_of,
    unit,
)

from aster.v1 import agent_pb2, common_pb2
from asteros.errors import SessionAlreadyExists
from asteros.stores.base import (
    AddMessage,
    AddRule,
    CallRow,
    CopyMessages,
    PutNote,
    PutPending,
    PutSession,
    PutToolCall,
    PutTurn,
    Store,
    TurnRow,
)

RUNNING = agent_pb2.TURN_STATE_RUNNING
WAITING = agent_pb2.TURN_STATE_WAITING
COMPLETED = agent_pb2.TURN_STATE_COMPLETED


class WorkPromises:
    """Turns, sessions, messages, calls and requests."""

    async def test_a_turn_keeps_what_it_was_started_with(self, store: Store) -> None:
        row = await new_agent(store)
        budget = common_pb2.Budget(max_steps=3)
        await put(store, row, PutTurn(turn_of("t1"), message_of("hi"), "ann", budget))
        await put(store, row, PutTurn(turn_of("t1", RUNNING), message_of("no"), "bob", common_pb2.Budget()))
        await put(store, row, PutTurn(turn_of("t1", COMPLETED)))
        assert await store.turn(row.key, "t1") == TurnRow(
            row.key, turn_of("t1", COMPLETED), message_of("hi"), "ann", budget
        )
        assert await store.turn(row.key, "t2") is None
        assert await store.turn(row.key + 1, "t1") is None

    async def test_turns_newest_first_in_pages_by_session(self, store: Store) -> None:
        row = await new_agent(store)
        for number in (2, 1, 4, 3):
            await put(store, row, PutTurn(turn_of(f"t{number}", session_id="odd" if number % 2 else "even")))

        async def found(session: str, before: str, limit: int) -> list[str]:
            return [turn.id for turn in await store.turns(row.key, session, before, limit)]

        assert await found("", "", 9) == ["t4", "t3", "t2", "t1"]
        assert await found("", "t3", 1) == ["t2"]
        assert await found("odd", "", 9) == ["t3", "t1"]
        assert await found("odd", "t3", 9) == ["t1"]

    async def test_unfinished_turns_and_who_has_work(self, store: Store) -> None:
        names = ("QUEUED", "RUNNING", "WAITING", "COMPLETED", "FAILED", "INTERRUPTED")
        keys = {}
        for name in names:
            row = await new_agent(store, name)
            keys[name] = row.key
            await put(store, row, PutTurn(turn_of("t2", agent_pb2.TurnState.Value(f"TURN_STATE_{name}"))))
            await put(store, row, PutTurn(turn_of("t1", agent_pb2.TurnState.Value(f"TURN_STATE_{name}"))))
        unfinished = {name: [turn.turn.id for turn in await store.unfinished_turns(keys[name])] for name in names}
        assert unfinished == {name: ["t1", "t2"] if name in names[:3] else [] for name in names}
        # One that waits for a person is woken by the decision, not by the start.
        assert sorted(await store.agents_with_work()) == sorted([keys["QUEUED"], keys["RUNNING"]])

    async def test_sessions_last_used_first(self, store: Store) -> None:
        one = await new_agent(store, "a1", session_id="s0")
        two = await new_agent(store, "a2", session_id="z0")
        await new_agent(store, "a1", "other", session_id="o0")
        await put(store, one, *(PutSession(session_of(f"s{n}", used=n * SECOND)) for n in (3, 1, 2)))
        await put(store, two, PutSession(session_of("z2", used=2 * SECOND)))

        async def found(key: int, before: tuple[int, str] | None = None, skip: int = 0, limit: int = 9) -> list[str]:
            sessions, total = await store.sessions("default", key, before, skip, limit)
            assert total == (4 if key else 6)
            return [session.id for session in sessions]

        assert await found(one.key) == ["s3", "s2", "s1", "s0"]
        assert await found(0) == ["s3", "z2", "s2", "s1", "z0", "s0"]
        assert await found(0, (2 * SECOND, "z2")) == ["s2", "s1", "z0", "s0"]
        assert await found(one.key, skip=1, limit=2) == ["s2", "s1"]
        assert await found(one.key, skip=9) == []

    async def test_a_session_is_replaced_and_deleted(self, store: Store) -> None:
        row = await new_agent(store, session_id="s1")
        changed = session_of("s1", used=9 * SECOND)
        changed.title = "new"
        await put(store, row, PutSession(changed), AddMessage("s1", message_of("hi")))
        assert await store.session("default", "s1") == (row.key, changed)
        assert await store.session("other", "s1") is None
        for _ in range(2):
            await store.delete_session("default", "s1")
        assert await store.session("default", "s1") is None
        assert await store.messages("default", "s1", 0, 0) == []

    async def test_messages_have_dense_places(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, *(AddMessage("s1", message_of(text)) for text in "ab"))
        await put(store, row, AddMessage("s2", message_of("x")))
        await put(store, row, AddMessage("s1", message_of("c")))

        async def found(session: str, after: int = 0, limit: int = 0) -> list[tuple[int, str]]:
            return [(p, m.content[0].text) for p, m in await store.messages("default", session, after, limit)]

        assert await found("s1") == [(1, "a"), (2, "b"), (3, "c")]
        assert await found("s1", 1, 1) == [(2, "b")]
        assert await found("s1", 3) == []
        assert await found("s2") == [(1, "x")]
        assert await store.messages("other", "s1", 0, 0) == []

    async def test_tool_calls_in_the_order_of_the_model(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, *(PutToolCall(call_of(f"c{place}"), 1, place) for place in (2, 0, 1)))
        await put(store, row, PutToolCall(call_of("d0"), 2, 0), PutToolCall(call_of("e0", "t2"), 1, 0))
        assert [c.record.call.id for c in await store.tool_calls(row.key, "t1", 1)] == ["c0", "c1", "c2"]
        ended = call_of("c0", state=common_pb2.TOOL_CALL_STATE_COMPLETED)
        await put(store, row, PutToolCall(ended, 1, 0))
        assert await store.tool_call(row.key, "c0") == CallRow(ended, 1, 0)
        assert await store.tool_call(row.key, "c9") is None
        assert await store.tool_call(row.key + 1, "c0") is None

    async def test_a_request_by_its_id_and_by_its_call(self, store: Store) -> None:
        row = await new_agent(store)
        first, second = pending_of("p1"), pending_of("p2")
        await put(store, row, PutPending(resolved(first), "c1"), PutPending(second, "c1", 2))
        found = await store.pending(row.key, "p2")
        assert found is not None
        assert (found.agent_key, found.pending, found.call_id, found.ask_index) == (row.key, second, "c1", 2)
        assert (await store.pending(row.key, "c1")) == found, "the open one"
        assert await store.pending(row.key, "") is None
        assert await store.pending(row.key + 1, "p2") is None

    async def test_the_newest_resolved_request_of_a_call_when_none_is_open(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, *(PutPending(resolved(pending_of(p)), "c1") for p in ("p2", "p1")))
        found = await store.pending(row.key, "c1")
        assert found is not None
        assert found.pending.id == "p2"

    async def test_requests_of_a_turn(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, PutPending(pending_of("p2")), PutPending(resolved(pending_of("p1"))))
        await put(store, row, PutPending(pending_of("p3", turn_id="t2")))
        assert [found.pending.id for found in await store.pending_of_turn(row.key, "t1")] == ["p1", "p2"]

    async def test_open_requests_in_pages(self, store: Store) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        other = await new_agent(store, "a1", "other")
        await put(store, one, PutPending(pending_of("p1")), PutPending(pending_of("p3")))
        await put(store, two, PutPending(pending_of("p2")))
        await put(store, other, PutPending(pending_of("p0")))

        async def found(key: int, after: str, limit: int) -> list[str]:
            return [row.pending.id for row in await store.open_pending("default", key, after, limit)]

        assert await found(0, "", 9) == ["p1", "p2", "p3"]
        assert await found(0, "p1", 1) == ["p2"]
        assert await found(one.key, "", 9) == ["p1", "p3"]
        await put(store, one, PutPending(resolved(pending_of("p1"))))
        assert await found(0, "", 9) == ["p2", "p3"]

    @pytest.mark.parametrize(("now", "expired"), [(9, []), (10, ["p1"]), (25, ["p1", "p2"])])
    async def test_expired_requests(self, store: Store, now: int, expired: list[str]) -> None:
        row = await new_agent(store)
        assert await store.next_expiry() is None
        await put(store, row, *(PutPending(pending_of(f"p{n}", expires=n * 10 * SECOND)) for n in (1, 2)))
        await put(store, row, PutPending(resolved(pending_of("p0", expires=SECOND))))
        assert [found.pending.id for found in await store.expired_pending(now * SECOND, 9)] == expired
        assert len(await store.expired_pending(now * SECOND, 1)) == min(len(expired), 1)
        assert await store.next_expiry() == 10 * SECOND

    async def test_a_session_begins_with_a_copy_of_another(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, *(AddMessage("s1", message_of(text)) for text in "abc"))
        await put(store, row, PutSession(session_of("s2"), insert=True), CopyMessages("s1", "s2", 2))
        await put(store, row, AddMessage("s1", message_of("d")), AddMessage("s2", message_of("x")))

        async def found(session: str) -> list[tuple[int, str]]:
            return [(p, m.content[0].text) for p, m in await store.messages("default", session, 0, 0)]

        assert await found("s2") == [(1, "a"), (2, "b"), (3, "x")]
        assert await found("s1") == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
        await store.delete_session("default", "s1")
        assert len(await found("s2")) == 3

    async def test_a_copy_of_another_agents_session_is_empty_and_a_refused_one_copies_nothing(
        self, store: Store
    ) -> None:
        row = await new_agent(store)
        other = await new_agent(store, "a2")
        await put(store, other, AddMessage("theirs", message_of("secret")))
        await put(store, row, PutSession(session_of("s2"), insert=True), CopyMessages("theirs", "s2", 9))
        assert await store.messages("default", "s2", 0, 0) == []
        await put(store, row, AddMessage("s1", message_of("mine")))
        twice = unit(row, rows=[PutSession(session_of("s2"), insert=True), CopyMessages("s1", "s2", 9)])
        (refused,) = await store.commit([twice], SEAL)
        assert isinstance(refused, SessionAlreadyExists)
        assert await store.messages("default", "s2", 0, 0) == []

    async def test_notes(self, store: Store) -> None:
        row = await new_agent(store)
        await put(store, row, PutNote("", "b", b"1"), PutNote("", "a", b"2"), PutNote("s1", "a", b"3"))
        await put(store, row, PutNote("", "b", b"4"), PutNote("", "none", None))
        assert list((await store.notes(row.key, "")).items()) == [("a", b"2"), ("b", b"4")]
        assert await store.notes(row.key, "s1") == {"a": b"3"}
        assert await store.notes(row.key + 1, "") == {}
        await put(store, row, PutNote("", "b", None))
        assert await store.notes(row.key, "") == {"a": b"2"}

    async def test_a_deleted_session_takes_its_notes_and_rules_along(self, store: Store) -> None:
        row = await new_agent(store, session_id="s1")
        allow = common_pb2.PERMISSION_POLICY_ALLOW
        await put(store, row, PutNote("s1", "a", b"1"), PutNote("", "a", b"2"), AddRule("s1", "Read", allow))
        await store.delete_session("default", "s1")
        assert await store.notes(row.key, "s1") == {}
        assert await store.session_rules(row.key, "s1") == {}
        assert await store.notes(row.key, "") == {"a": b"2"}

    async def test_session_rules(self, store: Store) -> None:
        row = await new_agent(store)
        allow, deny = common_pb2.PERMISSION_POLICY_ALLOW, common_pb2.PERMISSION_POLICY_DENY
        await put(store, row, AddRule("s1", "Read", allow), AddRule("s1", "Write", allow), AddRule("s2", "Read", deny))
        await put(store, row, AddRule("s1", "Write", deny))
        assert await store.session_rules(row.key, "s1") == {"Read": allow, "Write": deny}
        assert await store.session_rules(row.key + 1, "s1") == {}
