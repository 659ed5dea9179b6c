"""Agent.stream: one turn from its message to progress.complete, over cuts too; and what an event shows."""

import grpc
import pytest
from clients.python.fake_log import DRAINING, NOW, UNAVAILABLE, Fault, Plan
from clients.python.fake_server import FakeAster

from aster import AsterClient, EventView, TextChunk, ToolEnd, ToolStart, TurnComplete, errors
from aster.v1 import event_pb2

pytestmark = pytest.mark.anyio


async def test_a_turn_in_both_looks_of_the_seeds(client: AsterClient) -> None:
    kinds, text = [], ""
    async for event in client.agent("a").stream("hi"):
        kinds.append(event.kind)
        match event.payload:
            case TextChunk(delta=delta):
                text += delta
                assert event.text_delta == delta
            case TurnComplete() as complete:
                assert complete.final_text == text
    assert kinds == ["text_chunk", "text_chunk", "text_done", "complete"]
    assert text == "echo: hi"


async def test_a_failed_turn_is_in_its_last_event(client: AsterClient) -> None:
    events = [event async for event in client.agent("a").stream("fail")]
    error = events[-1].error
    assert isinstance(error, errors.Unavailable)
    assert error.reason == "PROVIDER_UNAVAILABLE"
    assert [event.error for event in events[:-1]] == [None] * 3


async def test_a_cut_turn_is_handed_over_to_subscribe(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.extend([Plan(DRAINING, after=1), Plan(UNAVAILABLE, after=2, repeat=1)])
    async with client.agent("a").stream("hi", channels=["progress"]) as events:
        assert [event.kind async for event in events] == ["text_chunk", "text_chunk", "text_done", "complete"]
        assert events.turn_id == "trn_1"
    assert len(fake.requests("Stream")) == 1
    first, second = fake.requests("Subscribe")
    assert (first.agent_id, first.turn_id, first.cursor, list(first.channels)) == ("a", "trn_1", "g1", [1])
    assert first.until_turn_complete
    assert second.cursor == "g2"


async def test_a_turn_cut_before_its_first_event_is_streamed_again(fake: FakeAster, client: AsterClient) -> None:
    fake.plans.extend([Plan(UNAVAILABLE, silent=True), Plan(DRAINING), Plan()])
    events = [event.kind async for event in client.agent("a").stream("hi")]
    assert events == ["text_chunk", "text_chunk", "text_done", "complete"]
    assert len({request.request_id for request in fake.requests("Stream")}) == 1
    assert (len(fake.requests("Stream")), len(fake.turns)) == (3, 1)


async def test_without_cursors_the_turn_is_streamed_again_and_not_repeated(
    fake: FakeAster, client: AsterClient
) -> None:
    fake.plans.append(Plan(UNAVAILABLE, after=3, cursors=False))
    subscription = client.agent("a").stream("hi")
    events = [event.kind async for event in subscription]
    assert events == ["text_chunk", "text_chunk", "text_done", "complete"]
    assert subscription.statistics().duplicates == 3


async def test_a_refused_stream_is_raised(fake: FakeAster, client: AsterClient) -> None:
    fake.faults["Stream"].append(Fault(grpc.StatusCode.FAILED_PRECONDITION, "AGENT_CLOSED"))
    with pytest.raises(errors.FailedPrecondition):
        async with client.agent("a").stream("hi"):
            pass
    assert len(fake.requests("Stream")) == 1


async def test_leaving_a_stream_early_cancels_it(fake: FakeAster, client: AsterClient) -> None:
    async with client.agent("a").stream("write it") as events:
        assert (await anext(events)).kind == "tool_approval_request"
    await fake.until(lambda: fake.open_streams == 0)


async def test_the_fields_of_a_tool(fake: FakeAster, client: AsterClient) -> None:
    seen = {}
    agent = client.agent("a")
    async with agent.stream("write it") as events:
        async for event in events:
            seen[event.kind] = event
            if event.kind == "tool_approval_request":
                await agent.approve_tool_call(event.id, True, input_digest=event.payload.input_digest)
    begin, end = seen["tool_start"], seen["tool_end"]
    assert isinstance(begin.payload, ToolStart)
    assert isinstance(end.payload, ToolEnd)
    assert (begin.tool_call.id, begin.tool_call.input) == ("toolu_1", {"path": "/hello.txt"})
    assert (end.tool_result, end.tool_call, end.error) == ({"ok": True}, None, None)
    assert (begin.channel, begin.type, begin.agent_id, begin.turn_id) == (
        "progress",
        "progress.tool_start",
        "a",
        "trn_1",
    )
    assert begin.timestamp.timestamp() == NOW.seconds
    assert seen["request_resolved"].tool_result is None


async def test_an_event_newer_than_this_client_still_has_its_type() -> None:
    frame = event_pb2.EventFrame(event={"event_type": "progress.hologram", "agent_id": "a", "sequence": 7})
    event = EventView(frame)
    assert (event.type, event.channel, event.kind, event.payload) == ("progress.hologram", "progress", "hologram", None)
    assert (event.text_delta, event.tool_call, event.error, event.timestamp) == ("", None, None, None)
    assert repr(event) == "EventView('progress.hologram', agent_id='a', sequence=7)"
