"""The tool calls of one step: judged all at once, run in order, each journaled.

Permission is checked and approvals are raised for all calls together, so several may
be open at once. Read-only tools run side by side; one that may change something waits
for those before it, and those after it wait for it: a read sees what the model wrote.
A call's record is written EXECUTING before its tool runs and with its result after:
what a crash leaves in between is decided by the tool's rerun policy (guarantee A4)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors, failpoints
from asteros.runtime import lifecycle
from asteros.runtime.approvals import ALLOWED, EXPIRED, Raised
from asteros.runtime.context import TurnContext
from asteros.runtime.history import failure_json
from asteros.runtime.journal import snapshot
from asteros.runtime.permissions import ASK, DENY, Hook, HookAnswer, Verdict, input_digest
from asteros.runtime.tool_call import Call, CallContext, run_tool
from asteros.stores.base import CallRow, PutToolCall, Row
from asteros.tools.base import JsonObject, RerunPolicy, Tool, ToolInfo
from asteros.tools.registry import BadToolInput

PENDING = common_pb2.TOOL_CALL_STATE_PENDING
WAITING = common_pb2.TOOL_CALL_STATE_WAITING
EXECUTING = common_pb2.TOOL_CALL_STATE_EXECUTING
COMPLETED = common_pb2.TOOL_CALL_STATE_COMPLETED
FAILED = common_pb2.TOOL_CALL_STATE_FAILED
CANCELED = common_pb2.TOOL_CALL_STATE_CANCELED
UNCERTAIN = common_pb2.TOOL_CALL_STATE_UNCERTAIN
ENDED = (COMPLETED, FAILED, CANCELED, UNCERTAIN)


class ToolStep:
    """The calls of one assistant message, from permission to results."""

    def __init__(self, context: TurnContext, calls: Sequence[common_pb2.ToolCall], records: Sequence[CallRow]) -> None:
        self._context = context
        known = {row.record.call.id: row.record for row in records}
        self.calls = [
            Call(index, call, known.get(call.id) or _record(context, call)) for index, call in enumerate(calls)
        ]
        self._expires: dict[str, int] = {}  # when the approval of a call ends, nanoseconds

    @staticmethod
    def rows(context: TurnContext, calls: Sequence[common_pb2.ToolCall]) -> list[Row]:
        """Records of calls the model has just asked for."""
        step = context.turn.step_count
        return [PutToolCall(_record(context, call), step, index) for index, call in enumerate(calls)]

    async def run(self) -> list[common_pb2.ToolResult]:
        """Runs what has not ended; the results in the order of the calls.

        Cancelling stops the running tools and leaves the records as they are."""
        await self._judge()
        tasks: list[asyncio.Task[None]] = []
        reads: list[asyncio.Task[None]] = []  # since the last call that may change something
        change: list[asyncio.Task[None]] = []  # that call, if it runs in this step
        for call in self.calls:
            if call.record.state in ENDED:
                continue
            read_only = call.tool is not None and call.tool.info.read_only
            before = change if read_only else [*change, *reads]
            task = asyncio.create_task(self._finish(call, before), name=f"tool {call.call.id}")
            tasks.append(task)
            if read_only:
                reads.append(task)
            else:
                change, reads = [task], []
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [call.record.result for call in self.calls]

    # -- permission ---------------------------------------------------------------

    async def _judge(self) -> None:
        """Checks every new call; writes what was refused and raises what must be asked."""
        payloads: list[ProtoMessage] = []
        rows: list[Row] = []
        raised: list[Raised] = []
        for call in self.calls:
            self._prepare(call)
            if call.record.state != PENDING:
                continue
            verdict = await self._verdict(call)
            if verdict.notable and verdict.rule:
                payloads.append(_governance(call, verdict))
            if verdict.policy == DENY:
                payloads += self._refuse(call, verdict.reason, rows, call.denial)
            elif verdict.policy == ASK:
                raised.append(self._ask(call, verdict.reason))
                rows += [raised[-1].row, self._put(call)]
        if payloads or rows:
            await self._write(payloads, rows, raised)

    def _prepare(self, call: Call) -> None:
        """Finds the tool and reads its input; a resumed call is read again."""
        call.tool = self._context.tools.get(call.call.name.casefold())
        call.bad_input = ""
        if call.tool is None:
            return
        try:
            call.args = self._context.deps.tools.parse_input(call.tool, call.record.call.input_json)
        except BadToolInput as error:
            call.bad_input = str(error)

    async def _verdict(self, call: Call) -> Verdict:
        """What the policy says; a call that cannot run at all is denied without a rule.

        A changed input is from here on that of the call."""
        if call.tool is None:
            known = self._context.deps.tools.get(call.call.name) is not None
            text = "is not one of this agent's tools" if known else "does not exist"
            if self._context.permissions.denies(call.call.name):
                return Verdict(DENY, "tool_permissions", f"the policy of this agent denies {call.call.name}")
            return Verdict(DENY, "tools" if known else "", f"the tool {call.call.name} {text}")
        if call.bad_input:
            return Verdict(DENY, "", call.bad_input)
        hook = self._hook(call.tool) if self._context.hook else None
        verdict = await self._context.permissions.check(call.tool.info, call.args, hook)
        if verdict.args is not None:
            call.args = verdict.args
            call.record.call.input_json = self._context.deps.tools.canonical(verdict.args)
        if verdict.policy == DENY:
            call.denial = errors.ToolDenied(tool=call.tool.info.name, rule=verdict.rule)
        return verdict

    def _hook(self, tool: Tool) -> Hook:
        """The hook of this turn; what it makes of an input must fit the tool."""
        tools, hook = self._context.deps.tools, self._context.hook
        assert hook is not None

        async def checked(info: ToolInfo, args: JsonObject) -> HookAnswer | None:
            answer = await hook(info, args)
            if answer is None or answer.args is None:
                return answer
            try:
                return replace(answer, args=tools.parse_input(tool, tools.canonical(answer.args)))
            except BadToolInput as error:
                return HookAnswer(DENY, rule=answer.rule, reason=f"the changed input does not fit the tool: {error}")

        return checked

    def _ask(self, call: Call, reason: str) -> Raised:
        request = event_pb2.ToolApprovalRequest(call=call.record.call, reason=reason, input_digest=self._digest(call))
        raised = self._context.approvals.raise_request(
            self._context.stamp, self._context.config, request, call_id=call.call.id
        )
        call.pending_id = raised.pending.id
        call.record.state = WAITING
        return raised

    def _digest(self, call: Call) -> str:
        context = self._context
        canonical = context.deps.tools.canonical(call.args)
        name = call.tool.info.name if call.tool else call.call.name
        return input_digest(
            name, canonical, context.journal.ref.id, context.permissions.version, context.workspace_name
        )

    async def _write(self, payloads: Sequence[ProtoMessage], rows: Sequence[Row], raised: Sequence[Raised]) -> None:
        context = self._context
        events = context.events(*payloads) + [request.event for request in raised]
        if raised:
            context.turn.pending_ids.extend(request.pending.id for request in raised)
            context.turn.state = agent_pb2.TURN_STATE_WAITING
            events += context.events(*context.lifecycle.change(activity=lifecycle.WAITING))
        await context.journal.write(events, [*rows, *context.turn_rows()], context.stamp.scope)

    # -- one call -----------------------------------------------------------------

    async def _finish(self, call: Call, before: Sequence[asyncio.Task[None]]) -> None:
        if call.record.state == EXECUTING:
            await self._after_crash(call)
            return
        while call.record.state == WAITING:
            await self._decision(call)
        if before:  # refused, too: whoever comes behind waits for this one alone
            await asyncio.wait(before)
        if call.record.state in ENDED:
            return
        expires = self._expires.get(call.call.id)
        if expires is not None and clock.now() >= expires:  # allowed, and then held up too long
            await self._denied(call, event_pb2.RequestResolved(outcome=EXPIRED))
            return
        await self._execute(call)

    async def _decision(self, call: Call) -> None:
        """Waits for the person; an allowed call becomes PENDING with the input that may run."""
        context = self._context
        if not call.pending_id:
            call.pending_id = (await context.approvals.get(call.call.id)).pending.id
        pending = await context.approvals.wait(call.pending_id)
        resolution = pending.resolution
        if resolution.outcome != ALLOWED:
            await self._denied(call, resolution)
            return
        if resolution.HasField("edited_input_json"):
            call.record.call.input_json = resolution.edited_input_json
            self._prepare(call)
        verdict = await self._verdict(call)
        if verdict.policy == DENY:
            await self._deny_after_all(call, verdict)
            return
        if self._digest(call) != resolution.input_digest:
            # Policy or workspace changed since: the approval was for something else.
            raised = self._ask(call, "the policy changed since this call was approved")
            await self._write((), [raised.row, self._put(call)], [raised])
            return
        await failpoints.reach("approval.after_decide_before_dispatch")
        self._expires[call.call.id] = clock.nanos(pending.expire_time)
        call.record.state = PENDING

    async def _denied(self, call: Call, resolution: event_pb2.RequestResolved) -> None:
        expired = resolution.outcome == EXPIRED
        text = "the time for approving this call has run out" if expired else "the user denied this call"
        call.denial = errors.ToolDenied(tool=call.call.name, rule="approval", decided_by=resolution.decided_by)
        rows: list[Row] = []
        note = event_pb2.Governance(rule="approval", decision="deny", call_id=call.call.id, detail=text)
        extra = {"note": resolution.note} if resolution.note else {}
        payloads = [note, *self._refuse(call, text, rows, call.denial, **extra)]
        await self._context.journal.write(self._context.events(*payloads), rows, self._context.stamp.scope)

    async def _deny_after_all(self, call: Call, verdict: Verdict) -> None:
        rows: list[Row] = []
        payloads = self._refuse(call, verdict.reason, rows, call.denial)
        if verdict.rule:
            payloads.insert(0, _governance(call, verdict))
        await self._context.journal.write(self._context.events(*payloads), rows, self._context.stamp.scope)

    def _refuse(
        self, call: Call, text: str, rows: list[Row], error: errors.AsterError | None, **extra: object
    ) -> list[ProtoMessage]:
        """Ends a call that never starts: no tool_start and no tool_end, but the audit."""
        facts = {"reason": error.reason} if error else {}
        call.end(FAILED, failure_json(text, tool=call.call.name, **facts, **extra), is_error=True)
        rows.append(self._put(call))
        return [call.execution()]

    async def _execute(self, call: Call) -> None:
        context = self._context
        call.record.state = EXECUTING
        # Durable before it runs: a crash from here on is decided by the rerun policy.
        try:
            await context.post(event_pb2.ToolStart(call=call.record.call), rows=(self._put(call),))
        except errors.AsterError:
            call.record.state = PENDING
            raise
        await failpoints.reach("run.before_tool")
        await self._run(call)

    async def _run(self, call: Call) -> None:
        assert call.tool is not None
        error = await run_tool(call, CallContext(self._context, call))
        await failpoints.reach("run.after_tool_before_result")
        call.record.end_time.CopyFrom(clock.timestamp(clock.now()))
        payloads: list[ProtoMessage] = [call.tool_end(error), call.execution()]
        if isinstance(error, errors.ToolCanceled):
            payloads.append(
                event_pb2.ToolControlled(call_id=call.call.id, state=call.record.state, requested_by=call.stopped_by)
            )
        elif error is not None:
            doing = f"running the tool {call.tool.info.name}"
            payloads.append(event_pb2.ErrorRaised(error=error.status(), severity="error", phase="tool", context=doing))
        try:
            await self._context.post(*payloads, rows=(self._put(call),))
        except errors.AsterError:
            call.unwritten = True
            raise
        finally:
            call.over.set()

    async def _after_crash(self, call: Call) -> None:
        """A call that was running when the server stopped."""
        policy = call.tool.info.rerun if call.tool else RerunPolicy.NEVER
        if policy is not RerunPolicy.NEVER and not call.bad_input:
            await self._run(call)
            return
        error = errors.ToolOutcomeUnknown(tool=call.call.name)
        text = "interrupted"
        hint = "the server stopped while the tool ran; it may or may not have taken effect"
        call.end(UNCERTAIN, failure_json(text, detail=hint), is_error=True)
        unknown = event_pb2.OutcomeUnknown(call=call.record.call)
        await self._context.post(unknown, call.tool_end(error), call.execution(), rows=(self._put(call),))

    @property
    def uncertain(self) -> list[str]:
        """Calls that a crash cut off and that may not be repeated."""
        found = []
        for call in self.calls:
            tool = self._context.tools.get(call.call.name.casefold())
            if call.record.state == EXECUTING and (tool is None or tool.info.rerun is RerunPolicy.NEVER):
                found.append(call.call.id)
        return found

    # -- stopping -------------------------------------------------------------------

    def seal(self) -> tuple[list[ProtoMessage], list[Row], list[common_pb2.ToolResult]]:
        """Ends every call that has not ended, because the turn does: payloads, rows, all results."""
        payloads: list[ProtoMessage] = []
        rows: list[Row] = []
        for call in self.calls:
            if call.unwritten:
                payloads += [call.tool_end(None), call.execution()]
                rows.append(self._put(call))
            if call.record.state in ENDED:
                continue
            started = call.record.state == EXECUTING
            call.end(CANCELED, failure_json("interrupted"), is_error=True)
            if started:
                payloads.append(call.tool_end(errors.TurnInterrupted("the turn was interrupted")))
            payloads.append(call.execution())
            rows.append(self._put(call))
        return payloads, rows, [call.record.result for call in self.calls]

    def _put(self, call: Call) -> PutToolCall:
        return PutToolCall(snapshot(call.record), self._context.turn.step_count, call.index)


def _record(context: TurnContext, call: common_pb2.ToolCall) -> control_service_pb2.ToolCallRecord:
    return control_service_pb2.ToolCallRecord(
        call=call, state=PENDING, turn_id=context.turn.id, create_time=clock.timestamp(clock.now())
    )


def _governance(call: Call, verdict: Verdict) -> event_pb2.Governance:
    return event_pb2.Governance(
        rule=verdict.rule, decision=verdict.decision, call_id=call.call.id, detail=verdict.reason
    )
