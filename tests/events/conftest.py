"""A log in memory for each test, and a clock that stands still where a test asks for it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from events.fakes import FakeClock
from events.helpers import House


@pytest.fixture
async def house(anyio_backend: str) -> AsyncIterator[House]:
    async with House() as running:
        yield running


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock
