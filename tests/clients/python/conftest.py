"""A fake server and a client of it for every test, on a free port."""

from collections.abc import AsyncIterator

import pytest
from clients.python.fake_server import FakeAster

from aster import AsterClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def fake(anyio_backend: str) -> AsyncIterator[FakeAster]:
    server = FakeAster()
    await server.start()
    server.add_agent("a")
    yield server
    await server.stop()


@pytest.fixture
async def client(fake: FakeAster) -> AsyncIterator[AsterClient]:
    async with AsterClient(fake.address, "key", timeout=10) as opened:
        yield opened
