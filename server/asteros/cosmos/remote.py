"""Agents that run in other programs: who they belong to, and who feeds them now.

An id belongs to the principal that named it first; nobody else learns that it exists.
While its program is connected an agent has a ``Link``, which is the one pen of its log;
a new link fences the one before by the agent's epoch, as a woken agent of our own does."""

import asyncio
import logging
from collections.abc import Callable

from aster.v1 import agent_pb2, session_service_pb2
from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors, ids
from asteros.cosmos.connection import Connection
from asteros.cosmos.links import Link
from asteros.cosmos.locks import KeyLocks
from asteros.cosmos.requests import MAX_OPEN
from asteros.events.log import EventLog, Written
from asteros.runtime.journal import snapshot
from asteros.stores.base import AgentRow, PutSession, RemoteRow, Store

_log = logging.getLogger(__name__)
PROBE_SECONDS = 2.0  # a program has to show that it is there before another takes its agent
MAX_AGENTS = 10_000  # of one connection

Name = tuple[str, str]  # tenant and agent id


class Remotes:
    """Every connection of this process, and the agents on them."""

    def __init__(self, store: Store, log: EventLog, changed: Callable[[], None]) -> None:
        """``changed`` is called when an agent has come, gone, or been taken out."""
        self._store = store
        self._log = log
        self._changed = changed
        self._links: dict[Name, Link] = {}
        self._connections: set[Connection] = set()
        self._registering: set[asyncio.Task[Link]] = set()
        self._locks = KeyLocks()  # held while an agent is registered, or gets a session

    # -- connections --------------------------------------------------------------------

    def connect(self, tenant: str, owner: str) -> Connection:
        """A program has dialled in."""
        connection = Connection(tenant, owner)
        self._connections.add(connection)
        return connection

    async def leave(self, connection: Connection) -> None:
        """The program has gone: its agents are offline once this returns. Idempotent."""
        self._connections.discard(connection)
        connection.close()
        links, connection.links = connection.links, {}
        await asyncio.gather(*(self._close(link) for link in links.values()))

    async def _close(self, link: Link, *, listed: bool = True) -> None:
        try:
            await link.close(listed=listed)
        except errors.AsterError as error:  # the next start finds it STARTED and says so itself
            _log.warning("a remote agent was not marked as offline: %s", error.reason)
        finally:
            if self._links.get(_name(link)) is link:
                del self._links[_name(link)]
            self._changed()

    def end_all(self, error: errors.AsterError) -> None:
        """Ends every connection after its last acknowledgement (drain)."""
        for connection in self._connections:
            connection.end(error)

    # -- registration -------------------------------------------------------------------

    async def register(self, connection: Connection, asked: pb.ConnectRegister) -> Link:
        """Makes an agent one of the connection's; what it said of itself before is replaced.

        :raises AgentAlreadyRegistered: it is registered here, is fed by another program that is there,
            is an agent of this server, or belongs to another key.
        :raises AgentLimitReached:

        Cancelled: it is finished, and taken back if the connection has gone by then."""
        task = asyncio.create_task(self._register(connection, asked), name="aster-studio-register")
        self._registering.add(task)
        task.add_done_callback(self._registered)
        return await asyncio.shield(task)

    def _registered(self, task: asyncio.Task[Link]) -> None:
        self._registering.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _register(self, connection: Connection, asked: pb.ConnectRegister) -> Link:
        if asked.agent_id in connection.links:
            raise errors.AgentAlreadyRegistered(asked.agent_id)
        if len(connection.links) >= MAX_AGENTS:
            raise errors.AgentLimitReached(f"one connection carries at most {MAX_AGENTS} agents", max_agents=MAX_AGENTS)
        name = connection.tenant, asked.agent_id
        async with self._locks(name):
            await self._make_way(connection, name)
            row, remote = await self._owned(connection, asked.agent_id)
            row = await self._store.acquire(row.key)
            link = Link(connection, row, remote, self._log, asked)
            link.requests.load(await self._store.open_pending(row.tenant, row.key, "", MAX_OPEN))
            await link.open(asked.status)
            self._links[name] = connection.links[asked.agent_id] = link
            self._changed()
            if connection.closed:  # meanwhile
                connection.links.clear()
                await self._close(link)
                raise errors.RemoteAgentOffline(agent_id=asked.agent_id)
            return link

    async def _make_way(self, connection: Connection, name: Name) -> None:
        """Takes an agent from a connection that does not answer any more."""
        link = self._links.get(name)
        if link is None:
            return
        if link.connection.owner != connection.owner or await link.connection.answers(PROBE_SECONDS):
            raise errors.AgentAlreadyRegistered(name[1])
        link.connection.end(errors.LeaseLost(agent_id=name[1]))
        await self.leave(link.connection)

    async def _owned(self, connection: Connection, agent_id: str) -> tuple[AgentRow, RemoteRow]:
        """The rows of an agent of the connection's principal; a new id becomes its own."""
        row = await self._store.agent(connection.tenant, agent_id)
        if row is None:
            now = clock.timestamp(clock.now())
            agent = agent_pb2.Agent(id=agent_id, create_time=now, update_time=now, etag=ids.ulid())
            agent.remote.SetInParent()
            try:
                row = await self._store.create_remote_agent(connection.tenant, agent, connection.owner)
            except errors.AgentAlreadyExists:
                raise errors.AgentAlreadyRegistered(agent_id) from None
        remote = await self._store.remote_agent(row.key)
        if remote is None or remote.owner != connection.owner:
            raise errors.AgentAlreadyRegistered(agent_id)
        return row, remote

    async def unregister(self, connection: Connection, agent_id: str) -> None:
        """Takes an agent out of every list; its events and sessions stay.

        :raises AgentNotRegistered:"""
        link = self._of(connection, agent_id)
        del connection.links[agent_id]
        await self._close(link, listed=False)

    async def delete(self, row: AgentRow) -> None:
        """Deletes an agent that is not connected, with everything of it; its id is then anybody's.

        :raises WrongState: it is connected."""
        async with self._locks((row.tenant, row.ref.id)):
            if self.link(row.tenant, row.ref.id) is not None:
                raise errors.WrongState("the remote agent is connected", agent_id=row.ref.id)
            await self._store.delete_agent(row.key)

    async def register_session(self, connection: Connection, asked: pb.ConnectRegisterSession) -> None:
        """Writes or updates a session; an agent that nobody has named yet becomes the caller's.

        :raises AgentAlreadyRegistered: the agent is an own one, or belongs to another key.
        :raises SessionAlreadyRegistered: the id is that of another agent's session."""
        async with self._locks((connection.tenant, asked.agent_id)):
            row, _ = await self._owned(connection, asked.agent_id)
            found = await self._store.session(connection.tenant, asked.session_id)
            if found is not None and found[0] != row.key:
                raise errors.SessionAlreadyRegistered(asked.session_id)
            session = _session(asked, found[1] if found else None)
            try:
                await self._log.append(row.ref, row.epoch, (), [PutSession(session, insert=found is None)])
            except errors.SessionAlreadyExists:
                raise errors.SessionAlreadyRegistered(asked.session_id) from None

    # -- events ---------------------------------------------------------------------------

    async def put(self, connection: Connection, batch: pb.ConnectEvents) -> tuple[Link, Written | None, int]:
        """Puts events in line, waiting while the disk is behind; see ``Link.put``.

        :raises AgentNotRegistered:"""
        while not self._log.has_room:
            await self._log.wait_for_room()
        link = self._of(connection, batch.agent_id)
        return link, *link.put(batch.events, batch.first_client_sequence)

    @staticmethod
    def _of(connection: Connection, agent_id: str) -> Link:
        link = connection.links.get(agent_id)
        if link is None:
            raise errors.AgentNotRegistered(agent_id)
        return link

    # -- seen from the other side -----------------------------------------------------------

    def link(self, tenant: str, agent_id: str) -> Link | None:
        """The link of an agent that is connected now."""
        return self._links.get((tenant, agent_id))

    def commanded(self, tenant: str, agent_id: str) -> Link | None:
        """The same for somebody who wants it to do something.

        :raises RemoteAgentReadOnly: its program takes no commands."""
        link = self.link(tenant, agent_id)
        if link is not None and not link.accepts_commands:
            raise errors.RemoteAgentReadOnly("the remote agent takes no commands", agent_id=agent_id)
        return link

    def refusal(self, row: AgentRow) -> errors.AsterError:
        """Why an agent of another program cannot be used as one of our own."""
        agent_id = row.ref.id
        if self.link(row.tenant, agent_id) is None and row.agent.remote.accepts_commands:
            return errors.RemoteAgentOffline(agent_id=agent_id)
        return errors.RemoteAgentReadOnly(agent_id=agent_id)

    def view(self, row: AgentRow) -> agent_pb2.Agent:
        """A remote agent as callers see it."""
        link = self.link(row.tenant, row.ref.id)
        if link is not None:
            return link.view()
        shown = snapshot(row.agent)
        shown.status.CopyFrom(row.status)
        shown.status.latest_sequence = row.latest_sequence
        return shown

    def connected(self, tenant: str) -> list[Link]:
        """Agents that are connected now, by id."""
        return [link for (of, _), link in sorted(self._links.items()) if of == tenant]

    @property
    def count(self) -> int:
        """Remote agents of all tenants that are connected now."""
        return len(self._links)


def _name(link: Link) -> Name:
    return link.row.tenant, link.row.ref.id


def _session(
    asked: pb.ConnectRegisterSession, stored: session_service_pb2.Session | None
) -> session_service_pb2.Session:
    """The session as its program describes it now; what it leaves out stays."""
    now = clock.timestamp(clock.now())
    session = snapshot(stored) if stored is not None else session_service_pb2.Session(create_time=now, status="active")
    session.id, session.agent_id = asked.session_id, asked.agent_id
    if asked.HasField("create_time"):
        session.create_time.CopyFrom(asked.create_time)
    if asked.HasField("metadata"):
        session.metadata.CopyFrom(asked.metadata)
    session.message_count = asked.message_count or session.message_count
    session.status = asked.status or session.status
    session.update_time.CopyFrom(now)
    return session
