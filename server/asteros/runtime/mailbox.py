"""The turns of one agent: stored in order, run one at a time, waited for, interrupted.

A message to an idle agent is stored together with the beginning of its turn, so the
first event costs one commit. To a busy agent it is stored as a queued turn, and its
message joins the history when the turn begins: histories never interleave (R3)."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros import clock, errors, ids
from asteros.events.catalogue import Stamp
from asteros.events.cursor import Place
from asteros.events.log import Written
from asteros.runtime import lifecycle
from asteros.runtime.conversations import Conversations
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.turn import TurnRun
from asteros.stores.base import AddRequest, PutTurn, RequestIdKnown, Row, Scope, Store, TurnRow

_log = logging.getLogger(__name__)
MAX_QUEUED = 100  # turns
STORE_RETRY = 1.0  # seconds until a full or busy store is tried again
ENDED = (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_FAILED, agent_pb2.TURN_STATE_INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Input:
    """What somebody says to an agent, and how."""

    message: common_pb2.Message  # one of ROLE_ASSISTANT: its tool calls are run, and no model is asked
    session_id: str = ""  # empty: the default session
    request: AddRequest | None = None  # its target is set to the turn
    reject_when_busy: bool = False
    principal: str = ""
    budget: common_pb2.Budget | None = None
    trace_id: str = ""
    turn_id: str = ""  # given where the caller must know it before; else made here
    workflow_run_id: str = ""  # run that causes it
    star_id: str = ""  # Star that causes it
    parent_turn_id: str = ""  # of another agent, that gave this to do
    parent_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored turn, and a place in the log before its first event."""

    turn: agent_pb2.Turn
    place: Place
    repeated: bool = False  # the request_id was known


@dataclass(slots=True)
class _Queued:
    """A turn in the mailbox; begun only once it is stored."""

    row: TurnRow
    trace_id: str = ""
    stored: bool = False
    run: TurnRun | None = None  # begun together with its acceptance
    undo: Callable[[], None] = lambda: None  # takes back what its beginning changed in memory


# Builds the run of a turn: (row, turn to change, trace id, resumed).
MakeRun = Callable[[TurnRow, agent_pb2.Turn, str, bool], Awaitable[TurnRun]]


class Mailbox:
    """Safe for several callers at once."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        life: Lifecycle,
        conversations: Conversations,
        make_run: MakeRun,
        idle: Callable[[], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._life = life
        self._conversations = conversations
        self._make_run = make_run
        self._idle = idle  # called when nothing is left to do, or the agent was lost
        self._queue: deque[_Queued] = deque()
        self._accepting = asyncio.Lock()
        self._waiting_callers = 0
        self._interrupts: dict[str, str] = {}  # turns to be stopped as soon as they have begun
        self._runner: asyncio.Task[None] | None = None
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._shut = False  # takes no more turns: the agent closes
        self.current: TurnRun | None = None
        self.lost = False  # another owner has taken the agent

    @property
    def busy(self) -> bool:
        """A turn is in progress, waits, or is being accepted."""
        return self.current is not None or bool(self._queue) or self._waiting_callers > 0

    @property
    def queued(self) -> int:
        """Turns behind the one in progress."""
        return len(self._queue) - (self.current is None and bool(self._queue))

    def has(self, turn_id: str) -> bool:
        """The turn is in progress or waits."""
        if self.current is not None and self.current.turn.id == turn_id:
            return True
        return any(queued.row.turn.id == turn_id for queued in self._queue)

    def uses(self, session_id: str) -> bool:
        """A turn of the session is in progress or waits."""
        turns = [queued.row.turn for queued in self._queue] + ([self.current.turn] if self.current else [])
        return any(turn.session_id == session_id for turn in turns)

    # -- accepting ----------------------------------------------------------------------

    async def submit(self, said: Input) -> Accepted:
        """Stores the message and its turn. Cancelled: the turn is stored all the same.

        :raises AgentClosed, AgentBusy, RateLimited, SessionNotFound, RequestIdReused:"""
        self._waiting_callers += 1
        try:
            async with self._accepting:  # one after another: FIFO, and one decision on "idle"
                if said.request is not None and (known := await self.known(said.request)):
                    return known
                self._refuse(said)
                written, accepted = await self._accept(said)
        finally:
            self._waiting_callers -= 1
        try:
            segment = await asyncio.shield(written)
        except RequestIdKnown:
            assert said.request is not None
            found = await self.known(said.request)
            assert found is not None
            return found
        if segment is not None:
            place = Place(segment.agent_key, segment.position - 1, segment.first_sequence - 1)
            return Accepted(accepted.turn, place)
        return accepted

    def _refuse(self, said: Input) -> None:
        ref = self._journal.ref
        if self._life.closed or self._shut:
            raise errors.AgentClosed(agent_id=ref.id)
        if said.reject_when_busy and (self.current is not None or self._queue):
            turn_id = self.current.turn.id if self.current else self._queue[0].row.turn.id
            raise errors.AgentBusy(retry_after=1.0, agent_id=ref.id, turn_id=turn_id)
        if self.queued >= MAX_QUEUED:
            raise errors.RateLimited("too many turns wait for this agent", retry_after=5.0, agent_id=ref.id)

    async def _accept(self, said: Input) -> tuple[Written, Accepted]:
        """Puts the turn in line, and in the log. An idle agent begins it in the same commit."""
        conversation = await self._conversations.get(said.session_id)
        turn = agent_pb2.Turn(
            id=said.turn_id or ids.new("trn_"),
            agent_id=self._journal.ref.id,
            session_id=conversation.session.id,
            state=agent_pb2.TURN_STATE_QUEUED,
            create_time=clock.timestamp(clock.now()),
            workflow_run_id=said.workflow_run_id,
            star_id=said.star_id,
            parent_turn_id=said.parent_turn_id,
            parent_call_id=said.parent_call_id,
        )
        budget = said.budget or common_pb2.Budget()
        queued = _Queued(TurnRow(self._journal.ref.key, turn, said.message, said.principal, budget), said.trace_id)
        rows: list[Row] = []
        if said.request is not None:
            target = f"{self._journal.ref.key}/{turn.id}"
            rows.append(AddRequest(said.request.request_id, said.request.digest, target))
        place = self._journal.place
        if self.current is None and not self._queue:
            written = await self._begin(queued, rows)
        else:
            rows.append(PutTurn(snapshot(turn), said.message, said.principal, budget))
            written = self._journal.put((), rows)
        self._queue.append(queued)
        written.add_done_callback(lambda done: self._stored(queued, done))
        return written, Accepted(snapshot(queued.row.turn), place)

    def _stored(self, queued: _Queued, written: Written) -> None:
        if written.cancelled() or written.exception() is not None:
            if queued in self._queue:  # not dropped meanwhile
                self._queue.remove(queued)
            self._interrupts.pop(queued.row.turn.id, None)
            self._take_back(queued)
            self._ended(queued.row.turn.id)
        else:
            queued.stored = True
        self._work()

    async def known(self, request: AddRequest) -> Accepted | None:
        """The turn an earlier request with this id made.

        :raises RequestIdReused: that request said something else."""
        stored = await self._store.request(self._journal.ref.tenant, request.request_id)
        if stored is None:
            return None
        digest, target = stored
        key, _, turn_id = target.partition("/")
        if digest != request.digest or key != str(self._journal.ref.key):
            raise errors.RequestIdReused(request.request_id)
        newest = self._journal.place.sequence  # before the read: a queued turn may begin meanwhile
        row = await self._store.turn(self._journal.ref.key, turn_id)
        if row is None:
            raise errors.TurnNotFound(turn_id)
        sequence = row.turn.first_sequence - 1 if row.turn.first_sequence else newest
        return Accepted(row.turn, Place(self._journal.ref.key, 0, max(sequence, 0)), repeated=True)

    # -- running --------------------------------------------------------------------------

    async def resume(self) -> None:
        """Takes up the turns that the store says are not finished.

        One that had begun is begun again here and not by the runner: a decision that
        wakes the agent must find it, to be stored together with the turn's new state."""
        for row in await self._store.unfinished_turns(self._journal.ref.key):
            if not await self._helps(row.turn):
                self._queue.append(_Queued(row, stored=True))
        if self._queue and self._queue[0].row.turn.state != agent_pb2.TURN_STATE_QUEUED:
            with contextlib.suppress(errors.StorageFull, errors.StoreUnavailable):  # the runner tries again
                await self._begin(self._queue[0], [])
        self._work()

    async def _helps(self, turn: agent_pb2.Turn) -> bool:
        """A turn that a call of this agent has begun: it is taken up by that one, and not from here."""
        parent, key = turn.parent_turn_id, self._journal.ref.key
        return bool(parent and turn.parent_call_id) and await self._store.turn(key, parent) is not None

    def _work(self) -> None:
        if self._queue and (self._runner is None or self._runner.done()):
            self._runner = asyncio.create_task(self._run(), name=f"agent {self._journal.ref.id}")

    async def _run(self) -> None:
        while self._queue and not self._life.closed and not self.lost:
            queued = self._queue[0]
            if not queued.stored:
                break  # comes back when it is
            if queued.run is None:
                try:
                    await (await self._begin(queued, []))
                except (errors.StorageFull, errors.StoreUnavailable):
                    self._take_back(queued)
                    await clock.sleep(STORE_RETRY)
                    continue
                except errors.LeaseLost:
                    self.lost = True
                    break
            await self._run_one(queued)
        if not self.busy or self.lost:
            self._idle()

    async def _begin(self, queued: _Queued, rows: Sequence[Row]) -> Written:
        """Puts the beginning of a turn in the log; a turn taken up again has begun before."""
        turn = snapshot(queued.row.turn)
        resumed = turn.state != agent_pb2.TURN_STATE_QUEUED
        run = await self._make_run(queued.row, turn, queued.trace_id, resumed)
        context = run.context
        if resumed:
            if not turn.pending_ids:
                turn.state = agent_pb2.TURN_STATE_RUNNING
            queued.run = run
            return self._journal.put((), context.turn_rows())
        turn.state = agent_pb2.TURN_STATE_RUNNING
        turn.start_time.CopyFrom(clock.timestamp(clock.now()))
        turn.first_sequence = self._journal.place.sequence + 1
        status = self._life.status
        before = snapshot(status)
        status.turn_id, status.session_id = turn.id, turn.session_id
        status.ClearField("last_error")
        payloads = [*self._life.started(), *self._life.change(lifecycle.RUNNING, lifecycle.WORKING)]
        message = snapshot(queued.row.input)
        said = context.say(message)
        put = PutTurn(snapshot(turn), queued.row.input, queued.row.principal, queued.row.budget)
        queued.run = run

        def undo() -> None:
            self._life.undo(payloads)
            status.turn_id, status.session_id = before.turn_id, before.session_id
            if before.HasField("last_error"):
                status.last_error.CopyFrom(before.last_error)
            context.conversation.unsay(message, self._life)

        queued.undo = undo
        written = self._journal.put(
            context.events(*payloads), (*rows, put, *said, self._life.row()), context.stamp.scope
        )
        written.add_done_callback(lambda done: _number(turn, done))
        return written

    @staticmethod
    def _take_back(queued: _Queued) -> None:
        """Its beginning could not be stored: it has not begun."""
        if queued.run is not None:
            queued.undo()
            queued.run.context.workspace.close()
            queued.run = None

    async def _run_one(self, queued: _Queued) -> None:
        run = queued.run
        assert run is not None
        self._queue.remove(queued)
        self.current = run
        if reason := self._interrupts.pop(run.turn.id, ""):
            run.interrupt(reason)
        try:
            await run.run(more_wait=lambda: bool(self._queue))
        except errors.AsterError as error:  # not even the end could be stored: the lease is lost
            _log.warning("turn %s of agent %s was given up: %s", run.turn.id, self._journal.ref.id, error.reason)
            self.lost = isinstance(error, errors.LeaseLost)
        except Exception:  # a fault of ours: whoever needs the agent next takes the turn up from the store
            _log.exception("turn %s of agent %s was given up", run.turn.id, self._journal.ref.id)
            self.lost = True
        finally:
            run.context.workspace.close()
            self.current = None
            if run.turn.state == agent_pb2.TURN_STATE_FAILED:
                # Memory may be ahead of the store, if that is what failed.
                self._conversations.forget(run.turn.session_id)
        self._ended(run.turn.id)

    def _ended(self, turn_id: str) -> None:
        future = self._ends.pop(turn_id, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def wait(self, turn_id: str) -> agent_pb2.Turn:
        """Waits for the end of a turn; the turn as stored then. Cancelling only stops the waiting.

        :raises TurnNotFound:
        :raises Draining: the server stops before the turn has ended."""
        if self.has(turn_id):
            future = self._ends.get(turn_id)
            if future is None:
                future = self._ends[turn_id] = asyncio.get_running_loop().create_future()
            await asyncio.shield(future)
        row = await self._store.turn(self._journal.ref.key, turn_id)
        if row is None:
            raise errors.TurnNotFound(turn_id, agent_id=self._journal.ref.id)
        return row.turn

    async def halt(self) -> None:
        """Leaves every turn as it is stored and stops working: the process ends."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        for future in self._ends.values():
            if not future.done():
                future.set_exception(errors.Draining(retry_after=1.0))
                future.exception()  # nobody has to wait for it
        self._ends.clear()

    # -- interrupting -------------------------------------------------------------------------

    async def interrupt(self, turn_id: str, reason: str) -> agent_pb2.Turn:
        """Stops a turn, running or queued; the turn after its end. OK for one that has ended.

        :raises WrongState: no id, and no turn in progress.
        :raises TurnNotFound:"""
        if not turn_id:
            if self.current is None:
                raise errors.WrongState("no turn is in progress", agent_id=self._journal.ref.id)
            turn_id = self.current.turn.id
        if self.current is not None and self.current.turn.id == turn_id:
            self.current.interrupt(reason)
        for queued in list(self._queue):
            if queued.row.turn.id == turn_id:
                await self._interrupt_queued(queued, reason)
        return await self.wait(turn_id)

    async def _interrupt_queued(self, queued: _Queued, reason: str) -> None:
        """A queued turn ends without having begun; the one at the door is stopped as it begins."""
        if self.current is None and queued is self._queue[0]:
            self._interrupts[queued.row.turn.id] = reason or "interrupted"
            return
        self._queue.remove(queued)
        turn = snapshot(queued.row.turn)
        turn.state, turn.stop_reason = agent_pb2.TURN_STATE_INTERRUPTED, agent_pb2.STOP_REASON_INTERRUPTED
        turn.end_time.CopyFrom(clock.timestamp(clock.now()))
        scope = Scope(turn.session_id, turn.id, turn.star_id, turn.workflow_run_id)
        complete = event_pb2.TurnComplete(stop_reason=turn.stop_reason, state=turn.state)
        stamp = Stamp(self._journal.ref.id, scope)
        await self._journal.write([stamp.event(complete)], [PutTurn(turn)], scope)
        self._ended(turn.id)

    @contextlib.asynccontextmanager
    async def shut(self, reason: str) -> AsyncIterator[None]:
        """Takes no more turns, drops the queue and stops the turn in progress; all that for good
        unless the body fails."""
        self._shut = True
        try:
            async with self._accepting:  # whoever was let in before is in the queue by now
                turn_ids = [queued.row.turn.id for queued in reversed(self._queue)]
            for turn_id in turn_ids:
                await self.interrupt(turn_id, reason)
            if self.current is not None:
                await self.interrupt(self.current.turn.id, reason)
            yield
        except BaseException:  # house: cancelled -- raised again; the agent was not closed
            self._shut = False
            raise


def _number(turn: agent_pb2.Turn, written: Written) -> None:
    """Where the turn's events really begin, for its next row; what was stored first was a lower bound."""
    if not written.cancelled() and not written.exception() and (segment := written.result()) is not None:
        turn.first_sequence = segment.first_sequence
