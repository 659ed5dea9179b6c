"""``StarStore`` on SQLite."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from google.rpc import status_pb2

from aster.v1 import common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors
from asteros.stores.base import AddRequest
from asteros.stores.resources import STAR, ResourceRow
from asteros.stores.sqlfiles import queries
from asteros.stores.sqlite_resources import register, touch, unregister
from asteros.stores.sqlite_writer import add_request
from asteros.stores.stars import MOST_MESSAGES, RunRow, RunTurn

T = TypeVar("T")
SQL = queries("stars.sql")
Select = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]


class Run(Protocol):
    """Runs a function on the writing thread, in a transaction."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SqliteStars:
    """The Stars of a ``SqliteStore``."""

    def __init__(self, select: Select, run: Run) -> None:
        self._select = select
        self._run = run

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await self._select(SQL[query], values)

    # -- Stars and members ----------------------------------------------------------------

    async def create(self, tenant: str, star: pb.Star, request: AddRequest | None) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if request is not None:
                add_request(connection, tenant, request)
            bare = pb.Star()
            bare.CopyFrom(star)
            del bare.members[:]
            try:
                connection.execute(SQL["insert_star"], (tenant, star.id, bare.SerializeToString()))
            except sqlite3.IntegrityError:
                raise errors.StarAlreadyExists(star.id) from None
            for member in star.members:
                _join(connection, tenant, star.id, member)
            row = ResourceRow(STAR, star.id, star.display_name, clock.nanos(star.create_time))
            register(connection, tenant, row)

        await self._run(write)

    async def get(self, tenant: str, star_id: str) -> pb.Star | None:
        rows = await self._rows("star", tenant, star_id)
        return (await self._with_members(tenant, {star_id: rows[0][0]}))[0] if rows else None

    async def page(self, tenant: str, after: str, limit: int) -> list[pb.Star]:
        return await self._with_members(tenant, dict(await self._rows("stars", tenant, after, limit)))

    async def _with_members(self, tenant: str, blobs: dict[str, bytes]) -> list[pb.Star]:
        stars = {star_id: pb.Star.FromString(blob) for star_id, blob in blobs.items()}
        for star_id, member in await self._rows("members", tenant, json.dumps(list(stars))):
            stars[star_id].members.append(pb.StarMember.FromString(member))
        return list(stars.values())

    async def delete(self, tenant: str, star_id: str) -> bool:
        def write(connection: sqlite3.Connection) -> bool:
            for query in ("delete_members", "delete_messages", "delete_turns", "delete_runs"):
                connection.execute(SQL[query], (tenant, star_id))
            unregister(connection, tenant, STAR, star_id)
            return connection.execute(SQL["delete_star"], (tenant, star_id)).rowcount > 0

        return await self._run(write)

    async def join(self, tenant: str, star_id: str, member: pb.StarMember, most: int) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(SQL["star"], (tenant, star_id)).fetchone() is None:
                raise errors.StarNotFound(star_id)
            if len(connection.execute(SQL["members"], (tenant, json.dumps([star_id]))).fetchall()) >= most:
                raise errors.bad_field("star_id", f"the Star has {most} members, and may have no more")
            _join(connection, tenant, star_id, member)
            touch(connection, tenant, STAR, star_id)

        await self._run(write)

    async def leave(self, tenant: str, star_id: str, name: str, agent_id: str) -> bool:
        def write(connection: sqlite3.Connection) -> bool:
            values = (tenant, star_id, name or None, agent_id or None)
            gone = connection.execute(SQL["leave"], values).rowcount > 0
            if gone:
                touch(connection, tenant, STAR, star_id)
            return gone

        return await self._run(write)

    # -- what was said ----------------------------------------------------------------------

    async def say(
        self, tenant: str, star_id: str, messages: Sequence[pb.StarMessage], request: AddRequest | None = None
    ) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if request is not None:
                add_request(connection, tenant, request)
            _say(connection, tenant, star_id, messages)

        await self._run(write)

    async def message(self, tenant: str, message_id: str) -> pb.StarMessage | None:
        rows = await self._rows("message", tenant, message_id)
        return pb.StarMessage.FromString(rows[0][0]) if rows else None

    async def messages(self, tenant: str, star_id: str, after: int, limit: int) -> list[tuple[int, pb.StarMessage]]:
        rows = await self._rows("messages", tenant, star_id, after, limit)
        return [(place, pb.StarMessage.FromString(message)) for place, message in rows]

    # -- runs ---------------------------------------------------------------------------------

    async def begin(self, row: RunRow, request: AddRequest | None) -> None:
        values = (
            row.tenant, row.id, row.star.id, row.star.SerializeToString(), row.task, row.budget.SerializeToString(),
            row.principal, row.trace_id, row.create_time, row.position, row.workflow_run_id,
        )  # fmt: skip

        def write(connection: sqlite3.Connection) -> None:
            if request is not None:
                add_request(connection, row.tenant, request)
            connection.execute(SQL["insert_run"], values)

        await self._run(write)

    async def run(self, tenant: str, run_id: str) -> RunRow | None:
        rows = await self._rows("run", tenant, run_id)
        return _run(rows[0]) if rows else None

    async def run_of_turn(self, tenant: str, turn_id: str) -> str:
        rows = await self._rows("run_of_turn", tenant, turn_id)
        return rows[0][0] if rows else ""

    async def open_runs(self) -> list[RunRow]:
        return [_run(row) for row in await self._rows("open_runs")]

    async def end(self, row: RunRow) -> None:
        error = row.error.SerializeToString() if row.error is not None else b""
        values = (row.answer, error, row.tenant, row.id)
        await self._run(lambda connection: connection.execute(SQL["end_run"], values))

    async def add_turn(self, row: RunRow, turn: RunTurn, said: Sequence[pb.StarMessage]) -> None:
        values = (row.tenant, row.id, turn.ask, turn.turn_id, turn.agent_key, turn.member, turn.depth, turn.round)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(SQL["insert_turn"], values)
            _say(connection, row.tenant, row.star.id, said)

        await self._run(write)

    async def turns(self, tenant: str, run_id: str) -> list[RunTurn]:
        return [RunTurn(*row) for row in await self._rows("run_turns", tenant, run_id)]


# -- on the writing thread -------------------------------------------------------------------


def forget_agent(connection: sqlite3.Connection, tenant: str, agent_id: str) -> None:
    """Takes an agent that is being deleted out of every Star."""
    stars = connection.execute(SQL["stars_of_agent"], (tenant, agent_id)).fetchall()
    connection.execute(SQL["forget_agent"], (tenant, agent_id))
    for (star_id,) in stars:
        touch(connection, tenant, STAR, star_id)


def _join(connection: sqlite3.Connection, tenant: str, star_id: str, member: pb.StarMember) -> None:
    taken = connection.execute(SQL["taken"], (tenant, star_id, member.name, member.agent_id)).fetchone()
    if taken is not None:
        raise errors.StarMemberAlreadyExists(member.name, star_id)
    values = (tenant, star_id, member.name, member.agent_id, member.SerializeToString())
    connection.execute(SQL["join"], values)


def _say(connection: sqlite3.Connection, tenant: str, star_id: str, messages: Iterable[pb.StarMessage]) -> None:
    for message in messages:
        if connection.execute(SQL["said"], (tenant, message.id)).fetchone() is not None:
            continue
        place = connection.execute(SQL["place"], (tenant, star_id)).fetchone()
        if place is None:  # the Star is gone
            return
        values = (tenant, star_id, place[0], message.id, message.SerializeToString())
        connection.execute(SQL["insert_message"], values)
        connection.execute(SQL["trim_messages"], (tenant, star_id, place[0] - MOST_MESSAGES))


def _run(row: Any) -> RunRow:
    return RunRow(
        tenant=row[0],
        id=row[1],
        open=bool(row[2]),
        star=pb.Star.FromString(row[3]),
        task=row[4],
        budget=common_pb2.Budget.FromString(row[5]),
        principal=row[6],
        trace_id=row[7],
        create_time=row[8],
        position=row[9],
        answer=row[10],
        error=status_pb2.Status.FromString(row[11]) if row[11] else None,
        workflow_run_id=row[12],
    )
