"""One agent in memory: its mailbox, its turns one at a time, its decisions.

What is in memory is a cache of what is stored. An agent is built from its row, under
an epoch that fences whoever held it before, and may be dropped whenever it is idle."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2, session_service_pb2
from asteros import clock, errors, ids
from asteros.events.catalogue import Stamp
from asteros.events.cursor import Place
from asteros.runtime import lifecycle
from asteros.runtime.approvals import Approvals
from asteros.runtime.context import TurnContext
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.permissions import Permissions
from asteros.runtime.tooling import AgentTools
from asteros.runtime.turn import TurnRun
from asteros.stores.base import (
    AddMessage,
    AddRequest,
    AgentRow,
    PutSession,
    PutTurn,
    RequestIdKnown,
    Row,
    Scope,
    TurnRow,
)

_log = logging.getLogger(__name__)
MAX_QUEUED = 100  # turns
ENDED = (agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_FAILED, agent_pb2.TURN_STATE_INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Input:
    """What somebody says to an agent, and how."""

    message: common_pb2.Message
    session_id: str = ""  # empty: the default session
    request: AddRequest | None = None  # its target is set to the turn
    reject_when_busy: bool = False
    principal: str = ""
    budget: common_pb2.Budget | None = None
    trace_id: str = ""
    turn_id: str = ""  # given where the caller must know it before; else made here


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored turn, and a place in the log before its first event."""

    turn: agent_pb2.Turn
    place: Place
    repeated: bool = False  # the request_id was known


@dataclass(slots=True)
class _Queued:
    """A turn in the mailbox. Begun only once it is stored."""

    row: TurnRow
    trace_id: str = ""
    stored: bool = False


@dataclass(slots=True)
class _Conversation:
    """What is known of a session while the agent is in memory."""

    session: session_service_pb2.Session
    history: list[common_pb2.Message]
    rules: dict[str, int]


class Agent:
    """A woken agent. Several callers at once are safe."""

    def __init__(self, row: AgentRow, deps: Dependencies, changed: Callable[["Agent"], None]) -> None:
        self.ref = row.ref
        self.row = row
        self.deps = deps
        self.lifecycle = Lifecycle(row.status)
        self.journal = Journal(deps.log, row.ref, row.epoch, row.latest_sequence)
        self.approvals = Approvals(deps.store, self.journal, self._resolved)
        self.last_used = clock.monotonic()
        self.lost = False  # another owner has taken it
        self.holds = 0  # callers that use it now; it is not evicted under them
        self._changed = changed  # tells the registry that it became idle or closed
        self._config: agent_pb2.AgentConfig | None = None
        self._queue: deque[_Queued] = deque()
        self._current: TurnRun | None = None
        self._conversations: dict[str, _Conversation] = {}
        self._interrupts: dict[str, str] = {}  # turns to be stopped as soon as they have begun
        self._starting = 0  # turns being accepted
        self._runner: asyncio.Task[None] | None = None
        self._ends: dict[str, asyncio.Future[errors.AsterError | None]] = {}

    # -- what it is -----------------------------------------------------------------

    @property
    def config(self) -> agent_pb2.AgentConfig:
        """The config in effect, template included."""
        if self._config is None:
            self._config = self.deps.templates.resolve(self.row.agent.config, self.deps.providers.default_model())
        return self._config

    @property
    def workspace_name(self) -> str:
        """What names its working folder in the digest of an approval."""
        return self.config.sandbox.work_dir or str(self.ref.key)

    @property
    def busy(self) -> bool:
        """A turn is in progress, waits, or is being accepted."""
        return self._current is not None or bool(self._queue) or self._starting > 0

    @property
    def waits(self) -> bool:
        """Its turn waits for a person: nothing is at work."""
        return self._current is not None and self.lifecycle.status.activity == lifecycle.WAITING

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def current_turn(self) -> agent_pb2.Turn | None:
        return self._current.turn if self._current else None

    def updated(self, agent: agent_pb2.Agent) -> None:
        """Takes over new settings; a turn in progress keeps the old ones."""
        self.row = AgentRow(
            self.row.key, self.row.tenant, self.row.epoch, agent, self.row.status, self.row.default_session_id,
            self.row.latest_sequence, self.row.oldest_sequence, self.row.floor_position,
        )  # fmt: skip
        self._config = None

    def _stamp(self, scope: Scope, trace_id: str = "") -> Stamp:
        return Stamp(self.ref.id, scope, trace_id=trace_id)

    # -- life -------------------------------------------------------------------------

    async def resume(self) -> None:
        """Takes up the turns that the store says are not finished."""
        for row in await self.deps.store.unfinished_turns(self.ref.key):
            self._queue.append(_Queued(row, stored=True))
        self._work()

    async def start(self) -> None:
        """CREATED or STOPPED becomes STARTED; nothing when it is started already.

        :raises AgentClosed:"""
        self._refuse_closed()
        payloads = self._started()
        if payloads:
            await self._write_status(payloads)

    def _started(self) -> list[event_pb2.StateChanged]:
        if self.lifecycle.status.state in (lifecycle.CREATED, lifecycle.STOPPED):
            return self.lifecycle.change(lifecycle.STARTED)
        return []

    async def stop(self) -> None:
        """STARTED becomes STOPPED, before it is dropped from memory.

        :raises WrongState: a turn is in progress."""
        if self.busy:
            raise errors.WrongState("a turn is in progress", agent_id=self.ref.id)
        if self.lifecycle.status.state == lifecycle.STARTED:
            await self._write_status(self.lifecycle.change(lifecycle.STOPPED))

    async def close(self) -> None:
        """Interrupts the turn in progress, drops queued ones, and closes for good. Idempotent."""
        if self.lifecycle.closed:
            return
        await self.interrupt_all("the agent was closed")
        if not self.lifecycle.closed:
            await self._write_status(self.lifecycle.change(lifecycle.CLOSED, lifecycle.IDLE))

    async def halt(self) -> None:
        """Leaves every turn as it is stored and stops working: the process ends or lost the agent."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        for future in self._ends.values():
            if not future.done():
                future.set_exception(errors.Draining(retry_after=1.0))
                future.exception()
        self._ends.clear()

    async def _write_status(self, payloads: Sequence[ProtoMessage]) -> None:
        stamp = self._stamp(Scope())
        await self.journal.write([stamp.event(payload) for payload in payloads], [self.lifecycle.row()])

    def _refuse_closed(self) -> None:
        if self.lifecycle.closed:
            raise errors.AgentClosed(agent_id=self.ref.id)

    # -- input --------------------------------------------------------------------------

    async def submit(self, said: Input) -> Accepted:
        """Stores the message and its turn; the turn runs when those before it have ended.

        :raises AgentClosed, AgentBusy, RateLimited, SessionNotFound, RequestIdReused:"""
        if said.request is not None and (known := await self._known(said.request)):
            return known
        self._refuse_closed()
        self.last_used = clock.monotonic()
        if self.busy and said.reject_when_busy:
            turn = self.current_turn
            raise errors.AgentBusy(retry_after=1.0, agent_id=self.ref.id, turn_id=turn.id if turn else "")
        if len(self._queue) + self._starting >= MAX_QUEUED:
            raise errors.RateLimited("too many turns wait for this agent", retry_after=5.0, agent_id=self.ref.id)
        self._starting += 1
        try:
            return await self._accept(said)
        except RequestIdKnown:
            assert said.request is not None
            known = await self._known(said.request)
            assert known is not None
            return known
        finally:
            self._starting -= 1
            self._work()

    async def _accept(self, said: Input) -> Accepted:
        session = (await self._conversation(said.session_id)).session
        turn = agent_pb2.Turn(
            id=said.turn_id or ids.new("trn_"),
            agent_id=self.ref.id,
            session_id=session.id,
            state=agent_pb2.TURN_STATE_QUEUED,
            create_time=clock.timestamp(clock.now()),
        )
        rows: list[Row] = [PutTurn(snapshot(turn), said.message, said.principal, said.budget)]
        if said.request is not None:
            rows.append(AddRequest(said.request.request_id, said.request.digest, f"{self.ref.key}/{turn.id}"))
        place = self.journal.place
        row = TurnRow(self.ref.key, turn, said.message, said.principal, said.budget or common_pb2.Budget())
        queued = _Queued(row, said.trace_id)
        self._queue.append(queued)
        try:
            await self.journal.write((), rows)
        except BaseException:
            self._queue.remove(queued)
            raise
        queued.stored = True
        return Accepted(snapshot(turn), place)

    async def _known(self, request: AddRequest) -> Accepted | None:
        """The turn an earlier request with this id made."""
        stored = await self.deps.store.request(self.ref.tenant, request.request_id)
        if stored is None:
            return None
        digest, target = stored
        if digest != request.digest:
            raise errors.RequestIdReused(request.request_id)
        row = await self.deps.store.turn(self.ref.key, target.partition("/")[2])
        if row is None:
            raise errors.TurnNotFound(target)
        before = row.turn.first_sequence - 1 if row.turn.first_sequence else self.journal.place.sequence
        return Accepted(row.turn, Place(self.ref.key, 0, max(before, 0)), repeated=True)

    async def _conversation(self, session_id: str) -> _Conversation:
        """A session of this agent with its history, loaded once.

        :raises SessionNotFound:"""
        wanted = session_id or self.row.default_session_id
        known = self._conversations.get(wanted)
        if known is not None:
            return known
        found = await self.deps.store.session(self.ref.tenant, wanted)
        if found is None or found[0] != self.ref.key:
            raise errors.SessionNotFound(wanted, agent_id=self.ref.id)
        messages = await self.deps.store.messages(self.ref.tenant, wanted, 0, 0)
        rules = await self.deps.store.session_rules(self.ref.key, wanted)
        loaded = _Conversation(found[1], [message for _, message in messages], rules)
        return self._conversations.setdefault(wanted, loaded)

    async def add_session(self, session: session_service_pb2.Session, request: AddRequest | None) -> str:
        """Opens a conversation; its id, or that of the session an equal request opened.

        :raises AgentClosed, SessionAlreadyExists, RequestIdReused:"""
        self._refuse_closed()
        rows: list[Row] = [PutSession(session, insert=True)]
        if request is not None:
            rows.insert(0, AddRequest(request.request_id, request.digest, session.id))
        try:
            await self.journal.write((), rows)
        except RequestIdKnown as known:
            if request is None or known.digest != request.digest:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return known.target
        return session.id

    def forget_session(self, session_id: str) -> None:
        """The session was deleted.

        :raises WrongState: one of its turns is in progress or waits."""
        turns = [queued.row.turn for queued in self._queue] + ([self._current.turn] if self._current else [])
        if any(turn.session_id == session_id for turn in turns):
            raise errors.WrongState("a turn of the session is in progress", session_id=session_id)
        self._conversations.pop(session_id, None)

    async def add_system_message(self, text: str, session_id: str, request: AddRequest | None) -> str:
        """Adds to the history without a turn; a turn in progress sees it in its next model call.

        :raises AgentClosed, SessionNotFound, RequestIdReused:"""
        self._refuse_closed()
        message = common_pb2.Message(role=common_pb2.ROLE_SYSTEM, id=ids.new("msg_"))
        message.content.add(text=text)
        message.create_time.CopyFrom(clock.timestamp(clock.now()))
        conversation = await self._conversation(session_id)
        session = conversation.session
        conversation.history.append(message)
        session.message_count += 1
        session.update_time.CopyFrom(message.create_time)
        self.lifecycle.status.message_count += 1
        rows: list[Row] = [AddMessage(session.id, message), PutSession(snapshot(session))]
        if request is not None:
            rows.append(AddRequest(request.request_id, request.digest, message.id))
        try:
            await self.journal.write((), [*rows, self.lifecycle.row()])
        except RequestIdKnown as known:
            if known.digest != (request.digest if request else b""):
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return known.target
        return message.id

    # -- running --------------------------------------------------------------------------

    def _work(self) -> None:
        if self._queue and (self._runner is None or self._runner.done()):
            self._runner = asyncio.create_task(self._run(), name=f"agent {self.ref.id}")

    async def _run(self) -> None:
        while self._queue and self._queue[0].stored and not self.lifecycle.closed:
            queued = self._queue[0]
            try:
                run = await self._begin(queued.row, queued.trace_id)
            except (errors.StorageFull, errors.StoreUnavailable):
                await clock.sleep(1.0)
                continue
            except errors.LeaseLost:
                self.lost = True
                self._changed(self)
                return
            self._queue.remove(queued)
            self._current = run
            if reason := self._interrupts.pop(run.turn.id, ""):
                run.interrupt(reason)
            error = await self._finish(run)
            self._ended(run.turn.id, error)
        self.last_used = clock.monotonic()
        self._changed(self)

    async def _begin(self, row: TurnRow, trace_id: str) -> TurnRun:
        """Stores that the turn runs, with its message; a turn taken up again has both."""
        turn = snapshot(row.turn)
        resumed = turn.state != agent_pb2.TURN_STATE_QUEUED
        context = await self._context(row, turn, trace_id)
        if resumed:
            if not turn.pending_ids:
                turn.state = agent_pb2.TURN_STATE_RUNNING
            return TurnRun(context, resumed=True)
        turn.state = agent_pb2.TURN_STATE_RUNNING
        status = self.lifecycle.status
        status.turn_id, status.session_id = turn.id, turn.session_id
        status.ClearField("last_error")
        payloads = self._started() + self.lifecycle.change(lifecycle.RUNNING, lifecycle.WORKING)
        rows = context.say(snapshot(row.input))
        turn.first_sequence = self.journal.place.sequence + 1
        await context.post(*payloads, rows=(*rows, *context.turn_rows()))
        return TurnRun(context, resumed=False)

    async def _context(self, row: TurnRow, turn: agent_pb2.Turn, trace_id: str) -> TurnContext:
        config = self.config
        conversation = await self._conversation(turn.session_id)
        session = conversation.session
        tools = AgentTools.of(self.deps.tools, config)
        return TurnContext(
            deps=self.deps,
            config=config,
            journal=self.journal,
            approvals=self.approvals,
            lifecycle=self.lifecycle,
            permissions=Permissions(config, conversation.rules),
            tools=tools.by_name,
            specs=tools.specs,
            workspace=self.deps.open_workspace(self.ref.key, config.sandbox.work_dir),
            workspace_name=self.workspace_name,
            row=row,
            turn=turn,
            session=session,
            stamp=self._stamp(Scope(session.id, turn.id), trace_id),
            history=conversation.history,
        )

    async def _finish(self, run: TurnRun) -> errors.AsterError | None:
        run.has_more = bool(self._queue)
        try:
            return await run.run()
        except errors.AsterError as error:  # the store refused the end: the lease is lost
            _log.warning("turn %s of agent %s was given up: %s", run.turn.id, self.ref.id, error.reason)
            self.lost = isinstance(error, errors.LeaseLost)
            return error
        finally:
            run.context.workspace.close()
            self._current = None

    def _ended(self, turn_id: str, error: errors.AsterError | None) -> None:
        future = self._ends.pop(turn_id, None)
        if future is not None and not future.done():
            future.set_result(error)

    async def wait(self, turn_id: str) -> agent_pb2.Turn:
        """Waits for the end of a turn; the turn as stored then. Cancelling only stops the waiting.

        :raises TurnNotFound:"""
        future = self._ends.get(turn_id)
        if future is None and self.has(turn_id):
            future = self._ends[turn_id] = asyncio.get_running_loop().create_future()
        if future is not None:
            await asyncio.shield(future)
        row = await self.deps.store.turn(self.ref.key, turn_id)
        if row is None:
            raise errors.TurnNotFound(turn_id)
        return row.turn

    def has(self, turn_id: str) -> bool:
        """The turn is in progress or waits."""
        if self._current is not None and self._current.turn.id == turn_id:
            return True
        return any(queued.row.turn.id == turn_id for queued in self._queue)

    # -- interrupting -------------------------------------------------------------------------

    async def interrupt(self, turn_id: str, reason: str) -> agent_pb2.Turn:
        """Stops a turn, running or queued; the turn after its end. OK for one that has ended.

        :raises WrongState: no id, and no turn in progress.
        :raises TurnNotFound:"""
        if not turn_id:
            if self._current is None:
                raise errors.WrongState("no turn is in progress", agent_id=self.ref.id)
            turn_id = self._current.turn.id
        if self._current is not None and self._current.turn.id == turn_id:
            self._current.interrupt(reason)
            return await self.wait(turn_id)
        for queued in list(self._queue):
            if queued.row.turn.id == turn_id:
                await self._interrupt_queued(queued, reason)
        return await self.wait(turn_id)

    async def _interrupt_queued(self, queued: _Queued, reason: str) -> None:
        """A queued turn ends without having begun; the one at the door is stopped as it begins."""
        if self._current is None and queued is self._queue[0]:
            self._interrupts[queued.row.turn.id] = reason or "interrupted"
            return
        self._queue.remove(queued)
        await self._drop(queued.row)

    async def _drop(self, row: TurnRow) -> None:
        """Ends a queued turn that never began, with its one complete event."""
        turn = snapshot(row.turn)
        turn.state, turn.stop_reason = agent_pb2.TURN_STATE_INTERRUPTED, agent_pb2.STOP_REASON_INTERRUPTED
        turn.end_time.CopyFrom(clock.timestamp(clock.now()))
        scope = Scope(turn.session_id, turn.id)
        complete = event_pb2.TurnComplete(stop_reason=turn.stop_reason, state=turn.state)
        await self.journal.write([self._stamp(scope).event(complete)], [PutTurn(turn)], scope)
        self._ended(turn.id, errors.TurnInterrupted(turn_id=turn.id))

    async def interrupt_all(self, reason: str) -> None:
        """Drops the queue and stops the turn in progress."""
        turn_ids = [queued.row.turn.id for queued in reversed(self._queue)]
        for turn_id in turn_ids:
            await self.interrupt(turn_id, reason)
        if self._current is not None:
            turn_id = self._current.turn.id
            self._current.interrupt(reason)
            await self.wait(turn_id)

    # -- decisions ------------------------------------------------------------------------------

    def _resolved(self, pending: control_service_pb2.PendingRequest) -> tuple[list[event_pb2.Event], list[Row]]:
        """What else changes when a request of the turn in progress is resolved."""
        run = self._current
        if run is None or run.turn.id != pending.turn_id or pending.id not in run.turn.pending_ids:
            return [], []
        run.turn.pending_ids.remove(pending.id)
        payloads: list[event_pb2.StateChanged] = []
        if not run.turn.pending_ids:
            run.turn.state = agent_pb2.TURN_STATE_RUNNING
            payloads = self.lifecycle.change(activity=lifecycle.WORKING)
        return run.context.events(*payloads), run.context.turn_rows()

    async def starter_of(self, turn_id: str) -> str:
        """The principal that started a turn, for four eyes."""
        row = await self.deps.store.turn(self.ref.key, turn_id)
        return row.principal if row else ""

    def remember_rule(self, session_id: str, tool: str, policy: common_pb2.PermissionPolicy) -> None:
        """A decision with scope SESSION holds from now on, for the turn in progress too."""
        conversation = self._conversations.get(session_id)
        if conversation is not None:
            conversation.rules[tool] = policy
        if self._current is not None and self._current.context.session.id == session_id:
            self._current.context.permissions.remember(tool, policy)


def request_of(request_id: str, method: str, request: ProtoMessage) -> AddRequest | None:
    """The idempotency row of a request; None without a request_id."""
    if not request_id:
        return None
    digest = hashlib.sha256(method.encode() + b"\x00" + request.SerializeToString(deterministic=True)).digest()
    return AddRequest(request_id, digest, "")
