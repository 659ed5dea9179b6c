"""``aster sessions``: conversations and what was said in them."""

from typing import TYPE_CHECKING, Annotated

import typer

from aster.cli.output import Json, clean, columns, run, show

if TYPE_CHECKING:
    from aster import AsterClient

app = typer.Typer(help="List sessions and read their messages.", no_args_is_help=True)


@app.command("list")
def list_(
    ctx: typer.Context,
    agent: Annotated[str, typer.Option(help="Only sessions of this agent.")] = "",
    as_json: Json = False,
) -> None:
    """Lists sessions, last used first."""

    async def job(client: "AsterClient") -> None:
        rows = []
        async for session in client.list_sessions(agent_id=agent):
            if as_json:
                show(session, "", as_json=True)
            rows.append((session.id, session.agent_id, str(session.message_count), session.title))
        if not as_json:
            columns(("SESSION", "AGENT", "MESSAGES", "TITLE"), rows)

    run(ctx, job)


@app.command()
def messages(ctx: typer.Context, session: str, as_json: Json = False) -> None:
    """Prints the messages of a session, oldest first."""

    async def job(client: "AsterClient") -> None:
        async for message in client.messages(session):
            if as_json:
                show(message.message, "", as_json=True)
                continue
            typer.echo(f"{message.role}: {clean(message.content)}".rstrip())
            for call in message.tool_calls:
                typer.echo(f"  🔧 {clean(call.name)} {clean(call.message.input_json)}")
            for result in message.tool_results:
                mark = "❌" if result.is_error else "✅"
                typer.echo(f"  {mark} {clean(result.name)} {clean(result.output_json or result.output_preview)}")

    run(ctx, job)
