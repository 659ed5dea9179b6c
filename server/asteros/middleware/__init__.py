"""The onion around model calls and tool calls: which middlewares there are, and their order.

A lower number stands further out (contract, part 6)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asteros import errors


@dataclass(frozen=True, slots=True)
class Kind:
    """A middleware an agent's config may name."""

    name: str
    priority: int
    tools: tuple[str, ...] = ()  # what it gives to the agent
    available: bool = True  # False: accepted, and without effect in this version


KINDS = {
    kind.name: kind
    for kind in (
        # May be named, and is told of as "middleware.summarization" in unavailable_features:
        # a history is sent whole.
        Kind("summarization", 40, available=False),
        Kind("filesystem", 100, ("filesystem",)),
    )
}


def unavailable() -> list[str]:
    """Feature names of middlewares that have no effect, for GetServerInfo."""
    return [f"middleware.{kind.name}" for kind in KINDS.values() if not kind.available]


def check(names: Iterable[str]) -> None:
    """
    :raises FieldViolation: a name is not that of a middleware."""
    for index, name in enumerate(names):
        if name not in KINDS:
            raise errors.bad_field(f"config.middlewares[{index}]", f"there is no middleware {name[:80]!r}")


def ordered(names: Iterable[str]) -> list[str]:
    """Outermost first; equals in the order they are listed."""
    return sorted((name for name in names if name in KINDS), key=lambda name: KINDS[name].priority)


def tools(names: Iterable[str]) -> Sequence[str]:
    """Tools that the middlewares bring along."""
    return [tool for name in ordered(names) for tool in KINDS[name].tools]
