"""The runs of a server: begun, taken up after a restart, waited for, stopped.

Every run that has not ended is in memory as one task; what it has done is in the store.
A run that waits for a person for a month costs a task that sleeps."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from aster.v1 import common_pb2, control_service_pb2, event_pb2, workflow_pb2
from asteros import clock, errors, ids
from asteros.cosmos.registry import Registry
from asteros.runtime.approvals import ALLOWED, DENIED, Approvals, Resolved, to_the_end
from asteros.runtime.journal import Journal
from asteros.stores.base import AddRequest, RequestIdKnown
from asteros.stores.workflows import NewRun, RunRow, StepRow, WorkflowStore
from asteros.workflows.actions import Action, Approval, Function, Functions, Wait
from asteros.workflows.book import END, ENDED, GO, PAUSE, PENDING, STORE_RETRY, Book
from asteros.workflows.catalog import Catalog
from asteros.workflows.execution import Execution
from asteros.workflows.expressions import Expressions
from asteros.workflows.nested import InnerWorkflow, StarRunner, StarStep
from asteros.workflows.turns import AgentStep, Chooser, ToolStep, Turns

_log = logging.getLogger(__name__)
MAX_SHOWN = 1000  # steps of one run that a caller sees
Run = workflow_pb2.WorkflowRun
Decision = control_service_pb2.RespondToWorkflowApprovalRequest


@dataclass(frozen=True, slots=True)
class Start:
    """What a run is to be started with."""

    workflow_id: str
    message: str
    inputs_json: str = ""
    principal: str = ""
    budget: common_pb2.Budget | None = None
    request: AddRequest | None = None  # its target is set to the run


@dataclass(slots=True, eq=False)
class _Live:
    """A run in memory."""

    ended: "asyncio.Future[None]"
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # set when there is an execution
    execution: Execution | None = None
    task: "asyncio.Task[None] | None" = None


class Workflows:
    """``start``, and ``aclose`` before the agents close. Safe for several callers at once."""

    def __init__(
        self,
        store: WorkflowStore,
        registry: Registry,
        catalog: Catalog,
        expressions: Expressions,
        *,
        functions: Mapping[str, Function],
        stars: StarRunner | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self._registry = registry
        self._events = registry.deps.store
        self._log = registry.deps.log
        self._expressions = expressions
        turns = Turns(registry)
        self._chooser = Chooser(turns)
        self._actions: dict[str, Action] = {
            "agent": AgentStep(turns),
            "tool": ToolStep(turns),
            "function": Functions(functions),
            "approval": Approval(),
            "wait": Wait(),
            "workflow": InnerWorkflow(self),
            "star": StarStep(stars),
        }
        self._live: dict[int, _Live] = {}
        self._leaving = False

    # -- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up every run that has not ended."""
        for row in await self.store.unfinished_runs():
            self._begin(row)

    async def aclose(self) -> None:
        """Leaves every run as it is stored."""
        self._leaving = True
        live = list(self._live.values())
        for one in live:
            if one.execution is not None:
                one.execution.leaving = True
            if one.task is not None:
                one.task.cancel()
        await asyncio.gather(*(one.task for one in live if one.task is not None), return_exceptions=True)
        await self._expressions.aclose()

    def _begin(self, row: RunRow) -> None:
        """Puts a run in memory, once."""
        if row.key in self._live or self._leaving:
            return
        live = self._live[row.key] = _Live(asyncio.get_running_loop().create_future())
        live.task = asyncio.create_task(self._carry_out(row, live), name=f"workflow run {row.run.id}")

    async def _carry_out(self, row: RunRow, live: _Live) -> None:
        try:
            row, steps = await self._acquired(row.key)
            book = Book(row, steps, self._events, self._log)
            live.execution = Execution(book, self._actions, self._chooser, self._expressions)
            live.execution.leaving = self._leaving
            live.ready.set()
            await live.execution.run()
        except errors.AsterError as error:
            _log.warning("workflow run %s was left: %s", row.run.id, error.reason)
        finally:
            live.ready.set()
            self._live.pop(row.key, None)
            if not live.ended.done():
                live.ended.set_result(None)

    async def _acquired(self, key: int) -> tuple[RunRow, list[StepRow]]:
        """A full or busy store is waited for."""
        while True:
            try:
                return await self.store.acquire_run(key), await self.store.steps(key)
            except (errors.StorageFull, errors.StoreUnavailable):
                await clock.sleep(STORE_RETRY)

    # -- starting -------------------------------------------------------------------------

    async def execute(self, tenant: str, start: Start) -> RunRow:
        """Stores a run and begins it; the run of an equal request before.

        :raises WorkflowNotFound, FieldViolation, RequestIdReused, Draining:"""
        if self._leaving:
            raise errors.Draining(retry_after=1.0)
        new = await self.new_run(tenant, start)
        request = start.request
        if request is not None:
            request = AddRequest(request.request_id, request.digest, new.run.id)
        try:
            row = await self.store.create_run(tenant, new, request)
        except RequestIdKnown as known:
            if request is None or known.digest != request.digest:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return await self.row(tenant, start.workflow_id, known.target)
        self._begin(row)
        return row

    async def new_run(self, tenant: str, start: Start) -> NewRun:
        """
        :raises WorkflowNotFound, FieldViolation:"""
        check_inputs(start.inputs_json)
        workflow = await self.catalog.get(tenant, start.workflow_id)
        run = Run(
            id=ids.new("wfr_"),
            workflow_id=start.workflow_id,
            state=PENDING,
            message=start.message,
            inputs_json=start.inputs_json,
            create_time=clock.timestamp(clock.now()),
        )
        return NewRun(run, workflow, start.principal, start.budget)

    async def begin_inner(self, tenant: str, new: NewRun) -> RunRow:
        """The run with the new one's id, begun now unless it was before."""
        new.run.state = PENDING
        new.run.create_time.CopyFrom(clock.timestamp(clock.now()))
        return self.begin(await self.store.create_run(tenant, new))

    def begin(self, row: RunRow) -> RunRow:
        """Begins a stored run."""
        if row.run.state not in ENDED:
            self._begin(row)
        return row

    async def definition(self, tenant: str, workflow_id: str) -> workflow_pb2.Workflow:
        return await self.catalog.get(tenant, workflow_id)

    # -- finding --------------------------------------------------------------------------

    async def find(self, tenant: str, run_id: str) -> RunRow | None:
        return await self.store.run(tenant, run_id)

    async def row(self, tenant: str, workflow_id: str, run_id: str) -> RunRow:
        """
        :raises WorkflowRunNotFound:"""
        row = await self.store.run(tenant, run_id)
        if row is None or row.run.workflow_id != workflow_id:
            raise errors.WorkflowRunNotFound(run_id, workflow_id=workflow_id)
        return row

    async def view(self, row: RunRow) -> Run:
        """A run as callers see it: with its steps, and what it waits for."""
        shown = row.run
        shown.steps.extend(step.step for step in await self.store.steps(row.key, MAX_SHOWN))
        if shown.state not in ENDED:
            pending = await self._events.open_pending(row.tenant, row.key, "", MAX_SHOWN)
            shown.pending_ids.extend(one.pending.id for one in pending)
        return shown

    async def wait(self, row: RunRow) -> RunRow:
        """The run after its end. Cancelling only stops the waiting.

        :raises Draining: the server stops before."""
        while row.run.state not in ENDED:
            if self._leaving:
                raise errors.Draining(retry_after=1.0)
            live = self._live.get(row.key)
            if live is not None:
                await asyncio.shield(live.ended)
            else:
                self.begin(row)
            row = await self.row(row.tenant, row.run.workflow_id, row.run.id)
        return row

    async def last_position(self, row: RunRow) -> int:
        """Of the newest event of a run's log."""
        segments = await self._events.read_agent_segments(row.key, row.latest_sequence - 1, 1)
        return segments[-1].last_position if segments else row.first_position

    async def steps_of(self, row: RunRow) -> tuple[int, bool]:
        """Model steps of the run's turns, and whether it may have done what must not be done twice."""
        steps = await self.store.steps(row.key)
        count = sum(json.loads(step.facts).get("steps", 0) for step in steps)
        return count, any(step.step.turn_id for step in steps)

    # -- what people want -------------------------------------------------------------------

    async def cancel(self, row: RunRow) -> RunRow:
        """Stops a run and its turns; the run after its end. Nothing for one that has ended."""
        live = await self._in_memory(row)
        if live is not None and live.execution is not None:
            await to_the_end(self._wish(live.execution, END))
            if live.task is not None:
                live.task.cancel()
        return await self.wait(await self.row(row.tenant, row.run.workflow_id, row.run.id))

    async def pause(self, row: RunRow) -> RunRow:
        """Steps in progress end, none begins.

        :raises WrongState: it has ended, or is being stopped."""
        return await self._change(row, PAUSE)

    async def resume(self, row: RunRow) -> RunRow:
        """Lets a paused run go on.

        :raises WrongState: it has ended, or is being stopped."""
        return await self._change(row, GO)

    async def _change(self, row: RunRow, wish: int) -> RunRow:
        live = await self._in_memory(row)
        execution = live.execution if live is not None else None
        if execution is None or execution.book.run.state in ENDED or execution.book.wish == END:
            state = workflow_pb2.WorkflowRunState.Name(row.run.state)
            raise errors.WrongState("the run has ended", run_id=row.run.id, state=state)
        if execution.book.wish != wish:
            await to_the_end(self._wish(execution, wish))
        return await self.row(row.tenant, row.run.workflow_id, row.run.id)

    @staticmethod
    async def _wish(execution: Execution, wish: int) -> None:
        """Stored before anything acts on it."""
        execution.book.want(wish)
        await execution.book.write()
        execution.wished()

    async def _in_memory(self, row: RunRow) -> _Live | None:
        live = self._live.get(row.key)
        if live is not None:
            await live.ready.wait()
        return live

    async def respond(self, row: RunRow, request: Decision, principal: str) -> control_service_pb2.PendingRequest:
        """Answers an approval step. Cancelled: it is decided all the same.

        :raises PendingRequestNotFound, RequestAlreadyResolved:"""
        live = await self._in_memory(row)
        if live is not None and live.execution is not None:
            approvals = live.execution.book.approvals
        else:
            journal = Journal(self._log, row.ref, row.epoch, row.latest_sequence)
            approvals = Approvals(self._events, journal, lambda _: ([], []), lambda _: None)
        found = await approvals.get(request.pending_id)
        if not found.pending.HasField("workflow_approval"):
            raise errors.PendingRequestNotFound(request.pending_id, run_id=row.run.id)
        outcome: event_pb2.ResolutionOutcome = (
            ALLOWED if request.decision == control_service_pb2.DECISION_ALLOW else DENIED
        )
        resolution = Resolved(outcome=outcome, decided_by=principal, note=request.note)
        return await to_the_end(approvals.resolve(request.pending_id, resolution))


def check_inputs(inputs_json: str) -> None:
    """
    :raises FieldViolation: it is no JSON object."""
    if not inputs_json:
        return
    try:
        found = json.loads(inputs_json)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.bad_field("inputs_json", "must be a JSON object")
