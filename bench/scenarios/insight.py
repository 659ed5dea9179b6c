"""Figures over a log of 1,000,000 events of 30 days: catching up with it, then asking.

The log is written by the store itself before the server starts, so that the first thing
the server meets is a million events that are in no sum yet."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from aster.v1 import agent_pb2, common_pb2, dashboard_service_pb2, event_pb2
from aster.v1.dashboard_service_pb2_grpc import DashboardServiceStub
from asteros import clock
from asteros.events.catalogue import Stamp
from asteros.events.cursor import CursorCodec
from asteros.events.frames import Sealer
from asteros.stores.base import Scope, Unit
from asteros.stores.sqlite import SqliteStore
from bench import agents
from bench.harness import Bench, Server, median
from bench.load import Call, Result
from bench.load import run as load
from bench.report import Row

AGENTS, DAYS, MODELS, TOOLS = 50, 30, 4, 12
TEXTS = 10  # of a turn, which has EVENTS events
EVENTS = 2 * TEXTS + 12
OVERVIEW_GOAL, TREND_GOAL, MEMORY_GOAL = 50.0, 200.0, 50.0  # ms, ms, MB
SERVICE = "/aster.v1.DashboardService/"
_AT_ONCE = 200  # turns of one transaction


def run(bench: Bench) -> list[Row]:
    count = bench.pick(100_000, 1_000_000)
    data = bench.folder("insight")
    began = time.perf_counter()
    cost = _write(data, count // EVENTS)
    bench.note("insight log", events=count, seconds=time.perf_counter() - began)
    with bench.aster() as empty:
        least = empty.process.rss_kib()
    with bench.aster(data) as ours:
        caught, cpu = _catch_up(ours, cost)
        grown = (ours.process.rss_kib() - least) / 1024
        asked = {name: _ask(bench, ours, method, request) for name, method, request in _questions()}
        after = (ours.process.rss_kib() - least) / 1024
    bench.note("insight", caught_s=caught, grown_mib=grown, after_mib=after)
    overview, trends = (asked[name] for name in ("overview", "trends"))
    slower = ", ".join(f"{name} {_p50(asked[name]):.1f}" for name in ("by_agent", "performance", "traces"))
    return [
        Row(
            "insight catch-up",
            f"{count / caught:,.0f} events/s",
            cpu / count * 1e6,
            note=f"{caught:.1f} s from the start",
        ),
        _row("insight overview", overview, OVERVIEW_GOAL, "of 30 days"),
        _row("insight trends", trends, TREND_GOAL, f"30 days by day and model; p50 in ms: {slower}"),
        Row(
            "insight memory",
            f"{grown:+.1f} MB, after the questions {after:+.1f} MB",
            goal=f"<= {MEMORY_GOAL:.0f} MB",
            met=after <= MEMORY_GOAL,
            note="RSS beside an empty server",
        ),
    ]


def _row(name: str, results: list[Result], goal: float, note: str) -> Row:
    p99 = median([result.call_us["p99"] / 1e3 for result in results])
    return Row(
        name, f"p50 {_p50(results):.1f} ms, p99 {p99:.1f} ms", median([result.us_call for result in results]),
        goal=f"p99 <= {goal:.0f} ms", met=p99 <= goal, note=note,
    )  # fmt: skip


def _p50(results: list[Result]) -> float:
    return median([result.call_us["p50"] / 1e3 for result in results])


def _times() -> dict[str, Any]:
    now = int(clock.now() / clock.NANOS)
    return {"start_time": Timestamp(seconds=now - DAYS * 86400), "end_time": Timestamp(seconds=now)}


def _questions() -> list[tuple[str, str, Message]]:
    pb, times = dashboard_service_pb2, _times()
    day = Duration(seconds=86400)
    return [
        ("overview", "GetOverview", pb.GetOverviewRequest(**times)),
        ("trends", "GetUsage", pb.GetUsageRequest(interval=day, group_by=pb.USAGE_GROUPING_MODEL, **times)),
        ("by_agent", "GetUsage", pb.GetUsageRequest(interval=day, group_by=pb.USAGE_GROUPING_AGENT, **times)),
        ("performance", "GetPerformance", pb.GetPerformanceRequest(**times)),
        ("traces", "ListTraces", pb.ListTracesRequest(**times)),
    ]


def _ask(bench: Bench, ours: Server, method: str, request: Message) -> list[Result]:
    """One question after the other."""

    def once() -> Result:
        result = load(ours.port, Call.of(SERVICE + method, request), ours.process.cpu_s, {"rpcs": 50, "items": 0})
        if result.failed:
            raise RuntimeError(f"{result.failed} {method} failed: {result.codes} {result.extra}")
        return result

    return bench.repeat(once)


def _catch_up(ours: Server, cost: float) -> tuple[float, float]:
    """Seconds until the figures hold the whole log, from the first answer on, and the CPU they took."""
    began, cpu = time.perf_counter(), ours.process.cpu_s()
    request = dashboard_service_pb2.GetOverviewRequest(**_times())
    with ours.channel() as channel:
        stub = DashboardServiceStub(channel)
        while abs(stub.GetOverview(request, timeout=30).overview.cost_usd - cost) > 0.005:
            if time.perf_counter() - began > 300:
                raise RuntimeError("the figures never held the whole log")
    return time.perf_counter() - began, ours.process.cpu_s() - cpu


# -- the log ---------------------------------------------------------------------------


def _write(data: Path, turns: int) -> float:
    """Stores so many turns, evenly over the days; what they cost in all."""
    names = agents.register(data, AGENTS)
    real, now = clock.now, clock.now()
    times = iter(now - DAYS * 86400 * clock.NANOS * (turns - number) // (turns + 1) for number in range(turns))
    try:
        return asyncio.run(_fill(data, names, turns, times))
    finally:
        clock.now = real


async def _fill(data: Path, names: list[str], turns: int, times: Iterator[int]) -> float:
    store = SqliteStore(data, durability="normal")
    await store.open()
    seal, dice, cost = Sealer(CursorCodec(store.secret)), random.Random(7), 0.0
    rows = [row for name in names if (row := await store.agent("default", name))]
    owners = [await store.acquire(row.key) for row in rows]
    for first in range(0, turns, _AT_ONCE):
        for number in range(first, min(first + _AT_ONCE, turns)):
            at, owner = next(times), owners[number % len(owners)]
            clock.now = lambda at=at: at  # type: ignore[misc]
            scope = Scope(f"ses-{owner.agent.id}-{number % 5}", f"trn-{number:08}")
            stamp, units = Stamp(owner.agent.id, scope), []
            for payloads in _turn(dice):
                cost += sum(each.cost_usd for each in payloads if isinstance(each, event_pb2.ModelCall))
                drafts = [
                    stamp.text(each.delta) if isinstance(each, event_pb2.TextChunk) else stamp.event(each)
                    for each in payloads
                ]
                units.append(Unit(owner.key, owner.epoch, scope, drafts))
            await store.commit(units, seal)
    await store.aclose()
    return cost


def _turn(dice: random.Random) -> Iterator[list[Message]]:
    """The units of a turn: a model call with a tool, and one without."""
    text = event_pb2.TextChunk(delta="four words or so ")
    yield [event_pb2.StateChanged(activity=agent_pb2.AGENT_ACTIVITY_WORKING)]
    yield [text] * TEXTS
    yield [event_pb2.TextDone(text="x" * 150), *_call(dice)]
    name = f"Tool{dice.randrange(TOOLS)}"
    took = clock.duration(dice.lognormvariate(-1, 1.5))
    yield [event_pb2.ToolStart(call=common_pb2.ToolCall(id="c", name=name, input_json="{}"))]
    result = common_pb2.ToolResult(call_id="c", name=name, output_json="{}")
    ran = event_pb2.ToolExecution(tool_name=name, call_id="c", duration=took, success=dice.random() < 0.97)
    yield [event_pb2.ToolEnd(result=result, duration=took), ran, event_pb2.StepComplete()]
    yield [text] * TEXTS
    failed = dice.random() < 0.02
    end = agent_pb2.TURN_STATE_FAILED if failed else agent_pb2.TURN_STATE_COMPLETED
    yield [*_call(dice), event_pb2.StepComplete(), event_pb2.TurnComplete(state=end)]


def _call(dice: random.Random) -> list[Message]:
    sent, said = dice.randrange(500, 20_000), dice.randrange(20, 800)
    usage = common_pb2.TokenUsage(input_tokens=sent, output_tokens=said, total_tokens=sent + said)
    first, token = dice.lognormvariate(-0.5, 0.5), dice.lognormvariate(-4, 0.3)
    call = event_pb2.ModelCall(
        provider="p", model=f"model-{dice.randrange(MODELS)}", usage=usage, cost_usd=(3 * sent + 15 * said) / 1e6,
        duration=clock.duration(first + token * said), time_to_first_token=clock.duration(first), attempt=1,
    )  # fmt: skip
    return [call, usage]
