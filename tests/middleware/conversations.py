"""Long conversations, and what must hold for every request that came of one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from events.helpers import parsed
from middleware.helpers import Probe, settings, tokens
from runtime.helpers import World, check_events, check_history, of

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros.events.cursor import Place
from asteros.events.filters import compiled
from asteros.events.frames import events as events_of
from asteros.events.subscription import Options, Subscription
from asteros.middleware.registry import BUILTIN, MiddlewareRegistry
from asteros.providers.base import ModelRequest
from asteros.runtime.agent import Agent
from asteros.tools.base import JsonObject

SAID = "This is what I say at some length, so that the window fills. " * 5


class Watch:
    """Somebody who follows an agent from after a sequence on."""

    def __init__(self, world: World, agent: Agent, after: int = 0) -> None:
        self.events: list[event_pb2.Event] = []
        self._subscription = Subscription(
            world.hub,
            world.store,
            world.log.codec,
            tenant=agent.ref.tenant,
            agents=[agent.ref],
            wanted=compiled((), ()),
            start=Place(agent.ref.key, 0, after),
            options=Options(buffer_size=16_000),
        )
        self._subscription.open("", 0, 0)
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            self.events += [frame.event for frame in parsed(await self._subscription.next()) if frame.HasField("event")]

    async def until(self, sequence: int) -> None:
        while not self.events or self.events[-1].sequence < sequence:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0.001)

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._subscription.close()


async def talk(world: World, agent: Agent, turns: Sequence[str]) -> None:
    """Says these one after another; every turn must complete."""
    for text in turns:
        turn = await world.turn(agent, text)
        assert turn.state == agent_pb2.TURN_STATE_COMPLETED, turn.error


def check_requests(requests: Sequence[ModelRequest], window: int) -> None:
    """Every request is valid and inside the window; a person or the model begins it."""
    for request in requests:
        check_history(request.messages)
        assert request.messages[0].role == common_pb2.ROLE_USER
    assert max(tokens(requests)) <= window


async def stored_events(world: World, agent: Agent) -> list[event_pb2.Event]:
    """The log of an agent from its beginning, a page at a time as ListEvents reads it."""
    stored: list[event_pb2.Event] = []
    while True:
        after = stored[-1].sequence if stored else 0
        segments = await world.store.read_agent_segments(agent.ref.key, after, 1000)
        if not segments:
            return stored
        stored += [event for segment in segments for event in events_of(segment) if event.sequence > after]


async def long_talk(
    folder: Path, turns: int, summarization: JsonObject
) -> tuple[list[event_pb2.Event], list[common_pb2.Message]]:
    """Many turns with a restart of everything in the middle; events and messages as stored.

    What listeners saw live, before and after, is the log, event for event."""
    Probe.seen = []
    seen: list[event_pb2.Event] = []
    key = 0
    for half in (0, 1):
        world = World(folder)
        world.middlewares = MiddlewareRegistry((*BUILTIN, Probe))
        async with world:
            if not half:
                config = settings(summarization=summarization)
                key = (await world.agent(["The short of it."], tools=[], **config)).ref.key
            agent = await world.awake(key)
            watch = Watch(world, agent, after=len(seen))
            await talk(
                world, agent, [f"{number} {SAID}" for number in range(half * turns // 2, (half + 1) * turns // 2)]
            )
            await world.registry.evict(key)
            events = await stored_events(world, agent)
            await watch.until(events[-1].sequence)
            await watch.aclose()
            seen += watch.events
            messages = await world.messages(agent)
    assert seen == events
    check_events(events)
    check_history(messages)
    return events, messages


def called_tokens(events: Sequence[event_pb2.Event]) -> list[int]:
    """Tokens that each model call was sent, by the provider's own count."""
    return [call.usage.input_tokens for call in of(events, "model_call")]
