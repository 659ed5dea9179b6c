"""A hundred faults leave nothing behind; `make robustness` takes a thousand (F11, F12)."""

import pytest
from providers.faults import check_nothing_is_left

pytestmark = pytest.mark.anyio


async def test_faults_leave_no_task_socket_or_file() -> None:
    assert await check_nothing_is_left(100, seed=1) > 40
