"""Sizes and times of tool calls are real; large results are shortened where they must be."""

import json

import pytest
from events.fakes import FakeClock, settled
from runtime.helpers import World, call, check_events, kinds, of, results

from aster.v1 import common_pb2
from asteros import clock
from asteros.runtime import tool_call
from asteros.runtime.history import results_of
from asteros.runtime.tool_call import MODEL_BYTES, PREVIEW_BYTES, for_history, shortened

pytestmark = pytest.mark.anyio


async def test_sizes_are_those_of_the_json(world: World) -> None:
    agent = await world.agent([call("plain", "c1", text="é")], ["ok"])
    await world.turn(agent)
    events = await world.events(agent)
    (execution,) = of(events, "tool_execution")
    (end,) = of(events, "tool_end")
    assert execution.input_size_bytes == len('{"text": "é"}'.encode())
    assert execution.output_size_bytes == len(end.result.output_json.encode()) == end.result.output_size_bytes
    assert (execution.tool_name, execution.call_id) == ("plain", "c1")


async def test_durations_are_measured(world: World, fake_clock: FakeClock) -> None:
    agent = await world.agent([call("held")], ["ok"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    fake_clock.seconds += 7
    world.box.hold.set()
    await world.ended(agent, accepted)
    events = await world.events(agent)
    for kind in ("tool_end", "tool_execution", "step_complete"):
        assert clock.seconds(of(events, kind)[0].duration) == pytest.approx(7), kind
    stored = await world.store.tool_calls(agent.ref.key, accepted.turn.id, 1)
    record = stored[0].record
    assert record.end_time.seconds - record.create_time.seconds == 7


async def test_a_call_that_never_ran_took_no_time(world: World) -> None:
    agent = await world.agent([call("nothing")], ["ok"])
    await world.turn(agent)
    (execution,) = of(await world.events(agent), "tool_execution")
    assert clock.seconds(execution.duration) == 0
    assert not execution.success


@pytest.mark.parametrize("size", [PREVIEW_BYTES - 100, PREVIEW_BYTES + 100, 300_000])
async def test_a_large_result_is_a_preview_in_the_event_and_whole_in_the_store(world: World, size: int) -> None:
    agent = await world.agent([call("big", "c1", size=size)], ["ok"])
    await world.turn(agent)
    (end,) = of(await world.events(agent), "tool_end")
    whole = json.dumps({"ok": True, "result": "é" * (size // 2)}, ensure_ascii=False, separators=(",", ":"))
    stored = await world.store.tool_call(agent.ref.key, "c1")
    assert stored is not None
    assert stored.record.result.output_json == whole
    assert end.result.output_size_bytes == len(whole.encode())
    if len(whole.encode()) <= PREVIEW_BYTES:
        assert (end.result.output_json, end.result.output_preview) == (whole, "")
    else:
        assert end.result.output_json == ""
        assert whole.startswith(end.result.output_preview)
        assert PREVIEW_BYTES - 1 <= len(end.result.output_preview.encode()) <= PREVIEW_BYTES
    (told,) = results_of((await world.messages(agent))[2])
    assert told.output_json == whole


async def test_the_model_is_told_that_a_result_was_cut(world: World) -> None:
    agent = await world.agent([call("big", "c1", size=MODEL_BYTES + 10)], ["ok"])
    await world.turn(agent)
    told = results(await world.messages(agent))["c1"]
    assert (told["ok"], len(told["output"].encode()) <= MODEL_BYTES) == (True, True)
    assert "call the tool again for less of it" in told["truncated"]
    stored = await world.store.tool_call(agent.ref.key, "c1")
    assert stored is not None
    assert stored.record.result.output_size_bytes > MODEL_BYTES
    assert not stored.record.result.is_error


async def test_what_is_stored_is_bounded_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_call, "STORED_BYTES", 100_000)
    agent = await world.agent([call("big", "c1", size=200_000)], ["ok"])
    await world.turn(agent)
    stored = await world.store.tool_call(agent.ref.key, "c1")
    assert stored is not None
    assert stored.record.result.output_size_bytes <= 100_000
    assert json.loads(stored.record.result.output_json)["ok"] is False


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_a_preview_never_cuts_a_character(limit: int) -> None:
    result = common_pb2.ToolResult(call_id="c", output_json="aé漢", output_size_bytes=6)
    assert "aé漢".startswith(shortened(result, limit).output_preview)
    assert shortened(result, 6) is result
    assert for_history(result) is result


# -- side by side, and one after another ------------------------------------------------


async def test_reads_run_side_by_side(world: World) -> None:
    agent = await world.agent([call("held_read", "", text=str(n)) for n in range(5)], ["ok"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_start", 5)
    await settled()
    assert sorted(world.box.did) == [f"held_read {n}" for n in range(5)]
    world.box.hold.set()
    await world.ended(agent, accepted)
    check_events(await world.events(agent))


async def test_a_change_waits_for_the_reads_before_it_and_those_after_wait_for_it(world: World) -> None:
    calls = [call("held_read", "", text="1"), call("plain", "", text="2"), call("look", "", text="3")]
    agent = await world.agent(calls, ["ok"])
    accepted = await world.say(agent)
    await world.seen(agent, "tool_start")
    await settled(100)
    assert world.box.did == ["held_read 1"]
    world.box.hold.set()
    await world.ended(agent, accepted)
    assert world.box.did == ["held_read 1", "plain 2", "look 3"]
    assert list(results(await world.messages(agent))) == [
        s.call.id for s in of(await world.events(agent), "tool_start")
    ]


async def test_changes_run_in_the_models_order(world: World) -> None:
    agent = await world.agent([call("plain", "", text=str(n)) for n in range(6)], ["ok"])
    await world.turn(agent)
    assert world.box.did == [f"plain {n}" for n in range(6)]
    assert kinds(await world.events(agent)).count("tool_start tool_end tool_execution") == 6


async def test_keys_of_calls_are_distinct_and_name_run_step_and_call(world: World) -> None:
    agent = await world.agent([call("keyed", "k1"), call("keyed", "k2")], [call("keyed", "k3")], ["ok"])
    turn = await world.turn(agent)
    assert world.box.keys == [f"{turn.id}/{step}/{name}" for step, name in ((1, "k1"), (1, "k2"), (2, "k3"))]
