"""JSON of a request becomes its message.

JSON is read strictly: what two parsers would read in different ways is refused, and so is
what could not be stored or shown again. Limits as in security rule 6."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from asteros.bridge import fields
from asteros.bridge.refusal import bad_field, bad_json, bad_request

MAX_DEPTH = 64  # nested arrays and objects
MAX_ITEMS = 10_000  # items of one array, members of one object
_FAILED = re.compile(r"Failed to parse (?P<at>[\w.\[\]]+) field")
_MISFIT = "has a value of a wrong type or out of range"

# Members of the original's bodies: the member's name here, or None for one that is dropped.
Compatibility = Mapping[str, str | None]


def parsed(body: bytes) -> Any:
    """The value of one JSON text (RFC 8259), None when there is none.

    :raises Refusal: MALFORMED_JSON for a repeated member, NaN, an infinity, half a surrogate
        pair, NUL, or anything beyond MAX_DEPTH and MAX_ITEMS."""
    if not body.strip():
        return None
    try:
        value = json.loads(body.decode(), object_pairs_hook=_members, parse_constant=_constant, parse_float=_finite)
    except UnicodeDecodeError:
        raise bad_json("the body is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise bad_json(f"not valid JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise bad_json(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # an integer of more than 4,300 digits
        raise bad_json("a number has too many digits") from None
    _check(value, 0)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(pairs) > MAX_ITEMS:
        raise bad_json(f"an object has more than {MAX_ITEMS} members")
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_json("a member is given twice", twice)
    return members


def _constant(name: str) -> NoReturn:
    raise bad_json(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise bad_json("a number is too large")
    return value


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise bad_json(f"nested deeper than {MAX_DEPTH} levels")
        if len(value) > MAX_ITEMS:
            raise bad_json(f"an array has more than {MAX_ITEMS} items")
        if isinstance(value, dict):
            for name in value:
                _check_text(name)
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, depth + 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise bad_json("a text contains a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise bad_json("a text contains half a surrogate pair") from None


def fill(message: Message, value: Any, *, strict: bool, pool: DescriptorPool) -> None:
    """Writes a JSON object into a message. ``strict``: a member nobody knows is refused,
    else it is left out.

    :raises Refusal: UNKNOWN_FIELD, FIELD_VIOLATION, MALFORMED_JSON for what is no object."""
    if not isinstance(value, dict):
        raise bad_json("the body must be a JSON object")
    unknown = list(_unknown(message.DESCRIPTOR, value, ""))
    if unknown and strict:
        told = [(name, "is not known") for name in unknown]
        raise bad_request("UNKNOWN_FIELD", "the body has a member that is not known", *told)
    try:
        json_format.ParseDict(value, message, ignore_unknown_fields=not strict, descriptor_pool=pool)
    except json_format.ParseError as error:
        failed = _FAILED.search(str(error))  # house: exception-text -- only the field's name is taken from it
        raise bad_field(failed["at"] if failed else "body", _MISFIT) from None
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
        # What the library does not expect in JSON, such as an Any whose value is a list.
        raise bad_field("body", _MISFIT) from None


def _unknown(kind: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    """Members that the message does not have. The library sees neither two spellings of one
    member, nor a text where a message belongs.

    :raises Refusal: those two."""
    seen: set[str] = set()
    for name, inner in value.items():
        at = f"{path}{name}"
        field = fields.by_name(kind, name)
        if field is None:
            yield at
            continue
        if field.name in seen:
            raise bad_json("a member is given twice", at)
        seen.add(field.name)
        inside = field.message_type
        if inner is None or inside is None or inside.full_name in fields.LEAVES:
            continue
        if fields.is_map(field):
            inside, parts = inside.fields_by_name["value"].message_type, _parts(inner, at)
        else:
            parts = list(enumerate(inner)) if field.is_repeated and isinstance(inner, list) else [("", inner)]
        for key, part in parts if inside is not None and inside.full_name not in fields.LEAVES else ():
            where = f"{at}[{key}]" if key != "" else at
            if not isinstance(part, dict):
                raise bad_field(where, "must be an object")
            yield from _unknown(inside, part, f"{where}.")


def _parts(value: Any, at: str) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict):
        raise bad_field(at, "must be an object")
    return list(value.items())


def fill_field(
    message: Message, path: Sequence[FieldDescriptor], value: Any, *, strict: bool, pool: DescriptorPool
) -> None:
    """Writes the body into one field, however deep and of whatever type.

    :raises Refusal:"""
    nested: Any = value
    for field in reversed(path):
        nested = {field.name: nested}
    fill(message, nested, strict=strict, pool=pool)


def with_compatibility(value: Any, members: Compatibility) -> Any:
    """A body without the members that are only there for old clients.

    A replaced member counts where its new name is missing."""
    if not isinstance(value, dict) or not members.keys() & value.keys():
        return value
    kept = {name: inner for name, inner in value.items() if name not in members}
    for old, new in members.items():
        if new is not None and old in value:
            kept.setdefault(new, value[old])
    return kept


def mask_paths(kind: Descriptor, value: Any) -> list[str]:
    """The field mask of a PATCH: what its JSON names, sorted; whole lists, maps and well-known types."""
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    for name, inner in value.items():
        field = fields.by_name(kind, name)
        if field is None:
            continue
        inside = field.message_type
        leaf = field.is_repeated or inside is None or inside.full_name in fields.LEAVES
        below = [] if leaf or inside is None else mask_paths(inside, inner)
        found += [f"{field.name}.{path}" for path in below] or [field.name]
    return sorted(found)
