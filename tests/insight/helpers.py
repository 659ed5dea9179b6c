"""A log that a test writes event by event at times of its choice, and the sums that follow it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message
from google.rpc import status_pb2
from stores.helpers import SEAL, message_of, new_agent, turn_of

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock
from asteros.errors import AsterError, BudgetExceeded
from asteros.events.catalogue import Stamp
from asteros.events.hub import Hub
from asteros.insight.insights import Insights
from asteros.providers.pricing import PriceTable
from asteros.stores.base import AgentRow, PutTurn, Scope, Segment, Unit
from asteros.stores.sqlite import SqliteStore

# A Monday at noon, UTC.
NOON = 1_767_614_400
FAILED_ERROR = BudgetExceeded("budget.max_tokens is used up").status()


@dataclass
class Now:
    """The wall clock of a test; seconds since 1970."""

    seconds: float = NOON

    def __call__(self) -> int:
        return round(self.seconds * clock.NANOS)


class House:
    """A store on disk with its insights; ``restart`` closes and opens both."""

    def __init__(self, folder: Path, now: Now) -> None:
        self.folder = folder
        self.now = now

    async def open(self) -> "House":
        self.store = SqliteStore(self.folder, durability="normal")
        await self.store.open()
        self.sums = self.store.insights()
        self.hub = Hub()
        self.hub.head = await self.store.head()
        self.table = PriceTable()
        self.insights = Insights(self.sums, self.store, self.hub, self.table)
        await self.insights.start()
        return self

    async def aclose(self) -> None:
        await self.insights.aclose()
        await self.store.aclose()

    async def restart(self) -> None:
        await self.aclose()
        await self.open()

    async def agent(self, agent_id: str = "a1", tenant: str = "default") -> AgentRow:
        return await new_agent(self.store, agent_id, tenant)

    async def put(self, row: AgentRow, turn_id: str, *payloads: Message, parent: tuple[str, str] = ("", "")) -> Segment:
        """Stores these events together, now."""
        scope = Scope(f"ses-{row.agent.id}", turn_id)
        stamp = Stamp(row.agent.id, scope, parent_turn_id=parent[0], parent_call_id=parent[1])
        events = [stamp.event(payload) for payload in payloads]
        (segment,) = await self.store.commit([Unit(row.key, row.epoch, scope, list(events))], SEAL)
        assert isinstance(segment, Segment)
        self.hub.head = segment.last_position
        return segment

    async def said(self, row: AgentRow, turn_id: str, text: str) -> None:
        """Stores the turn's row with what the user said."""
        put = PutTurn(turn_of(turn_id), message_of(text))
        await self.store.commit([Unit(row.key, row.epoch, rows=[put])], SEAL)

    async def turn(
        self,
        row: AgentRow,
        turn_id: str,
        *between: Message,
        took: float = 1.0,
        state: agent_pb2.TurnState = agent_pb2.TURN_STATE_COMPLETED,
        parent: tuple[str, str] = ("", ""),
    ) -> None:
        """A whole turn that takes so many seconds; what is between is stored at its end."""
        await self.put(row, turn_id, began(), parent=parent)
        self.now.seconds += took
        await self.put(row, turn_id, *between, complete(state), parent=parent)


def began() -> event_pb2.StateChanged:
    return event_pb2.StateChanged(state=agent_pb2.AGENT_STATE_RUNNING)


def tokens(sent: int, said: int, **more: int) -> common_pb2.TokenUsage:
    return common_pb2.TokenUsage(input_tokens=sent, output_tokens=said, total_tokens=sent + said, **more)


def called(
    model: str,
    usage: common_pb2.TokenUsage,
    cost: float | None = None,
    *,
    took: float = 0.0,
    first: float | None = None,
    error: AsterError | None = None,
) -> event_pb2.ModelCall:
    """A model call; without a price when ``cost`` is None."""
    call = event_pb2.ModelCall(provider="p", model=model, usage=usage, duration=clock.duration(took), attempt=1)
    call.stop_reason = agent_pb2.STOP_REASON_END_TURN
    if cost is not None:
        call.cost_usd = cost
    if first is not None:
        call.time_to_first_token.CopyFrom(clock.duration(first))
    if error is not None:
        call.error.CopyFrom(error.status())
    return call


def ran(tool: str, took: float, *, success: bool = True, call_id: str = "c1") -> event_pb2.ToolExecution:
    return event_pb2.ToolExecution(tool_name=tool, call_id=call_id, duration=clock.duration(took), success=success)


def complete(
    state: agent_pb2.TurnState = agent_pb2.TURN_STATE_COMPLETED, error: status_pb2.Status | None = None
) -> event_pb2.TurnComplete:
    if state == agent_pb2.TURN_STATE_FAILED and error is None:
        error = AsterError("no").status()
    return event_pb2.TurnComplete(state=state, error=error)


# -- a log of anything -----------------------------------------------------------------


async def scribble(house: House, rows: Sequence[AgentRow], dice: random.Random, units: int) -> None:
    """Stores random events of random turns, in an order that no runtime would give them."""
    running: dict[int, list[str]] = {row.key: [] for row in rows}
    for number in range(units):
        row = dice.choice(rows)
        mine = running[row.key]
        if not mine or dice.random() < 0.1:
            mine.append(f"t{row.key}-{number}")
        turn_id = dice.choice([*mine, ""]) if dice.random() < 0.9 else mine[-1]
        payloads = [dice.choice(_KINDS)(dice) for _ in range(dice.randint(1, 6))]
        if turn_id and dice.random() < 0.2:
            mine.remove(turn_id)
            payloads.append(complete(dice.choice(_ENDS)))
        await house.put(row, turn_id, *payloads, parent=("t1-0", "c1") if dice.random() < 0.1 else ("", ""))
        house.now.seconds += dice.choice([0, 0.001, 0.5, 20, 900])


def _call(dice: random.Random) -> Message:
    cost = dice.choice([None, 0.0, dice.random(), dice.random() / 1e6])
    usage = tokens(dice.randint(0, 9000), dice.randint(0, 900), cached_input_tokens=dice.randint(0, 9))
    error = AsterError("no") if dice.random() < 0.1 else None
    took = dice.random() * 10
    return called(dice.choice("xyz"), usage, cost, took=took, first=dice.choice([None, took / 3]), error=error)


_KINDS: list[Callable[[random.Random], Message]] = [
    _call,
    lambda dice: tokens(dice.randint(1, 50), dice.randint(1, 50)),
    lambda dice: ran(dice.choice(["Read", "Bash"]), dice.choice([0, dice.random() * 5]), success=dice.random() < 0.8),
    lambda _dice: event_pb2.TextChunk(delta="word"),
    lambda _dice: event_pb2.StepComplete(),
    lambda _dice: began(),
]
_ENDS = (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_FAILED, agent_pb2.TURN_STATE_INTERRUPTED)
