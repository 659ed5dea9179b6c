"""Figures of a time: overview, usage, performance. Times are whole minutes, rounded outwards."""

from collections.abc import Mapping
from dataclasses import dataclass

from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock
from asteros.insight.follower import MINUTES_KEPT, Follower
from asteros.insight.histogram import Latency, length, merged
from asteros.stores.insights import (
    DAY,
    HOUR,
    MINUTE,
    NANO_USD,
    InsightStore,
    Slot,
    Timed,
    Usage,
    UsageQuery,
    Window,
)

MOST_KEYS = 20  # of a split; the rest is "other"
MOST_TOOLS = 50
_ALWAYS = DAY << 24  # seconds: one row for the whole time
_INT32 = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Period:
    """A time: seconds since 1970, whole minutes; hours where minutes are no longer kept."""

    start: int
    end: int

    @classmethod
    def of(cls, start: int, end: int) -> "Period":
        """What covers the nanoseconds from start to end."""
        kept = clock.now() // clock.NANOS - MINUTES_KEPT
        first, last = start // clock.NANOS, -(-end // clock.NANOS)
        down, up = (HOUR if first < kept + HOUR else MINUTE), (HOUR if last < kept + HOUR else MINUTE)
        return cls(first // down * down, -(-last // up) * up)

    def window(self, row_seconds: int = DAY) -> Window:
        """``row_seconds``: no piece of it lies in two rows; minutes that are gone are no piece."""
        if row_seconds % DAY == 0:
            return Window.of(self.start, self.end)
        recent = self.start > clock.now() // clock.NANOS - MINUTES_KEPT
        return Window.of(self.start, self.end, MINUTE if recent and row_seconds % HOUR else HOUR)


class Figures:
    """Answers from the sums, which are brought up to date first."""

    def __init__(self, store: InsightStore, follower: Follower) -> None:
        self._store = store
        self._follower = follower

    async def overview(self, tenant: str, start: int, end: int) -> pb.Overview:
        """The figures of the time from start to end, nanoseconds."""
        sums = await self.sums(tenant, start, end)
        agents, sessions = await self._store.active(tenant, start, end)
        histograms = await self.histograms(tenant, start, end, Timed.TURN)
        return pb.Overview(
            active_agent_count=_int32(agents),
            active_session_count=_int32(sessions),
            turn_count=_int32(sums.turns),
            input_tokens=sums.input_tokens,
            output_tokens=sums.output_tokens,
            cost_usd=sums.cost_nanos / NANO_USD,
            error_rate=sums.failed_turns / sums.turns if sums.turns else 0.0,
            mean_turn_duration=length(Latency.of(merged(histograms.values())).mean),
        )

    async def sums(self, tenant: str, start: int, end: int, agent_id: str = "") -> Usage:
        """Everything that is counted, in one."""
        await self._follower.fresh()
        query = UsageQuery(tenant, Period.of(start, end).window(), _ALWAYS, agent_id=agent_id)
        rows = await self._store.usage(query, MOST_KEYS)
        return rows[0][2] if rows else Usage()

    async def histograms(
        self, tenant: str, start: int, end: int, *kinds: Timed, agent_id: str = ""
    ) -> Mapping[tuple[int, str], dict[int, Slot]]:
        """Histograms by kind and name."""
        await self._follower.fresh()
        window = Period.of(start, end).window(HOUR if agent_id else DAY)
        return await self._store.latencies(tenant, window, kinds, agent_id)

    async def usage(
        self, tenant: str, start: int, end: int, row_seconds: int, group: int, agent_id: str, model: str
    ) -> list[pb.UsageRow]:
        """Rows by time, then by key. ``row_seconds``: whole minutes; 0: one row for the whole time.

        Rows begin at multiples of their length since 1970, UTC; the first and the last may hold
        less than all of it. Without a split there is a row for every interval, else for those
        in which something happened."""
        await self._follower.fresh()
        period = Period.of(start, end)
        seconds = row_seconds or _ALWAYS
        query = UsageQuery(tenant, period.window(seconds), seconds, group, agent_id, model)
        rows = await self._store.usage(query, MOST_KEYS)
        if not group:
            found = {at: sums for at, _, sums in rows}
            first = period.start // seconds * seconds
            rows = [(at, "", found.get(at, Usage())) for at in range(first, period.end, seconds)]
        return [_row(at if row_seconds else period.start, key, sums) for at, key, sums in rows]

    async def performance(self, tenant: str, start: int, end: int, agent_id: str) -> pb.Performance:
        """How long things took."""
        sums = await self.sums(tenant, start, end, agent_id)
        found = await self.histograms(tenant, start, end, *Timed, agent_id=agent_id)
        tools = {name: Latency.of(slots) for (kind, name), slots in found.items() if kind == Timed.TOOL}
        slowest = sorted(tools.items(), key=lambda tool: (-tool[1].p95, tool[0]))[:MOST_TOOLS]
        return pb.Performance(
            turn_count=_int32(sums.turns),
            failed_turn_count=_int32(sums.failed_turns),
            mean_step_count=sums.steps / sums.turns if sums.turns else 0.0,
            turn=Latency.of(found.get((Timed.TURN, ""), {})).summary(),
            time_to_first_token=Latency.of(found.get((Timed.FIRST_TOKEN, ""), {})).summary(),
            time_per_output_token=Latency.of(found.get((Timed.OUTPUT_TOKEN, ""), {})).summary(),
            tools=[
                pb.ToolLatency(tool_name=name, call_count=_int32(timed.count), latency=timed.summary())
                for name, timed in slowest
            ],
        )


def _row(start: int, key: str, sums: Usage) -> pb.UsageRow:
    return pb.UsageRow(
        start_time=clock.timestamp(start * clock.NANOS),
        key=key,
        turn_count=_int32(sums.turns),
        failed_turn_count=_int32(sums.failed_turns),
        model_call_count=_int32(sums.model_calls),
        tool_call_count=_int32(sums.tool_calls),
        failed_tool_call_count=_int32(sums.failed_tool_calls),
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        cost_usd=sums.cost_nanos / NANO_USD,
        unpriced_call_count=_int32(sums.unpriced_calls),
    )


def _int32(count: int) -> int:
    return min(count, _INT32)
