"""The embedded store keeps every promise, with both kinds of durability."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stores.conformance import Conformance
from stores.helpers import Reopen

from asteros.stores.base import Store
from asteros.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


class SqliteConformance(Conformance):
    durability: str

    @pytest.fixture
    async def opened(self, tmp_path: Path, anyio_backend: str) -> AsyncIterator[list[SqliteStore]]:
        """The stores of a test, the newest last; all but that one are closed."""
        stores = [SqliteStore(tmp_path, durability=self.durability)]
        await stores[0].open()
        yield stores
        await stores[-1].aclose()

    @pytest.fixture
    async def store(self, opened: list[SqliteStore]) -> Store:
        return opened[0]

    @pytest.fixture
    async def reopen(self, opened: list[SqliteStore], tmp_path: Path) -> Reopen:
        async def again() -> Store:
            await opened[-1].aclose()
            opened.append(SqliteStore(tmp_path, durability=self.durability))
            await opened[-1].open()
            return opened[-1]

        return again


class TestFull(SqliteConformance):
    durability = "full"


class TestNormal(SqliteConformance):
    durability = "normal"
