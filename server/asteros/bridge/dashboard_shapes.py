"""Answers of DashboardService and SessionService in the shapes of ``/v1/dashboard``. Pure."""

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from asteros.bridge.dashboard_events import Data, time_of

CURRENCY = "USD"
PERIODS = {"1h": 3_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}  # seconds
_TRENDS = (60, 300, 3_600, 21_600, 86_400)  # seconds of a row
_MOST_POINTS = 90


def trend_seconds(length: float) -> int:
    """How long the rows of a trend are, for a time of so many seconds."""
    return next((seconds for seconds in _TRENDS if length / seconds <= _MOST_POINTS), 30 * 86_400)


def overview(found: Any, period: str, now: Any) -> Data:
    return {
        "active_agents": found.active_agent_count,
        "active_sessions": found.active_session_count,
        "total_requests": found.turn_count,
        "token_usage": tokens(found),
        "cost": cost(found.cost_usd),
        "error_rate": found.error_rate,
        "avg_latency_ms": millis(found.mean_turn_duration),
        "period": period,
        "updated_at": time_of(now),
    }


def tokens(counted: Any) -> Data:
    """Of anything that counts input_tokens and output_tokens."""
    sent, said = counted.input_tokens, counted.output_tokens
    return {"input": sent, "output": said, "total": sent + said}


def cost(amount: float) -> Data:
    return {"amount": amount, "currency": CURRENCY}


def millis(length: Any) -> float:
    nanos: int = length.seconds * 1_000_000_000 + length.nanos
    return nanos / 1_000_000


def trace(found: Any) -> Data:
    """A trace without its spans."""
    shown = {
        "id": found.id,
        "name": found.name,
        "agent_id": found.agent_id,
        "start_time": time_of(found.start_time),
        "duration_ms": millis(found.duration),
        "status": found.status,
        "span_count": found.span_count,
        "token_usage": tokens(found.usage),
    }
    return shown | ({"error_message": found.error.message} if found.HasField("error") else {})


def trace_detail(found: Any) -> Data:
    return trace(found) | {"root_span": span(found.root), "cost": cost(found.cost_usd)}


def span(found: Any) -> Data:
    """A span and all below it."""
    shown: Data = {
        "id": found.id,
        "name": found.name,
        "type": found.kind,
        "start_time": time_of(found.start_time),
        "duration_ms": 0.0,
        "status": found.status,
    }
    if found.HasField("end_time"):
        shown["end_time"] = time_of(found.end_time)
        shown["duration_ms"] = (found.end_time.ToNanoseconds() - found.start_time.ToNanoseconds()) / 1_000_000
    if found.attributes:
        shown["attributes"] = dict(sorted(found.attributes.items()))
    if found.children:
        shown["children"] = [span(child) for child in found.children]
    return shown


def token_metrics(period: str, total: Any, agents: Iterable[Any], models: Iterable[Any], rows: Iterable[Any]) -> Data:
    """From rows of GetUsage: one for the whole time, by agent, by model, and over time."""
    return {
        "period": period,
        "total": tokens(total),
        "by_agent": {row.key: tokens(row) for row in agents},
        "by_model": {row.key: tokens(row) for row in models if row.model_call_count},
        "trend": [
            {"timestamp": time_of(row.start_time), "input": row.input_tokens, "output": row.output_tokens}
            for row in rows
        ],
        "cost": cost(total.cost_usd),
    }


def cost_metrics(period: str, total: Any, agents: Iterable[Any], models: Iterable[Any], rows: Iterable[Any]) -> Data:
    """The same for money."""
    called = [row for row in models if row.model_call_count]
    return {
        "period": period,
        "total": cost(total.cost_usd),
        "by_agent": {row.key: cost(row.cost_usd) for row in agents},
        "by_model": {row.key: cost(row.cost_usd) for row in called},
        "trend": [{"timestamp": time_of(row.start_time), "amount": row.cost_usd} for row in rows],
        "unpriced_models": [row.key for row in called if row.unpriced_call_count],
    }


def performance(period: str, found: Any) -> Data:
    turns, failed = found.turn_count, found.failed_turn_count
    return {
        "period": period,
        "ttft": _latency(found.time_to_first_token),
        "tpot": _latency(found.time_per_output_token),
        "tool_latency": {tool.tool_name: _latency(tool.latency) for tool in found.tools},
        "avg_loop_count": found.mean_step_count,
        "request_count": turns,
        "error_count": failed,
        "error_rate": failed / turns if turns else 0.0,
    }


def _latency(found: Any) -> Data:
    names = {"p50": "p50", "p95": "p95", "p99": "p99", "avg": "mean", "max": "max"}
    return {ours: millis(getattr(found, name)) for ours, name in names.items()}


def insight(found: Any) -> Data:
    shown: Data = {
        "id": found.id,
        "type": found.kind,
        "severity": found.severity,
        "title": found.title,
        "description": found.description,
        "suggestion": found.suggestion,
        "created_at": time_of(found.create_time),
    }
    return shown | ({"data": json.loads(found.data_json)} if found.data_json else {})


def price(found: Any) -> Data:
    return {
        "model": found.model,
        "input_price_per_m": found.input_usd_per_million,
        "output_price_per_m": found.output_usd_per_million,
        "currency": CURRENCY,
    }


def session(found: Any) -> Data:
    shown: Data = {
        "id": found.id,
        "agent_id": found.agent_id,
        "status": found.status,
        "message_count": found.message_count,
        "token_usage": tokens(found),
        "created_at": time_of(found.create_time),
        "updated_at": time_of(found.update_time),
    }
    return shown | ({"metadata": json_format.MessageToDict(found.metadata)} if found.HasField("metadata") else {})


def message(found: Any) -> Data:
    """A message of a session; its texts alone."""
    role = type(found).DESCRIPTOR.fields_by_name["role"].enum_type.values_by_number[found.role].name
    shown: Data = {
        "id": found.id,
        "role": role.removeprefix("ROLE_").lower(),
        "content": "".join(block.text for block in found.content),
        "timestamp": time_of(found.create_time),
    }
    return shown | ({"metadata": json_format.MessageToDict(found.metadata)} if found.HasField("metadata") else {})
