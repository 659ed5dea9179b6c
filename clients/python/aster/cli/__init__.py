"""The command ``aster``: talk to agents, watch them, decide for them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aster.cli import agents, approvals, events, sessions
from aster.cli.output import Connection, Json, columns, run, show

if TYPE_CHECKING:
    from aster import AsterClient

app = typer.Typer(help="Talk to the agents of an Aster server.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(agents.app, name="agents")
app.add_typer(sessions.app, name="sessions")
app.add_typer(events.app, name="events")
app.add_typer(approvals.app, name="approvals")


@app.callback()
def options(
    ctx: typer.Context,
    address: Annotated[
        str | None, typer.Option(envvar="ASTER_ADDRESS", help="host:port of the server; else 127.0.0.1:50051.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(envvar="ASTER_API_KEY", help="Key of the caller.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Connect with TLS.")] = False,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the server's CA; implies --tls.", exists=True)] = None,
) -> None:
    """Talk to the agents of an Aster server."""
    ctx.obj = Connection(address, api_key, tls, ca)


@app.command()
def chat(
    ctx: typer.Context,
    agent: Annotated[str | None, typer.Argument(help="Agent to talk to; without it a demo agent.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Say this, show the answer, end.")] = None,
    session: Annotated[str, typer.Option(help="Session to continue; else the default one.")] = "",
    as_json: Json = False,
) -> None:
    """Talks to an agent; approvals and questions are asked in the terminal."""
    from aster.cli import conversation

    if message is None and as_json:
        raise typer.BadParameter("--json needs -m")
    run(ctx, lambda client: conversation.chat(client, agent, message, session, as_json))


@app.command()
def status(ctx: typer.Context, agent: str, as_json: Json = False) -> None:
    """Shows state and counters of an agent."""

    async def job(client: "AsterClient") -> None:
        state = await client.agent(agent).status()
        if as_json:
            show(state.message, "", as_json=True)
            return
        facts = {
            "state": state.state,
            "activity": state.activity,
            "messages": str(state.message_count),
            "steps": str(state.step_count),
            "uptime": str(state.uptime),
            "last activity": str(state.last_activity or "-"),
            "tokens": str(state.message.total_tokens),
            "cost": f"${state.message.total_cost_usd:.4f}",
            "last error": str(state.error or "-"),
        }
        columns(("agent", agent), list(facts.items()))

    run(ctx, job)


def main() -> None:
    """Entry point of the command."""
    app()
