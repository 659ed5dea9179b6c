"""A fake server and a client of it for every test, on a free port."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from clients.python.fake_server import FakeAster
from clients.python.process import end_all

from aster import AsterClient

LIMIT = 50.0  # seconds of one test, below pytest-timeout's


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test here an end: pytest-timeout's signal, raised inside gRPC, deadlocks instead."""
    for item in items:
        if Path(__file__).parent in item.path.parents and inspect.iscoroutinefunction(item.obj):
            item.obj = limited(item.obj)


def limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(LIMIT):
            await test(*args, **kwargs)

    return run


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> None:
    """Keeps one event loop for all tests: gRPC may tell a loop of a call's end after that loop was closed."""


@pytest.fixture
async def fake(anyio_backend: str) -> AsyncIterator[FakeAster]:
    server = FakeAster()
    await server.start()
    server.add_agent("a")
    yield server
    await end_all()
    await server.stop()


@pytest.fixture
async def client(fake: FakeAster) -> AsyncIterator[AsterClient]:
    async with AsterClient(fake.address, "key", timeout=10) as opened:
        yield opened
