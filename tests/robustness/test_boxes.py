"""F29 and R6, the long part: bombs, floods, races, and cancels by the hundred, in every tier."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sandbox.boxes import TIERS, Ground, Make, grounds, outside, processes

from asteros import clock
from asteros.sandbox import trees
from asteros.sandbox.base import Command, Limits
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.files import PathRefused

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]
CANCELS = 150
P99 = 0.5  # seconds until the tree of a cancelled command is gone (R6)
SWAPS = 20_000
PYTHON = "/usr/bin/python3"
needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is not there")


@pytest.fixture(params=TIERS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with grounds(request.param) as make:
        yield make


@pytest.fixture
async def ground(make: Make) -> Ground:
    return await make()


async def test_cancels(ground: Ground) -> None:
    """A tree with daemons that left their session and ignore what they can."""
    took: list[float] = []
    for number in range(CANCELS):
        marker = f"100{number}.{os.getpid()}"
        daemon = f"setsid setsid bash -c 'trap \"\" TERM HUP; sleep {marker} & wait' </dev/null >/dev/null 2>&1 &"
        task = asyncio.create_task(ground.run(f"{daemon} {daemon} sleep {marker}"))
        async with asyncio.timeout(10):
            while sum(line.startswith("sleep") for line in processes(f"sleep {marker}")) < 3:
                await asyncio.sleep(0.005)
        began = clock.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            while processes(marker):
                await asyncio.sleep(0.001)
        took.append(clock.monotonic() - began)
    took.sort()
    p99 = took[int(len(took) * 0.99) - 1]
    print(f"{ground.tier}: {CANCELS} cancels, p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
    assert p99 <= P99


async def test_fork_bomb(make: Make) -> None:
    ground = await make(limits=Limits(processes=100))
    finished = await ground.run(":(){ :|:& };:; sleep 5", timeout=4)
    assert finished.seconds < 15
    await asyncio.sleep(0)
    uid = ground.folder.stat().st_uid
    if uid != os.geteuid():
        async with asyncio.timeout(5):
            while [1 for place in Path("/proc").glob("[0-9]*") if _owner(place) == uid]:
                await asyncio.sleep(0.01)
    assert (await ground.out("echo fine")) == "fine\n"


def _owner(place: Path) -> int:
    with contextlib.suppress(OSError):
        return place.stat().st_uid
    return -1


@needs_python
async def test_memory_bomb(make: Make) -> None:
    ground = await make(limits=Limits(address_space=1 << 30, memory=256 << 20))
    eat = f"{PYTHON} -c 'x = []\nwhile True: x.append(bytearray(10_000_000))'"
    one = await ground.run(eat, timeout=60)
    assert one.exit_code != 0
    if "memory" not in Cgroups().controllers:
        return  # the limit of one process is all there is
    many = await ground.run(f"for i in 1 2 3 4 5 6; do {eat} & done; wait", timeout=60)
    assert many.exit_code in (0, 137)
    assert (await ground.out("echo fine")) == "fine\n"


async def test_disk_bomb(make: Make) -> None:
    ground = await make(quota=100 << 20)
    free = shutil.disk_usage(ground.folder).free
    finished = await ground.run("i=0; while :; do i=$((i+1)); head -c 60000000 /dev/zero > f$i; done", timeout=60)
    assert finished.over_quota
    assert free - shutil.disk_usage(ground.folder).free < 20 * (100 << 20)
    assert (await ground.run("rm -f f*", timeout=60)).exit_code == 0
    deep = await ground.run("while :; do mkdir d && cd d; done", timeout=60)
    assert deep.over_quota
    assert (await ground.run("true; sleep 60", timeout=60)).over_quota  # what nobody can count stays closed
    trees.remove(ground.folder)


async def test_a_gibibyte_of_output(ground: Ground) -> None:
    before = _resident()
    finished = await ground.run("head -c 1073741824 /dev/zero | tr '\\0' x", timeout=120)
    assert (finished.exit_code, finished.stdout.size) == (0, 1 << 30)
    assert _resident() - before < 64 << 20
    shell = await ground.commands.start(Command("head -c 1073741824 /dev/zero | tr '\\0' x"))
    assert await shell.ended(120)
    assert shell.ring.end == 1 << 30
    assert _resident() - before < 64 << 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_python
async def test_links_swapped_under_the_file_tools(ground: Ground) -> None:
    """A command swaps a folder for a link to the outside, thousands of times a second, while the
    server's own file tools read, write and list through it."""
    with outside() as folder:
        swap = (
            "import os\nos.mkdir('real')\nopen('real/secret', 'w').write('inside')\n"
            "os.symlink(os.environ['OUT'], 'way')\n"
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            f"for n in range({SWAPS}): libc.renameat2(-100, b'real', -100, b'way', 2)\nprint('swapped')\n"
        )
        await ground.files.write("swap.py", swap.encode())
        shell = await ground.commands.start(Command(f"{PYTHON} swap.py; sleep 1", environment={"OUT": str(folder)}))
        rounds = 0
        while shell.running:
            rounds += 1
            for name in ("real", "way"):
                with contextlib.suppress(PathRefused, OSError):
                    assert await ground.files.read(f"{name}/secret", 100) == b"inside"
                with contextlib.suppress(PathRefused, OSError):
                    await ground.files.write(f"{name}/new", b"x", append=bool(rounds % 2))
                with contextlib.suppress(PathRefused, OSError):
                    await ground.files.list(name)
        assert shell.exit_code == 0, shell.ring.read(0)
        assert rounds > 20
        assert sorted(path.name for path in folder.iterdir()) == ["secret"]
        assert (folder / "secret").read_text() == "outside-content\n"
