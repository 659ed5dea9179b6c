"""Streams: resume after cuts, what is dropped, what is raised, what a reader may do."""

import asyncio
import contextlib
import gc

import grpc
import pytest
from clients.python.fake_log import DRAINING, TOO_SLOW, UNAVAILABLE, Fault, Plan
from clients.python.fake_server import FakeAster

from aster import AsterClient, Channel, EventGap, TextChunk, errors
from aster.v1 import event_pb2

pytestmark = pytest.mark.anyio


async def read(subscription, count: int) -> list[str]:
    """The texts of the next events."""
    return [(await anext(subscription)).text_delta for _ in range(count)]


async def test_events_stored_after_async_with_are_never_missed(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "old")
    async with client.agent("a").subscribe([Channel.PROGRESS]) as events:
        await fake.texts("a", "1", "2")
        assert await read(events, 2) == ["1", "2"]
    request = fake.requests("Subscribe")[0]
    assert (request.agent_id, list(request.channels)) == ("a", [1])
    await fake.until(lambda: fake.open_streams == 0)


@pytest.mark.parametrize("fault", [UNAVAILABLE, DRAINING, TOO_SLOW], ids=lambda fault: fault.reason or "cut")
async def test_a_cut_stream_goes_on_from_its_cursor_without_duplicates(
    fake: FakeAster, client: AsterClient, fault: Fault
) -> None:
    fake.plans.extend([Plan(fault, after=3), Plan(fault, after=4, repeat=2), Plan(repeat=1)])
    await fake.texts("a", *"123456")
    async with client.agent("a").subscribe(start="earliest") as events:
        assert await read(events, 6) == list("123456")
        numbers = events.statistics()
    assert [r.cursor for r in fake.requests("Subscribe")] == ["", "g3", "g5"]
    assert (numbers.received, numbers.duplicates, numbers.reconnects, numbers.cursor) == (6, 3, 2, "g6")


async def test_a_second_break_before_any_frame_keeps_the_cursor(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "1", "2", "3")
    fake.plans.extend([Plan(UNAVAILABLE), Plan(UNAVAILABLE, silent=True)])
    async with client.agent("a").subscribe(cursor="g1") as events:
        assert events.cursor == "g1"
        assert await read(events, 2) == ["2", "3"]
    assert [r.cursor for r in fake.requests("Subscribe")] == ["g1"] * 3


async def test_a_break_before_any_cursor_resumes_from_started(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "old")
    fake.plans.append(Plan(UNAVAILABLE))
    async with client.agent("a").subscribe() as events:
        await fake.texts("a", "new")
        assert await read(events, 1) == ["new"]
    first, second = fake.requests("Subscribe")
    assert first.WhichOneof("start_from") is None
    assert second.after_sequence == 1


async def test_the_cursor_of_the_error_counts_where_no_other_is_known(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "old")
    fake.plans.append(Plan(Fault(grpc.StatusCode.UNAVAILABLE, "DRAINING", metadata={"cursor": "g1"})))
    async with client.subscribe() as events:
        await fake.texts("a", "new")
        assert await read(events, 1) == ["new"]
    assert fake.requests("Subscribe")[1].cursor == "g1"


@pytest.mark.parametrize("reason", ["EVENT_CURSOR_EXPIRED", "EVENT_CURSOR_AHEAD", "EVENT_LOG_RESET"])
async def test_out_of_range_is_the_end(fake: FakeAster, client: AsterClient, reason: str) -> None:
    facts = {"requested": "1", "oldest": "40", "latest": "99"}
    fake.plans.append(Plan(Fault(grpc.StatusCode.OUT_OF_RANGE, reason, metadata=facts), silent=True))
    events = client.agent("a").subscribe(cursor="g1")
    with pytest.raises(errors.OutOfRange) as caught:
        await anext(events)
    assert (caught.value.reason, caught.value.metadata) == (reason, facts)
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    assert len(fake.requests("Subscribe")) == 1


async def test_another_resource_exhausted_is_raised(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.append(Plan(Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"), silent=True))
    with pytest.raises(errors.ResourceExhausted):
        await anext(client.agent("a").subscribe())
    assert len(fake.requests("Subscribe")) == 1


async def test_a_server_that_never_answers_is_given_up_after_three_tries(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.extend([Plan(UNAVAILABLE, silent=True)] * 3)
    with pytest.raises(errors.Unavailable):
        async with client.agent("a").subscribe():
            pass
    assert len(fake.requests("Subscribe")) == 3


async def test_a_restarted_server_is_found_again(client: AsterClient, fake: FakeAster) -> None:
    async with client.agent("a").subscribe() as events:
        losses: list[errors.AsterError] = []
        events.on_lost = losses.append
        await fake.texts("a", "1")
        assert await read(events, 1) == ["1"]
        await fake.stop()
        await fake.texts("a", "2")
        await fake.start(int(fake.address.rpartition(":")[2]))
        assert await read(events, 1) == ["2"]
        assert {type(loss) for loss in losses} == {errors.Unavailable}
        assert events.statistics().reconnects == len(losses)


async def test_until_turn_complete_ends_although_the_ok_is_lost(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "1")
    await fake.emit("a", "progress.complete", event_pb2.TurnComplete(), "trn_1")
    fake.plans.append(Plan(UNAVAILABLE, after=2))
    subscription = client.agent("a").subscribe(start="earliest", turn_id="trn_1", until_turn_complete=True)
    assert [event.kind async for event in subscription] == ["text_chunk", "complete"]
    assert len(fake.requests("Subscribe")) == 1


async def test_a_gap_is_an_item_of_its_own(fake: FakeAster, client: AsterClient) -> None:
    gap = event_pb2.EventGap(first_sequence=4, last_sequence=9, dropped_count=5, channel=1, agent_id="a")
    fake.plans.append(Plan(gap=gap))
    async with client.agent("a").subscribe() as events:
        event = await anext(events)
        match event.payload:
            case EventGap(dropped_count=5):
                assert (event.type, event.channel, event.agent_id, event.text_delta) == ("gap", "progress", "a", "")
            case _:
                pytest.fail("not a gap")
        numbers = events.statistics()
    assert (numbers.gaps, numbers.missed, numbers.received) == (1, 5, 0)


async def test_an_agent_made_anew_is_not_taken_for_a_repetition(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.append(Plan(UNAVAILABLE, after=2))
    await fake.texts("a", "1", "2", "3")
    async with client.subscribe(start="earliest") as events:
        assert await read(events, 3) == ["1", "2", "3"]
        assert events.statistics().reconnects == 1
        fake.sequences["a"] = 0
        await fake.texts("a", "again")
        assert await read(events, 1) == ["again"]


async def test_another_log_epoch_forgets_the_sequences(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "1", "2")
    fake.plans.extend([Plan(UNAVAILABLE, after=2, cursors=False), Plan(epoch="e2", repeat=2)])
    async with client.agent("a").subscribe(start="earliest") as events:
        assert await read(events, 4) == ["1", "2", "1", "2"]


async def test_batches_are_the_frames_as_they_came(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.append(Plan(batch=4))
    await fake.texts("a", *"0123456789")
    async with client.subscribe(["a"], start="earliest") as events:
        assert (await anext(events)).text_delta == "0"
        assert events.cursor == "g1"
        sizes: list[int] = []
        async for frames in events.batches():
            sizes.append(len(frames))
            if sum(sizes) == 9:
                break
        assert sizes == [3, 4, 2]
        assert events.cursor == "g10"


async def test_many_agents_share_one_stream(fake: FakeAster, client: AsterClient) -> None:
    fake.add_agent("b")
    fake.add_agent("c")
    async with client.subscribe(["a", "b"]) as events:
        for agent in "acb":
            await fake.texts(agent, agent)
        assert await read(events, 2) == ["a", "b"]
    assert list(fake.requests("Subscribe")[0].agent_ids) == ["a", "b"]


async def test_giving_up_a_read_keeps_the_subscription(fake: FakeAster, client: AsterClient) -> None:
    async with client.agent("a").subscribe() as events:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(events)
        await fake.texts("a", "1")
        assert await read(events, 1) == ["1"]
    assert len(fake.requests("Subscribe")) == 1


async def test_cancelling_a_bare_reader_cancels_the_rpc_and_a_later_read_resumes(
    fake: FakeAster, client: AsterClient
) -> None:
    events = client.agent("a").subscribe(start="earliest")
    await fake.texts("a", "1")
    assert await read(events, 1) == ["1"]
    reader = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reader
    await fake.until(lambda: fake.open_streams == 0)
    await fake.texts("a", "2")
    assert await read(events, 1) == ["2"]
    assert fake.requests("Subscribe")[1].cursor == "g1"
    await events.close()


async def test_closing_from_elsewhere_ends_the_iteration(fake: FakeAster, client: AsterClient) -> None:
    agent = client.agent("a")
    events = agent.subscribe()

    async def drain() -> list[str]:
        return [event.type async for event in events]

    reader = asyncio.create_task(drain())
    await fake.until(lambda: fake.open_streams == 1)
    await agent.unsubscribe(events)
    await agent.unsubscribe(events)
    assert await reader == []
    await fake.until(lambda: fake.open_streams == 0)


async def test_dropping_the_last_reference_cancels_the_rpc(fake: FakeAster, client: AsterClient) -> None:
    events = client.agent("a").subscribe(start="earliest")
    await fake.texts("a", "1")
    await anext(events)
    assert fake.open_streams == 1
    del events
    gc.collect()
    await fake.until(lambda: fake.open_streams == 0)


async def test_closing_the_client_ends_the_iteration(fake: FakeAster) -> None:
    async with AsterClient(fake.address) as client:
        events = client.agent("a").subscribe()
        await events.__aenter__()
    assert [event async for event in events] == []


async def test_an_unknown_agent_is_told_on_entry(client: AsterClient) -> None:
    with pytest.raises(errors.NotFound) as caught:
        async with client.agent("nobody").subscribe():
            pass
    assert caught.value.reason == "AGENT_NOT_FOUND"


async def test_filters_and_two_beginnings(fake: FakeAster, client: AsterClient) -> None:
    options = {"event_types": ["progress.text_chunk"], "buffer_size": 100, "heartbeat_interval": 1.5}
    async with client.agent("a").subscribe(["progress", "monitor"], **options):
        request = fake.requests("Subscribe")[0]
    assert (list(request.channels), request.buffer_size) == ([1, 3], 100)
    assert request.heartbeat_interval.ToMilliseconds() == 1500
    with pytest.raises(ValueError, match="only one"):
        client.agent("a").subscribe(start="now", cursor="g1")
    with pytest.raises(ValueError, match="progres"):
        client.agent("a").subscribe(["progres"])


async def test_match_on_message_classes(fake: FakeAster, client: AsterClient) -> None:
    await fake.texts("a", "hello")
    async with client.agent("a").subscribe(start="earliest") as events:
        match (await anext(events)).payload:
            case TextChunk(delta=text):
                assert text == "hello"
            case _:
                pytest.fail("not a TextChunk")
