"""Where agents are found. A registered agent is a row; it is woken by the first command
and evicted when idle, and what is in memory is a cache (architecture, part 6)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from aster.v1 import agent_pb2, agent_service_pb2, session_service_pb2
from asteros import clock, errors, ids
from asteros.cosmos.links import settled
from asteros.cosmos.locks import KeyLocks
from asteros.cosmos.remote import Remotes
from asteros.cosmos.resources import Resources
from asteros.events.catalogue import Stamp
from asteros.runtime import permission_rules
from asteros.runtime.agent import Agent
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import STOPPED, Lifecycle
from asteros.runtime.tooling import AgentTools
from asteros.stores.base import AddRequest, AgentRow, PutAgent, PutStatus, RequestIdKnown

_log = logging.getLogger(__name__)
EVICTION_INTERVAL = 1.0  # seconds
EXPIRY_INTERVAL = 0.5  # seconds; how late an expired request may be counted
RESUME_AT_ONCE = 8  # agents woken side by side after a start


@dataclass(frozen=True, slots=True)
class Limits:
    """How many agents there may be, and how long an idle one stays in memory."""

    max_agents: int = 0  # registered and not closed; 0: no limit
    max_awake: int = 0  # in memory; 0: no limit
    idle_seconds: float = 300.0


class Registry:
    """The agents of one process. Creation of one agent never waits for another."""

    def __init__(self, deps: Dependencies, limits: Limits) -> None:
        self.deps = deps
        self.limits = limits
        self.resources = Resources(deps.store)
        self.remotes = Remotes(deps.store, deps.log, self.resources.ring)
        self._awake: dict[int, Agent] = {}
        self._keys: dict[tuple[str, str], int] = {}  # of agents in memory
        self._locks = KeyLocks()  # held while an agent enters or leaves memory
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    async def start(self) -> None:
        """Begins the background work; ``resume`` brings unfinished turns back."""
        for work in (self._evict_idle, self._expire):
            self._tasks.append(asyncio.create_task(_forever(work), name=f"cosmos {work.__name__}"))

    async def settle(self) -> None:
        """After a start nothing is in memory: agents that were STARTED are STOPPED, and their logs say so."""
        rows = await self.deps.store.started_agents()
        for result in await asyncio.gather(*map(self._stopped, rows), return_exceptions=True):
            if isinstance(result, errors.AsterError):  # a full disk: they are read all the same
                _log.warning("an agent was not marked as stopped: %s", result.reason)
            elif result is not None:
                raise result

    async def _stopped(self, row: AgentRow) -> None:
        life = Lifecycle(row.status)
        stamp = Stamp(row.ref.id)
        events = [stamp.event(changed) for changed in life.change(STOPPED, settled(row.status.activity))]
        journal = Journal(self.deps.log, row.ref, row.epoch, row.latest_sequence)
        await journal.write(events, [PutStatus(snapshot(life.status))])

    async def resume(self) -> None:
        """Wakes every agent that has work, some at once."""
        gate = asyncio.Semaphore(RESUME_AT_ONCE)

        async def wake(key: int) -> None:
            async with gate:
                try:
                    async with self.held(key):
                        pass
                except errors.AsterError as error:
                    _log.warning("agent %s was not woken: %s", key, error.reason)

        await asyncio.gather(*(wake(key) for key in await self.deps.store.agents_with_work()))

    def close_door(self) -> None:
        """Wakes nobody from now on: the process ends."""
        self._closing = True

    async def aclose(self) -> None:
        """Stops all work; turns stay as they are stored."""
        self.close_door()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(agent.halt() for agent in self._awake.values()))
        await self.resources.aclose()

    async def idle(self) -> None:
        """Waits until no agent has a turn that is at work (drain). Waiting ones do not count."""
        while any(agent.at_work for agent in self._awake.values()):
            await clock.sleep(0.05)

    # -- finding --------------------------------------------------------------------

    async def row(self, tenant: str, agent_id: str) -> AgentRow:
        """
        :raises AgentNotFound:"""
        row = await self.deps.store.agent(tenant, agent_id)
        if row is None:
            raise errors.AgentNotFound(agent_id)
        return row

    @contextlib.asynccontextmanager
    async def agent(self, tenant: str, agent_id: str) -> AsyncIterator[Agent]:
        """The agent, woken if need be, and kept in memory while it is used.

        :raises AgentNotFound:
        :raises RemoteAgentReadOnly, RemoteAgentOffline: it runs in another program."""
        key = self._keys.get((tenant, agent_id))
        if key is None or key not in self._awake:
            row = await self.row(tenant, agent_id)
            if row.agent.HasField("remote"):
                raise self.remotes.refusal(row)
            key = row.key
        try:
            agent = self._awake.get(key) or await self._wake(key)
        except errors.AgentNotFound:  # deleted in between
            raise errors.AgentNotFound(agent_id) from None
        async with self._kept(agent):
            yield agent

    @contextlib.asynccontextmanager
    async def held(self, key: int) -> AsyncIterator[Agent]:
        """The same by the agent's number."""
        async with self._kept(self._awake.get(key) or await self._wake(key)) as agent:
            yield agent

    @contextlib.asynccontextmanager
    async def _kept(self, agent: Agent) -> AsyncIterator[Agent]:
        agent.holds += 1
        try:
            yield agent
        finally:
            agent.holds -= 1
            agent.last_used = clock.monotonic()

    async def _wake(self, key: int) -> Agent:
        if self._closing:
            raise errors.Draining(retry_after=1.0)
        async with self._locks(key):
            agent = self._awake.get(key)
            if agent is None:
                row = await self.deps.store.acquire(key)
                agent = Agent(row, self.deps, self._changed)
                await agent.mailbox.resume()
                if self._closing:  # meanwhile: nobody else would stop it
                    await agent.halt()
                    raise errors.Draining(retry_after=1.0)
                self._awake[key] = agent
                self._keys[agent.ref.tenant, agent.ref.id] = key
            return agent

    def _forget(self, agent: Agent) -> None:
        self._awake.pop(agent.ref.key, None)
        self._keys.pop((agent.ref.tenant, agent.ref.id), None)

    def _changed(self, agent: Agent) -> None:
        """An agent became idle, or lost its lease and must be read anew."""
        if agent.mailbox.lost and self._awake.get(agent.ref.key) is agent:
            self._forget(agent)
            agent.shells.kill()

    def view(self, row: AgentRow) -> agent_pb2.Agent:
        """An agent as callers see it: its row, and what only memory knows."""
        if row.agent.HasField("remote"):
            return self.remotes.view(row)
        shown = snapshot(row.agent)
        awake = self._awake.get(row.key)
        shown.config.model_config.ClearField("api_key")
        for fallback in shown.config.model_config.fallbacks:
            fallback.ClearField("api_key")
        if not row.agent.config.HasField("model_config"):
            shown.config.ClearField("model_config")
        shown.middleware_order.extend(self.deps.middlewares.order(self._effective(row).middlewares))
        shown.status.CopyFrom(row.status)
        shown.status.latest_sequence = row.latest_sequence
        if awake is not None:
            shown.status.CopyFrom(awake.lifecycle.status)
            shown.status.latest_sequence = max(row.latest_sequence, awake.journal.place.sequence)
            shown.status.queued_turn_count = awake.mailbox.queued
            if shown.status.state in (agent_pb2.AGENT_STATE_STARTED, agent_pb2.AGENT_STATE_RUNNING):
                shown.status.uptime.CopyFrom(clock.duration(awake.lifecycle.uptime))
        return shown

    def _effective(self, row: AgentRow) -> agent_pb2.AgentConfig:
        """The config with its template's; without one when the template is gone."""
        try:
            return self.deps.templates.resolve(row.agent.config, self.deps.providers.route)
        except errors.TemplateNotFound:
            return row.agent.config

    def latest(self, row: AgentRow) -> int:
        """Sequence of the newest event that was shown."""
        awake = self._awake.get(row.key) or self.remotes.link(row.tenant, row.ref.id)
        return awake.journal.place.sequence if awake is not None else row.latest_sequence

    @property
    def closing(self) -> bool:
        """The process ends: turns are left as they are stored."""
        return self._closing

    @property
    def awake_count(self) -> int:
        return len(self._awake)

    def awake_of(self, tenant: str) -> int:
        """Agents of one tenant in memory."""
        return sum(agent.ref.tenant == tenant for agent in self._awake.values())

    # -- changing -------------------------------------------------------------------

    async def create(
        self, tenant: str, request: agent_service_pb2.CreateAgentRequest, known: AddRequest | None
    ) -> AgentRow:
        """Registers an agent. Wakes nothing.

        :raises TemplateNotFound, ToolNotFound, FieldViolation, UrlNotAllowed, AgentAlreadyExists:
        :raises AgentLimitReached, RequestIdReused:"""
        tools = self.check(request.config)
        await self.deps.providers.check_addresses(request.config.model_config)
        now = clock.timestamp(clock.now())
        agent = agent_pb2.Agent(
            id=request.agent_id or ids.new("agt_"),
            display_name=request.display_name,
            config=request.config,
            labels=request.labels,
            create_time=now,
            update_time=now,
            etag=ids.ulid(),
        )
        self.deps.secrets.seal_config(agent.config, agent.id)
        session = session_service_pb2.Session(
            id=ids.new("ses_"), agent_id=agent.id, status="active", create_time=now, update_time=now
        )
        if known is not None:
            known = AddRequest(known.request_id, known.digest, agent.id)
        try:
            row = await self.deps.store.create_agent(tenant, agent, session, known, self.limits.max_agents)
        except RequestIdKnown as before:
            if known is None or before.digest != known.digest:
                raise errors.RequestIdReused(request.request_id) from None
            return await self.row(tenant, before.target)
        self.resources.ring()
        _log.info("[Agent Create] Total tools loaded: %d", tools)
        return row

    def check(self, config: agent_pb2.AgentConfig) -> int:
        """Refuses a config that names what does not exist here; how many tools it has.

        :raises TemplateNotFound, ToolNotFound, FieldViolation, NotAvailable:"""
        resolved = self.deps.templates.resolve(config, self.deps.providers.route)
        middlewares = self.deps.middlewares
        onion = middlewares.onion(resolved.middlewares, resolved.middleware_config_json)
        permission_rules.check(resolved.permission_rules, self.deps.tools.get)
        self.deps.sandboxes.check(resolved.sandbox)
        for model in (resolved.model_config, *resolved.model_config.fallbacks):
            self.deps.providers.check(model)
        brought = middlewares.tools(resolved.middlewares)
        return len(AgentTools.of(self.deps.tools, resolved, brought, onion.tools).by_name)

    async def update(
        self, tenant: str, agent_id: str, etag: str, change: Callable[[agent_pb2.Agent], agent_pb2.Agent]
    ) -> AgentRow:
        """Stores new settings, made of the present ones; a turn in progress keeps the old ones.

        :raises AgentNotFound, EtagMismatch, UrlNotAllowed: and as ``check``."""
        async with self.agent(tenant, agent_id) as agent, agent.changing:  # two writers: one after the other
            if etag and etag != agent.row.agent.etag:
                raise errors.EtagMismatch(retry_after=0.0, etag=agent.row.agent.etag)
            stored = change(agent.row.agent)
            self.check(stored.config)
            await self.deps.providers.check_addresses(stored.config.model_config)
            stored.etag = ids.ulid()
            stored.update_time.CopyFrom(clock.timestamp(clock.now()))
            stored.ClearField("status")
            self.deps.secrets.seal_config(stored.config, stored.id)
            await agent.journal.write((), [PutAgent(snapshot(stored))])
            agent.updated(stored)
        self.resources.ring()
        return await self.row(tenant, agent_id)

    async def delete(self, tenant: str, agent_id: str, etag: str, force: bool) -> None:
        """Closes the agent and deletes everything of it.

        :raises AgentNotFound, EtagMismatch:
        :raises WrongState: a turn is in progress and ``force`` is not set, or it is a remote agent
            that is connected."""
        row = await self.row(tenant, agent_id)
        if row.agent.HasField("remote"):
            await self._delete_remote(row, etag)
            return
        async with self.agent(tenant, agent_id) as agent:
            if etag and etag != agent.row.agent.etag:
                raise errors.EtagMismatch(retry_after=0.0, etag=agent.row.agent.etag)
            if agent.mailbox.busy and not force:
                raise errors.WrongState("a turn is in progress; set force to interrupt it", agent_id=agent_id)
            await agent.close()
            async with self._locks(agent.ref.key):  # who wakes it now waits, and then finds nothing
                await agent.halt()
                self._forget(agent)
                await self.deps.store.delete_agent(agent.ref.key)
            self.resources.ring()
            self.deps.log.hub.end_agent(agent.ref.key, errors.AgentNotFound(agent_id))
            await asyncio.to_thread(self.deps.remove_workspace, agent.ref.key)

    async def _delete_remote(self, row: AgentRow, etag: str) -> None:
        if etag and etag != row.agent.etag:
            raise errors.EtagMismatch(retry_after=0.0, etag=row.agent.etag)
        await self.remotes.delete(row)
        self.resources.ring()
        self.deps.log.hub.end_agent(row.key, errors.AgentNotFound(row.ref.id))

    async def put_out(self, tenant: str, agent_id: str) -> AgentRow:
        """Puts an agent out of memory; its row then. OK when it is not in memory.

        :raises AgentNotFound:
        :raises RemoteAgentReadOnly, RemoteAgentOffline: it runs in another program.
        :raises WrongState: a turn is in progress, or somebody uses it now."""
        row = await self.row(tenant, agent_id)
        if row.agent.HasField("remote"):
            raise self.remotes.refusal(row)
        if not await self.evict(row.key):
            raise errors.WrongState("the agent is in use: a turn is in progress", agent_id=agent_id)
        return await self.row(tenant, agent_id)

    async def evict(self, key: int) -> bool:
        """Puts an idle agent out of memory. False: it is in use."""
        agent = self._awake.get(key)
        if agent is None:
            return True
        async with self._locks(key):
            if not agent.idle or self._awake.get(key) is not agent:
                return False
            # Out of the table first: a command that comes now waits for the lock and wakes it anew.
            self._forget(agent)
            try:
                await agent.stop()
            except errors.WrongState:
                self._awake[key] = agent
                self._keys[agent.ref.tenant, agent.ref.id] = key
                return False
        return True

    # -- background -------------------------------------------------------------------

    async def _evict_idle(self) -> None:
        await clock.sleep(EVICTION_INTERVAL)
        now = clock.monotonic()
        idle = sorted((agent for agent in self._awake.values() if agent.idle), key=lambda a: a.last_used)
        over = len(self._awake) - self.limits.max_awake if self.limits.max_awake else 0
        for place, agent in enumerate(idle):
            if place < over or now - agent.last_used > self.limits.idle_seconds:
                await self.evict(agent.ref.key)

    async def _expire(self) -> None:
        await clock.sleep(EXPIRY_INTERVAL)
        for row in await self.deps.store.expired_pending(clock.now(), 100):
            try:
                async with self.held(row.agent_key) as agent:
                    await agent.approvals.expire(row.pending.id)
            except errors.AsterError as error:  # of one agent: the others must not wait for it
                _log.warning("request %s was not expired: %s", row.pending.id, error.reason)


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Repeats work whatever happens to it; a failure is logged and waits a second."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("background work failed")
            await clock.sleep(1.0)
