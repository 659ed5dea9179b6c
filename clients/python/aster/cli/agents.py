"""``aster agents``: what exists, making and ending it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aster.cli.output import Json, columns, run, show

if TYPE_CHECKING:
    from aster import Agent, AsterClient
    from aster.v1.agent_pb2 import Agent as AgentInfo

app = typer.Typer(help="List, create, show, start, close and delete agents.", no_args_is_help=True)
_HEADER = ("AGENT", "STATE", "ACTIVITY", "TEMPLATE", "MODEL")


@app.command("list")
def list_(
    ctx: typer.Context,
    template: Annotated[str, typer.Option(help="Only agents of this template.")] = "",
    prefix: Annotated[str, typer.Option(help="Only ids that begin so.")] = "",
    as_json: Json = False,
) -> None:
    """Lists agents by id."""

    async def job(client: "AsterClient") -> None:
        rows = []
        async for agent in client.list_agents(template_id=template, id_prefix=prefix):
            info = _info(agent)
            if as_json:
                show(info, "", as_json=True)
            else:
                rows.append(_row(info))
        if not as_json:
            columns(_HEADER, rows)

    run(ctx, job)


@app.command()
def create(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(help="Wanted id; without it the server makes one.")] = "",
    template: Annotated[str, typer.Option(help="Template to start from.")] = "assistant",
    model: Annotated[str, typer.Option(help="Model; else the template's.")] = "",
    provider: Annotated[str, typer.Option(help="Provider of the model; else judged by its name.")] = "",
    tool: Annotated[list[str] | None, typer.Option(help="Tool or group of tools; may be repeated.")] = None,
    permission: Annotated[list[str] | None, typer.Option(help="TOOL=allow|ask|deny; may be repeated.")] = None,
    system_prompt: Annotated[str, typer.Option(help="Replaces the template's prompt.")] = "",
    name: Annotated[str, typer.Option(help="Name to show.")] = "",
    as_json: Json = False,
) -> None:
    """Creates an agent."""
    permissions = dict(_permission(text) for text in permission or ())

    async def job(client: "AsterClient") -> None:
        made = await client.create_agent(
            template,
            agent_id=agent,
            display_name=name,
            model=model,
            provider=provider,
            tools=tool or (),
            tool_permissions=permissions,
            system_prompt=system_prompt,
        )
        show(_info(made), f"created {made.id}", as_json)

    run(ctx, job)


@app.command("show")
def show_(ctx: typer.Context, agent: str, as_json: Json = False) -> None:
    """Shows one agent."""

    async def job(client: "AsterClient") -> None:
        info = _info(await client.get_agent(agent))
        if as_json:
            show(info, "", as_json=True)
        else:
            columns(_HEADER, [_row(info)])

    run(ctx, job)


@app.command()
def start(ctx: typer.Context, agent: str, as_json: Json = False) -> None:
    """Loads or wakes an agent now."""

    async def job(client: "AsterClient") -> None:
        handle = client.agent(agent)
        await handle.start()
        show(_info(handle), f"started {agent}", as_json)

    run(ctx, job)


@app.command()
def close(ctx: typer.Context, agent: str, as_json: Json = False) -> None:
    """Closes an agent for good; its history stays."""

    async def job(client: "AsterClient") -> None:
        handle = client.agent(agent)
        await handle.close()
        show(_info(handle), f"closed {agent}", as_json)

    run(ctx, job)


@app.command()
def delete(
    ctx: typer.Context,
    agent: str,
    force: Annotated[bool, typer.Option("--force", help="Also while a turn is in progress.")] = False,
    as_json: Json = False,
) -> None:
    """Deletes an agent with its sessions and events."""

    async def job(client: "AsterClient") -> None:
        from aster.v1.agent_pb2 import Agent as AgentInfo

        await client.delete_agent(agent, force=force)
        show(AgentInfo(id=agent), f"deleted {agent}", as_json)

    run(ctx, job)


def _permission(text: str) -> tuple[str, Any]:
    from aster import PermissionPolicy

    tool, _, policy = text.partition("=")
    policies = {"allow": PermissionPolicy.ALLOW, "ask": PermissionPolicy.ASK, "deny": PermissionPolicy.DENY}
    if policy not in policies:
        raise typer.BadParameter(f"{text!r} is not TOOL=allow, TOOL=ask or TOOL=deny")
    return tool, policies[policy]


def _info(agent: "Agent") -> "AgentInfo":
    assert agent.info is not None, "the handle comes from a call that describes the agent"
    return agent.info


def _row(info: "AgentInfo") -> tuple[str, ...]:
    from aster.results import AgentStatus

    status = AgentStatus(info.status)
    template = "(remote)" if info.HasField("remote") else info.config.template_id
    return info.id, status.state, status.activity, template, info.config.model_config.model or info.remote.model
