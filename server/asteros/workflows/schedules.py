"""Runs by the clock.

The next time of a schedule is a stored fact. When it has come, one transaction moves it
on and stores the run it starts, so that a due time starts one run, however often the
server dies around it. Times missed while no server ran are made up for by one run; a
time that comes while the run before goes on is skipped."""

import asyncio
import datetime
import logging
import zoneinfo

from cronsim import CronSim, CronSimError

from aster.v1 import workflow_pb2
from asteros import clock, errors
from asteros.runtime.journal import snapshot
from asteros.stores.base import AddRequest, RequestIdKnown
from asteros.stores.workflows import ScheduleRow
from asteros.workflows.book import ENDED
from asteros.workflows.definition import FORM, ID
from asteros.workflows.runs import Start, Workflows, check_inputs

_log = logging.getLogger(__name__)
LOOK = 30.0  # seconds between looks at the clock, which may be set
AT_ONCE = 100
FIELDS = 5
Schedule = workflow_pb2.WorkflowSchedule


class Schedules:
    """``start``, ``aclose``; and what callers do with schedules."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows
        self.store = workflows.store
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="workflow schedules")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(
        self, tenant: str, workflow_id: str, schedule: Schedule, principal: str, request: AddRequest | None
    ) -> Schedule:
        """
        :raises WorkflowNotFound, ScheduleAlreadyExists, FieldViolation, RequestIdReused:"""
        if not ID.fullmatch(schedule.id):
            raise errors.bad_field("schedule.id", FORM)
        check_inputs(schedule.inputs_json)
        await self._workflows.catalog.get(tenant, workflow_id)
        made = snapshot(schedule)
        made.workflow_id, made.last_run_id = workflow_id, ""
        now = clock.now()
        made.create_time.CopyFrom(clock.timestamp(now))
        made.next_time.CopyFrom(clock.timestamp(next_time(schedule, now)))
        if request is not None:
            request = AddRequest(request.request_id, request.digest, f"{workflow_id}/{made.id}")
        try:
            await self.store.create_schedule(ScheduleRow(tenant, made, principal), request)
        except RequestIdKnown as known:
            if request is None or known.digest != request.digest:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            found = await self.store.schedule(tenant, workflow_id, made.id)
            if found is None:
                raise errors.ScheduleNotFound(made.id) from None
            return found
        self._changed.set()
        return made

    async def delete(self, tenant: str, workflow_id: str, schedule_id: str) -> None:
        """
        :raises ScheduleNotFound:"""
        if not await self.store.delete_schedule(tenant, workflow_id, schedule_id):
            raise errors.ScheduleNotFound(schedule_id, workflow_id=workflow_id)

    # -- the clock ------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self.start_due()
                await self._sleep()
            except Exception:
                _log.exception("schedules stand still; the next look tries again")
                await clock.sleep(1.0)

    async def _sleep(self) -> None:
        """Until the next schedule is due, a new one was made, or it is time to look at the clock."""
        due = await self.store.next_schedule_time()
        left = LOOK if due is None else min(LOOK, max(0.0, (due - clock.now()) / clock.NANOS))
        sleeping = asyncio.create_task(clock.sleep(left))
        waking = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)
        self._changed.clear()

    async def start_due(self) -> None:
        """Starts what is due now."""
        for row in await self.store.due_schedules(clock.now(), AT_ONCE):
            try:
                await self._start(row)
            except errors.WorkflowNotFound:  # its file is gone: it is not its time again before the next
                await self.store.advance_schedule(row, next_time(row.schedule, clock.now()), None)
            except errors.AsterError as error:  # of one: the others must not wait for it
                _log.warning("schedule %s did not start its run: %s", row.schedule.id, error.reason)

    async def _start(self, row: ScheduleRow) -> None:
        schedule = row.schedule
        following = next_time(schedule, clock.now())
        before = await self._workflows.find(row.tenant, schedule.last_run_id) if schedule.last_run_id else None
        if before is not None and before.run.state not in ENDED:
            await self.store.advance_schedule(row, following, None)
            return
        budget = schedule.budget if schedule.HasField("budget") else None
        start = Start(schedule.workflow_id, schedule.message, schedule.inputs_json, row.principal, budget)
        new = await self._workflows.new_run(row.tenant, start)
        new.run.schedule_id = schedule.id
        made = await self.store.advance_schedule(row, following, new)
        if made is not None:
            self._workflows.begin(made)


def next_time(schedule: Schedule, after: int) -> int:
    """The first time of a schedule after a time; both in nanoseconds.

    :raises FieldViolation: it has none."""
    if len(schedule.cron.split()) != FIELDS:
        raise errors.bad_field("schedule.cron", "must have five fields: minute, hour, day of month, month, day of week")
    try:
        zone = zoneinfo.ZoneInfo(schedule.time_zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise errors.bad_field("schedule.time_zone", "is no name of an IANA time zone") from None
    begin = datetime.datetime.fromtimestamp(after // clock.NANOS, zone)
    try:
        found = next(CronSim(schedule.cron.upper(), begin))
    except CronSimError as error:
        raise errors.bad_field("schedule.cron", str(error)) from None
    except StopIteration:
        raise errors.bad_field("schedule.cron", "never comes") from None
    return int(found.timestamp()) * clock.NANOS
