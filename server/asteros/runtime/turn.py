"""The turn loop: model step, tool step, again, until the model is done (seed 004).

There is one engine for Chat, Send and Stream, and one way in after a crash: the loop
looks at what is stored. Calls of the last message that have no answer are a tool
step to be finished; anything else is the next model step. Every turn ends with
exactly one ``progress.complete``, stored together with the turn's final state."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors, failpoints, ids
from asteros.runtime import budget, history, lifecycle, model_step
from asteros.runtime.approvals import ALLOWED, WITHDRAWN, Resolved
from asteros.runtime.context import TurnContext
from asteros.runtime.model_step import ModelAnswer
from asteros.runtime.tool_call import Call, for_history
from asteros.runtime.tool_step import ToolStep
from asteros.runtime.watch import FileWatch
from asteros.stores.base import Row

_log = logging.getLogger(__name__)
DEFAULT_ITERATION_LIMIT = 50  # steps
WRITE_RETRY = 1.0  # seconds between tries to store the end of a turn
_END = {
    agent_pb2.TURN_STATE_COMPLETED: lifecycle.IDLE,
    agent_pb2.TURN_STATE_INTERRUPTED: lifecycle.IDLE,
    agent_pb2.TURN_STATE_FAILED: lifecycle.ERROR,
}


class TurnRun:
    """One turn, from its first step or from where a crash left it to its end."""

    def __init__(self, context: TurnContext, *, resumed: bool) -> None:
        self.context = context
        self.turn = context.turn
        self.interrupt_reason: str | None = None
        self._more_wait: Callable[[], bool] = lambda: False
        self._ending = False
        self._resumed = resumed
        self._tools: ToolStep | None = None
        self._watch: FileWatch | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self, more_wait: Callable[[], bool]) -> None:
        """Runs to the end and stores it. ``more_wait`` says at the end whether another turn
        waits, so that the agent stays RUNNING.

        Cancelled without ``interrupt``, the turn stays as it is stored, for whoever
        takes the agent up next."""
        self._more_wait = more_wait
        if self.interrupt_reason is not None:
            await self._interrupted()
            return
        self._task = asyncio.create_task(self._loop(), name=f"turn {self.turn.id}")
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:  # house: cancelled -- an interrupt of the turn is a result
            if self.interrupt_reason is None or not self._task.done():
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
                if self.interrupt_reason is None:
                    if self._watch is not None:
                        self._watch.drop()
                    raise
            await self._interrupted()
        except errors.AsterError as error:
            await self._failed(error)
        except Exception:
            _log.exception("turn %s failed", self.turn.id)
            await self._failed(errors.AsterError("internal error"))

    def running_call(self, call_id: str) -> Call | None:
        """A tool call whose tool runs now."""
        calls = self._tools.calls if self._tools is not None else ()
        return next((call for call in calls if call.call.id == call_id and call.scope is not None), None)

    def interrupt(self, reason: str) -> None:
        """Stops the turn; ``run`` stores its end. Nothing once the end is being stored."""
        if self.interrupt_reason is None and not self._ending:
            self.interrupt_reason = reason or "interrupted"
            if self._task is not None:
                self._task.cancel()

    # -- the loop -------------------------------------------------------------------

    async def _loop(self) -> None:
        context = self.context
        if context.config.sandbox.watch_files and context.parent is None:
            self._watch = FileWatch(context.workspace, context.post)
            await self._watch.start()
        await context.start()
        if self._resumed:
            await self._resume()
        while True:
            began = clock.monotonic()
            calls = history.open_calls(context.history)
            if not calls:
                if self.context.row.input.role == common_pb2.ROLE_ASSISTANT:  # the calls were all there is to do
                    await self._complete(agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_END_TURN)
                    return
                if last := history.last_word(context.history, self.turn.id, context.tools):
                    await self._end_with(last)
                    return
                if not await self._may_go_on():
                    return
                answer = await self._model_step()
                if not answer.calls:
                    await self._complete_with(answer, began)
                    return
                await self._store_step(answer)
                calls = answer.calls  # by the names they are stored under
            await self._tool_step(calls, began)

    async def _resume(self) -> None:
        """Says that the turn was taken up, and which calls nobody knows about."""
        context = self.context
        await context.helpers.resume(context)
        await self._drop_resolved()
        calls = history.open_calls(context.history)
        self._tools = await self._tool_calls(calls) if calls else None
        uncertain = self._tools.uncertain if self._tools else []
        await context.post(event_pb2.AgentResumed(cause="restart", uncertain_call_ids=uncertain))

    async def _drop_resolved(self) -> None:
        """Requests that were decided before the turn was taken up no longer make it wait."""
        context = self.context
        for row in await context.deps.store.pending_of_turn(context.journal.ref.key, self.turn.id):
            if row.pending.HasField("resolution") and row.pending.id in self.turn.pending_ids:
                self.turn.pending_ids.remove(row.pending.id)
        if not self.turn.pending_ids:
            self.turn.state = agent_pb2.TURN_STATE_RUNNING
            changed = context.lifecycle.change(activity=lifecycle.WORKING)
            await context.post(*changed, rows=tuple(context.turn_rows()))

    async def _model_step(self) -> ModelAnswer:
        context = self.context
        context.stamp.step = self.turn.step_count + 1
        await budget.check(context)
        await failpoints.reach("run.before_model")
        try:
            async with budget.time_limit(context) as limit:
                return await model_step.run(context)
        except TimeoutError:
            if limit.expired():
                raise budget.out_of_time(context) from None
            raise

    def _count(self, answer: ModelAnswer) -> list[Row]:
        """Adds a model call to the turn, the session and the agent."""
        context, usage = self.context, answer.finish.usage
        cost = next((e.cost_usd for e in answer.events if isinstance(e, event_pb2.ModelCall)), 0.0)
        self.turn.step_count += 1
        context.session.step_count += 1
        context.lifecycle.status.step_count += 1
        context.count(usage, cost)
        context.conversation.last_usage = usage
        context.partial_text = []
        return context.say(answer.message) if answer.message.content else [context.session_row()]

    async def _store_step(self, answer: ModelAnswer) -> None:
        """Stores a finished model step with the calls it asked for."""
        context = self.context
        await self._distinct_ids(answer)
        rows = [*self._count(answer), *ToolStep.rows(context, answer.calls), *context.turn_rows()]
        await self._store_said(answer.message, answer.events, rows)

    async def _store_said(
        self, message: common_pb2.Message, payloads: Sequence[ProtoMessage], rows: Sequence[Row]
    ) -> None:
        """Stores what was said; what cannot be stored was not said."""
        try:
            await self.context.post(*payloads, rows=tuple(rows))
        except errors.AsterError:
            self.context.conversation.unsay(message, self.context.lifecycle)
            raise

    async def _distinct_ids(self, answer: ModelAnswer) -> None:
        """Providers may repeat call ids; within an agent they are names of rows."""
        seen: set[str] = set()
        for block in answer.message.content:
            if block.WhichOneof("block") != "tool_call":
                continue
            call = block.tool_call
            key = self.context.journal.ref.key
            if call.id in seen or not call.id or await self.context.deps.store.tool_call(key, call.id):
                call.id = f"{call.id or 'call'}_{self.turn.id[-8:]}_{self.turn.step_count}_{len(seen)}"
            seen.add(call.id)
        answer.calls = history.calls_of(answer.message)

    async def _tool_calls(self, calls: Sequence[common_pb2.ToolCall]) -> ToolStep:
        key = self.context.journal.ref.key
        records = await self.context.deps.store.tool_calls(key, self.turn.id, self.turn.step_count)
        return ToolStep(self.context, calls, records)

    async def _tool_step(self, calls: Sequence[common_pb2.ToolCall], began: float) -> None:
        context = self.context
        context.stamp.step = self.turn.step_count
        self._tools = self._tools or await self._tool_calls(calls)
        results = await self._tools.run()
        self._tools = None
        message = history.tool_message(map(for_history, results), self.turn.id)
        done = event_pb2.StepComplete(duration=clock.duration(clock.monotonic() - began), tool_call_count=len(calls))
        await self._store_said(message, [done], [*context.say(message), *context.turn_rows()])

    # -- the iteration limit ----------------------------------------------------------

    async def _may_go_on(self) -> bool:
        """Asks a person when the turn has taken many steps. False: the turn was ended."""
        limit = await self._allowed_steps()
        if limit is None or self.turn.step_count < limit:
            return True
        pending = await self._ask_to_go_on(limit)
        resolution = (await self.context.approvals.wait(pending)).resolution
        if resolution.outcome == ALLOWED:
            return await self._may_go_on()
        await self._complete(agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_ITERATION_LIMIT)
        return False

    async def _allowed_steps(self) -> int | None:
        """The limit with what people have added in this turn; None: no limit."""
        config = self.context.config
        limit = config.iteration_limit if config.HasField("iteration_limit") else DEFAULT_ITERATION_LIMIT
        if limit == 0:
            return None
        if self.turn.step_count < limit:
            return limit
        rows = await self._limit_requests()
        return limit + sum(int(row.resolution.answer or 0) for row in rows if row.resolution.outcome == ALLOWED)

    async def _limit_requests(self) -> list[control_service_pb2.PendingRequest]:
        rows = await self.context.deps.store.pending_of_turn(self.context.journal.ref.key, self.turn.id)
        return [row.pending for row in rows if row.pending.HasField("iteration_limit")]

    async def _ask_to_go_on(self, limit: int) -> str:
        context = self.context
        for pending in await self._limit_requests():
            if not pending.HasField("resolution"):
                return pending.id  # raised before a restart
        asked = event_pb2.IterationLimitReached(current_step=self.turn.step_count, iteration_limit=limit)
        raised = context.approvals.raise_request(context.stamp, context.config, asked)
        self.turn.pending_ids.append(raised.pending.id)
        self.turn.state = agent_pb2.TURN_STATE_WAITING
        events = [raised.event, *context.events(*context.lifecycle.change(activity=lifecycle.WAITING))]
        await context.journal.write(events, [raised.row, *context.turn_rows()], context.stamp.scope)
        return raised.pending.id

    # -- the end ------------------------------------------------------------------------

    async def _complete_with(self, answer: ModelAnswer, began: float) -> None:
        rows = self._count(answer)
        done = event_pb2.StepComplete(duration=clock.duration(clock.monotonic() - began))
        payloads = [*answer.events, done]
        stop = answer.finish.stop_reason
        if answer.lowered and stop == agent_pb2.STOP_REASON_MAX_TOKENS:
            await self._failed(budget.cut(answer.lowered), payloads, rows, answer.message)
            return
        await self._complete(agent_pb2.TURN_STATE_COMPLETED, stop, payloads, rows, answer.message)

    async def _end_with(self, text: str) -> None:
        """A tool has ended the turn: what it was told is said last."""
        message = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT, id=ids.new("msg_"))
        message.content.add(text=text)
        said = [event_pb2.TextChunk(delta=text), event_pb2.TextDone(text=text)]
        rows = self.context.say(message)
        await self._complete(agent_pb2.TURN_STATE_COMPLETED, agent_pb2.STOP_REASON_END_TURN, said, rows, message)

    async def _interrupted(self) -> None:
        rows = self._keep_partial_text()
        await self._complete(agent_pb2.TURN_STATE_INTERRUPTED, agent_pb2.STOP_REASON_INTERRUPTED, (), rows)

    def _keep_partial_text(self) -> list[Row]:
        """What the model had said when it was cut off: it was shown, so it belongs to the conversation."""
        text = "".join(self.context.partial_text)
        self.context.partial_text = []
        if not text:
            return []
        message = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT)
        message.content.add(text=text)
        return self.context.say(message)

    async def _failed(
        self,
        error: errors.AsterError,
        payloads: Sequence[ProtoMessage] = (),
        rows: Sequence[Row] = (),
        reply: common_pb2.Message | None = None,
    ) -> None:
        self.turn.error.CopyFrom(error.status())
        over_budget = isinstance(error, (errors.BudgetExceeded, errors.ModelPriceUnknown))
        ours = over_budget or isinstance(error, errors.MiddlewareFailed)
        stop = agent_pb2.STOP_REASON_BUDGET if over_budget else agent_pb2.STOP_REASON_ERROR
        raised = event_pb2.ErrorRaised(
            error=self.turn.error,
            severity="error",
            phase="system" if ours else "model",
            context="running a turn",
        )
        noted = [budget.governance(error)] if over_budget else []
        said = self._keep_partial_text()
        await self._complete(agent_pb2.TURN_STATE_FAILED, stop, [*payloads, raised, *noted], [*rows, *said], reply)

    async def _complete(
        self,
        state: agent_pb2.TurnState,
        stop_reason: agent_pb2.StopReason,
        payloads: Sequence[ProtoMessage] = (),
        rows: Sequence[Row] = (),
        reply: common_pb2.Message | None = None,
    ) -> None:
        """Stores the end of the turn: open requests withdrawn, open calls sealed, one complete."""
        self._ending = True
        await self.context.helpers.finish(self.context)
        if self._watch is not None:
            await self._watch.finish()
        await failpoints.reach("run.before_terminal")
        async with self.context.approvals.deciding:  # a decision is stored before this, or comes too late
            await self._write_end(state, stop_reason, payloads, rows, reply)

    async def _write_end(
        self,
        state: agent_pb2.TurnState,
        stop_reason: agent_pb2.StopReason,
        payloads: Sequence[ProtoMessage],
        rows: Sequence[Row],
        reply: common_pb2.Message | None,
    ) -> None:
        context, turn = self.context, self.turn
        events, more = await self._seal()
        last = reply or next((m for m in reversed(context.history) if m.role == common_pb2.ROLE_ASSISTANT), None)
        if last is not None and last.turn_id == turn.id:
            turn.reply.CopyFrom(history.unsealed(last))
        turn.state, turn.stop_reason = state, stop_reason
        turn.end_time.CopyFrom(clock.timestamp(clock.now()))
        await self._count_time()
        del turn.pending_ids[:]
        complete = event_pb2.TurnComplete(
            final_text=history.text_of(turn.reply),
            stop_reason=stop_reason,
            usage=turn.usage,
            state=state,
            cost_usd=turn.cost_usd,
            error=turn.error if turn.HasField("error") else None,
        )
        events += context.events(*payloads, complete)
        events += context.events(*self._settle_status(state))
        await self._store_end(events, [*more, *rows, context.session_row(), *context.turn_rows()])

    async def _count_time(self) -> None:
        """Adds the turn's wall time to that of the session and the agent."""
        took = await budget.active_seconds(self.context)
        totals = [self.context.session.active_time]
        if self.context.parent is None:
            totals.append(self.context.lifecycle.status.active_time)
        for total in totals:
            total.CopyFrom(clock.duration(clock.seconds(total) + took))

    def _settle_status(self, state: agent_pb2.TurnState) -> list[event_pb2.StateChanged]:
        if self.context.parent is not None:  # the agent goes on with the turn that delegated this one
            return []
        status = self.context.lifecycle.status
        status.turn_id = ""
        if state == agent_pb2.TURN_STATE_FAILED:
            status.last_error.CopyFrom(self.turn.error)
        if self._more_wait():
            return self.context.lifecycle.change(activity=_END[state])
        return self.context.lifecycle.change(lifecycle.STARTED, _END[state])

    async def _seal(self) -> tuple[list[event_pb2.Event], list[Row]]:
        """Withdraws open requests and answers open calls."""
        context = self.context
        events: list[event_pb2.Event] = []
        rows: list[Row] = []
        if self.turn.pending_ids:
            await context.journal.settled()  # stopped while it asked: the request is in line, not in the store
            for row in await context.deps.store.pending_of_turn(context.journal.ref.key, self.turn.id):
                if not row.pending.HasField("resolution"):
                    event, put = context.approvals.resolved(row, Resolved(outcome=WITHDRAWN), context.stamp.scope)
                    events.append(event)
                    rows.append(put)
        calls = history.open_calls(context.history)
        if calls:
            tools = self._tools or await self._tool_calls(calls)
            self._tools = None
            payloads, more, results = tools.seal()
            events += context.events(*payloads)
            rows += [*more, *context.say(history.tool_message(map(for_history, results), self.turn.id))]
        return events, rows

    async def _store_end(self, events: Sequence[event_pb2.Event], rows: Sequence[Row]) -> None:
        """The end must be stored: a full disk or a busy store is waited for."""
        context = self.context
        context.journal.forgive()
        while True:
            try:
                await context.journal.write(events, rows, context.stamp.scope)
            except (errors.StorageFull, errors.StoreUnavailable):
                await clock.sleep(WRITE_RETRY)
            else:
                return
