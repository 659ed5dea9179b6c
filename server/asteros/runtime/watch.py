"""monitor.file_changed: what changes in an agent's workspace while a turn runs.

The folder is looked through again and again with the confined walk, whatever wrote to
it. No kernel watch: those follow links out of the workspace, and an agent makes links."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping

from google.protobuf.message import Message

from aster.v1 import event_pb2
from asteros import clock
from asteros.sandbox.files import PathRefused, Workspace

INTERVAL = 1.0  # seconds between two looks, at the least
SHARE = 10  # of the time is not spent looking: a large folder is looked through less often
MOST = 1000  # events of one look: an unpacked archive must not flood the log

_State = Mapping[str, tuple[float, int]]  # by path: when it was modified, and its size


class FileWatch:
    """Watches one workspace; ``emit`` gets each change."""

    def __init__(self, workspace: Workspace, emit: Callable[[Message], object]) -> None:
        self._workspace = workspace
        self._emit = emit
        self._known: _State = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """From now on changes are told."""
        self._known = await self._state()
        self._task = asyncio.create_task(self._run(), name="file watch")

    async def finish(self) -> None:
        """Tells what has changed since the last look, and stops. Twice is fine."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._look()

    def drop(self) -> None:
        """Stops without a last look."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        pause = INTERVAL
        while True:
            await clock.sleep(pause)
            began = clock.monotonic()
            await self._look()
            pause = max(INTERVAL, SHARE * (clock.monotonic() - began))

    async def _look(self) -> None:
        state = await self._state()
        for count, change in enumerate(changes(self._known, state)):
            if count < MOST:
                self._emit(change)
        self._known = state

    async def _state(self) -> _State:
        """The files there are; as before when the folder cannot be read just now."""
        with contextlib.suppress(OSError, PathRefused):
            walk = await self._workspace.walk(".", hidden=True)
            return {found.path: (found.modified, found.size) for found in walk.files}
        return self._known


def changes(before: _State, after: _State) -> Iterator[event_pb2.FileChanged]:
    """What differs, by path."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield event_pb2.FileChanged(path=path, change="created")
        elif path not in after:
            yield event_pb2.FileChanged(path=path, change="deleted")
        elif before[path] != after[path]:
            yield event_pb2.FileChanged(path=path, change="modified")
