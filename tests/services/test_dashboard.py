"""DashboardService over the wire: it agrees with the ledger, pages, refuses, and keeps prices."""

import asyncio
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from services.helpers import Server, bearer, pages, refused, serving

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import dashboard_service_pb2 as pb
from aster.v1.dashboard_service_pb2_grpc import DashboardServiceStub
from asteros.services.credentials import new_key

pytestmark = pytest.mark.anyio
ALLOW = common_pb2.PERMISSION_POLICY_ALLOW


@pytest.fixture
def dashboard(server: Server) -> DashboardServiceStub:
    return DashboardServiceStub(server.channel)


async def chat(server: Server, agent_id: str, message: str = "one two three") -> str:
    request = agents.ChatRequest(agent_id=agent_id, message=message)
    return (await server.agents.Chat(request)).turn.id


async def test_the_sums_are_those_of_the_ledger(tmp_path: Path) -> None:
    """Tokens and money of turns, sessions and agents, those of helpers too, to the cent and below."""
    async with serving(tmp_path) as server:
        dashboard = DashboardServiceStub(server.channel)
        for model, price in (("echo", 3.0), ("demo", 7.0), ("script:helped", 11.0)):
            await dashboard.SetPrice(
                pb.SetPriceRequest(
                    price=pb.Price(model=model, input_usd_per_million=price, output_usd_per_million=price * 5)
                )
            )
        script = (
            "- - tool: {name: Task, input: {prompt: look around, subagent_type: Explore, model: echo}}\n"
            "- - text: Helped.\n"
        )
        helped = await server.agent(server.script("helped", script), template_id="assistant", tools=["Task"],
                                    tool_permissions={"Task": ALLOW})  # fmt: skip
        known = [await server.agent("echo"), await server.agent("demo", template_id="assistant"), helped]
        for agent_id in known:
            await asyncio.gather(*(chat(server, agent_id) for _ in range(4)))
        status = [
            (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status for agent_id in known
        ]
        overview = (await dashboard.GetOverview(pb.GetOverviewRequest())).overview
        assert overview.cost_usd > 0
        assert overview.cost_usd == pytest.approx(sum(each.total_cost_usd for each in status), abs=1e-8)
        assert overview.input_tokens + overview.output_tokens == sum(each.total_tokens for each in status)
        by_agent = await dashboard.GetUsage(pb.GetUsageRequest(group_by=pb.USAGE_GROUPING_AGENT))
        assert {row.key: pytest.approx(row.cost_usd, abs=1e-8) for row in by_agent.rows} == {
            agent_id: each.total_cost_usd for agent_id, each in zip(known, status, strict=True)
        }
        traces = (await dashboard.ListTraces(pb.ListTracesRequest(page_size=1000))).traces
        turns = [turn for agent_id in known for turn in await _turns(server, agent_id)]
        assert {trace.id: pytest.approx(trace.cost_usd, abs=1e-8) for trace in traces} == {
            turn.id: turn.cost_usd for turn in turns
        }
        assert {trace.id: trace.usage for trace in traces} == {turn.id: turn.usage for turn in turns}
        assert overview.turn_count == len(turns) > 12


async def _turns(server: Server, agent_id: str) -> list[agent_pb2.Turn]:
    request = agents.ListTurnsRequest(agent_id=agent_id, page_size=1000)
    return list((await server.agents.ListTurns(request)).turns)


async def test_a_trace_of_a_real_turn(server: Server, dashboard: DashboardServiceStub) -> None:
    agent_id = await server.agent("demo", template_id="assistant", tool_permissions={"Write": ALLOW})
    turn_id = await chat(server, agent_id, "write a.txt: hi")
    trace = (await dashboard.GetTrace(pb.GetTraceRequest(turn_id=turn_id))).trace
    assert (trace.name, trace.status, trace.agent_id) == ("write a.txt: hi", "ok", agent_id)
    parts = trace.root.children
    assert [(part.kind, part.name, part.status) for part in parts] == [
        ("llm", "demo", "ok"),
        ("tool", "Write", "ok"),
        ("llm", "demo", "ok"),
    ]
    times = [trace.root.start_time, *(part.start_time for part in parts), trace.root.end_time]
    assert [each.ToNanoseconds() for each in times] == sorted(each.ToNanoseconds() for each in times)
    assert trace.span_count == 4


async def test_traces_over_three_pages(tmp_path: Path) -> None:
    """A turn that begins between two pages moves neither them nor the total."""
    async with serving(tmp_path) as server:
        dashboard = DashboardServiceStub(server.channel)
        agent_id = await server.agent()
        turns = [await chat(server, agent_id) for _ in range(5)]
        request = pb.ListTracesRequest(page_size=2)
        first = await dashboard.ListTraces(request)
        await chat(server, agent_id)
        request.page_token = first.next_page_token
        found = [first.traces, *await pages(dashboard.ListTraces, request, "traces")]
        assert [[trace.id for trace in page] for page in found] == [turns[4:2:-1], turns[2:0:-1], turns[:1]]
        assert first.total_size == 5
        skipped = await dashboard.ListTraces(pb.ListTracesRequest(skip=4))
        assert ([trace.id for trace in skipped.traces], skipped.total_size) == ([turns[1], turns[0]], 6)


async def test_prices_survive_a_restart_and_count_from_then_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        dashboard, agent_id = DashboardServiceStub(server.channel), await server.agent()
        free = pb.GetOverviewRequest()
        await chat(server, agent_id)
        assert (await dashboard.GetOverview(free)).overview.cost_usd == 0
        price = pb.Price(model="echo", input_usd_per_million=1e6, output_usd_per_million=0)
        assert (await dashboard.SetPrice(pb.SetPriceRequest(price=price))).price == price
    async with serving(tmp_path) as server:
        dashboard = DashboardServiceStub(server.channel)
        assert price in await _prices(dashboard)
        await chat(server, agent_id)
        overview = (await dashboard.GetOverview(free)).overview
        assert 0 < overview.cost_usd < overview.input_tokens  # the first call was free, and stays so


async def _prices(dashboard: DashboardServiceStub) -> list[pb.Price]:
    request = pb.ListPricesRequest(page_size=7)
    return [price for page in await pages(dashboard.ListPrices, request, "prices") for price in page]


async def test_prices_by_model(dashboard: DashboardServiceStub) -> None:
    zero = pb.Price(model="new-model", cache_read_usd_per_million=0)
    await dashboard.SetPrice(pb.SetPriceRequest(price=zero))
    found = await _prices(dashboard)
    assert [price.model for price in found] == sorted({price.model for price in found})
    assert pb.Price(model="new-model") in found  # a cache price like that of input is no price of its own
    assert "claude-*" not in {price.model for price in found}
    assert "claude-opus-5" in {price.model for price in found}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SetPriceRequest(), "price"),
        (pb.SetPriceRequest(price=pb.Price()), "price.model"),
        (pb.SetPriceRequest(price=pb.Price(model="m" * 201)), "price.model"),
        (pb.SetPriceRequest(price=pb.Price(model="a\nb")), "price.model"),
        (pb.SetPriceRequest(price=pb.Price(model="m", input_usd_per_million=-1)), "price.input_usd_per_million"),
        (
            pb.SetPriceRequest(price=pb.Price(model="m", output_usd_per_million=float("nan"))),
            "price.output_usd_per_million",
        ),
        (
            pb.SetPriceRequest(price=pb.Price(model="m", cache_read_usd_per_million=float("inf"))),
            "price.cache_read_usd_per_million",
        ),
        (pb.GetUsageRequest(interval=Duration(seconds=59)), "interval"),
        (pb.GetUsageRequest(interval=Duration(seconds=90)), "interval"),
        (pb.GetUsageRequest(interval=Duration(seconds=60)), "interval"),  # 1,440 rows a day
        (pb.GetUsageRequest(group_by=9), "group_by"),  # type: ignore[arg-type]
        (pb.GetOverviewRequest(start_time=Timestamp(seconds=9), end_time=Timestamp(seconds=9)), "start_time"),
        (pb.GetPerformanceRequest(start_time=Timestamp(seconds=1 << 33)), "start_time"),
        (pb.ListTracesRequest(status="slow"), "status"),
        (pb.ListTracesRequest(skip=-1), "skip"),
        (pb.ListTracesRequest(page_size=-1), "page_size"),
        (pb.GetTraceRequest(), "turn_id"),
    ],
    ids=lambda case: "" if isinstance(case, str) else type(case).__name__,
)
async def test_bad_requests(dashboard: DashboardServiceStub, request_: object, field: str) -> None:
    method = getattr(dashboard, type(request_).__name__.removesuffix("Request"))
    refusal = await refused(method(request_), "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    assert refusal.fields == [field]


async def test_what_is_not_there(dashboard: DashboardServiceStub) -> None:
    await refused(
        dashboard.GetTrace(pb.GetTraceRequest(turn_id="trn_no")), "NOT_FOUND", "TURN_NOT_FOUND", "ResourceInfo"
    )
    for answer in (
        dashboard.GetUsage(pb.GetUsageRequest(agent_id="nobody")),
        dashboard.GetPerformance(pb.GetPerformanceRequest(agent_id="nobody")),
        dashboard.ListTraces(pb.ListTracesRequest(agent_id="nobody")),
    ):
        await refused(answer, "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")


async def test_who_may_look_may_not_set_prices(tmp_path: Path) -> None:
    async with serving(tmp_path, api_key="root", metadata=bearer("root")) as server:
        row, text = new_key(server.store.secret, "default", "looker", ["events:monitor:read"])
        await server.store.put_key(row)
        async with grpc.aio.insecure_channel(server.address) as channel:
            looker, metadata = DashboardServiceStub(channel), bearer(text)
            await looker.GetOverview(pb.GetOverviewRequest(), metadata=metadata)
            await looker.ListPrices(pb.ListPricesRequest(), metadata=metadata)
            price = pb.SetPriceRequest(price=pb.Price(model="m"))
            await refused(looker.SetPrice(price, metadata=metadata), "PERMISSION_DENIED", "SCOPE_REQUIRED")


async def test_insights_page(tmp_path: Path) -> None:
    """A model without a price, and turns that fail: the worse one first."""
    async with serving(tmp_path) as server:
        dashboard = DashboardServiceStub(server.channel)
        bad = await server.agent(server.script("bad", "- - fail: auth\n"))
        await chat_fails(server, bad)
        found = await pages(dashboard.ListInsights, pb.ListInsightsRequest(page_size=1), "insights")
        assert [[each.kind for each in page] for page in found] == [["reliability"]]
        (insight,) = found[0]
        assert (insight.severity, "1 of 1" in insight.description) == ("critical", True)


async def chat_fails(server: Server, agent_id: str) -> None:
    sent = await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x"))
    turn = await server.ended(agent_id, sent.turn.id)
    assert turn.HasField("error")
