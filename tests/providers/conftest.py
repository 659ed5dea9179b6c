"""Fixtures of the provider tests: a wire server, and each kind of provider in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from providers.kinds import ALL, HTTP, HttpKind, Kind
from wire import WireServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def wire() -> AsyncIterator[WireServer]:
    async with WireServer() as server:
        yield server


@pytest.fixture(params=ALL)
async def kind(request: pytest.FixtureRequest, wire: WireServer, tmp_path: Path) -> AsyncIterator[Kind]:
    """Every kind of provider."""
    made: Kind = ALL[request.param](wire, tmp_path)
    yield made
    await made.provider.aclose()


@pytest.fixture(params=HTTP)
async def http(request: pytest.FixtureRequest, wire: WireServer, tmp_path: Path) -> AsyncIterator[HttpKind]:
    """Every kind of provider that is reached over HTTP."""
    made = HTTP[request.param](wire, tmp_path)
    yield made
    await made.provider.aclose()
