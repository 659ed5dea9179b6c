"""One run at work: the steps of its workflow, in their order, each by its record.

There is one way for a run that begins and for one that is taken up: a step asks the book
for its record. What has ended gives its output again, what was in progress goes on by the
decisions in its record, and what has no record begins. So the same code walks the steps
again after a restart, and passes over all that was done."""

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from google.protobuf import json_format

from aster.v1 import workflow_pb2
from asteros import clock, errors, failpoints
from asteros.runtime.approvals import to_the_end
from asteros.workflows import joins
from asteros.workflows.actions import Action, Prepared, Work, until
from asteros.workflows.book import (
    END,
    GO,
    STEP_CANCELED,
    STEP_FAILED,
    STEP_OPEN,
    STEP_RUNNING,
    STEP_SKIPPED,
    STEP_SUCCEEDED,
    STEP_WAITING,
    Book,
    Record,
    Rounds,
)
from asteros.workflows.definition import walk
from asteros.workflows.expressions import Expressions
from asteros.workflows.failures import StepFailed, failed
from asteros.workflows.joins import Result
from asteros.workflows.shares import Shares
from asteros.workflows.turns import Chooser
from asteros.workflows.values import Frame, Values

_log = logging.getLogger(__name__)
Step = workflow_pb2.WorkflowStep
CONTINUE = workflow_pb2.WORKFLOW_ON_ERROR_CONTINUE
MAX_OUTPUT = 1024 * 1024  # bytes of one step
FIRST_BACKOFF, LONGEST_BACKOFF, MULTIPLIER = 1.0, 60.0, 2.0


class Execution:
    """Runs a book to its end. Cancelled without ``book.wish`` being END, it leaves all as it is stored."""

    def __init__(self, book: Book, actions: Mapping[str, Action], chooser: Chooser, expressions: Expressions) -> None:
        self.book = book
        self.leaving = False  # the process ends: nothing is to be ended with it
        self._actions = actions
        self._chooser = chooser
        self._values = Values(book, expressions)
        self._shares = Shares(book)
        self._root = book.row.workflow.root
        self._steps = {place.step.id: place.step for place in walk(self._root)}
        self._may_begin = asyncio.Event()
        self.wished()

    def wished(self) -> None:
        """People want something else of the run: see ``book.wish``."""
        if self.book.wish == GO:
            self._may_begin.set()
        else:
            self._may_begin.clear()

    # -- from beginning to end ------------------------------------------------------------

    async def run(self) -> None:
        """
        :raises LeaseLost: another server has the run."""
        ending = asyncio.create_task(self._end(await self._outcome()), name=f"end of {self.book.run.id}")
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:  # house: cancelled -- it ends anyway; only the process's end is sooner
                if self.leaving:
                    raise
        ending.result()

    async def _outcome(self) -> Callable[[], None]:
        """Goes through the steps; how the run ends."""
        book = self.book
        if book.wish == END:  # asked for before a restart
            return book.cancel
        try:
            await book.write()  # it is RUNNING now
            result = await self._step(self._root, Frame(book.run.message))
            return functools.partial(book.succeed, result.text)
        except StepFailed as error:
            return functools.partial(book.fail, error.status)
        except asyncio.CancelledError:  # house: cancelled -- asked for by a person: an end like others
            if self.leaving or book.wish != END:
                raise
            return book.cancel
        except errors.LeaseLost:
            raise
        except Exception:
            _log.exception("workflow run %s was given up", book.run.id)
            return functools.partial(book.fail, errors.AsterError("internal error").status())

    async def _end(self, how: Callable[[], None]) -> None:
        """Ends what is left open, then the run."""
        await self._close(_ids(self._root), ())
        how()
        await failpoints.reach("workflow.before_end")
        await self.book.write()

    # -- one step -------------------------------------------------------------------------

    async def _step(self, step: Step, frame: Frame) -> Result:
        """
        :raises StepFailed: after all attempts, and without a way out."""
        record = self.book.last(step.id, frame.rounds)
        if record is None:
            record = await self._begin(step, frame)
        while record.step.state in STEP_OPEN or record.step.state == STEP_FAILED:
            if record.step.state in STEP_OPEN:
                await self._attempt(step, frame, record)
                continue
            again = await self._again(step, frame, record)
            if again is None:
                return await self._gave_up(step, frame, record)
            record = again
        if record.step.state == STEP_SKIPPED:
            return Result(frame.previous, counted=False)
        if record.step.state != STEP_SUCCEEDED:  # cancelled, by what is around it
            raise failed(errors.TurnInterrupted("the step was cancelled"))
        self.book.outputs[step.id] = record.output
        return Result(record.output, record.facts["ended"])

    async def _begin(self, step: Step, frame: Frame) -> Record:
        """The first attempt, or the note that there is none. Stored before anything is done."""
        await self._may_begin.wait()
        record = self.book.begin(step.id, frame.rounds, frame.round)
        try:
            if step.when and not await self._values.holds(step, "when", step.when, frame):
                record.end(STEP_SKIPPED)
                await self.book.write(record)
                return record
            record.facts["input"] = await self._values.text(step, "input", step.input, frame)
            prepared = await self._prepare(step, frame, record)
        except (StepFailed, errors.AsterError) as error:
            await self._fail(record, error)
            return record
        await self._started(step, record, prepared)
        return record

    async def _started(self, step: Step, record: Record, prepared: Prepared | None) -> None:
        prepared = prepared or Prepared()
        if step.WhichOneof("action") in self._actions:
            self.book.at_work.add(record.place)
            if record.step.state == STEP_WAITING:
                self.book.waiting.add(record.place)
        await self.book.write(record, events=prepared.events, rows=prepared.rows)
        await failpoints.reach("workflow.after_start")

    async def _prepare(self, step: Step, frame: Frame, record: Record) -> Prepared | None:
        """Decides what must not be decided twice."""
        self._shares.check()
        action = self._actions.get(str(step.WhichOneof("action")))
        if action is not None:
            return await action.prepare(self._work(step, frame, record))
        if step.HasField("router") and not step.router.chooser_agent_id:
            record.facts["route"] = await self._values.route(step, frame)
        elif step.HasField("router"):
            await self._chooser.prepare(self._work(step, frame, record))
        elif step.HasField("loop") and step.loop.for_each_expression:
            record.facts["items"] = await self._values.items(step, frame)
        return None

    async def _attempt(self, step: Step, frame: Frame, record: Record) -> None:
        """Goes on with an attempt until it has ended and that is stored."""
        try:
            await self._due(step, frame, record)
            async with asyncio.timeout(_time_left(step, record)) as limit:
                text = await self._values.computed(step, await self._act(step, frame, record), frame)
            if len(text) > MAX_OUTPUT or len(text.encode()) > MAX_OUTPUT:
                raise failed(errors.ResourceExhausted(f"the output has more than {MAX_OUTPUT} bytes"))
        except StepFailed as error:
            await self._fail(record, error)
        except errors.Draining:  # the process ends, and with it this task
            await asyncio.Event().wait()
        except errors.LeaseLost:
            raise
        except errors.AsterError as error:
            await self._fail(record, error)
        except TimeoutError:
            if not limit.expired():
                raise
            await self._abandon(step, record)
            await self._fail(record, failed(errors.StepTimeout(step_id=step.id)))
        except asyncio.CancelledError:  # house: cancelled -- raised again; what was begun is ended first
            if not self.leaving:
                await to_the_end(self._cancel(step, record))
            raise
        else:
            await failpoints.reach("workflow.before_result")
            record.succeed(text)
            self.book.ended(record)
            await self.book.write(record)
            await failpoints.reach("workflow.after_result")

    async def _due(self, step: Step, frame: Frame, record: Record) -> None:
        """Waits for the time of a further attempt; a step that waits by itself is not asked to."""
        retry_at = record.facts.get("retry_at")
        if retry_at is not None and record.step.state == STEP_WAITING:
            self.book.waiting.add(record.place)
            self.book.at_work.add(record.place)
            await until(retry_at)
            await self._may_begin.wait()
            self.book.at_work.discard(record.place)
            self.book.waiting.discard(record.place)
            record.facts.pop("retry_at")
            record.found = False
            record.step.state = STEP_RUNNING
            record.step.start_time.CopyFrom(clock.timestamp(clock.now()))
            prepared = await self._prepare(step, frame, record)
            await self._started(step, record, prepared)
        elif record.found and step.WhichOneof("action") in self._actions:
            self.book.at_work.add(record.place)
            if record.step.state == STEP_WAITING:
                self.book.waiting.add(record.place)

    async def _act(self, step: Step, frame: Frame, record: Record) -> str:
        kind = str(step.WhichOneof("action"))
        action = self._actions.get(kind)
        if action is not None:
            return await action.run(self._work(step, frame, record))
        inner = Frame(record.facts["input"], frame.rounds, frame.round, frame.item)
        if record.step.attempt > 1:
            inner = replace(inner, rounds=(*inner.rounds, f"~{record.step.attempt}"))
        order: dict[str, Callable[[Step, Frame, Record], Awaitable[str]]] = {
            "sequential": self._sequential,
            "parallel": self._parallel,
            "loop": self._loop,
            "router": self._router,
        }
        return await order[kind](step, inner, record)

    # -- when it fails ----------------------------------------------------------------------

    async def _fail(self, record: Record, error: StepFailed | errors.AsterError) -> None:
        status = error.status if isinstance(error, StepFailed) else error.status()
        record.end(STEP_FAILED, status)
        self.book.ended(record)
        await self.book.write(record)

    async def _again(self, step: Step, frame: Frame, record: Record) -> Record | None:
        """A further attempt, stored with its time; None: there is none."""
        if record.step.attempt > step.retry.max_retries or await self._effects(step, record):
            return None
        again = self.book.begin(step.id, frame.rounds, frame.round)
        again.step.state = STEP_WAITING
        again.facts["input"] = record.facts.get("input", frame.previous)
        again.facts["retry_at"] = clock.now() + int(_pause(step.retry, record.step.attempt) * clock.NANOS)
        await self.book.write(again)
        return again

    async def _effects(self, step: Step, record: Record) -> bool:
        """Whether the step, or one inside it, may have done what must not be done twice."""
        for inner in self.book.records(_ids(step), record.rounds):
            at = self._steps[inner.step.step_id]
            action = self._actions.get(str(at.WhichOneof("action")))
            if (
                inner.step.state != STEP_SKIPPED
                and action is not None
                and await action.effects(self._work(at, Frame(""), inner))
            ):
                return True
        return False

    async def _gave_up(self, step: Step, frame: Frame, record: Record) -> Result:
        """What happens after the last attempt."""
        ended = record.facts.get("ended", 0)
        if step.HasField("fallback"):
            said = json_format.MessageToJson(record.step.error, indent=None)
            result = await self._step(step.fallback, replace(frame, previous=said))
            self.book.outputs[step.id] = result.text
            return Result(result.text, max(ended, result.ended))
        if step.on_error == CONTINUE:
            self.book.outputs[step.id] = ""
            return Result("", ended, counted=False)
        raise StepFailed(record.step.error)

    # -- when it is no longer wanted ----------------------------------------------------------

    async def _cancel(self, step: Step, record: Record) -> None:
        await self._abandon(step, record)
        if record.open:
            record.end(STEP_CANCELED)
            self.book.ended(record)
            await self.book.write(record)

    async def _abandon(self, step: Step, record: Record) -> None:
        """Ends what the step has begun, itself and inside it."""
        if record.step.state == STEP_WAITING and "retry_at" in record.facts:
            return
        action = self._actions.get(str(step.WhichOneof("action")))
        work = self._work(step, Frame(""), record)
        if action is not None:
            await action.abandon(work)
            return
        if step.HasField("router") and record.step.turn_id and "route" not in record.facts:
            await self._chooser.abandon(work)
        await self._close(_ids(step) - {step.id}, record.rounds)

    async def _close(self, step_ids: Collection[str], rounds: Rounds) -> None:
        """Cancels what is open of some steps."""
        for record in self.book.records(step_ids, rounds):
            if record.open:
                await self._cancel(self._steps[record.step.step_id], record)

    # -- order ------------------------------------------------------------------------------

    async def _sequential(self, step: Step, frame: Frame, _: Record) -> str:
        previous = frame.previous
        for inner in step.sequential.steps:
            previous = (await self._step(inner, replace(frame, previous=previous))).text
        return previous

    async def _parallel(self, step: Step, frame: Frame, _: Record) -> str:
        gate = asyncio.Semaphore(step.parallel.max_concurrency or len(step.parallel.steps))

        async def branch(inner: Step) -> Result:
            async with gate:
                return await self._step(inner, frame)

        tasks = [asyncio.create_task(branch(inner), name=f"step {inner.id}") for inner in step.parallel.steps]
        try:
            while (done := joins.joined(step.parallel.join, [_branch(task) for task in tasks])) is None:
                open_tasks = [task for task in tasks if not task.done()]
                await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not self.leaving:
                await to_the_end(self._close(_ids(step) - {step.id}, frame.rounds))
        if isinstance(done, StepFailed):
            raise done
        return done

    async def _loop(self, step: Step, frame: Frame, record: Record) -> str:
        loop, previous = step.loop, frame.previous
        items = record.facts.get("items")
        last = loop.max_iterations if items is None else min(loop.max_iterations, len(items))
        for number in range(1, last + 1):
            item = frame.item if items is None else items[number - 1]
            inner = Frame(previous, (*frame.rounds, str(number)), number, item)
            begun = self.book.last(loop.body.id, inner.rounds) is not None
            wanted = begun or await self._values.holds(step, "loop.while_expression", loop.while_expression, inner)
            if not wanted:
                break
            previous = (await self._step(loop.body, inner)).text
            after = self.book.last(loop.body.id, (*frame.rounds, str(number + 1)))
            told = replace(inner, previous=previous)
            ends = after is None and bool(loop.until_expression)
            if ends and await self._values.holds(step, "loop.until_expression", loop.until_expression, told):
                break
        return previous

    async def _router(self, step: Step, frame: Frame, record: Record) -> str:
        if "route" not in record.facts:
            record.facts["route"] = await self._chooser.choose(self._work(step, frame, record))
            await self.book.write(record)
        route = record.facts["route"]
        if route >= 0:
            return (await self._step(step.router.routes[route].step, frame)).text
        if step.router.HasField("otherwise"):
            return (await self._step(step.router.otherwise, frame)).text
        return frame.previous

    def _work(self, step: Step, frame: Frame, record: Record) -> Work:
        async def fill(template: str, field: str) -> str:
            return await self._values.text(step, field, template, frame)

        return Work(self.book, self._shares, step, record, fill)


def _ids(step: Step) -> set[str]:
    """Of a step and all inside it."""
    return {place.step.id for place in walk(step)}


def _branch(task: "asyncio.Task[Result]") -> joins.Branch:
    if not task.done():
        return None
    error = task.exception()
    if error is None or isinstance(error, StepFailed):
        return error or task.result()
    raise error


def _time_left(step: Step, record: Record) -> float | None:
    """Seconds that an attempt may still take; the time during which no server ran counts."""
    if not step.HasField("timeout"):
        return None
    return max(0.0, clock.seconds(step.timeout) - (clock.now() - clock.nanos(record.step.start_time)) / clock.NANOS)


def _pause(retry: workflow_pb2.WorkflowRetry, attempt: int) -> float:
    """Seconds before the attempt after this one; full jitter."""
    first = clock.seconds(retry.initial_backoff) if retry.HasField("initial_backoff") else FIRST_BACKOFF
    longest = clock.seconds(retry.max_backoff) if retry.HasField("max_backoff") else LONGEST_BACKOFF
    grown = first * (retry.multiplier or MULTIPLIER) ** (attempt - 1)
    return random.uniform(0, min(grown, longest))  # noqa: S311 - no secret
