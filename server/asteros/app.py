"""AsterOS: the one file that wires all rooms together, on one exit stack."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, start_http_server

from asteros import errors, middleware
from asteros.config import Options
from asteros.cosmos.registry import Limits, Registry
from asteros.events.hub import Hub
from asteros.events.log import EventLog
from asteros.events.retention import Retention
from asteros.providers.pricing import PriceTable
from asteros.providers.registry import ProviderRegistry
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.secrets import SecretBox
from asteros.runtime.templates import TemplateRegistry
from asteros.sandbox.files import Workspace
from asteros.services.access import AccessServicer
from asteros.services.agents import AgentsServicer
from asteros.services.background import Background
from asteros.services.control import ControlServicer
from asteros.services.credentials import Credentials
from asteros.services.events import EventsServicer
from asteros.services.info import ServerServicer
from asteros.services.metrics import ServerMetrics
from asteros.services.paging import Pages
from asteros.services.server import GrpcServer, unavailable_features
from asteros.services.sessions import SessionsServicer
from asteros.services.streams import Streams
from asteros.services.tls import TlsFiles
from asteros.stores.base import DEFAULT_TENANT
from asteros.stores.sqlite import SqliteStore
from asteros.tools.registry import ToolRegistry

_log = logging.getLogger(__name__)
# Settings of an agent that are stored and have no effect in this version.
_UNAVAILABLE = ("routing_profiles", "sandbox", "watch_files")
_STOP_GRACE = 2.0  # seconds for RPCs to take their last message


class AsterOS:
    """A server. ``start``, then ``wait_for_signal`` or ``stop``; or ``serve`` for all of it."""

    def __init__(self, options: Options, *, tools: ToolRegistry | None = None) -> None:
        self.options = options.check()
        self.grpc_port = 0
        self.metrics_port = 0
        self._tools = tools or ToolRegistry.builtin()
        self._stack = contextlib.AsyncExitStack()
        self._signalled = asyncio.Event()
        self._hurry = asyncio.Event()

    # -- life -----------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the store, resumes unfinished turns and serves.

        :raises RefusedToStart: it would be unsafe, or the data directory is in use."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        options = self.options
        store = SqliteStore(options.data_dir, durability=options.durability)
        await store.open()
        self._stack.push_async_callback(store.aclose)
        await store.settle()
        self._credentials = await self._access(store)

        hub = Hub()
        hub.start()
        self._stack.push_async_callback(hub.aclose)
        log = EventLog(store, hub)
        await log.start()
        self._stack.push_async_callback(log.aclose)

        providers = ProviderRegistry(options.scripts_dir, os.environ)
        self._stack.push_async_callback(providers.aclose)
        workspaces = _Workspaces(options.data_dir / "workspaces")
        deps = Dependencies(
            store=store,
            log=log,
            providers=providers,
            prices=PriceTable(),
            tools=self._tools,
            templates=TemplateRegistry(),
            secrets=SecretBox.of(options.data_dir / "secret.key"),
            open_workspace=workspaces.open,
            remove_workspace=workspaces.remove,
        )
        limits = Limits(options.max_agents, options.max_awake_agents, options.idle_seconds)
        self._registry = Registry(deps, limits)
        self._background = Background()
        self._stack.push_async_callback(self._background.aclose)
        retention = Retention(store, options.retention_days, options.retention_events)
        retention.start()
        self._stack.push_async_callback(retention.aclose)

        await self._serve(store, log, hub)
        await self._registry.start()
        self._background.start(self._registry.resume())

    async def _serve(self, store: SqliteStore, log: EventLog, hub: Hub) -> None:
        """Puts the gRPC server in front."""
        self._streams = Streams(self._registry, log)
        pages = Pages(store.secret)
        servicers: dict[str, object] = {
            "AgentService": AgentsServicer(self._registry, self._streams, pages, self._background),
            "SessionService": SessionsServicer(self._registry, pages),
            "EventService": EventsServicer(self._registry, self._streams, pages),
            "ControlService": ControlServicer(self._registry, pages),
            "AccessService": AccessServicer(store, self._credentials, pages),
        }
        servicers["ServerService"] = ServerServicer(
            self.options.name,
            store.kind,
            ["grpc"],
            [*unavailable_features(servicers), *middleware.unavailable(), *_UNAVAILABLE],
        )
        metrics = CollectorRegistry()
        ServerMetrics(metrics, log, hub, self._registry)
        self._grpc = GrpcServer(servicers, self._credentials, self._exists, metrics)
        self._listen()
        self._serve_metrics(metrics)
        await self._grpc.server.start()
        await self._grpc.set_serving(True)

    def _listen(self) -> None:
        options = self.options
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{options.grpc_port}"
        try:
            if options.tls_cert is not None and options.tls_key is not None:
                files = TlsFiles(options.tls_cert, options.tls_key, options.tls_client_ca)
                self.grpc_port = self._grpc.server.add_secure_port(address, files.credentials())
            else:
                self.grpc_port = self._grpc.server.add_insecure_port(address)
        except RuntimeError:
            raise errors.RefusedToStart(
                f"{address}: the port is in use, or the address is not this machine's; "
                "choose another with --grpc-port or --host"
            ) from None

    def _serve_metrics(self, metrics: CollectorRegistry) -> None:
        if self.options.metrics_port < 0:
            return
        try:
            server, thread = start_http_server(self.options.metrics_port, "127.0.0.1", metrics)
        except OSError:
            raise errors.RefusedToStart(
                f"127.0.0.1:{self.options.metrics_port}: the port is in use; choose another with --metrics-port"
            ) from None
        self.metrics_port = server.server_port
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)

    async def _access(self, store: SqliteStore) -> Credentials:
        """Who may call: the table of safe defaults (security, part 1)."""
        options = self.options
        stored = bool(await store.keys(DEFAULT_TENANT, "", 1))
        enabled = bool(options.api_key) or options.enable_auth or stored
        if enabled and not (options.api_key or stored):
            raise errors.RefusedToStart(
                "authentication is on and there is no key; make one with `asteros keys create NAME`, or set --api-key"
            )
        if not enabled and not options.loopback and not options.insecure_no_auth:
            raise errors.RefusedToStart(
                f"{options.host} can be reached from outside and no authentication is configured; make a key with "
                "`asteros keys create NAME`, or listen on 127.0.0.1, or accept the danger with --insecure-no-auth"
            )
        if enabled and not options.loopback and options.tls_cert is None and not options.insecure_plaintext:
            raise errors.RefusedToStart(
                f"{options.host} can be reached from outside and keys would travel in plain text; set --tls-cert and "
                "--tls-key, or listen on 127.0.0.1, or accept it with --insecure-plaintext (TLS ends at a proxy)"
            )
        if not enabled and not options.loopback:
            _log.warning("ANYONE who can reach %s may use this server: authentication is off", options.host)
        return Credentials(store, enabled=enabled, api_key=options.api_key)

    async def _exists(self, tenant: str, method: str, request: Message) -> None:
        """Raises NotFound when a bad request names an agent or a session that is not there."""
        named = request.agent if method == "UpdateAgent" else request  # type: ignore[attr-defined]
        agent_id = getattr(named, "id" if method == "UpdateAgent" else "agent_id", "")
        if agent_id and method != "CreateAgent":
            await self._registry.row(tenant, agent_id)
        session_id = getattr(request, "session_id", "")
        new = method == "CreateSession"
        if session_id and not new and await self._registry.deps.store.session(tenant, session_id) is None:
            raise errors.SessionNotFound(session_id)

    # -- serving ------------------------------------------------------------------------

    async def serve(self) -> None:
        """Starts, says so, serves until a signal comes, and stops in order."""
        await self.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        self._announce()  # last: whoever reads the ready file may stop us
        await self._signalled.wait()
        await self.stop()

    def _on_signal(self) -> None:
        if self._signalled.is_set():
            self._hurry.set()
        self._signalled.set()

    def _announce(self) -> None:
        options = self.options
        address = f"{options.host}:{self.grpc_port}"
        if options.ready_file is not None:
            _write_ready(options.ready_file, self._ports())
        metrics = f"127.0.0.1:{self.metrics_port}" if self.metrics_port else "off"
        _log.info("🌟 AsterOS '%s' is running: gRPC on %s, metrics on %s", options.name, address, metrics)
        if options.log_format == "text":
            prefix = "" if self.grpc_port == 50051 else f"ASTER_ADDRESS={address} "
            print(f'\n  Try it:  {prefix}.venv/bin/aster chat -m "write notes.txt: hello"\n', flush=True)

    def _ports(self) -> Mapping[str, int]:
        return {
            "grpc_port": self.grpc_port,
            "http_port": 0,
            "studio_port": 0,
            "metrics_port": self.metrics_port,
            "pid": os.getpid(),
        }

    async def stop(self) -> None:
        """Drains (guarantee T3): no new work, streams end with their cursor, turns end, then all closes.

        A second signal skips the waiting."""
        await self._grpc.set_serving(False)
        self._grpc.limits.draining = True
        self._streams.draining = True
        self._streams.hub.end_all(errors.Draining())
        await self._turns_end()
        await self._registry.aclose()
        await self._grpc.server.stop(0.2 if self._hurry.is_set() else _STOP_GRACE)
        await self._stack.aclose()
        if self.options.ready_file is not None:
            self.options.ready_file.unlink(missing_ok=True)
        _log.info("stopped")

    async def _turns_end(self) -> None:
        idle = asyncio.create_task(self._registry.idle())
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait((idle, hurry), timeout=self.options.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            hurry.cancel()
            await asyncio.gather(idle, hurry, return_exceptions=True)


class _Workspaces:
    """One folder per agent, by its number in the store, or the folder its config names."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, agent_key: int, work_dir: str) -> Workspace:
        return Workspace.open(self._root / "named" / work_dir if work_dir else self._own(agent_key))

    def remove(self, agent_key: int) -> None:
        shutil.rmtree(self._own(agent_key), ignore_errors=True)

    def _own(self, agent_key: int) -> Path:
        return self._root / "agents" / str(agent_key)


def _write_ready(path: Path, ports: Mapping[str, int]) -> None:
    """Written aside and renamed: who sees the file sees all of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(ports) + "\n", encoding="utf-8")
    aside.replace(path)
