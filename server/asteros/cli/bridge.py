"""`asteros bridge`: HTTP in front of any gRPC server with reflection."""

import argparse
import asyncio
import signal

import grpc

from asteros.bridge import paths
from asteros.bridge.app import Bridge
from asteros.bridge.bindings import BindingError, Service, Style
from asteros.bridge.options import Metadata, Options
from asteros.bridge.reflection import ReflectionError, discover
from asteros.bridge.serve import Port
from asteros.errors import ConfigError, RefusedToStart
from asteros.faces import CONTRACT

_STOP_SECONDS = 5.0  # that requests may take to end
_CONNECT_SECONDS = 10.0  # that the server may take to answer at the start
_EVENTS = "aster.v1.EventService"
_ASTER = "aster."  # services whose errors and streams have this project's own form


def run(flags: argparse.Namespace) -> int:
    """Serves until a signal comes; the exit code."""
    asyncio.run(_run(flags))
    return 0


async def _run(flags: argparse.Namespace) -> None:
    async with _channel(flags) as channel:
        app = await _bridge(channel, flags)
        try:
            port = Port(app, flags.host, flags.port)
        except OSError:
            raise RefusedToStart(f"{flags.host}:{flags.port}: the port is in use; choose another with --port") from None
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        port.start()
        print(f"bridge to {flags.upstream} on http://{flags.host}:{port.number}", flush=True)
        await stopped.wait()
        app.drain.begin()
        await port.stop(_STOP_SECONDS)


def _channel(flags: argparse.Namespace) -> grpc.aio.Channel:
    if not flags.tls:
        return grpc.aio.insecure_channel(flags.upstream)
    try:
        roots = flags.tls_ca.read_bytes() if flags.tls_ca else None
    except OSError as error:
        raise ConfigError(f"--tls-ca {flags.tls_ca}: {error.strerror}") from None
    return grpc.aio.secure_channel(flags.upstream, grpc.ssl_channel_credentials(roots))


async def _bridge(channel: grpc.aio.Channel, flags: argparse.Namespace) -> Bridge:
    metadata: Metadata = (("authorization", f"Bearer {flags.api_key}"),) if flags.api_key else ()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await discover(channel, metadata)
        offered = [Service(each, _style(each.full_name)) for each in found]
        names = frozenset(name.strip().lower() for name in flags.allowed_hosts.split(",") if name.strip())
        known = CONTRACT if any(each.full_name == _EVENTS for each in found) else {}
        options = Options(
            name=flags.upstream,
            prefix=flags.api_prefix,
            error_domain="bridge",
            hosts=names,
            connect=paths.available(),
            **known,
        )
        return Bridge(channel, offered, options)
    except TimeoutError:
        raise RefusedToStart(f"{flags.upstream}: no answer within {_CONNECT_SECONDS:.0f} s") from None
    except (ReflectionError, BindingError) as error:
        raise RefusedToStart(f"{flags.upstream}: {error}") from None


def _style(service: str) -> Style:
    return "aster" if service.startswith(_ASTER) else "gateway"
