"""What every agent of a server shares (seed 003, Dependencies)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aster.v1 import agent_pb2, common_pb2
from asteros.events.log import EventLog
from asteros.providers.base import Provider
from asteros.runtime.secrets import SecretBox
from asteros.runtime.templates import TemplateRegistry
from asteros.sandbox.files import Workspace
from asteros.stores.base import Store
from asteros.tools.registry import ToolRegistry


class Providers(Protocol):
    """Finds the provider of a model config; see ``providers.registry``."""

    def resolve(self, config: agent_pb2.ModelConfig) -> tuple[Provider, agent_pb2.ModelConfig]: ...

    def check(self, config: agent_pb2.ModelConfig) -> None: ...

    def default_model(self) -> agent_pb2.ModelConfig: ...


class Prices(Protocol):
    """What models cost; see ``providers.pricing``."""

    def cost_usd(self, model: str, usage: common_pb2.TokenUsage) -> float | None: ...


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
