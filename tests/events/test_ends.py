"""How a stream ends: with a turn, at a position, because the server says so."""

import asyncio

import pytest
from events.fakes import settled
from events.helpers import House, complete, frames, governed, kinds, message, numbers, only, rest, text

from asteros import errors
from asteros.events.cursor import Place

pytestmark = pytest.mark.anyio


async def _turn(house: House, ref: object, turn: str, *, session: str = "") -> None:
    """Two events, then the end of the turn with one event behind it in the same commit."""
    await house.say(ref, "a", turn=turn, session=session)  # type: ignore[arg-type]
    await house.put(ref, text("b"), complete(), governed(), turn=turn, session=session)  # type: ignore[arg-type]


async def test_until_the_first_turn_that_ends(house: House) -> None:
    ref = house.agent()
    live = house.open(ref, until_turn_complete=True)
    await _turn(house, ref, "t1")
    await _turn(house, ref, "t2")
    assert numbers(await rest(live)) == [1, 2, 3]
    assert numbers(await rest(house.open(ref, 0, until_turn_complete=True))) == [1, 2, 3]


@pytest.mark.parametrize("live", [True, False])
async def test_until_a_turn_of_that_id(house: House, live: bool) -> None:
    ref = house.agent()
    reader = house.open(ref, 0, until_turn_complete=True, until_turn_id="t2") if live else None
    await _turn(house, ref, "t1")
    await _turn(house, ref, "t2")
    await _turn(house, ref, "t3")
    reader = reader or house.open(ref, 0, until_turn_complete=True, until_turn_id="t2")
    assert numbers(await rest(reader)) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("live", [True, False])
async def test_also_when_the_filter_hides_the_end(house: House, live: bool) -> None:
    ref = house.agent()
    wanted = only("monitor.*", "text_delta")
    reader = house.open(ref, 0, wanted=wanted, until_turn_complete=True) if live else None
    await _turn(house, ref, "t1")
    reader = reader or house.open(ref, 0, wanted=wanted, until_turn_complete=True)
    assert kinds(await rest(reader)) == ["started", "progress.text_chunk", "progress.text_chunk"]


@pytest.mark.parametrize("live", [True, False])
async def test_another_sessions_turn_is_not_the_one_waited_for(house: House, live: bool) -> None:
    """A filter of scope says whose turns these are; one of types only hides events."""
    ref = house.agent()
    wanted = only(session_id="mine")
    reader = house.open(ref, 0, wanted=wanted, until_turn_complete=True) if live else None
    await _turn(house, ref, "t1", session="other")
    await _turn(house, ref, "t2", session="mine")
    reader = reader or house.open(ref, 0, wanted=wanted, until_turn_complete=True)
    assert numbers(await rest(reader)) == [5, 6, 7]


async def test_a_stream_resumed_behind_an_end_waits_for_the_next_one(house: House) -> None:
    """The end shares its segment with what follows it: a resume point may lie between."""
    ref = house.agent()
    await _turn(house, ref, "t1")
    reader = house.open(ref, 3, until_turn_complete=True)
    assert numbers(await frames(reader, 1)) == [4]
    waiting = asyncio.ensure_future(reader.next())
    await settled()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await _turn(house, ref, "t2")
    assert numbers(await rest(reader)) == [5, 6, 7]


async def test_for_a_turn_that_has_ended_the_stream_ends_at_what_there_is(house: House) -> None:
    ref = house.agent()
    await _turn(house, ref, "t1")
    await house.count(ref, 5, 8)
    reader = house.open(ref, 4, end_at=house.hub.head)
    assert numbers(await rest(reader)) == [5, 6, 7, 8]
    ended = house.open(ref, Place(ref.key, house.hub.head, 8), end_at=house.hub.head)
    assert kinds(await rest(ended)) == ["started"]


async def test_drained_after_the_last_stored_event_with_its_cursor(house: House) -> None:
    ref = house.agent()
    reader = house.open(ref)
    await house.count(ref, 1, 5)
    house.hub.end_all(errors.Draining())
    await house.count(ref, 6, 7)
    assert numbers(await frames(reader, 5)) == [1, 2, 3, 4, 5]
    with pytest.raises(errors.Draining) as draining:
        await message(reader)
    resumed = house.open(ref, house.place(draining.value.facts["cursor"]))
    assert numbers(await frames(resumed, 2)) == [6, 7]


async def test_the_first_end_counts(house: House) -> None:
    reader = house.open(house.agent())
    await message(reader)
    reader.end(errors.AgentNotFound("a1"))
    reader.end(None)
    reader.end(errors.Draining())
    for _ in range(2):
        with pytest.raises(errors.AgentNotFound):
            await reader.next()


async def test_deleting_an_agent_ends_its_streams_alone(house: House) -> None:
    one, two = house.agent("a1"), house.agent("a2")
    readers = [house.open(one), house.open([one, two]), house.open(None), house.open(two)]
    house.hub.end_agent(one.key, errors.AgentNotFound("a1"))
    await house.say(two, "x")
    for reader in readers[1:]:
        assert numbers(await frames(reader, 1)) == [1]
    with pytest.raises(errors.AgentNotFound):
        await rest(readers[0])


async def test_closing_frees_everything(house: House) -> None:
    one, two = house.agent("a1"), house.agent("a2")
    readers = [house.open(one), house.open([one, two], wanted=only("done")), house.open(None), house.open(one, 0)]
    assert house.hub.count == 4
    for reader in readers:
        for _ in range(2):
            reader.close()
    assert house.hub.count == 0
    assert (dict(house.hub._by_agent), house.hub._filters) == ({}, {})
    assert not any(house.hub._by_tenant.values())
    await house.say(one, "x")
