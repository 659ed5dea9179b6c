"""``ResourceStore`` on SQLite, and how other parts of the store register what they make."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aster.v1 import agent_pb2
from asteros import clock
from asteros.stores.resources import AGENT, REMOTE_AGENT, ChangeRow, ResourceRow
from asteros.stores.sqlfiles import queries

SQL = queries("resources.sql")
Select = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]


class SqliteResources:
    """The list of a ``SqliteStore``."""

    def __init__(self, select: Select) -> None:
        self._select = select

    async def page(self, tenant: str, kinds: Sequence[int], after: tuple[int, str], limit: int) -> list[ResourceRow]:
        values = (tenant, *after, json.dumps(list(kinds)), limit)
        return [ResourceRow(*row) for row in await self._select(SQL["page"], values)]

    async def snapshot(self, tenant: str, kinds: Sequence[int]) -> tuple[list[ResourceRow], int]:
        rows = await self._select(SQL["snapshot"], (tenant, json.dumps(list(kinds))))
        position = rows.pop()[3]
        return [ResourceRow(*row) for row in rows], int(position)

    async def changes(self, after: int, limit: int) -> list[ChangeRow]:
        rows = await self._select(SQL["changes"], (after, limit))
        return [ChangeRow(row[0], row[1], row[2], ResourceRow(*row[3:])) for row in rows]

    async def bounds(self) -> tuple[int, int]:
        row = (await self._select(SQL["bounds"], ()))[0]
        return int(row[0]), int(row[1])

    async def counts(self, tenant: str) -> dict[int, int]:
        return dict(await self._select(SQL["counts"], (tenant,)))


# -- on the writing thread, in the transaction that makes the thing ------------------


def register(connection: sqlite3.Connection, tenant: str, row: ResourceRow) -> None:
    """Puts a thing in the list; one that is there has changed."""
    values = (tenant, row.kind, row.id, row.display_name, row.register_time)
    connection.execute(SQL["register"], values)


def touch(connection: sqlite3.Connection, tenant: str, kind: int, id: str) -> None:
    """The thing has changed in a way that the list does not show; nothing when it is not there."""
    connection.execute(SQL["touch"], (tenant, kind, id))


def unregister(connection: sqlite3.Connection, tenant: str, kind: int, id: str) -> None:
    """Takes a thing out of the list; nothing when it is not there."""
    connection.execute(SQL["unregister"], (tenant, kind, id))


def register_agent(connection: sqlite3.Connection, tenant: str, agent: agent_pb2.Agent) -> None:
    """The same for an agent, of this server or of another program."""
    kind = REMOTE_AGENT if agent.HasField("remote") else AGENT
    register(connection, tenant, ResourceRow(kind, agent.id, agent.display_name, clock.nanos(agent.create_time)))


def rename_agent(connection: sqlite3.Connection, tenant: str, agent: agent_pb2.Agent) -> None:
    """Its settings have changed: its name may have."""
    kind = REMOTE_AGENT if agent.HasField("remote") else AGENT
    connection.execute(SQL["rename"], (tenant, kind, agent.id, agent.display_name))


# -- for the migration that begins the list -------------------------------------------


def readers(connection: sqlite3.Connection) -> None:
    """Functions that read what older rows hold in blobs."""
    agent, status = agent_pb2.Agent.FromString, agent_pb2.AgentStatus.FromString
    connection.create_function("display_name_of", 1, lambda blob: agent(blob).display_name)
    connection.create_function("create_time_of", 1, lambda blob: clock.nanos(agent(blob).create_time))
    connection.create_function("activity_of", 1, lambda blob: status(blob).activity)
