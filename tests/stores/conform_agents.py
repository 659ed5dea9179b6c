"""Promises of a store about agents, keys and itself; part of ``conformance``."""

import pytest
from stores.helpers import (
    SEAL,
    SECOND,
    Reopen,
    call_of,
    create,
    message_of,
    new_agent,
    numbers,
    pending_of,
    put,
    resolved,
    said,
    say,
    session_of,
    turn_of,
    unit,
)

from aster.v1 import access_service_pb2, agent_pb2
from asteros import errors
from asteros.stores.base import (
    AddMessage,
    AddRequest,
    AddRule,
    AgentFilter,
    KeyRow,
    PutAgent,
    PutNote,
    PutPending,
    PutRemote,
    PutSession,
    PutStatus,
    PutToolCall,
    PutTurn,
    RemoteRow,
    RequestIdKnown,
    Segment,
    Store,
)


class AgentPromises:
    """Agents, and what belongs to the store as a whole."""

    async def test_identity_survives(self, store: Store, reopen: Reopen) -> None:
        log_id, secret = store.log_id, store.secret
        assert log_id
        assert len(secret) == 32
        store = await reopen()
        assert (store.log_id, store.secret) == (log_id, secret)

    async def test_a_new_agent(self, store: Store, reopen: Reopen) -> None:
        made = await create(store, "a1", labels={"team": "x"}, session_id="ses1")
        assert (made.tenant, made.agent.id, made.epoch, made.default_session_id) == ("default", "a1", 0, "ses1")
        assert (made.latest_sequence, made.oldest_sequence, made.floor_position) == (0, 1, 0)
        assert made.status.state == agent_pb2.AGENT_STATE_CREATED
        assert made.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE
        store = await reopen()
        assert await store.agent("default", "a1") == made
        assert await store.agent_by_key(made.key) == made
        found = await store.session("default", "ses1")
        assert found is not None
        assert (found[0], found[1].id) == (made.key, "ses1")

    async def test_nobody(self, store: Store) -> None:
        await create(store, "a1")
        assert await store.agent("other", "a1") is None
        assert await store.agent("default", "a2") is None
        assert await store.agent_by_key(99) is None
        with pytest.raises(errors.AgentNotFound):
            await store.acquire(99)

    async def test_a_taken_id_is_refused_whole(self, store: Store) -> None:
        await create(store, "a1")
        with pytest.raises(errors.AgentAlreadyExists):
            await create(store, "a1", request=AddRequest("r1", b"d", "a1"), session_id="ses2")
        assert await store.request("default", "r1") is None
        assert await store.session("default", "ses2") is None
        assert (await create(store, "a1", "other")).agent.id == "a1"

    async def test_a_known_request_id_creates_nothing(self, store: Store) -> None:
        await create(store, "a1", request=AddRequest("r1", b"d", "a1"))
        with pytest.raises(RequestIdKnown) as known:
            await create(store, "a2", request=AddRequest("r1", b"e", "a2"))
        assert (known.value.digest, known.value.target) == (b"d", "a1")
        assert await store.agent("default", "a2") is None

    async def test_the_limit_counts_agents_that_are_not_closed(self, store: Store) -> None:
        row = await new_agent(store, "a1")
        await create(store, "b1", "other")
        await create(store, "a2", max_agents=2)
        with pytest.raises(errors.AgentLimitReached):
            await create(store, "a3", max_agents=2)
        await put(store, row, PutStatus(agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_CLOSED)))
        await create(store, "a3", max_agents=2)

    async def test_acquire_raises_the_epoch_for_good(self, store: Store, reopen: Reopen) -> None:
        row = await create(store)
        assert (await store.acquire(row.key)).epoch == 1
        store = await reopen()
        assert (await store.acquire(row.key)).epoch == 2

    async def test_a_remote_agent_has_an_owner_and_is_listed_when_registered(
        self, store: Store, reopen: Reopen
    ) -> None:
        own = await create(store, "own")
        agent = agent_pb2.Agent(id="far away", remote=agent_pb2.RemoteAgent(model="m"))
        made = await store.create_remote_agent("default", agent, "ann")
        assert (made.agent, made.default_session_id, made.status.state) == (agent, "", agent_pb2.AGENT_STATE_CREATED)
        assert await store.remote_agent(own.key) is None
        assert await store.remote_agent(made.key) == RemoteRow("ann", "", 0, listed=False)
        assert _ids(await store.agents("default", "", 10, AgentFilter())) == ["own"]
        row = await store.acquire(made.key)
        await put(store, row, PutRemote("run", 5))
        store = await reopen()
        assert await store.remote_agent(made.key) == RemoteRow("ann", "run", 5, listed=True)
        assert _ids(await store.agents("default", "", 10, AgentFilter())) == ["far away", "own"]
        with pytest.raises(errors.AgentAlreadyExists):
            await store.create_remote_agent("default", agent, "bob")
        await store.delete_agent(made.key)
        assert await store.remote_agent(made.key) is None

    async def test_a_batch_follows_the_one_before_or_is_not_written(self, store: Store) -> None:
        made = await store.create_remote_agent("default", agent_pb2.Agent(id="r"), "ann")
        row = await store.acquire(made.key)
        await put(store, row, PutRemote("run", 0))
        batches = [
            unit(row, "1", "2", rows=[PutRemote("run", 2, after=0)]),
            unit(row, "4", rows=[PutRemote("run", 4, after=3)]),
            unit(row, "x", rows=[PutRemote("other", 3, after=2)]),
            unit(row, "3", rows=[PutRemote("run", 3, after=2)]),
        ]
        first, hole, foreign, second = await store.commit(batches, SEAL)
        assert isinstance(hole, errors.LeaseLost)
        assert isinstance(foreign, errors.LeaseLost)
        assert isinstance(first, Segment)
        assert isinstance(second, Segment)
        assert said(await store.read_agent_segments(row.key, 0, 10)) == ["1", "2", "3"]
        assert numbers(await store.read_agent_segments(row.key, 0, 10)) == [1, 2, 3]
        assert await store.remote_agent(row.key) == RemoteRow("ann", "run", 3, listed=True)

    async def test_remote_agents_are_neither_limited_nor_woken_nor_expired(self, store: Store) -> None:
        made = await store.create_remote_agent("default", agent_pb2.Agent(id="r"), "ann")
        row = await store.acquire(made.key)
        running = turn_of("t", agent_pb2.TURN_STATE_RUNNING)
        await put(store, row, PutTurn(running), PutPending(pending_of("p", expires=1)))
        assert await store.agents_with_work() == []
        assert await store.expired_pending(2 * SECOND, 10) == []
        assert await store.next_expiry() is None
        assert len(await store.open_pending("default", row.key, "", 10)) == 1
        await create(store, "own", max_agents=1)

    async def test_agents_come_by_id_in_pages(self, store: Store) -> None:
        for name in ("b", "a", "c", "ab"):
            await create(store, name)
        await create(store, "aa", "other")
        nothing = AgentFilter()
        assert _ids(await store.agents("default", "", 10, nothing)) == ["a", "ab", "b", "c"]
        assert _ids(await store.agents("default", "a", 2, nothing)) == ["ab", "b"]
        assert _ids(await store.agents("default", "c", 2, nothing)) == []

    @pytest.mark.parametrize(
        ("only", "expected"),
        [
            (AgentFilter(id_prefix="a"), ["a", "ab"]),
            (AgentFilter(id_prefix="ab"), ["ab"]),
            (AgentFilter(id_prefix="_"), []),
            (AgentFilter(template_id="demo"), ["b"]),
            (AgentFilter(labels=(("team", "x"),)), ["a", "b"]),
            (AgentFilter(labels=(("team", "x"), ("env", "p"))), ["b"]),
            (AgentFilter(labels=(("team", "y"),)), []),
            (AgentFilter(states=(agent_pb2.AGENT_STATE_STARTED,)), ["ab"]),
            (AgentFilter(states=(agent_pb2.AGENT_STATE_STARTED, agent_pb2.AGENT_STATE_CREATED)), ["a", "ab", "b"]),
            (AgentFilter(template_id="chat", labels=(("team", "x"),)), ["a"]),
        ],
    )
    async def test_filters_all_hold(self, store: Store, only: AgentFilter, expected: list[str]) -> None:
        await create(store, "a", labels={"team": "x"})
        await create(store, "b", template="demo", labels={"team": "x", "env": "p"})
        started = await new_agent(store, "ab")
        await put(store, started, PutStatus(agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_STARTED)))
        assert _ids(await store.agents("default", "", 10, only)) == expected

    async def test_settings_are_replaced(self, store: Store) -> None:
        row = await new_agent(store, labels={"team": "x"})
        changed = agent_pb2.Agent(id="a1", display_name="New", labels={"team": "y"})
        changed.config.template_id = "demo"
        await put(store, row, PutAgent(changed))
        found = await store.agents("default", "", 10, AgentFilter(template_id="demo", labels=(("team", "y"),)))
        assert [row.agent for row in found] == [changed]

    async def test_who_is_started(self, store: Store) -> None:
        names = ("CREATED", "STARTED", "RUNNING", "STOPPED", "CLOSED")
        states = [agent_pb2.AgentState.Value(f"AGENT_STATE_{name}") for name in names]
        for state in states:
            row = await new_agent(store, f"a{state}")
            await put(store, row, PutStatus(agent_pb2.AgentStatus(state=state, step_count=state)))
        (row,) = await store.started_agents()
        assert row.status.state == row.status.step_count == agent_pb2.AGENT_STATE_STARTED
        await put(store, row, PutStatus(agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_STOPPED)))
        assert await store.started_agents() == []
        stopped = AgentFilter(states=(agent_pb2.AGENT_STATE_STOPPED,))
        assert len(await store.agents("default", "", 10, stopped)) == 2

    async def test_delete_removes_everything_of_the_agent_and_nothing_else(self, store: Store) -> None:
        rows = [await new_agent(store, name, session_id=f"s_{name}") for name in ("a1", "a2")]
        for row in rows:
            await say(store, row, "x")
            session = row.default_session_id
            await put(
                store,
                row,
                PutTurn(turn_of("t1", session_id=session), message_of("hi")),
                AddMessage(session, message_of("hi")),
                PutSession(session_of(f"{session}_2")),
                PutToolCall(call_of("c1"), 1, 0),
                PutPending(pending_of("p1"), "c1"),
                AddRule(session, "Read", 1),
                PutNote(session, "n", b"1"),
            )
        for _ in range(2):  # idempotent
            await store.delete_agent(rows[0].key)
        assert [await _left(store, row.key, row.default_session_id) for row in rows] == [0, 10]
        assert await store.agent("default", "a1") is None
        again = await create(store, "a1", session_id="s_a1")
        assert again.key not in [row.key for row in rows], "a cursor of the old agent must not fit the new one"

    async def test_counts(self, store: Store) -> None:
        one, two = await new_agent(store, "a1"), await new_agent(store, "a2")
        closed = await new_agent(store, "a3")
        other = await new_agent(store, "a1", "other")
        await put(store, one, PutStatus(agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_RUNNING)))
        failed, error = agent_pb2.AGENT_STATE_STARTED, agent_pb2.AGENT_ACTIVITY_ERROR
        await put(store, two, PutStatus(agent_pb2.AgentStatus(state=failed, activity=error)))
        await put(store, closed, PutStatus(agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_CLOSED, activity=error)))
        await put(store, two, PutPending(pending_of("p1")), PutPending(resolved(pending_of("p2"))))
        await put(store, other, PutPending(pending_of("p1")))
        names = ("agent_count", "working_agent_count", "failed_agent_count", "pending_count", "workflow_run_count")
        assert await store.counts("default") == dict(zip(names, (2, 1, 1, 1, 0), strict=True))
        assert await store.counts("nobody") == dict.fromkeys(names, 0)

    async def test_keys(self, store: Store, reopen: Reopen) -> None:
        rows = [_key(key_id, tenant) for key_id, tenant in (("k2", "t"), ("k1", "t"), ("k3", "u"))]
        for row in rows:
            await store.put_key(row)
        store = await reopen()
        assert await store.key("k1") == rows[1]
        assert await store.key("k9") is None
        assert await store.keys("t", "", 10) == [rows[1], rows[0]]
        assert await store.keys("t", "k1", 10) == [rows[0]]
        assert await store.keys("t", "", 1) == [rows[1]]

    async def test_a_key_is_changed_but_its_secret_is_not(self, store: Store) -> None:
        row = _key("k1", "t")
        await store.put_key(row)
        revoked = access_service_pb2.ApiKey(id="k1", name="revoked")
        await store.put_key(KeyRow("t", revoked, b"another"))
        assert await store.key("k1") == KeyRow("t", revoked, row.digest)

    async def test_a_key_is_made_once_per_request_id(self, store: Store) -> None:
        await store.put_key(_key("k1", "t"), AddRequest("r1", b"d", ""))
        with pytest.raises(RequestIdKnown) as known:
            await store.put_key(_key("k2", "t"), AddRequest("r1", b"d", ""))
        assert known.value.target == "k1"
        assert await store.key("k2") is None

    async def test_times_do_not_matter_to_expiry_order(self, store: Store) -> None:
        row = await new_agent(store)
        expiries = {"p1": 30, "p2": 10, "p3": 20}
        await put(store, row, *(PutPending(pending_of(p, expires=s * SECOND)) for p, s in expiries.items()))
        assert await store.next_expiry() == 10 * SECOND
        found = [pending.pending.id for pending in await store.expired_pending(20 * SECOND, 10)]
        assert found == ["p2", "p3"]


def _ids(rows: list) -> list[str]:
    return [row.agent.id for row in rows]


def _key(key_id: str, tenant: str) -> KeyRow:
    return KeyRow(tenant, access_service_pb2.ApiKey(id=key_id, name=key_id), key_id.encode())


async def _left(store: Store, key: int, session: str) -> int:
    """How many things of an agent are still found."""
    one_by_one = (
        await store.session("default", session),
        await store.session("default", f"{session}_2"),
        await store.tool_call(key, "c1"),
        await store.pending(key, "p1"),
    )
    found = (
        await store.read_agent_segments(key, 0, 10),
        await store.turns(key, "", "", 10),
        await store.unfinished_turns(key),
        await store.messages("default", session, 0, 0),
        await store.session_rules(key, session),
        await store.notes(key, session),
        [one for one in one_by_one if one is not None],
    )
    return sum(len(part) for part in found)
