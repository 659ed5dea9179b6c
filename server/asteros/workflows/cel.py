"""The expressions of workflows, computed in a process of their own.

CEL has no effects and the library bounds its loops, but nothing bounds how large a text
may grow: ``[input].map(x, x + x).map(x, x + x)...`` doubles with every word. Here that ends
in this process, which holds nothing but the values of one expression and may take 512 MiB.

One JSON object a line: ``{"text", "names"}`` asks for the type of an expression,
``{"text", "names", "values"}`` for its value. The answer has ``type``, ``value`` or ``error``.
A program that starts with every server that has workflows: it imports nothing of ours."""

import contextlib
import datetime
import functools
import json
import math
import resource
import sys
from typing import Any

from cel_expr_python import cel

MEMORY = 512 * 1024 * 1024  # bytes of address space
MAX_VALUE = 1024 * 1024  # bytes of JSON of a value
_TYPES = {
    "input": cel.Type.STRING,
    "inputs": cel.Type.DYN,
    "previous": cel.Type.STRING,
    "steps": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    "item": cel.Type.DYN,
    "round": cel.Type.INT,
    "result": cel.Type.STRING,
}


def _parse_json(text: str) -> Any:
    return _within(json.loads(text))


def _within(value: Any) -> Any:
    """A JSON value as CEL takes it: its whole numbers have 64 bits."""
    if isinstance(value, dict):
        return {key: _within(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_within(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


@functools.cache
def _environment(names: tuple[str, ...]) -> Any:
    overload = cel.Overload("parse_json_string", cel.Type.DYN, [cel.Type.STRING], is_member=False)
    return cel.NewEnv(
        variables={name: _TYPES[name] for name in names},
        functions=[cel.FunctionDecl("parse_json", [overload])],
        function_impls={"parse_json_string": _parse_json},
    )


@functools.lru_cache(maxsize=4096)
def _compiled(text: str, names: tuple[str, ...]) -> Any:
    return _environment(names).compile(text)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case dict():
            return {key if isinstance(key, str) else json.dumps(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case datetime.timedelta():
            return f"{value.total_seconds():g}s"
        case float() if not math.isfinite(value):
            raise ValueError("the value is no number of JSON")
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise ValueError("the value is none of JSON")


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What one line asks for."""
    try:
        program = _compiled(question["text"], tuple(question["names"]))
        if "values" not in question:
            return {"type": program.return_type().name()}
        found = program.eval(data={name: _within(value) for name, value in question["values"].items()})
        if found.type().name() == "ERROR":
            return {"error": _said(str(found.plain_value()))}
        value = _plain(found.plain_value())
        if len(json.dumps(value)) > MAX_VALUE:
            return {"error": f"the value has more than {MAX_VALUE} bytes"}
    except MemoryError:
        return {"error": "it needs too much memory"}
    except RecursionError:
        return {"error": "it nests too deep"}
    except (RuntimeError, ValueError) as error:
        return {"error": _said(str(error))}
    return {"value": value}


def _said(text: str) -> str:
    """The first line of the library's message, without its own code."""
    line = text.splitlines()[0] if text else "it has no value"
    for prefix in ("INVALID_ARGUMENT: ", "NOT_FOUND: ", "UNKNOWN: ", "INTERNAL: ", "CANCELLED: ", "ERROR: <input>:"):
        line = line.removeprefix(prefix)
    return line[:300]


def main() -> None:
    with contextlib.suppress(ValueError):  # a system without this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
