"""What is known of one run: its steps, its state, and the pen that writes both.

Every execution of a step is a record with the decisions that were taken when it began:
its input, whether it is skipped, which way a router takes, until when it waits. They are
stored before anything acts on them, so a run that is taken up again decides nothing twice."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.rpc import status_pb2

from aster.v1 import common_pb2, event_pb2, workflow_pb2
from asteros import clock, errors
from asteros.events.catalogue import Stamp
from asteros.events.log import EventLog
from asteros.runtime.approvals import Approvals
from asteros.runtime.context import add_usage
from asteros.runtime.journal import Journal, snapshot
from asteros.stores.base import PutRun, PutStep, Row, Scope, Store
from asteros.stores.workflows import RunRow, StepRow

PENDING = workflow_pb2.WORKFLOW_RUN_STATE_PENDING
RUNNING = workflow_pb2.WORKFLOW_RUN_STATE_RUNNING
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED
FAILED = workflow_pb2.WORKFLOW_RUN_STATE_FAILED
CANCELED = workflow_pb2.WORKFLOW_RUN_STATE_CANCELED
WAITING = workflow_pb2.WORKFLOW_RUN_STATE_WAITING
PAUSED = workflow_pb2.WORKFLOW_RUN_STATE_PAUSED
ENDED = (SUCCEEDED, FAILED, CANCELED)

STEP_RUNNING = workflow_pb2.WORKFLOW_STEP_STATE_RUNNING
STEP_SUCCEEDED = workflow_pb2.WORKFLOW_STEP_STATE_SUCCEEDED
STEP_FAILED = workflow_pb2.WORKFLOW_STEP_STATE_FAILED
STEP_SKIPPED = workflow_pb2.WORKFLOW_STEP_STATE_SKIPPED
STEP_CANCELED = workflow_pb2.WORKFLOW_STEP_STATE_CANCELED
STEP_WAITING = workflow_pb2.WORKFLOW_STEP_STATE_WAITING
STEP_OPEN = (STEP_RUNNING, STEP_WAITING)

GO, PAUSE, END = 0, 1, 2  # what people want of a run
MAX_EXECUTIONS = 10_000  # of steps in one run
SHOWN_BYTES = 64 * 1024  # of an output in events and records
STORE_RETRY = 1.0  # seconds until a full or busy store is tried again

# Where an execution stands: the rounds of the loops around it, outermost first ("3"), and
# which attempt of a step around it this is, from the second on ("~2").
Rounds = tuple[str, ...]


@dataclass(slots=True)
class Record:
    """One attempt of one execution of a step."""

    step: workflow_pb2.WorkflowStepRun
    rounds: Rounds
    place: int
    facts: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    found: bool = False  # it began before this server did

    @property
    def open(self) -> bool:
        return self.step.state in STEP_OPEN

    def end(self, state: workflow_pb2.WorkflowStepState, error: status_pb2.Status | None = None) -> None:
        self.step.state = state
        self.step.end_time.CopyFrom(clock.timestamp(clock.now()))
        if error is not None:
            self.step.error.CopyFrom(error)

    def succeed(self, output: str) -> None:
        self.output = output
        self.step.output = cut(output)
        self.end(STEP_SUCCEEDED)

    def row(self) -> PutStep:
        facts = json.dumps(self.facts, ensure_ascii=False).encode()
        return PutStep(snapshot(self.step), ".".join(self.rounds), self.place, facts, self.output)


class Book:
    """One run under the epoch with which it was acquired."""

    def __init__(self, row: RunRow, steps: Sequence[StepRow], store: Store, log: EventLog) -> None:
        self.row = row
        self.run = snapshot(row.run)
        self.wish = row.wish
        self.journal = Journal(log, row.ref, row.epoch, row.latest_sequence)
        self.stamp = Stamp("", Scope(workflow_run_id=row.run.id))
        self.approvals = Approvals(store, self.journal, lambda _: ([], []), lambda _: None)
        self.outputs: dict[str, str] = {}  # of steps that have ended, by step id
        self.at_work: set[int] = set()  # places of steps that do something themselves
        self.waiting: set[int] = set()  # those of them that wait for a person or a time
        self._records: dict[tuple[str, Rounds], list[Record]] = {}
        self.steps = 0  # model steps of all turns
        self._count = 0
        self._ended = 0
        self._active = row.active
        self._since = clock.monotonic()
        self._stored_state = row.run.state
        self._changed = False
        for stored in steps:
            self._load(stored)

    def _load(self, stored: StepRow) -> None:
        rounds = tuple(stored.rounds.split(".")) if stored.rounds else ()
        facts = json.loads(stored.facts)
        record = Record(stored.step, rounds, stored.place, facts, stored.output, found=True)
        self._records.setdefault((record.step.step_id, rounds), []).append(record)
        self._count = max(self._count, stored.place)
        self._ended = max(self._ended, facts.get("ended", 0))
        self.steps += facts.get("steps", 0)

    # -- looking ------------------------------------------------------------------------

    def last(self, step_id: str, rounds: Rounds) -> Record | None:
        """The newest attempt of an execution."""
        attempts = self._records.get((step_id, rounds))
        return attempts[-1] if attempts else None

    def records(self, step_ids: Collection[str], rounds: Rounds) -> list[Record]:
        """All attempts of some steps, at or below some rounds; the newest first."""
        found = [
            record
            for attempts in self._records.values()
            for record in attempts
            if record.step.step_id in step_ids and record.rounds[: len(rounds)] == rounds
        ]
        return sorted(found, key=lambda record: -record.place)

    @property
    def active(self) -> float:
        """Seconds at work so far, without the time in which it only waited."""
        return self._active + (clock.monotonic() - self._since if self._stored_state == RUNNING else 0.0)

    # -- changing -----------------------------------------------------------------------

    def begin(self, step_id: str, rounds: Rounds, iteration: int) -> Record:
        """A new attempt; to be written by the caller.

        :raises ResourceExhausted: the run has executed too many steps."""
        if self._count >= MAX_EXECUTIONS:
            raise errors.ResourceExhausted(f"a run executes at most {MAX_EXECUTIONS} steps")
        self._count += 1
        attempts = self._records.setdefault((step_id, rounds), [])
        step = workflow_pb2.WorkflowStepRun(
            step_id=step_id,
            iteration=iteration,
            attempt=len(attempts) + 1,
            state=STEP_RUNNING,
            start_time=clock.timestamp(clock.now()),
        )
        record = Record(step, rounds, self._count)
        attempts.append(record)
        return record

    def ended(self, record: Record) -> None:
        """Notes the order in which steps ended: it decides who was first, also later."""
        self._ended += 1
        record.facts["ended"] = self._ended
        self.at_work.discard(record.place)
        self.waiting.discard(record.place)

    def count(self, record: Record, usage: common_pb2.TokenUsage, cost: float, steps: int) -> None:
        """Adds what the turns of a step have used."""
        add_usage(self.run.usage, usage)
        self.run.cost_usd += cost
        self.steps += steps
        record.facts["steps"] = record.facts.get("steps", 0) + steps
        self._changed = True

    def fail(self, error: status_pb2.Status) -> None:
        self.run.error.CopyFrom(error)
        self._end(FAILED)

    def succeed(self, output: str) -> None:
        self.run.output = output
        self._end(SUCCEEDED)

    def cancel(self) -> None:
        self._end(CANCELED)

    def _end(self, state: workflow_pb2.WorkflowRunState) -> None:
        self.run.state = state
        self.run.end_time.CopyFrom(clock.timestamp(clock.now()))

    def want(self, wish: int) -> None:
        """What people want of it from now on; the next ``write`` stores it."""
        self.wish = wish
        self._changed = True

    async def write(self, *records: Record, events: Sequence[event_pb2.Event] = (), rows: Sequence[Row] = ()) -> None:
        """Stores records as they stand, with an event for each, and the run if it has changed.

        A full or busy store is waited for. Cancelled: it is written all the same.

        :raises LeaseLost: another server has the run."""
        told = [self.stamp.event(record.step) for record in records] + list(events) + self._moved()
        stored = [*(record.row() for record in records), *rows]
        if self._changed:
            stored.append(PutRun(snapshot(self.run), self.wish, self.active))
            self._changed = False
        while True:
            try:
                await self.journal.write(told, stored, self.stamp.scope)
                return
            except (errors.StorageFull, errors.StoreUnavailable):
                await clock.sleep(STORE_RETRY)

    def _moved(self) -> list[event_pb2.Event]:
        """The event of a new state of the run, if it has one."""
        if self.run.state not in ENDED:
            self.run.state = self._state()
        if self.run.state == self._stored_state:
            return []
        self._active, self._since = self.active, clock.monotonic()
        self._stored_state = self.run.state
        self._changed = True
        return [self.stamp.event(_changed(self.run))]

    def _state(self) -> workflow_pb2.WorkflowRunState:
        if self.wish == PAUSE:
            return PAUSED
        return WAITING if self.at_work and self.at_work == self.waiting else RUNNING


def cut(text: str) -> str:
    """The beginning of a long output, as records and events show it."""
    if len(text) * 4 <= SHOWN_BYTES:
        return text
    return text.encode()[:SHOWN_BYTES].decode(errors="ignore")


def _changed(run: workflow_pb2.WorkflowRun) -> event_pb2.WorkflowRunChanged:
    changed = event_pb2.WorkflowRunChanged(workflow_id=run.workflow_id, state=run.state, output=cut(run.output))
    if run.HasField("error"):
        changed.error.CopyFrom(run.error)
    return changed
