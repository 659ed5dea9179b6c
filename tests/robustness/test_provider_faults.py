"""F11, F12: a thousand faults of model services over all dialects leave no task, socket or file."""

import os
import random

import pytest
from providers.faults import check_nothing_is_left

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

FAULTS = 1000


async def test_a_thousand_faults_leave_nothing() -> None:
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    assert await check_nothing_is_left(FAULTS, seed) > FAULTS // 3
