"""Steps that are runs of something else: of another workflow, or of a Star."""

import contextlib
from dataclasses import dataclass
from typing import Protocol

from aster.v1 import common_pb2, workflow_pb2
from asteros import errors, ids
from asteros.stores.workflows import NewRun, RunRow
from asteros.workflows.actions import Action, Prepared, Work
from asteros.workflows.book import SUCCEEDED, Book
from asteros.workflows.failures import StepFailed, failed

MAX_NESTED = 8  # runs of workflows inside each other


class Runs(Protocol):
    """What a step needs to know of runs; see ``runs.Workflows``."""

    async def begin_inner(self, tenant: str, new: NewRun) -> RunRow:
        """The run with the new one's id, begun now unless it was before."""
        ...

    async def definition(self, tenant: str, workflow_id: str) -> workflow_pb2.Workflow: ...

    async def find(self, tenant: str, run_id: str) -> RunRow | None: ...

    async def wait(self, row: RunRow) -> RunRow: ...

    async def cancel(self, row: RunRow) -> RunRow: ...

    async def steps_of(self, row: RunRow) -> tuple[int, bool]:
        """Model steps of the run's turns, and whether it has done what must not be done twice."""
        ...


class InnerWorkflow(Action):
    """A run of another workflow. Its id is made when the step begins, and stored with it."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def prepare(self, work: Work) -> Prepared | None:
        work.record.facts["run"] = ids.new("wfr_")
        return None

    async def run(self, work: Work) -> str:
        row = await self._runs.find(work.tenant, work.record.facts["run"])
        with work.shares.given(work.record.place) as budget:
            if row is None:
                row = await self._begin(work, budget)
            ended = (await self._runs.wait(row)).run
        steps, _ = await self._runs.steps_of(row)
        work.book.count(work.record, ended.usage, ended.cost_usd, steps)
        if ended.state == SUCCEEDED:
            return ended.output
        raise (
            StepFailed(ended.error)
            if ended.HasField("error")
            else failed(errors.TurnInterrupted("the run was cancelled"))
        )

    async def _begin(self, work: Work, budget: common_pb2.Budget) -> RunRow:
        workflow_id = work.step.workflow.workflow_id
        await self._refuse_deep(work.book, workflow_id)
        run = workflow_pb2.WorkflowRun(
            id=work.record.facts["run"],
            workflow_id=workflow_id,
            message=work.input,
            parent_run_id=work.run_id,
        )
        definition = await self._runs.definition(work.tenant, workflow_id)
        return await self._runs.begin_inner(work.tenant, NewRun(run, definition, work.book.row.principal, budget))

    async def _refuse_deep(self, book: Book, workflow_id: str) -> None:
        depth, run = 1, book.run
        while True:
            if run.workflow_id == workflow_id:
                raise failed(errors.WrongState("a workflow cannot contain itself", workflow_id=workflow_id))
            above = await self._runs.find(book.row.tenant, run.parent_run_id) if run.parent_run_id else None
            if above is None:
                return
            depth, run = depth + 1, above.run
            if depth >= MAX_NESTED:
                raise failed(errors.ResourceExhausted(f"workflows are nested at most {MAX_NESTED} deep"))

    async def abandon(self, work: Work) -> None:
        row = await self._runs.find(work.tenant, work.record.facts["run"])
        if row is not None:
            await self._runs.cancel(row)

    async def effects(self, work: Work) -> bool:
        row = await self._runs.find(work.tenant, work.record.facts.get("run", ""))
        return row is not None and (await self._runs.steps_of(row))[1]


@dataclass(frozen=True, slots=True)
class StarAnswer:
    """What a Star's run gave."""

    text: str
    turn_id: str
    agent_id: str
    usage: common_pb2.TokenUsage
    cost_usd: float
    steps: int


class StarRunner(Protocol):
    """Runs Stars; given by whoever has them."""

    async def run(
        self, tenant: str, star_id: str, task: str, *, key: str, principal: str, budget: common_pb2.Budget, run_id: str
    ) -> StarAnswer:
        """Begins a run, or joins the one this key has begun, and waits for its end. Cancelling only
        stops the waiting. ``run_id``: of the workflow; the turns name it.

        :raises AsterError: it could not be begun, or has failed."""
        ...

    async def stop(self, tenant: str, star_id: str, *, key: str) -> None:
        """Stops the run this key has begun, and waits for its end; nothing when there is none."""
        ...


class StarStep(Action):
    """A run of a Star."""

    def __init__(self, stars: StarRunner | None) -> None:
        self._stars = stars

    async def prepare(self, work: Work) -> Prepared | None:
        if self._stars is None:
            raise failed(errors.NotAvailable("stars"))
        work.record.facts["key"] = ids.new("wfs_")
        return None

    async def run(self, work: Work) -> str:
        if self._stars is None:
            raise failed(errors.NotAvailable("stars"))
        with work.shares.given(work.record.place) as budget:
            answer = await self._stars.run(
                work.tenant,
                work.step.star.star_id,
                work.input,
                key=work.record.facts["key"],
                principal=work.book.row.principal,
                budget=budget,
                run_id=work.run_id,
            )
        work.record.step.turn_id, work.record.step.agent_id = answer.turn_id, answer.agent_id
        work.book.count(work.record, answer.usage, answer.cost_usd, answer.steps)
        return answer.text

    async def abandon(self, work: Work) -> None:
        if self._stars is not None:
            with contextlib.suppress(errors.NotFound):
                await self._stars.stop(work.tenant, work.step.star.star_id, key=work.record.facts["key"])

    async def effects(self, work: Work) -> bool:
        return "key" in work.record.facts  # nobody knows what its members have done
