"""``aster approvals``: the inbox of what waits for a person."""

from typing import TYPE_CHECKING, Annotated

import typer

from aster.cli.output import Json, columns, failure, run, show

if TYPE_CHECKING:
    from aster import AsterClient, PendingRequest
    from aster.v1.control_service_pb2 import DecisionScope

app = typer.Typer(help="List, approve, deny and answer what agents ask.", no_args_is_help=True)
Note = Annotated[str, typer.Option(help="Why; a denial's note is shown to the model.")]
Scope = Annotated[str, typer.Option(help="once, session or always.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    agent: Annotated[str, typer.Option(help="Only requests of this agent.")] = "",
    as_json: Json = False,
) -> None:
    """Lists open requests of all kinds, oldest first."""

    async def job(client: "AsterClient") -> None:
        rows = []
        async for pending in client.pending_approvals(agent_id=agent):
            if as_json:
                show(pending, "", as_json=True)
            rows.append((pending.id, pending.agent_id, *_what(pending)))
        if not as_json:
            columns(("PENDING", "AGENT", "KIND", "WHAT"), rows)

    run(ctx, job)


@app.command()
def approve(
    ctx: typer.Context,
    pending: str,
    note: Note = "",
    edit: Annotated[str | None, typer.Option(help="Input to run instead, as JSON.")] = None,
    scope: Scope = "once",
    as_json: Json = False,
) -> None:
    """Allows a tool call, a turn past its limit or a workflow step."""
    _decide(ctx, pending, True, note, edit, scope, as_json)


@app.command()
def deny(ctx: typer.Context, pending: str, note: Note = "", scope: Scope = "once", as_json: Json = False) -> None:
    """Refuses it."""
    _decide(ctx, pending, False, note, None, scope, as_json)


@app.command()
def answer(
    ctx: typer.Context,
    pending: str,
    text: Annotated[str | None, typer.Argument(help="Free answer.")] = None,
    option: Annotated[list[int] | None, typer.Option(help="Number of an option, from 1; may be repeated.")] = None,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="No answer; the agent is told so.")] = False,
    as_json: Json = False,
) -> None:
    """Answers a question of an agent."""
    if (text is not None) + bool(option) + dismiss != 1:
        raise typer.BadParameter("give a text, --option or --dismiss, and only one of them")
    if option and min(option) < 1:
        raise typer.BadParameter("options count from 1")
    value = text if text is not None else [number - 1 for number in option] if option else None

    async def job(client: "AsterClient") -> None:
        asked = await _find(client, pending)
        resolved = await client.agent(asked.agent_id).respond_to_input_request(asked.id, value)
        show(resolved, f"answered {asked.id}", as_json)

    run(ctx, job)


def _decide(
    ctx: typer.Context, pending: str, allow: bool, note: str, edit: str | None, scope: str, as_json: bool
) -> None:
    reach = _scope(scope)

    async def job(client: "AsterClient") -> None:
        asked = await _find(client, pending)
        if asked.HasField("user_input"):
            raise failure(f"{asked.id} is a question: use `aster approvals answer {asked.id}`")
        resolved = await client.approve(asked, allow, note=note, edited_input=edit, scope=reach)
        show(resolved, f"{'allowed' if allow else 'denied'} {asked.id}", as_json)

    run(ctx, job)


async def _find(client: "AsterClient", pending_id: str) -> "PendingRequest":
    """The open request, by its own id or by that of its tool call."""
    async for pending in client.pending_approvals():
        if pending_id in (pending.id, pending.tool_approval.call.id):
            return pending
    raise failure(f"nothing open has the id {pending_id}; `aster approvals list` shows what waits")


def _scope(text: str) -> "DecisionScope":
    from aster import DecisionScope

    scopes = {"once": DecisionScope.ONCE, "session": DecisionScope.SESSION, "always": DecisionScope.ALWAYS}
    if text not in scopes:
        raise typer.BadParameter(f"{text!r} is not once, session or always")
    return scopes[text]


def _what(pending: "PendingRequest") -> tuple[str, str]:
    match pending.WhichOneof("request"):
        case "tool_approval":
            call = pending.tool_approval.call
            return "tool", f"{call.name} {call.input_json}"
        case "user_input":
            return "question", pending.user_input.prompt
        case "iteration_limit":
            return "limit", f"{pending.iteration_limit.current_step} steps done: go on?"
        case "workflow_approval":
            return "workflow", pending.workflow_approval.prompt
        case _:
            return "unknown", "this client is too old for it"
