"""AsterOS: the one file that wires all rooms together, on one exit stack."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, start_http_server

from aster.v1 import event_pb2
from asteros import clock, errors, failpoints
from asteros.config import Options
from asteros.cosmos.registry import Limits, Registry
from asteros.events.catalogue import Stamp
from asteros.events.hub import Hub
from asteros.events.log import EventLog
from asteros.events.retention import Retention
from asteros.faces import Faces
from asteros.insight.insights import Insights
from asteros.middleware.base import Middleware
from asteros.middleware.registry import MiddlewareRegistry
from asteros.providers import router
from asteros.providers.addresses import Addresses
from asteros.providers.pricing import PriceTable
from asteros.providers.registry import ProviderRegistry
from asteros.providers.router import Router
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.secrets import SecretBox
from asteros.runtime.template_files import TemplateFiles
from asteros.runtime.templates import TemplateRegistry
from asteros.sandbox import netguard
from asteros.sandbox.base import Tier
from asteros.sandbox.files import Workspace
from asteros.sandbox.sandboxes import Sandboxes
from asteros.sandbox.workspaces import Workspaces
from asteros.services.access import AccessServicer
from asteros.services.agents import AgentsServicer
from asteros.services.background import Background
from asteros.services.control import ControlServicer
from asteros.services.cosmos import CosmosServicer
from asteros.services.credentials import Credentials
from asteros.services.dashboard import DashboardServicer
from asteros.services.events import EventsServicer
from asteros.services.info import ServerServicer
from asteros.services.metrics import ServerMetrics
from asteros.services.paging import Pages
from asteros.services.server import GrpcServer, unavailable_features
from asteros.services.sessions import SessionsServicer
from asteros.services.star_steps import StarSteps
from asteros.services.stars import StarsServicer
from asteros.services.streams import Streams
from asteros.services.studio import StudioServicer
from asteros.services.templates import TemplatesServicer
from asteros.services.tls import TlsFiles
from asteros.services.tools import ToolsServicer
from asteros.services.workflows import WorkflowsServicer
from asteros.stars.folder import StarFiles
from asteros.stars.stars import Stars
from asteros.stars.strategies import Strategies
from asteros.stars.teams import Teams
from asteros.stores.base import DEFAULT_TENANT
from asteros.stores.sqlite import SqliteStore
from asteros.tools import mcp_config
from asteros.tools.installed import Installed
from asteros.tools.mcp_config import McpServer
from asteros.tools.registry import ToolRegistry
from asteros.workflows.actions import Function
from asteros.workflows.catalog import Catalog
from asteros.workflows.expressions import Expressions
from asteros.workflows.runs import Workflows
from asteros.workflows.schedules import Schedules

_log = logging.getLogger(__name__)
_PROBE_DELAY = 1.0  # seconds after the start
Hook = Callable[[], Awaitable[None]]
_STOP_GRACE = 2.0  # seconds for RPCs to take their last message


class AsterOS:
    """A server. ``start``, then ``wait_for_signal`` or ``stop``; or ``serve`` for all of it."""

    def __init__(
        self,
        options: Options,
        *,
        tools: ToolRegistry | None = None,
        middlewares: Sequence[type[Middleware]] = (),
        functions: Mapping[str, Function] | None = None,
    ) -> None:
        """``middlewares``: kinds beside the built-in ones and those of installed packages.
        ``functions``: what workflow steps of kind function may name."""
        self.options = options.check()
        self.grpc_port = 0
        self.http_port = 0
        self.studio_port = 0
        self.metrics_port = 0
        self._tools = tools
        self._middlewares = tuple(middlewares)
        self._functions = dict(functions or {})
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
        self._credentials = await self._access(store)

        hub = Hub()
        hub.start()
        self._stack.push_async_callback(hub.aclose)
        log = EventLog(store, hub)
        await log.start()
        self._stack.push_async_callback(log.aclose)

        providers = ProviderRegistry(
            options.scripts_dir,
            os.environ,
            router=Router(options.routes or router.PACKAGED),
            addresses=self._addresses(),
        )
        self._stack.push_async_callback(providers.aclose)
        prices = PriceTable(own=options.prices)
        self._insights = Insights(store.insights(), store, hub, prices)
        await self._insights.start()
        self._stack.push_async_callback(self._insights.aclose)
        workspaces = self._workspaces()
        tools = await self._installed()
        self._stack.push_async_callback(tools.aclose)
        self._teams = Teams(store, Strategies.installed())
        folder = self._discovered(options.templates_dir)
        deps = Dependencies(
            store=store,
            log=log,
            providers=providers,
            prices=prices,
            tools=tools.registry,
            templates=TemplateRegistry(more=TemplateFiles(folder) if folder is not None else None),
            middlewares=MiddlewareRegistry.installed(*self._middlewares),
            secrets=SecretBox.of(options.data_dir / "secret.key"),
            open_workspace=workspaces.open,
            remove_workspace=workspaces.remove,
            sandboxes=self._sandboxes,
            teams=self._teams,
        )
        limits = Limits(options.max_agents, options.max_awake_agents, options.idle_seconds)
        self._registry = Registry(deps, limits)
        self._teams.bind(self._registry)
        self._stars = Stars(self._registry, self._teams.strategies)
        self._background = Background()
        self._stack.push_async_callback(self._background.aclose)
        retention = Retention(store, options.retention_days, options.retention_events)
        retention.start()
        self._stack.push_async_callback(retention.aclose)

        self._open_workflows(store, hub)
        await self._registry.settle()
        await self._serve(store, log, hub)
        tools.start()
        await self._registry.start()
        self._background.start(self._registry.resume())
        await self._workflows.start()
        await self._schedules.start()
        self._background.start(self._teams.resume())
        if (stars_dir := self._discovered(options.stars_dir)) is not None:
            files = StarFiles(stars_dir, self._stars)
            files.start()
            self._stack.push_async_callback(files.aclose)

    def _open_workflows(self, store: SqliteStore, hub: Hub) -> None:
        """What there is to run in order; ``start`` takes up what was in progress."""
        expressions = Expressions()
        catalog = Catalog(
            store.workflows(),
            expressions,
            self._functions,
            self._discovered(self.options.workflows_dir),
            self._registry.resources.ring,
        )
        self._workflows = Workflows(
            store.workflows(),
            self._registry,
            catalog,
            expressions,
            functions=self._functions,
            stars=StarSteps(self._stars, self._teams, hub),
        )
        self._schedules = Schedules(self._workflows)
        self._stack.push_async_callback(self._workflows.aclose)
        self._stack.push_async_callback(self._schedules.aclose)

    def _discovered(self, folder: Path | None) -> Path | None:
        """A folder whose files are taken up by themselves, where that is wanted."""
        return folder if self.options.auto_discover else None

    def _workspaces(self) -> Workspaces:
        """Where agents work, and the boxes around their commands."""
        options = self.options
        roots = [Path(text) for text in options.workspace_roots.split(os.pathsep) if text]
        workspaces = Workspaces(
            options.data_dir / "workspaces",
            roots,
            uid_base=options.sandbox_uid_base,
            quota=options.workspace_quota,
        )
        self._sandboxes = Sandboxes(
            workspaces,
            min_tier=Tier(options.sandbox_min_tier),
            allow_unsandboxed=options.allow_unsandboxed,
            cidrs=self._open_networks(),
        )
        return workspaces

    async def _serve(self, store: SqliteStore, log: EventLog, hub: Hub) -> None:
        """Puts the gRPC server in front."""
        self._streams = Streams(self._registry, log)
        pages = Pages(store.secret)
        servicers: dict[str, object] = {
            "AgentService": AgentsServicer(self._registry, self._streams, pages, self._background),
            "SessionService": SessionsServicer(self._registry, pages),
            "EventService": EventsServicer(self._registry, self._streams, pages),
            "ControlService": ControlServicer(self._registry, self._workflows, pages),
            "TemplateService": TemplatesServicer(self._registry.deps.templates, pages),
            "ToolService": ToolsServicer(self._registry.deps.tools, pages),
            "CosmosService": CosmosServicer(self._registry, hub, pages),
            "StarsService": StarsServicer(self._stars, self._teams, self._streams, pages, self._background),
            "DashboardService": DashboardServicer(self._registry, self._insights, pages),
            "WorkflowService": WorkflowsServicer(self._workflows, self._schedules, self._streams, pages),
            "StudioService": StudioServicer(self._registry.remotes, pages),
            "AccessService": AccessServicer(store, self._credentials, pages),
        }
        servicers["ServerService"] = ServerServicer(
            self.options.name,
            store.kind,
            ["grpc", "http"] if Faces.wanted(self.options) else ["grpc"],
            self._sandboxes,
            unavailable_features(servicers),
        )
        metrics = CollectorRegistry()
        ServerMetrics(metrics, log, hub, self._registry)
        self._grpc = GrpcServer(servicers, self._credentials, self._exists, metrics)
        self._listen()
        self._serve_metrics(metrics)
        self._faces = self._open_faces(metrics)
        await self._grpc.server.start()
        await self._grpc.set_serving(True)
        if self._faces is not None:
            self._faces.start()

    def _open_faces(self, metrics: CollectorRegistry) -> "Faces | None":
        if not Faces.wanted(self.options):
            return None
        faces = Faces(self.options, self._credentials, metrics)
        self._stack.push_async_callback(faces.aclose)
        faces.listen(self._grpc)
        self.http_port, self.studio_port = faces.http_port, faces.studio_port
        return faces

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
        if self.options.metrics_port < 0 or not self.options.enable_metrics:
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

    def _addresses(self) -> Addresses:
        """Where callers may send model calls. A model server on this machine works at once, but
        only while no authentication is configured (security, part 9)."""
        local = () if self._credentials.enabled else ("127.0.0.0/8", "::1/128")
        allowed = (*self._open_networks(), *netguard.networks(local))
        return Addresses(
            lambda host, port, field: netguard.resolve(host, port, allowed, field=field),
            allowed,
        )

    def _open_networks(self) -> tuple[netguard.Network, ...]:
        try:
            return netguard.networks(text for text in self.options.allow_url_cidr.split(",") if text.strip())
        except ValueError as error:
            raise errors.ConfigError(f"--allow-url-cidr: {error}") from None

    async def _installed(self) -> Installed:
        """The tools agents may have; the MCP servers among them are not connected yet."""
        return await Installed.of(
            networks=self._open_networks(),
            search=self.options.search_backend,
            skills=self._skills(),
            servers=self._mcp_servers(),
            registry=self._tools,
        )

    def _skills(self) -> Workspace | None:
        folder = self.options.skills_dir
        if folder is None:
            return None
        try:
            skills = Workspace(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise errors.ConfigError(f"--skills-dir {folder}: {error.strerror}") from None
        self._stack.callback(skills.close)
        return skills

    def _mcp_servers(self) -> tuple[McpServer, ...]:
        file = self.options.mcp_config
        if file is None:
            return ()
        try:
            return mcp_config.parse(file.read_text(encoding="utf-8"), os.environ)
        except OSError as error:
            raise errors.ConfigError(f"--mcp-config {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise errors.ConfigError(f"--mcp-config {file}: not UTF-8 text") from None

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
        star_id = getattr(request, "star_id", "")
        if star_id and "Star" in method and method != "CreateStar":
            await self._stars.get(tenant, star_id)
        await self._workflow_exists(tenant, method, request)

    async def _workflow_exists(self, tenant: str, method: str, request: Message) -> None:
        workflow_id, run_id = getattr(request, "workflow_id", ""), getattr(request, "run_id", "")
        if run_id:
            await self._workflows.row(tenant, workflow_id, run_id)
        elif workflow_id and workflow_id != "-" and method != "CreateWorkflow":
            await self._workflows.catalog.get(tenant, workflow_id)

    # -- serving ------------------------------------------------------------------------

    async def serve(self, started: Hook | None = None, stopping: Hook | None = None) -> None:
        """Starts, says so, serves until a signal comes, and stops in order.

        ``started`` is awaited before it is announced, ``stopping`` before it stops."""
        await self.start()
        if started is not None:
            await started()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        probing = asyncio.create_task(self._probe_sandbox(), name="sandbox probe")
        self._announce()  # last: whoever reads the ready file may stop us
        await self._signalled.wait()
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        if stopping is not None:
            await stopping()
        await self.stop()

    async def report(self, agent_id: str, text: str) -> None:
        """Tells of a failure that is not the agent's own, as monitor.error in its log."""
        error = errors.AsterError(text).status()
        raised = event_pb2.ErrorRaised(error=error, severity="error", phase="system", context=text)
        async with self._registry.agent(DEFAULT_TENANT, agent_id) as agent:
            await agent.journal.write([Stamp(agent_id).event(raised)])

    async def _probe_sandbox(self) -> None:
        """Logs the tier, unless a command has asked before; not while the server starts."""
        await clock.sleep(_PROBE_DELAY)
        await self._sandboxes.found()

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
        where = f"on {self.http_url}, gRPC on" if self.http_port else "with gRPC on"
        _log.info("🌟 AsterOS '%s' is running %s %s, metrics on %s", options.name, where, address, metrics)
        if options.log_format == "text":
            prefix = "" if self.grpc_port == 50051 else f"ASTER_ADDRESS={address} "
            print(f'\n  Try it:  {prefix}.venv/bin/aster chat -m "write notes.txt: hello"')
            if self.http_port:
                print(f"           curl {self.http_url}{options.api_prefix}/agents")
            print(flush=True)

    @property
    def http_url(self) -> str:
        """Where HTTP is, for people on this machine."""
        options = self.options
        scheme = "http" if options.tls_cert is None else "https"
        host = "localhost" if options.loopback else options.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.http_port}"

    def _ports(self) -> Mapping[str, int]:
        return {
            "grpc_port": self.grpc_port,
            "http_port": self.http_port,
            "studio_port": self.studio_port,
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
        self._registry.resources.drain()
        self._registry.remotes.end_all(errors.Draining())
        if self._faces is not None:
            self._faces.drain()
        await self._schedules.aclose()
        await self._workflows.aclose()  # runs stay as they are stored; their turns may end
        await failpoints.reach("drain.mid")
        await self._turns_end()
        if self._faces is not None:
            await self._faces.stop(0.2 if self._hurry.is_set() else _STOP_GRACE)
        self._registry.close_door()
        await self._teams.aclose()
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


def _write_ready(path: Path, ports: Mapping[str, int]) -> None:
    """Written aside and renamed: who sees the file sees all of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(ports) + "\n", encoding="utf-8")
    aside.replace(path)
