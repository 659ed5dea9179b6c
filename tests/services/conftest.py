"""One server for each module, and a guard: no call of the suite may end with UNKNOWN."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from services.helpers import Server, serving

_unknown: list[str] = []


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Of a module, so that its server and its tests share a loop."""
    return "asyncio"


@pytest.fixture(scope="module")
async def server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _record_unknown() -> Iterator[None]:
    """Every failure that a client sees becomes an AioRpcError: the one place to look at."""
    original = grpc.aio.AioRpcError.__init__

    def init(self: Any, code: grpc.StatusCode, *args: Any, **kwargs: Any) -> None:
        original(self, code, *args, **kwargs)
        if code is grpc.StatusCode.UNKNOWN:
            _unknown.append(str(self))

    grpc.aio.AioRpcError.__init__ = init  # type: ignore[method-assign]
    yield
    grpc.aio.AioRpcError.__init__ = original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def unknown(_record_unknown: None) -> Iterator[list[str]]:
    """UNKNOWN is never sent (guarantees, part 4). The list is empty again after the test."""
    yield _unknown
    found = list(_unknown)
    _unknown.clear()
    assert found == []
