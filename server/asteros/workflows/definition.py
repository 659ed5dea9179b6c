"""Is this a workflow? Everything that is wrong with one is found, not just the first thing."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from aster.v1 import workflow_pb2
from asteros import clock
from asteros.errors import Violation
from asteros.workflows.expressions import LOOP_NAMES, NAMES, BadExpression, Expressions, parts_of

Step = workflow_pb2.WorkflowStep
MAX_DEPTH = 8
MAX_STEPS = 100
MAX_RETRIES = 10
MAX_ROUNDS = 1000
MAX_BACKOFF = 3600.0  # seconds
MAX_APPROVAL = 30 * 86400.0
MAX_WAIT = 365 * 86400.0
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FORM = "must be 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"


@dataclass(frozen=True, slots=True)
class Place:
    """A step and where it stands."""

    step: Step
    path: str  # as in the proto: "root.sequential.steps[0]"
    depth: int  # 1 for the root
    in_loop: bool


def walk(root: Step) -> Iterator[Place]:
    """Every step, outer ones first; no deeper than one level below MAX_DEPTH."""
    todo = [Place(root, "root", 1, in_loop=False)]
    while todo:
        place = todo.pop(0)
        yield place
        if place.depth <= MAX_DEPTH:
            todo = [*_inside(place), *todo]


def _inside(place: Place) -> Iterator[Place]:
    """The steps right inside a step."""

    def at(step: Step, path: str, *, in_loop: bool = place.in_loop) -> Place:
        return Place(step, f"{place.path}.{path}", place.depth + 1, in_loop)

    step = place.step
    match step.WhichOneof("action"):
        case "sequential":
            yield from (at(inner, f"sequential.steps[{i}]") for i, inner in enumerate(step.sequential.steps))
        case "parallel":
            yield from (at(inner, f"parallel.steps[{i}]") for i, inner in enumerate(step.parallel.steps))
        case "loop":
            yield at(step.loop.body, "loop.body", in_loop=True)
        case "router":
            yield from (at(route.step, f"router.routes[{i}].step") for i, route in enumerate(step.router.routes))
            if step.router.HasField("otherwise"):
                yield at(step.router.otherwise, "router.otherwise")
    if step.HasField("fallback"):
        yield at(step.fallback, "fallback")


def contained(root: Step) -> set[str]:
    """Ids of the workflows that its steps run."""
    return {place.step.workflow.workflow_id for place in walk(root) if place.step.WhichOneof("action") == "workflow"}


async def violations(
    workflow: workflow_pb2.Workflow, expressions: Expressions, functions: Collection[str]
) -> list[Violation]:
    """All that is wrong with a workflow's steps; the paths begin with ``root``."""
    found: list[Violation] = []
    seen: set[str] = set()
    count = 0
    for place in walk(workflow.root):
        count += 1
        if count > MAX_STEPS:
            found.append(Violation("root", f"has more than {MAX_STEPS} steps"))
            break
        if place.depth > MAX_DEPTH:
            found.append(Violation(place.path, f"stands deeper than {MAX_DEPTH} levels"))
            continue
        found += _named(place, seen)
        found += _action(place, functions)
        found += _options(place)
        found += await _texts(place, expressions)
    if workflow.id in contained(workflow.root):
        found.append(Violation("root", "a workflow cannot contain itself"))
    return found


def _named(place: Place, seen: set[str]) -> Iterator[Violation]:
    step_id = place.step.id
    if not ID.fullmatch(step_id):
        yield Violation(f"{place.path}.id", FORM)
    elif step_id in seen:
        yield Violation(f"{place.path}.id", f"{step_id} stands twice")
    seen.add(step_id)


def _action(place: Place, functions: Collection[str]) -> Iterator[Violation]:
    kind = place.step.WhichOneof("action")
    if kind is None:
        yield Violation(place.path, "has no action")
        return
    action = getattr(place.step, kind)
    for name in _REQUIRED.get(kind, ()):
        if not getattr(action, name):
            yield Violation(f"{place.path}.{kind}.{name}", "is required")
    check = _KINDS.get(kind)
    if check is not None:
        yield from check(place.step, f"{place.path}.{kind}")
    if kind == "function" and action.name and action.name not in functions:
        yield Violation(f"{place.path}.function.name", "no such function is registered in this server")


_REQUIRED = {
    "agent": ("agent_id",),
    "star": ("star_id",),
    "tool": ("tool_name", "agent_id"),
    "function": ("name",),
    "workflow": ("workflow_id",),
    "sequential": ("steps",),
    "parallel": ("steps",),
    "router": ("routes",),
}


def _parallel(step: Step, path: str) -> Iterator[Violation]:
    if step.parallel.max_concurrency < 0:
        yield Violation(f"{path}.max_concurrency", "must not be negative")


def _loop(step: Step, path: str) -> Iterator[Violation]:
    if not step.loop.HasField("body"):
        yield Violation(f"{path}.body", "is required")
    if not 1 <= step.loop.max_iterations <= MAX_ROUNDS:
        yield Violation(f"{path}.max_iterations", f"must be from 1 to {MAX_ROUNDS}")


def _router(step: Step, path: str) -> Iterator[Violation]:
    for index, route in enumerate(step.router.routes):
        where = f"{path}.routes[{index}]"
        if not route.HasField("step"):
            yield Violation(f"{where}.step", "is required")
        if step.router.chooser_agent_id and not route.description:
            yield Violation(f"{where}.description", "is required with a chooser")
        if not step.router.chooser_agent_id and not route.when:
            yield Violation(f"{where}.when", "is required without a chooser")


def _approval(step: Step, path: str) -> Iterator[Violation]:
    if step.approval.HasField("expire_after") and not 0 < clock.seconds(step.approval.expire_after) <= MAX_APPROVAL:
        yield Violation(f"{path}.expire_after", "must be above 0 s and at most 30 days")


def _wait(step: Step, path: str) -> Iterator[Violation]:
    match step.wait.WhichOneof("until"):
        case None:
            yield Violation(path, "exactly one of duration and time is required")
        case "duration" if not 0 < clock.seconds(step.wait.duration) <= MAX_WAIT:
            yield Violation(f"{path}.duration", "must be above 0 s and at most 365 days")


_KINDS: dict[str, Callable[[Step, str], Iterator[Violation]]] = {
    "parallel": _parallel,
    "loop": _loop,
    "router": _router,
    "approval": _approval,
    "wait": _wait,
}


def _options(place: Place) -> Iterator[Violation]:
    """What every step may have."""
    step, path = place.step, place.path
    if step.HasField("timeout") and not 0 < clock.seconds(step.timeout) <= MAX_WAIT:
        yield Violation(f"{path}.timeout", "must be above 0 s and at most 365 days")
    if not step.HasField("retry"):
        return
    retry = step.retry
    if not 0 <= retry.max_retries <= MAX_RETRIES:
        yield Violation(f"{path}.retry.max_retries", f"must be from 0 to {MAX_RETRIES}")
    if retry.multiplier and not 1 <= retry.multiplier <= 100:
        yield Violation(f"{path}.retry.multiplier", "must be from 1 to 100")
    for name in ("initial_backoff", "max_backoff"):
        if retry.HasField(name) and not 0 < clock.seconds(getattr(retry, name)) <= MAX_BACKOFF:
            yield Violation(f"{path}.retry.{name}", "must be above 0 s and at most 1 h")


# -- expressions --------------------------------------------------------------------

_CONDITION = ("BOOL", "DYN")


async def _texts(place: Place, expressions: Expressions) -> list[Violation]:
    """Conditions, templates and outputs: each must compile, and be of a fitting type."""
    step, path = place.step, place.path
    names = (*NAMES, *LOOP_NAMES) if place.in_loop else NAMES
    found: list[Violation] = []

    async def expression(text: str, where: str, types: tuple[str, ...] = (), known: tuple[str, ...] = names) -> None:
        if not text:
            return
        try:
            kind = await expressions.type_of(text, known)
        except BadExpression as error:
            found.append(Violation(f"{path}.{where}", str(error)))
            return
        if types and not kind.startswith(types):
            found.append(Violation(f"{path}.{where}", f"is {kind}, and must be {types[0]}"))

    async def template(text: str, where: str) -> None:
        try:
            for part in parts_of(text):
                if part.is_expression:
                    await expression(part.text or " ", where)
        except BadExpression as error:
            found.append(Violation(f"{path}.{where}", str(error)))

    await expression(step.when, "when", _CONDITION)
    await template(step.input, "input")
    await expression(step.output, "output", (), (*names, "result"))
    match step.WhichOneof("action"):
        case "agent":
            await template(step.agent.session_id, "agent.session_id")
        case "wait":
            await template(step.wait.time, "wait.time")
        case "loop":
            inner = (*NAMES, *LOOP_NAMES)
            await expression(step.loop.while_expression, "loop.while_expression", _CONDITION, inner)
            await expression(step.loop.until_expression, "loop.until_expression", _CONDITION, inner)
            await expression(step.loop.for_each_expression, "loop.for_each_expression", ("LIST", "DYN"))
        case "router":
            for index, route in enumerate(step.router.routes):
                await expression(route.when, f"router.routes[{index}].when", _CONDITION)
    return found
