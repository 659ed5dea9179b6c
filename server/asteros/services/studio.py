"""StudioService: agents of other programs."""

import asyncio
import functools
from collections.abc import AsyncIterator

from google.rpc import status_pb2

from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors
from asteros.cosmos.connection import Connection
from asteros.cosmos.links import Link
from asteros.cosmos.remote import Remotes
from asteros.events.log import Written
from asteros.services import reported
from asteros.services.call import Call
from asteros.services.paging import Pages

PING_SECONDS = 30.0  # a program says something at least this often
IDLE_SECONDS = 2 * PING_SECONDS  # ... or its connection ends
LAST_WORDS = 5.0  # seconds for a program to take its last acknowledgements


class StudioServicer:
    """Check, call, translate; what agents are and whose is in ``cosmos.remote``."""

    def __init__(self, remotes: Remotes, pages: Pages) -> None:
        self._remotes = remotes
        self._pages = pages
        self._leaving: set[asyncio.Task[None]] = set()

    async def ListRemoteAgents(self, request: pb.ListRemoteAgentsRequest, call: Call) -> pb.ListRemoteAgentsResponse:
        size = self._pages.size(request)
        after = self._pages.start(call, request)
        links = self._remotes.connected(call.caller.tenant)
        rest = [link for link in links if link.row.ref.id > after]
        response = pb.ListRemoteAgentsResponse(agents=[link.view() for link in rest[:size]], total_size=len(links))
        if len(rest) > size:
            response.next_page_token = self._pages.token(call, request, rest[size - 1].row.ref.id)
        return response

    async def ConnectAgents(self, requests: AsyncIterator[pb.ConnectAgentsRequest], call: Call) -> None:
        """Reads and writes side by side until the program, or we, end it.

        Whatever ends it, what was read is stored and acknowledged, then the agents go offline."""
        await call.begin()
        connection = self._remotes.connect(call.caller.tenant, call.caller.principal)
        reading = asyncio.create_task(self._read(requests, connection), name="aster-studio-read")
        writing = asyncio.create_task(_write(call, connection), name="aster-studio-write")
        ending = asyncio.create_task(connection.ended.wait())
        try:
            await asyncio.wait((reading, writing, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A task of its own: a second cancel, as a stopping server sends, must not cut it short.
            last = asyncio.create_task(self._leave(connection, reading, writing, ending), name="aster-studio-leave")
            self._leaving.add(last)
            last.add_done_callback(self._leaving.discard)
            await asyncio.shield(last)
        if connection.error is not None:
            raise connection.error
        for task in (reading, writing):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _leave(
        self,
        connection: Connection,
        reading: "asyncio.Task[None]",
        writing: "asyncio.Task[None]",
        ending: "asyncio.Task[bool]",
    ) -> None:
        await _stop(reading)
        await self._remotes.leave(connection)
        connection.finish()
        await asyncio.wait((writing,), timeout=LAST_WORDS)
        await _stop(writing)
        await _stop(ending)

    # -- what the program says ------------------------------------------------------------

    async def _read(self, requests: AsyncIterator[pb.ConnectAgentsRequest], connection: Connection) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS) as idle:
                renewed = clock.monotonic()
                async for request in requests:
                    connection.heard()
                    await self._take(request, connection)
                    await connection.room()
                    if (now := clock.monotonic()) - renewed > 1.0:
                        renewed = now
                        idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
        except TimeoutError:
            raise errors.RemoteAgentOffline(f"nothing was heard for {IDLE_SECONDS:.0f} s") from None

    async def _take(self, request: pb.ConnectAgentsRequest, connection: Connection) -> None:
        """Does what one message says. A refusal is answered and leaves the connection open."""
        try:
            reported.check(request)
            match request.WhichOneof("message"):
                case "events":
                    await self._events(request, connection)
                case "register":
                    link = await self._remotes.register(connection, request.register)
                    connection.say(_registered(request.correlation_id, link))
                case "register_session":
                    await self._remotes.register_session(connection, request.register_session)
                    named = pb.ConnectSessionRegistered(session_id=request.register_session.session_id)
                    _say(connection, request.correlation_id, session_registered=named)
                case "unregister":
                    await self._remotes.unregister(connection, request.unregister.agent_id)
                case "ping":
                    _say(connection, request.correlation_id, pong=pb.ConnectPong())
                case "command_result":
                    connection.answered(request.correlation_id, request.command_result)
                case _:
                    raise errors.bad_field("message", "is required")
        except errors.AsterError as error:
            _say(connection, request.correlation_id, error=error.status())

    async def _events(self, request: pb.ConnectAgentsRequest, connection: Connection) -> None:
        link, written, number = await self._remotes.put(connection, request.events)
        if written is None:
            _acknowledge(connection, request.correlation_id, link, number)
        else:
            written.add_done_callback(functools.partial(_stored, connection, request.correlation_id, link, number))


def _stored(connection: Connection, correlation_id: str, link: Link, number: int, written: Written) -> None:
    """A batch is durable, or was refused: then numbers cannot go on, and the program dials in again."""
    error = written.exception() if not written.cancelled() else errors.StoreUnavailable()
    if error is None:
        _acknowledge(connection, correlation_id, link, number)
        return
    _say(connection, correlation_id, error=errors.status_of(error))
    if link.instance_id and number:
        connection.end(error if isinstance(error, errors.AsterError) else errors.AsterError())


def _acknowledge(connection: Connection, correlation_id: str, link: Link, number: int) -> None:
    acked = max(number, link.acked) if number else 0
    ack = pb.ConnectEventsAck(agent_id=link.row.ref.id, acked_client_sequence=acked)
    _say(connection, correlation_id, events_ack=ack)


def _registered(correlation_id: str, link: Link) -> pb.ConnectAgentsResponse:
    registered = pb.ConnectRegistered(
        agent_id=link.row.ref.id,
        connection_id=link.connection.id,
        ping_interval=clock.duration(PING_SECONDS),
        acked_client_sequence=link.acked,
    )
    return pb.ConnectAgentsResponse(correlation_id=correlation_id, registered=registered)


def _say(
    connection: Connection,
    correlation_id: str,
    *,
    events_ack: pb.ConnectEventsAck | None = None,
    session_registered: pb.ConnectSessionRegistered | None = None,
    pong: pb.ConnectPong | None = None,
    error: status_pb2.Status | None = None,
) -> None:
    connection.say(
        pb.ConnectAgentsResponse(
            correlation_id=correlation_id,
            events_ack=events_ack,
            session_registered=session_registered,
            pong=pong,
            error=error,
        )
    )


async def _write(call: Call, connection: Connection) -> None:
    while responses := await connection.next():
        for response in responses:
            await call.write(response.SerializeToString())


async def _stop(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
