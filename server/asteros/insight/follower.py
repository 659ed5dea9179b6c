"""Keeps the sums up with the log.

One follower reads what was stored since the sums' own position, and writes what it adds
together with the new position: after any crash it goes on where the sums are. It works in
small transactions between those of the log, and never in the way of an append.

Fresh: figures hold every event that was stored before they were asked for, unless the
follower needs longer than PATIENCE for what is new (after an upgrade that begins with a
long log); then they hold what it has read so far."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from asteros import clock, errors
from asteros.insight import fold
from asteros.stores.insights import HOUR, InsightStore

_log = logging.getLogger(__name__)
INTERVAL = 1.0  # seconds between looks at the log while nobody asks
PATIENCE = 1.0  # seconds that a question waits for the sums
AT_ONCE = 512  # segments of one transaction
MINUTES_KEPT = 35 * 86400  # seconds; older sums are by the hour


class Follower:
    """``start``, ``fresh`` before figures are read, ``aclose``."""

    def __init__(self, store: InsightStore, head: Callable[[], int]) -> None:
        """``head``: position of the newest event that is stored and shown."""
        self._store = store
        self._head = head
        self._stored = 0  # position of the sums in the store
        self._position = 0  # the same, moved past positions that hold nothing
        self._forgotten = 0  # hour in which old minutes were deleted
        self._asked = asyncio.Event()
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stored = self._position = await self._store.position()
        self._task = asyncio.create_task(self._run(), name="aster-insight")

    async def aclose(self) -> None:
        """Stops; what is not yet in the sums is read after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def fresh(self) -> None:
        """Waits until the sums hold all that is stored now, at most PATIENCE."""
        head = self._head()
        if self._position >= head:
            return
        waiting = (head, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        self._asked.set()
        try:
            async with asyncio.timeout(PATIENCE):
                await waiting[1]
        except TimeoutError:
            pass  # what has been read so far is the answer
        finally:
            self._waiting.discard(waiting)

    async def _run(self) -> None:
        trouble = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._asked.wait()
            self._asked.clear()
            try:
                await self._catch_up()
                await self._forget()
                trouble = ""
            except errors.AsterError as error:  # a full disk, say: once in the logs, and tried again
                if error.reason != trouble:
                    _log.warning("the insights stand still: %s", error.reason)
                trouble = error.reason
                await clock.sleep(INTERVAL)
            except Exception:
                _log.exception("the insights could not follow the log; the next round tries again")
                await clock.sleep(INTERVAL)

    async def _catch_up(self) -> None:
        while self._position < (head := self._head()):
            began = clock.monotonic()
            more = await self._step(head)
            self._tell()
            if more:  # far behind: agents need the processor too
                await clock.sleep(clock.monotonic() - began)

    async def _step(self, head: int) -> bool:
        """Reads and adds one piece; False when it was the last."""
        logged = await self._store.log_after(self._stored, AT_ONCE, fold.COUNTED)
        if not logged:  # what was there has been deleted
            self._position = head
            return False
        known = await self._store.traces_of(fold.trace_keys(logged))
        made = await asyncio.to_thread(fold.fold, logged, known)
        last = logged[-1].segment.last_position
        if not await self._store.add(made, self._stored, last):
            # An add whose answer was lost has happened after all: go on where the sums are.
            self._stored = self._position = await self._store.position()
            return True
        more = len(logged) == AT_ONCE
        self._stored, self._position = last, last if more else max(last, head)
        return more

    def _tell(self) -> None:
        for head, told in self._waiting:
            if head <= self._position and not told.done():
                told.set_result(None)

    async def _forget(self) -> None:
        """Once an hour."""
        now = clock.now() // clock.NANOS
        if now // HOUR != self._forgotten:
            await self._store.forget_minutes(now - MINUTES_KEPT)
            self._forgotten = now // HOUR
