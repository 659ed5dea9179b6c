"""Scripts of the offline provider: YAML files that say what the model does.

A file is a list of model steps, one for each model call of a turn; a step is a list
of actions with one key each::

    - - think: The user wants a file.
      - text: {text: I will write it., chunk: 4, pause: 0.05}
      - tool: {name: Write, input: {file_path: a.txt, content: hi}}
    - - pause: 0.2
      - text: Done.
      - usage: {input_tokens: 12, output_tokens: 3}
      - stop: end_turn
    - - fail: {kind: limit, retry_after: 2}

``text`` and ``fail`` may be plain: ``text: Hello``, ``fail: auth``. Without ``stop``
a step ends with tool_use when it has a tool and with end_turn otherwise."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import yaml

from aster.v1 import agent_pb2, common_pb2
from asteros.errors import ConfigError
from asteros.providers.steps import Action, Call, Fail, FailKind, Pause, Say, Step, Stop, Think, Use

MAX_BYTES = 1 << 20
MAX_PAUSE = 3600.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STOPS = {
    "end_turn": agent_pb2.STOP_REASON_END_TURN,
    "max_tokens": agent_pb2.STOP_REASON_MAX_TOKENS,
    "stop_sequence": agent_pb2.STOP_REASON_STOP_SEQUENCE,
    "tool_use": agent_pb2.STOP_REASON_TOOL_USE,
}
_USAGE = frozenset(common_pb2.TokenUsage.DESCRIPTOR.fields_by_name)


class _Bad(Exception):
    """What is wrong with one action; the place is added where it is known."""


def load(folder: Path | None, name: str) -> list[Step]:
    """The steps of the script ``name``, read anew: a script may be edited while the server runs.

    :raises ConfigError: no folder, no such file, or the step and action that are wrong."""
    if folder is None:
        raise ConfigError("this server has no folder of scripts")
    if not _NAME.fullmatch(name):
        raise ConfigError("a script's name is 1 to 63 of A-Z a-z 0-9 . _ - and begins with a letter or digit")
    return _steps(f"script {name}", _document(folder / f"{name}.yaml", name))


def _document(path: Path, name: str) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        raise ConfigError(f"script {name} does not exist or cannot be read") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"script {name} has more than {MAX_BYTES} bytes")
    try:
        return yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"script {name}, line {line}: is not YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"script {name} is not YAML") from None


def _steps(where: str, document: Any) -> list[Step]:
    if not isinstance(document, list) or not document:
        raise ConfigError(f"{where}: must be a list of one or more steps")
    return [_step(f"{where}, step {number}", step) for number, step in enumerate(document, 1)]


def _step(where: str, step: Any) -> Step:
    if not isinstance(step, list):
        raise ConfigError(f"{where}: must be a list of actions")
    actions = []
    for number, item in enumerate(step, 1):
        try:
            actions.append(_action(item))
        except _Bad as bad:
            raise ConfigError(f"{where}, action {number}: {bad}") from None
    return tuple(actions)


def _action(item: Any) -> Action:
    if not isinstance(item, dict) or len(item) != 1:
        raise _Bad(f"must have exactly one of the keys {', '.join(_READERS)}")
    ((kind, value),) = item.items()
    if kind not in _READERS:
        raise _Bad(f"unknown key {kind!r}; known are {', '.join(_READERS)}")
    return _READERS[kind](value)


def _text(value: Any) -> Say:
    fields = _fields("text", value if isinstance(value, dict) else {"text": value}, "text", "chunk", "pause")
    chunk = fields.get("chunk", 0)
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 0:
        raise _Bad("text.chunk must be a number of characters, 0 or more")
    return Say(_string("text", fields.get("text")), chunk, _seconds("text.pause", fields.get("pause", 0)))


def _think(value: Any) -> Think:
    return Think(_string("think", value))


def _tool(value: Any) -> Call:
    fields = _fields("tool", value, "name", "input", "id")
    arguments = fields.get("input", {})
    if not isinstance(arguments, dict):
        raise _Bad("tool.input must be a mapping")
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # dates, NaN, aliases that hold themselves
        raise _Bad("tool.input holds a value that JSON cannot carry") from None
    return Call(_string("tool.name", fields.get("name")), text, _string("tool.id", fields.get("id", ""), empty=True))


def _pause(value: Any) -> Pause:
    return Pause(_seconds("pause", value))


def _usage(value: Any) -> Use:
    fields = _fields("usage", value, *_USAGE)
    for name, count in fields.items():
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**31:
            raise _Bad(f"usage.{name} must be a number of tokens")
    fields.setdefault("total_tokens", fields.get("input_tokens", 0) + fields.get("output_tokens", 0))
    if fields["total_tokens"] >= 2**31:
        raise _Bad("usage.total_tokens is too large")
    return Use(common_pb2.TokenUsage(**fields))


def _stop(value: Any) -> Stop:
    if value not in _STOPS:
        raise _Bad(f"stop must be one of {', '.join(_STOPS)}")
    return Stop(_STOPS[value])


def _fail(value: Any) -> Fail:
    fields = _fields("fail", value if isinstance(value, dict) else {"kind": value}, "kind", "retry_after")
    kinds = get_args(FailKind)
    if fields.get("kind") not in kinds:
        raise _Bad(f"fail must be one of {', '.join(kinds)}")
    after = fields.get("retry_after")
    return Fail(fields["kind"], None if after is None else _seconds("fail.retry_after", after))


_READERS: dict[str, Callable[[Any], Action]] = {
    "text": _text,
    "think": _think,
    "tool": _tool,
    "pause": _pause,
    "usage": _usage,
    "stop": _stop,
    "fail": _fail,
}


def _fields(what: str, value: Any, *known: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Bad(f"{what} must be a mapping with {', '.join(sorted(known))}")
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise _Bad(f"{what} has the unknown key {unknown[0]}")
    return dict(value)


def _string(what: str, value: Any, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise _Bad(f"{what} must be text; quote it if it looks like something else")
    return value


def _seconds(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_PAUSE:
        raise _Bad(f"{what} must be seconds from 0 to {MAX_PAUSE:.0f}")
    return float(value)
