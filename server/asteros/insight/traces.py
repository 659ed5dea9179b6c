"""Traces: one turn is one trace. The list comes from the sums' rows, the tree from the events themselves.

A turn is the root; under it stand its model calls and tools, in the order they began; what a
tool delegated stands under the tool. Names are those of OpenTelemetry's conventions for
generative AI, as in the telemetry middleware."""

from collections.abc import Sequence

from google.rpc import status_pb2

from aster.v1 import common_pb2
from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock, errors
from asteros.events import frames
from asteros.insight.follower import Follower
from asteros.insight.histogram import length
from asteros.insight.spans import STATUS, SpanTree, shown
from asteros.stores.base import Segment, Store
from asteros.stores.insights import NANO_USD, InsightStore, TraceQuery, TraceRow, TraceStatus

MAX_SPANS = 5_000  # of a tree; what comes later is left out, and span_count shows it
MAX_EVENTS = 200_000  # that are looked at for one turn
MAX_DELEGATED = 500  # turns under one trace
MAX_NAME = 80  # characters
_READ = 2_048  # events at once


class Traces:
    """Reads the traces of one store."""

    def __init__(self, sums: InsightStore, store: Store, follower: Follower) -> None:
        self._sums = sums
        self._store = store
        self._follower = follower

    async def page(
        self, query: TraceQuery, before: tuple[int, str] | None, skip: int, limit: int
    ) -> tuple[list[pb.Trace], list[tuple[int, str]], int]:
        """Traces without spans, newest first; where each stands in the order; how many there are in all."""
        await self._follower.fresh()
        rows, total = await self._sums.traces(query, before, skip, limit)
        return await self._traces(rows), [(row.start_time, row.turn_id) for row in rows], total

    async def get(self, tenant: str, turn_id: str) -> pb.Trace:
        """A trace with its spans. Of a turn whose events retention took away, only what is summed is left.

        :raises TurnNotFound:"""
        await self._follower.fresh()
        row = await self._sums.trace(tenant, turn_id)
        if row is None:
            raise errors.TurnNotFound(turn_id)
        below = await self._sums.traces_below(tenant, turn_id, MAX_DELEGATED)
        tree = SpanTree(MAX_SPANS)
        for each in [row, *below]:
            await self._read(tree, each)
        for part in below:
            row.include(part)
        (trace,) = await self._traces([row])
        trace.root.CopyFrom(tree.root(row.turn_id))
        return trace

    async def _read(self, tree: SpanTree, row: TraceRow) -> None:
        """Adds the spans of one turn to a tree."""
        tree.turn(row)
        after, seen = row.first_sequence - 1, 0
        while after < row.last_sequence and seen < MAX_EVENTS and not tree.full:
            segments = await self._store.read_agent_segments(row.agent_key, after, _READ)
            if not segments:
                break
            for segment in segments:
                if segment.scope.turn_id == row.turn_id:
                    _add_spans(tree, row, segment)
                after = segment.last_sequence
                seen += segment.count

    async def _traces(self, rows: Sequence[TraceRow]) -> list[pb.Trace]:
        said = await self._sums.said_first([(row.agent_key, row.turn_id) for row in rows])
        return [_trace(row, said.get((row.agent_key, row.turn_id), "")) for row in rows]


def _trace(row: TraceRow, said: str) -> pb.Trace:
    return pb.Trace(
        id=row.turn_id,
        name=" ".join(said.split())[:MAX_NAME],
        agent_id=row.agent_id,
        session_id=row.session_id,
        start_time=clock.timestamp(row.start_time),
        duration=length(max((row.end_time or clock.now()) - row.start_time, 0)),
        status=STATUS[TraceStatus(row.status)],
        span_count=row.span_count,
        usage=common_pb2.TokenUsage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_input_tokens=row.cached_input_tokens,
            cache_write_tokens=row.cache_write_tokens,
            reasoning_tokens=row.reasoning_tokens,
            total_tokens=row.input_tokens + row.output_tokens,
        ),
        cost_usd=row.cost_nanos / NANO_USD,
        error=status_pb2.Status.FromString(row.error) if row.error else None,
    )


def _add_spans(tree: SpanTree, row: TraceRow, segment: Segment) -> None:
    indexes = shown(segment)
    for frame in frames.event_frames(segment, indexes) if indexes else ():
        tree.event(row, frame.event)
