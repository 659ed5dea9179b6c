"""DashboardService: figures, traces, findings, prices."""

from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock, errors
from asteros.cosmos.registry import Registry
from asteros.insight.findings import DAY
from asteros.insight.insights import Insights
from asteros.insight.spans import STATUS
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.stores.insights import TraceQuery

_STATUS = {name: int(status) for status, name in STATUS.items()}
_LATEST = (1 << 63) - 1  # nanoseconds that a store can compare: the year 9999 is not
MAX_ROWS = 1000  # of GetUsage, per key


class DashboardServicer:
    """Check, call, translate."""

    def __init__(self, registry: Registry, insights: Insights, pages: Pages) -> None:
        self._registry = registry
        self._figures = insights.figures
        self._traces = insights.traces
        self._findings = insights.findings
        self._prices = insights.prices
        self._pages = pages

    async def GetOverview(self, request: pb.GetOverviewRequest, call: Call) -> pb.GetOverviewResponse:
        start, end = _times(request)
        return pb.GetOverviewResponse(overview=await self._figures.overview(call.caller.tenant, start, end))

    async def GetUsage(self, request: pb.GetUsageRequest, call: Call) -> pb.GetUsageResponse:
        start, end = _times(request)
        seconds = request.interval.seconds
        length = seconds * clock.NANOS
        if seconds and -(-end // length) - start // length > MAX_ROWS:
            raise errors.bad_field("interval", f"gives more than {MAX_ROWS} rows; ask for longer ones or less time")
        await self._exists(call, request.agent_id)
        rows = await self._figures.usage(
            call.caller.tenant, start, end, seconds, request.group_by, request.agent_id, request.model
        )
        return pb.GetUsageResponse(rows=rows)

    async def GetPerformance(self, request: pb.GetPerformanceRequest, call: Call) -> pb.GetPerformanceResponse:
        start, end = _times(request)
        await self._exists(call, request.agent_id)
        found = await self._figures.performance(call.caller.tenant, start, end, request.agent_id)
        return pb.GetPerformanceResponse(performance=found)

    async def ListTraces(self, request: pb.ListTracesRequest, call: Call) -> pb.ListTracesResponse:
        size, token = self._pages.size(request), self._pages.start(call, request)
        start, end = _times(request)
        await self._exists(call, request.agent_id)
        before = None
        if token:  # the times stay those of the first page, else new turns would move the total
            first, last, time, turn_id = token.split(" ", 3)
            start, end, before = int(first), int(last), (int(time), turn_id)
        query = TraceQuery(call.caller.tenant, start, end, request.agent_id, _STATUS.get(request.status))
        skip = 0 if token else request.skip
        traces, places, total = await self._traces.page(query, before, skip, size + 1)
        response = pb.ListTracesResponse(traces=traces[:size], total_size=min(total, (1 << 31) - 1))
        if len(traces) > size:
            began, turn_id = places[size - 1]
            response.next_page_token = self._pages.token(call, request, f"{start} {end} {began} {turn_id}")
        return response

    async def GetTrace(self, request: pb.GetTraceRequest, call: Call) -> pb.GetTraceResponse:
        return pb.GetTraceResponse(trace=await self._traces.get(call.caller.tenant, request.turn_id))

    async def ListInsights(self, request: pb.ListInsightsRequest, call: Call) -> pb.ListInsightsResponse:
        size, first = self._pages.size(request), int(self._pages.start(call, request) or 0)
        found = await self._findings.now(call.caller.tenant)
        response = pb.ListInsightsResponse(insights=found[first : first + size])
        if len(found) > first + size:
            response.next_page_token = self._pages.token(call, request, str(first + size))
        return response

    async def ListPrices(self, request: pb.ListPricesRequest, call: Call) -> pb.ListPricesResponse:
        size, after = self._pages.size(request), self._pages.start(call, request)
        found = [price for price in self._prices.all() if price.model > after]
        response = pb.ListPricesResponse(prices=found[:size])
        if len(found) > size:
            response.next_page_token = self._pages.token(call, request, found[size - 1].model)
        return response

    async def SetPrice(self, request: pb.SetPriceRequest, call: Call) -> pb.SetPriceResponse:  # noqa: ARG002
        return pb.SetPriceResponse(price=await self._prices.put(request.price))

    async def _exists(self, call: Call, agent_id: str) -> None:
        """
        :raises AgentNotFound: an agent is named and unknown."""
        if agent_id:
            await self._registry.row(call.caller.tenant, agent_id)


def _times(
    request: pb.GetOverviewRequest | pb.GetUsageRequest | pb.GetPerformanceRequest | pb.ListTracesRequest,
) -> tuple[int, int]:
    """What a request asks about, nanoseconds.

    :raises FieldViolation: it ends before it begins."""
    end = min(clock.nanos(request.end_time), _LATEST) if request.HasField("end_time") else clock.now()
    start = min(clock.nanos(request.start_time), _LATEST) if request.HasField("start_time") else max(end - DAY, 0)
    if start >= end:
        raise errors.bad_field("start_time", "must be before end_time")
    return start, end
