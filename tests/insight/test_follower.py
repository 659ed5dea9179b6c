"""The sums hold every stored event once, whatever happens to the process (E-rules of the log)."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from insight.helpers import NOON, House, Now, called, ran, scribble, tokens
from insight.recount import Sums, recount

from asteros import errors
from asteros.insight import fold, follower
from asteros.insight.follower import Follower
from asteros.stores.base import AgentRow
from asteros.stores.insights import Fold

pytestmark = pytest.mark.anyio


async def sums_of(house: House) -> tuple[Sums, Sums]:
    """What the tables hold."""
    usage = await house.store._select("SELECT * FROM usage_sums", ())
    slots = await house.store._select("SELECT * FROM latency_sums", ())
    return {tuple(row[:5]): list(row[5:]) for row in usage}, {tuple(row[:7]): list(row[7:]) for row in slots}


async def check(house: House, rows: list[AgentRow]) -> None:
    await house.insights._follower.fresh()
    assert await house.sums.position() == await house.store.head()
    assert await sums_of(house) == await recount(house.store, rows)


@pytest.mark.parametrize("seed", range(6))
async def test_sums_equal_a_recount_of_all_events(house: House, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Random events, read in pieces of random size, with restarts at random places."""
    dice = random.Random(seed)
    rows = [await house.agent("a1"), await house.agent("a2"), await house.agent("b1", "other")]
    for _ in range(5):
        monkeypatch.setattr(follower, "AT_ONCE", dice.choice([1, 2, 7, 512]))
        await scribble(house, rows, dice, 40)
        if dice.random() < 0.5:
            await house.insights._follower.fresh()
        if dice.random() < 0.5:
            await house.restart()
    await check(house, rows)


async def test_pieces_do_not_matter(house: House) -> None:
    """Traces too are the same, however the log is cut."""
    rows = [await house.agent("a1"), await house.agent("a2")]
    await scribble(house, rows, random.Random(1), 100)
    logged = await house.sums.log_after(0, 1000, fold.COUNTED)
    whole = fold.fold(logged, {})
    parts = Fold()
    for one in logged:
        parts.traces.update(fold.fold([one], {key: parts.traces[key] for key in parts.traces}).traces)
    assert parts.traces == whole.traces
    assert len(whole.traces) > 10


async def test_an_add_whose_answer_was_lost_is_not_repeated(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await house.agent()
    add = house.sums.add

    async def lossy(made: Fold, before: int, position: int) -> bool:
        await add(made, before, position)
        monkeypatch.setattr(house.sums, "add", add)
        raise errors.StoreUnavailable(retry_after=1.0)

    monkeypatch.setattr(house.sums, "add", lossy)
    monkeypatch.setattr(follower, "INTERVAL", 0.01)
    await house.turn(row, "t1", called("x", tokens(10, 5), 0.5), ran("Read", 1.0))
    await check(house, [row])
    await house.turn(row, "t2", called("x", tokens(10, 5), 0.5))
    await check(house, [row])


async def test_of_two_followers_each_event_is_counted_by_one(house: House) -> None:
    row = await house.agent()
    second = Follower(house.store.insights(), lambda: house.hub.head)
    await second.start()
    try:
        for number in range(20):
            await house.turn(row, f"t{number}", called("x", tokens(10, 5), 0.5))
            await asyncio.gather(house.insights._follower.fresh(), second.fresh())
    finally:
        await second.aclose()
    await check(house, [row])


async def test_a_question_waits_for_what_is_stored(house: House) -> None:
    row = await house.agent()
    for number in range(1, 4):
        await house.turn(row, f"t{number}")
        overview = await house.insights.figures.overview("default", NOON * 10**9, house.now() + 1)
        assert overview.turn_count == number


async def test_a_question_does_not_wait_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that cannot keep up answers with what it has."""
    row = await house.agent()
    await house.turn(row, "t1")
    await house.insights._follower.fresh()
    stuck = asyncio.Event()

    async def never(*_args: object) -> object:
        await stuck.wait()
        raise AssertionError

    monkeypatch.setattr(house.sums, "log_after", never)
    monkeypatch.setattr(follower, "PATIENCE", 0.05)
    await house.turn(row, "t2")
    overview = await house.insights.figures.overview("default", NOON * 10**9, house.now() + 1)
    assert overview.turn_count == 1
    assert house.insights._follower._waiting == set()


async def test_a_deleted_agent_leaves_its_sums_and_no_trace(house: House) -> None:
    row, other = await house.agent(), await house.agent("a2")
    await house.turn(row, "t1", called("x", tokens(10, 5), 0.5))
    await house.insights._follower.fresh()
    await house.put(row, "t2", called("x", tokens(1, 1), 9.0))  # not yet counted when its agent goes
    await house.store.delete_agent(row.key)
    await house.turn(other, "t3")
    overview = await house.insights.figures.overview("default", NOON * 10**9, house.now() + 1)
    assert (overview.turn_count, overview.active_agent_count) == (2, 1)
    assert overview.cost_usd >= 0.5
    with pytest.raises(errors.TurnNotFound):
        await house.insights.traces.get("default", "t1")


async def test_a_trace_of_an_agent_that_goes_meanwhile_is_not_kept(house: House) -> None:
    """Read before the agent was deleted, written after."""
    await house.insights.aclose()
    row = await house.agent()
    segment = await house.put(row, "t1", called("x", tokens(10, 5), 0.5))
    made = fold.fold(await house.sums.log_after(0, 10, fold.COUNTED), {})
    await house.store.delete_agent(row.key)
    assert await house.sums.add(made, 0, segment.last_position)
    assert await house.sums.trace("default", "t1") is None


async def test_a_trace_goes_with_the_last_of_its_events(house: House) -> None:
    row = await house.agent()
    await house.turn(row, "t1")
    house.now.seconds += 100
    await house.turn(row, "t2")
    await house.insights._follower.fresh()
    await house.store.trim(row.key, house.now() - 50 * 10**9, 0)
    assert await house.sums.trace("default", "t1") is None
    assert await house.sums.trace("default", "t2") is not None


async def test_old_minutes_become_hours(house: House, now: Now) -> None:
    """Sums of a time that is long ago are those of whole hours, and none is lost."""
    row = await house.agent()
    now.seconds = NOON + 1800
    await house.turn(row, "t1", called("x", tokens(10, 5), 0.5))
    await house.insights._follower.fresh()
    begin, end = (NOON + 1790) * 10**9, (NOON + 1860) * 10**9
    assert (await house.insights.figures.sums("default", begin, end)).turns == 1
    now.seconds = NOON + 40 * 86400
    await house.restart()
    await house.sums.forget_minutes(int(now.seconds) - follower.MINUTES_KEPT)
    grains = await house.store._select("SELECT DISTINCT grain FROM usage_sums", ())
    assert sorted(grains) == [(3600,), (86400,)]
    assert (await house.insights.figures.sums("default", begin, end)).turns == 1


FOLLOW = """
import asyncio, sys
from pathlib import Path
from asteros.insight import follower
from asteros.stores.sqlite import SqliteStore

follower.AT_ONCE = 1

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    head = await store.head()
    sums = store.insights()
    add = sums.add
    async def told(*args):
        done = await add(*args)
        print(args[2], flush=True)
        return done
    sums.add = told
    following = follower.Follower(sums, lambda: head)
    await following.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_kill_9_neither_loses_nor_repeats(house: House) -> None:
    rows = [await house.agent("a1"), await house.agent("a2")]
    await house.insights.aclose()
    await scribble(house, rows, random.Random(9), 150)
    await house.store.aclose()
    seen = [0]
    for lines in (2, 9):
        seen.append(_killed_after(house.folder, lines))
        assert seen[-1] > seen[-2]
    await house.open()
    assert await house.sums.position() >= seen[-1]
    await check(house, rows)


def _killed_after(folder: Path, lines: int) -> int:
    """A process that follows, killed when it has told of so many pieces; the last position it told."""
    command = [sys.executable, "-c", FOLLOW, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
    return int(told[-1])
