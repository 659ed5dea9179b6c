"""What only a database in a file can do wrong: locks, schemas, damage, a full disk."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stores.helpers import SEAL, create, message_of, new_agent, numbers, put, said, say, unit

from aster.v1 import access_service_pb2
from asteros import errors
from asteros.stores import sqlite_writer
from asteros.stores.base import AddMessage, KeyRow, Segment
from asteros.stores.sqlfiles import migrations
from asteros.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

_SECOND_PROCESS = """
import asyncio, pathlib, sys
from asteros.errors import RefusedToStart
from asteros.stores.sqlite import SqliteStore
try:
    asyncio.run(SqliteStore(pathlib.Path(sys.argv[1])).open())
except RefusedToStart as refused:
    print(refused)
    sys.exit(7)
"""


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path, durability="normal")
    await opened.open()
    yield opened
    await opened.aclose()


# -- who may open it ---------------------------------------------------------


async def test_a_second_process_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SECOND_PROCESS, str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 7, done.stderr
    assert str(tmp_path) in done.stdout
    assert "another server" in done.stdout


async def test_a_second_store_in_the_process_is_refused_until_the_first_closes(
    store: SqliteStore, tmp_path: Path
) -> None:
    second = SqliteStore(tmp_path)
    with pytest.raises(errors.RefusedToStart):
        await second.open()
    await store.aclose()
    await second.open()
    await second.aclose()


async def test_opened_beside_a_server_it_writes_keys(store: SqliteStore, tmp_path: Path) -> None:
    beside = SqliteStore(tmp_path, exclusive=False)
    await beside.open()
    assert (beside.log_id, beside.secret) == (store.log_id, store.secret)
    row = KeyRow("default", access_service_pb2.ApiKey(id="k1"), b"digest")
    await beside.put_key(row)
    assert await store.key("k1") == row
    await beside.aclose()
    await new_agent(store)


async def test_only_the_owner_may_read_the_files(store: SqliteStore, tmp_path: Path) -> None:
    await new_agent(store)
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert {"aster.db", "aster.db-wal", "lock"} <= set(modes)
    assert set(modes.values()) == {0}


async def test_the_reader_cannot_write(store: SqliteStore) -> None:
    assert store._reader is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store._reader.execute("DELETE FROM meta")


async def test_closed_it_answers_nothing_and_waits_for_nothing(store: SqliteStore) -> None:
    row = await new_agent(store)
    for _ in range(2):  # idempotent
        await store.aclose()
    async with asyncio.timeout(5):
        for call in (store.head(), store.commit([unit(row, "x")], SEAL), create(store, "a2"), store.started_agents()):
            with pytest.raises(errors.StoreUnavailable):
                await call


async def test_what_was_in_line_is_written_before_it_closes(store: SqliteStore, tmp_path: Path) -> None:
    row = await new_agent(store)
    commits = [asyncio.ensure_future(store.commit([unit(row, str(n))], SEAL)) for n in range(50)]
    await asyncio.sleep(0)
    await store.aclose()
    assert len(await asyncio.gather(*commits)) == 50
    again = SqliteStore(tmp_path)
    await again.open()
    assert numbers(await again.read_agent_segments(row.key, 0, 100)) == list(range(1, 51))
    await again.aclose()


# -- schema and damage -------------------------------------------------------


async def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    newest = migrations()[-1][0]
    with sqlite3.connect(tmp_path / "aster.db") as connection:
        connection.execute(f"PRAGMA user_version = {newest + 1}")
    connection.close()
    with pytest.raises(errors.RefusedToStart, match=f"aster.db.*schema {newest + 1}.*{newest}"):
        await SqliteStore(tmp_path).open()
    connection = sqlite3.connect(tmp_path / "aster.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("damage", [b"this is no database" * 400, b"SQLite format 3\x00" + b"\xff" * 8000])
async def test_a_damaged_file_is_refused_by_name_and_can_be_replaced(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "aster.db"
    path.write_bytes(damage)
    with pytest.raises(errors.RefusedToStart, match=r"aster\.db.*cannot be read"):
        await SqliteStore(tmp_path).open()
    assert path.read_bytes() == damage, "what may still be saved must not be touched"
    path.unlink()
    store = SqliteStore(tmp_path)  # the lock was given back
    await store.open()
    await store.aclose()


@pytest.mark.parametrize("page", [1, 2, 5, 9, 12, 15, 18, 21, 24, 27])
async def test_a_damaged_page_is_refused_or_reported_and_never_read(
    store: SqliteStore, tmp_path: Path, page: int
) -> None:
    row = await new_agent(store)
    for n in range(100):
        await put(store, row, AddMessage("ses", message_of(f"{n}" * 100)))
        await say(store, row, f"{n}" * 100)
    sound = await _all(store, row.key)
    await store.aclose()
    _damage(tmp_path / "aster.db", page)
    again = SqliteStore(tmp_path)
    try:
        await again.open()
    except errors.RefusedToStart as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "aster.db" in refused
        return
    with contextlib.suppress(errors.StoreCorrupt):
        assert await _all(again, row.key) == sound
    with contextlib.suppress(errors.StoreCorrupt, errors.LeaseLost):
        async with asyncio.timeout(5):
            await put(again, row, AddMessage("ses", message_of("more")))
    await again.aclose()


async def _all(store: SqliteStore, key: int) -> object:
    return await store.messages("default", "ses", 0, 0), await store.read_agent_segments(key, 0, 1000)


def _damage(path: Path, page: int) -> None:
    """Overwrites one page, beginning with 0, with nonsense."""
    assert path.stat().st_size > (page + 1) * 4096
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\x5a" * 4096)


async def test_every_migration_is_applied_once(store: SqliteStore, tmp_path: Path) -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == sorted(set(numbers))
    connection = sqlite3.connect(tmp_path / "aster.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (numbers[-1],)
    connection.close()


# -- room and speed ------------------------------------------------------------


async def _limit_pages(store: SqliteStore, more: int) -> None:
    """Lets the database grow by some pages and no further: a full disk, without root."""

    def limit(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + more}")

    await store._writer.run(limit)


async def test_a_full_disk_refuses_writes_alone_and_they_resume(store: SqliteStore) -> None:
    row = await new_agent(store)
    await say(store, row, "before")
    await _limit_pages(store, 2)
    with pytest.raises(errors.StorageFull):
        await say(store, row, "x" * 100_000)
    assert said(await store.read_agent_segments(row.key, 0, 10)) == ["before"]
    with pytest.raises(errors.StorageFull):  # a group is refused whole
        await store.commit([unit(row, "small"), unit(row, "x" * 100_000)], SEAL)
    await _limit_pages(store, 1000)
    segment = await say(store, row, "after", "x" * 100_000)
    assert (segment.first_sequence, segment.position) == (2, 2)
    assert said(await store.read_agent_segments(row.key, 0, 10))[:2] == ["before", "after"]


async def test_a_hundred_units_are_one_transaction(store: SqliteStore) -> None:
    rows = [await new_agent(store, f"a{n}") for n in range(10)]
    before = store._writer.commits
    outcomes = await store.commit([unit(rows[n % 10], str(n)) for n in range(100)], SEAL)
    assert store._writer.commits - before == 1
    assert [segment.position for segment in outcomes if isinstance(segment, Segment)] == list(range(1, 101))


async def test_a_busy_database_is_unavailable(store: SqliteStore, tmp_path: Path) -> None:
    row = await new_agent(store)
    await store._writer.run(lambda connection: connection.execute("SELECT 1"))
    other = sqlite3.connect(tmp_path / "aster.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    translated = sqlite_writer.translate(_busy(tmp_path))
    assert isinstance(translated, errors.StoreUnavailable)
    assert translated.retry_after == 1.0
    other.execute("ROLLBACK")
    other.close()
    await say(store, row, "x")


def _busy(folder: Path) -> sqlite3.Error:
    impatient = sqlite3.connect(folder / "aster.db", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as raised:
        impatient.execute("BEGIN IMMEDIATE")
    impatient.close()
    return raised.value


async def test_the_checkpoint_keeps_the_write_ahead_log_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_INTERVAL", 0.01)
    store = SqliteStore(tmp_path, durability="normal")
    await store.open()
    row = await new_agent(store)
    for megabytes in range(1, 11):
        await say(store, row, "x" * 1_000_000)
        async with asyncio.timeout(10):
            while (tmp_path / "aster.db").stat().st_size < megabytes * 1_000_000:
                await asyncio.sleep(0.01)
    assert (tmp_path / "aster.db-wal").stat().st_size < 5_000_000
    await store.aclose()
    left = tmp_path / "aster.db-wal"
    assert not left.exists() or left.stat().st_size == 0
