"""One probe server for all tests of a module."""

from collections.abc import AsyncIterator

import pytest
from bridge.probe import Stand, standing


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def stand(anyio_backend: str) -> AsyncIterator[Stand]:
    async with standing() as running:
        yield running
