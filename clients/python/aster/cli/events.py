"""``aster events``: the log, live and from the past."""

from typing import TYPE_CHECKING, Annotated

import typer

from aster.cli.output import Json, clean, run, tell_loss, to_json

if TYPE_CHECKING:
    from aster import AsterClient, EventView, SubscribeOptions

app = typer.Typer(help="Watch what agents do.", no_args_is_help=True)


@app.command()
def tail(
    ctx: typer.Context,
    agent: Annotated[list[str] | None, typer.Argument(help="Agents to watch; none: all.")] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="progress, control or monitor; may be repeated; else all.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help='Type, "progress.*" or an alias; may be repeated.')
    ] = None,
    begin: Annotated[str, typer.Option("--from", help="earliest, now, or the cursor of a frame.")] = "now",
    until_complete: Annotated[bool, typer.Option("--until-complete", help="End with the turn.")] = False,
    as_json: Json = False,
) -> None:
    """Prints events as they happen; goes on where it was after a lost connection."""
    if unknown := set(channel or ()) - {"progress", "control", "monitor"}:
        raise typer.BadParameter(f"no channel {', '.join(sorted(unknown))}: use progress, control or monitor")

    async def job(client: "AsterClient") -> None:
        from aster import EventView

        options: SubscribeOptions = {"event_types": kind or [], "until_turn_complete": until_complete}
        if begin == "earliest":
            options["start"] = "earliest"
        elif begin != "now":
            options["cursor"] = begin
        async with client.subscribe(agent or (), channel or (), **options) as events:
            tell_loss(events, client.address)
            async for frames in events.batches():
                typer.echo("\n".join(to_json(frame) if as_json else _line(EventView(frame)) for frame in frames))

    run(ctx, job)


def _line(event: "EventView") -> str:
    if event.is_gap:
        gap = event.frame.gap
        place = f"{event.agent_id} #{gap.first_sequence} to #{gap.last_sequence}"
        return clean(f"-- {gap.dropped_count} events left out: {place} {event.channel}")
    time = event.timestamp.astimezone().strftime("%H:%M:%S") if event.timestamp else "--:--:--"
    body = to_json(event.payload) if event.payload is not None else ""
    return clean(f"{time} {event.agent_id} #{event.sequence} {event.type} {body}".rstrip())
