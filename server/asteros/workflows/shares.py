"""The budget of a run, shared out among the turns that are in progress at once.

A turn gets an equal share of what is left for those that may still begin beside it; what
it does not use is free again when it ends. So the sum never passes the limit."""

import contextlib
from collections.abc import Iterator

from aster.v1 import common_pb2, workflow_pb2
from asteros import clock, errors
from asteros.runtime.journal import snapshot
from asteros.workflows.book import Book

Step = workflow_pb2.WorkflowStep


def width(step: Step) -> int:
    """How many turns of a step may be in progress at once."""
    match step.WhichOneof("action"):
        case "sequential":
            own = max(map(width, step.sequential.steps), default=1)
        case "parallel":
            widths = sorted(map(width, step.parallel.steps), reverse=True)
            own = sum(widths[: step.parallel.max_concurrency or len(widths)])
        case "loop":
            own = width(step.loop.body)
        case "router":
            own = max([*(width(route.step) for route in step.router.routes), width(step.router.otherwise)])
        case _:
            own = 1
    return max(own, width(step.fallback)) if step.HasField("fallback") else own


class Shares:
    """What each turn in progress was given, by the place of its record."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._most = book.row.budget
        self._width = width(book.row.workflow.root)
        self._given: dict[int, common_pb2.Budget] = {}

    @contextlib.contextmanager
    def given(self, place: int) -> Iterator[common_pb2.Budget]:
        """The limits of a turn that begins now, until it ends.

        :raises BudgetExceeded: nothing is left."""
        share = self._share()
        self._given[place] = share
        try:
            yield share
        finally:
            del self._given[place]

    def check(self) -> None:
        """Before a step.

        :raises BudgetExceeded: the time of the run is used up."""
        if self._most.HasField("max_duration") and self._book.active >= clock.seconds(self._most.max_duration):
            self._refuse("max_duration", clock.seconds(self._most.max_duration))

    def _share(self) -> common_pb2.Budget:
        self.check()
        run, most = self._book.run, self._most
        share = snapshot(most)
        slots = max(1, self._width - len(self._given))
        if most.HasField("max_cost_usd"):
            free = most.max_cost_usd - run.cost_usd - sum(one.max_cost_usd for one in self._given.values())
            share.max_cost_usd = self._left("max_cost_usd", free) / slots
        if most.HasField("max_tokens"):
            free = most.max_tokens - run.usage.total_tokens - sum(one.max_tokens for one in self._given.values())
            share.max_tokens = max(1, int(self._left("max_tokens", free)) // slots)
        if most.HasField("max_steps"):
            free = most.max_steps - self._book.steps - sum(one.max_steps for one in self._given.values())
            share.max_steps = max(1, int(self._left("max_steps", free)) // slots)
        if most.HasField("max_duration"):
            share.max_duration.CopyFrom(clock.duration(clock.seconds(most.max_duration) - self._book.active))
        return share

    def _left(self, name: str, free: float) -> float:
        if free <= 0:
            self._refuse(name, getattr(self._most, name))
        return free

    @staticmethod
    def _refuse(name: str, limit: float) -> None:
        raise errors.BudgetExceeded(f"budget.{name} is used up", rule=f"budget.{name}", limit=limit)
