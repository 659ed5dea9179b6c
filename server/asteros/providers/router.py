"""Which models a task may use under a routing profile. The only file that reads ``routes.yaml``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from aster.v1 import agent_pb2
from asteros.errors import ConfigError

PACKAGED = Path(__file__).with_name("routes.yaml")

BALANCED = "balanced"
_ALIASES = {"": BALANCED, "latency": "performance"}
_PROFILES = frozenset({"cost", BALANCED, "performance", "quality"})
PROFILES = _PROFILES | set(_ALIASES)
_DEFAULT = "default"
_FIELDS = frozenset({"provider", "model", "base_url", "api_key_secret"})


@dataclass(frozen=True, slots=True)
class Route:
    """One model of a row; ``where`` says which, for people."""

    where: str
    model: agent_pb2.ModelConfig


Row = tuple[Route, ...]


class Router:
    """An immutable table: task and profile, else the task, else the default."""

    def __init__(self, path: Path = PACKAGED) -> None:
        """:raises ConfigError: the file is missing or not of the form described in ``routes.yaml``."""
        document = _read(path)
        where = f"routing table {path}"
        if set(document) - {"tasks", _DEFAULT} or not isinstance(document.get("tasks", {}), dict):
            raise ConfigError(f"{where}: may have 'tasks', a mapping, and 'default'")
        self._default = _row(f"{where}: default", document.get(_DEFAULT))
        tasks = {
            str(task): _task(f"{where}: tasks.{task}", rows) for task, rows in (document.get("tasks") or {}).items()
        }
        self._tasks: Mapping[str, Mapping[str, Row]] = MappingProxyType(tasks)

    def row(self, task: str, profile: str) -> Row:
        """The models to choose from, the preferred one first. ``profile``: one of PROFILES."""
        rows = self._tasks.get(task, {})
        return rows.get(_ALIASES.get(profile, profile)) or rows.get(_DEFAULT) or self._default

    def __iter__(self) -> Iterator[Route]:
        """Every route of the table."""
        yield from self._default
        for rows in self._tasks.values():
            for row in rows.values():
                yield from row


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"routing table {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"routing table {path} is not YAML") from error
    if not isinstance(document, dict):
        raise ConfigError(f"routing table {path}: must be a mapping with 'tasks' and 'default'")
    return document


def _task(where: str, rows: Any) -> Mapping[str, Row]:
    known = _PROFILES | {_DEFAULT}
    if not isinstance(rows, dict) or not set(rows) <= known:
        raise ConfigError(f"{where}: maps some of {', '.join(sorted(known))} to lists of models")
    return MappingProxyType({profile: _row(f"{where}.{profile}", row) for profile, row in rows.items()})


def _row(where: str, row: Any) -> Row:
    if not isinstance(row, list) or not row:
        raise ConfigError(f"{where}: must be a list of one or more models")
    return tuple(_route(f"{where}[{place}]", route) for place, route in enumerate(row))


def _route(where: str, route: Any) -> Route:
    if not isinstance(route, dict) or not {"model"} <= set(route) <= _FIELDS:
        raise ConfigError(f"{where}: needs model, may have {', '.join(sorted(_FIELDS - {'model'}))}")
    if not all(isinstance(value, str) and value for value in route.values()):
        raise ConfigError(f"{where}: holds a value that is not a text")
    return Route(where, agent_pb2.ModelConfig(**route))
