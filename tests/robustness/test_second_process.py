"""F4: one data directory, one server."""

import asyncio
import signal
from pathlib import Path

import pytest
from robustness.harness import ServerProcess, Stubs

from aster.v1 import agent_service_pb2

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

REFUSED = 78  # sysexits.h EX_CONFIG
STARTS = 20


def on_the_same_data(folder: Path, data_dir: Path) -> ServerProcess:
    """A server with files of its own, but for the data."""
    server = ServerProcess(folder)
    server.data_dir = data_dir
    return server


async def test_a_second_server_refuses_and_says_why(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "first")
    second = on_the_same_data(tmp_path / "second", first.data_dir)
    async with first, Stubs(first.address) as stubs:
        try:
            await second.spawn()
            assert await second.wait() == REFUSED
        finally:
            await second.kill()
        assert "another server runs on this data directory" in second.log
        assert str(first.data_dir) in second.log
        assert "Traceback" not in second.log
        await stubs.agents.ListAgents(agent_service_pb2.ListAgentsRequest())  # the first was not disturbed


async def test_the_directory_is_free_again_after_a_kill(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "first")
    async with first:
        first.signal(signal.SIGKILL)
        await first.wait()
    async with on_the_same_data(tmp_path / "second", first.data_dir) as second:
        assert second.pid


async def test_of_many_that_start_at_once_one_serves(tmp_path: Path) -> None:
    """On a directory that does not exist yet: they also race to make the database."""
    data_dir = tmp_path / "data"
    servers = [on_the_same_data(tmp_path / str(number), data_dir) for number in range(STARTS)]
    try:
        await asyncio.gather(*(server.spawn() for server in servers))
        waiting = {asyncio.create_task(server.wait(90)): server for server in servers}
        done: set[asyncio.Task[int]] = set()
        while len(done) < STARTS - 1:
            newly, _ = await asyncio.wait(waiting.keys() - done, return_when=asyncio.FIRST_COMPLETED)
            done |= newly
        assert {task.result() for task in done} == {REFUSED}
        (winner,) = (server for task, server in waiting.items() if task not in done)
        await winner.ready()
        async with Stubs(winner.address) as stubs:
            await stubs.agents.ListAgents(agent_service_pb2.ListAgentsRequest())
        assert await winner.terminate() == 0
        await asyncio.gather(*waiting)
    finally:
        for server in servers:
            await server.kill()
