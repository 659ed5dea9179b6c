"""Which middlewares a server has, their order, and what a config may say to them."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence

from asteros import errors
from asteros.middleware import schema
from asteros.middleware.base import Middleware
from asteros.middleware.filesystem import Filesystem
from asteros.middleware.memory import AgentMemory
from asteros.middleware.observations import ObservationCompression
from asteros.middleware.onion import Onion
from asteros.middleware.patch import PatchToolCalls
from asteros.middleware.pii import PiiRedaction
from asteros.middleware.prompts import Reasoning, Simplicity
from asteros.middleware.review import HumanInTheLoop
from asteros.middleware.structured import StructuredOutput
from asteros.middleware.summarization import Summarization
from asteros.middleware.telemetry import Telemetry
from asteros.middleware.todolist import TodoList
from asteros.middleware.working import WorkingMemory
from asteros.tools.base import JsonObject

GROUP = "asteros.middlewares"  # entry points of packages beside this one
BUILTIN: tuple[type[Middleware], ...] = (
    Telemetry,
    AgentMemory,
    WorkingMemory,
    PiiRedaction,
    ObservationCompression,
    Summarization,
    TodoList,
    PatchToolCalls,
    StructuredOutput,
    Filesystem,
    HumanInTheLoop,
    Reasoning,
    Simplicity,
)


class MiddlewareRegistry:
    """Kinds of middlewares by name; shared by all agents, never changed."""

    def __init__(self, kinds: Iterable[type[Middleware]] = BUILTIN) -> None:
        """Raises ValueError for a name that is taken."""
        self._kinds: dict[str, type[Middleware]] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"a middleware named {kind.name} is registered already")
            self._kinds[kind.name] = kind

    @classmethod
    def installed(cls, *more: type[Middleware]) -> "MiddlewareRegistry":
        """What every server has, the entry points of installed packages, and these.

        :raises ConfigError: a package's entry point cannot be loaded, or a name is taken."""
        try:
            return cls((*BUILTIN, *_entry_points(), *more))
        except ValueError as error:
            raise errors.ConfigError(str(error)) from None

    def all(self) -> list[type[Middleware]]:
        """Every kind, outermost first."""
        return sorted(self._kinds.values(), key=lambda kind: kind.priority)

    def order(self, names: Iterable[str]) -> list[str]:
        """Outermost first, each once; ties as listed. Names that do not exist are left out."""
        known = dict.fromkeys(name for name in names if name in self._kinds)
        return sorted(known, key=lambda name: self._kinds[name].priority)

    def tools(self, names: Iterable[str]) -> Sequence[str]:
        """Registered tools and groups that the middlewares bring along."""
        return [tool for name in self.order(names) for tool in self._kinds[name].tools]

    def onion(self, names: Sequence[str], configs: Mapping[str, str], path: str = "config.") -> Onion:
        """The rings of an agent.

        :raises FieldViolation: a name that does not exist, or settings that are not valid."""
        violations: list[errors.Violation] = []
        for index, name in enumerate(names):
            if name not in self._kinds:
                text = f"there is no middleware {name[:80]!r}"
                violations.append(errors.Violation(f"{path}middlewares[{index}]", text))
        made: dict[str, Middleware] = {}
        for name in dict.fromkeys((*configs, *self.order(names))):
            wrong = self._make(name, configs.get(name, "{}"), made)
            place = f"{path}middleware_config_json[{name[:80]!r}]"
            violations += [errors.Violation(place, wrong)] if wrong else []
        if violations:
            raise errors.FieldViolation(*violations)
        return Onion([made[name] for name in self.order(names)])

    def _make(self, name: str, text: str, made: dict[str, Middleware]) -> str:
        """Makes a ring; what is wrong with its settings."""
        kind = self._kinds.get(name)
        if kind is None:
            return "there is no such middleware"
        try:
            config = json.loads(text or "{}")
        except (ValueError, RecursionError):
            return "is not JSON"
        wrong = schema.fault(kind.config_schema, config)
        if wrong:
            return wrong
        try:
            made[name] = kind(_with_defaults(kind.config_schema, config))
        except ValueError as error:
            return str(error)
        return ""


def _with_defaults(settings: JsonObject, config: JsonObject) -> JsonObject:
    """The config with the defaults that its schema names."""
    properties: JsonObject = settings.get("properties", {})
    return {**{name: each["default"] for name, each in properties.items() if "default" in each}, **config}


def _entry_points() -> list[type[Middleware]]:
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            kind = point.load()
        except Exception as error:
            raise errors.ConfigError(f"the middleware {point.name} of {point.value} cannot be loaded") from error
        if not (isinstance(kind, type) and issubclass(kind, Middleware)):
            raise errors.ConfigError(f"the middleware {point.name} of {point.value} is no Middleware class")
        found.append(kind)
    return found
