"""Talking to an agent in a terminal: text as it comes, tools, approvals, questions."""

import contextlib
import json
import signal

import typer

from aster import (
    Agent,
    AsterClient,
    AsterError,
    EventView,
    IterationLimitReached,
    RequestResolved,
    TextChunk,
    ThinkChunk,
    ToolApprovalRequest,
    ToolEnd,
    ToolStart,
    TurnComplete,
    UserInputRequest,
    errors,
)
from aster.cli.output import clean, explain, interactive, tell_loss, to_json
from aster.types import word
from aster.v1 import agent_pb2, common_pb2, event_pb2

DEMO = "demo"  # agent and template of `aster chat` without an agent


async def chat(client: AsterClient, agent_id: str | None, message: str | None, session: str, as_json: bool) -> None:
    """One message, or a conversation until the end of input. Raises AsterError; exits with 1 on a failed turn."""
    agent = client.agent(agent_id) if agent_id else await _demo(client)
    if message is None:
        await _converse(client, agent, session)
    elif not await _turn(client, agent, message, session, as_json):
        raise typer.Exit(1)


async def _demo(client: AsterClient) -> Agent:
    try:
        return await client.create_agent(DEMO, agent_id=DEMO)
    except errors.AlreadyExists:
        return client.agent(DEMO)


async def _converse(client: AsterClient, agent: Agent, session: str) -> None:
    with contextlib.suppress(ImportError):  # not on every system; input() works without
        import readline  # noqa: F401  # gives input() editing and history
    typer.echo(f"talking to {agent.id}; Ctrl-D ends")
    while True:
        try:
            text = ask("> ").strip()
        except EOFError:
            return
        if not text:
            continue
        try:
            await _turn(client, agent, text, session, as_json=False)
        except AsterError as error:
            typer.echo(f"error: {clean(explain(error, client.address))}", err=True)


async def _turn(client: AsterClient, agent: Agent, text: str, session: str, as_json: bool) -> bool:
    """Shows one turn; False when it did not complete."""
    screen = _Screen(agent)
    async with agent.stream(text, session_id=session) as events:
        tell_loss(events, client.address)
        async for event in events:
            if as_json:  # whoever reads the frames decides requests elsewhere
                typer.echo(to_json(event.frame))
                screen.completed |= _is_success(event)
            else:
                await screen.show(event)
    return screen.completed


def _is_success(event: EventView) -> bool:
    return isinstance(event.payload, TurnComplete) and event.payload.state == agent_pb2.TURN_STATE_COMPLETED


class _Screen:
    """What of a turn a person sees."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._in_line = False
        self.completed = False

    async def show(self, event: EventView) -> None:
        match event.payload:
            case TextChunk(delta=text):
                self._write(text)
            case ThinkChunk(delta=text):
                self._write(typer.style(clean(text), dim=True), trusted=True)
            case ToolStart(call=call):
                self._line(f"🔧 {call.name} {call.input_json}")
            case ToolEnd() as end:
                self._line(_tool_end(end, event.error))
            case ToolApprovalRequest() | UserInputRequest() | IterationLimitReached() as request:
                await self._request(request)
            case RequestResolved(decided_by=who) as resolved if who:
                self._line(f"   {word(event_pb2.ResolutionOutcome, resolved.outcome)} by {who}")
            case TurnComplete() as complete:
                self.completed = _is_success(event)
                self._end(complete, event.error)
            case _ if event.is_gap:
                self._line(f"-- {event.frame.gap.dropped_count} events left out --")

    def _write(self, text: str, *, trusted: bool = False) -> None:
        text = text if trusted else clean(text)
        typer.echo(text, nl=False)
        self._in_line = bool(text) and not text.endswith("\n")

    def _line(self, text: str) -> None:
        if self._in_line:
            typer.echo()
        typer.echo(clean(text))
        self._in_line = False

    def _end(self, complete: TurnComplete, error: AsterError | None) -> None:
        if self._in_line:
            typer.echo()
            self._in_line = False
        if error is not None:
            typer.echo(f"error: {clean(explain(error, ''))}", err=True)
        elif complete.stop_reason != agent_pb2.STOP_REASON_END_TURN:
            self._line(f"(stopped: {word(agent_pb2.StopReason, complete.stop_reason)})")

    async def _request(self, request: ToolApprovalRequest | UserInputRequest | IterationLimitReached) -> None:
        self._line(_question(request))
        if not interactive():
            verb = "answer" if isinstance(request, UserInputRequest) else "approve"
            self._line(f"   waiting; elsewhere: aster approvals {verb} {request.pending_id}")
            return
        try:
            await decide(self._agent, request)
        except EOFError:
            self._line(f"   left open as {request.pending_id}: see `aster approvals`")
        except AsterError as error:  # decided elsewhere, or expired meanwhile: the turn goes on
            self._line(f"   {explain(error, '')}")


async def decide(agent: Agent, request: ToolApprovalRequest | UserInputRequest | IterationLimitReached) -> None:
    """Asks the person at the terminal and sends the decision. Raises AsterError, and EOFError at the end of input."""
    match request:
        case ToolApprovalRequest():
            await _decide_tool(agent, request)
        case UserInputRequest():
            await agent.respond_to_input_request(request.pending_id, _ask_answer(request))
        case _:
            allow = _ask_choice("   go on? [y/n] ", "yn") == "y"
            await agent.respond_to_iteration_limit(request.pending_id, allow)


async def _decide_tool(agent: Agent, request: ToolApprovalRequest) -> None:
    note, edited = "", None
    while True:
        choice = _ask_choice("   allow? [y]es [n]o [e]dit note[t]: ", "ynet")
        if choice == "t":
            note = ask("   note: ")
        elif choice == "e":
            edited = _ask_json("   input as JSON: ")
        else:
            break
    allow = choice == "y"
    await agent.approve_tool_call(
        request.pending_id,
        allow,
        note=note,
        edited_input=edited if allow else None,
        input_digest=request.input_digest,
    )


def _ask_answer(request: UserInputRequest) -> str | list[int] | None:
    text = ask("   answer (empty: none): ").strip()
    numbers = text.replace(",", " ").split()
    if numbers and request.options and all(number.isdecimal() for number in numbers):
        return [int(number) - 1 for number in numbers]
    return text or None


def _ask_choice(prompt: str, letters: str) -> str:
    """The first letter of the answer, asked until it is one of those; a "note" is a "t"."""
    while True:
        answer = ask(prompt).strip().lower()
        letter = "t" if answer == "note" else answer[:1]
        if letter and letter in letters:
            return letter


def _ask_json(prompt: str) -> str:
    while True:
        text = ask(prompt)
        try:
            json.loads(text)
        except ValueError as error:
            typer.echo(f"   not JSON: {error}")
        else:
            return text


def ask(prompt: str) -> str:
    """One line of the person at the terminal. Raises EOFError, and KeyboardInterrupt on Ctrl-C.

    Blocks the event loop on purpose: readline wants the main thread, a thread that waits
    for input cannot be stopped, and meanwhile gRPC's own threads keep the stream alive.
    """
    # asyncio's handler would cancel the task, which cannot happen while it waits here.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, handler)


def _question(request: ToolApprovalRequest | UserInputRequest | IterationLimitReached) -> str:
    match request:
        case ToolApprovalRequest(call=call, reason=reason):
            why = f"\n   {reason}" if reason else ""
            return f"⚠️ {call.name} {call.input_json}{why}"
        case UserInputRequest(prompt=prompt, options=options):
            lines = [f"   {number}. {o.label}  {o.description}".rstrip() for number, o in enumerate(options, 1)]
            return "\n".join([f"💭 {prompt}", *lines])
        case _:
            return f"⚠️ {request.current_step} steps done, the limit is {request.iteration_limit}"


def _tool_end(end: ToolEnd, error: AsterError | None) -> str:
    result = end.result
    failed = result.is_error or end.state != common_pb2.TOOL_CALL_STATE_COMPLETED
    if not failed:
        return f"✅ {result.name} ({end.duration.ToMilliseconds()} ms)"
    why = str(error) if error else result.output_json or result.output_preview
    return f"❌ {result.name}: {why}"
