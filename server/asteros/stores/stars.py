"""What is kept of Stars: members, messages, and runs with the turns they have begun."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from google.rpc import status_pb2

from aster.v1 import common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros.stores.base import AddRequest

MOST_MESSAGES = 10_000  # kept of one Star, the newest


@dataclass(frozen=True, slots=True)
class RunRow:
    """One task of a Star. Its id is that of its first turn."""

    tenant: str
    id: str
    star: pb.Star  # as it was when the run began
    task: str
    budget: common_pb2.Budget  # of all its turns together
    principal: str
    trace_id: str
    create_time: int  # nanoseconds since 1970
    position: int  # of the log; the run's events come after it
    workflow_run_id: str = ""  # that it is a step of
    open: bool = True
    answer: str = ""  # the turn that gave the answer, once it has ended
    error: status_pb2.Status | None = None  # why it has failed


@dataclass(frozen=True, slots=True)
class RunTurn:
    """A turn of a run."""

    ask: str  # names it within its run: asked for again after a crash, it is the same turn
    turn_id: str
    agent_key: int
    member: str
    depth: int  # 0: of the strategy, not of another member
    round: int


class StarStore(Protocol):
    """Methods raise what those of ``base.Store`` raise; each write is one durable transaction."""

    async def create(self, tenant: str, star: pb.Star, request: AddRequest | None) -> None:
        """Stores a Star with its members, and registers it.

        :raises StarAlreadyExists, StarMemberAlreadyExists, RequestIdKnown:"""
        ...

    async def get(self, tenant: str, star_id: str) -> pb.Star | None:
        """With its members, in the order they joined."""
        ...

    async def page(self, tenant: str, after: str, limit: int) -> list[pb.Star]:
        """By id, after the given one, with their members."""
        ...

    async def delete(self, tenant: str, star_id: str) -> bool:
        """Deletes it with messages and runs; False: there was none."""
        ...

    async def join(self, tenant: str, star_id: str, member: pb.StarMember, most: int) -> None:
        """Adds a member.

        :raises StarNotFound, StarMemberAlreadyExists:
        :raises FieldViolation: there are ``most`` already."""
        ...

    async def leave(self, tenant: str, star_id: str, name: str, agent_id: str) -> bool:
        """Takes a member out by name or by agent; False: there was none."""
        ...

    async def say(
        self, tenant: str, star_id: str, messages: Sequence[pb.StarMessage], request: AddRequest | None = None
    ) -> None:
        """Stores what was said. A message that is stored already, by its id, is left as it is; of a
        Star that is gone nothing is stored.

        :raises RequestIdKnown:"""
        ...

    async def message(self, tenant: str, message_id: str) -> pb.StarMessage | None: ...

    async def messages(self, tenant: str, star_id: str, after: int, limit: int) -> list[tuple[int, pb.StarMessage]]:
        """Oldest first after a place, each with its place."""
        ...

    async def begin(self, row: RunRow, request: AddRequest | None) -> None:
        """Stores a new run; nothing when there is one of that id.

        :raises RequestIdKnown:"""
        ...

    async def run(self, tenant: str, run_id: str) -> RunRow | None: ...

    async def run_of_turn(self, tenant: str, turn_id: str) -> str:
        """The run that a turn belongs to; empty: none."""
        ...

    async def open_runs(self) -> list[RunRow]:
        """Of all tenants, oldest first."""
        ...

    async def end(self, row: RunRow) -> None:
        """Stores ``answer`` and ``error`` of a run that has ended. Idempotent: the first end counts."""
        ...

    async def add_turn(self, row: RunRow, turn: RunTurn, said: Sequence[pb.StarMessage]) -> None:
        """Stores that a turn is about to begin, and what is said with it."""
        ...

    async def turns(self, tenant: str, run_id: str) -> list[RunTurn]:
        """All turns of a run, by id."""
        ...
