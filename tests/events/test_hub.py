"""Who is shown what, and what it costs to listen."""

import asyncio
import gc
import tracemalloc

import pytest
from events.helpers import House, deltas, frames, message, numbers, only
from hypothesis import given
from hypothesis import strategies as st

from asteros import errors
from asteros.events.cursor import Place
from asteros.events.filters import Filter
from asteros.events.subscription import Subscription
from asteros.stores.base import Segment

pytestmark = pytest.mark.anyio


async def test_everybody_sees_what_they_asked_for(house: House) -> None:
    one, two, stranger = house.agent("a1"), house.agent("a2"), house.agent("a1", "other")
    readers = {
        "one": house.open(one),
        "both": house.open([one, two]),
        "all": house.open(None),
        "theirs": house.open(None, tenant="other"),
    }
    for ref, delta in ((one, "a"), (two, "b"), (stranger, "c"), (one, "d")):
        await house.say(ref, delta)
    seen = {}
    for name, count in (("one", 2), ("both", 3), ("all", 3), ("theirs", 1)):
        seen[name] = deltas(await frames(readers[name], count))
    assert seen == {"one": ["a", "d"], "both": ["a", "b", "d"], "all": ["a", "b", "d"], "theirs": ["c"]}


async def test_resuming_many_agents_by_the_cursor_of_any_frame(house: House) -> None:
    one, two = house.agent("a1"), house.agent("a2")
    for n in range(30):
        await house.say(one if n % 3 else two, f"{n}x", f"{n}y")
    whole = [frame for frame in await frames(house.open(None, Place(0, 0)), 60) if frame.HasField("event")]
    assert deltas(whole) == [f"{n}{half}" for n in range(30) for half in "xy"]
    for index, frame in enumerate(whole[:-1]):
        resumed = house.open([one, two], house.place(frame.cursor))
        assert deltas(await frames(resumed, 59 - index)) == deltas(whole[index + 1 :])
        resumed.close()


async def test_the_same_event_has_the_same_cursor_on_every_stream(house: House) -> None:
    ref = house.agent()
    readers = [house.open(ref), house.open(None), house.open(ref, wanted=only("text_chunk"))]
    await house.say(ref, "a", "b")
    cursors = [[f.cursor for f in await frames(reader, 2) if f.HasField("event")] for reader in readers]
    assert cursors[0] == cursors[1] == cursors[2]


async def test_equal_filters_are_worked_out_once_per_segment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[Segment] = []
    indexes = Filter.indexes

    def counting(self: Filter, segment: Segment) -> object:
        worked.append(segment)
        return indexes(self, segment)

    monkeypatch.setattr(Filter, "indexes", counting)
    ref = house.agent()
    readers = [house.open(ref, wanted=only("done", "text_chunk")) for _ in range(50)]
    readers += [house.open(ref) for _ in range(50)]
    await house.say(ref, "x")
    assert len(worked) == 2
    for reader in readers:
        assert numbers(await frames(reader, 1)) == [1]


@given(st.lists(st.sampled_from(["open", "close", "say"]), max_size=30))
def test_listeners_come_and_go(steps: list[str]) -> None:
    """The hub holds exactly the open subscriptions, and each open one gets exactly what came since."""

    async def play() -> None:
        async with House() as house:
            ref = house.agent()
            since: dict[Subscription, int] = {}
            for step in steps:
                if step == "open":
                    since[house.open(ref)] = house.hub.head
                elif step == "close" and since:
                    reader, _ = since.popitem()
                    reader.close()
                elif step == "say":
                    await house.say(ref, "x")
                assert house.hub.count == len(since)
            for reader, start in since.items():
                got = await frames(reader, house.hub.head - start) if house.hub.head > start else []
                assert numbers(got) == list(range(start + 1, house.hub.head + 1))

    asyncio.run(play())


async def test_ten_thousand_idle_subscriptions_cost_less_than_5_kib_each(house: House) -> None:
    ref = house.agent()
    readers = [house.open(ref, wanted=only("done")) for _ in range(100)]  # what is made once
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    readers += [house.open(ref, wanted=only("done")) for _ in range(10_000)]
    for reader in readers[100:]:
        await message(reader)
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / 10_000
    tracemalloc.stop()
    assert each < 5 * 1024
    assert not hasattr(readers[0], "__dict__"), "slots"
    for reader in readers:
        reader.close()


async def test_a_reader_that_fails_is_ended_and_nobody_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while events are shown must reach neither the other readers nor the log."""
    ref = house.agent()
    ill, well = house.open(ref), house.open(ref)
    offer = Subscription.offer

    def failing(self: Subscription, *what: object) -> None:
        if self is ill:
            raise RuntimeError("secret")
        offer(self, *what)  # type: ignore[arg-type]

    monkeypatch.setattr(Subscription, "offer", failing)
    await house.say(ref, "a")
    await house.say(ref, "b")
    assert deltas(await frames(well, 2)) == ["a", "b"]
    await ill.next()  # started
    with pytest.raises(errors.AsterError) as ended:
        await ill.next()
    assert "secret" not in ended.value.text
