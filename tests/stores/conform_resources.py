"""Promises of a store about the list of what is registered; part of ``conformance``."""

from stores.helpers import Reopen, create, new_agent, put

from aster.v1 import agent_pb2
from asteros.stores.base import AgentRow, PutAgent, PutRemote, Store
from asteros.stores.resources import (
    AGENT,
    KINDS,
    REGISTERED,
    REMOTE_AGENT,
    STAR,
    UNREGISTERED,
    UPDATED,
    ChangeRow,
    ResourceRow,
)


class ResourcePromises:
    """A list and a log that agree, whatever happens."""

    async def test_agents_are_registered_with_themselves(self, store: Store, reopen: Reopen) -> None:
        row = await new_agent(store, "a1")
        await create(store, "a2")
        await create(store, "b1", "other")
        await put(store, row, PutAgent(_named(row, "Ann")))
        await store.delete_agent(row.key)
        store = await reopen()
        assert [_told(change) for change in await store.resources().changes(0, 100)] == [
            ("default", REGISTERED, "a1", ""),
            ("default", REGISTERED, "a2", ""),
            ("other", REGISTERED, "b1", ""),
            ("default", UPDATED, "a1", "Ann"),
            ("default", UNREGISTERED, "a1", "Ann"),
        ]

    async def test_a_change_that_the_list_does_not_show_is_none(self, store: Store) -> None:
        row = await new_agent(store, "a1")
        await put(store, row, PutAgent(_named(row, "")))
        assert len(await store.resources().changes(0, 100)) == 1

    async def test_a_refused_agent_is_not_registered(self, store: Store) -> None:
        await create(store, "a1")
        try:
            await create(store, "a1")
        except Exception:
            assert len(await store.resources().changes(0, 100)) == 1

    async def test_a_snapshot_and_what_comes_after_it(self, store: Store) -> None:
        first = await create(store, "a1")
        await create(store, "a2", "other")
        rows, position = await store.resources().snapshot("default", KINDS)
        assert [(row.kind, row.id) for row in rows] == [(AGENT, "a1")]
        await store.delete_agent(first.key)
        assert [_told(change)[1:3] for change in await store.resources().changes(position, 100)] == [
            (UNREGISTERED, "a1")
        ]
        assert (await store.resources().snapshot("default", KINDS))[0] == []
        assert (await store.resources().snapshot("other", [STAR]))[0] == []

    async def test_positions_are_never_used_twice(self, store: Store, reopen: Reopen) -> None:
        row = await create(store, "a1")
        await store.delete_agent(row.key)
        assert await store.resources().bounds() == (0, 2)
        store = await reopen()
        await create(store, "a1")
        assert [change.position for change in await store.resources().changes(1, 1)] == [2]
        assert await store.resources().bounds() == (0, 3)

    async def test_nothing_at_all(self, store: Store) -> None:
        assert await store.resources().bounds() == (0, 0)
        assert await store.resources().snapshot("default", KINDS) == ([], 0)
        assert await store.resources().counts("default") == {}

    async def test_pages_by_kind_and_id(self, store: Store) -> None:
        for name in ("b", "a", "c"):
            await create(store, name)
        await _remote(store, "ab")
        pages = store.resources()
        found = [(row.kind, row.id) for row in await pages.page("default", KINDS, (0, ""), 10)]
        assert found == [(AGENT, "a"), (AGENT, "b"), (AGENT, "c"), (REMOTE_AGENT, "ab")]
        rest = await pages.page("default", KINDS, (AGENT, "b"), 10)
        assert [row.id for row in rest] == ["c", "ab"]
        assert [row.id for row in await pages.page("default", [REMOTE_AGENT], (0, ""), 10)] == ["ab"]
        assert [row.id for row in await pages.page("default", KINDS, (0, ""), 1)] == ["a"]
        assert await pages.counts("default") == {AGENT: 3, REMOTE_AGENT: 1}

    async def test_a_remote_agent_comes_connects_and_leaves(self, store: Store) -> None:
        row = await _remote(store, "r1")
        await put(store, row, PutRemote("i2", 0))  # dialled in again
        await put(store, row, PutRemote("i2", 5, after=0))  # a batch is no change
        await put(store, row, PutRemote("i2", 5, listed=False))
        changes = await store.resources().changes(0, 10)
        assert [change.change for change in changes] == [REGISTERED, UPDATED, UNREGISTERED]
        assert changes[0].resource == ResourceRow(REMOTE_AGENT, "r1", "Remote", 7_000_000_000)
        await put(store, row, PutRemote("i3", 0))
        await store.delete_agent(row.key)
        assert [change.change for change in await store.resources().changes(3, 10)] == [REGISTERED, UNREGISTERED]


async def _remote(store: Store, agent_id: str) -> AgentRow:
    agent = agent_pb2.Agent(id=agent_id, display_name="Remote")
    agent.create_time.seconds = 7
    agent.remote.SetInParent()
    row = await store.acquire((await store.create_remote_agent("default", agent, "ann")).key)
    await put(store, row, PutRemote("i1", 0))
    return row


def _named(row: AgentRow, name: str) -> agent_pb2.Agent:
    changed = agent_pb2.Agent()
    changed.CopyFrom(row.agent)
    changed.display_name = name
    return changed


def _told(change: ChangeRow) -> tuple[str, int, str, str]:
    return change.tenant, change.change, change.resource.id, change.resource.display_name
