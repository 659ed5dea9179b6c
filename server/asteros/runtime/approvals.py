"""Requests that wait for a person: approvals, questions, iteration limits.

A request is a stored row, raised with a control event whose id is its name. It
survives restarts, takes one decision, and its decision is stored before anything
acts on it (guarantees A1 to A7). Here are the raising, the waiting and the deciding
for one agent; who may decide was checked before."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from aster.v1 import agent_pb2, control_service_pb2, event_pb2
from asteros import clock, errors, failpoints
from asteros.events.catalogue import Stamp
from asteros.runtime.journal import Journal, snapshot
from asteros.stores.base import PendingRow, PutPending, Row, Scope, Store

DEFAULT_TIMEOUT = 24 * 3600.0  # seconds
MAX_TIMEOUT = 30 * 24 * 3600.0
ALLOWED = event_pb2.RESOLUTION_OUTCOME_ALLOWED
DENIED = event_pb2.RESOLUTION_OUTCOME_DENIED
ANSWERED = event_pb2.RESOLUTION_OUTCOME_ANSWERED
EXPIRED = event_pb2.RESOLUTION_OUTCOME_EXPIRED
WITHDRAWN = event_pb2.RESOLUTION_OUTCOME_WITHDRAWN

T = TypeVar("T")
_working: set[asyncio.Task[Any]] = set()
Pending = control_service_pb2.PendingRequest
Resolved = event_pb2.RequestResolved


@dataclass(frozen=True, slots=True)
class Raised:
    """A new request: store ``row`` and ``event`` together, then wait for it."""

    pending: Pending
    row: PutPending
    event: event_pb2.Event


# Called with a request that is being resolved; what else must be written with it.
OnResolved = Callable[[Pending], tuple[list[event_pb2.Event], list[Row]]]


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Awaits work that must not stop half-way: a caller who is cancelled leaves, and it goes on."""
    task = asyncio.create_task(work, name="decision")
    _working.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def _done(task: "asyncio.Task[Any]") -> None:
    _working.discard(task)
    if not task.cancelled():
        task.exception()  # nobody has to wait for it


class Approvals:
    """The requests of one agent. Decisions on one request are taken one after another."""

    def __init__(
        self, store: Store, journal: Journal, on_resolved: OnResolved, on_failed: Callable[[Pending], None]
    ) -> None:
        self._store = store
        self._journal = journal
        self._on_resolved = on_resolved
        self._on_failed = on_failed  # takes back what on_resolved changed
        self._waiting: dict[str, asyncio.Future[Pending]] = {}
        # Held while a request is looked at and resolved; by the end of a turn too, which withdraws its own.
        self.deciding = asyncio.Lock()

    # -- raising ----------------------------------------------------------------

    def raise_request(
        self, stamp: Stamp, config: agent_pb2.AgentConfig, payload: Message, call_id: str = "", ask_index: int = 0
    ) -> Raised:
        """Builds a request from its control event's payload (pending_id and expire_time are set here)."""
        event = stamp.event(payload)
        group = event.control
        asked = getattr(group, str(group.WhichOneof("kind")))
        now = clock.now()
        expires = now + int(approval_timeout(config) * clock.NANOS)
        asked.pending_id = event.id
        asked.expire_time.CopyFrom(clock.timestamp(expires))
        pending = Pending(
            id=event.id,
            agent_id=stamp.agent_id,
            session_id=stamp.scope.session_id,
            turn_id=stamp.scope.turn_id,
            create_time=clock.timestamp(now),
            expire_time=asked.expire_time,
            workflow_run_id=stamp.scope.workflow_run_id,
        )
        getattr(pending, _FIELDS[asked.DESCRIPTOR.name]).CopyFrom(asked)
        return Raised(pending, PutPending(snapshot(pending), call_id, ask_index), event)

    async def wait(self, pending_id: str) -> Pending:
        """Waits until the request is resolved, however long that takes; at once if it was.

        Cancelling leaves the request open."""
        future = self._waiting.get(pending_id)
        if future is None:
            future = self._waiting[pending_id] = asyncio.get_running_loop().create_future()
            row = await self._store.pending(self._journal.ref.key, pending_id)
            if row is not None and row.pending.HasField("resolution") and not future.done():
                future.set_result(row.pending)
        try:
            return await asyncio.shield(future)
        finally:
            if future.done():
                self._waiting.pop(pending_id, None)

    # -- deciding -----------------------------------------------------------------

    async def get(self, pending_id: str) -> PendingRow:
        """
        :raises PendingRequestNotFound:"""
        row = await self._store.pending(self._journal.ref.key, pending_id)
        if row is None:
            raise errors.PendingRequestNotFound(pending_id, agent_id=self._journal.ref.id)
        return row

    async def resolve(
        self,
        pending_id: str,
        resolution: Resolved,
        *,
        digest: str = "",
        rules: Sequence[Row] = (),
    ) -> Pending:
        """Stores a decision, with the rows it leaves behind; the request with it. The same decision again is OK.
        Cancelled half-way it would be stored and wake nobody: callers go through ``to_the_end``.

        :raises RequestAlreadyResolved: decided otherwise, expired or withdrawn.
        :raises ApprovalStale: ``digest`` is not that of the request."""
        async with self.deciding:
            row = await self.get(pending_id)
            pending = row.pending
            if not pending.HasField("resolution") and clock.nanos(pending.expire_time) <= clock.now():
                pending = await self._settle(row, Resolved(outcome=EXPIRED))
            if pending.HasField("resolution"):
                return _again(pending, resolution)
            if digest and digest != pending.tool_approval.input_digest:
                raise errors.ApprovalStale(pending_id=pending.id)
            return await self._settle(row, resolution, rules)

    async def expire(self, pending_id: str) -> None:
        """Counts a request as denied when its time has passed; otherwise does nothing."""
        async with self.deciding:
            row = await self.get(pending_id)
            if not row.pending.HasField("resolution") and clock.nanos(row.pending.expire_time) <= clock.now():
                await self._settle(row, Resolved(outcome=EXPIRED))

    async def _settle(self, row: PendingRow, resolution: Resolved, rules: Sequence[Row] = ()) -> Pending:
        pending = row.pending
        turn = await self._store.turn(self._journal.ref.key, pending.turn_id)
        star_id = turn.turn.star_id if turn is not None else ""
        scope = Scope(pending.session_id, pending.turn_id, star_id, pending.workflow_run_id)
        event, put = self.resolved(row, resolution, scope)
        more_events, more_rows = self._on_resolved(pending)
        try:
            await self._journal.write([event, *more_events], [put, *rules, *more_rows], scope)
        except Exception:
            self._on_failed(pending)
            raise
        await failpoints.reach("approval.after_store_before_wake")
        self._wake(pending)
        return pending

    def resolved(self, row: PendingRow, resolution: Resolved, scope: Scope) -> tuple[event_pb2.Event, PutPending]:
        """The event and the row that end a request. ``row.pending`` gets its resolution."""
        pending = row.pending
        resolution.pending_id = pending.id
        resolution.resolve_time.CopyFrom(clock.timestamp(clock.now()))
        pending.resolution.CopyFrom(resolution)
        event = Stamp(self._journal.ref.id, scope).event(resolution)
        return event, PutPending(snapshot(pending), row.call_id, row.ask_index)

    def _wake(self, pending: Pending) -> None:
        future = self._waiting.get(pending.id)
        if future is not None and not future.done():
            future.set_result(pending)


_FIELDS = {
    "ToolApprovalRequest": "tool_approval",
    "UserInputRequest": "user_input",
    "IterationLimitReached": "iteration_limit",
    "WorkflowApprovalRequest": "workflow_approval",
}


def approval_timeout(config: agent_pb2.AgentConfig) -> float:
    """Seconds a request of this agent waits."""
    if not config.HasField("approval_timeout"):
        return DEFAULT_TIMEOUT
    return min(clock.seconds(config.approval_timeout), MAX_TIMEOUT)


def _again(pending: Pending, resolution: Resolved) -> Pending:
    """The stored answer for a repeated decision."""
    stored = pending.resolution
    if (
        stored.outcome == resolution.outcome
        and stored.answer == resolution.answer
        and stored.edited_input_json == resolution.edited_input_json
    ):
        return pending
    outcome = event_pb2.ResolutionOutcome.Name(stored.outcome).removeprefix("RESOLUTION_OUTCOME_")
    raise errors.RequestAlreadyResolved(
        f"the request was resolved before: {outcome}",
        pending_id=pending.id,
        outcome=outcome,
        decided_by=stored.decided_by,
        resolve_time=stored.resolve_time.ToJsonString(),
    )
