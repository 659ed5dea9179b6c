"""A lock for each agent, there only while somebody wants it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable


class KeyLocks:
    """``async with locks(key)``: one at a time for each key."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}  # with one entry for each user

    @contextlib.asynccontextmanager
    async def __call__(self, key: Hashable) -> AsyncIterator[None]:
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            # Not by lock.locked(): whoever waits has not taken it yet, and must find this one.
            if not users:
                del self._locks[key]
