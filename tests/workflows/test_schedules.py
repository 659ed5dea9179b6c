"""Runs by the clock: each due time once, missed ones made up for by one, none beside the one before."""

from pathlib import Path

import pytest
from events.fakes import FakeClock
from workflows.plans import call, made, step
from workflows.test_crash import Played, playing

from aster.v1 import workflow_pb2
from asteros import clock
from asteros.stores.workflows import RunRow
from asteros.workflows.schedules import Schedules, next_time

pytestmark = pytest.mark.anyio
MINUTE = 60.0


async def define(played: Played, plan: dict[str, object]) -> None:
    await played.catalog.create("default", workflow_pb2.Workflow(id="w1", root=made(plan)), None)


async def every_minute(schedules: Schedules) -> workflow_pb2.WorkflowSchedule:
    wanted = workflow_pb2.WorkflowSchedule(id="s1", cron="* * * * *", message="tick", inputs_json='{"a": 1}')
    return await schedules.create("default", "w1", wanted, "ann", None)


async def runs(played: Played) -> list[RunRow]:
    """Those there are, the oldest first, after their end unless they wait."""
    listed = await played.workflows.store.runs("default", "w1", "", 99, ())
    rows = [await played.workflows.row("default", "w1", run.id) for run in reversed(listed)]
    return [row if row.run.state == workflow_pb2.WORKFLOW_RUN_STATE_WAITING else await played.end(row) for row in rows]


async def test_a_due_time_starts_a_run(tmp_path: Path) -> None:
    with FakeClock(1_000 * MINUTE) as time:
        async with playing(tmp_path) as played:
            await define(played, call("a", "note"))
            schedules = Schedules(played.workflows)
            created = await every_minute(schedules)
            assert clock.nanos(created.next_time) == int(1_001 * MINUTE) * clock.NANOS
            await schedules.start_due()
            assert await runs(played) == []
            time.seconds += MINUTE
            await schedules.start_due()
            await schedules.start_due()
            (row,) = await runs(played)
            assert (row.run.output, row.run.schedule_id, row.principal) == ("tick", "s1", "ann")
            assert row.run.inputs_json == '{"a": 1}'
            stored = await schedules.store.schedule("default", "w1", "s1")
            assert stored is not None
            assert (stored.last_run_id, clock.nanos(stored.next_time) // clock.NANOS) == (row.run.id, 1_002 * MINUTE)


async def test_missed_times_are_made_up_for_by_one_run(tmp_path: Path) -> None:
    with FakeClock(1_000 * MINUTE) as time:
        async with playing(tmp_path) as played:
            await define(played, call("a", "note"))
            await every_minute(Schedules(played.workflows))
        time.seconds += 100.5 * MINUTE
        async with playing(tmp_path) as played:
            schedules = Schedules(played.workflows)
            for _ in range(3):
                await schedules.start_due()
            assert len(await runs(played)) == 1
            time.seconds += MINUTE
            await schedules.start_due()
            assert len(await runs(played)) == 2


async def test_a_time_is_skipped_while_the_run_before_goes_on(tmp_path: Path) -> None:
    with FakeClock(1_000 * MINUTE) as time:
        async with playing(tmp_path) as played:
            await define(played, step("ok", approval={}))
            schedules = Schedules(played.workflows)
            await every_minute(schedules)
            for _ in range(3):
                time.seconds += MINUTE
                await schedules.start_due()
            listed = await played.workflows.store.runs("default", "w1", "", 9, ())
            assert len(listed) == 1
            await played.workflows.cancel(await played.workflows.row("default", "w1", listed[0].id))
            time.seconds += MINUTE
            await schedules.start_due()
            assert len(await played.workflows.store.runs("default", "w1", "", 9, ())) == 2


async def test_the_clock_is_waited_for(tmp_path: Path) -> None:
    """The task itself: woken by a new schedule, asleep until its time."""
    async with playing(tmp_path) as played:
        await define(played, call("a", "note"))
        schedules = Schedules(played.workflows)
        await schedules.start()
        try:
            made = await every_minute(schedules)
            assert await schedules.store.next_schedule_time() == clock.nanos(made.next_time)
        finally:
            await schedules.aclose()


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 9 * * *", "", "2026-01-01T08:59:59Z", "2026-01-01T09:00:00Z"),
        ("0 9 * * *", "", "2026-01-01T09:00:00Z", "2026-01-02T09:00:00Z"),
        ("0 9 * * *", "Europe/Berlin", "2026-01-01T09:00:00Z", "2026-01-02T08:00:00Z"),
        ("0 9 * * *", "Europe/Berlin", "2026-07-01T09:00:00Z", "2026-07-02T07:00:00Z"),
        ("*/15 * * * mon-fri", "", "2026-01-02T23:50:00Z", "2026-01-05T00:00:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),  # there is no 2:30 that day
    ],
)
def test_next_times(cron: str, zone: str, after: str, expected: str) -> None:
    begin, wanted = clock.timestamp(0), clock.timestamp(0)
    begin.FromJsonString(after)
    wanted.FromJsonString(expected)
    found = next_time(workflow_pb2.WorkflowSchedule(cron=cron, time_zone=zone), clock.nanos(begin))
    assert clock.timestamp(found).ToJsonString() == wanted.ToJsonString()
