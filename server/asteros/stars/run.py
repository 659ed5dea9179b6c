"""One task of a Star, from its first turn to its end, over any number of restarts.

Everything it does is a turn of some member, and every turn is written down with what
named it (``RunTurn.ask``) before it is begun. Whatever is done again after a crash, a
strategy from its beginning or a tool call of a member, finds the turn it had asked for.
The turns themselves are taken up by their agents."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import errors, failpoints
from asteros.cosmos.registry import Registry
from asteros.events.filters import Turns
from asteros.runtime.agent import Agent
from asteros.runtime.context import add_usage
from asteros.runtime.dependencies import Shared
from asteros.runtime.history import text_of
from asteros.runtime.mailbox import ENDED, Input
from asteros.stars import words
from asteros.stars.gate import Gate
from asteros.stars.sessions import session_of
from asteros.stars.waits import Waits
from asteros.stores.base import AddRequest
from asteros.stores.stars import RunRow, RunTurn, StarStore

_log = logging.getLogger(__name__)
MAX_ROUNDS, MAX_DEPTH, MAX_CONCURRENCY = 20, 3, 8  # where the Star sets none


class Run:
    """A run in progress. ``base.Team`` for its strategy, and what the tools of its members act on."""

    def __init__(
        self, row: RunRow, registry: Registry, store: StarStore, waits: Waits, known: Sequence[RunTurn], delegates: bool
    ) -> None:
        limits = row.star.limits
        self.row = row
        self.star = row.star
        self.delegates = delegates
        self.turns = Turns(each.turn_id for each in known)
        self.shared = Shared(row.budget, row.create_time)
        self.gate = Gate(limits.max_concurrency or MAX_CONCURRENCY)
        self.stopped = ""  # why, once somebody has stopped it
        self.beside: Callable[[Coroutine[Any, Any, None]], None] = lambda work: work.close()  # runs work of its own
        self._registry = registry
        self._store = store
        self._waits = waits
        self._by_ask = {each.ask: each for each in known}
        self._by_turn = {each.turn_id: each for each in known}
        self._asked: Counter[str] = Counter()  # by the strategy, in this replay
        self._rounds = {each.round for each in known if each.round}

    async def count(self) -> None:
        """Adds up what its turns had used before this process began."""
        for turn in await self.all_turns():
            self.shared.cost += turn.cost_usd
            self.shared.tokens += turn.usage.total_tokens
            self.shared.steps += turn.step_count

    # -- for the strategy -------------------------------------------------------------------

    @property
    def members(self) -> Sequence[pb.StarMember]:
        return self.star.members

    @property
    def max_rounds(self) -> int:
        return self.star.limits.max_rounds

    async def ask(self, member: pb.StarMember, text: str) -> agent_pb2.Turn:
        self._asked[member.name] += 1
        ask = f"{member.name}/{self._asked[member.name]}"
        first = not self._by_ask
        known = self._by_ask.get(ask)
        turn_id = known.turn_id if known else self.row.id if first else self._turn_id(ask)
        # Here and not later: the next ask must not be the first one too.
        self._by_ask[ask] = known or RunTurn(ask, turn_id, 0, member.name, 0, 0)
        said = [words.message(self.row.task, words.CALLER, words.CALLER, self.row.id)] if first else []
        parent = "" if turn_id == self.row.id else self.row.id
        async with self.gate.inside():
            turn = await self._take(self._by_ask[ask], member, text, parent, "", said)
        await self._answered(member.name, words.CALLER, turn)
        return turn

    # -- for the tools -------------------------------------------------------------------------

    def place(self, turn_id: str) -> RunTurn | None:
        """Which turn of the run this is."""
        return self._by_turn.get(turn_id)

    def may_delegate(self, turn_id: str) -> bool:
        """The turn is one whose member may give work to others."""
        place = self.place(turn_id)
        limit = self.star.limits.max_depth or MAX_DEPTH
        return self.delegates and place is not None and place.depth < limit and not self.stopped

    async def team(self) -> pb.Star:
        """The Star as it is now: who has left gets no more work.

        :raises StarNotFound: it was deleted."""
        star = await self._store.get(self.row.tenant, self.star.id)
        if star is None:
            raise errors.StarNotFound(self.star.id)
        return star

    def round_left(self, turn_id: str, step: int) -> bool:
        """A step of the first turn that gives work is a round; counts it. False: there are no more."""
        if turn_id != self.row.id or step in self._rounds:
            return True
        if len(self._rounds) >= (self.max_rounds or MAX_ROUNDS):
            return False
        self._rounds.add(step)
        return True

    async def delegate(
        self, from_turn: str, call_id: str, step: int, member: pb.StarMember, text: str
    ) -> agent_pb2.Turn:
        """Gives a member work for another member's turn, and waits for its end.

        :raises WrongState: that member waits for the one that asks.
        :raises AsterError: the turn could not be begun."""
        giver = self._by_turn[from_turn]
        ask = f"{from_turn}/{call_id}"
        known = self._by_ask.get(ask)
        made = known or RunTurn(ask, self._turn_id(ask), 0, member.name, giver.depth + 1, step)
        self._by_ask[ask] = made
        said = [words.message(text, giver.member, member.name, ask)]
        key = (await self._registry.row(self.row.tenant, member.agent_id)).key
        if self._waits.would_circle(giver.agent_key, key):
            raise errors.WrongState(f"{member.name} waits for you: put your question into your answer")
        with self._waits.waiting(giver.agent_key, key):
            async with self.gate.outside(from_turn), self.gate.inside():
                turn = await self._take(made, member, words.heard(text, giver.member), from_turn, call_id, said)
        await self._answered(member.name, giver.member, turn)
        return turn

    async def tell(self, from_turn: str, call_id: str, text: str) -> list[str]:
        """Says something to the other members: they read it with their next step, and nobody answers.

        Who is told: the members that the text mentions, else all. Their names."""
        giver = self._by_turn[from_turn]
        told = words.receivers(await self.team(), text, words.CALLER, giver.member)
        said = words.message(text, giver.member, words.CALLER, f"{from_turn}/{call_id}")
        await self._store.say(self.row.tenant, self.star.id, [said])
        for member in told:
            async with self._registry.agent(self.row.tenant, member.agent_id) as agent:
                session_id = await session_of(agent, self.star)
                once = AddRequest(words.derived("star:", f"{from_turn}/{call_id}/{member.name}"), b"", "")
                await agent.conversations.system_message(words.heard(text, giver.member), session_id, once)
        return [member.name for member in told]

    # -- turns -----------------------------------------------------------------------------------

    def _turn_id(self, ask: str) -> str:
        return words.derived("trn_", f"{self.row.tenant}/{self.row.id}/{ask}", self.row.id)

    async def _take(
        self,
        made: RunTurn,
        member: pb.StarMember,
        text: str,
        parent_turn_id: str,
        parent_call_id: str,
        said: Sequence[pb.StarMessage],
    ) -> agent_pb2.Turn:
        """Begins a turn unless it has begun before, and waits for its end."""
        if self.stopped:
            raise errors.TurnInterrupted(self.stopped, turn_id=self.row.id)
        async with contextlib.AsyncExitStack() as stack:
            try:
                agent = await stack.enter_async_context(self._registry.agent(self.row.tenant, member.agent_id))
            except errors.AsterError:
                if made.turn_id not in self._by_turn:  # it never was
                    self._by_ask.pop(made.ask, None)
                raise
            if made.turn_id not in self._by_turn:
                await self._write(made, agent.ref.key, said)
            await failpoints.reach("star.after_row")
            if await agent.deps.store.turn(agent.ref.key, made.turn_id) is None:
                await self._begin(agent, made.turn_id, text, parent_turn_id, parent_call_id)
            return await agent.mailbox.wait(made.turn_id)

    async def _write(self, made: RunTurn, agent_key: int, said: Sequence[pb.StarMessage]) -> None:
        stored = RunTurn(made.ask, made.turn_id, agent_key, made.member, made.depth, made.round)
        await self._store.add_turn(self.row, stored, said)
        self._by_ask[made.ask] = self._by_turn[made.turn_id] = stored
        self.turns.ids.add(made.turn_id)

    async def _begin(self, agent: Agent, turn_id: str, text: str, parent_turn_id: str, parent_call_id: str) -> None:
        message = common_pb2.Message(role=common_pb2.ROLE_USER)
        message.content.add(text=text)
        said = Input(
            message=message,
            session_id=await session_of(agent, self.star),
            principal=self.row.principal,
            trace_id=self.row.trace_id,
            turn_id=turn_id,
            star_id=self.star.id,
            workflow_run_id=self.row.workflow_run_id,
            parent_turn_id=parent_turn_id,
            parent_call_id=parent_call_id,
        )
        await agent.mailbox.submit(said)
        if self.stopped:  # meanwhile
            await agent.interrupt(turn_id, self.stopped)

    async def _answered(self, name: str, to_member: str, turn: agent_pb2.Turn) -> None:
        text = text_of(turn.reply)
        if text and turn.state == agent_pb2.TURN_STATE_COMPLETED:
            said = words.message(text, name, to_member, f"{turn.id}/answer")
            await self._store.say(self.row.tenant, self.star.id, [said])

    async def all_turns(self) -> list[agent_pb2.Turn]:
        """Its turns as they are stored, by id; those of agents that were deleted are left out."""
        store = self._registry.deps.store
        found = [await store.turn(each.agent_key, each.turn_id) for each in list(self._by_turn.values())]
        return sorted((row.turn for row in found if row is not None), key=lambda turn: turn.id)

    async def used(self) -> tuple[common_pb2.TokenUsage, float, int]:
        """Tokens, money and steps of all its turns."""
        total, cost, steps = common_pb2.TokenUsage(), 0.0, 0
        for turn in await self.all_turns():
            add_usage(total, turn.usage)
            cost += turn.cost_usd
            steps += turn.step_count
        return total, cost, steps

    # -- stopping ----------------------------------------------------------------------------------

    async def stop_turn(self, turn_id: str, reason: str) -> None:
        """Interrupts one turn of the run; nothing when it has ended or never began."""
        place = self._by_turn.get(turn_id)
        row = await self._registry.deps.store.turn(place.agent_key, turn_id) if place else None
        if place is None or (row is not None and row.turn.state in ENDED):
            return
        try:
            async with self._registry.held(place.agent_key) as agent:
                await agent.interrupt(turn_id, reason)
        except errors.AsterError as error:  # it was never begun, or its agent is gone
            _log.info("turn %s was not stopped: %s", turn_id, error.reason)

    def abandon(self, from_turn: str, call_id: str) -> None:
        """Nobody waits any more for what a call has given to do: it is stopped."""
        made = self._by_ask.get(f"{from_turn}/{call_id}")
        if made is not None:
            self.beside(self.stop_turn(made.turn_id, "the turn that gave this to do was stopped"))

    async def sweep(self, reason: str) -> None:
        """Interrupts whatever has not ended; returns when all has."""
        await asyncio.gather(*(self.stop_turn(turn_id, reason) for turn_id in list(self._by_turn)))
