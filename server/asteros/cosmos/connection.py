"""One program that dialled in through Studio: what is said to it, and whether it is still there."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors, ids

if TYPE_CHECKING:
    from asteros.cosmos.links import Link

OUTBOX = 1024  # messages that may wait for a program that does not read, before it is no longer read either
COMMAND_LIMIT = 30.0  # seconds a program has to answer a command


class Connection:
    """Links of one program. Answers wait in an outbox; its owner takes them with ``next``."""

    def __init__(self, tenant: str, owner: str) -> None:
        self.id = ids.new("con_")
        self.tenant = tenant
        self.owner = owner  # principal
        self.links: dict[str, Link] = {}
        self.error: errors.AsterError | None = None  # why we ended it
        self.ended = asyncio.Event()
        self.closed = False  # its agents have been taken out
        self.heard_at = clock.now()  # nanoseconds
        self._heard = asyncio.Event()
        self._outbox: deque[pb.ConnectAgentsResponse] = deque()
        self._filled = asyncio.Event()
        self._finished = False
        self._room = asyncio.Event()
        self._room.set()
        self._commands: dict[str, asyncio.Future[pb.ConnectCommandResult]] = {}

    # -- what is said -----------------------------------------------------------------

    def say(self, response: pb.ConnectAgentsResponse) -> None:
        """Puts a message in the outbox."""
        self._outbox.append(response)
        self._filled.set()
        if len(self._outbox) >= OUTBOX:
            self._room.clear()

    async def next(self) -> Sequence[pb.ConnectAgentsResponse]:
        """All that waits in the outbox, at least one message; nothing when all has been said."""
        while not self._outbox and not self._finished:
            self._filled.clear()
            await self._filled.wait()
        taken = list(self._outbox)
        self._outbox.clear()
        self._room.set()
        return taken

    def finish(self) -> None:
        """Nothing more will be said."""
        self._finished = True
        self._filled.set()

    async def room(self) -> None:
        """Waits while the program does not take its answers."""
        await self._room.wait()

    def end(self, error: errors.AsterError) -> None:
        """Ends it from our side; the first reason counts."""
        self.error = self.error or error
        self._over()

    def _over(self) -> None:
        self.ended.set()
        self._heard.set()  # whoever waits for a sign of life

    # -- is it there? -------------------------------------------------------------------

    def heard(self) -> None:
        """The program said something."""
        self.heard_at = clock.now()
        self._heard.set()

    async def answers(self, seconds: float) -> bool:
        """Asks the program whether it is there; whatever it says in time counts."""
        self._heard.clear()
        self.say(pb.ConnectAgentsResponse(ping=pb.ConnectPing()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        return self._heard.is_set() and not self.ended.is_set()

    # -- commands -----------------------------------------------------------------------

    async def command(self, command: pb.ConnectCommand) -> pb.ConnectCommandResult:
        """Has the program do something; what it answered.

        :raises RemoteAgentOffline: it went away, or did not answer in time."""
        with self._expecting() as (correlation_id, answer):
            self.say(pb.ConnectAgentsResponse(correlation_id=correlation_id, command=command))
            try:
                async with asyncio.timeout(COMMAND_LIMIT):
                    return await answer
            except TimeoutError:
                raise errors.RemoteAgentOffline(
                    "the remote agent did not answer in time", agent_id=command.agent_id
                ) from None

    @contextlib.contextmanager
    def _expecting(self) -> "Iterator[tuple[str, asyncio.Future[pb.ConnectCommandResult]]]":
        if self.closed:
            raise errors.RemoteAgentOffline
        correlation_id = ids.ulid()
        answer = self._commands[correlation_id] = asyncio.get_running_loop().create_future()
        try:
            yield correlation_id, answer
        finally:
            del self._commands[correlation_id]

    def answered(self, correlation_id: str, result: pb.ConnectCommandResult) -> None:
        """The program answered a command; one that nobody waits for is dropped."""
        answer = self._commands.get(correlation_id)
        if answer is not None and not answer.done():
            answer.set_result(result)

    def close(self) -> None:
        """The program has gone: its commands will not be answered."""
        self.closed = True
        self._over()
        for answer in self._commands.values():
            if not answer.done():
                answer.set_exception(errors.RemoteAgentOffline())
