"""One server for the snippets of all seeds, a client of it, and a model service on this machine."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from seeds.support import Server, served
from wire import WireServer

from aster import AsterClient

LIMIT = 20.0  # seconds of one test; a tenth of it is plenty


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that waits in vain ends by itself: the runner's timeout would take the shared loop with it."""
    for item in items:
        if Path(__file__).parent in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.obj = limited(item.obj)


def limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: object, **fixtures: object) -> None:
        async with asyncio.timeout(LIMIT):
            await test(*args, **fixtures)

    return run


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Of the session, so that the client and all tests share one loop: what a stream that was
    cancelled in one loop still has to say must not reach the next."""
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("seeds")) as running:
        yield running


@pytest.fixture(scope="session")
async def client(server: Server, anyio_backend: str) -> AsyncIterator[AsterClient]:
    async with AsterClient(server.address, "", timeout=10) as opened:
        yield opened


@pytest.fixture
async def wire(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WireServer]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-seed")
    async with WireServer() as service:
        yield service
