"""The dashboard's event stream: what a client says and sees on its WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bridge.test_dashboard import SCRIPT, Front, fronting
from services.helpers import LIMIT

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import common_pb2, event_pb2
from asteros import errors
from asteros.bridge.dashboard_stream import LEVELS, Filters, Malformed, level_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def front(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with fronting(tmp_path_factory.mktemp("stream")) as made:
        yield made


class Client:
    """A WebSocket client without a socket."""

    def __init__(self, app: Any, headers: list[tuple[bytes, bytes]]) -> None:
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        path = "/v1/dashboard/events/stream"
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": path,
            "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost"), *headers],
            "client": ("127.0.0.1", 1), "server": ("localhost", 80), "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._in.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(scope, self._in.get, self._out.put))

    async def next(self) -> Any:
        """The next thing the server does."""
        async with asyncio.timeout(LIMIT):
            return await self._out.get()

    async def frame(self) -> tuple[str, Any]:
        sent = await self.next()
        told = json.loads(sent["text"])
        assert set(told) == {"type", "payload"}
        return told["type"], told["payload"]

    async def event(self, kind: str) -> Any:
        """The next event of a type; what comes before it is left out."""
        while True:
            found, payload = await self.frame()
            assert found == "event", (found, payload)
            if payload["type"] == kind:
                return payload

    def say(self, text: Any) -> None:
        self._in.put_nowait({"type": "websocket.receive", "text": text if isinstance(text, str) else json.dumps(text)})

    async def subscribe(self, filters: Any = None, **more: Any) -> Any:
        self.say({"action": "subscribe", "filters": filters, **more})
        kind, payload = await self.frame()
        assert kind == "subscribed"
        return payload

    def leave(self) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})


@contextlib.asynccontextmanager
async def connected(front: Front, **more: Any) -> AsyncIterator[Client]:
    client = Client(front.app, more.get("headers", []))
    assert (await client.next())["type"] == "websocket.accept"
    kind, payload = await client.frame()
    assert (kind, payload["message"]) == ("connected", "Connected to Aster Studio event stream")
    assert payload["connection_id"]
    try:
        yield client
    finally:
        client.leave()
        async with asyncio.timeout(LIMIT):
            await client.task


async def worker(front: Front) -> str:
    allow = common_pb2.PERMISSION_POLICY_ALLOW
    model = front.server.script("work", SCRIPT)
    return await front.server.agent(model, template_id="assistant", tool_permissions={"Write": allow})


async def chat(front: Front, agent_id: str) -> None:
    await front.server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="go"))


async def test_before_it_subscribes_a_client_sees_monitor_events_of_all_agents(front: Front) -> None:
    """Of later agents too."""
    async with connected(front) as client:
        client.say({"action": "ping"})
        assert await client.frame() == ("pong", None)
        async with asyncio.timeout(LIMIT):
            while not front.server.house._streams.hub.count:  # nothing says that the first subscription stands
                await asyncio.sleep(0)
        agent_id = await worker(front)
        await chat(front, agent_id)
        event = await client.event("model_call")
        assert (event["agent_id"], event["channel"], event["event_type"]) == (
            agent_id,
            "monitor",
            "monitor.model_call",
        )
        assert set(event) == {
            "cursor", "timestamp", "agent_id", "channel", "type", "data", "event_type", "sequence",
        }  # fmt: skip


async def test_subscribe_replaces_and_names_are_aliases(front: Front) -> None:
    one, two = await worker(front), await worker(front)
    async with connected(front) as client:
        told = await client.subscribe({"event_types": ["EventTypeDone"], "agent_ids": [one]}, since="0")
        assert told == {"channels": [], "event_types": ["EventTypeDone"], "agent_ids": [one], "agent_count": 1}
        await chat(front, two)
        await chat(front, one)
        done = await client.event("done")
        assert (done["agent_id"], done["data"]["reason"]) == (one, "completed")
        again = await client.subscribe({"event_types": ["tool:start", "done"], "channels": ["Progress"]}, since="0")
        assert (again["channels"], again["agent_count"]) == (["progress"], 0)
        ended: list[str] = []
        while not {one, two} <= set(ended):
            _, event = await client.frame()
            assert (event["type"] in ("tool:start", "done"), event["channel"]) == (True, "progress")
            ended += [event["agent_id"]] if event["type"] == "done" else []


async def test_since_a_cursor_nothing_is_lost_or_repeated(front: Front) -> None:
    agent_id = await worker(front)
    await chat(front, agent_id)
    whole = [e for e in (await front.get("/events/since/0", limit=1000))["events"] if e["agent_id"] == agent_id]
    for place in (0, len(whole) // 2, len(whole) - 2):
        async with connected(front) as client:
            await client.subscribe({"agent_ids": [agent_id]}, since=whole[place]["cursor"])
            found = [(await client.frame())[1]["sequence"] for _ in whole[place + 1 :]]
            assert found == [event["sequence"] for event in whole[place + 1 :]]


async def test_filters_null_keep_the_old_ones_and_unsubscribe_ends(front: Front) -> None:
    agent_id = await worker(front)
    async with connected(front) as client:
        first = await client.subscribe({"agent_ids": [agent_id], "event_types": ["done"]})
        assert await client.subscribe(None, since="0") == first
        client.say({"action": "unsubscribe"})
        assert await client.frame() == ("unsubscribed", None)
        await chat(front, agent_id)
        client.say({"action": "ping"})
        assert await client.frame() == ("pong", None)
        await client.subscribe(None, since="0")
        assert (await client.event("done"))["agent_id"] == agent_id


async def test_bad_messages_are_answered_and_harm_nothing(front: Front) -> None:
    async with connected(front) as client:
        client.say({"action": "unsubscribe"})
        assert (await client.frame())[0] == "unsubscribed"
        for bad in (
            "no json", "[]", "{}", {"action": 1}, {"action": "subscribe", "filters": []},
            {"action": "subscribe", "filters": {"channels": "monitor"}},
            {"action": "subscribe", "filters": {"channels": ["news"]}},
            {"action": "subscribe", "filters": {"min_level": "loud"}}, {"action": "subscribe", "since": 7},
        ):  # fmt: skip
            client.say(bad)
            assert await client.frame() == (
                "error", {"code": "invalid_message", "message": "Failed to parse message"},
            )  # fmt: skip
        client.say({"action": "dance"})
        assert await client.frame() == ("error", {"code": "unknown_action", "message": "Unknown action: dance"})
        await client.subscribe({}, since="nonsense")
        kind, payload = await client.frame()
        assert (kind, payload["code"]) == ("error", "subscription_failed")
        client.say({"action": "ping"})
        assert await client.frame() == ("pong", None)


async def test_stats_count_sockets(front: Front) -> None:
    assert await front.get("/events/stats") == {"active_connections": 0}
    async with connected(front), connected(front):
        assert await front.get("/events/stats") == {"active_connections": 2}
    assert await front.get("/events/stats") == {"active_connections": 0}


async def test_who_is_nobody_is_not_let_in(tmp_path: Path) -> None:
    async with fronting(tmp_path, api_key="root") as front:
        nobody = Client(front.app, [])
        denied = await nobody.next()
        assert (denied["type"], denied["status"]) == ("websocket.http.response.start", 401)
        await nobody.task
        async with connected(front, headers=[(b"authorization", b"Bearer root")]) as client:
            client.say({"action": "ping"})
            assert await client.frame() == ("pong", None)


def test_levels() -> None:
    def of(payload: Any, name: str) -> str:
        event = event_pb2.Event(event_type=name)
        channel, kind = name.split(".")
        getattr(getattr(event, channel), kind).CopyFrom(payload)
        return LEVELS[level_of(event)]

    failed = errors.AsterError("no").status()
    assert of(event_pb2.TextChunk(delta="x"), "progress.text_chunk") == "debug"
    assert of(event_pb2.ErrorRaised(error=failed, severity="warn"), "monitor.error") == "warn"
    assert of(event_pb2.ErrorRaised(error=failed, severity="fatal"), "monitor.error") == "error"
    assert of(event_pb2.Governance(rule="r"), "monitor.governance") == "warn"
    assert of(event_pb2.StepComplete(), "monitor.step_complete") == "info"


async def test_min_level(front: Front) -> None:
    bad = await front.server.agent(front.server.script("bad", "- - fail: auth\n"))
    async with connected(front) as client:
        await client.subscribe({"agent_ids": [bad], "min_level": "ERROR"}, since="0")
        await front.server.agents.Send(agents.SendRequest(agent_id=bad, message="x"))
        kind, event = await client.frame()
        assert (kind, event["type"], event["data"]["severity"]) == ("event", "error", "error")


def test_an_empty_list_means_all() -> None:
    assert Filters({}).fields("") == {"channels": [], "event_types": [], "agent_ids": []}
    assert Filters().fields("")["channels"] == [3]
    with pytest.raises(Malformed):
        Filters({"agent_ids": [1]})
