"""Promises of a store about workflows and their runs; part of ``conformance``."""

import pytest
from stores.helpers import SEAL, SECOND, Reopen, create, new_agent, pending_of, put

from aster.v1 import common_pb2, event_pb2, workflow_pb2
from asteros import clock, errors
from asteros.events.catalogue import Stamp
from asteros.stores.base import (
    AddRequest,
    AgentFilter,
    PutPending,
    PutRun,
    PutStep,
    RequestIdKnown,
    Row,
    Scope,
    Segment,
    Store,
    Unit,
)
from asteros.stores.resources import WORKFLOW
from asteros.stores.workflows import NewRun, RunRow, ScheduleRow, WorkflowStore

PENDING = workflow_pb2.WORKFLOW_RUN_STATE_PENDING
RUNNING = workflow_pb2.WORKFLOW_RUN_STATE_RUNNING
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED


def workflow_of(workflow_id: str, name: str = "") -> workflow_pb2.Workflow:
    return workflow_pb2.Workflow(id=workflow_id, display_name=name, root=workflow_pb2.WorkflowStep(id="s"))


def new_run(run_id: str, workflow_id: str = "w1", **fields: str) -> NewRun:
    run = workflow_pb2.WorkflowRun(id=run_id, workflow_id=workflow_id, state=PENDING, message="go", **fields)
    return NewRun(run, workflow_of(workflow_id), "ann", common_pb2.Budget(max_steps=3))


def schedule_of(schedule_id: str, due: int, workflow_id: str = "w1", tenant: str = "default") -> ScheduleRow:
    schedule = workflow_pb2.WorkflowSchedule(id=schedule_id, workflow_id=workflow_id, cron="* * * * *")
    schedule.next_time.CopyFrom(clock.timestamp(due * SECOND))
    return ScheduleRow(tenant, schedule, "ann")


async def begun(store: Store, run_id: str = "wfr_1", workflow_id: str = "w1", tenant: str = "default") -> RunRow:
    """A stored run, acquired."""
    row = await store.workflows().create_run(tenant, new_run(run_id, workflow_id))
    return await store.workflows().acquire_run(row.key)


async def tell(store: Store, row: RunRow, *rows: Row, epoch: int | None = None) -> object:
    """Commits a unit with one event of the run; its outcome."""
    scope = Scope(workflow_run_id=row.run.id)
    event = Stamp("", scope).event(event_pb2.WorkflowRunChanged(workflow_id=row.run.workflow_id))
    unit = Unit(row.key, row.epoch if epoch is None else epoch, scope, [event], rows)
    return (await store.commit([unit], SEAL))[0]


def step_of(step_id: str, attempt: int = 1) -> workflow_pb2.WorkflowStepRun:
    return workflow_pb2.WorkflowStepRun(step_id=step_id, attempt=attempt)


async def states(store: WorkflowStore, *wanted: int) -> list[str]:
    return [run.id for run in await store.runs("default", "", "", 9, wanted)]


class WorkflowPromises:
    """Workflows, their runs with logs of their own, and schedules."""

    async def test_workflows_are_listed_by_id_and_per_tenant(self, store: Store, reopen: Reopen) -> None:
        for workflow_id, tenant in (("b", "default"), ("a", "default"), ("c", "default"), ("a", "other")):
            await store.workflows().create_workflow(tenant, workflow_of(workflow_id, tenant), None)
        store = await reopen()
        flows = store.workflows()
        assert [found.id for found in await flows.workflows("default", "", 9)] == ["a", "b", "c"]
        assert [found.id for found in await flows.workflows("default", "a", 1)] == ["b"]
        assert await flows.workflow("other", "a") == workflow_of("a", "other")
        assert await flows.workflow("other", "b") is None
        with pytest.raises(errors.WorkflowAlreadyExists):
            await flows.create_workflow("default", workflow_of("a"), None)

    async def test_a_deleted_workflow_leaves_its_runs(self, store: Store) -> None:
        flows = store.workflows()
        await flows.create_workflow("default", workflow_of("w1"), None)
        await flows.create_schedule(schedule_of("s1", 10), None)
        await begun(store)
        assert await flows.delete_workflow("default", "w1")
        assert not await flows.delete_workflow("default", "w1")
        assert await flows.workflow("default", "w1") is None
        assert await flows.schedules("default", "", ("", ""), 9) == []
        assert await states(flows) == ["wfr_1"]

    async def test_workflows_are_registered(self, store: Store) -> None:
        flows = store.workflows()
        await flows.create_workflow("default", workflow_of("w1", "One"), None)
        await flows.delete_workflow("default", "w1")
        changes = await store.resources().changes(0, 9)
        assert [(each.resource.kind, each.resource.id) for each in changes] == [(WORKFLOW, "w1")] * 2

    async def test_requests_make_one_workflow_and_one_run(self, store: Store) -> None:
        flows, request = store.workflows(), AddRequest("r1", b"d", "wfr_1")
        await flows.create_run("default", new_run("wfr_1"), request)
        with pytest.raises(RequestIdKnown):
            await flows.create_run("default", new_run("wfr_2"), AddRequest("r1", b"d", "wfr_2"))
        with pytest.raises(RequestIdKnown):
            await flows.create_workflow("default", workflow_of("w1"), AddRequest("r1", b"e", "w1"))
        assert await states(flows) == ["wfr_1"]
        assert await flows.workflow("default", "w1") is None

    async def test_a_run_is_stored_with_what_it_began_with(self, store: Store, reopen: Reopen) -> None:
        made = await store.workflows().create_run("default", new_run("wfr_1", inputs_json="{}"))
        again = await store.workflows().create_run("default", new_run("wfr_1"))
        assert again == made
        store = await reopen()
        found = await store.workflows().run("default", "wfr_1")
        assert found == made
        assert (made.run.inputs_json, made.principal, made.budget.max_steps) == ("{}", "ann", 3)
        assert made.workflow == workflow_of("w1")
        assert await store.workflows().run("other", "wfr_1") is None

    async def test_a_run_has_a_log_of_its_own(self, store: Store) -> None:
        agent, row = await new_agent(store), await begun(store)
        assert isinstance(await tell(store, row), Segment)
        assert isinstance(await tell(store, row), Segment)
        assert (await put(store, agent)) is None
        found = await store.read_agent_segments(row.key, 0, 9)
        assert [segment.first_sequence for segment in found] == [1, 2]
        assert {segment.scope.workflow_run_id for segment in await store.read_segments("default", 0, 9)} == {"wfr_1"}
        stored = await store.workflows().run("default", "wfr_1")
        assert stored is not None
        assert (stored.latest_sequence, stored.first_position) == (2, 0)
        later = await begun(store, "wfr_2")
        assert later.first_position == 2

    async def test_a_lower_epoch_writes_nothing(self, store: Store) -> None:
        old = await begun(store)
        new = await store.workflows().acquire_run(old.key)
        refused = await tell(store, old, PutStep(step_of("a"), "", 1, b"{}", ""))
        assert isinstance(refused, errors.LeaseLost)
        assert await store.workflows().steps(old.key) == []
        assert isinstance(await tell(store, new), Segment)
        with pytest.raises(errors.WorkflowRunNotFound):
            await store.workflows().acquire_run(999)

    async def test_an_agent_is_no_run_and_a_run_no_agent(self, store: Store) -> None:
        agent, row = await new_agent(store), await begun(store)
        rows = await store.agents("default", "", 9, AgentFilter())
        assert [found.key for found in rows] == [agent.key]
        await create(store, "a2", max_agents=2)
        assert await store.agents_with_work() == []
        with pytest.raises(errors.WorkflowRunNotFound):
            await store.workflows().acquire_run(agent.key)
        assert await store.agent("default", "wfr_1") is None
        assert row.ref.id == ""

    async def test_where_a_run_stands(self, store: Store, reopen: Reopen) -> None:
        row = await begun(store)
        row.run.state = RUNNING
        await tell(store, row, PutRun(row.run, 1, 2.5))
        store = await reopen()
        (found,) = await store.workflows().unfinished_runs()
        assert (await store.counts("default"))["workflow_run_count"] == 1
        assert (found.run.state, found.wish, found.active, found.workflow) == (RUNNING, 1, 2.5, row.workflow)
        found.run.state = SUCCEEDED
        await tell(store, found, PutRun(found.run, 0, 3.0))
        assert await store.workflows().unfinished_runs() == []

    async def test_runs_are_listed_newest_first(self, store: Store) -> None:
        flows = store.workflows()
        for run_id, workflow_id in (("wfr_1", "w1"), ("wfr_2", "w2"), ("wfr_3", "w1")):
            row = await begun(store, run_id, workflow_id)
        row.run.state = RUNNING
        await tell(store, row, PutRun(row.run, 0, 0.0))
        await begun(store, "wfr_9", tenant="other")
        assert await states(flows) == ["wfr_3", "wfr_2", "wfr_1"]
        assert await states(flows, RUNNING, SUCCEEDED) == ["wfr_3"]
        assert [run.id for run in await flows.runs("default", "w1", "wfr_3", 9, ())] == ["wfr_1"]
        assert len(await flows.runs("default", "", "", 2, ())) == 2

    async def test_steps_in_the_order_they_began(self, store: Store) -> None:
        row, other = await begun(store), await begun(store, "wfr_2")
        await tell(store, row, PutStep(step_of("b"), "", 1, b"{}", "out"), PutStep(step_of("a"), "2.1", 2, b"{}", ""))
        await tell(store, row, PutStep(step_of("a", 2), "2.1", 3, b"{}", ""))
        await tell(store, row, PutStep(step_of("a"), "2.1", 2, b'{"x": 1}', "late"))
        await tell(store, other, PutStep(step_of("a"), "", 1, b"{}", ""))
        found = await store.workflows().steps(row.key)
        assert [(one.step.step_id, one.rounds, one.step.attempt, one.output) for one in found] == [
            ("b", "", 1, "out"),
            ("a", "2.1", 1, "late"),
            ("a", "2.1", 2, ""),
        ]
        assert found[1].facts == b'{"x": 1}'
        assert len(await store.workflows().steps(row.key, 2)) == 2

    async def test_requests_of_runs_are_listed_and_left_to_them(self, store: Store) -> None:
        agent, row = await new_agent(store), await begun(store)
        await put(store, agent, PutPending(pending_of("p1", expires=SECOND)))
        await tell(store, row, PutPending(pending_of("p2", expires=SECOND)))
        listed = await store.open_pending("default", 0, "", 9)
        assert [found.pending.id for found in listed] == ["p1", "p2"]
        assert [found.pending.id for found in await store.open_pending("default", row.key, "", 9)] == ["p2"]
        expired = await store.expired_pending(2 * SECOND, 9)
        assert [found.pending.id for found in expired] == ["p1"]

    async def test_schedules_are_listed_and_deleted(self, store: Store, reopen: Reopen) -> None:
        flows = store.workflows()
        for name, workflow_id in (("b", "w1"), ("a", "w2"), ("a", "w1")):
            await flows.create_schedule(schedule_of(name, 10, workflow_id), None)
        with pytest.raises(errors.ScheduleAlreadyExists):
            await flows.create_schedule(schedule_of("a", 20), None)
        await flows.create_schedule(schedule_of("a", 5, "w1", "other"), AddRequest("r1", b"d", "a"))
        flows = (await reopen()).workflows()
        found = await flows.schedules("default", "", ("", ""), 9)
        assert [(one.workflow_id, one.id) for one in found] == [("w1", "a"), ("w1", "b"), ("w2", "a")]
        assert [one.id for one in await flows.schedules("default", "w1", ("w1", "a"), 9)] == ["b"]
        assert await flows.schedule("default", "w1", "a") == found[0]
        assert await flows.delete_schedule("default", "w1", "a")
        assert not await flows.delete_schedule("default", "w1", "a")
        assert await flows.schedule("default", "w1", "a") is None

    async def test_a_due_time_starts_one_run(self, store: Store) -> None:
        flows = store.workflows()
        assert await flows.next_schedule_time() is None
        await flows.create_schedule(schedule_of("late", 20), None)
        await flows.create_schedule(schedule_of("soon", 10), None)
        assert await flows.next_schedule_time() == 10 * SECOND
        (due,) = await flows.due_schedules(15 * SECOND, 9)
        made = await flows.advance_schedule(due, 30 * SECOND, new_run("wfr_1"))
        assert made is not None
        assert await flows.advance_schedule(due, 30 * SECOND, new_run("wfr_2")) is None
        assert await states(flows) == ["wfr_1"]
        assert await flows.due_schedules(15 * SECOND, 9) == []
        moved = await flows.schedule("default", "w1", "soon")
        assert moved is not None
        assert (clock.nanos(moved.next_time), moved.last_run_id) == (30 * SECOND, "wfr_1")
        (again,) = [row for row in await flows.due_schedules(40 * SECOND, 9) if row.schedule.id == "soon"]
        assert await flows.advance_schedule(again, 50 * SECOND, None) is None
        skipped = await flows.schedule("default", "w1", "soon")
        assert skipped is not None
        assert (clock.nanos(skipped.next_time), skipped.last_run_id) == (50 * SECOND, "wfr_1")
