"""What every agent of a server shares (seed 003, Dependencies)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aster.v1 import agent_pb2, common_pb2
from asteros.events.log import EventLog
from asteros.middleware.registry import MiddlewareRegistry
from asteros.providers.base import Provider
from asteros.providers.windows import Windows
from asteros.runtime.retries import RetryBudget
from asteros.runtime.secrets import SecretBox
from asteros.runtime.templates import TemplateRegistry
from asteros.sandbox.files import Workspace
from asteros.sandbox.sandboxes import Sandboxes
from asteros.stores.base import Store
from asteros.tools.base import Tool
from asteros.tools.registry import ToolRegistry


class Providers(Protocol):
    """Finds the provider of a model config; see ``providers.registry``."""

    def resolve(self, config: agent_pb2.ModelConfig) -> tuple[Provider, agent_pb2.ModelConfig]: ...

    def check(self, config: agent_pb2.ModelConfig) -> None: ...

    async def check_addresses(self, config: agent_pb2.ModelConfig) -> None: ...

    def route(self, profile: str) -> agent_pb2.ModelConfig: ...


class Prices(Protocol):
    """What models cost; see ``providers.pricing``."""

    def cost_usd(self, model: str, usage: common_pb2.TokenUsage) -> float | None: ...


class Teams(Protocol):
    """What turns get that members of a Star take for it; see ``stars.teams``."""

    async def part(self, tenant: str, turn: agent_pb2.Turn) -> "Part":
        """What a turn gets besides what its agent has; nothing for one that no Star has begun."""
        ...

    def stopped(self, tenant: str, turn_id: str, reason: str) -> None:
        """Somebody has stopped a turn; when a run began with it, the run stops, too."""
        ...


@dataclass(slots=True)
class Shared:
    """What all turns of one run have used together, and the most they may."""

    most: common_pb2.Budget
    began: int  # nanoseconds since 1970
    cost: float = 0.0
    tokens: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What a turn gets besides what its agent has."""

    tools: Sequence[Tool] = ()
    shared: Shared | None = None


class Alone:
    """``Teams`` where there are none."""

    async def part(self, tenant: str, turn: agent_pb2.Turn) -> Part:  # noqa: ARG002
        return Part()

    def stopped(self, tenant: str, turn_id: str, reason: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything an agent needs and does not own; one for all agents of a server."""

    store: Store
    log: EventLog
    providers: Providers
    prices: Prices
    tools: ToolRegistry
    templates: TemplateRegistry
    secrets: SecretBox
    # Opens the workspace of an agent: (agent key, work_dir of its sandbox config).
    open_workspace: Callable[[int, str], Workspace]
    # Deletes the folder an agent had for itself; blocking.
    remove_workspace: Callable[[int], None]
    sandboxes: Sandboxes
    # How often a failed model call may be repeated.
    retries: RetryBudget = field(default_factory=RetryBudget, kw_only=True)
    middlewares: MiddlewareRegistry = field(default_factory=MiddlewareRegistry, kw_only=True)
    # How many tokens models take.
    windows: Windows = field(default_factory=Windows, kw_only=True)
    teams: Teams = field(default_factory=Alone, kw_only=True)
