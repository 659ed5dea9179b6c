"""F1: the server is killed again and again while agents work and many listen (E1 to E4,
E8, E9, A1, A4, R4, R5, R9)."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from robustness.scenario import Figures, run

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
async def test_ten_kills(tmp_path: Path) -> None:
    """The quick lane: another seed every time."""
    figures = await red_or_figures(tmp_path, first_seed())
    print(figures)
    assert figures.turns > 0
    assert figures.resumes >= KILLS_PER_CASE  # the kills did hit open streams


@pytest.fixture(scope="module")
def total() -> Iterator[list[Figures]]:
    """The figures of all cases; their sum is printed when they are done (``-s`` or a red run shows it)."""
    figures: list[Figures] = []
    yield figures
    print(f"\nkills in all: {sum(figures, Figures())}")


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
