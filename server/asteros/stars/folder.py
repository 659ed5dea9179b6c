"""Stars of a folder of YAML files: each file one ``aster.v1.CreateStarRequest`` in its ProtoJSON names.

A Star of a file is created when its file is found, in the tenant of this server, and belongs to
whoever may change Stars from then on: one that is stored is left as it is, and so is a Star whose
file is gone. A file whose members are not there yet is looked at again until they are."""

import asyncio
import logging
from pathlib import Path

from google.protobuf import json_format

from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors
from asteros.runtime.yaml_folder import YamlFolder, document
from asteros.stars.stars import Stars
from asteros.stores.base import DEFAULT_TENANT

_log = logging.getLogger(__name__)
LOOK = 2.0  # seconds between looks


class StarFiles:
    """Looks at a folder again and again. ``start`` it, and end it with ``aclose``."""

    def __init__(self, folder: Path, stars: Stars) -> None:
        self._folder = YamlFolder(folder, "Star")
        self._stars = stars
        self._left: set[str] = set()  # files that could not be taken up yet
        self._told: dict[str, str] = {}  # what the log was told about them
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look; waits for nothing."""
        self._task = asyncio.create_task(self._run(), name="star files")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except errors.AsterError as error:  # the store: another time
                _log.warning("the folder of Stars was not taken up: %s", error.reason)
            await clock.sleep(LOOK)

    async def look(self) -> None:
        """Takes up what is new, has changed, or was left."""
        gone, changed = await asyncio.to_thread(self._folder.changes)
        self._left.difference_update(gone)
        self._left.update(changed)
        for name in sorted(self._left):
            await self._take(name)

    async def _take(self, name: str) -> None:
        try:
            data = await asyncio.to_thread(self._folder.read, name)
            request = json_format.ParseDict(document(data, "CreateStarRequest"), pb.CreateStarRequest())
            request.star_id = request.star_id or Path(name).stem
            if await self._stars.store.get(DEFAULT_TENANT, request.star_id) is None:
                await self._stars.create(DEFAULT_TENANT, request, None)
        except (
            OSError,
            ValueError,
            json_format.ParseError,
            errors.InvalidArgument,
            errors.FailedPrecondition,
        ) as error:
            self._tell(name, error)
            self._left.discard(name)  # until it changes
        except (errors.NotFound, errors.AlreadyExists) as error:
            self._tell(name, error)
        else:
            self._left.discard(name)

    def _tell(self, name: str, error: Exception) -> None:
        if self._told.get(name) != str(error):
            self._told[name] = str(error)
            self._folder.broken(name, error, kept=False)
