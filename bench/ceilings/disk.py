"""What the disk and plain SQLite allow: a ``write`` with ``fdatasync``, and one insert per commit."""

import asyncio
import os
import time
from pathlib import Path

import aiosqlite


def synced_groups(folder: Path, size: int, group: int, seconds: float) -> float:
    """Events per second when each group of ``group`` events of ``size`` bytes is one write and one fdatasync."""
    path = folder / f"disk-{group}"
    data = os.urandom(size * group)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, data)
        os.fdatasync(handle)
        groups, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            os.write(handle, data)
            os.fdatasync(handle)
            groups += 1
        return groups * group / (time.perf_counter() - began)
    finally:
        os.close(handle)
        path.unlink()


async def one_commit_each(folder: Path, size: int, waiting: int, seconds: float) -> float:
    """Inserts per second on aiosqlite, FULL, a commit for each, with ``waiting`` tasks that take turns."""
    path = folder / "single.db"
    db = await aiosqlite.connect(path, isolation_level=None)
    try:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, agent INTEGER, body BLOB)")
        body, done = os.urandom(size), 0
        end = time.perf_counter() + seconds

        async def writer(agent: int) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await db.execute("INSERT INTO events (agent, body) VALUES (?, ?)", (agent, body))  # commits by itself
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(writer(agent) for agent in range(waiting)))
        return done / (time.perf_counter() - began)
    finally:
        await db.close()
        for left in folder.glob("single.db*"):
            left.unlink()
