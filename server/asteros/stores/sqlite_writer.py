"""The one thread that writes to SQLite.

SQLite has one writer at a time anyway; giving it a thread of its own makes the
order of writes the order of the log, and lets every caller that waits share one
fsync. The checkpoint runs elsewhere (``Checkpointer``): inside the writer it
would cost every append behind it tens of milliseconds."""

import array
import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from aster.v1 import agent_pb2, session_service_pb2
from asteros import clock, errors
from asteros.stores import base
from asteros.stores.resources import REMOTE_AGENT
from asteros.stores.sqlfiles import queries
from asteros.stores.sqlite_resources import register_agent, rename_agent, unregister

T = TypeVar("T")
SQL = queries("sqlite.sql") | {name: queries("workflows.sql")[name] for name in ("put_run", "put_step")}
CHECKPOINT_INTERVAL = 0.25  # seconds
# Rows that may be refused after others were written: only such units pay for a savepoint.
_MAY_CONFLICT = (base.AddRequest, base.PutSession, base.PutRemote)


def translate(error: sqlite3.Error) -> Exception:
    """SQLite's error as one of ours; what nobody foresaw stays what it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return errors.StorageFull()
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return errors.StoreUnavailable(retry_after=1.0)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return errors.StoreCorrupt()
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return errors.StoreUnavailable(retry_after=5.0)
    return error


class Writer:
    """Runs functions on the writing connection, each in a transaction of its own."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._jobs: SimpleQueue[Callable[[sqlite3.Connection], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="aster-store-writer", daemon=True)
        self.commits = 0
        self.position = 0  # of the newest event; read before the thread starts, which alone moves it
        self._stopped = False

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Finishes what was queued, then closes the connection."""
        self._stopped = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs ``work`` in a transaction and returns when it is durable.

        A cancelled caller does not stop a transaction that was queued."""
        if self._stopped:  # nobody would ever take the job
            raise errors.StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job(connection: sqlite3.Connection) -> None:
            try:
                result = self._transaction(connection, work)
            except Exception as error:
                loop.call_soon_threadsafe(_settle, future, None, error)
            else:
                loop.call_soon_threadsafe(_settle, future, result, None)

        self._jobs.put(job)
        return await future

    def _transaction(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        before = self.position
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            self.position = before
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise translate(error) from error
            raise
        self.commits += 1
        return result

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=256)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA cache_size = -16384")
        while (job := self._jobs.get()) is not None:
            job(connection)
        connection.close()

    # -- units, on the writing thread -------------------------------------------

    def commit(
        self, connection: sqlite3.Connection, units: Sequence[base.Unit], seal: base.Sealer
    ) -> list[base.Outcome]:
        """The work of ``Store.commit``."""
        return [self._unit(connection, unit, seal) for unit in units]

    def _unit(self, connection: sqlite3.Connection, unit: base.Unit, seal: base.Sealer) -> base.Outcome:
        guarded = any(isinstance(row, _MAY_CONFLICT) for row in unit.rows)
        before = self.position
        outcome: base.Outcome
        if guarded:
            connection.execute("SAVEPOINT unit")
        try:
            outcome = self._write(connection, unit, seal)
        except (errors.AsterError, base.RequestIdKnown) as refused:
            if guarded:
                connection.execute("ROLLBACK TO unit")
            self.position = before
            outcome = refused
        if guarded:
            connection.execute("RELEASE unit")
        return outcome

    def _write(self, connection: sqlite3.Connection, unit: base.Unit, seal: base.Sealer) -> base.Segment | None:
        count = len(unit.events)
        raised = connection.execute(SQL["raise_log"], (count, unit.agent_key, unit.epoch)).fetchone()
        if raised is None:
            raise errors.LeaseLost(agent_key=unit.agent_key)
        latest, tenant = raised
        for row in unit.rows:
            write_row(connection, tenant, unit.agent_key, row)
        if not count:
            return None
        segment = seal(unit, latest - count + 1, self.position + 1)
        self.position += count
        connection.execute(SQL["insert_segment"], segment_values(segment))
        return segment


def _settle(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():  # the caller was cancelled; the write stands
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def segment_values(segment: base.Segment) -> tuple[object, ...]:
    """A segment as the columns of its row."""
    scope = segment.scope
    return (
        segment.position,
        segment.agent_key,
        segment.first_sequence,
        segment.last_sequence,
        segment.create_time,
        scope.session_id,
        scope.turn_id,
        scope.star_id,
        scope.workflow_run_id,
        segment.kinds,
        array.array("I", segment.ends).tobytes(),
        segment.body,
    )


def write_row(connection: sqlite3.Connection, tenant: str, agent_key: int, row: base.Row) -> None:
    """Writes one row of a unit."""
    values: tuple[object, ...]
    match row:
        case base.PutTurn(turn, message, principal, budget):
            values = (
                agent_key, turn.id, turn.session_id, turn.state, turn.SerializeToString(),
                message.SerializeToString() if message else b"", principal,
                budget.SerializeToString() if budget else b"",
            )  # fmt: skip
            connection.execute(SQL["put_turn"], values)
        case base.PutStatus(status):
            connection.execute(
                SQL["update_status"], (status.state, status.activity, status.SerializeToString(), agent_key)
            )
        case base.AddMessage(session_id, message):
            connection.execute(SQL["add_message"], (tenant, session_id, agent_key, message.SerializeToString()))
        case base.CopyMessages(source_id, session_id, count):
            connection.execute(SQL["copy_messages"], (tenant, source_id, agent_key, count, session_id))
        case base.PutToolCall(record, step, index):
            values = (agent_key, record.call.id, record.turn_id, step, index, record.SerializeToString())
            connection.execute(SQL["put_tool_call"], values)
        case base.PutPending(pending, call_id, ask_index):
            values = (
                agent_key, pending.id, pending.turn_id, call_id, ask_index, clock.nanos(pending.expire_time),
                not pending.HasField("resolution"), pending.SerializeToString(),
            )  # fmt: skip
            connection.execute(SQL["put_pending"], values)
        case base.PutSession(session, insert):
            put_session(connection, tenant, agent_key, session, insert)
        case base.PutAgent(agent):
            values = (agent.config.template_id, labels_json(agent), agent.SerializeToString(), agent_key)
            connection.execute(SQL["update_agent"], values)
            rename_agent(connection, tenant, agent)
        case base.AddRequest():
            add_request(connection, tenant, row)
        case base.AddRule(session_id, tool, policy):
            connection.execute(SQL["put_rule"], (agent_key, session_id, tool, policy))
        case base.PutRemote(instance_id, acked, listed, None):
            connection.execute(SQL["put_remote"], (instance_id, acked, listed, agent_key))
            _list_remote(connection, tenant, agent_key, listed)
        case base.PutRemote(instance_id, acked, listed, after):
            values = (instance_id, acked, listed, agent_key, after)
            if connection.execute(SQL["advance_remote"], values).rowcount == 0:
                raise errors.LeaseLost(agent_key=agent_key)
        case base.PutRun(run, wish, active):
            connection.execute(SQL["put_run"], (run.state, wish, active, run.SerializeToString(), agent_key))
        case base.PutStep(step, rounds, place, facts, output):
            values = (agent_key, step.step_id, rounds, step.attempt, place, step.SerializeToString(), facts, output)
            connection.execute(SQL["put_step"], values)
        case base.PutNote(scope, name, None):
            connection.execute(SQL["delete_note"], (agent_key, scope, name))
        case base.PutNote(scope, name, value):
            connection.execute(SQL["put_note"], (agent_key, scope, name, value))


def _list_remote(connection: sqlite3.Connection, tenant: str, agent_key: int, listed: bool) -> None:
    """A remote agent was registered, has connected or gone, or was taken out."""
    row = connection.execute(SQL["agent_by_key"], (agent_key,)).fetchone()
    agent = agent_pb2.Agent.FromString(row[3])
    if listed:
        register_agent(connection, tenant, agent)
    else:
        unregister(connection, tenant, REMOTE_AGENT, agent.id)


def labels_json(agent: agent_pb2.Agent) -> str:
    return json.dumps(dict(agent.labels), sort_keys=True)


def put_session(
    connection: sqlite3.Connection, tenant: str, agent_key: int, session: session_service_pb2.Session, insert: bool
) -> None:
    values = (tenant, session.id, agent_key, clock.nanos(session.update_time), session.SerializeToString())
    try:
        connection.execute(SQL["insert_session" if insert else "put_session"], values)
    except sqlite3.IntegrityError:
        raise errors.SessionAlreadyExists(session.id) from None


def add_request(connection: sqlite3.Connection, tenant: str, row: base.AddRequest) -> None:
    """Remembers a request, or raises RequestIdKnown with what is remembered."""
    try:
        connection.execute(SQL["add_request"], (tenant, row.request_id, row.digest, row.target, clock.now()))
    except sqlite3.IntegrityError:
        digest, target = connection.execute(SQL["request"], (tenant, row.request_id)).fetchone()
        raise base.RequestIdKnown(digest, target) from None


class Checkpointer:
    """Moves the write-ahead log into the database, on a thread and connection of its own."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aster-store-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        seen = -1
        while not self._stopping.wait(CHECKPOINT_INTERVAL):
            commits = self._writer.commits
            if commits != seen:
                # A full disk or a busy database: the next round tries again.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    seen = commits
        connection.close()
