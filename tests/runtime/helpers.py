"""Agents with everything they need but a network: a store, a log, scripts, tools."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from events.helpers import parsed
from runtime.toolbox import Toolbox

from aster.v1 import agent_pb2, agent_service_pb2, common_pb2, control_service_pb2, event_pb2
from asteros.cosmos.registry import Limits, Registry
from asteros.events.cursor import Place
from asteros.events.filters import compiled
from asteros.events.frames import events as events_of
from asteros.events.hub import Hub
from asteros.events.log import EventLog
from asteros.events.subscription import Options, Subscription
from asteros.middleware.registry import MiddlewareRegistry
from asteros.providers.registry import ProviderRegistry
from asteros.runtime import decisions
from asteros.runtime.agent import Agent
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.mailbox import Accepted, Input
from asteros.runtime.secrets import SecretBox
from asteros.runtime.templates import TemplateRegistry
from asteros.sandbox.files import Workspace
from asteros.sandbox.sandboxes import Sandboxes
from asteros.sandbox.workspaces import Workspaces
from asteros.stores.base import DEFAULT_TENANT
from asteros.stores.sqlite import SqliteStore

LIMIT = 10.0  # seconds that nothing here needs when it is right
AUTO = agent_pb2.PERMISSION_MODE_AUTO_APPROVE
ASK_ALWAYS = agent_pb2.PERMISSION_MODE_ALWAYS_ASK
# What a script may say in short.
Action = str | Mapping[str, Any]


def call(name: str, call_id: str = "", **arguments: Any) -> Action:
    """The model asks for a tool."""
    return {"tool": {"name": name, "input": arguments, "id": call_id}}


def user(text: str) -> common_pb2.Message:
    return common_pb2.Message(role=common_pb2.ROLE_USER, content=[common_pb2.ContentBlock(text=text)])


class Prices:
    """What a token costs; None: nobody knows."""

    def __init__(self) -> None:
        self.of_a_token: float | None = None

    def cost_usd(self, model: str, usage: common_pb2.TokenUsage) -> float | None:
        return None if self.of_a_token is None else self.of_a_token * usage.total_tokens


class World:
    """A store with a log and awake agents; what a server is without its services."""

    def __init__(self, folder: Path, box: Toolbox | None = None) -> None:
        self.folder = folder
        self.scripts = folder / "scripts"
        self.box = box or Toolbox()
        self.middlewares = MiddlewareRegistry()
        self.prices = Prices()
        self.store = SqliteStore(folder / "data", durability="normal")

    async def __aenter__(self) -> "World":
        self.scripts.mkdir(parents=True, exist_ok=True)
        await self.store.open()
        self.hub = Hub()
        self.log = EventLog(self.store, self.hub)
        await self.log.start()
        self.providers = ProviderRegistry(self.scripts, {})
        self.deps = Dependencies(
            store=self.store,
            log=self.log,
            providers=self.providers,
            prices=self.prices,
            tools=self.box.registry(),
            middlewares=self.middlewares,
            templates=TemplateRegistry(),
            secrets=SecretBox(b"k" * 32),
            open_workspace=lambda key, work_dir: Workspace.open(self.folder / "work" / (work_dir or str(key))),
            remove_workspace=lambda key: None,
            sandboxes=Sandboxes(Workspaces(self.folder / "work")),
        )
        self.registry = Registry(self.deps, Limits())
        await self.registry.settle()
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.registry.aclose()
        await self.log.aclose()
        await self.providers.aclose()
        await self.store.aclose()

    # -- agents ---------------------------------------------------------------------

    def script(self, *steps: Sequence[Action], name: str = "play") -> str:
        """Writes a script; each step is one model call. The model that plays it."""
        document = [
            [{"text": action} if isinstance(action, str) else dict(action) for action in step] for step in steps
        ]
        (self.scripts / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return f"script:{name}"

    async def agent(self, *steps: Sequence[Action], agent_id: str = "a1", model: str = "", **config: Any) -> Agent:
        """A new agent that plays these steps, awake. Every tool runs unless the config says otherwise."""
        config.setdefault("template_id", "chat")
        config.setdefault("permission_mode", AUTO)
        config.setdefault("tools", ["*"])
        made = agent_pb2.AgentConfig(**config)
        if not made.HasField("model_config"):
            model = model or (self.script(*steps, name=agent_id) if steps else "echo")
            made.model_config.CopyFrom(agent_pb2.ModelConfig(provider="scripted", model=model))
        request = agent_service_pb2.CreateAgentRequest(agent_id=agent_id, config=made)
        row = await self.registry.create(DEFAULT_TENANT, request, None)
        return await self.awake(row.key)

    async def awake(self, key: int) -> Agent:
        async with self.registry.held(key) as agent:
            return agent

    async def say(self, agent: Agent, text: str = "go", **how: Any) -> Accepted:
        return await agent.mailbox.submit(Input(user(text), **how))

    async def ended(self, agent: Agent, accepted: Accepted) -> agent_pb2.Turn:
        async with asyncio.timeout(LIMIT):
            return await agent.mailbox.wait(accepted.turn.id)

    async def turn(self, agent: Agent, text: str = "go", **how: Any) -> agent_pb2.Turn:
        """Says something and waits for the end of the turn."""
        return await self.ended(agent, await self.say(agent, text, **how))

    # -- what happened ----------------------------------------------------------------

    async def events(self, agent: Agent, turn_id: str = "") -> list[event_pb2.Event]:
        """All stored events of an agent, or of one turn."""
        found: list[event_pb2.Event] = []
        while segments := await self.store.read_agent_segments(agent.ref.key, found[-1].sequence if found else 0, 1000):
            found += [event for segment in segments for event in events_of(segment)]
        return [event for event in found if not turn_id or event.turn_id == turn_id]

    async def seen(self, agent: Agent, name: str, count: int = 1) -> list[event_pb2.Event]:
        """The first stored events of a type, as soon as there are so many."""
        place = Place(agent.ref.key, 0, 0)
        watch = Subscription(
            self.hub,
            self.store,
            self.log.codec,
            tenant=agent.ref.tenant,
            agents=[agent.ref],
            wanted=compiled((), [name]),
            start=place,
            options=Options(buffer_size=16_000),
        )
        watch.open("", 0, 0)
        found: list[event_pb2.Event] = []
        try:
            async with asyncio.timeout(LIMIT):
                while len(found) < count:
                    found += [frame.event for frame in parsed(await watch.next()) if frame.HasField("event")]
        finally:
            watch.close()
        return found

    async def messages(self, agent: Agent) -> list[common_pb2.Message]:
        stored = await self.store.messages(agent.ref.tenant, agent.row.default_session_id, 0, 0)
        return [message for _, message in stored]

    async def asked(self, agent: Agent, count: int = 1) -> list[event_pb2.ToolApprovalRequest]:
        found = await self.seen(agent, "tool_approval_request", count)
        return [event.control.tool_approval_request for event in found]

    async def approve(
        self, agent: Agent, pending_id: str, *, allow: bool = True, by: str = "ann", **how: Any
    ) -> control_service_pb2.PendingRequest:
        decision = control_service_pb2.DECISION_ALLOW if allow else control_service_pb2.DECISION_DENY
        request = control_service_pb2.ApproveToolCallRequest(pending_id=pending_id, decision=decision, **how)
        return await decisions.approve(agent, request, by)

    def copy(self, to: Path) -> Path:
        """The data as a crash at this moment would leave it; scripts and workspaces too."""
        shutil.copytree(self.scripts, to / "scripts")
        (to / "data").mkdir()
        for name in ("aster.db-wal", "aster.db"):
            shutil.copy(self.folder / "data" / name, to / "data" / name)
        return to


# -- reading events -----------------------------------------------------------------


def kinds(events: Sequence[event_pb2.Event]) -> str:
    """The types of events without their channel, in one line."""
    return " ".join(event.event_type.partition(".")[2] for event in events)


def payload(event: event_pb2.Event) -> Any:
    group = getattr(event, str(event.WhichOneof("payload")))
    return getattr(group, str(group.WhichOneof("kind")))


def of(events: Sequence[event_pb2.Event], name: str) -> list[Any]:
    """The payloads of one kind."""
    return [payload(event) for event in events if event.event_type.partition(".")[2] == name]


def results(messages: Sequence[common_pb2.Message]) -> dict[str, Any]:
    """What the model was told about each call, by call id."""
    blocks = (block for message in messages for block in message.content)
    return {
        block.tool_result.call_id: json.loads(block.tool_result.output_json)
        for block in blocks
        if block.WhichOneof("block") == "tool_result"
    }


def shape(messages: Sequence[common_pb2.Message]) -> str:
    """A history in one line: u user, s system, a assistant, a2 with two calls, t2 two results."""
    out = []
    for message in messages:
        name = {1: "u", 2: "a", 3: "s", 4: "t"}[message.role]
        calls = sum(block.WhichOneof("block") in ("tool_call", "tool_result") for block in message.content)
        out.append(f"{name}{calls or ''}")
    return " ".join(out)


def states(events: Sequence[event_pb2.Event]) -> str:
    """The life cycle that state_changed events tell."""
    changed = of(events, "state_changed")
    path = [changed[0].previous_state, *(c.state for c in changed if c.state != c.previous_state)] if changed else []
    return " ".join(agent_pb2.AgentState.Name(state).removeprefix("AGENT_STATE_") for state in path)


def check_history(messages: Sequence[common_pb2.Message]) -> None:
    """R4: every call has exactly one result, in the message right after it, in the order of the calls."""
    for place, message in enumerate(messages):
        calls = [b.tool_call.id for b in message.content if b.WhichOneof("block") == "tool_call"]
        after = messages[place + 1] if place + 1 < len(messages) else common_pb2.Message()
        answers = [b.tool_result.call_id for b in after.content if b.WhichOneof("block") == "tool_result"]
        if calls or after.role == common_pb2.ROLE_TOOL:
            assert answers == calls


def check_events(events: Sequence[event_pb2.Event]) -> None:
    """What holds for the events of every agent whose turns have ended (E1, R9)."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    turns = {event.turn_id for event in events if event.turn_id}
    completes = [event.turn_id for event in events if event.event_type == "progress.complete"]
    assert sorted(completes) == sorted(turns), "exactly one complete per turn"
    for turn_id in turns:
        progress = [e for e in events if e.turn_id == turn_id and e.HasField("progress")]
        assert progress[-1].event_type == "progress.complete"
    started = [start.call.id for start in of(events, "tool_start")]
    ended = [end.result.call_id for end in of(events, "tool_end")]
    assert sorted(started) == sorted(ended), "exactly one tool_end per tool_start"
    assert len(started) == len(set(started))
    asked = [e.id for e in events if e.event_type.endswith(("_request", "iteration_limit"))]
    answered = [resolved.pending_id for resolved in of(events, "request_resolved")]
    assert sorted(asked) == sorted(answered), "exactly one resolution per request"
