"""The promise of a strategy: how the members of a Star work on a task.

A strategy is a plain coroutine that asks members and gives back the turn whose answer
counts. It keeps nothing and is never stored: after a crash it is run again from its
beginning, and every turn it had asked for is found in place of being begun again. So
it must be deterministic: what it asks follows from the task, the members and the turns
it was given, not from a clock or from chance. A package adds one as an entry point of
the group ``asteros.strategies``: a class, or a function without parameters."""

from collections.abc import Sequence
from typing import Protocol

from aster.v1 import agent_pb2
from aster.v1 import stars_service_pb2 as pb


class Team(Protocol):
    """The members of a Star while they work on one task."""

    star: pb.Star  # as it was when the run began

    @property
    def members(self) -> Sequence[pb.StarMember]:
        """Those who can take a turn, in the order they joined; at least one."""
        ...

    @property
    def max_rounds(self) -> int:
        """The Star's limit; 0 where it sets none."""
        ...

    async def ask(self, member: pb.StarMember, text: str) -> agent_pb2.Turn:
        """Gives a member something to do and waits for the end of its turn, whatever end that is.

        Of one member the n-th ask is the same turn in every replay. The first ask of all
        begins the turn that names the run: make it before anything is awaited.

        :raises TurnInterrupted: the run was stopped.
        :raises AsterError: the turn could not be begun, for example since the agent is closed."""
        ...


class Strategy(Protocol):
    """One way to work together. One instance serves all runs."""

    name: str  # as in Star.strategy
    delegates: bool  # the members that are asked get the tools to give work to others

    def check(self, star: pb.Star) -> None:
        """Refuses a Star that cannot work so, before anything is begun.

        :raises StarWithoutLeader, WrongState:"""
        ...

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        """Works on a task; the turn that gives the answer, which may have failed.

        :raises AsterError: there is no such turn."""
        ...
