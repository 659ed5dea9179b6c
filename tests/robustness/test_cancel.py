"""R6: whoever is no longer wanted is let go at once. Turns are cancelled in the middle of a model's
answer, in every way there is, and the connection to the model, the turn and everything behind them end."""

import asyncio
import gc
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from services.helpers import Server, serving
from wire import AnthropicReply, End, OpenAIReply, WireServer

from aster.v1 import agent_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import event_service_pb2 as events

pytestmark = pytest.mark.anyio
WAYS = ("chat", "stream", "interrupt", "close")
QUICK, LONG = 8, 240
CLOSED_P99, ENDED_MAX = 0.1, 1.0  # seconds, guarantee R6
SLACK = 5.0  # seconds within which tasks and files of the last cancel are gone


@dataclass
class Measured:
    """Seconds from the cancel, one figure for each."""

    closed: list[float] = field(default_factory=list)  # the model's connection
    ended: list[float] = field(default_factory=list)  # progress.complete was received

    def __str__(self) -> str:
        return f"connection closed p99 {p99(self.closed):.4f} s, end received at most {max(self.ended):.4f} s"


def p99(figures: list[float]) -> float:
    return sorted(figures)[int(len(figures) * 0.99) - 1 if len(figures) >= 100 else -1]


class Scene:
    """A server, a model that begins to answer and then says nothing, and turns to be cancelled."""

    def __init__(self, server: Server, wire: WireServer, provider: str) -> None:
        self.server = server
        self.wire = wire
        self.provider = provider
        self.measured = Measured()
        self._names = (f"{provider}-{number}" for number in itertools.count())

    async def cancel_one(self, way: str) -> None:
        reply = AnthropicReply if self.provider == "anthropic" else OpenAIReply
        self.wire.reply(reply(text="one two three", frames=5, end=End.SILENT))
        agent_id = await self._agent()
        seen: list[event_pb2.Event] = []
        begun, over = asyncio.Event(), asyncio.Event()
        watching = asyncio.create_task(self._watch(agent_id, seen, begun, over))
        leave = await self._begin(way, agent_id)
        await begun.wait()
        began = time.monotonic()
        leaving = leave()
        await self.wire.all_closed()
        self.measured.closed.append(time.monotonic() - began)
        await over.wait()
        self.measured.ended.append(time.monotonic() - began)
        await asyncio.gather(leaving, return_exceptions=True)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        completes = [event for event in seen if event.event_type == "progress.complete"]
        assert [event.progress.complete.state for event in completes] == [agent_pb2.TURN_STATE_INTERRUPTED]

    async def _agent(self) -> str:
        url = self.wire.base_url if self.provider == "anthropic" else self.wire.openai_url
        model = agent_pb2.ModelConfig(provider=self.provider, model="some-model", api_key="k", base_url=url)
        config = agent_pb2.AgentConfig(template_id="chat", model_config=model)
        request = agents.CreateAgentRequest(agent_id=next(self._names), config=config)
        return (await self.server.agents.CreateAgent(request)).agent.id

    async def _watch(
        self, agent_id: str, seen: list[event_pb2.Event], begun: asyncio.Event, over: asyncio.Event
    ) -> None:
        stream = self.server.events.Subscribe(
            events.SubscribeRequest(agent_id=agent_id, position=events.START_POSITION_EARLIEST)
        )
        try:
            async for message in stream:
                seen += [frame.event for frame in message.frames if frame.HasField("event")]
                kinds = {event.event_type for event in seen}
                if "progress.text_chunk" in kinds:
                    begun.set()
                if "progress.complete" in kinds:
                    over.set()
        finally:
            stream.cancel()

    async def _begin(self, way: str, agent_id: str) -> Callable[[], "asyncio.Future[object]"]:
        """Begins a turn; what to call to have it cancelled."""
        stubs = self.server.agents
        if way == "chat":
            chat = asyncio.ensure_future(_answer(stubs.Chat(agents.ChatRequest(agent_id=agent_id, message="go"))))
            return lambda: (chat.cancel(), chat)[1]
        if way == "stream":
            stream = asyncio.ensure_future(_drain(stubs.Stream(agents.StreamRequest(agent_id=agent_id, message="go"))))
            return lambda: (stream.cancel(), stream)[1]
        turn = (await stubs.Send(agents.SendRequest(agent_id=agent_id, message="go"))).turn
        if way == "close":
            return lambda: asyncio.ensure_future(_answer(stubs.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))))
        request = agents.InterruptRequest(agent_id=agent_id, turn_id=turn.id)
        return lambda: asyncio.ensure_future(_answer(stubs.Interrupt(request)))


async def _answer(call: object) -> object:
    return await call  # type: ignore[misc]


async def _drain(call: AsyncIterator[object]) -> None:
    async for _ in call:
        pass


def _held() -> tuple[int, int]:
    """Tasks and open files of this process, which is client, server and model service at once."""
    gc.collect()
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))


async def _let_go(before: tuple[int, int]) -> tuple[int, int]:
    """What is held, as soon as it is no more than before; what it still is when time runs out."""
    deadline = time.monotonic() + SLACK
    while (held := _held()) > before and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return held


async def _cancel(folder: Path, provider: str, count: int) -> Measured:
    async with serving(folder, idle_seconds=0.1) as server, WireServer() as wire:
        scene = Scene(server, wire, provider)
        for way in WAYS:  # what is opened once and kept is open now
            await scene.cancel_one(way)
        scene.measured = Measured()
        before = _held()
        for way in itertools.islice(itertools.cycle(WAYS), count):
            await scene.cancel_one(way)
        tasks, files = await _let_go(before)
        assert tasks <= before[0], asyncio.all_tasks()
        assert files <= before[1]
        return scene.measured


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_few(tmp_path: Path, provider: str) -> None:
    measured = await _cancel(tmp_path, provider, QUICK)
    assert max(measured.closed) < 1.0
    assert max(measured.ended) < 2.0


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_many(tmp_path: Path, provider: str, record_property: Callable[[str, object], None]) -> None:
    measured = await _cancel(tmp_path, provider, LONG)
    record_property("cancel", str(measured))
    print(provider, measured)
    assert len(measured.closed) == LONG
    assert p99(measured.closed) <= CLOSED_P99, str(measured)
    assert max(measured.ended) <= ENDED_MAX, str(measured)
