"""A server of its own for each test: everything in its log belongs to the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services.helpers import Server, serving


@pytest.fixture
async def server(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        yield running
