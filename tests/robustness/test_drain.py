"""F22: SIGTERM while many listen, some work and one waits for a person (T3, A1, E1)."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from robustness import agents, collect
from robustness.harness import ServerProcess, Stubs
from robustness.recorder import End, Listener, Pool, Record, end_of
from robustness.traffic import Traffic
from robustness.validators import History, Sent, problems

from aster.v1 import agent_service_pb2

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

STREAMS = 20
RUNNING = 3
SLOW = "flood:40@20"  # two seconds
ENDLESS = "flood:100000@10"
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Drained:
    """A server with listeners, running turns and one open approval, to be told to stop."""

    def __init__(self, server: ServerProcess, stubs: Stubs, model: str) -> None:
        self.server = server
        self.stubs = stubs
        self.pool = Pool()
        self.traffic = Traffic(stubs, seed=0)
        self.listeners = [Listener(stubs, self.pool, Record(f"all-{number}")) for number in range(STREAMS)]
        self.traffic.watch(self.listeners[0])
        self.working = {f"slow-{number}": "" for number in range(RUNNING)}  # agent -> its turn
        self._model = model
        self._talking: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self.working}
        self.listeners[0].on_event(lambda event: self._said(event.agent_id, event.event_type))

    def _said(self, agent_id: str, event_type: str) -> None:
        if event_type == "progress.text_chunk" and agent_id in self._talking:
            self._talking[agent_id].set()

    async def begin(self) -> None:
        """Everything is under way: each running turn has said something, and the approval is open."""
        for name in self.working:
            request = agent_service_pb2.CreateAgentRequest(agent_id=name, config=agents.model(self._model))
            await self.stubs.agents.CreateAgent(request)
            self.working[name] = await self.traffic.send(name, "go")
        await self.traffic.hold("hold-0")
        for event in self._talking.values():
            await event.wait()

    async def watch_health(self) -> list[int]:
        """What a load balancer is told, until it is told to go elsewhere."""
        watch = health_pb2_grpc.HealthStub(self.stubs.channel).Watch(health_pb2.HealthCheckRequest())
        told: list[int] = []
        async for answer in watch:
            told.append(answer.status)
            if answer.status == NOT_SERVING:
                break
        watch.cancel()
        return told

    async def history(self) -> History:
        """As at the end of a run with kills, with every listener at the end of the log."""
        names = [*self.working, "hold-0"]
        records = [listener.record for listener in self.listeners]
        history = History(records, sent=self.traffic.sent, held=self.traffic.held)
        for name in names:
            history.log[name] = await collect.log_of(self.stubs, self.pool, name)
            history.turns[name] = await collect.turns_of(self.stubs, name)
            history.messages[name] = await collect.messages_of(self.stubs, name)
        history.marks["hold-0"] = agents.marks(self.server.data_dir, "hold-0")
        newest = {name: len(events) for name, events in history.log.items()}
        await asyncio.gather(*(listener.reach(newest, 30) for listener in self.listeners))
        return history


@contextlib.asynccontextmanager
async def drained(folder: Path, model: str, *arguments: str) -> AsyncIterator[Drained]:
    server = ServerProcess(folder, arguments=arguments)
    agents.write_scripts(server.scripts_dir)
    async with server, Stubs(server.address) as stubs:
        scene = Drained(server, stubs, model)
        yield scene


@contextlib.asynccontextmanager
async def listening(scene: Drained) -> AsyncIterator[list["asyncio.Task[End]"]]:
    """Every listener follows one stream; how it ended is the result of its task."""
    tasks = [asyncio.create_task(listener.follow()) for listener in scene.listeners]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def refusal(stubs: Stubs, agent_id: str) -> End:
    """What a new turn is told; an answer is a failure."""
    try:
        await stubs.agents.Send(agent_service_pb2.SendRequest(agent_id=agent_id, message="more"))
    except grpc.aio.AioRpcError as error:
        return end_of(error)
    return End("OK")


async def check_ends(scene: Drained, tasks: list["asyncio.Task[End]"]) -> None:
    """Streams end with the reason and with the cursor from which to go on."""
    for listener, end in zip(scene.listeners, await asyncio.gather(*tasks), strict=True):
        assert (end.code, end.reason) == ("UNAVAILABLE", "DRAINING"), end
        listener.cursor = end.metadata["cursor"]


async def test_what_runs_may_finish_and_what_waits_goes_on_later(tmp_path: Path) -> None:
    async with drained(tmp_path, SLOW) as scene:
        async with listening(scene) as tasks:
            await scene.begin()
            health = asyncio.create_task(scene.watch_health())
            chat = agent_service_pb2.ChatRequest(agent_id="slow-0", message="and then")
            chatting = asyncio.create_task(_text(scene.stubs, chat))
            await _asked(scene, "slow-0")
            scene.server.signal(signal.SIGTERM)
            assert (await health)[-1] == NOT_SERVING
            assert (await refusal(scene.stubs, "hold-0")).reason == "DRAINING"
            await check_ends(scene, tasks)
            assert (await chatting).startswith("tok0 tok1")  # who waits for a running turn gets its answer
            assert await scene.server.wait() == 0
        await scene.server.start()
        async with listening(scene):
            await scene.traffic.release(scene.traffic.held[0])
            history = await scene.history()
    chatted = [turn.id for turn in history.turns["slow-0"] if turn.id != scene.working["slow-0"]]
    history.sent.append(Sent("slow-0", "chat", chatted))
    assert problems(history) == []
    assert not [seen for seen in history.of_type("monitor.agent_resumed") if seen.agent_id in scene.working]


async def _text(stubs: Stubs, request: agent_service_pb2.ChatRequest) -> str:
    return (await stubs.agents.Chat(request)).text


async def _asked(scene: Drained, agent_id: str) -> None:
    """Waits until the agent has a turn behind the running one: the Chat has arrived."""
    request = agent_service_pb2.GetStatusRequest(agent_id=agent_id)
    while (await scene.stubs.agents.GetStatus(request)).status.queued_turn_count == 0:
        await asyncio.sleep(0)


async def test_a_second_signal_ends_at_once_and_harms_nothing(tmp_path: Path) -> None:
    async with drained(tmp_path, ENDLESS) as scene:
        async with listening(scene) as tasks:
            await scene.begin()
            health = asyncio.create_task(scene.watch_health())
            scene.server.signal(signal.SIGTERM)
            await health
            scene.server.signal(signal.SIGTERM)
            assert await scene.server.wait(10) == 0  # the drain would take 30 s, the turns three hours
            await check_ends(scene, tasks)
        await scene.server.start()
        async with listening(scene):
            for agent_id, turn_id in scene.working.items():
                request = agent_service_pb2.InterruptRequest(agent_id=agent_id, turn_id=turn_id)
                await scene.stubs.agents.Interrupt(request)
            await scene.traffic.release(scene.traffic.held[0])
            history = await scene.history()
    assert problems(history) == []


async def test_a_signal_as_soon_as_it_serves_is_a_drain(tmp_path: Path) -> None:
    """Whoever reads the ready file may stop the server: the signal must not find it unprepared."""
    for number in range(3):
        server = ServerProcess(tmp_path / str(number))
        async with server:
            assert await server.terminate() == 0, server.log
