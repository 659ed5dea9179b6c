"""Fixtures of the whole suite."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    # One loop for the session: grpc.aio reports into the loop that made a call, also after its test.
    return "asyncio"
