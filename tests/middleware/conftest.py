"""A world whose middlewares are those of every server and a probe inside all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("runtime.helpers")

from middleware.helpers import Counts, Plays, Probe, Rings  # noqa: E402 - after its registration
from runtime.helpers import World  # noqa: E402

from asteros.middleware.registry import BUILTIN, MiddlewareRegistry  # noqa: E402


@pytest.fixture
def rings() -> Rings:
    """A log that the test's own rings write, and the kinds to register."""
    return Rings()


@pytest.fixture
async def world(tmp_path: Path, rings: Rings, anyio_backend: str) -> AsyncIterator[World]:
    Probe.seen, Plays.asked = [], []
    made = World(tmp_path)
    made.middlewares = MiddlewareRegistry((*BUILTIN, Probe, Plays, Counts, *rings.kinds))
    async with made as running:
        yield running
