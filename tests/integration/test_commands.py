"""Commands through the whole server: the demo's `run COMMAND`, its box, and what is shown of it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from aster.v1 import agent_pb2, agent_service_pb2, agent_service_pb2_grpc, event_pb2, server_service_pb2
from aster.v1.server_service_pb2_grpc import ServerServiceStub
from asteros.app import AsterOS
from asteros.config import Options
from asteros.sandbox import bubblewrap, landlock, probe

GRPC_ALONE: dict[str, Any] = {"http_port": -1, "studio_port": -1, "metrics_port": -1}

pytestmark = pytest.mark.anyio
Stub = agent_service_pb2_grpc.AgentServiceStub
AUTO = agent_pb2.PERMISSION_MODE_AUTO_APPROVE
LIMIT = 20.0  # seconds


class House:
    """A server and its clients."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.agents = Stub(channel)
        self.server = ServerServiceStub(channel)

    async def make(self, agent_id: str = "a", **sandbox: Any) -> None:
        config = agent_pb2.AgentConfig(
            template_id="assistant",
            model_config=agent_pb2.ModelConfig(provider="scripted", model="demo"),
            permission_mode=AUTO,
            tools=["*"],
            sandbox=agent_pb2.SandboxConfig(**sandbox),
        )
        await self.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent_id=agent_id, config=config))

    async def say(self, message: str, agent_id: str = "a") -> list[event_pb2.Event]:
        request = agent_service_pb2.StreamRequest(agent_id=agent_id, message=message)
        found: list[event_pb2.Event] = []
        async with asyncio.timeout(LIMIT):
            async for answer in self.agents.Stream(request):
                found += [frame.event for frame in answer.frames if frame.HasField("event")]
        return found

    async def run(self, command: str, agent_id: str = "a") -> dict[str, Any]:
        """The result of Bash, as subscribers see it."""
        events = await self.say(f"run {command}", agent_id)
        (end,) = (event.progress.tool_end for event in events if event.event_type == "progress.tool_end")
        result: dict[str, Any] = json.loads(end.result.output_json)
        return result

    async def info(self) -> server_service_pb2.ServerInfo:
        return (await self.server.GetServerInfo(server_service_pb2.GetServerInfoRequest())).server


@contextlib.asynccontextmanager
async def house(folder: Path, **options: Any) -> AsyncIterator[House]:
    server = AsterOS(Options(data_dir=folder / "data", grpc_port=0, **GRPC_ALONE, **options))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            yield House(channel)
    finally:
        await server.stop()


async def test_the_demo_runs_commands(tmp_path: Path) -> None:
    async with house(tmp_path) as served:
        tier = (await served.info()).sandbox_tier
        if tier == "none":
            pytest.skip("no sandbox tier is offered here; `asteros doctor` says why")
        await served.make()
        await served.say("write notes.txt: from the tool")
        found = await served.run("cat notes.txt; echo from the shell > more.txt; exit 0")
        assert (found["ok"], found["stdout"].strip(), found["sandbox"]) == (True, "from the tool", tier)
        events = await served.say("read more.txt")
        assert "from the shell" in str([event.progress.text_done.text for event in events])
        failed = await served.run("echo half; exit 3")
        assert (failed["ok"], failed["error"], failed["stdout"]) == (False, "exit code 3", "half\n")
        assert "sandbox" not in (await served.info()).unavailable_features


async def test_the_config_of_a_sandbox_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path, workspace_roots=str(tmp_path / "roots")) as served:
        if (await served.info()).sandbox_tier == "none":
            pytest.skip("no sandbox tier is offered here; `asteros doctor` says why")
        limited = agent_pb2.SandboxConfig(work_dir="site")
        limited.timeout.FromMilliseconds(300)
        await served.make(kind="local", work_dir=limited.work_dir, timeout=limited.timeout)
        assert (await served.run("echo page > index; sleep 60"))["timed_out"]
        assert (tmp_path / "roots/site/index").read_text() == "page\n"


@pytest.mark.parametrize(
    ("sandbox", "field", "text"),
    [
        ({"kind": "docker"}, "kind", "not supported"),
        ({"kind": "none"}, "kind", "not allowed"),
        ({"work_dir": "/etc"}, "work_dir", "workspace root"),
        ({"work_dir": "a/../../b"}, "work_dir", "workspace root"),
        ({"allowed_hosts": ["https://x.example/"]}, "allowed_hosts", "NAME"),
        ({"allowed_hosts": ["x.example"] * 101}, "allowed_hosts", "at most"),
    ],
)
async def test_a_config_that_cannot_be_kept_is_refused(
    tmp_path: Path, sandbox: dict[str, Any], field: str, text: str
) -> None:
    async with house(tmp_path) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.make(**sandbox)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert f"config.sandbox.{field}" in str(caught.value.details())
        assert text in str(caught.value.details())


async def test_without_a_box_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "found", lambda: "")
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(probe, "_known", {})
    async with house(tmp_path) as served:
        info = await served.info()
        assert info.sandbox_tier == "none"
        assert [line.partition(":")[0] for line in info.sandbox_missing] == ["strong", "medium"]
        await served.make()
        found = await served.run("touch ran")
        assert (found["ok"], found["reason"]) == (False, "SANDBOX_UNAVAILABLE")
        assert "bubblewrap is not installed" in found["missing"]
        assert not list(tmp_path.rglob("ran"))


async def test_a_weaker_tier_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "found", lambda: "")
    monkeypatch.setattr(probe, "_known", {})
    async with house(tmp_path, sandbox_min_tier="strong") as served:
        assert (await served.info()).sandbox_tier == "none"
        await served.make()
        assert (await served.run("true"))["reason"] == "SANDBOX_UNAVAILABLE"


async def test_no_box_at_all_is_the_operators_choice(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # pytest's are shut, and without a box nothing leads around them
    async with house(tmp_path, allow_unsandboxed=True) as served:
        await served.make(kind="none")
        found = await served.run("echo hi")
        assert (found["ok"], found["stdout"], found["sandbox"]) == (True, "hi\n", "none")


async def test_shells_end_with_their_agent(tmp_path: Path) -> None:
    """Background shells are the agent's; deleting it ends them."""
    async with house(tmp_path, scripts_dir=_script(tmp_path)) as served:
        if (await served.info()).sandbox_tier == "none":
            pytest.skip("no sandbox tier is offered here; `asteros doctor` says why")
        config = agent_pb2.AgentConfig(
            template_id="assistant",
            model_config=agent_pb2.ModelConfig(provider="scripted", model="script:shells"),
            permission_mode=AUTO,
            tools=["*"],
        )
        await served.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent_id="s", config=config))
        events = await served.say("go", "s")
        ends = [event.progress.tool_end.result for event in events if event.event_type == "progress.tool_end"]
        answers = [json.loads(end.output_json) for end in ends]
        assert [answer["ok"] for answer in answers] == [True, True]
        assert (answers[1]["bash_id"], answers[1]["running"]) == ("web", True)
        async with asyncio.timeout(LIMIT):
            while not _sleepers():
                await asyncio.sleep(0.01)
        await served.agents.DeleteAgent(agent_service_pb2.DeleteAgentRequest(agent_id="s", force=True))
        async with asyncio.timeout(LIMIT):
            while _sleepers():
                await asyncio.sleep(0.01)


_NAP = "sleep 3141.59"


def _script(folder: Path) -> Path:
    (folder / "shells.yaml").write_text(f"""
- - tool: {{id: c1, name: Bash, input: {{command: "echo up; {_NAP}", background: true, shell_id: web}}}}
- - tool: {{id: c2, name: BashOutput, input: {{bash_id: web, follow: true}}}}
- - text: Done.
""")
    return folder


def _sleepers() -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line.startswith(_NAP):
                found.append(line)
    return found
