"""Seed 002: AsterOS in a program of one's own. One test for each block, in the seed's order."""

import asyncio
import contextlib
import json
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from aster import AsterClient
from aster.v1 import agent_pb2, event_service_pb2, event_service_pb2_grpc, stars_service_pb2
from asteros import AsterOS, Cosmos, Interface, Options, Stars
from asteros.errors import ConfigError

pytestmark = pytest.mark.anyio
SEED = "002"
BLOCKS = {
    1: "a cosmos, options, and a server that serves",
    2: "an agent with a model is registered under its id",
    3: "a Star gets its members and is registered",
    4: "agents over HTTP: list, run, status",
    5: "Stars over HTTP: list, run, join, leave, members",
    7: "health and metrics over HTTP",
    8: "one registry of agents and Stars behind every face, all on one cosmos",
    9: "what an interface is: name, type, start, stop, and what it is told",
    10: "the options and their defaults",
    11: "an interface of one's own",
    12: "interfaces are added, and added once",
    13: "health answers",
    14: "metrics answer",
    15: "the three log lines",
    16: "authentication with a key",
    17: "CORS",
}


def options(folder: Path, **given: Any) -> Options:
    settings = {"http_port": 0, "studio_port": -1, "grpc_port": 0, "metrics_port": -1, "drain_seconds": 0.2}
    more = {"durability": "normal", **given.pop("settings", {})}
    return Options(cosmos=Cosmos(data_dir=folder, max_agents=10), settings={**settings, **more}, **given)


def echo() -> agent_pb2.AgentConfig:
    model = agent_pb2.ModelConfig(provider="scripted", model="echo")
    return agent_pb2.AgentConfig(template_id="chat", model_config=model)


@contextlib.asynccontextmanager
async def running(folder: Path, system: AsterOS | None = None, **given: Any) -> AsyncIterator[AsterOS]:
    system = system or AsterOS(options(folder, **given))
    await system.start()
    try:
        yield system
    finally:
        await system.stop()


def team(folder: Path) -> AsterOS:
    """What blocks 2 and 3 register."""
    system = AsterOS(options(folder, name="MyAsterOS"))
    for agent_id in ("chat-agent", "agent-1", "agent-2"):
        system.register_agent(agent_id, echo())
    assert system.options.cosmos is not None
    stars = Stars(system.options.cosmos, "ChatTeam")
    stars.add_member("leader", "agent-1", "leader")
    stars.add_member("worker", "agent-2", "worker")
    system.register_stars("chat-team", stars)
    return system


async def http(system: AsterOS, path: str, body: Any = None, method: str = "", **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and body of an answer."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{system.server.http_port}{path}"
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    request = urllib.request.Request(url, data, sent, method=method or None)

    def call() -> tuple[int, Any, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    status, received, text = await asyncio.to_thread(call)
    with contextlib.suppress(ValueError):
        return status, received, json.loads(text)
    return status, received, text.decode()


async def test_01_serve(tmp_path: Path) -> None:
    """seed 002, block 1: a cosmos, options, and a server that serves"""
    system = AsterOS(options(tmp_path, name="MyAsterOS"))
    serving = asyncio.create_task(system.serve())
    while not system._running:
        await asyncio.sleep(0.01)
    async with AsterClient(f"127.0.0.1:{system.server.grpc_port}", "") as client:
        assert (await client.server_info()).name == "MyAsterOS"
    with pytest.raises(ConfigError, match="asteros is already running"):
        await system.start()
    system.server._on_signal()
    await serving
    with pytest.raises(ConfigError, match="asteros is not running"):
        await system.stop()


async def test_02_register_agent(tmp_path: Path) -> None:
    """seed 002, block 2: an agent with a model is registered under its id"""
    system = team(tmp_path)
    with pytest.raises(ConfigError, match="resource already exists"):
        system.register_agent("chat-agent", echo())
    async with running(tmp_path, system):
        with pytest.raises(ConfigError, match="asteros is already running"):
            system.register_agent("late", echo())
        async with AsterClient(f"127.0.0.1:{system.server.grpc_port}", "") as client:
            assert (await client.agent("chat-agent").chat("hello")).text == "hello"


async def test_03_create_stars(tmp_path: Path) -> None:
    """seed 002, block 3: a Star gets its members and is registered"""
    for _ in range(2):  # what is stored is found again, and not made twice
        async with running(tmp_path, team(tmp_path)) as system:
            _, _, listed = await http(system, "/api/stars/chat-team/members")
            assert [(each["name"], each["agentId"], each["role"]) for each in listed["members"]] == [
                ("leader", "agent-1", "leader"),
                ("worker", "agent-2", "worker"),
            ]


async def test_04_agents(tmp_path: Path) -> None:
    """seed 002, block 4: agents over HTTP: list, run, status"""
    async with running(tmp_path, team(tmp_path)) as system:
        _, _, listed = await http(system, "/api/agents")
        assert [agent["id"] for agent in listed["agents"]] == ["agent-1", "agent-2", "chat-agent"]
        _, _, ran = await http(system, "/api/agents/chat-agent/run", {"message": "hi", "stream": False})
        assert (ran["text"], ran["turn"]["state"]) == ("hi", "TURN_STATE_COMPLETED")
        _, _, status = await http(system, "/api/agents/chat-agent/status")
        assert (status["state"], status["activity"]) == ("AGENT_STATE_STARTED", "AGENT_ACTIVITY_IDLE")


async def test_05_stars(tmp_path: Path) -> None:
    """seed 002, block 5: Stars over HTTP: list, run, join, leave, members"""
    async with running(tmp_path, team(tmp_path)) as system:
        for base in ("/api/stars", "/api/rooms"):  # the older name of the same
            _, _, listed = await http(system, base)
            assert [star["id"] for star in listed["stars"]] == ["chat-team"]
            _, _, ran = await http(system, f"{base}/chat-team/run", {"task": "hi", "context": {}})
            assert ran["text"] == "hi"
            _, _, joined = await http(system, f"{base}/chat-team/join", {"agentId": "chat-agent"})
            assert (joined["member"]["name"], joined["member"]["role"]) == ("chat-agent", "worker")
            status, _, left = await http(system, f"{base}/chat-team/leave", {"agentId": "chat-agent"})
            assert (status, left) == (200, {})
            _, _, members = await http(system, f"{base}/chat-team/members")
            assert len(members["members"]) == 2


async def test_07_system(tmp_path: Path) -> None:
    """seed 002, block 7: health and metrics over HTTP"""
    async with running(tmp_path, enable_health=False, enable_metrics=False) as system:
        assert [(await http(system, path))[0] for path in ("/health", "/metrics")] == [404, 404]


async def test_08_architecture(tmp_path: Path) -> None:
    """seed 002, block 8: one registry of agents and Stars behind every face, all on one cosmos"""
    async with running(tmp_path, team(tmp_path)) as system:
        _, _, listed = await http(system, "/api/cosmos/resources")
        assert [each["id"] for each in listed["resources"]] == ["agent-1", "agent-2", "chat-agent", "chat-team"]
        _, _, cosmos = await http(system, "/api/cosmos")
        assert (cosmos["agentCount"], cosmos["starCount"], cosmos["maxAgents"]) == (3, 1, 10)


class Recorder(Interface):
    """Remembers what it was told."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.told: list[str] = []
        self.news = asyncio.Event()

    def tell(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    async def until(self, what: str) -> None:
        while what not in self.told:
            self.news.clear()
            await self.news.wait()

    async def start(self, channel: grpc.aio.Channel, options: Options) -> None:
        request = event_service_pb2.ListEventsRequest(page_size=1)
        await event_service_pb2_grpc.EventServiceStub(channel).ListEvents(request)
        self.tell(f"start {options.name}")

    async def stop(self) -> None:
        self.tell("stop")

    async def on_agent_registered(self, agent: agent_pb2.Agent) -> None:
        self.tell(agent.id)

    async def on_stars_registered(self, star: stars_service_pb2.Star) -> None:
        self.tell(f"{star.id} of {len(star.members)}")


async def test_09_interface(tmp_path: Path) -> None:
    """seed 002, block 9: what an interface is: name, type, start, stop, and what it is told"""
    system, recorder = team(tmp_path), Recorder()
    assert (Interface().name, Interface().type) == ("interface", "custom")
    system.add_interface(recorder)
    async with running(tmp_path, system):
        await recorder.until("chat-team of 2")
        async with AsterClient(f"127.0.0.1:{system.server.grpc_port}", "") as client:
            await client.create_agent("chat", agent_id="late")
        await recorder.until("late")
    assert recorder.told == [
        "start MyAsterOS", "agent-1", "agent-2", "chat-agent", "chat-team of 2", "late", "stop"
    ]  # fmt: skip


async def test_10_options(tmp_path: Path) -> None:
    """seed 002, block 10: the options and their defaults"""
    made = Options(cosmos=Cosmos(data_dir=tmp_path)).check()
    assert (made.name, made.http_port, made.api_prefix, made.log_level) == ("AsterOS", 8080, "/api", "info")
    assert (made.auto_discover, made.enable_cors, made.enable_metrics, made.enable_health) == (True,) * 4
    assert (made.enable_auth, made.api_key, Options().enable_logging) == (False, "", True)
    for given, wrong in (
        ({}, "cosmos is required"),
        ({"cosmos": Cosmos(), "port": 0}, "invalid port number"),
        ({"cosmos": Cosmos(), "port": 65536}, "invalid port number"),
        ({"cosmos": Cosmos(), "settings": {"colour": "red"}}, "colour"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            AsterOS(Options(**given))  # type: ignore[arg-type]


class Failing(Interface):
    name = "failing"

    async def on_agent_registered(self, agent: agent_pb2.Agent) -> None:
        raise RuntimeError("secret")


async def test_11_own_interface(tmp_path: Path) -> None:
    """seed 002, block 11: an interface of one's own"""
    system = team(tmp_path)
    system.add_interface(Failing())
    async with (
        running(tmp_path, system),
        AsterClient(f"127.0.0.1:{system.server.grpc_port}", "") as client,
        client.agent("chat-agent").subscribe(event_types=["monitor.error"], start="earliest") as events,
    ):
        assert "the interface failing failed" in str((await anext(events)).payload)


async def test_12_add_interface(tmp_path: Path) -> None:
    """seed 002, block 12: interfaces are added, and added once"""
    system = team(tmp_path)
    with pytest.raises(ConfigError, match="interface not found"):
        await system.remove_interface("late")
    async with running(tmp_path, system):
        late = Recorder("late")
        system.add_interface(late)
        with pytest.raises(ConfigError, match="interface already exists"):
            system.add_interface(Recorder("late"))
        await late.until("chat-team of 2")  # it is told of what was there before
        await system.remove_interface("late")
        assert late.told[-1] == "stop"


async def test_13_health(tmp_path: Path) -> None:
    """seed 002, block 13: health answers"""
    async with running(tmp_path, name="MyAsterOS") as system:
        status, _, answer = await http(system, "/health")
        assert (status, answer) == (200, {"status": "healthy", "name": "MyAsterOS"})


async def test_14_metrics(tmp_path: Path) -> None:
    """seed 002, block 14: metrics answer"""
    async with running(tmp_path, team(tmp_path)) as system:
        status, _, text = await http(system, "/metrics")
        assert status == 200
        assert "aster_agents_awake" in text


async def test_15_log_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """seed 002, block 15: the three log lines"""
    caplog.set_level(logging.INFO)
    system = team(tmp_path)
    serving = asyncio.create_task(system.serve())
    while not any("is running" in line for line in caplog.messages):
        await asyncio.sleep(0.01)
    system.server._on_signal()
    await serving
    address = f"🌟 AsterOS 'MyAsterOS' is running on http://localhost:{system.server.http_port}"
    assert any(line.startswith(address) for line in caplog.messages)
    assert any(line.startswith("[Agent Create] Total tools loaded: ") for line in caplog.messages)
    assert "[Stars Join] Agent 'agent-2' joined stars 'chat-team'" in caplog.messages


async def test_16_auth(tmp_path: Path) -> None:
    """seed 002, block 16: authentication with a key"""
    system = AsterOS(options(tmp_path, enable_auth=True, api_key="your-secret-api-key"))
    system.register_agent("chat-agent", echo())
    async with running(tmp_path, system):
        assert (await http(system, "/api/agents"))[0] == 401
        status, _, listed = await http(system, "/api/agents", X_API_Key="your-secret-api-key")
        assert (status, [agent["id"] for agent in listed["agents"]]) == (200, ["chat-agent"])


async def test_17_cors(tmp_path: Path) -> None:
    """seed 002, block 17: CORS"""
    asked = {"Origin": "http://localhost:3000", "Access_Control_Request_Method": "POST"}
    async with running(tmp_path) as system:
        status, headers, _ = await http(system, "/api/agents", method="OPTIONS", **asked)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, "http://localhost:3000")
    async with running(tmp_path, enable_cors=False) as system:
        _, headers, _ = await http(system, "/api/agents", method="OPTIONS", **asked)
        assert headers["Access-Control-Allow-Origin"] is None
