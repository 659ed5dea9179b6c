"""Work that outlives the call that caused it, kept so that none is lost and none leaks."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from asteros import errors

_log = logging.getLogger(__name__)


class Background:
    """Runs coroutines; ``aclose`` waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except errors.AsterError as error:
            _log.info("background work ended with %s", error.reason)
        except Exception:
            _log.exception("background work failed")

    async def aclose(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
