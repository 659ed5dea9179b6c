"""JSON Schema (2020-12) as settings and replies are checked with it."""

import functools
import json
from typing import TYPE_CHECKING, Any

from asteros.tools import strict_json
from asteros.tools.base import JsonObject

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_SENTENCE = 300  # characters


def fault(schema: JsonObject, value: Any) -> str:
    """What is wrong with a value, in one sentence; "" when it keeps to the schema.

    :raises ValueError: the schema itself is not usable."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(_validator(json.dumps(schema)).iter_errors(value))
    except (Unresolvable, RecursionError):
        raise ValueError("the JSON Schema cannot be used") from None
    if error is None:
        return ""
    place = strict_json.member(tuple(error.absolute_path)) if error.absolute_path else "the value"
    return f"{place}: {error.message}"[:MAX_SENTENCE]


def check(schema: JsonObject) -> None:
    """
    :raises ValueError: it is no JSON Schema."""
    _validator(json.dumps(schema))


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> "Validator":
    # Imported here: jsonschema takes longer to import than all the rest of this room.
    import jsonschema
    import referencing

    document = json.loads(schema)
    try:
        jsonschema.Draft202012Validator.check_schema(document)
    except jsonschema.SchemaError as error:
        raise ValueError(f"is no JSON Schema: {error.message}"[:MAX_SENTENCE]) from None
    # An empty registry: a schema must not make this server fetch addresses.
    return jsonschema.Draft202012Validator(document, registry=referencing.Registry())
