"""What commands share: the client of one command, JSON lines, columns, one clear line for a failure.

Imports gRPC and protobuf inside functions only, so that ``aster --help`` is quick.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from aster import AsterClient, AsterError, Subscription

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line (canonical ProtoJSON).")]

# Text of models and tools goes to a terminal: without its control characters it
# can neither move the cursor nor rewrite what an approval prompt shows.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_HINTS = {
    "INVALID_CREDENTIALS": "set ASTER_API_KEY, or give --api-key",
    "AGENT_NOT_FOUND": "`aster agents list` shows what exists",
    "AGENT_ALREADY_EXISTS": "choose another id, or talk to it with `aster chat`",
    "AGENT_CLOSED": "a closed agent stays closed: make another with `aster agents create`",
    "EVENT_CURSOR_EXPIRED": "begin with --from earliest",
    "EVENT_LOG_RESET": "begin with --from earliest",
    "PROVIDER_AUTH": "set the provider's API key where the server runs",
    "REQUEST_ALREADY_RESOLVED": "`aster approvals list` shows what is still open",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """The global options; None means the client's own default."""

    address: str | None
    api_key: str | None
    tls: bool
    ca: Path | None


def run(ctx: typer.Context, job: "Callable[[AsterClient], Awaitable[None]]") -> None:
    """Runs a command's work with a client; ends the process with 1 on a failure and 130 on Ctrl-C."""
    # gRPC's core reports every closed connection on stderr; it reads this when it loads.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from aster import AsterClient, AsterError

    connection: Connection = ctx.obj
    tls = True if connection.tls else None
    client = AsterClient(connection.address, connection.api_key, tls=tls, ca=connection.ca)

    async def work() -> None:
        async with client:
            await job(client)

    try:
        asyncio.run(work())
    except AsterError as error:
        raise failure(explain(error, client.address)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def failure(line: str) -> typer.Exit:
    """Prints one line on stderr; raise what it returns, which ends the process with 1."""
    typer.echo(f"error: {clean(line)}", err=True)
    return typer.Exit(1)


def explain(error: "AsterError", address: str) -> str:
    """What went wrong and what to do about it, in one line."""
    from aster.errors import Unavailable

    if isinstance(error, Unavailable) and not error.reason:
        return f"cannot reach {address}: start it with `make run`, or set ASTER_ADDRESS"
    parts = [" ".join(str(error).split())]
    parts += [f"{violation.field}: {violation.description}" for violation in error.violations]
    if scope := error.metadata.get("scope"):
        parts.append(f"the key lacks the scope {scope}")
    if hint := _HINTS.get(error.reason):
        parts.append(hint)
    if error.retry_after:
        parts.append(f"try again in {error.retry_after:g} s")
    return "; ".join(parts)


def tell_loss(events: "Subscription", address: str) -> None:
    """Makes a subscription say on stderr that it lost the server and tries again."""

    def tell(error: "AsterError") -> None:
        typer.echo(f"connection to {address} lost, trying again: {clean(str(error))}", err=True)

    events.on_lost = tell


def clean(text: str) -> str:
    """The text without control characters, for a terminal."""
    return text.translate(_CONTROLS)


def to_json(message: "Message") -> str:
    """Canonical ProtoJSON on one line."""
    from google.protobuf.json_format import MessageToJson
    from google.rpc import error_details_pb2  # noqa: F401  # so that Any can print what errors carry

    return MessageToJson(message, indent=None, ensure_ascii=False)


def show(message: "Message", text: str, as_json: bool) -> None:
    """One result: the message as JSON, or a line for people."""
    typer.echo(to_json(message) if as_json else clean(text))


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without a frame; wide characters count double, nothing is cut off."""
    from rich.cells import cell_len

    table = [header, *([clean(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(cell_len(row[index]) for row in table) for index in range(len(header))]
    for row in table:
        line = "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def interactive() -> bool:
    """A person is there to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()
