"""Seeded traffic: agents that talk, tools that write, people who approve.

Every request carries a request_id and is repeated, the same, until it is answered: a
call that a kill cut off has an unknown result, and repeating it must not do it twice."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from robustness import agents, collect
from robustness.harness import Stubs
from robustness.recorder import Listener
from robustness.validators import Held, Sent

from aster.v1 import agent_service_pb2, control_service_pb2, event_pb2

T = TypeVar("T")
ALLOW = control_service_pb2.DECISION_ALLOW
# What a caller may see of a server that is killed; anything else is a fault.
UNKNOWN_RESULT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
WORDS = ("river", "stone", "Wörter", "東京", "olive", "🌟", "paper", "wind")


class Traffic:
    """Callers and approvers of one run. What they did is in ``sent`` and ``held``."""

    def __init__(self, stubs: Stubs, seed: int) -> None:
        self.sent: list[Sent] = []
        self.held: list[Held] = []
        self.created: list[str] = []
        self.unknown = 0  # calls whose result a kill took away
        self.stopping = False
        self._stubs = stubs
        self._seed = seed
        self._ended: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._raised: dict[str, asyncio.Future[str]] = {}
        self._to_approve: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def watch(self, listener: Listener) -> None:
        """Learns from this listener what ends and what is asked."""
        listener.on_event(self._saw)

    def _saw(self, event: event_pb2.Event) -> None:
        if event.event_type == "progress.complete":
            self._ended[event.turn_id].set()
        elif event.event_type == "control.tool_approval_request":
            if event.agent_id.startswith("ask-"):
                self._to_approve.put_nowait((event.agent_id, event.id))
            elif (waiting := self._raised.get(event.agent_id)) is not None and not waiting.done():
                waiting.set_result(event.id)

    # -- calls --------------------------------------------------------------------

    async def acknowledged(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer, however often the server dies before it gives one."""
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                task = asyncio.current_task()
                if error.code() not in UNKNOWN_RESULT or (task is not None and task.cancelling()):
                    raise
                self.unknown += 1
                await asyncio.sleep(0)

    async def create(self, agent_id: str) -> None:
        request = agent_service_pb2.CreateAgentRequest(
            agent_id=agent_id, config=agents.config_of(agent_id), request_id=f"{self._seed}-create-{agent_id}"
        )
        await self.acknowledged(lambda: self._stubs.agents.CreateAgent(request, wait_for_ready=True))
        self.created.append(agent_id)

    async def send(self, agent_id: str, text: str, again: bool = False) -> str:
        """Sends one message; the turn. ``again``: once more after the answer, which must change nothing."""
        sent = Sent(agent_id, f"{self._seed}-{agent_id}-{len(self.sent)}")
        self.sent.append(sent)
        request = agent_service_pb2.SendRequest(agent_id=agent_id, message=text, request_id=sent.request_id)
        for _ in range(2 if again else 1):
            answer = await self.acknowledged(lambda: self._stubs.agents.Send(request, wait_for_ready=True))
            sent.turn_ids.append(answer.turn.id)
        return sent.turn_ids[0]

    async def approve(self, agent_id: str, pending_id: str) -> None:
        request = control_service_pb2.ApproveToolCallRequest(agent_id=agent_id, pending_id=pending_id, decision=ALLOW)
        await self.acknowledged(lambda: self._stubs.control.ApproveToolCall(request, wait_for_ready=True))

    async def ended(self, turn_id: str) -> None:
        """Waits until a listener has seen the end of the turn."""
        await self._ended[turn_id].wait()

    # -- the players ----------------------------------------------------------------

    async def talk(self, agent_id: str) -> None:
        """One turn after another with one agent, now and then two in line."""
        rng = random.Random(f"{self._seed} {agent_id}")
        while not self.stopping:
            turns = [
                await self.send(agent_id, _said(rng, agent_id), again=rng.random() < 0.3)
                for _ in range(rng.choice((1, 1, 2)))
            ]
            for turn_id in turns:
                await self.ended(turn_id)

    async def append(self, name: str) -> None:
        """A new agent for every turn: no two of its tool calls write the same line."""
        number = 0
        while not self.stopping:
            agent_id = f"{name}-{number}"
            await self.create(agent_id)
            await self.ended(await self.send(agent_id, "go on"))
            number += 1

    async def approve_all(self) -> None:
        """The person who allows whatever an ``ask-`` agent wants. Runs until it is cancelled."""
        while True:
            await self.approve(*await self._to_approve.get())

    async def hold(self, agent_id: str) -> None:
        """Leaves one approval open."""
        raised = self._raised[agent_id] = asyncio.get_running_loop().create_future()
        await self.create(agent_id)
        turn_id = await self.send(agent_id, "write it")
        self.held.append(Held(agent_id, await raised, turn_id))

    async def release(self, held: Held) -> None:
        """Finds the open approval in the list, allows it twice and waits for the end of its turn."""
        held.listed = await self.acknowledged(lambda: collect.pending_of(self._stubs, held.agent_id))
        await self.approve(held.agent_id, held.pending_id)
        await self.approve(held.agent_id, held.pending_id)
        await self.ended(held.turn_id)


def _said(rng: random.Random, agent_id: str) -> str:
    if agent_id.startswith("demo-"):
        name = f"{rng.choice(WORDS)}.txt"
        return f"write {name}: {rng.random()}\nread {name}\nlist"
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 60)))
