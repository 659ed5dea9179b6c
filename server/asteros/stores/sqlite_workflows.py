"""``WorkflowStore`` on SQLite: beside the log in the same database."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from aster.v1 import common_pb2, workflow_pb2
from asteros import clock, errors
from asteros.stores.base import AddRequest
from asteros.stores.resources import WORKFLOW, ResourceRow
from asteros.stores.sqlfiles import queries
from asteros.stores.sqlite_resources import register, unregister
from asteros.stores.sqlite_writer import add_request
from asteros.stores.workflows import NewRun, RunRow, ScheduleRow, StepRow

T = TypeVar("T")
SQL = queries("workflows.sql")
Select = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
# Reads one statement's rows back to a store that has none left.
_ALL = -1


class Run(Protocol):
    """Runs a function on the writing thread, in a transaction."""

    async def __call__(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


class SqliteWorkflows:
    """The workflows of a ``SqliteStore``."""

    def __init__(self, select: Select, run: Run, position: Callable[[], int]) -> None:
        """``position``: of the newest event, asked on the writing thread."""
        self._select = select
        self._run = run
        self._position = position

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await self._select(SQL[query], values)

    async def _write(self, query: str, *values: Any) -> int:
        return await self._run(lambda connection: connection.execute(SQL[query], values).rowcount)

    # -- workflows --------------------------------------------------------------------

    async def create_workflow(self, tenant: str, workflow: workflow_pb2.Workflow, request: AddRequest | None) -> None:
        data = workflow.SerializeToString()

        def insert(connection: sqlite3.Connection) -> None:
            if request is not None:
                add_request(connection, tenant, request)
            try:
                connection.execute(SQL["insert_workflow"], (tenant, workflow.id, data))
            except sqlite3.IntegrityError:
                raise errors.WorkflowAlreadyExists(workflow.id) from None
            made = ResourceRow(WORKFLOW, workflow.id, workflow.display_name, clock.nanos(workflow.create_time))
            register(connection, tenant, made)

        await self._run(insert)

    async def workflow(self, tenant: str, workflow_id: str) -> workflow_pb2.Workflow | None:
        rows = await self._rows("workflow", tenant, workflow_id)
        return workflow_pb2.Workflow.FromString(rows[0][0]) if rows else None

    async def workflows(self, tenant: str, after: str, limit: int) -> list[workflow_pb2.Workflow]:
        return [workflow_pb2.Workflow.FromString(row[0]) for row in await self._rows("workflows", tenant, after, limit)]

    async def delete_workflow(self, tenant: str, workflow_id: str) -> bool:
        def delete(connection: sqlite3.Connection) -> bool:
            connection.execute(SQL["delete_schedules"], (tenant, workflow_id))
            unregister(connection, tenant, WORKFLOW, workflow_id)
            return connection.execute(SQL["delete_workflow"], (tenant, workflow_id)).rowcount > 0

        return await self._run(delete)

    # -- runs ---------------------------------------------------------------------------

    async def create_run(self, tenant: str, new: NewRun, request: AddRequest | None = None) -> RunRow:
        def insert(connection: sqlite3.Connection) -> Any:
            if request is not None:
                add_request(connection, tenant, request)
            return self._insert(connection, tenant, new)

        return _run(await self._run(insert))

    def _insert(self, connection: sqlite3.Connection, tenant: str, new: NewRun) -> Any:
        """On the writing thread."""
        known = connection.execute(SQL["run"], (tenant, new.run.id)).fetchone()
        if known is not None:
            return known
        key = connection.execute(SQL["insert_log"], (tenant, new.run.id)).lastrowid
        values = (
            key, tenant, new.run.id, new.run.workflow_id, new.run.state, self._position(), new.principal,
            new.run.SerializeToString(), new.workflow.SerializeToString(),
            new.budget.SerializeToString() if new.budget else b"",
        )  # fmt: skip
        connection.execute(SQL["insert_run"], values)
        return connection.execute(SQL["run_by_key"], (key,)).fetchone()

    async def acquire_run(self, key: int) -> RunRow:
        def acquire(connection: sqlite3.Connection) -> Any:
            connection.execute(SQL["acquire_log"], (key,))
            return connection.execute(SQL["run_by_key"], (key,)).fetchone()

        row = await self._run(acquire)
        if row is None:
            raise errors.WorkflowRunNotFound(str(key))
        return _run(row)

    async def run(self, tenant: str, run_id: str) -> RunRow | None:
        rows = await self._rows("run", tenant, run_id)
        return _run(rows[0]) if rows else None

    async def runs(
        self, tenant: str, workflow_id: str, before: str, limit: int, states: Sequence[int]
    ) -> list[workflow_pb2.WorkflowRun]:
        rows = await self._rows("runs", tenant, workflow_id, before, limit, json.dumps(list(states)))
        return [workflow_pb2.WorkflowRun.FromString(row[0]) for row in rows]

    async def unfinished_runs(self) -> list[RunRow]:
        return [_run(row) for row in await self._rows("unfinished_runs")]

    async def steps(self, run_key: int, limit: int = 0) -> list[StepRow]:
        rows = await self._rows("steps", run_key, limit or _ALL)
        return [StepRow(workflow_pb2.WorkflowStepRun.FromString(row[0]), *row[1:]) for row in rows]

    # -- schedules ----------------------------------------------------------------------

    async def create_schedule(self, row: ScheduleRow, request: AddRequest | None) -> None:
        schedule = row.schedule
        values = (
            row.tenant, schedule.workflow_id, schedule.id, clock.nanos(schedule.next_time), row.principal,
            schedule.SerializeToString(),
        )  # fmt: skip

        def insert(connection: sqlite3.Connection) -> None:
            if request is not None:
                add_request(connection, row.tenant, request)
            try:
                connection.execute(SQL["insert_schedule"], values)
            except sqlite3.IntegrityError:
                raise errors.ScheduleAlreadyExists(schedule.id) from None

        await self._run(insert)

    async def schedule(self, tenant: str, workflow_id: str, schedule_id: str) -> workflow_pb2.WorkflowSchedule | None:
        rows = await self._rows("schedule", tenant, workflow_id, schedule_id)
        return _schedule(rows[0]).schedule if rows else None

    async def schedules(
        self, tenant: str, workflow_id: str, after: tuple[str, str], limit: int
    ) -> list[workflow_pb2.WorkflowSchedule]:
        return [_schedule(row).schedule for row in await self._rows("schedules", tenant, workflow_id, *after, limit)]

    async def delete_schedule(self, tenant: str, workflow_id: str, schedule_id: str) -> bool:
        return await self._write("delete_schedule", tenant, workflow_id, schedule_id) > 0

    async def due_schedules(self, nanos: int, limit: int) -> list[ScheduleRow]:
        return [_schedule(row) for row in await self._rows("due_schedules", nanos, limit)]

    async def next_schedule_time(self) -> int | None:
        value = (await self._rows("next_schedule_time"))[0][0]
        return None if value is None else int(value)

    async def advance_schedule(self, row: ScheduleRow, next_time: int, new: NewRun | None) -> RunRow | None:
        schedule = row.schedule
        name = (row.tenant, schedule.workflow_id, schedule.id, clock.nanos(schedule.next_time))

        def advance(connection: sqlite3.Connection) -> Any:
            values = (next_time, new.run.id if new else None, *name)
            if not connection.execute(SQL["advance_schedule"], values).rowcount:
                return None
            return self._insert(connection, row.tenant, new) if new else None

        made = await self._run(advance)
        return _run(made) if made is not None else None


def _run(row: Any) -> RunRow:
    key, tenant, epoch, run, workflow, wish, active, first, principal, budget, latest = row
    return RunRow(
        key,
        tenant,
        epoch,
        workflow_pb2.WorkflowRun.FromString(run),
        workflow_pb2.Workflow.FromString(workflow),
        wish,
        active,
        first,
        principal,
        common_pb2.Budget.FromString(budget),
        latest,
    )


def _schedule(row: Any) -> ScheduleRow:
    tenant, next_time, last_run_id, principal, blob = row
    schedule = workflow_pb2.WorkflowSchedule.FromString(blob)
    schedule.next_time.CopyFrom(clock.timestamp(next_time))
    schedule.last_run_id = last_run_id
    return ScheduleRow(tenant, schedule, principal)
