"""AsterOS in a program of your own: what seed 002 shows, in Python.

    cosmos = Cosmos(max_agents=10)
    system = AsterOS(Options(name="MyAsterOS", port=8080, cosmos=cosmos))
    system.register_agent("chat-agent", AgentConfig(template_id="chat"))
    asyncio.run(system.serve())

The server is that of ``asteros serve``. What is registered here is created when it
starts, over its own gRPC face, so every rule holds as for any caller; it is stored, and
the next start finds it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    cosmos_service_pb2,
    cosmos_service_pb2_grpc,
    stars_service_pb2,
    stars_service_pb2_grpc,
    workflow_pb2,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from asteros import app, clock, config
from asteros.errors import ConfigError

_log = logging.getLogger(__name__)
RETRY = 0.5  # seconds until a watch that broke off is opened again


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosmos:
    """Where the agents live, and how many there may be."""

    data_dir: Path = Path(".aster")
    max_agents: int = 0  # registered and not closed; 0: no limit
    max_awake_agents: int = 0  # in memory; 0: no limit
    idle_seconds: float = 300.0  # after which one leaves memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of seed 002. ``settings``: any other option of ``asteros serve``, by its name."""

    name: str = "AsterOS"
    port: int = 8080  # of HTTP
    cosmos: Cosmos | None = None  # required
    api_prefix: str = "/api"
    auto_discover: bool = True
    enable_cors: bool = True
    enable_auth: bool = False
    enable_metrics: bool = True
    enable_health: bool = True
    enable_logging: bool = True
    api_key: str = ""
    log_level: str = "info"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> config.Options:
        """The options of the server.

        :raises ConfigError: ``cosmos is required``, ``invalid port number``, or what the server finds wrong."""
        if self.cosmos is None:
            raise ConfigError("cosmos is required")
        if not 1 <= self.port <= 65535:
            raise ConfigError("invalid port number")
        given: dict[str, Any] = {
            "name": self.name,
            "http_port": self.port,
            "data_dir": self.cosmos.data_dir,
            "max_agents": self.cosmos.max_agents,
            "max_awake_agents": self.cosmos.max_awake_agents,
            "idle_seconds": self.cosmos.idle_seconds,
            "api_prefix": self.api_prefix,
            "auto_discover": self.auto_discover,
            "enable_cors": self.enable_cors,
            "enable_auth": self.enable_auth,
            "enable_metrics": self.enable_metrics,
            "enable_health": self.enable_health,
            "api_key": self.api_key,
            "log_level": self.log_level,
        }
        try:
            return config.Options(**{**given, **self.settings}).check()
        except TypeError as error:
            raise ConfigError(f"settings: {error}") from None


class Stars:
    """A Star to register: agents that work together."""

    def __init__(self, cosmos: Cosmos, name: str, *, strategy: str = "") -> None:  # noqa: ARG002 - as in the seed
        self.name = name
        self.strategy = strategy
        self.members: list[stars_service_pb2.StarMember] = []

    def add_member(self, name: str, agent_id: str, role: str = "worker") -> None:
        """Adds an agent under a name; one with the role "leader" gets the task."""
        self.members.append(stars_service_pb2.StarMember(name=name, agent_id=agent_id, role=role))


class Interface:
    """Another way to reach the server: derive from it, and override what you need.

    A hook that raises is told in the log, and as monitor.error of the agent it was about."""

    name = "interface"
    type = "custom"  # "http", "a2a", "agui" or one of your own

    async def start(self, channel: grpc.aio.Channel, options: Options) -> None:
        """The server serves; ``channel`` reaches its gRPC face, with every right."""

    async def stop(self) -> None:
        """The server is about to stop."""

    async def on_agent_registered(self, agent: agent_pb2.Agent) -> None:
        """There is an agent; told of each one, also of those that were there before."""

    async def on_stars_registered(self, star: stars_service_pb2.Star) -> None:
        """There is a Star."""

    async def on_workflow_registered(self, workflow: workflow_pb2.Workflow) -> None:
        """There is a workflow."""


class AsterOS:
    """A server, and what it begins with."""

    def __init__(self, options: Options) -> None:
        """
        :raises ConfigError:"""
        self.options = options
        self.server = app.AsterOS(options.check())
        self._agents: dict[str, agent_pb2.AgentConfig] = {}
        self._stars: dict[str, Stars] = {}
        self._workflows: dict[str, workflow_pb2.Workflow] = {}
        self._interfaces: dict[str, Interface] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._channel: grpc.aio.Channel | None = None
        self._running = False

    # -- before it runs -----------------------------------------------------------------

    def register_agent(self, agent_id: str, agent: agent_pb2.AgentConfig) -> None:
        """An agent that is there when the server starts; one that is stored gets these settings.

        :raises ConfigError: ``resource already exists``, ``asteros is already running``: and so all of these."""
        self._register(self._agents, agent_id, agent)

    def register_stars(self, star_id: str, stars: Stars) -> None:
        """A Star that is there when the server starts; one that is stored gets the members it lacks."""
        self._register(self._stars, star_id, stars)

    def register_workflow(self, workflow_id: str, workflow: workflow_pb2.Workflow) -> None:
        """A workflow that is there when the server starts; one that is stored stays as it is."""
        self._register(self._workflows, workflow_id, workflow)

    def _register(self, into: dict[str, Any], name: str, what: object) -> None:
        if self._running:
            raise ConfigError("asteros is already running")
        if name in into:
            raise ConfigError("resource already exists")
        into[name] = what

    # -- interfaces ------------------------------------------------------------------------

    def add_interface(self, interface: Interface) -> None:
        """Adds an interface; while the server runs it is started at once.

        :raises ConfigError: ``interface already exists``."""
        if interface.name in self._interfaces:
            raise ConfigError("interface already exists")
        self._interfaces[interface.name] = interface
        if self._running:
            self._open(interface)

    async def remove_interface(self, name: str) -> None:
        """Stops an interface and takes it out.

        :raises ConfigError: ``interface not found``."""
        if name not in self._interfaces:
            raise ConfigError("interface not found")
        del self._interfaces[name]
        await self._close(name)

    def _open(self, interface: Interface) -> None:
        self._tasks[interface.name] = asyncio.create_task(self._attend(interface), name=f"interface {interface.name}")

    async def _close(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _attend(self, interface: Interface) -> None:
        """Starts an interface, tells it what there is, and stops it when it is cancelled."""
        assert self._channel is not None
        try:
            await interface.start(self._channel, self.options)
        except Exception:
            _log.exception("the interface %s could not be started", interface.name)
            return
        try:
            await self._tell(interface)
        finally:
            try:
                await interface.stop()
            except Exception:
                _log.exception("the interface %s could not be stopped", interface.name)

    async def _tell(self, interface: Interface) -> None:
        cursor = ""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):  # it broke off: on from where it was
                async for change in self._changes(cursor):
                    cursor = change.cursor or cursor
                    if change.kind in (
                        cosmos_service_pb2.CHANGE_KIND_SNAPSHOT,
                        cosmos_service_pb2.CHANGE_KIND_REGISTERED,
                    ):
                        await self._call(interface, change.resource)
            await clock.sleep(RETRY)

    async def _changes(self, cursor: str) -> AsyncIterator[cosmos_service_pb2.ResourceChange]:
        assert self._channel is not None
        stub = cosmos_service_pb2_grpc.CosmosServiceStub(self._channel)
        request = cosmos_service_pb2.WatchResourcesRequest(cursor=cursor)
        async for response in stub.WatchResources(request, metadata=self._metadata):
            for change in response.changes:
                yield change

    async def _call(self, interface: Interface, resource: cosmos_service_pb2.Resource) -> None:
        """One hook for one thing; what is gone meanwhile is passed over."""
        kind, name = resource.kind, resource.id
        try:
            if kind in (cosmos_service_pb2.RESOURCE_KIND_AGENT, cosmos_service_pb2.RESOURCE_KIND_REMOTE_AGENT):
                agent = agent_service_pb2.GetAgentRequest(agent_id=name)
                await interface.on_agent_registered((await self._ask(agent)).agent)
            elif kind == cosmos_service_pb2.RESOURCE_KIND_STAR:
                star = stars_service_pb2.GetStarRequest(star_id=name)
                await interface.on_stars_registered((await self._ask(star)).star)
            elif kind == cosmos_service_pb2.RESOURCE_KIND_WORKFLOW:
                workflow = workflow_service_pb2.GetWorkflowRequest(workflow_id=name)
                await interface.on_workflow_registered((await self._ask(workflow)).workflow)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        except Exception:
            _log.exception("the interface %s failed when it was told of %s", interface.name, name)
            if kind == cosmos_service_pb2.RESOURCE_KIND_AGENT:
                await self.server.report(name, f"the interface {interface.name} failed")

    # -- running ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the server, registers what was given, and opens the interfaces.

        :raises ConfigError: ``asteros is already running``.
        :raises RefusedToStart: see ``app.AsterOS.start``."""
        if self._running:
            raise ConfigError("asteros is already running")
        if self.options.enable_logging:
            logging.basicConfig(level=self.options.log_level.upper())
        await self.server.start()
        await self._started()

    async def stop(self) -> None:
        """Stops the interfaces, then the server in order.

        :raises ConfigError: ``asteros is not running``."""
        if not self._running:
            raise ConfigError("asteros is not running")
        await self._stopping()
        await self.server.stop()

    async def serve(self) -> None:
        """Starts, serves until SIGTERM or SIGINT comes, and stops in order.

        :raises ConfigError: ``asteros is already running``."""
        if self._running:
            raise ConfigError("asteros is already running")
        if self.options.enable_logging:
            logging.basicConfig(level=self.options.log_level.upper())
        await self.server.serve(self._started, self._stopping)

    async def _started(self) -> None:
        host = self.server.options.host
        self._channel = grpc.aio.insecure_channel(f"{host}:{self.server.grpc_port}")
        self._running = True
        for agent_id, agent in self._agents.items():
            await self._put_agent(agent_id, agent)
        for star_id, star in self._stars.items():
            await self._put_star(star_id, star)
        for workflow_id, workflow in self._workflows.items():
            await self._unless_there(
                workflow_service_pb2.CreateWorkflowRequest(
                    workflow_id=workflow_id,
                    display_name=workflow.display_name,
                    description=workflow.description,
                    root=workflow.root,
                )
            )
        for interface in self._interfaces.values():
            self._open(interface)

    async def _stopping(self) -> None:
        for name in list(self._tasks):
            await self._close(name)
        self._running = False
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _put_agent(self, agent_id: str, settings: agent_pb2.AgentConfig) -> None:
        made = agent_service_pb2.CreateAgentRequest(agent_id=agent_id, config=settings)
        if not await self._unless_there(made):
            changed = agent_service_pb2.UpdateAgentRequest(agent=agent_pb2.Agent(id=agent_id, config=settings))
            await self._ask(changed)

    async def _put_star(self, star_id: str, star: Stars) -> None:
        made = stars_service_pb2.CreateStarRequest(
            star_id=star_id, display_name=star.name, members=star.members, strategy=star.strategy
        )
        if await self._unless_there(made):
            return
        for member in star.members:
            joining = stars_service_pb2.JoinStarRequest(
                star_id=star_id, agent_id=member.agent_id, name=member.name, role=member.role
            )
            await self._unless_there(joining)

    async def _unless_there(self, request: Message) -> bool:
        """Makes something; False: it is there."""
        try:
            await self._ask(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            return False
        return True

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        key = self.options.api_key
        return (("authorization", f"Bearer {key}"),) if key else ()

    async def _ask(self, request: Message) -> Any:
        """The method that takes this request."""
        name = type(request).__name__.removesuffix("Request")
        stubs: tuple[Callable[[Any], Any], ...] = (
            agent_service_pb2_grpc.AgentServiceStub,
            stars_service_pb2_grpc.StarsServiceStub,
            workflow_service_pb2_grpc.WorkflowServiceStub,
        )
        methods = (getattr(stub(self._channel), name, None) for stub in stubs)
        method: Callable[..., Awaitable[Any]] = next(method for method in methods if method is not None)
        return await method(request, metadata=self._metadata)
