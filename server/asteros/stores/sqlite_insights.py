"""``InsightStore`` on SQLite: beside the log in the same database, read on a connection of its own
so that no small read waits for a chart."""

import array
import json
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from aster.v1 import common_pb2, dashboard_service_pb2
from asteros.stores.base import Scope, Segment
from asteros.stores.insights import (
    DAY,
    HOUR,
    MINUTE,
    Fold,
    Logged,
    Slot,
    SlotKey,
    Timed,
    TraceKey,
    TraceQuery,
    TraceRow,
    Usage,
    UsageKey,
    UsageQuery,
    Window,
)
from asteros.stores.sqlfiles import queries

T = TypeVar("T")
SQL = queries("insights.sql")
Select = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]


class Run(Protocol):
    """Runs a function on the writing thread, in a transaction."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SqliteInsights:
    """The sums of a ``SqliteStore``."""

    def __init__(self, select: Select, run: Run) -> None:
        self._select = select
        self._run = run

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await self._select(SQL[query], values)

    # -- following the log ------------------------------------------------------------

    async def position(self) -> int:
        return int((await self._rows("position"))[0][0])

    async def log_after(self, position: int, limit: int, kinds: Sequence[int]) -> list[Logged]:
        wanted = [bytes((code,)) for code in kinds]
        wanted += wanted[-1:] * (5 - len(wanted))
        return [_logged(row) for row in await self._rows("log_after", position, limit, *wanted)]

    async def traces_of(self, keys: Sequence[TraceKey]) -> dict[TraceKey, TraceRow]:
        rows = [TraceRow(*row) for row in await self._rows("traces_of", json.dumps(list(keys)))]
        return {(row.agent_key, row.turn_id): row for row in rows}

    async def add(self, fold: Fold, before: int, position: int) -> bool:
        usage, slots = list(_usage_rows(fold.usage)), list(_slot_rows(fold.slots))
        traces = [trace.values() for trace in fold.traces.values()]

        def write(connection: sqlite3.Connection) -> bool:
            if not connection.execute(SQL["move"], (before, position)).rowcount:
                return False
            connection.executemany(SQL["add_usage"], usage)
            connection.executemany(SQL["add_latency"], slots)
            connection.executemany(SQL["put_trace"], traces)
            return True

        return await self._run(write)

    async def forget_minutes(self, before: int) -> None:
        tenants = [row[0] for row in await self._rows("tenants")]

        def forget(connection: sqlite3.Connection) -> None:
            for tenant in tenants:
                connection.execute(SQL["forget_minutes"], (tenant, before))
                connection.execute(SQL["forget_minute_latencies"], (tenant, before))

        await self._run(forget)

    # -- sums -------------------------------------------------------------------------

    async def usage(self, query: UsageQuery, most_keys: int) -> list[tuple[int, str, Usage]]:
        together = query.group != 1 and not query.agent_id
        which = (json.dumps(query.window.parts), query.group, query.tenant, query.agent_id, query.model, together)
        keys = [row[0] for row in await self._rows("usage_keys", *which, most_keys)] if query.group else []
        rows = await self._rows("usage", *which, json.dumps(keys), query.row_seconds)
        return [(row[0], row[1], Usage(*row[2:])) for row in rows]

    async def latencies(
        self, tenant: str, window: Window, kinds: Sequence[Timed], agent_id: str = ""
    ) -> Mapping[tuple[int, str], dict[int, Slot]]:
        wanted = json.dumps([int(kind) for kind in kinds])
        if agent_id:
            rows = await self._rows("latencies_of_agent", json.dumps(window.starts()), wanted, tenant, agent_id)
        else:
            rows = await self._rows("latencies", json.dumps(window.parts), wanted, tenant)
        found: dict[tuple[int, str], dict[int, Slot]] = defaultdict(dict)
        for kind, name, slot, *numbers in rows:
            found[kind, name][slot] = Slot(*numbers)
        return found

    async def active(self, tenant: str, start: int, end: int) -> tuple[int, int]:
        agents, sessions = (await self._rows("active", tenant, start, end))[0]
        return agents, sessions

    # -- traces -----------------------------------------------------------------------

    async def traces(
        self, query: TraceQuery, before: tuple[int, str] | None, skip: int, limit: int
    ) -> tuple[list[TraceRow], int]:
        kind = "agent" if query.agent_id else "status" if query.status is not None else "time"
        where = (query.tenant, query.start, query.end, query.agent_id, -1 if query.status is None else query.status)
        total = (await self._rows(f"count_traces_by_{kind}", *where))[0][0]
        time, turn_id = before or (1 << 62, "")
        found = await self._rows(f"traces_by_{kind}", *where, time, turn_id, limit, skip)
        rows = [TraceRow(*row) for row in found]
        await self._add_below(query.tenant, rows)
        return rows, total

    async def _add_below(self, tenant: str, traces: Sequence[TraceRow]) -> None:
        """Adds what turns delegated to what they used themselves."""
        ids = json.dumps([trace.turn_id for trace in traces])
        parents = {row[0] for row in await self._rows("parents_among", tenant, ids)}
        for trace in traces:
            for part in await self.traces_below(tenant, trace.turn_id, -1) if trace.turn_id in parents else ():
                trace.include(part)

    async def trace(self, tenant: str, turn_id: str) -> TraceRow | None:
        rows = await self._rows("trace", tenant, turn_id)
        return TraceRow(*rows[0]) if rows else None

    async def traces_below(self, tenant: str, turn_id: str, limit: int) -> list[TraceRow]:
        return [TraceRow(*row) for row in await self._rows("traces_below", tenant, turn_id, limit)]

    async def said_first(self, keys: Sequence[TraceKey]) -> dict[TraceKey, str]:
        rows = await self._rows("turn_inputs", json.dumps(list(keys)))
        return {(key, turn_id): _text(common_pb2.Message.FromString(said)) for key, turn_id, said in rows}

    # -- prices -----------------------------------------------------------------------

    async def put_price(self, price: dashboard_service_pb2.Price) -> None:
        values = (price.model, price.SerializeToString())
        await self._run(lambda connection: connection.execute(SQL["put_price"], values))

    async def prices(self) -> list[dashboard_service_pb2.Price]:
        return [dashboard_service_pb2.Price.FromString(row[0]) for row in await self._rows("prices")]


def _logged(row: Any) -> Logged:
    ends = array.array("I")
    ends.frombytes(row[7])
    scope = Scope(session_id=row[4], turn_id=row[5])
    return Logged(row[9], row[10], Segment(row[0], row[1], row[2], row[3], scope, row[6], tuple(ends), row[8]))


def _text(message: common_pb2.Message) -> str:
    return "".join(block.text for block in message.content)


def _usage_rows(usage: Mapping[UsageKey, Usage]) -> Iterator[tuple[object, ...]]:
    """The rows of all grains; those of coarser ones are summed here, so that each is written once."""
    sums: dict[tuple[object, ...], Usage] = defaultdict(Usage)
    for (tenant, start, agent_id, model), more in usage.items():
        yield (tenant, MINUTE, start, agent_id, model, *more.values())
        day = start // DAY * DAY
        sums[tenant, HOUR, start // HOUR * HOUR, agent_id, model].add(more)
        sums[tenant, DAY, day, agent_id, model].add(more)
        sums[tenant, DAY, day, "", model].add(more)
    for key, whole in sums.items():
        yield (*key, *whole.values())


def _slot_rows(slots: Mapping[SlotKey, Slot]) -> Iterator[tuple[object, ...]]:
    sums: dict[tuple[object, ...], Slot] = defaultdict(Slot)
    for (tenant, kind, start, agent_id, name, number), more in slots.items():
        yield (tenant, MINUTE, kind, start, agent_id, name, number, more.count, more.total, more.most)
        sums[tenant, HOUR, kind, start // HOUR * HOUR, agent_id, name, number].add(more)
        sums[tenant, DAY, kind, start // DAY * DAY, "", name, number].add(more)
    for key, whole in sums.items():
        yield (*key, whole.count, whole.total, whole.most)
