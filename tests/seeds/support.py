"""What the seeds' snippets stand on: a server, models that play a part, and the count of blocks."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wire import WireServer

from aster import Agent, AsterClient, EventView, ModelConfig, StateChanged
from aster.types import word
from aster.v1 import agent_pb2
from asteros.app import AsterOS
from asteros.config import Options
from asteros.tools.registry import ToolRegistry

Blocks = Mapping[int, str]
_TEST = re.compile(r"test_(\d\d)_\w+")


# -- the server ------------------------------------------------------------------


class Server:
    """A running ``asteros serve`` and its folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self.scripts_dir = folder / "scripts"
        self._scripts = 0

    def plays(self, *steps: list[Any], **sampling: Any) -> ModelConfig:
        """A model that does this, one list of actions for each model call of a turn."""
        self._scripts += 1
        name = f"seed{self._scripts}"
        (self.scripts_dir / f"{name}.yaml").write_text(json.dumps(steps), encoding="utf-8")
        return ModelConfig(provider="scripted", model=f"script:{name}", **sampling)

    def named_file(self, work_dir: str, path: str) -> Path:
        """A file below the working folder that a config names."""
        return self._folder / "data" / "workspaces" / "named" / work_dir / path


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server as a process of its own, on a free port, without anybody's keys."""
    ready = folder / "ready.json"
    (folder / "scripts").mkdir()
    command = [
        sys.executable, "-m", "asteros", "serve", "--data-dir", str(folder / "data"), "--grpc-port", "0",
        "--http-port", "-1", "--studio-port", "-1",
            "--metrics-port", "-1", "--scripts-dir", str(folder / "scripts"), "--ready-file", str(ready),
        "--durability", "normal", "--drain-seconds", "0.2",
    ]  # fmt: skip
    private = ("ASTER_", "ANTHROPIC_", "OPENAI_", "DEEPSEEK_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if "Try it" in line:
                break
        assert ready.exists(), (folder / "server.log").read_text(encoding="utf-8")
        try:
            yield Server(folder, json.loads(ready.read_text(encoding="utf-8"))["grpc_port"])
        finally:
            process.terminate()
            process.stdout.read()


@contextlib.asynccontextmanager
async def house(folder: Path, *, tools: ToolRegistry | None = None, **options: Any) -> AsyncIterator[AsterClient]:
    """A client of a server in this process: for parts that only who embeds it may choose."""
    ports = {"grpc_port": 0, "http_port": -1, "studio_port": -1, "metrics_port": -1}
    given = {**ports, "durability": "normal", "drain_seconds": 0.2, **options}
    server = AsterOS(Options(data_dir=folder, **given), tools=tools)
    await server.start()
    try:
        async with AsterClient(f"127.0.0.1:{server.grpc_port}", "", timeout=10) as client:
            yield client
    finally:
        await server.stop()


# -- models and agents -------------------------------------------------------------


def claude(wire: WireServer, **sampling: Any) -> ModelConfig:
    """The seeds' model, at an address of this machine; the key comes from the environment."""
    key = os.environ["ANTHROPIC_API_KEY"]
    return ModelConfig(provider="anthropic", model="claude-sonnet-4-5", api_key=key, base_url=wire.base_url, **sampling)


async def echo(client: AsterClient, **fields: Any) -> Agent:
    """An agent that says the user's words back."""
    return await client.create_agent("chat", provider="scripted", model="echo", **fields)


async def turn(agent: Agent, text: str, **options: Any) -> list[EventView]:
    """All events of one turn."""
    return [event async for event in agent.stream(text, **options)]


def only(events: Iterable[EventView], kind: str) -> list[EventView]:
    """The events of one kind."""
    return [event for event in events if event.kind == kind]


async def first(agent: Agent, kind: str) -> EventView:
    """The agent's first event of a kind, stored or still to come."""
    async with agent.subscribe(event_types=[kind], start="earliest") as events:
        return await anext(events)


async def life(agent: Agent, last: str = "closed") -> list[str]:
    """The states an agent has gone through, from its first event up to ``last``.

    Checks on the way that each change begins where the one before has ended."""
    path = ["created"]
    async with agent.subscribe(["monitor"], event_types=["state_changed"], start="earliest") as events:
        async for event in events:
            assert isinstance(event.payload, StateChanged)
            before, after = (_state(value) for value in (event.payload.previous_state, event.payload.state))
            assert before == path[-1]
            if after != before:
                path.append(after)
            if after == last:
                break
    return path


def _state(value: int) -> str:
    return word(agent_pb2.AgentState, value)


# -- the count of blocks -----------------------------------------------------------


def blocks_of(seed: str, names: Mapping[str, Any]) -> Blocks:
    """The blocks a file has tests for, in their order: number and what the docstring says it shows."""
    found: dict[int, str] = {}
    for name, test in names.items():
        if numbered := _TEST.fullmatch(name):
            head, _, shows = str(test.__doc__).partition("\n")[0].partition(": ")
            number = int(numbered[1])
            assert head == f"seed {seed}, block {number}", name
            assert number not in found, name
            found[number] = shows
    assert list(found) == sorted(found)
    return found
