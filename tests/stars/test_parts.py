"""Mentions, ids, places and circles: the small parts of a run."""

import asyncio

import pytest

from aster.v1 import stars_service_pb2 as pb
from asteros import errors, ids
from asteros.stars import words
from asteros.stars.gate import Gate
from asteros.stars.waits import Waits

STAR = pb.Star(id="team", members=[pb.StarMember(name=name) for name in ("ann", "ann-2", "bob", "李雷", "c.d")])


@pytest.mark.parametrize(
    ("text", "to", "expected"),
    [
        ("hi", "", ["ann-2", "bob", "李雷", "c.d"]),  # all but who speaks
        ("hi", "bob", ["bob"]),
        ("@bob: look", "", ["bob"]),
        ("ask @ann-2, please", "", ["ann-2"]),
        ("(@c.d) and @bob.", "", ["bob", "c.d"]),
        ("@李雷 你好", "", ["李雷"]),
        ("@bobby is nobody", "", ["ann-2", "bob", "李雷", "c.d"]),
        ("to myself @ann", "", []),
        ("@bob", "c.d", ["c.d"]),
    ],
)
def test_receivers(text: str, to: str, expected: list[str]) -> None:
    assert [member.name for member in words.receivers(STAR, text, to, "ann")] == expected


def test_nobody_of_that_name() -> None:
    with pytest.raises(errors.StarMemberNotFound, match="zoe"):
        words.receivers(STAR, "x", "zoe", "")
    assert words.mentioned("@x", []) == []


def test_who_speaks_is_heard() -> None:
    assert (words.heard("hi", "ann"), words.heard("hi", "")) == ("[from:ann] hi", "hi")


def test_derived_ids() -> None:
    run_id = ids.new("trn_")
    one, two = words.derived("trn_", "a", run_id), words.derived("trn_", "b", run_id)
    assert one == words.derived("trn_", "a", run_id) != two
    assert [len(each) for each in (one, words.derived("ses_", "a"))] == [30, 30]
    assert one[:14] == run_id[:14], "sorts beside the run"


def test_circles() -> None:
    waits = Waits()
    with waits.waiting(1, 2), waits.waiting(2, 3), waits.waiting(1, 2):
        assert waits.would_circle(3, 1)
        assert waits.would_circle(3, 2)
        assert waits.would_circle(4, 4)
        assert not waits.would_circle(1, 3)
        assert not waits.would_circle(4, 1)
    assert not waits.would_circle(3, 1)
    assert waits._on == {}


@pytest.mark.anyio
async def test_a_gate_lets_in_by_order() -> None:
    gate, order, go = Gate(2), [], asyncio.Event()

    async def work(number: int) -> None:
        async with gate.inside():
            order.append(number)
            await go.wait()

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert order == [0, 1]
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 3, 4]
    assert (gate._inside, len(gate._waiting)) == (0, 0)


@pytest.mark.anyio
async def test_who_waits_for_another_is_out() -> None:
    gate, inside = Gate(1), asyncio.Event()

    async def below() -> None:
        async with gate.outside("boss"), gate.inside():
            inside.set()
            await asyncio.sleep(0)

    async with asyncio.timeout(5), gate.inside():
        await asyncio.gather(below(), below())
        assert inside.is_set()
        assert gate._inside == 1
    assert gate._inside == 0


@pytest.mark.anyio
async def test_a_place_given_to_one_who_left_goes_on() -> None:
    gate = Gate(1)
    async with gate.inside():
        first, second = (asyncio.create_task(_through(gate)) for _ in range(2))
        await asyncio.sleep(0)
    first.cancel()  # its turn had come
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(5):
        await second


async def _through(gate: Gate) -> None:
    async with gate.inside():
        await asyncio.sleep(0)
