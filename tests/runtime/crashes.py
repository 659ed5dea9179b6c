"""A crash at every commit: what the disk holds then is copied, and taken up by another world.

Whatever happens between two commits leaves nothing on disk, so the copies after every
commit are all that a kill can leave (a commit is whole or not there)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from events.helpers import as_event
from runtime.helpers import World, kinds

from asteros.stores.base import Outcome, Sealer, Unit


@dataclass(frozen=True)
class Snapshot:
    """What a crash would have left, and what tools had done by then."""

    folder: Path
    did: tuple[str, ...]
    last: str  # kinds of the events of the last commit


async def snapshots(world: World, play: Callable[[], Awaitable[Any]], folder: Path) -> list[Snapshot]:
    """Plays, and copies the disk after every commit that changes something."""
    found: list[Snapshot] = []
    commit = world.store.commit

    async def copied(units: Sequence[Unit], seal: Sealer) -> list[Outcome]:
        outcomes = await commit(units, seal)
        events = [as_event(event) for unit in units for event in unit.events]
        found.append(Snapshot(world.copy(folder / str(len(found))), tuple(world.box.did), kinds(events)))
        return outcomes

    world.store.commit = copied  # type: ignore[method-assign]
    await play()
    return found
