"""What is registered, of all kinds, as a store keeps it: a list, and a log of its changes.

A thing is in the list and its change in the log in the transaction that made it, so
whoever reads a snapshot with its position and follows the log from there misses
nothing and sees nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

AGENT, STAR, WORKFLOW, REMOTE_AGENT = 1, 2, 3, 4  # ResourceKind
KINDS = (AGENT, STAR, WORKFLOW, REMOTE_AGENT)
REGISTERED, UPDATED, UNREGISTERED = 2, 3, 4  # ChangeKind


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """One registered thing."""

    kind: int
    id: str
    display_name: str
    register_time: int  # nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change. Positions have no hole and are never used twice."""

    position: int
    tenant: str
    change: int
    resource: ResourceRow


class ResourceStore(Protocol):
    """Reading; writing happens where the things themselves are written.

    Methods raise what those of ``base.Store`` raise."""

    async def page(self, tenant: str, kinds: Sequence[int], after: tuple[int, str], limit: int) -> list[ResourceRow]:
        """By kind and id, after the given ones."""
        ...

    async def snapshot(self, tenant: str, kinds: Sequence[int]) -> tuple[list[ResourceRow], int]:
        """Everything, and the position of the newest change that is in it."""
        ...

    async def changes(self, after: int, limit: int) -> list[ChangeRow]:
        """Changes of all tenants after a position, oldest first."""
        ...

    async def bounds(self) -> tuple[int, int]:
        """The lowest position to go on after, and the newest."""
        ...

    async def counts(self, tenant: str) -> dict[int, int]:
        """How many there are of each kind; kinds without any are left out."""
        ...
