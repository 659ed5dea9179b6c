"""The promise of a store about workflows, and the rows that cross it.

A run has an event log of its own, numbered and fenced like an agent's: a ``Unit`` whose
``agent_key`` is the run's key carries its events with ``PutRun`` and ``PutStep``, so a
step's row and the event that tells of it are stored together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aster.v1 import common_pb2, workflow_pb2
from asteros.stores.base import AddRequest, AgentRef

UNFINISHED_RUNS = (
    workflow_pb2.WORKFLOW_RUN_STATE_PENDING,
    workflow_pb2.WORKFLOW_RUN_STATE_RUNNING,
    workflow_pb2.WORKFLOW_RUN_STATE_WAITING,
    workflow_pb2.WORKFLOW_RUN_STATE_PAUSED,
)


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is begun with. ``run`` has no steps; its state is PENDING."""

    run: workflow_pb2.WorkflowRun
    workflow: workflow_pb2.Workflow  # as it is now; the run keeps it
    principal: str = ""
    budget: common_pb2.Budget | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored. ``run`` has neither steps nor pending_ids."""

    key: int  # of its log
    tenant: str
    epoch: int
    run: workflow_pb2.WorkflowRun
    workflow: workflow_pb2.Workflow
    wish: int  # what people want of it: 0 go on, 1 pause, 2 end
    active: float  # seconds at work
    first_position: int  # just before its first event
    principal: str
    budget: common_pb2.Budget
    latest_sequence: int

    @property
    def ref(self) -> AgentRef:
        """Its log. The events of a run have no agent, so this has no name."""
        return AgentRef(self.key, self.tenant, "")


@dataclass(frozen=True, slots=True)
class StepRow:
    """One attempt of one execution of a step as stored."""

    step: workflow_pb2.WorkflowStepRun
    rounds: str
    place: int
    facts: bytes  # JSON
    output: str


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as stored; ``schedule`` has next_time and last_run_id."""

    tenant: str
    schedule: workflow_pb2.WorkflowSchedule
    principal: str


class WorkflowStore(Protocol):
    """Kept beside the log, in the same place; raises what ``Store`` does."""

    async def create_workflow(self, tenant: str, workflow: workflow_pb2.Workflow, request: AddRequest | None) -> None:
        """
        :raises WorkflowAlreadyExists, RequestIdKnown:"""
        ...

    async def workflow(self, tenant: str, workflow_id: str) -> workflow_pb2.Workflow | None: ...

    async def workflows(self, tenant: str, after: str, limit: int) -> list[workflow_pb2.Workflow]:
        """By id, after the given one."""
        ...

    async def delete_workflow(self, tenant: str, workflow_id: str) -> bool:
        """With its schedules; its runs stay. False: there was none."""
        ...

    async def create_run(self, tenant: str, new: NewRun, request: AddRequest | None = None) -> RunRow:
        """Stores a run and makes its log; the stored one when its id was stored before.

        :raises RequestIdKnown:"""
        ...

    async def acquire_run(self, key: int) -> RunRow:
        """Takes the run for this process: raises its epoch.

        :raises WorkflowRunNotFound:"""
        ...

    async def run(self, tenant: str, run_id: str) -> RunRow | None: ...

    async def runs(
        self, tenant: str, workflow_id: str, before: str, limit: int, states: Sequence[int]
    ) -> list[workflow_pb2.WorkflowRun]:
        """Newest first, older than the given run id ("" = from the newest); all workflows with
        workflow_id ""."""
        ...

    async def unfinished_runs(self) -> list[RunRow]:
        """Of all tenants, oldest first."""
        ...

    async def steps(self, run_key: int, limit: int = 0) -> list[StepRow]:
        """Oldest first. Limit 0: all."""
        ...

    async def create_schedule(self, row: ScheduleRow, request: AddRequest | None) -> None:
        """
        :raises ScheduleAlreadyExists, RequestIdKnown:"""
        ...

    async def schedule(
        self, tenant: str, workflow_id: str, schedule_id: str
    ) -> workflow_pb2.WorkflowSchedule | None: ...

    async def schedules(
        self, tenant: str, workflow_id: str, after: tuple[str, str], limit: int
    ) -> list[workflow_pb2.WorkflowSchedule]:
        """By workflow and id, after the given pair; of all workflows with workflow_id ""."""
        ...

    async def delete_schedule(self, tenant: str, workflow_id: str, schedule_id: str) -> bool: ...

    async def due_schedules(self, nanos: int, limit: int) -> list[ScheduleRow]:
        """Those whose next time has come, of all tenants, most overdue first."""
        ...

    async def next_schedule_time(self) -> int | None:
        """When the next schedule is due, nanoseconds."""
        ...

    async def advance_schedule(self, row: ScheduleRow, next_time: int, new: NewRun | None) -> RunRow | None:
        """Moves a schedule on and stores the run it starts, in one transaction; nothing, and None,
        when its next time is no longer the row's: a due time starts one run, whoever sees it."""
        ...
