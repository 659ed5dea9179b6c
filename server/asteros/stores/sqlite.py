"""The embedded store: one SQLite database in a data directory, nothing to install.

Writes go through ``sqlite_writer`` (one thread, group commit); every query runs
beside it on aiosqlite, on a connection that cannot write. WAL lets both go on at
once. ``synchronous=FULL`` makes a commit survive power loss, NORMAL only a crash
of the process (guarantee E2)."""

import array
import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from google.protobuf.message import Message

from aster.v1 import access_service_pb2, agent_pb2, common_pb2, control_service_pb2, session_service_pb2
from asteros import clock, errors, ids
from asteros.stores import base
from asteros.stores.sqlfiles import migrations
from asteros.stores.sqlite_insights import SqliteInsights
from asteros.stores.sqlite_resources import SqliteResources, readers, register_agent
from asteros.stores.sqlite_stars import SqliteStars, forget_agent
from asteros.stores.sqlite_workflows import SqliteWorkflows
from asteros.stores.sqlite_writer import SQL, Checkpointer, Writer, add_request, labels_json, put_session, translate

M = TypeVar("M", bound=Message)
_DELETE_WITH_AGENT = (
    "segments",
    "sessions",
    "messages",
    "turns",
    "tool_calls",
    "pending",
    "session_rules",
    "notes",
    "remote_agents",
    "traces",
)


class SqliteStore:
    """``Store`` on SQLite. One process per data directory, kept by a lock on a file in it."""

    kind = "sqlite"

    def __init__(self, data_dir: Path, *, durability: str = "full", exclusive: bool = True) -> None:
        """``exclusive=False`` opens beside a running server; only for rows it reads anew, as keys."""
        self._exclusive = exclusive
        self._dir = data_dir
        self._path = data_dir / "aster.db"
        self._writer = Writer(self._path, {"full": "FULL", "normal": "NORMAL"}[durability])
        self._checkpointer = Checkpointer(self._path, self._writer)
        self._lock_file: int | None = None
        self._reader: aiosqlite.Connection | None = None
        # Replays read megabytes: on a connection of their own, so that small reads never wait for them.
        self._log_reader: aiosqlite.Connection | None = None
        self._sums_reader: aiosqlite.Connection | None = None
        self.log_id = ""
        self.secret = b""

    # -- life -------------------------------------------------------------------

    async def open(self) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._exclusive:
            self._lock()
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._unlock()
            raise errors.RefusedToStart(
                f"{self._path}: the database cannot be read ({error}); restore it from a copy, "
                "or move it away to begin with an empty one"
            ) from error
        except errors.RefusedToStart:
            self._unlock()
            raise
        self._writer.start()
        self._checkpointer.start()
        self._reader = await self._connect()
        self._log_reader = await self._connect()
        self._sums_reader = await self._connect()

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None)
        await connection.execute("PRAGMA query_only = 1")
        await connection.execute("PRAGMA busy_timeout = 5000")
        return connection

    async def aclose(self) -> None:
        if self._reader is None or self._log_reader is None or self._sums_reader is None:
            return
        for reader in (self._reader, self._log_reader, self._sums_reader):
            await reader.close()
        self._reader = self._log_reader = self._sums_reader = None
        await asyncio.to_thread(self._checkpointer.stop)
        await self._writer.stop()
        self._unlock()

    def _lock(self) -> None:
        handle = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise errors.RefusedToStart(
                f"{self._dir}: another server runs on this data directory; stop it, or choose another with --data-dir"
            ) from None
        self._lock_file = handle

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _prepare(self) -> None:
        """Migrates the schema and reads what the store is; before any thread starts."""
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            self._migrate(connection)
            connection.execute(
                "INSERT INTO meta VALUES ('log_id', ?), ('secret', ?) ON CONFLICT DO NOTHING",
                (ids.ulid(), secrets.token_bytes(32)),
            )
            meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
            self.log_id, self.secret = str(meta["log_id"]), bytes(meta["secret"])
            self._writer.position = connection.execute(SQL["head"]).fetchone()[0]
        finally:
            connection.close()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        have = connection.execute("PRAGMA user_version").fetchone()[0]
        newest = migrations()[-1][0]
        if have > newest:
            raise errors.RefusedToStart(
                f"{self._path}: made by a newer version (schema {have}, this one knows {newest}); upgrade this server"
            )
        readers(connection)
        for number, script in migrations():
            if number > have:
                connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    # -- plumbing ---------------------------------------------------------------

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await self._select(SQL[query], values)

    async def _select(self, text: str, values: Sequence[Any]) -> list[Any]:
        return await _fetched(self._reader, text, values)

    async def _select_sums(self, text: str, values: Sequence[Any]) -> list[Any]:
        return await _fetched(self._sums_reader, text, values)

    def insights(self) -> SqliteInsights:
        """The sums over this log, as long as the store is open."""
        return SqliteInsights(self._select_sums, self._writer.run)

    def resources(self) -> SqliteResources:
        """What is registered, as long as the store is open."""
        return SqliteResources(self._select)

    def stars(self) -> SqliteStars:
        """Stars, as long as the store is open."""
        return SqliteStars(self._select, self._writer.run)

    def workflows(self) -> SqliteWorkflows:
        """The workflows of this store, as long as it is open."""
        return SqliteWorkflows(self._select, self._writer.run, lambda: self._writer.position)

    async def _row(self, query: str, *values: Any) -> Any:
        rows = await self._rows(query, *values)
        return rows[0] if rows else None

    async def _write(self, query: str, *values: Any) -> None:
        await self._writer.run(lambda connection: connection.execute(SQL[query], values))

    # -- the log ------------------------------------------------------------------

    async def commit(self, units: Sequence[base.Unit], seal: base.Sealer) -> list[base.Outcome]:
        return await self._writer.run(lambda connection: self._writer.commit(connection, units, seal))

    async def head(self) -> int:
        return int((await self._row("head"))[0])

    async def read_agent_segments(
        self, agent_key: int, after_sequence: int, limit: int, before: int = 0
    ) -> list[base.Segment]:
        if before:
            return await self._segments(limit, "agent_segments_before", agent_key, after_sequence, before)
        return await self._segments(limit, "agent_segments", agent_key, after_sequence)

    async def read_segments(self, tenant: str, after: int, limit: int, before: int = 0) -> list[base.Segment]:
        if before:
            return await self._segments(limit, "segments_before", before, after, tenant)
        return await self._segments(limit, "segments_after", after, tenant)

    async def _segments(self, limit: int, query: str, *values: Any) -> list[base.Segment]:
        """Whole segments up to about ``limit`` events.

        Fetched in one go: an open cursor would hold this connection's view of the log, and
        a reader that shares it would take an old state for the end."""
        rows = await _fetched(self._log_reader, SQL[query], (*values, limit))
        return [_segment(row) for row in rows]

    async def sequence_at(self, agent_key: int, position: int) -> int:
        row = await self._row("sequence_at", agent_key, position)
        return int(row[0]) if row else 0

    async def position_at_time(self, nanos: int) -> int:
        row = await self._row("position_at_time", nanos)
        return int(row[0]) if row else await self.head()

    async def trim(self, agent_key: int, before_time: int, keep: int) -> int:
        return await self._writer.run(lambda connection: self._trim(connection, agent_key, before_time, keep))

    def _trim(self, connection: sqlite3.Connection, agent_key: int, before_time: int, keep: int) -> int:
        agent = connection.execute(SQL["agent_by_key"], (agent_key,)).fetchone()
        if agent is None:
            return 0
        latest = agent[6]
        bound = connection.execute(SQL["trim_bound"], (agent_key, before_time, keep, latest)).fetchone()[0]
        first_kept = latest + 1 if bound is None else bound
        opened = connection.execute(SQL["oldest_open"], (agent_key,)).fetchone()[0]
        if opened is not None:
            first_kept = min(first_kept, self._segment_of(connection, agent_key, opened))
        last = connection.execute(SQL["trimmed_position"], (agent_key, first_kept)).fetchone()
        if last is None:
            return int(agent[7])
        connection.execute(SQL["keep_head"], (self._writer.position,))
        connection.execute(SQL["trim"], (agent_key, first_kept))
        connection.execute(SQL["trim_traces"], (agent_key, first_kept))
        left = connection.execute(SQL["agent_segments"], (agent_key, 0, 1)).fetchone()
        oldest = left[2] if left else latest + 1
        connection.execute(SQL["set_floor"], (oldest, last[0], agent_key))
        return int(oldest)

    @staticmethod
    def _segment_of(connection: sqlite3.Connection, agent_key: int, pending_id: str) -> int:
        """last_sequence of the segment whose events were stored when the request was raised."""
        blob = connection.execute(SQL["pending"], (agent_key, pending_id)).fetchone()[1]
        raised = clock.nanos(control_service_pb2.PendingRequest.FromString(blob).create_time)
        row = connection.execute(SQL["trim_bound"], (agent_key, raised, 0, 0)).fetchone()
        return int(row[0] or 0)

    async def agents_to_trim(self, before_time: int, keep: int, limit: int, after: int = 0) -> list[int]:
        return [row[0] for row in await self._rows("agents_to_trim", before_time, keep, limit, after)]

    # -- agents ---------------------------------------------------------------------

    async def create_agent(
        self,
        tenant: str,
        agent: agent_pb2.Agent,
        session: session_service_pb2.Session,
        request: base.AddRequest | None,
        max_agents: int,
    ) -> base.AgentRow:
        status = agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_CREATED, activity=agent_pb2.AGENT_ACTIVITY_IDLE)

        def insert(connection: sqlite3.Connection) -> Any:
            if request is not None:
                add_request(connection, tenant, request)
            if max_agents and connection.execute(SQL["open_agents"], (tenant,)).fetchone()[0] >= max_agents:
                raise errors.AgentLimitReached(f"cosmos is full (max {max_agents} agents)", max_agents=max_agents)
            key = _insert_agent(connection, tenant, agent, status, session.id)
            register_agent(connection, tenant, agent)
            put_session(connection, tenant, key, session, insert=True)
            return connection.execute(SQL["agent_by_key"], (key,)).fetchone()

        return _agent(await self._writer.run(insert))

    async def create_remote_agent(self, tenant: str, agent: agent_pb2.Agent, owner: str) -> base.AgentRow:
        status = agent_pb2.AgentStatus(state=agent_pb2.AGENT_STATE_CREATED, activity=agent_pb2.AGENT_ACTIVITY_IDLE)

        def insert(connection: sqlite3.Connection) -> Any:
            key = _insert_agent(connection, tenant, agent, status, "")
            connection.execute(SQL["insert_remote"], (key, owner))
            return connection.execute(SQL["agent_by_key"], (key,)).fetchone()

        return _agent(await self._writer.run(insert))

    async def remote_agent(self, key: int) -> base.RemoteRow | None:
        row = await self._row("remote_agent", key)
        return base.RemoteRow(row[0], row[1], row[2], bool(row[3])) if row else None

    async def agent(self, tenant: str, agent_id: str) -> base.AgentRow | None:
        row = await self._row("agent_by_id", tenant, agent_id)
        return _agent(row) if row else None

    async def agent_by_key(self, key: int) -> base.AgentRow | None:
        row = await self._row("agent_by_key", key)
        return _agent(row) if row else None

    async def agents(self, tenant: str, after: str, limit: int, only: base.AgentFilter) -> list[base.AgentRow]:
        # The text is put together from constants; what callers choose is bound.
        query = "SELECT key, tenant, epoch, agent, status, default_session_id, latest_sequence, oldest_sequence,"
        query += " floor_position, state FROM agents WHERE tenant = ? AND kind = 0 AND id > ?"
        query += " AND NOT EXISTS (SELECT 1 FROM remote_agents WHERE agent_key = key AND NOT listed)"
        values: list[Any] = [tenant, after]
        if only.states:
            query += f" AND state IN ({', '.join('?' * len(only.states))})"
            values += only.states
        if only.template_id:
            query += " AND template_id = ?"
            values.append(only.template_id)
        if only.id_prefix:
            query += " AND id >= ? AND id < ?"
            values += [only.id_prefix, only.id_prefix + "\U0010ffff"]
        for name, value in only.labels:
            query += " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)"
            values += [name, value]
        query += " ORDER BY id LIMIT ?"
        return [_agent(row) for row in await self._select(query, [*values, limit])]

    async def delete_agent(self, key: int) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            connection.execute(SQL["keep_head"], (self._writer.position,))
            for table in _DELETE_WITH_AGENT:
                connection.execute(f"DELETE FROM {table} WHERE agent_key = ?", (key,))  # noqa: S608 - constants
            if (row := connection.execute(SQL["agent_by_key"], (key,)).fetchone()) is not None:
                forget_agent(connection, row[1], agent_pb2.Agent.FromString(row[3]).id)
            connection.execute(SQL["unregister_agent"], (key,))
            connection.execute(SQL["delete_agent"], (key,))

        await self._writer.run(delete)

    async def acquire(self, key: int) -> base.AgentRow:
        row = await self._writer.run(lambda connection: connection.execute(SQL["acquire"], (key,)).fetchone())
        if row is None:
            raise errors.AgentNotFound(str(key))
        return _agent(row)

    async def started_agents(self) -> list[base.AgentRow]:
        return [_agent(row) for row in await self._rows("started_agents")]

    async def floor_position(self, tenant: str) -> int:
        return int((await self._row("floor_position", tenant))[0])

    async def counts(self, tenant: str) -> dict[str, int]:
        row = await self._row("counts", tenant)
        names = ("agent_count", "working_agent_count", "failed_agent_count", "pending_count", "workflow_run_count")
        return dict(zip(names, row, strict=True))

    # -- what agents did --------------------------------------------------------------

    async def request(self, tenant: str, request_id: str) -> tuple[bytes, str] | None:
        row = await self._row("request", tenant, request_id)
        return (row[0], row[1]) if row else None

    async def forget_requests(self, before_time: int) -> None:
        await self._write("forget_requests", before_time)

    async def turn(self, agent_key: int, turn_id: str) -> base.TurnRow | None:
        row = await self._row("turn", agent_key, turn_id)
        return _turn(row) if row else None

    async def turns(
        self, agent_key: int, session_id: str, before: str, limit: int, principal: str = ""
    ) -> list[agent_pb2.Turn]:
        rows = await self._rows("turns", agent_key, session_id, before, limit, principal)
        return [agent_pb2.Turn.FromString(row[0]) for row in rows]

    async def unfinished_turns(self, agent_key: int) -> list[base.TurnRow]:
        return [_turn(row) for row in await self._rows("unfinished_turns", agent_key)]

    async def agents_with_work(self) -> list[int]:
        return [row[0] for row in await self._rows("agents_with_work")]

    async def session(self, tenant: str, session_id: str) -> tuple[int, session_service_pb2.Session] | None:
        row = await self._row("session", tenant, session_id)
        return (row[0], session_service_pb2.Session.FromString(row[1])) if row else None

    async def sessions(
        self, tenant: str, agent_key: int, before: tuple[int, str] | None, skip: int, limit: int
    ) -> tuple[list[session_service_pb2.Session], int]:
        time, last = before or (1 << 62, "")
        rows = await self._rows("sessions", tenant, agent_key, time, last, limit, skip)
        total = (await self._row("count_sessions", tenant, agent_key))[0]
        return [session_service_pb2.Session.FromString(row[0]) for row in rows], total

    async def delete_session(self, tenant: str, session_id: str) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            for query in ("delete_notes", "delete_rules", "delete_messages", "delete_session"):
                connection.execute(SQL[query], (tenant, session_id))

        await self._writer.run(delete)

    async def messages(
        self, tenant: str, session_id: str, after: int, limit: int
    ) -> list[tuple[int, common_pb2.Message]]:
        rows = await self._rows("messages", tenant, session_id, after, limit or -1)
        return [(row[0], common_pb2.Message.FromString(row[1])) for row in rows]

    async def tool_call(self, agent_key: int, call_id: str) -> base.CallRow | None:
        row = await self._row("tool_call", agent_key, call_id)
        return _call(row) if row else None

    async def tool_calls(self, agent_key: int, turn_id: str, step: int) -> list[base.CallRow]:
        return [_call(row) for row in await self._rows("tool_calls", agent_key, turn_id, step)]

    async def pending(self, agent_key: int, pending_id: str) -> base.PendingRow | None:
        row = await self._row("pending", agent_key, pending_id)
        row = row or await self._row("pending_of_call", agent_key, pending_id)
        return _pending(row) if row else None

    async def pending_of_turn(self, agent_key: int, turn_id: str) -> list[base.PendingRow]:
        return [_pending(row) for row in await self._rows("pending_of_turn", agent_key, turn_id)]

    async def open_pending(self, tenant: str, agent_key: int, after: str, limit: int) -> list[base.PendingRow]:
        return [_pending(row) for row in await self._rows("open_pending", tenant, agent_key, after, limit)]

    async def expired_pending(self, nanos: int, limit: int) -> list[base.PendingRow]:
        return [_pending(row) for row in await self._rows("expired_pending", nanos, limit)]

    async def next_expiry(self) -> int | None:
        row = await self._row("next_expiry")
        return row[0] if row else None

    async def session_rules(self, agent_key: int, session_id: str) -> dict[str, int]:
        return dict(await self._rows("session_rules", agent_key, session_id))

    async def notes(self, agent_key: int, scope: str) -> dict[str, bytes]:
        return dict(await self._rows("notes", agent_key, scope))

    # -- access ---------------------------------------------------------------------------

    async def put_key(self, row: base.KeyRow, request: base.AddRequest | None = None) -> None:
        def put(connection: sqlite3.Connection) -> None:
            if request is not None:
                known = base.AddRequest(request.request_id, request.digest, row.key.id)
                add_request(connection, row.tenant, known)
            values = (row.key.id, row.tenant, row.digest, row.key.SerializeToString())
            connection.execute(SQL["put_key"], values)

        await self._writer.run(put)

    async def note_key_use(self, key_id: str, minute: int) -> None:
        def note(connection: sqlite3.Connection) -> None:
            row = connection.execute(SQL["key"], (key_id,)).fetchone()
            if row is not None:
                key = access_service_pb2.ApiKey.FromString(row[1])
                key.last_use_time.seconds = minute
                connection.execute(SQL["put_key"], (key_id, row[0], row[2], key.SerializeToString()))

        await self._writer.run(note)

    async def key(self, key_id: str) -> base.KeyRow | None:
        row = await self._row("key", key_id)
        return _key(row) if row else None

    async def keys(self, tenant: str, after: str, limit: int) -> list[base.KeyRow]:
        return [_key(row) for row in await self._rows("keys", tenant, after, limit)]


async def _fetched(reader: aiosqlite.Connection | None, text: str, values: Sequence[Any]) -> list[Any]:
    if reader is None:
        raise errors.StoreUnavailable("the store is closed")
    try:
        return list(await reader.execute_fetchall(text, values))
    except sqlite3.Error as error:
        raise translate(error) from error


def _insert_agent(
    connection: sqlite3.Connection,
    tenant: str,
    agent: agent_pb2.Agent,
    status: agent_pb2.AgentStatus,
    session_id: str,
) -> int:
    values = (
        tenant, agent.id, status.state, agent.config.template_id, labels_json(agent),
        agent.SerializeToString(), status.SerializeToString(), session_id, status.activity,
    )  # fmt: skip
    try:
        return int(connection.execute(SQL["insert_agent"], values).lastrowid or 0)
    except sqlite3.IntegrityError:
        raise errors.AgentAlreadyExists(agent.id) from None


def _segment(row: Any) -> base.Segment:
    ends = array.array("I")
    ends.frombytes(row[9])
    return base.Segment(
        row[0], row[1], row[2], row[3], base.Scope(row[4], row[5], row[6], row[7]), row[8], tuple(ends), row[10]
    )


def _agent(row: Any) -> base.AgentRow:
    status = agent_pb2.AgentStatus.FromString(row[4])
    status.state = row[9]  # the column counts
    return base.AgentRow(row[0], row[1], row[2], agent_pb2.Agent.FromString(row[3]), status, *row[5:9])


def _turn(row: Any) -> base.TurnRow:
    return base.TurnRow(
        row[0],
        agent_pb2.Turn.FromString(row[1]),
        common_pb2.Message.FromString(row[2]),
        row[3],
        common_pb2.Budget.FromString(row[4]),
    )


def _pending(row: Any) -> base.PendingRow:
    return base.PendingRow(row[0], control_service_pb2.PendingRequest.FromString(row[1]), row[2], row[3])


def _call(row: Any) -> base.CallRow:
    return base.CallRow(control_service_pb2.ToolCallRecord.FromString(row[0]), row[1], row[2])


def _key(row: Any) -> base.KeyRow:
    return base.KeyRow(row[0], access_service_pb2.ApiKey.FromString(row[1]), row[2])
