"""``/v1/dashboard`` on a log whose figures are known: every documented shape, and every refusal."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from golden.make import event as golden
from golden.make import kinds
from google.protobuf.timestamp_pb2 import Timestamp
from services.helpers import Server, bearer, serving
from starlette.applications import Starlette

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import common_pb2, event_pb2
from asteros.bridge import dashboard_events
from asteros.bridge.dashboard import Dashboard
from asteros.bridge.options import Options
from asteros.bridge.transcode import Gate, Upstream
from asteros.services import credentials
from asteros.services.server import services

pytestmark = pytest.mark.anyio
ALLOW = common_pb2.PERMISSION_POLICY_ALLOW
SCRIPT = """\
- - tool: {name: Write, input: {file_path: a.txt, content: hi}}
  - usage: {input_tokens: 1000, output_tokens: 100}
- - text: Done.
  - usage: {input_tokens: 2000, output_tokens: 11}
"""
Answer = tuple[int, Any]


class Front:
    """The routes in front of a running server, called without a socket."""

    def __init__(self, server: Server, channel: grpc.aio.Channel, auth: bool) -> None:
        self.server = server
        gate = Gate(Upstream(channel), Options(auth=auth, whoami="/aster.v1.AccessService/GetCaller"))
        self.app = Starlette(routes=Dashboard(gate, services()).routes())
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://localhost")

    async def get(self, path: str, **query: Any) -> Any:
        """The data of an answer that succeeds."""
        status, body = await self.ask("GET", path, params=query)
        assert (status, body["success"], set(body)) == (200, True, {"success", "data"}), body
        return body["data"]

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        found = await self._client.request(method, f"/v1/dashboard{path}", **more)
        return found.status_code, found.json()


@contextlib.asynccontextmanager
async def fronting(folder: Path, api_key: str = "") -> AsyncIterator[Front]:
    metadata = bearer(api_key) if api_key else ()
    async with (
        serving(folder, metadata=metadata, api_key=api_key) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Front(server, channel, bool(api_key))


@pytest.fixture(scope="module")
async def front(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Two turns of one agent, at 10 and 100 USD per million tokens; one of another, without a price, that fails."""
    async with fronting(tmp_path_factory.mktemp("front")) as made:
        server = made.server
        price = {"model": "script:work", "input_price_per_m": 10, "output_price_per_m": 100}
        assert (await made.ask("PUT", "/pricing", json=price))[0] == 200
        work = server.script("work", SCRIPT)
        one = await server.agent(work, "one", template_id="assistant", tool_permissions={"Write": ALLOW})
        for text in ("write it", "again"):
            await server.agents.Chat(agents.ChatRequest(agent_id=one, message=text))
        two = await server.agent(server.script("bad", "- - fail: auth\n"), "two")
        sent = await server.agents.Send(agents.SendRequest(agent_id=two, message="go"))
        await server.ended(two, sent.turn.id)
        yield made


def shape(value: Any) -> Any:
    """Names and kinds of values, without the values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


TOKENS = {"input": "int", "output": "int", "total": "int"}
COST = {"amount": "float", "currency": "str"}
SPAN = {"id", "name", "type", "start_time", "end_time", "duration_ms", "status", "attributes"}


async def test_overview(front: Front) -> None:
    found = await front.get("/overview", period="1h")
    assert found.pop("avg_latency_ms") > 0
    assert found.pop("updated_at")[-1] == "Z"
    assert found == {
        "active_agents": 2,
        "active_sessions": 2,
        "total_requests": 3,
        "token_usage": {"input": 6000, "output": 222, "total": 6222},
        "cost": {"amount": pytest.approx(0.0822), "currency": "USD"},
        "error_rate": pytest.approx(1 / 3),
        "period": "1h",
    }
    assert (await front.get("/overview"))["period"] == "24h"


async def test_traces(front: Front) -> None:
    found = await front.get("/traces", limit=2)
    assert (found["total"], found["has_more"]) == (3, True)
    failed, again = found["traces"]
    assert (failed["status"], failed["agent_id"], failed["name"]) == ("error", "two", "go")
    assert failed["error_message"]
    assert shape(again) == {
        "id": "str", "name": "str", "agent_id": "str", "start_time": "str", "duration_ms": "float", "status": "str",
        "span_count": "int", "token_usage": TOKENS,
    }  # fmt: skip
    assert (again["name"], again["span_count"], again["token_usage"]["total"]) == ("again", 4, 3111)
    rest = await front.get("/traces", offset=2)
    assert ([trace["name"] for trace in rest["traces"]], rest["has_more"]) == (["write it"], False)
    assert [trace["name"] for trace in (await front.get("/traces", status="error"))["traces"]] == ["go"]
    assert (await front.get("/traces", agent_id="one"))["total"] == 2
    assert (await front.get("/traces", end="2026-01-01T00:00:00Z", start="2025-01-01T00:00:00Z"))["traces"] == []


async def test_trace(front: Front) -> None:
    listed = (await front.get("/traces", agent_id="one"))["traces"][0]
    found = await front.get(f"/traces/{listed['id']}")
    root, cost = found.pop("root_span"), found.pop("cost")
    assert found == listed
    assert cost == {"amount": pytest.approx(0.0411), "currency": "USD"}
    assert set(root) == SPAN | {"children"}
    assert [(child["type"], child["name"], child["status"]) for child in root["children"]] == [
        ("llm", "script:work", "ok"),
        ("tool", "Write", "ok"),
        ("llm", "script:work", "ok"),
    ]
    assert all(set(child) == SPAN for child in root["children"])
    assert root["children"][0]["attributes"]["gen_ai.usage.input_tokens"] == "1000"


async def test_tokens(front: Front) -> None:
    found = await front.get("/metrics/tokens", period="1h")
    whole = {"input": 6000, "output": 222, "total": 6222}
    assert found["total"] == found["by_agent"]["one"] == found["by_model"]["script:work"] == whole
    assert set(found) == {"period", "total", "by_agent", "by_model", "trend", "cost"}
    assert shape(found["trend"]) == [{"timestamp": "str", "input": "int", "output": "int"}]
    assert sum(point["input"] for point in found["trend"]) == 6000
    assert len(found["trend"]) in (60, 61, 62)
    only = await front.get("/metrics/tokens", model="script:bad")
    assert (only["total"]["total"], list(only["by_agent"])) == (0, ["two"])


async def test_costs(front: Front) -> None:
    found = await front.get("/metrics/costs", period="30d", agent_id="one")
    cost = {"amount": pytest.approx(0.0822), "currency": "USD"}
    assert found["total"] == found["by_agent"]["one"] == found["by_model"]["script:work"] == cost
    assert shape(found["trend"]) == [{"timestamp": "str", "amount": "float"}]
    assert sum(point["amount"] for point in found["trend"]) == pytest.approx(0.0822)
    assert found["unpriced_models"] == []


async def test_performance(front: Front) -> None:
    found = await front.get("/metrics/performance", period="7d")
    times = {"p50": "float", "p95": "float", "p99": "float", "avg": "float", "max": "float"}
    assert shape(found) == {
        "period": "str", "ttft": times, "tpot": times, "tool_latency": {"Write": times}, "avg_loop_count": "float",
        "request_count": "int", "error_count": "int", "error_rate": "float",
    }  # fmt: skip
    assert (found["request_count"], found["error_count"], found["avg_loop_count"]) == (3, 1, pytest.approx(4 / 3))


async def test_events_newest_first(front: Front) -> None:
    found = await front.get("/events", limit=3, agent_id="one")
    assert [event["sequence"] for event in found["events"]] == sorted(
        (event["sequence"] for event in found["events"]), reverse=True
    )
    assert found["cursor"] == found["events"][0]["cursor"]
    assert set(found["events"][0]) == {
        "cursor", "timestamp", "event", "agent_id", "channel", "type", "event_type", "sequence",
    }  # fmt: skip
    (ended,) = (await front.get("/events", type="done", agent_id="one", limit=1))["events"]
    assert (ended["type"], ended["event_type"], ended["channel"]) == ("done", "progress.complete", "progress")
    assert ended["event"]["reason"] == "completed"
    monitor = await front.get("/events", channel="Monitor")
    assert {event["channel"] for event in monitor["events"]} == {"monitor"}


async def test_events_since_every_position(front: Front) -> None:
    """Of a log in which two agents wrote: what is before and after a cursor is all of it, once."""
    whole = (await front.get("/events/since/0", limit=1000))["events"]
    cursors = [event["cursor"] for event in whole]
    assert len({event["agent_id"] for event in whole}) == 2
    for place, cursor in enumerate(cursors):
        found = await front.get(f"/events/since/{cursor}", limit=5)
        assert [event["cursor"] for event in found["events"]] == cursors[place + 1 : place + 6]
        assert found["next_cursor"] == (found["events"] or [{"cursor": cursor}])[-1]["cursor"]


async def test_insights(front: Front) -> None:
    found = await front.get("/insights")
    assert [(each["type"], each["severity"]) for each in found] == [("reliability", "critical")]
    assert set(found[0]) == {"id", "type", "severity", "title", "description", "suggestion", "data", "created_at"}
    assert found[0]["data"]["failed"] == 1


async def test_no_insights_are_an_empty_list(tmp_path: Path) -> None:
    async with fronting(tmp_path) as front:
        assert await front.get("/insights") == []
        assert await front.get("/traces") == {"traces": [], "total": 0, "has_more": False}
        assert await front.get("/events") == {"events": [], "cursor": "0"}
        assert await front.get("/events/since/0") == {"events": [], "next_cursor": "0"}


async def test_pricing(front: Front) -> None:
    entry = {"model": "free", "input_price_per_m": 0, "output_price_per_m": 0}
    status, body = await front.ask("PUT", "/pricing", json=entry)
    priced = {**entry, "currency": "USD"}
    assert (status, body["data"]) == (200, {"model": "free", "pricing": priced})
    found = await front.get("/pricing")
    assert found["free"] == priced
    assert found["script:work"]["output_price_per_m"] == 100
    assert len(found) > 50


async def test_sessions(front: Front) -> None:
    found = await front.get("/sessions", limit=1)
    assert (found["total"], found["has_more"]) == (2, True)
    assert shape(found["sessions"][0]) == {
        "id": "str", "agent_id": "str", "status": "str", "message_count": "int", "token_usage": TOKENS,
        "created_at": "str", "updated_at": "str",
    }  # fmt: skip
    one = next(each for each in (await front.get("/sessions"))["sessions"] if each["agent_id"] == "one")
    assert one["token_usage"]["total"] == 6222
    detail = await front.get(f"/sessions/{one['id']}")
    messages = detail.pop("messages")
    assert detail == one
    assert [(each["role"], each["content"]) for each in messages[:1]] == [("user", "write it")]
    assert len(messages) == one["message_count"]
    assert shape(messages[0]) == {"id": "str", "role": "str", "content": "str", "timestamp": "str"}


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("/overview", {"period": "2h"}, "period must be one of 1h, 24h, 7d, 30d"),
        ("/metrics/costs", {"period": "week"}, "period must be"),
        ("/metrics/tokens", {"start": "yesterday"}, "start must be a time"),
        ("/traces", {"limit": "-1"}, "limit must be"),
        ("/traces", {"offset": "1e3"}, "offset must be"),
        ("/traces", {"status": "slow"}, "status"),
        ("/events", {"channel": "news"}, "channel must be"),
        ("/events/since/nonsense", {}, "Invalid cursor"),
    ],
)
async def test_bad_queries(front: Front, path: str, query: dict[str, str], said: str) -> None:
    status, body = await front.ask("GET", path, params=query)
    assert (status, body["success"], body["error"]["code"]) == (400, False, "bad_request")
    assert said in body["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "input_price_per_m": -1, "output_price_per_m": 1},
        {"model": "m", "input_price_per_m": True, "output_price_per_m": 1},
        {"model": "m", "input_price_per_m": 1},
        {"input_price_per_m": 1, "output_price_per_m": 1},
        {"model": "", "input_price_per_m": 1, "output_price_per_m": 1},
        {"model": "m", "input_price_per_m": 1, "output_price_per_m": 1, "currency": "EUR"},
        [],
    ],
    ids=json.dumps,
)
async def test_bad_prices(front: Front, body: Any) -> None:
    status, answer = await front.ask("PUT", "/pricing", json=body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")


async def test_what_is_not_there(front: Front) -> None:
    for path in ("/traces/trn_no", "/sessions/ses_no"):
        status, body = await front.ask("GET", path)
        assert (status, body["error"]["code"]) == (404, "not_found")
    status, body = await front.ask("POST", "/overview")
    assert (status, body["error"]["code"]) == (405, "bad_request")


async def test_every_route_asks_who_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before it says that a query is bad."""
    monkeypatch.setattr(credentials, "BAD_TRIES", 1000)  # all from one address
    async with fronting(tmp_path, api_key="root") as front:
        paths = [route.path.removeprefix("/v1/dashboard") for route in Dashboard(None, services()).routes()]  # type: ignore[arg-type, attr-defined]
        assert len(paths) == 14
        paths.remove("/events/stream")
        for path in paths:
            for query in ({}, {"period": "x", "limit": "x"}):
                status, body = await front.ask("GET", path.replace("{id}", "x").replace("{cursor}", "0"), params=query)
                assert (status, body["error"]["code"]) == (401, "unauthorized"), path
        status, body = await front.ask("PUT", "/pricing", content=b"{")
        assert (status, body["error"]["code"]) == (401, "unauthorized")
        status, _ = await front.ask("GET", "/overview", headers={"authorization": "Bearer root"})
        assert status == 200


# -- events ----------------------------------------------------------------------------

GOLDEN = Path(__file__).with_name("dashboard_events.json")


def told(channel: str, kind: str) -> dict[str, Any]:
    made = golden(channel, kind)
    return {"type": dashboard_events.type_of(made), "data": dashboard_events.data_of(made)}


@pytest.mark.parametrize(("channel", "kind"), kinds(), ids=".".join)
def test_golden_events(channel: str, kind: str) -> None:
    """One event of every kind, with every field set. A new kind is added to the file by hand, once it is right."""
    assert told(channel, kind) == json.loads(GOLDEN.read_text(encoding="utf-8"))[f"{channel}.{kind}"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (common_pb2.TOOL_CALL_STATE_COMPLETED, ("tool:end", "completed")),
        (common_pb2.TOOL_CALL_STATE_FAILED, ("tool:error", "failed")),
        (common_pb2.TOOL_CALL_STATE_CANCELED, ("tool:canceled", "canceled")),
        (common_pb2.TOOL_CALL_STATE_UNCERTAIN, ("tool:end", "failed")),
    ],
)
def test_the_end_of_a_tool_is_named_by_its_state(state: common_pb2.ToolCallState, kind: tuple[str, str]) -> None:
    event = event_pb2.Event(event_type="progress.tool_end")
    event.progress.tool_end.state = state
    assert (dashboard_events.type_of(event), dashboard_events.data_of(event)["state"]) == kind


def test_a_kind_from_the_future_has_its_name_and_no_data() -> None:
    event = event_pb2.Event(event_type="monitor.news", monitor={})
    assert (dashboard_events.type_of(event), dashboard_events.data_of(event)) == ("news", {})


def test_times_have_milliseconds() -> None:
    assert dashboard_events.time_of(Timestamp(seconds=1, nanos=2_999_999)) == "1970-01-01T00:00:01.002Z"
