"""One tool call while it runs, and what it may use."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors
from asteros.middleware.base import ToolRequest
from asteros.runtime import budget, lifecycle
from asteros.runtime.approvals import ANSWERED
from asteros.runtime.context import TurnContext
from asteros.runtime.history import failure_json
from asteros.runtime.notes import PLAN_NOTE, AgentNotes
from asteros.runtime.permissions import ALLOW
from asteros.runtime.rings import TurnHandle
from asteros.tools.base import Answer, Commands, Files, JsonObject, JsonValue, Notes, Option, Tasks, Todo, Tool
from asteros.tools.registry import BadToolInput
from asteros.tools.strict_json import canonical

_log = logging.getLogger(__name__)
MAX_TIMEOUT = 600.0  # seconds, whatever a tool declares
PREVIEW_BYTES = 64 * 1024  # of a result inside an event
MODEL_BYTES = 1024 * 1024  # of a result as the model sees it
STORED_BYTES = 16 * 1024 * 1024  # of a result at all


@dataclass(slots=True)
class Call:
    """A call and its record; ``call`` is what the model asked, ``record.call`` what is used."""

    index: int
    call: common_pb2.ToolCall
    record: control_service_pb2.ToolCallRecord
    tool: Tool | None = None
    args: JsonObject = field(default_factory=dict)
    bad_input: str = ""
    pending_id: str = ""
    denial: errors.AsterError | None = None
    began: float = 0.0
    took: float = 0.0
    unwritten: bool = False  # its end could not be stored
    stopped_by: str = ""  # the person who asked to stop it
    stop_note: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)  # set when its end is stored, or the turn's
    scope: asyncio.Timeout | None = None  # of the running tool

    def stop(self, principal: str, note: str) -> None:
        """Cancels the running tool at once; the first who asks is remembered."""
        if self.scope is not None and not self.stopped_by:
            self.stopped_by, self.stop_note = principal, note
            self.scope.reschedule(asyncio.get_running_loop().time())

    def end(self, state: common_pb2.ToolCallState, output_json: str, *, is_error: bool) -> None:
        """Sets the result the model receives."""
        data = output_json.encode()
        if len(data) > STORED_BYTES:
            cut = data[: STORED_BYTES - 1024].decode(errors="ignore")
            output_json = failure_json(f"the result was cut at {STORED_BYTES} bytes", output=cut)
            data = output_json.encode()
        self.record.state = state
        self.record.result.CopyFrom(
            common_pb2.ToolResult(
                call_id=self.call.id,
                name=self.call.name,
                output_json=output_json,
                is_error=is_error,
                output_size_bytes=len(data),
            )
        )
        self.record.end_time.CopyFrom(clock.timestamp(clock.now()))

    def tool_end(self, error: errors.AsterError | None) -> event_pb2.ToolEnd:
        """progress.tool_end, with a preview of a large result."""
        end = event_pb2.ToolEnd(
            result=shortened(self.record.result, PREVIEW_BYTES),
            duration=clock.duration(self.took),
            state=self.record.state,
        )
        if error is not None:
            end.error.CopyFrom(error.status())
        return end

    def execution(self) -> event_pb2.ToolExecution:
        """monitor.tool_execution: the audit of the call."""
        return event_pb2.ToolExecution(
            tool_name=self.tool.info.name if self.tool else self.call.name,
            call_id=self.call.id,
            duration=clock.duration(self.took),
            success=self.record.state == common_pb2.TOOL_CALL_STATE_COMPLETED and not self.record.result.is_error,
            input_size_bytes=len(self.record.call.input_json.encode()),
            output_size_bytes=self.record.result.output_size_bytes,
        )


def shortened(result: common_pb2.ToolResult, limit: int) -> common_pb2.ToolResult:
    """The result, or its first ``limit`` bytes as a preview."""
    if result.output_size_bytes <= limit:
        return result
    preview = result.output_json.encode()[:limit].decode(errors="ignore")
    return common_pb2.ToolResult(
        call_id=result.call_id,
        name=result.name,
        is_error=result.is_error,
        output_preview=preview,
        output_size_bytes=result.output_size_bytes,
    )


def for_history(result: common_pb2.ToolResult) -> common_pb2.ToolResult:
    """The result as the model reads it: cut and marked beyond 1 MiB."""
    if result.output_size_bytes <= MODEL_BYTES:
        return result
    cut = result.output_json.encode()[:MODEL_BYTES].decode(errors="ignore")
    text = canonical(
        {
            "ok": not result.is_error,
            "truncated": f"these are the first {MODEL_BYTES} of {result.output_size_bytes} bytes of the result; "
            "call the tool again for less of it: a range, a filter or a limit",
            "output": cut,
        }
    )
    return common_pb2.ToolResult(
        call_id=result.call_id,
        name=result.name,
        is_error=result.is_error,
        output_json=text,
        output_size_bytes=result.output_size_bytes,
    )


class CallContext:
    """``tools.base.ToolContext`` for one call."""

    def __init__(self, context: TurnContext, call: Call) -> None:
        self._context = context
        self._call = call
        self.agent_id = context.journal.ref.id
        self.session_id = context.session.id
        self.turn_id = context.turn.id
        self.call_id = call.call.id
        self.idempotency_key = f"{self.turn_id}/{context.turn.step_count}/{self.call_id}"
        self.files: Files = context.workspace
        self.tasks: Tasks = context.helpers.of(context, self.call_id)
        self.commands: Commands = context.commands
        self.session_notes: Notes = AgentNotes(context.deps.store, context.journal, context.session.id)
        self.agent_notes: Notes = AgentNotes(context.deps.store, context.journal, "")

    async def run(self, tool: Tool, args: JsonObject) -> JsonObject:
        """Runs the tool inside the agent's middlewares.

        :raises ToolDenied: they gave it an input that may not run without being asked for."""

        async def innermost(request: ToolRequest) -> JsonObject:
            if request.args is not args and request.args != args:
                self._judge(tool, request.args)
            return await tool.run(request.args, self)

        request = ToolRequest(self.call_id, tool.info, args)
        return await self._context.onion.tool_call(request, TurnHandle(self._context), innermost)

    def _judge(self, tool: Tool, args: JsonObject) -> None:
        """Permission was given for another input: this one must need none (guarantee A2)."""
        try:
            self._context.deps.tools.parse_input(tool, canonical(args))
        except BadToolInput:
            raise errors.MiddlewareFailed("a middleware gave the tool an input that it does not take") from None
        verdict = self._context.permissions.judge(tool.info, args)
        if verdict.policy != ALLOW:
            raise errors.ToolDenied(
                "a middleware changed the input to one that would have to be approved", tool=tool.info.name
            )

    async def time_left(self) -> float:
        """Seconds that the budgets leave to the turn."""
        return await budget.time_left(self._context)

    def time_of_turn(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Cuts off what runs when the turn has no time left."""
        return budget.time_limit(self._context)

    def progress(self, message: str, fraction: float | None = None) -> None:
        report = event_pb2.ToolProgress(call_id=self.call_id, message=message[:1000])
        if fraction is not None:
            report.fraction = min(max(fraction, 0.0), 1.0)
        self._context.post(report)

    def intermediate(self, label: str, data: JsonValue) -> None:
        text = canonical(data)
        if len(text.encode()) > PREVIEW_BYTES:
            # JSON as a string: escaping quotes and backslashes at most doubles it.
            text = canonical(text.encode()[: PREVIEW_BYTES // 2 - 1].decode(errors="ignore"))
        self._context.post(event_pb2.ToolIntermediate(call_id=self.call_id, label=label[:200], data_json=text))

    def todos(self, items: Sequence[Todo]) -> None:
        update = event_pb2.TodoUpdate()
        for item in items:
            update.items.add(
                id=item.id,
                content=item.content,
                active_form=item.active_form,
                status=item.status,
                priority=item.priority,
            )
        self._context.post(update)

    @property
    def in_plan_mode(self) -> bool:
        return self._context.permissions.in_plan

    async def set_plan_mode(self, on: bool) -> None:
        await self.session_notes.put(PLAN_NOTE, on)
        self._context.conversation.planning = on
        self._context.permissions.in_plan = on

    async def ask(
        self, index: int, prompt: str, options: Sequence[Option] = (), *, multi_select: bool = False
    ) -> Answer:
        pending_id = await self._raised(index) or await self._raise(index, prompt, options, multi_select)
        resolution = (await self._context.approvals.wait(pending_id)).resolution
        if resolution.outcome != ANSWERED:
            return Answer(dismissed=True)
        return Answer(resolution.answer)

    async def _raised(self, index: int) -> str:
        """The id of this question when it was raised before a restart."""
        context = self._context
        for row in await context.deps.store.pending_of_turn(context.journal.ref.key, self.turn_id):
            if row.call_id == self.call_id and row.ask_index == index and row.pending.HasField("user_input"):
                return row.pending.id
        return ""

    async def _raise(self, index: int, prompt: str, options: Sequence[Option], multi_select: bool) -> str:
        context = self._context
        request = event_pb2.UserInputRequest(prompt=prompt, multi_select=multi_select)
        for option in options:
            request.options.add(label=option.label, description=option.description)
        raised = context.approvals.raise_request(
            context.stamp, context.config, request, call_id=self.call_id, ask_index=index
        )
        context.turn.pending_ids.append(raised.pending.id)
        context.turn.state = agent_pb2.TURN_STATE_WAITING
        events = [raised.event, *context.events(*context.lifecycle.change(activity=lifecycle.WAITING))]
        await context.journal.write(events, [raised.row, *context.turn_rows()], context.stamp.scope)
        return raised.pending.id


async def run_tool(call: Call, context: CallContext) -> errors.AsterError | None:
    """Runs the tool and sets the call's result; why it produced none, if it did not.

    A tool that answers ``{"ok": false, …}`` has completed (seed 004). Cancelled: the
    result stays unset."""
    tool = call.tool
    assert tool is not None
    limit = None if tool.info.timeout is None else min(tool.info.timeout, MAX_TIMEOUT)
    call.began = clock.monotonic()
    error: errors.AsterError | None = None
    try:
        async with context.time_of_turn() as turns, asyncio.timeout(limit) as call.scope:
            output = await context.run(tool, call.args)
        is_error = output.get("ok") is False
        call.end(common_pb2.TOOL_CALL_STATE_COMPLETED, canonical(output), is_error=is_error)
    except errors.AsterError as refused:
        error = refused
        _failed(call, refused.text)
    except asyncio.CancelledError:  # house: cancelled -- only one that nobody asked for is a failure of the tool
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        error = _broken(call, tool)
    except Exception:  # also a TimeoutError of the tool's own
        ended = call.scope is not None and call.scope.expired()
        if ended and call.stopped_by:
            error = _stopped(call, tool)
        elif ended and limit is not None:
            error = errors.ToolTimeout(tool=tool.info.name, timeout=f"{limit}s")
            _failed(call, f"the tool was stopped after {limit:g} seconds")
        elif turns.expired():
            error = errors.ToolTimeout(tool=tool.info.name)
            _failed(call, "the tool was stopped: the turn has no time left")
        else:
            error = _broken(call, tool)
    finally:
        call.scope = None
        call.took = clock.monotonic() - call.began
    return error


def _stopped(call: Call, tool: Tool) -> errors.AsterError:
    note = {"note": call.stop_note} if call.stop_note else {}
    text = failure_json("the user stopped the tool", tool=call.call.name, **note)
    call.end(common_pb2.TOOL_CALL_STATE_CANCELED, text, is_error=True)
    return errors.ToolCanceled(tool=tool.info.name, requested_by=call.stopped_by)


def _broken(call: Call, tool: Tool) -> errors.AsterError:
    _log.exception("tool %s failed", tool.info.name)
    _failed(call, "the tool failed")
    return errors.ToolFailed(tool=tool.info.name)


def _failed(call: Call, text: str) -> None:
    call.end(common_pb2.TOOL_CALL_STATE_FAILED, failure_json(text, tool=call.call.name), is_error=True)
