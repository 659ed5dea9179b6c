"""Reads JSON that nobody may read in two ways, and writes it in one way only.

What a person approves, what is digested (guarantee A2) and what a tool receives must
be the same thing, so everything parsers disagree about is refused, and so is what
could not be stored or shown again. Limits as in security rule 6.
"""

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 64  # nested arrays and objects
MAX_ITEMS = 10_000  # items of one array, members of one object

Path = tuple[str | int, ...]  # member names and array indexes from the outermost value


class StrictJsonError(ValueError):
    """The text is refused; the error's text is one sentence that names the member."""


def parse(text: str) -> Any:
    """The value of one JSON text (RFC 8259).

    Raises StrictJsonError for malformed JSON, a repeated member name, NaN, infinities
    and numbers that overflow to one, lone surrogates, NUL characters, and anything
    beyond MAX_DEPTH or MAX_ITEMS."""
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite)
    except StrictJsonError:
        raise
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"not valid JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise StrictJsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # Python refuses to convert integers of more than 4,300 digits
        raise StrictJsonError("a number has too many digits") from None
    _check(value, ())
    return value


def canonical(value: Any) -> str:
    """The one text of a JSON value, for digests: members sorted by code point, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def member(path: Path) -> str:
    """How a sentence names a member: ``"questions[0].header"``, quotes included, ASCII
    only: a name may come from the model and hold anything."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return json.dumps(text[:120]) if text else "the input"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_ITEMS:
        raise StrictJsonError(f"an object has more than {MAX_ITEMS} members")
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise StrictJsonError(f"{member((name,))} is given twice")
        members[name] = value
    return members


def _no_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictJsonError(f"the number {text[:40]} is too large")
    return value


def _check(value: Any, path: Path) -> None:
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, dict | list):
        if len(path) >= MAX_DEPTH:
            raise StrictJsonError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, list):
            _check_items(value, path)
        else:
            for name, inner in value.items():
                _check_text(name, path)
                _check(inner, (*path, name))


def _check_items(items: list[Any], path: Path) -> None:
    if len(items) > MAX_ITEMS:
        raise StrictJsonError(f"{member(path)} has more than {MAX_ITEMS} items")
    for index, inner in enumerate(items):
        _check(inner, (*path, index))


def _check_text(text: str, path: Path) -> None:
    if "\0" in text:
        raise StrictJsonError(f"{member(path)} contains a NUL character")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StrictJsonError(f"{member(path)} contains half a surrogate pair") from None
