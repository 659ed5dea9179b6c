"""Failpoints: off they are nothing, and nobody sets one by accident."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from asteros import clock, failpoints
from asteros.errors import ConfigError, RefusedToStart

pytestmark = pytest.mark.anyio
POINT = "run.before_tool"


def install(text: str) -> None:
    failpoints.install({"ASTER_TESTING": "1", "ASTER_FAILPOINTS": text})


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    failpoints.install({})


async def test_off_they_are_nothing() -> None:
    failpoints.install({"ASTER_TESTING": "1"})
    assert failpoints.reach is failpoints._nothing
    await failpoints.reach(POINT)

    async def source() -> AsyncIterator[int]:
        yield 1

    stream = source()
    assert failpoints.between(POINT, stream) is stream


@pytest.mark.parametrize("environ", [{}, {"ASTER_TESTING": "0"}, {"ASTER_TESTING": "true"}])
def test_only_in_tests(environ: dict[str, str]) -> None:
    with pytest.raises(RefusedToStart):
        failpoints.install({**environ, "ASTER_FAILPOINTS": f"{POINT}=kill"})


@pytest.mark.parametrize(
    "text", ["nowhere=kill", f"{POINT}=explode", POINT, f"{POINT}=kill@x", f"{POINT}=sleep", f"{POINT}=kill,x", "="]
)
def test_a_plan_that_means_nothing(text: str) -> None:
    with pytest.raises(ConfigError):
        install(text)


async def test_raise_from_the_third_visit_on() -> None:
    install(f"run.before_model=raise#9; {POINT}=raise#3;")
    await failpoints.reach(POINT)
    await failpoints.reach(POINT)
    await failpoints.reach("run.before_model")
    for _ in range(2):
        with pytest.raises(failpoints.FailpointRaised):
            await failpoints.reach(POINT)


async def test_never_and_always() -> None:
    install(f"{POINT}=raise@0")
    for _ in range(50):
        await failpoints.reach(POINT)
    install(f"{POINT}=raise@1.0")
    with pytest.raises(failpoints.FailpointRaised):
        await failpoints.reach(POINT)


async def test_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(clock, "sleep", nap)
    install(f"{POINT}=sleep(0.5)")
    await failpoints.reach(POINT)
    assert naps == [0.5]


async def test_between_two_items() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        yield 2

    install("run.mid_stream=raise#2")
    items = failpoints.between("run.mid_stream", source())
    assert [await anext(items), await anext(items)] == [1, 2]
    with pytest.raises(failpoints.FailpointRaised):
        await anext(items)


def test_kill() -> None:
    program = (
        "import asyncio, os; from asteros import failpoints; failpoints.install(os.environ);"
        f"asyncio.run(failpoints.reach({POINT!r}))"
    )
    environ = {"ASTER_TESTING": "1", "ASTER_FAILPOINTS": f"{POINT}=kill", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environ, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_server_refuses_them() -> None:
    environ = {"ASTER_FAILPOINTS": f"{POINT}=kill", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "asteros", "serve"], env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 78
    assert "ASTER_TESTING" in done.stderr
