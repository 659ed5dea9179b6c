"""When a parallel step is done, and with what."""

from collections.abc import Sequence
from dataclasses import dataclass

from aster.v1 import workflow_pb2
from asteros.workflows.failures import StepFailed

ANY = workflow_pb2.WORKFLOW_JOIN_ANY
FIRST = workflow_pb2.WORKFLOW_JOIN_FIRST
MAJORITY = workflow_pb2.WORKFLOW_JOIN_MAJORITY


@dataclass(frozen=True, slots=True)
class Result:
    """What a step gives to the next one."""

    text: str
    ended: int = 0  # when, in the order of the run
    counted: bool = True  # it succeeded, and was not passed over


Branch = Result | StepFailed | None  # None: in progress


def joined(join: int, branches: Sequence[Branch]) -> str | StepFailed | None:
    """The output of a parallel step, or its failure; None while it is not done.

    The same whenever it is asked, also when more branches have ended since: those that
    succeeded first count."""
    wins = sorted((one for one in branches if isinstance(one, Result) and one.counted), key=lambda one: one.ended)
    failures = [one for one in branches if isinstance(one, StepFailed)]
    in_progress = sum(one is None for one in branches)
    needed = _needed(join, branches)
    if needed == 0:  # all of them
        if failures and join != ANY:
            return failures[0]
        if in_progress:
            return None
        return failures[0] if failures and not wins else _output(branches, wins)
    if len(wins) >= needed:
        return _output(branches, wins[:needed])
    if len(wins) + in_progress >= needed and in_progress:
        return None
    if failures:
        return failures[0]
    return None if in_progress else _output(branches, wins)


def _needed(join: int, branches: Sequence[Branch]) -> int:
    """How many must succeed; 0: it ends when all have."""
    if join == FIRST:
        return 1
    if join == MAJORITY:
        taken = sum(not isinstance(one, Result) or one.counted for one in branches)
        return taken // 2 + 1
    return 0


def _output(branches: Sequence[Branch], wins: Sequence[Result]) -> str:
    """Outputs in the order of the steps, with an empty line between."""
    return "\n\n".join(one.text for one in branches if any(one is win for win in wins) and isinstance(one, Result))
