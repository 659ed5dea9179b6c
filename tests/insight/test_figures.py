"""Figures of a log whose tokens, money and times are known."""

import pytest
from insight.helpers import NOON, House, Now, called, complete, ran, tokens

from aster.v1 import agent_pb2, event_pb2
from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock, errors
from asteros.insight.histogram import Latency, slot_of
from asteros.stores.base import AgentRow
from asteros.stores.insights import Slot, Window

pytestmark = pytest.mark.anyio
FAILED = agent_pb2.TURN_STATE_FAILED
INTERRUPTED = agent_pb2.TURN_STATE_INTERRUPTED
HOUR = 3600


def at(seconds: float) -> int:
    return round(seconds * clock.NANOS)


@pytest.fixture
async def known(house: House) -> House:
    """12:00 a1: model x, a tool; 12:30 a1 fails; 13:05 a2: model y, which has no price; 14:00 a2 is interrupted."""
    one, two = await house.agent("a1"), await house.agent("a2")
    await house.turn(
        one,
        "t1",
        called("x", tokens(1000, 100), 0.01, took=2, first=0.5),
        tokens(1000, 100),  # repeats the call before it
        ran("Read", 0.25),
        event_pb2.StepComplete(),
        called("x", tokens(2000, 21), 0.02, took=1.5, first=0.5),
        event_pb2.StepComplete(),
        took=4.0,
    )
    house.now.seconds = NOON + 1800
    await house.turn(one, "t2", called("x", tokens(0, 0), error=errors.StorageFull()), took=1.0, state=FAILED)
    house.now.seconds = NOON + HOUR + 300
    await house.turn(
        two,
        "t3",
        called("y", tokens(50, 5), took=1, first=0.1),
        ran("Read", 0, success=False),
        ran("Bash", 3.0),
        event_pb2.StepComplete(),
        took=7.0,
    )
    house.now.seconds = NOON + 2 * HOUR
    await house.turn(two, "t4", took=0.5, state=INTERRUPTED)
    return house


async def overview(house: House, start: float, end: float, tenant: str = "default") -> pb.Overview:
    return await house.insights.figures.overview(tenant, at(start), at(end))


async def test_overview(known: House) -> None:
    found = await overview(known, NOON, NOON + 3 * HOUR)
    assert (found.active_agent_count, found.active_session_count, found.turn_count) == (2, 2, 4)
    assert (found.input_tokens, found.output_tokens, found.cost_usd) == (3050, 126, 0.03)
    assert found.error_rate == 0.25
    assert clock.seconds(found.mean_turn_duration) == (4 + 1 + 7 + 0.5) / 4


async def test_only_the_time_asked_for_counts(known: House) -> None:
    found = await overview(known, NOON + HOUR, NOON + 2 * HOUR)
    assert (found.turn_count, found.active_agent_count, found.input_tokens, found.cost_usd) == (1, 1, 50, 0.0)
    assert (await overview(known, NOON + 1799, NOON + 1860)).turn_count == 1  # minutes at the edges
    assert (await overview(known, NOON + 10 * HOUR, NOON + 11 * HOUR)) == pb.Overview(mean_turn_duration={})


async def test_tenants_do_not_see_each_other(known: House) -> None:
    other = await known.agent("a1", "other")
    await known.turn(other, "t1", called("x", tokens(7, 7), 7.0))
    assert (await overview(known, NOON, NOON + 3 * HOUR)).cost_usd == 0.03
    assert (await overview(known, NOON, NOON + 3 * HOUR, "other")).cost_usd == 7.0
    assert (await overview(known, NOON, NOON + 3 * HOUR, "nobody")).turn_count == 0


async def usage(
    house: House, interval: int = 0, group: int = 0, agent_id: str = "", model: str = ""
) -> list[pb.UsageRow]:
    figures = house.insights.figures
    return await figures.usage("default", at(NOON), at(NOON + 3 * HOUR), interval, group, agent_id, model)


async def test_usage_in_one_row(known: House) -> None:
    (row,) = await usage(known)
    assert row == pb.UsageRow(
        start_time=clock.timestamp(at(NOON)),
        turn_count=4,
        failed_turn_count=1,
        model_call_count=4,
        tool_call_count=3,
        failed_tool_call_count=1,
        input_tokens=3050,
        output_tokens=126,
        cost_usd=0.03,
        unpriced_call_count=2,
    )


async def test_usage_over_time_has_a_row_for_every_interval(known: House) -> None:
    rows = await usage(known, HOUR)
    assert [row.start_time.seconds for row in rows] == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert [(row.turn_count, row.input_tokens) for row in rows] == [(2, 3000), (1, 50), (1, 0)]
    halves = await usage(known, HOUR // 2)
    assert [row.turn_count for row in halves] == [1, 1, 1, 0, 1, 0]


async def test_usage_by_agent_and_by_model(known: House) -> None:
    by_agent = await usage(known, group=pb.USAGE_GROUPING_AGENT)
    assert [(row.key, row.turn_count, row.cost_usd) for row in by_agent] == [("a1", 2, 0.03), ("a2", 2, 0.0)]
    by_model = await usage(known, HOUR, group=pb.USAGE_GROUPING_MODEL)
    # A turn and its tools count for the model that answered last.
    assert [(row.start_time.seconds - NOON, row.key, row.turn_count, row.tool_call_count) for row in by_model] == [
        (0, "x", 2, 1),
        (HOUR, "y", 1, 2),
        (2 * HOUR, "", 1, 0),
    ]


async def test_usage_of_one_agent_or_model(known: House) -> None:
    assert [row.turn_count for row in await usage(known, agent_id="a2")] == [2]
    assert [row.input_tokens for row in await usage(known, model="y")] == [50]


async def test_the_keys_that_cost_little_are_summed(house: House) -> None:
    row = await house.agent()
    calls = [called(f"m{number:02}", tokens(number, 0), number / 100) for number in range(1, 31)]
    await house.turn(row, "t1", *calls)
    rows = await usage(house, group=pb.USAGE_GROUPING_MODEL)
    assert [row.key for row in rows] == [*(f"m{number}" for number in range(11, 31)), "other"]
    assert rows[-1].cost_usd == pytest.approx(0.55)
    assert sum(row.cost_usd for row in rows) == pytest.approx(4.65)


async def test_small_amounts_add_up_to_the_cent(house: House) -> None:
    """A million calls of a tenth of a microdollar are ten cents: whole numbers do not drift."""
    row = await house.agent()
    for number in range(10):
        await house.turn(row, f"t{number}", *[called("x", tokens(1, 0), 1e-7)] * 200, took=0.0)
    (found,) = await usage(house)
    assert found.cost_usd == pytest.approx(2000 * 1e-7, abs=1e-15)


async def test_performance(known: House) -> None:
    found = await known.insights.figures.performance("default", at(NOON), at(NOON + 3 * HOUR), "")
    assert (found.turn_count, found.failed_turn_count, found.mean_step_count) == (4, 1, 0.75)
    assert _seconds(found.turn) == (1.0, 7.0, 7.0, 3.125, 7.0)
    assert _seconds(found.time_to_first_token) == (0.5, 0.5, 0.5, pytest.approx(1.1 / 3), 0.5)
    assert clock.seconds(found.time_per_output_token.max) == pytest.approx(0.9 / 4)
    # A refused call took no time; slowest first.
    assert [(tool.tool_name, tool.call_count, clock.seconds(tool.latency.p95)) for tool in found.tools] == [
        ("Bash", 1, 3.0),
        ("Read", 1, 0.25),
    ]
    only = await known.insights.figures.performance("default", at(NOON), at(NOON + 3 * HOUR), "a1")
    assert [tool.tool_name for tool in only.tools] == ["Read"]


def _seconds(summary: pb.LatencySummary) -> tuple[float, ...]:
    return tuple(clock.seconds(part) for part in (summary.p50, summary.p95, summary.p99, summary.mean, summary.max))


async def test_percentiles_of_many_are_near(house: House) -> None:
    """1 to 1000 ms, over two agents and hours: histograms are merged, not averaged."""
    rows = [await house.agent("a1"), await house.agent("a2")]
    for number in range(1, 1001):
        await house.turn(rows[number % 2], f"t{number}", ran("T", number / 1000), took=7.0)
    found = await house.insights.figures.performance("default", at(NOON), at(NOON + 3 * HOUR), "")
    (tool,) = found.tools
    p50, p95, p99, mean, most = _seconds(tool.latency)
    assert tool.call_count == 1000
    assert (p50, p95, p99) == (
        pytest.approx(0.5, rel=0.09),
        pytest.approx(0.95, rel=0.09),
        pytest.approx(0.99, rel=0.09),
    )
    assert (mean, most) == (pytest.approx(0.5005), 1.0)


def test_a_slot_is_nine_percent_wide() -> None:
    for nanos in (1_000, 123_456, 10**9, 86_400 * 10**9):
        assert slot_of(nanos * 2) - slot_of(nanos) == 8  # slots to a doubling
    assert slot_of(0) == slot_of(999) == 0
    times = [number * 1_000_003 for number in range(1, 5000)]
    assert [slot_of(each) for each in times] == sorted(slot_of(each) for each in times)


def test_a_percentile_is_the_nearest_rank() -> None:
    slots = {slot_of(n * 10**9): Slot(1, n * 10**9, n * 10**9) for n in (1, 2, 4, 8)}
    found = Latency.of(slots)
    assert (found.p50, found.p95, found.p99) == (2 * 10**9, 8 * 10**9, 8 * 10**9)
    assert Latency.of({}) == Latency(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        (0, 7200, [(3600, 0, 7200)]),
        (60, 7260, [(60, 60, 3600), (3600, 3600, 7200), (60, 7200, 7260)]),
        (60, 3660, [(60, 60, 3660)]),
        (82800, 180060, [(3600, 82800, 86400), (86400, 86400, 172800), (3600, 172800, 180000), (60, 180000, 180060)]),
        (60, 60, []),
    ],
)
def test_a_time_is_made_of_whole_days_hours_and_minutes(
    start: int, end: int, parts: list[tuple[int, int, int]]
) -> None:
    assert list(Window.of(start, end).parts) == parts


# -- findings --------------------------------------------------------------------------


async def found(house: House) -> list[tuple[str, str, str]]:
    return [(each.id, each.kind, each.severity) for each in await house.insights.findings.now("default")]


async def test_nothing_to_find(house: House) -> None:
    row = await house.agent()
    await house.turn(row, "t1", called("x", tokens(1, 1), 10.0), ran("Read", 2.0))
    assert await found(house) == []
    assert await house.insights.findings.now("nobody") == []


@pytest.mark.parametrize(
    ("what", "finding"),
    [
        (called("x", tokens(1, 1), 10.01), ("daily-cost", "cost", "warning")),
        (called("x", tokens(1, 1), 100.0), ("daily-cost", "cost", "critical")),
        (called("new", tokens(1, 1)), ("unpriced-calls", "usage", "info")),
        (ran("Bash", 2.01), ("slow-tool:Bash", "performance", "warning")),
        (ran("Bash", 10.0), ("slow-tool:Bash", "performance", "critical")),
    ],
    ids=lambda case: case[0] if isinstance(case, tuple) else "",
)
async def test_each_rule(house: House, what: event_pb2.ModelCall, finding: tuple[str, str, str]) -> None:
    await house.turn(await house.agent(), "t1", what)
    assert await found(house) == [finding]


@pytest.mark.parametrize(("failed", "severity"), [(1, None), (2, "warning"), (5, "critical")])
async def test_turns_that_fail(house: House, failed: int, severity: str | None) -> None:
    """1 of 20 is the limit; a quarter is critical."""
    row = await house.agent()
    for number in range(20):
        await house.turn(row, f"t{number}", state=FAILED if number < failed else agent_pb2.TURN_STATE_COMPLETED)
    assert await found(house) == ([("error-rate", "reliability", severity)] if severity else [])


async def test_a_finding_keeps_its_time_while_it_lasts(house: House, now: Now) -> None:
    row = await house.agent()
    await house.turn(row, "t1", ran("Bash", 3.0))
    first = (await house.insights.findings.now("default"))[0]
    now.seconds += 3600
    await house.turn(row, "t2", ran("Bash", 20.0), called("y", tokens(1, 1)))
    again = await house.insights.findings.now("default")
    assert [(each.id, each.severity) for each in again] == [("slow-tool:Bash", "critical"), ("unpriced-calls", "info")]
    assert again[0].create_time == first.create_time
    assert again[1].create_time.seconds == int(now.seconds)
    now.seconds += 2 * 86400
    assert await found(house) == []


async def test_a_turn_is_counted_when_it_ends(house: House) -> None:
    row: AgentRow = await house.agent()
    await house.put(row, "t1", called("x", tokens(5, 5), 0.5))
    running = await overview(house, NOON, NOON + 60)
    assert (running.turn_count, running.active_agent_count, running.cost_usd) == (0, 1, 0.5)
    await house.put(row, "t1", complete())
    assert (await overview(house, NOON, NOON + 60)).turn_count == 1


async def test_a_month_is_days_and_the_same_sums(house: House, now: Now) -> None:
    """Whatever pieces a time is made of: with and without an agent, split and whole."""
    rows = [await house.agent("a1"), await house.agent("a2")]
    for number in range(200):
        await house.turn(
            rows[number % 2], f"t{number}", called("xy"[number % 3 == 0], tokens(10, 2), 0.1), ran("T", 0.5)
        )
        now.seconds += 4 * HOUR - 1 + number
    figures, start, end = house.insights.figures, at(NOON + 900), at(now.seconds)
    whole = await figures.performance("default", start, end, "")
    parts = [await figures.performance("default", start, end, agent_id) for agent_id in ("a1", "a2")]
    assert whole.turn_count == sum(part.turn_count for part in parts) == 199
    assert whole.tools[0].call_count == sum(part.tools[0].call_count for part in parts) == 199
    for interval in (0, 86400, 6 * HOUR):
        for group in (0, 1, 2):
            found = await figures.usage("default", start, end, interval, group, "", "")
            assert sum(row.turn_count for row in found) == 199
            assert sum(row.cost_usd for row in found) == pytest.approx(19.9)
