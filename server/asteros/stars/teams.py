"""The runs of all Stars of this process: begun, taken up again after a start, waited for, stopped."""

import asyncio
import dataclasses
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import clock, errors, failpoints, ids
from asteros.cosmos.locks import KeyLocks
from asteros.cosmos.registry import Registry
from asteros.runtime.dependencies import Part
from asteros.runtime.journal import snapshot
from asteros.stars.run import Run
from asteros.stars.strategies import Strategies
from asteros.stars.tools import tools_of
from asteros.stars.waits import Waits
from asteros.stores.base import AddRequest, RequestIdKnown, Store
from asteros.stores.stars import RunRow

_log = logging.getLogger(__name__)
STORE_RETRY = 1.0  # seconds until a full or busy store is tried again


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    turn: agent_pb2.Turn  # the one that gave the answer
    usage: common_pb2.TokenUsage  # of all turns
    cost_usd: float
    step_count: int


class Teams:
    """``runtime.dependencies.Teams``, and the runs themselves. ``bind`` it before agents are woken."""

    def __init__(self, store: Store, strategies: Strategies) -> None:
        self.store = store.stars()
        self.strategies = strategies
        self._registry: Registry | None = None
        self._waits = Waits()
        self._runs: dict[tuple[str, str], Run] = {}
        self._drivers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._locks = KeyLocks()  # held while a run is loaded
        self._beside: set[asyncio.Task[None]] = set()

    def bind(self, registry: Registry) -> None:
        """Says where the agents are: they know their teams, and the teams their agents."""
        self._registry = registry

    @property
    def registry(self) -> Registry:
        assert self._registry is not None
        return self._registry

    # -- runs ---------------------------------------------------------------------------------

    async def begin(self, row: RunRow, request: AddRequest | None) -> RunRow:
        """Begins a run; the one that an equal request has begun.

        :raises StarWithoutLeader, WrongState, FieldViolation: the Star cannot work by its strategy.
        :raises RequestIdReused, Draining:"""
        self.strategies.get(row.star.strategy).check(row.star)
        if self.registry.closing:
            raise errors.Draining(retry_after=1.0)
        if request is not None:
            request = AddRequest(request.request_id, request.digest, row.id)
        try:
            await self.store.begin(row, request)
        except RequestIdKnown as known:
            found = await self.store.run(row.tenant, known.target)
            if request is None or known.digest != request.digest or found is None:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return found
        await self._start(row)
        return row

    async def resume(self) -> None:
        """Takes up the runs that have not ended."""
        for row in await self.store.open_runs():
            try:
                await self._start(row)
            except errors.AsterError as error:
                _log.warning("run %s of star %s was not taken up: %s", row.id, row.star.id, error.reason)

    async def aclose(self) -> None:
        """Leaves every run as it is stored: the next start takes it up."""
        tasks = [*self._drivers.values(), *self._beside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, row: RunRow) -> None:
        run = await self._loaded(row)
        key = row.tenant, row.id
        if key not in self._drivers:
            self._drivers[key] = asyncio.create_task(self._drive(run), name=f"run {row.id} of star {row.star.id}")

    async def _loaded(self, row: RunRow) -> Run:
        key = row.tenant, row.id
        async with self._locks(key):
            run = self._runs.get(key)
            if run is None:
                known = await self.store.turns(row.tenant, row.id)
                delegates = self.strategies.get(row.star.strategy).delegates
                run = Run(row, self.registry, self.store, self._waits, known, delegates)
                run.beside = self._keep
                await run.count()
                if row.open:
                    self._runs[key] = run
            return run

    async def _drive(self, run: Run) -> None:
        row = run.row
        try:
            outcome = await self._outcome(run)
            if outcome is None:
                return  # the server stops: the run goes on after the next start
            await run.sweep("the run of the Star has ended")
            await failpoints.reach("star.before_end")
            await self._end(dataclasses.replace(row, answer=outcome[0], error=outcome[1]))
        finally:
            self._runs.pop((row.tenant, row.id), None)
            self._drivers.pop((row.tenant, row.id), None)

    async def _outcome(self, run: Run) -> "tuple[str, Any] | None":
        """The answer's turn, or why there is none; None: the server stops."""
        strategy = self.strategies.get(run.star.strategy)
        try:
            return (await strategy.run(run.row.task, run)).id, None
        except errors.Draining:
            return None
        except errors.AsterError as error:
            return "", error.status()
        except Exception as error:
            _log.exception("the strategy %s failed", strategy.name)
            return "", errors.status_of(error)

    async def _end(self, row: RunRow) -> None:
        while True:
            try:
                await self.store.end(row)
            except (errors.StorageFull, errors.StoreUnavailable):
                await clock.sleep(STORE_RETRY)
            else:
                return

    async def wait(self, tenant: str, run_id: str) -> Result:
        """Waits for the end of a run. Cancelled: it goes on.

        :raises TurnInterrupted, TurnFailed: so it ended.
        :raises Draining: the server stops before it has ended."""
        driver = self._drivers.get((tenant, run_id))
        if driver is not None:
            await asyncio.wait([driver])
        row = await self.store.run(tenant, run_id)
        if row is None:
            raise errors.TurnNotFound(run_id)
        if row.open:
            raise errors.Draining(retry_after=1.0)
        if row.error is not None:
            raise errors.TurnFailed(row.error, run_id)
        run = await self._loaded(row)
        turn = next((turn for turn in await run.all_turns() if turn.id == row.answer), None)
        if turn is None:
            raise errors.TurnNotFound(row.answer)
        if turn.state == agent_pb2.TURN_STATE_INTERRUPTED:
            raise errors.TurnInterrupted(turn_id=turn.id)
        if turn.state != agent_pb2.TURN_STATE_COMPLETED:
            raise errors.TurnFailed(turn.error, turn.id)
        return Result(turn, *await run.used())

    def live(self, tenant: str, run_id: str) -> Run | None:
        """A run that has not ended."""
        return self._runs.get((tenant, run_id))

    async def find(self, row: RunRow) -> Run:
        """A run, live or ended."""
        return await self._loaded(row)

    def stop(self, tenant: str, run_id: str, reason: str) -> None:
        """Stops a run and all its turns; nothing when it has ended. ``wait`` tells when it has."""
        run = self.live(tenant, run_id)
        if run is not None and not run.stopped:
            run.stopped = reason or "interrupted"
            self._keep(run.sweep(run.stopped))

    def stop_all(self, tenant: str, star_id: str, reason: str) -> None:
        """Stops what a Star works on."""
        for (of, run_id), run in list(self._runs.items()):
            if of == tenant and run.star.id == star_id:
                self.stop(tenant, run_id, reason)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something beside who asked for it; when the server stops, nothing is begun."""
        if self.registry.closing:
            work.close()
            return
        task = asyncio.create_task(work, name="stars")
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # -- for agents -----------------------------------------------------------------------------

    async def part(self, tenant: str, turn: agent_pb2.Turn) -> Part:
        """See ``runtime.dependencies.Teams``."""
        run_id = await self.store.run_of_turn(tenant, turn.id) if turn.star_id else ""
        row = await self.store.run(tenant, run_id) if run_id else None
        if row is None or not row.open:
            return Part()
        run = await self._loaded(row)
        return Part(tools_of(run, turn.id), run.shared)

    def stopped(self, tenant: str, turn_id: str, reason: str) -> None:
        """See ``runtime.dependencies.Teams``."""
        self.stop(tenant, turn_id, reason)


def new_run(
    tenant: str,
    star: pb.Star,
    task: str,
    budget: common_pb2.Budget,
    principal: str,
    trace_id: str,
    position: int,
    *,
    run_id: str = "",
    workflow_run_id: str = "",
) -> RunRow:
    """A run to begin; ``run_id`` where the caller must know it before."""
    return RunRow(
        tenant=tenant,
        id=run_id or ids.new("trn_"),
        workflow_run_id=workflow_run_id,
        star=snapshot(star),
        task=task,
        budget=snapshot(budget),
        principal=principal,
        trace_id=trace_id,
        create_time=clock.now(),
        position=position,
    )
