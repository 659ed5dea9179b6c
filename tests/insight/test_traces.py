"""One turn is one trace; its tree is what its events tell."""

import pytest
from insight.helpers import FAILED_ERROR, NOON, House, began, called, complete, ran, tokens

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock, errors
from asteros.insight import spans, traces
from asteros.stores.insights import TraceQuery, TraceStatus

pytestmark = pytest.mark.anyio
COMPLETED = common_pb2.TOOL_CALL_STATE_COMPLETED


def starts(call_id: str, name: str) -> event_pb2.ToolStart:
    return event_pb2.ToolStart(call=common_pb2.ToolCall(id=call_id, name=name))


def ends(
    call_id: str, name: str, state: common_pb2.ToolCallState = COMPLETED, error: errors.AsterError | None = None
) -> event_pb2.ToolEnd:
    result = common_pb2.ToolResult(call_id=call_id, name=name)
    return event_pb2.ToolEnd(result=result, state=state, error=error.status() if error else None)


def sketch(span: pb.TraceSpan) -> str:
    """A tree on one line, with times in seconds since noon."""
    start = clock.nanos(span.start_time) / clock.NANOS - NOON
    end = clock.nanos(span.end_time) / clock.NANOS - NOON if span.HasField("end_time") else ""
    parts = " ".join(map(sketch, span.children))
    return f"{span.kind}:{span.name}[{start:g}-{end if end == '' else f'{end:g}'} {span.status}]" + (
        f"({parts})" if parts else ""
    )


async def tree(house: House, turn_id: str) -> str:
    return sketch((await house.insights.traces.get("default", turn_id)).root)


async def test_model_calls_and_tools_in_their_order(house: House) -> None:
    row, now = await house.agent("bot"), house.now
    await house.said(row, "t1", "  Please\n read " + "x" * 100)
    await house.put(row, "t1", began())
    now.seconds += 3
    await house.put(
        row, "t1", called("x", tokens(9, 3, cached_input_tokens=4), 0.25, took=2.5, first=0.5), tokens(9, 3)
    )
    await house.put(row, "t1", starts("c1", "Read"), starts("c2", "Bash"))
    now.seconds += 1
    await house.put(row, "t1", ends("c2", "Bash", common_pb2.TOOL_CALL_STATE_FAILED, errors.ToolTimeout("slow")))
    await house.put(row, "t1", ran("Bash", 1, success=False, call_id="c2"))
    now.seconds += 1
    await house.put(
        row, "t1", ends("c1", "Read"), ran("Read", 2, call_id="c1"), ran("Nope", 0, success=False, call_id="c3")
    )
    now.seconds += 1
    await house.put(row, "t1", called("x", tokens(20, 1), 0.5, took=1), complete())
    trace = await house.insights.traces.get("default", "t1")
    assert sketch(trace.root) == (
        "agent:bot[0-6 ok](llm:x[0.5-3 ok] tool:Read[3-5 ok] tool:Bash[3-4 error] tool:Nope[5-5 error] llm:x[5-6 ok])"
    )
    assert (trace.id, trace.agent_id, trace.session_id, trace.status) == ("t1", "bot", "ses-bot", "ok")
    assert trace.name == ("Please read " + "x" * 100)[:80]
    assert (clock.seconds(trace.duration), trace.span_count, trace.cost_usd) == (6.0, 6, 0.75)
    assert trace.usage == tokens(29, 4, cached_input_tokens=4)
    llm, read, bash, nope, _ = trace.root.children
    assert dict(llm.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "p",
        "gen_ai.response.model": "x",
        "gen_ai.response.finish_reasons": "end_turn",
        "gen_ai.usage.input_tokens": "9",
        "gen_ai.usage.output_tokens": "3",
        "gen_ai.usage.cache_read.input_tokens": "4",
        "aster.model.attempt": "1",
        "aster.cost_usd": "0.25",
        "aster.time_to_first_token_s": "0.500000",
    }
    assert (read.attributes["gen_ai.tool.name"], read.attributes["gen_ai.tool.call.id"]) == ("Read", "c1")
    assert (bash.attributes["error.type"], nope.attributes["error.type"]) == ("TOOL_TIMEOUT", "tool_refused")
    assert len({span.id for span in (trace.root, *trace.root.children)}) == 6


async def test_delegated_turns_stand_under_their_tools(house: House) -> None:
    """Also in another agent's log, and one below the other."""
    row, other = await house.agent("boss"), await house.agent("hand")
    await house.put(row, "t1", began(), starts("c1", "Task"))
    await house.turn(row, "t2", called("x", tokens(10, 1), 1.0), took=1, parent=("t1", "c1"))
    await house.put(other, "t3", starts("k", "Read"), parent=("t2", ""))
    await house.put(other, "t3", ends("k", "Read"), ran("Read", 1, call_id="k"), complete(), parent=("t2", ""))
    await house.put(row, "t1", ends("c1", "Task"), ran("Task", 1), called("y", tokens(5, 5), 0.5), complete())
    trace = await house.insights.traces.get("default", "t1")
    assert sketch(trace.root) == (
        "agent:boss[0-1 ok](tool:Task[0-1 ok](agent:boss[0-1 ok](llm:x[1-1 ok] agent:hand[1-1 ok](tool:Read[1-1 ok])))"
        " llm:y[1-1 ok])"
    )
    assert (trace.span_count, trace.cost_usd, trace.usage) == (7, 1.5, tokens(15, 6))
    listed, _, total = await page(house)
    assert (total, {each.id: (each.span_count, each.cost_usd) for each in listed}) == (
        3,
        {"t1": (7, 1.5), "t2": (4, 1.0), "t3": (2, 0.0)},
    )


async def test_a_running_turn_has_open_ends(house: House) -> None:
    row = await house.agent("bot")
    await house.put(row, "t1", began(), starts("c1", "Bash"))
    house.now.seconds += 5
    trace = await house.insights.traces.get("default", "t1")
    assert sketch(trace.root) == "agent:bot[0- running](tool:Bash[0- running])"
    assert (trace.status, clock.seconds(trace.duration)) == ("running", 5.0)


async def test_a_failed_turn_says_why(house: House) -> None:
    row = await house.agent("bot")
    await house.put(
        row,
        "t1",
        called("x", tokens(0, 0), error=errors.StorageFull()),
        complete(agent_pb2.TURN_STATE_FAILED, FAILED_ERROR),
    )
    trace = await house.insights.traces.get("default", "t1")
    assert (trace.status, trace.error) == ("error", FAILED_ERROR)
    assert trace.root.attributes["error.type"] == "BUDGET_EXCEEDED"
    assert trace.root.children[0].attributes["error.type"] == "STORAGE_FULL"


async def test_tokens_of_a_program_that_tells_no_calls(house: House) -> None:
    row = await house.agent("far")
    await house.put(row, "t1", tokens(3, 4), complete())
    trace = await house.insights.traces.get("default", "t1")
    assert sketch(trace.root) == "agent:far[0-0 ok](llm:model[0-0 ok])"
    assert (trace.usage, trace.span_count) == (tokens(3, 4), 2)


async def test_other_turns_between_are_left_out(house: House) -> None:
    row = await house.agent("bot")
    await house.put(row, "t1", began())
    await house.put(row, "t2", called("y", tokens(1, 1)), complete())
    await house.put(row, "", called("z", tokens(1, 1)))
    await house.put(row, "t1", called("x", tokens(1, 1)), complete())
    assert await tree(house, "t1") == "agent:bot[0-0 ok](llm:x[0-0 ok])"


async def test_what_retention_left_of_a_turn(house: House) -> None:
    row = await house.agent("bot")
    await house.put(row, "t1", called("x", tokens(1, 1), 1.0))
    house.now.seconds += 100
    await house.put(row, "t1", called("y", tokens(1, 1), 1.0), complete())
    await house.insights._follower.fresh()
    await house.store.trim(row.key, house.now() - 50 * 10**9, 0)
    trace = await house.insights.traces.get("default", "t1")
    assert (sketch(trace.root), trace.cost_usd) == ("agent:bot[0-100 ok](llm:y[100-100 ok])", 2.0)


async def test_a_tree_has_a_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_SPANS", 4)
    row = await house.agent("bot")
    await house.turn(row, "t1", *[called("x", tokens(1, 1))] * 10)
    trace = await house.insights.traces.get("default", "t1")
    assert (len(trace.root.children), trace.span_count) == (3, 11)


async def test_an_unknown_turn(house: House) -> None:
    await house.turn(await house.agent("a1", "other"), "t1")
    for turn_id in ("nope", "t1"):  # of another tenant
        with pytest.raises(errors.TurnNotFound):
            await house.insights.traces.get("default", turn_id)


def test_every_status_has_a_name() -> None:
    assert set(spans.STATUS) == set(TraceStatus)


# -- the list --------------------------------------------------------------------------


async def page(
    house: House, before: tuple[int, str] | None = None, skip: int = 0, limit: int = 100, **only: object
) -> tuple[list[pb.Trace], list[tuple[int, str]], int]:
    query = TraceQuery("default", NOON * 10**9, (NOON + 86400) * 10**9, **only)  # type: ignore[arg-type]
    return await house.insights.traces.page(query, before, skip, limit)


async def test_newest_first_in_pages(house: House) -> None:
    rows = [await house.agent("a1"), await house.agent("a2")]
    for number in range(7):
        await house.turn(rows[number % 2], f"t{number}", took=0 if number == 3 else 1)
    first, places, total = await page(house, limit=3)
    rest, _, _ = await page(house, before=places[-1])
    skipped, _, _ = await page(house, skip=5)
    wanted = [f"t{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert [trace.id for trace in (*first, *rest)] == wanted
    assert ([trace.id for trace in skipped], total) == (wanted[5:], 7)
    assert not first[0].HasField("root")
    of_one, _, count = await page(house, agent_id="a2")
    assert ([trace.id for trace in of_one], count) == (["t5", "t3", "t1"], 3)


async def test_by_status(house: House) -> None:
    row = await house.agent()
    await house.turn(row, "t1")
    await house.turn(row, "t2", state=agent_pb2.TURN_STATE_FAILED)
    await house.turn(row, "t3", state=agent_pb2.TURN_STATE_INTERRUPTED)
    await house.put(row, "t4", began())
    for status, wanted in ((1, ["t3", "t1"]), (2, ["t2"]), (0, ["t4"])):
        found, _, total = await page(house, status=status)
        assert ([trace.id for trace in found], total) == (wanted, len(wanted))
