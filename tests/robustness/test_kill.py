"""F1: the server is killed again and again while agents work and many listen (E1 to E4,
E8, E9, A1, A4, R4, R5, R9)."""

import asyncio
import json
import os
import random
from pathlib import Path

import pytest
from robustness import agents, collect
from robustness.harness import ServerProcess, Stubs
from robustness.recorder import Listener, Pool, Record
from robustness.scenario import Figures, run
from robustness.traffic import Traffic

pytestmark = pytest.mark.anyio

KILLS_PER_CASE = 10  # a case has a data directory of its own
REGRESSIONS = sorted(Path(__file__).with_name("regressions").glob("kills-*.json"))
NIGHT = 10  # times as many


def first_seed() -> int:
    """SEED, or another one every time."""
    return int(os.environ.get("SEED") or random.randrange(1, 10**6))


def total_kills() -> int:
    count = int(os.environ.get("KILLS") or 300)
    return count * NIGHT if os.environ.get("LANE") == "night" else count


async def red_or_figures(folder: Path, seed: int) -> Figures:
    """Runs one case; fails with the line that repeats it."""
    wrong, figures = await run(folder, seed, KILLS_PER_CASE)
    if wrong:
        story = "\n".join(wrong)
        pytest.fail(f"make robustness SEED={seed} CASE=kills-000\n{figures}\n{story}", pytrace=False)
    return figures


@pytest.mark.timeout(120)
async def test_ten_kills(tmp_path: Path, total: list[Figures]) -> None:
    """The quick lane: another seed every time."""
    figures = await red_or_figures(tmp_path, first_seed())
    total.append(figures)
    assert figures.turns > 0
    assert figures.resumes >= KILLS_PER_CASE  # the kills did hit open streams


async def test_a_decision_that_wakes_its_agent_survives_the_next_kill(tmp_path: Path) -> None:
    """After a restart an agent that waits sleeps until somebody decides, and the decision may be all
    that is stored before the next kill."""
    server = ServerProcess(tmp_path)
    agents.write_scripts(server.scripts_dir)
    async with server, Stubs(server.address) as stubs:
        listener = Listener(stubs, Pool(), Record("all"))
        traffic = Traffic(stubs, seed=0)
        traffic.watch(listener)
        following = asyncio.create_task(listener.run())
        await traffic.hold("hold-0")
        await server.kill()
        await server.start()
        await traffic.approve("hold-0", traffic.held[0].pending_id)
        await server.kill()
        await server.start()
        async with asyncio.timeout(30):
            await traffic.ended(traffic.held[0].turn_id)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert await collect.pending_of(stubs, "hold-0") == []
        # The second kill may have come while the tool ran: then nobody knows, and it does not run again.
        assert len(agents.marks(server.data_dir, "hold-0")) <= 1


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", range(total_kills() // KILLS_PER_CASE), ids=lambda number: f"kills-{number:03}")
async def test_kills(tmp_path: Path, total: list[Figures], number: int) -> None:
    """Case N has the seed SEED + N, so that a red one is repeated alone as case 0 of its own seed."""
    total.append(await red_or_figures(tmp_path, fixed_seed() + number))


def fixed_seed() -> int:
    """One first seed for all cases of a run."""
    if "SEED" not in os.environ or not os.environ["SEED"]:
        os.environ["SEED"] = str(first_seed())
    return int(os.environ["SEED"])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
async def test_regression(tmp_path: Path, path: Path) -> None:
    """Every seed that was red once (see regressions/README.md)."""
    await red_or_figures(tmp_path, json.loads(path.read_text(encoding="utf-8"))["seed"])
