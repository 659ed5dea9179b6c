"""The promise of a step that does something itself, and the kinds that need no agent."""

import asyncio
import contextlib
import inspect
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from aster.v1 import agent_pb2, event_pb2, workflow_pb2
from asteros import clock, errors
from asteros.runtime.approvals import ALLOWED, DEFAULT_TIMEOUT, WITHDRAWN, Resolved, to_the_end
from asteros.stores.base import Row
from asteros.tools.base import RerunPolicy
from asteros.workflows.book import STEP_WAITING, Book, Record
from asteros.workflows.definition import MAX_WAIT
from asteros.workflows.failures import failed
from asteros.workflows.shares import Shares

_log = logging.getLogger(__name__)
Step = workflow_pb2.WorkflowStep
Fill = Callable[[str, str], Awaitable[str]]  # (template, name of its field) -> text


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt of a step, and the run it belongs to."""

    book: Book
    shares: Shares
    step: Step
    record: Record
    fill: Fill

    @property
    def tenant(self) -> str:
        return self.book.row.tenant

    @property
    def run_id(self) -> str:
        return self.book.run.id

    @property
    def input(self) -> str:
        """What the step gets."""
        return str(self.record.facts["input"])


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is stored together with the beginning of a step."""

    events: Sequence[event_pb2.Event] = ()
    rows: Sequence[Row] = ()


class Action(Protocol):
    """The promise of one kind of step that does something itself."""

    async def prepare(self, work: Work) -> Prepared | None:
        """Decides, and notes in the record, what must not be decided twice; stored before ``run``.

        :raises StepFailed:"""

    @abstractmethod
    async def run(self, work: Work) -> str:
        """Does it; its output. Called again for the same record after a restart: what it did
        before it must not do twice. Cancelled, it may leave something that ``abandon`` ends.

        :raises StepFailed, AsterError:"""

    async def abandon(self, work: Work) -> None:  # noqa: ARG002 - most kinds leave nothing behind
        """Ends what is in progress, which may have ended by itself: the step is no longer wanted."""
        return

    async def effects(self, work: Work) -> bool:  # noqa: ARG002 - most kinds have none
        """Whether something may have been done that must not be done twice."""
        return False


async def until(nanos: int) -> None:
    """Sleeps to a wall time; looks at the clock again and again, because it may be set."""
    while (left := (nanos - clock.now()) / clock.NANOS) > 0:
        await clock.sleep(min(left, 60.0))


class Approval(Action):
    """A person's yes."""

    async def prepare(self, work: Work) -> Prepared | None:
        waits = (
            work.step.approval.expire_after
            if work.step.approval.HasField("expire_after")
            else clock.duration(DEFAULT_TIMEOUT)
        )
        asked = event_pb2.WorkflowApprovalRequest(
            workflow_id=work.book.run.workflow_id, step_id=work.step.id, prompt=work.input
        )
        config = agent_pb2.AgentConfig(approval_timeout=waits)
        raised = work.book.approvals.raise_request(work.book.stamp, config, asked)
        work.record.facts["pending"] = raised.pending.id
        work.record.facts["due"] = clock.nanos(raised.pending.expire_time)
        work.record.step.state = STEP_WAITING
        return Prepared([raised.event], [raised.row])

    async def run(self, work: Work) -> str:
        approvals, pending_id = work.book.approvals, work.record.facts["pending"]
        expiring = asyncio.create_task(self._expire(work), name="approval of a workflow")
        try:
            resolution = (await approvals.wait(pending_id)).resolution
        finally:
            expiring.cancel()
            await asyncio.gather(expiring, return_exceptions=True)
        if resolution.outcome == ALLOWED:
            return resolution.note
        raise failed(errors.ApprovalDenied(step_id=work.step.id, pending_id=pending_id))

    @staticmethod
    async def _expire(work: Work) -> None:
        while True:
            await until(work.record.facts["due"])
            with contextlib.suppress(errors.StorageFull, errors.StoreUnavailable):
                await to_the_end(work.book.approvals.expire(work.record.facts["pending"]))
                return
            await clock.sleep(1.0)

    async def abandon(self, work: Work) -> None:
        with contextlib.suppress(errors.RequestAlreadyResolved):
            await to_the_end(work.book.approvals.resolve(work.record.facts["pending"], Resolved(outcome=WITHDRAWN)))


class Wait(Action):
    """Some time."""

    async def prepare(self, work: Work) -> Prepared | None:
        now = clock.now()
        if work.step.wait.WhichOneof("until") == "duration":
            due = now + int(clock.seconds(work.step.wait.duration) * clock.NANOS)
        else:
            due = _instant(work.step, await work.fill(work.step.wait.time, "wait.time"))
        if due > now + int(MAX_WAIT * clock.NANOS):
            raise failed(
                errors.ExpressionFailed("the time is more than 365 days away", step_id=work.step.id, field="wait.time")
            )
        work.record.facts["due"] = due
        work.record.step.state = STEP_WAITING
        return None

    async def run(self, work: Work) -> str:
        await until(work.record.facts["due"])
        return work.input


def _instant(step: Step, text: str) -> int:
    """A time in RFC 3339 as nanoseconds."""
    try:
        when = datetime.fromisoformat(text.strip())
        if when.tzinfo is None:
            raise ValueError("no zone")
        return int(when.timestamp() * 1000) * 1_000_000
    except (ValueError, OverflowError):
        raise failed(
            errors.ExpressionFailed(f"{text[:100]!r} is no time in RFC 3339", step_id=step.id, field="wait.time")
        ) from None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the server's code. It gets the input, and a key that is the same when the
    call is repeated; its text is the output. One that is not ``async`` runs in a thread."""

    call: Callable[[str, str], str | Awaitable[str]]
    rerun: RerunPolicy = RerunPolicy.NEVER  # after a crash while it ran, and after a failure


class Functions(Action):
    """Steps of kind function."""

    def __init__(self, known: Mapping[str, Function]) -> None:
        self._known = known

    async def prepare(self, work: Work) -> Prepared | None:
        if work.step.function.name not in self._known:
            raise failed(errors.NotAvailable(f"function {work.step.function.name}"))
        return None

    async def run(self, work: Work) -> str:
        function = self._known.get(work.step.function.name)
        if function is None:
            raise failed(errors.NotAvailable(f"function {work.step.function.name}"))
        if work.record.found and function.rerun is RerunPolicy.NEVER:
            raise failed(errors.ToolOutcomeUnknown(tool=work.step.function.name))
        # The key of a repeated attempt is the same: to the function it is the same call.
        key = f"{work.run_id}/{work.step.id}/{'.'.join(work.record.rounds)}"
        try:
            return await _called(function, work.input, key)
        except errors.AsterError:
            raise
        except Exception as error:
            _log.exception("function %s failed", work.step.function.name)
            raise failed(errors.ToolFailed(tool=work.step.function.name)) from error

    async def effects(self, work: Work) -> bool:
        function = self._known.get(work.step.function.name)
        return function is None or function.rerun is RerunPolicy.NEVER


async def _called(function: Function, text: str, key: str) -> str:
    if inspect.iscoroutinefunction(function.call):
        made: Any = await function.call(text, key)
    else:
        made = await asyncio.to_thread(function.call, text, key)
    if not isinstance(made, str):
        raise errors.ToolFailed("the function returned no text")
    return made
