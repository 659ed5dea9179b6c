"""A store with insights for each test, and a clock that stands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from insight.helpers import House, Now

from asteros import clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    standing = Now()
    monkeypatch.setattr(clock, "now", standing)
    return standing


@pytest.fixture
async def house(anyio_backend: str, tmp_path: Path, now: Now) -> AsyncIterator[House]:
    opened = await House(tmp_path, now).open()
    yield opened
    await opened.aclose()
