"""A world with agents for each test, without a network in front of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from events.fakes import FakeClock

pytest.register_assert_rewrite("runtime.helpers")

from runtime.helpers import World  # noqa: E402 - after its registration


@pytest.fixture
async def world(tmp_path: Path, anyio_backend: str) -> AsyncIterator[World]:
    async with World(tmp_path) as running:
        yield running


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock
