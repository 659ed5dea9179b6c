"""Places where a test makes the server die, fail, stop or wait.

``ASTER_FAILPOINTS="run.before_tool=kill@0.5;log.before_append=sleep(0.2)#3"`` sets them,
and is refused unless ``ASTER_TESTING=1``. Kinds: ``kill`` (SIGKILL to itself), ``raise``
(``FailpointRaised``), ``sleep(SECONDS)``, ``stop`` (SIGSTOP). ``@P`` is a probability,
``#N`` the first visit that counts, from 1. Without them ``reach`` does nothing."""

import os
import random
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from asteros import clock
from asteros.errors import ConfigError, RefusedToStart

T = TypeVar("T")
POINTS = frozenset(
    {
        "log.before_append",  # a group is in line, nothing is written
        "log.after_append_before_ack",  # on the disk, and nobody knows
        "log.after_ack_before_publish",  # the writer knows, no subscriber does
        "hub.before_write",  # a message is about to go to a subscriber
        "run.before_model",
        "run.mid_stream",  # after each chunk of a model
        "run.before_tool",  # the call is stored as EXECUTING
        "run.after_tool_before_result",  # the tool has run, its result is not stored
        "run.before_terminal",  # before the end of a turn is stored
        "approval.after_store_before_wake",  # decided and stored, the waiting call not told
        "approval.after_decide_before_dispatch",  # the call knows, its start is not stored
        "workflow.after_start",  # the beginning of a step is stored, nothing is done
        "workflow.before_result",  # a step has done its work, its result is not stored
        "workflow.after_result",  # ... stored, and the next step has not begun
        "workflow.before_end",  # all steps have ended, the run has not
        "star.after_row",  # a turn of a Star's run is written down, and has not begun
        "star.before_end",  # the answer is there, the end of the run is not stored
        "drain.mid",  # streams were told to end, turns may still run
    }
)
_PLAN = re.compile(
    r"(?P<point>[a-z_.]+)=(?P<kind>kill|raise|stop|sleep\((?P<seconds>\d+(\.\d+)?)\))"
    r"(@(?P<chance>\d+(\.\d+)?))?(#(?P<first>\d+))?"
)


class FailpointRaised(Exception):
    """The kind ``raise``: a fault that nobody foresaw."""


@dataclass(slots=True)
class _Plan:
    """What happens at one point."""

    kind: str
    seconds: float
    chance: float
    first: int
    visits: int = 0

    def due(self) -> bool:
        self.visits += 1
        return self.visits >= self.first and random.random() < self.chance  # noqa: S311 - no secret


async def _nothing(point: str) -> None:
    pass


# Called as ``await failpoints.reach("run.before_tool")``; looked up on the module at each call.
reach: Callable[[str], Awaitable[None]] = _nothing
_plans: dict[str, _Plan] = {}


def install(environ: Mapping[str, str]) -> None:
    """Sets the points of the environment, and no others.

    :raises RefusedToStart: without ASTER_TESTING=1.
    :raises ConfigError: an unknown point or a malformed plan."""
    global reach
    text = environ.get("ASTER_FAILPOINTS", "")
    if text and environ.get("ASTER_TESTING") != "1":
        raise RefusedToStart("ASTER_FAILPOINTS breaks this server on purpose; it needs ASTER_TESTING=1, or unset it")
    _plans.clear()
    _plans.update(_parsed(part.strip()) for part in text.split(";") if part.strip())
    reach = _reached if _plans else _nothing


def _parsed(text: str) -> tuple[str, _Plan]:
    found = _PLAN.fullmatch(text)
    if found is None or found["point"] not in POINTS:
        raise ConfigError(f"ASTER_FAILPOINTS: {text[:80]!r} is not POINT=KIND[@PROBABILITY][#VISIT] with a known point")
    kind = found["kind"].partition("(")[0]
    return found["point"], _Plan(
        kind, float(found["seconds"] or 0), float(found["chance"] or 1), int(found["first"] or 1)
    )


async def _reached(point: str) -> None:
    plan = _plans.get(point)
    if plan is None or not plan.due():
        return
    match plan.kind:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            await clock.sleep(plan.seconds)
        case _:
            raise FailpointRaised(point)


def between(point: str, source: AsyncIterator[T]) -> AsyncIterator[T]:
    """The source itself; with a plan for the point, one that reaches it after each item."""
    return _watched(point, source) if point in _plans else source


async def _watched(point: str, source: AsyncIterator[T]) -> AsyncIterator[T]:
    async for item in source:
        yield item
        await reach(point)
