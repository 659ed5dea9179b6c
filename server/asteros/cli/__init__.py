"""The command `asteros`: serve, doctor, bridge, and keys."""

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from asteros import __version__, failpoints
from asteros.config import OneLineParser, add_flags, options_from
from asteros.errors import AsterError, ConfigError, RefusedToStart

EXIT_USAGE = 2
EXIT_REFUSED = 78  # sysexits.h EX_CONFIG: starting would be unsafe


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    except ConfigError as error:
        print(f"asteros: {error}", file=sys.stderr)
        return EXIT_USAGE
    except RefusedToStart as error:
        print(f"asteros: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except AsterError as error:
        print(f"asteros: {error.text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _main(arguments: Sequence[str]) -> int:
    parser = OneLineParser(prog="asteros", description="AsterOS: a gRPC control plane for AI agents.")
    parser.add_argument("--version", action="version", version=f"asteros {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    serve = commands.add_parser("serve", help="run the server", description="Runs the server.")
    add_flags(serve)
    serve.set_defaults(run=_serve)
    doctor = commands.add_parser(
        "doctor",
        help="try what this machine offers",
        description="Tries what this machine offers a server with these options; 1 when something is missing.",
    )
    doctor.add_argument("--json", action="store_true", help="print a JSON list")
    add_flags(doctor)
    doctor.set_defaults(run=_doctor)
    _add_bridge(commands)
    _add_keys(commands)
    flags = parser.parse_args(arguments)
    code: int = flags.run(flags)
    return code


def _serve(flags: argparse.Namespace) -> int:
    options = options_from(flags, os.environ)
    failpoints.install(os.environ)
    # Programs are started and never forked on: gRPC need not prepare for it, nor speak of it at each one.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from asteros.app import AsterOS
    from asteros.cli import logs

    logs.configure(options.log_format, options.log_level)
    _raise_file_limit()

    async def run() -> None:
        await AsterOS(options).serve()

    try:
        import uvloop
    except ImportError:
        asyncio.run(run())
    else:
        uvloop.run(run())
    return 0


def _doctor(flags: argparse.Namespace) -> int:
    options = options_from(flags, os.environ)
    from asteros.cli import doctor

    return doctor.run(options, flags)


def _raise_file_limit() -> None:
    """One socket a client: as many as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- bridge ----------------------------------------------------------------------


def _add_bridge(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    about = "Serves any gRPC server with reflection over HTTP, by the annotations google.api.http of its methods."
    parser = commands.add_parser("bridge", help="HTTP in front of any gRPC server", description=about)
    parser.add_argument("--upstream", metavar="HOST:PORT", required=True, help="the gRPC server; it needs reflection")
    parser.add_argument("--host", default="127.0.0.1", metavar="TEXT", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="port; 0: a free one (8080)")
    parser.add_argument("--tls", action="store_true", help="the server speaks TLS")
    parser.add_argument("--tls-ca", type=Path, metavar="PATH", help="its authorities, PEM, in place of the system's")
    parser.add_argument("--api-key", default="", metavar="TEXT", help="key for its reflection; callers send their own")
    parser.add_argument("--api-prefix", default="/api", metavar="TEXT", help="stands for /api in Aster's routes")
    parser.add_argument("--allowed-hosts", default="", metavar="NAMES", help="names, by comma, besides localhost")
    parser.set_defaults(run=_bridge)


def _bridge(flags: argparse.Namespace) -> int:
    from asteros.cli import bridge

    return bridge.run(flags)


# -- keys ------------------------------------------------------------------------


def _add_keys(commands: "argparse._SubParsersAction[OneLineParser]") -> None:
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key; its text is printed once")
    create.add_argument("name", help="who it is for; shown as decided_by")
    create.add_argument("--scope", action="append", metavar="SCOPE", help="repeat it; default: all scopes")
    create.add_argument("--days", type=float, metavar="N", help="days after which it ends by itself")
    actions.add_parser("list", help="list keys, without their text")
    revoke = actions.add_parser("revoke", help="end a key")
    revoke.add_argument("id", help="the id shown by list")
    for action in actions.choices.values():
        action.add_argument(
            "--data-dir", type=Path, default=Path(os.environ.get("ASTER_DATA_DIR", ".aster")), metavar="DIR"
        )
    keys.set_defaults(run=_keys)


def _keys(flags: argparse.Namespace) -> int:
    from asteros.cli import keys

    asyncio.run(keys.run(flags.action, flags))
    return 0


if __name__ == "__main__":
    sys.exit(main())
