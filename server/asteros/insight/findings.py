"""What deserves attention, by fixed rules over the last 24 hours."""

import json

from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock
from asteros.insight.figures import Figures
from asteros.insight.histogram import Latency
from asteros.stores.insights import NANO_USD, Timed, Usage

DAY = 86_400 * clock.NANOS
SLOW_TOOL = 2.0  # seconds, p95; critical from five times that
ERROR_RATE = 0.05  # of turns; critical from four times that
DAILY_COST = 10.0  # US dollars; critical from ten times that
_ORDER = {"critical": 0, "warning": 1, "info": 2}


class Findings:
    """Remembers since when each finding lasts, as long as the process runs."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._since: dict[str, dict[str, int]] = {}  # by tenant and id, nanoseconds

    async def now(self, tenant: str) -> list[pb.Insight]:
        """All that holds now, most severe first."""
        now = clock.now()
        sums = await self._figures.sums(tenant, now - DAY, now)
        histograms = await self._figures.histograms(tenant, now - DAY, now, Timed.TOOL)
        found = [*_of_sums(sums)]
        for (_, tool), slots in histograms.items():
            found += _slow_tool(tool, Latency.of(slots))
        before = self._since.get(tenant, {})
        since = self._since[tenant] = {each.id: before.get(each.id, now) for each in found}
        for each in found:
            each.create_time.CopyFrom(clock.timestamp(since[each.id]))
        return sorted(found, key=lambda each: (_ORDER[each.severity], each.id))


def _severity(value: float, critical: float) -> str:
    return "critical" if value >= critical else "warning"


def _slow_tool(tool: str, timed: Latency) -> list[pb.Insight]:
    p95 = timed.p95 / clock.NANOS
    if p95 <= SLOW_TOOL:
        return []
    return [
        pb.Insight(
            id=f"slow-tool:{tool}",
            kind="performance",
            severity=_severity(p95, SLOW_TOOL * 5),
            title=f"{tool} is slow",
            description=f"5 of 100 calls of {tool} took longer than {p95:.1f} s; there were {timed.count} in 24 hours.",
            suggestion="Look at its slowest calls in the traces; give it less to do at once, or a timeout.",
            data_json=json.dumps({"tool": tool, "p95_seconds": round(p95, 3), "call_count": timed.count}),
        )
    ]


def _of_sums(sums: Usage) -> list[pb.Insight]:
    return [*_failing(sums), *_expensive(sums), *_unpriced(sums)]


def _failing(sums: Usage) -> list[pb.Insight]:
    rate = sums.failed_turns / sums.turns if sums.turns else 0.0
    if rate <= ERROR_RATE:
        return []
    return [
        pb.Insight(
            id="error-rate",
            kind="reliability",
            severity=_severity(rate, ERROR_RATE * 4),
            title="Many turns fail",
            description=f"{sums.failed_turns} of {sums.turns} turns failed in 24 hours ({rate:.1%}).",
            suggestion="Look at the traces with status error; their reason says whether model, budget or tool failed.",
            data_json=json.dumps({"failed": sums.failed_turns, "turns": sums.turns, "rate": round(rate, 4)}),
        )
    ]


def _expensive(sums: Usage) -> list[pb.Insight]:
    cost = sums.cost_nanos / NANO_USD
    if cost <= DAILY_COST:
        return []
    return [
        pb.Insight(
            id="daily-cost",
            kind="cost",
            severity=_severity(cost, DAILY_COST * 10),
            title="Model calls are expensive",
            description=f"Model calls cost {cost:.2f} USD in 24 hours.",
            suggestion="Split usage by agent and by model; set a budget, or route simple work to a cheaper model.",
            data_json=json.dumps({"cost_usd": round(cost, 2)}),
        )
    ]


def _unpriced(sums: Usage) -> list[pb.Insight]:
    if not sums.unpriced_calls:
        return []
    return [
        pb.Insight(
            id="unpriced-calls",
            kind="usage",
            severity="info",
            title="Some model calls have no price",
            description=f"{sums.unpriced_calls} of {sums.model_calls} model calls in 24 hours are not in the costs.",
            suggestion="Set the prices of their models.",
            data_json=json.dumps({"unpriced": sums.unpriced_calls, "model_calls": sums.model_calls}),
        )
    ]
