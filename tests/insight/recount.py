"""The sums counted again from every event, one by one and without any state of their making."""

from collections import defaultdict

from aster.v1 import agent_pb2, event_pb2
from asteros import clock
from asteros.events.frames import events
from asteros.insight.histogram import slot_of
from asteros.stores.base import AgentRow
from asteros.stores.sqlite import SqliteStore

Sums = dict[tuple[object, ...], list[int]]


async def recount(store: SqliteStore, rows: list[AgentRow]) -> tuple[Sums, Sums]:
    """Usage and histograms of the whole log, by minute, hour and day, with the keys of their tables."""
    usage: Sums = defaultdict(lambda: [0] * 13)
    slots: Sums = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        segments = await store.read_agent_segments(row.key, 0, 1_000_000)
        log = [event for segment in segments for event in events(segment)]
        units = {segment.first_sequence for segment in segments}
        for event in log:
            _count(event, log, units, row, usage, slots)
    return dict(usage), dict(slots)


def _count(
    event: event_pb2.Event, log: list[event_pb2.Event], units: set[int], row: AgentRow, usage: Sums, slots: Sums
) -> None:
    before = [each for each in log if each.turn_id == event.turn_id and each.sequence <= event.sequence]
    model = _model(before) if event.turn_id else ""
    counts = _counts(event, log, units)
    if event.event_type in ("monitor.model_call", "monitor.token_usage"):
        model = event.monitor.model_call.model
    mine = row.agent.id
    for grain, agent_id in ((60, mine), (3600, mine), (86400, mine), (86400, "")):
        start = event.create_time.seconds // grain * grain
        if any(counts):
            key = (row.tenant, grain, start, agent_id, model)
            usage[key] = [a + b for a, b in zip(usage[key], counts, strict=True)]
        for kind, name, nanos in _times(event, before) if (grain, agent_id) != (86400, mine) else ():
            sums = slots[row.tenant, grain, kind, start, agent_id, name, slot_of(nanos)]
            sums[:] = [sums[0] + 1, sums[1] + nanos, max(sums[2], nanos)]


def _model(before: list[event_pb2.Event]) -> str:
    calls = [each.monitor.model_call for each in before if each.event_type == "monitor.model_call"]
    good = [call.model for call in calls if not call.HasField("error")]
    return good[-1] if good else calls[0].model if calls else ""


def _counts(event: event_pb2.Event, log: list[event_pb2.Event], units: set[int]) -> list[int]:
    """In the order of the columns."""
    kind = event.event_type
    end, call, tool = event.progress.complete, event.monitor.model_call, event.monitor.tool_execution
    repeats = event.sequence not in units and log[event.sequence - 2].event_type == "monitor.model_call"
    alone = kind == "monitor.token_usage" and not repeats
    asked = kind == "monitor.model_call" or alone
    tokens = call.usage if kind == "monitor.model_call" else event.monitor.token_usage
    return [
        kind == "progress.complete",
        kind == "progress.complete" and end.state == agent_pb2.TURN_STATE_FAILED,
        kind == "monitor.step_complete",
        asked,
        asked and not call.HasField("cost_usd"),
        kind == "monitor.tool_execution",
        kind == "monitor.tool_execution" and not tool.success,
        *(
            (tokens.input_tokens, tokens.output_tokens, tokens.cached_input_tokens, tokens.cache_write_tokens, 0)
            if asked
            else (0, 0, 0, 0, 0)
        ),
        round(call.cost_usd * 1e9) if asked else 0,
    ]


def _times(event: event_pb2.Event, before: list[event_pb2.Event]) -> list[tuple[int, str, int]]:
    """(kind, name, nanoseconds) that an event tells."""
    match event.event_type:
        case "monitor.model_call":
            call = event.monitor.model_call
            if not call.HasField("time_to_first_token"):
                return []
            first = call.time_to_first_token.ToNanoseconds()
            found = [(2, "", first)]
            if call.usage.output_tokens > 1:
                found.append((3, "", (call.duration.ToNanoseconds() - first) // (call.usage.output_tokens - 1)))
            return found
        case "monitor.tool_execution":
            took = event.monitor.tool_execution.duration.ToNanoseconds()
            return [(4, event.monitor.tool_execution.tool_name, took)] if took else []
        case "progress.complete" if event.turn_id:
            starts = [
                clock.nanos(each.create_time) - each.monitor.model_call.duration.ToNanoseconds() for each in before
            ]
            return [(1, "", clock.nanos(event.create_time) - min(starts))]
    return []
