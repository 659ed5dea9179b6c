"""A log with its hub, and what subscriptions give, parsed."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from events.fakes import MemoryStore
from google.protobuf.message import Message

from aster.v1 import event_pb2, event_service_pb2
from asteros.events.catalogue import Stamp
from asteros.events.cursor import Place
from asteros.events.filters import Filter, compiled
from asteros.events.hub import Hub
from asteros.events.log import EventLog
from asteros.events.subscription import Options, Subscription
from asteros.events.texts import TextDraft
from asteros.stores.base import AgentRef, Scope, Segment

ALL = Filter()
Frame = event_pb2.EventFrame
LIMIT = 10.0  # seconds that a correct log never needs


def as_event(drafted: event_pb2.Event | TextDraft) -> event_pb2.Event:
    """What is in line, as the event it will be; a text has no id yet."""
    if not isinstance(drafted, tuple):
        return drafted
    pattern, delta = drafted
    event = event_pb2.Event.FromString(pattern.before + pattern.after)
    event.progress.text_chunk.delta = delta
    event.progress.text_chunk.SetInParent()
    return event


class House:
    """A running log over a store in memory."""

    def __init__(self, store: Any = None) -> None:
        self.store = store or MemoryStore()

    async def __aenter__(self) -> "House":
        self.hub = Hub()
        self.hub.start()
        self.log = EventLog(self.store, self.hub)
        await self.log.start()
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A test that failed may have left the store's gate shut; its failure should be seen.
        closing = asyncio.ensure_future(self.log.aclose())
        await asyncio.wait([closing], timeout=2)
        if not closing.done() and self.log._committer is not None:
            self.log._committer.cancel()
            await asyncio.gather(closing, return_exceptions=True)
        await self.hub.aclose()

    def agent(self, agent_id: str = "a1", tenant: str = "default") -> AgentRef:
        return self.store.agent(agent_id, tenant)

    async def put(self, ref: AgentRef, *payloads: Message, turn: str = "", session: str = "") -> Segment:
        """Stores these events together."""
        scope = Scope(session, turn)
        stamp = Stamp(ref.id, scope)
        segment = await self.log.append(ref, 0, [stamp.event(payload) for payload in payloads], scope=scope)
        assert segment is not None
        return segment

    async def say(self, ref: AgentRef, *deltas: str, turn: str = "", session: str = "") -> Segment:
        return await self.put(ref, *map(text, deltas), turn=turn, session=session)

    async def count(self, ref: AgentRef, first: int, last: int, size: int = 1) -> None:
        """Stores texts that are their own sequence, some at once."""
        for start in range(first, last + 1, size):
            await self.say(ref, *map(str, range(start, min(start + size, last + 1))))

    def open(
        self,
        agents: Sequence[AgentRef] | AgentRef | None,
        start: Place | int | None = None,
        *,
        wanted: Filter = ALL,
        tenant: str = "default",
        **options: Any,
    ) -> Subscription:
        """A subscription; ``start`` is a place, a sequence of the one agent, or now."""
        refs = [agents] if isinstance(agents, AgentRef) else agents
        only = refs[0].key if refs is not None and len(refs) == 1 else 0
        if start is None:
            start = Place(only, self.hub.head, self.store._latest.get(only, 0))
        elif isinstance(start, int):
            start = Place(only, 0, start)
        subscription = Subscription(
            self.hub,
            self.store,
            self.log.codec,
            tenant=tenant,
            agents=refs,
            wanted=wanted,
            start=start,
            options=Options(**options),
        )
        subscription.open("epoch", 1, 0)
        return subscription

    def place(self, cursor: str) -> Place:
        return self.log.codec.decode(cursor)

    def position(self, ref: AgentRef, sequence: int) -> int:
        """Where an event stands in the whole log."""
        for segment in self.store.segments:
            if segment.agent_key == ref.key and segment.first_sequence <= sequence <= segment.last_sequence:
                return segment.position + sequence - segment.first_sequence
        raise LookupError(sequence)


def text(delta: str) -> event_pb2.TextChunk:
    return event_pb2.TextChunk(delta=delta)


def complete() -> event_pb2.TurnComplete:
    return event_pb2.TurnComplete(final_text="end")


def asked(text: str = "") -> event_pb2.UserInputRequest:
    return event_pb2.UserInputRequest(prompt=text)


def governed(rule: str = "r") -> event_pb2.Governance:
    return event_pb2.Governance(rule=rule)


def only(*names: str, **scope: str) -> Filter:
    """A filter by event types and scope."""
    return compiled((), names, **scope)


def parsed(data: bytes | None) -> list[Frame]:
    assert data is not None, "the stream ended"
    return list(event_service_pb2.SubscribeResponse.FromString(data).frames)


async def message(subscription: Subscription) -> list[Frame]:
    """The frames of the next message."""
    async with asyncio.timeout(LIMIT):
        return parsed(await subscription.next())


async def frames(subscription: Subscription, count: int, *, kind: str = "event") -> list[Frame]:
    """Frames up to and with so many of a kind; none may come behind them in the same message."""
    found: list[Frame] = []
    while sum(frame.HasField(kind) for frame in found) < count:
        found += await message(subscription)
    assert sum(frame.HasField(kind) for frame in found) == count
    return found


async def rest(subscription: Subscription) -> list[Frame]:
    """Everything up to the OK end of the stream."""
    found: list[Frame] = []
    async with asyncio.timeout(LIMIT):
        while (data := await subscription.next()) is not None:
            found += parsed(data)
    return found


def events(found: Sequence[Frame]) -> list[event_pb2.Event]:
    return [frame.event for frame in found if frame.HasField("event")]


def numbers(found: Sequence[Frame]) -> list[int]:
    return [event.sequence for event in events(found)]


def deltas(found: Sequence[Frame]) -> list[str]:
    return [event.progress.text_chunk.delta for event in events(found) if event.HasField("progress")]


def kinds(found: Sequence[Frame]) -> list[str]:
    """Event types, and the kind of other frames."""
    return [frame.event.event_type if frame.HasField("event") else str(frame.WhichOneof("frame")) for frame in found]
