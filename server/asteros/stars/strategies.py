"""The strategies every server has, and those of installed packages."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from aster.v1 import agent_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import errors
from asteros.runtime.history import text_of
from asteros.stars.base import Strategy, Team

GROUP = "asteros.strategies"  # entry points of packages beside this one
LEADER = "leader"
_COMPLETED = agent_pb2.TURN_STATE_COMPLETED


class Leader:
    """One member plans, gives work to the others with the tools it gets, and ends."""

    name = LEADER
    delegates = True

    def check(self, star: pb.Star) -> None:
        if not any(member.role == LEADER for member in star.members):
            raise errors.StarWithoutLeader(star_id=star.id)

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        leader = next(member for member in team.members if member.role == LEADER)
        return await team.ask(leader, task)


class RoundRobin:
    """The members in turn, each with the answer before; ``max_rounds`` passes over all of them, else one.

    Who fails is passed over. A pass after which the answer is what it was before is the last."""

    name = "round_robin"
    delegates = False

    def check(self, star: pb.Star) -> None:
        _anyone(star)

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        answered: agent_pb2.Turn | None = None
        failed: agent_pb2.Turn | errors.AsterError | None = None
        for _ in range(team.max_rounds or 1):
            before = _answer(answered)
            for member in team.members:
                turn = await _asked(team, member, _with_answer(task, answered))
                if isinstance(turn, agent_pb2.Turn) and turn.state == _COMPLETED:
                    answered = turn
                else:
                    failed = turn
            if answered is not None and _answer(answered) == before:
                break
        return answered or _or_raised(failed)


class ParallelVote:
    """All members at once; the answer that most of them give, of several the one that was joined first for.

    Letter case and blanks make no difference. Who fails has no vote."""

    name = "parallel_vote"
    delegates = False

    def check(self, star: pb.Star) -> None:
        _anyone(star)

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        outcomes = await asyncio.gather(*(_asked(team, member, task) for member in team.members))
        turns = [outcome for outcome in outcomes if isinstance(outcome, agent_pb2.Turn)]
        votes = [(" ".join(text_of(turn.reply).casefold().split()), turn) for turn in turns if turn.state == _COMPLETED]
        if not votes:
            return _or_raised(turns[0] if turns else outcomes[0])
        counts = Counter(answer for answer, _ in votes)
        winner = max(counts, key=lambda answer: counts[answer])  # the first of equals
        return next(turn for answer, turn in votes if answer == winner)


def _anyone(star: pb.Star) -> None:
    if not star.members:
        raise errors.WrongState("the Star has no members", star_id=star.id)


async def _asked(team: Team, member: pb.StarMember, text: str) -> agent_pb2.Turn | errors.AsterError:
    """The turn, or why the member could take none."""
    try:
        return await team.ask(member, text)
    except (errors.NotFound, errors.FailedPrecondition, errors.ResourceExhausted) as error:
        return error


def _or_raised(outcome: agent_pb2.Turn | errors.AsterError | None) -> agent_pb2.Turn:
    if isinstance(outcome, errors.AsterError):
        raise outcome
    assert outcome is not None  # there is a member
    return outcome


def _answer(turn: agent_pb2.Turn | None) -> str | None:
    return text_of(turn.reply) if turn is not None else None


def _with_answer(task: str, before: agent_pb2.Turn | None) -> str:
    return task if before is None else f"{task}\n\nThe answer so far:\n{text_of(before.reply)}"


class Strategies:
    """Strategies by name; never changed."""

    def __init__(self, kinds: Iterable[Strategy] = (Leader(), RoundRobin(), ParallelVote())) -> None:
        """Raises ValueError for a name that is taken."""
        self._kinds: dict[str, Strategy] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"a strategy named {kind.name} is registered already")
            self._kinds[kind.name] = kind

    @classmethod
    def installed(cls) -> "Strategies":
        """What every server has, and the entry points of installed packages.

        :raises ConfigError: a package's entry point cannot be loaded, or a name is taken."""
        try:
            return cls((Leader(), RoundRobin(), ParallelVote(), *_entry_points()))
        except ValueError as error:
            raise errors.ConfigError(str(error)) from None

    def get(self, name: str) -> Strategy:
        """The strategy of a name; the leader's without one.

        :raises FieldViolation: there is none of that name."""
        found = self._kinds.get(name or LEADER)
        if found is None:
            raise errors.bad_field("strategy", f"must be one of {', '.join(sorted(self._kinds))}")
        return found


def _entry_points() -> Sequence[Strategy]:
    found: list[Any] = []
    for point in metadata.entry_points(group=GROUP):
        try:
            found.append(point.load()())
        except Exception as error:
            raise errors.ConfigError(f"the strategy {point.name} of {point.value} cannot be loaded") from error
    return found
