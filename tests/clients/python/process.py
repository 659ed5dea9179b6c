"""The command ``aster`` as a process that talks to the fake server."""

import asyncio
import os
import sys

from clients.python.fake_server import FakeAster

COMMAND = (sys.executable, "-c", "from aster.cli import main; main()")


_begun: list[asyncio.subprocess.Process] = []


async def begin(fake: FakeAster, *args: str, **streams: int) -> asyncio.subprocess.Process:
    env = {**os.environ, "ASTER_ADDRESS": fake.address, "ASTER_API_KEY": "key", "COLUMNS": "200"}
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*COMMAND, *args, env=env, **{**pipes, **streams})
    _begun.append(process)
    return process


async def end_all() -> None:
    """Ends what a failed test left running."""
    while _begun:
        process = _begun.pop()
        if process.returncode is None:
            process.kill()
            await process.wait()
