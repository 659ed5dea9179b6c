"""Deletes old events and forgotten request ids, below an announced floor (guarantee E7)."""

import asyncio
import logging

from asteros import clock
from asteros.stores.base import Store

_log = logging.getLogger(__name__)
INTERVAL = 60.0  # seconds between rounds
AT_ONCE = 100  # agents of one round; a transaction each, so that appends go on between
REQUEST_SECONDS = 24 * 3600  # how long a request_id is remembered


class Retention:
    """Runs beside the log. ``days`` 0: for ever; ``events`` 0: any number."""

    def __init__(self, store: Store, days: float, events: int) -> None:
        self._store = store
        self._seconds = days * 86400
        self._events = events
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="aster-retention")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await clock.sleep(INTERVAL)
            try:
                await self.round()
            except Exception:
                _log.exception("retention failed; the next round tries again")

    async def round(self) -> int:
        """Trims every agent that has something to trim; how many were."""
        now = clock.now()
        before = now - int(self._seconds * clock.NANOS) if self._seconds else 0
        await self._store.forget_requests(now - REQUEST_SECONDS * clock.NANOS)
        trimmed = last = 0
        while self._seconds or self._events:
            keys = await self._store.agents_to_trim(before, self._events, AT_ONCE, last)
            for key in keys:
                await self._store.trim(key, before, self._events)
            trimmed += len(keys)
            if len(keys) < AT_ONCE:
                break
            last = keys[-1]  # what could not be trimmed is named again: it must not keep the round going
        return trimmed
