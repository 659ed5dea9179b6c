"""From the input text of a call to arguments a tool can trust."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asteros.tools import strict_json
from asteros.tools.base import JsonObject, ToolInfo

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

MAX_SENTENCE = 300  # characters


class BadToolInput(Exception):
    """The input of a call is not what the tool takes; the text is one sentence for the model."""


class InputCheck:
    """Parses and validates the inputs of one tool; its schema is compiled once."""

    def __init__(self, info: ToolInfo) -> None:
        self.info = info
        self._validator = _compiled(info)

    def read(self, text: str) -> JsonObject:
        """The arguments in a JSON text, with aliases replaced. Raises BadToolInput."""
        try:
            value = strict_json.parse(text)
        except strict_json.StrictJsonError as error:
            raise BadToolInput(str(error)) from None
        if not isinstance(value, dict):
            raise BadToolInput("the input must be a JSON object")
        args = _without_aliases(value, self.info.argument_aliases or {})
        self._validate(args)
        return args

    def _validate(self, args: JsonObject) -> None:
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(self._validator.iter_errors(args))
        except (Unresolvable, RecursionError):
            raise BadToolInput(_unusable(self.info)) from None
        if error is not None:
            raise BadToolInput(_sentence(error)[:MAX_SENTENCE])


def _compiled(info: ToolInfo) -> "Validator":
    # Imported here: jsonschema takes longer to import than all the rest of the tools.
    import jsonschema
    import referencing

    schema = dict(info.input_schema)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        raise BadToolInput(_unusable(info)) from None
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    extend: Any = jsonschema.validators.extend  # has no type hints
    kind: type[Validator] = extend(jsonschema.Draft202012Validator, type_checker=checker)
    # An empty registry: a schema of a foreign tool must not make this server fetch addresses.
    return kind(schema, registry=referencing.Registry())


def _is_integer(_checker: Any, value: object) -> bool:
    """Stricter than JSON Schema, which lets 1.0 pass: a tool that counts gets an int."""
    return isinstance(value, int) and not isinstance(value, bool)


def _unusable(info: ToolInfo) -> str:
    return f"the input schema of {info.name} is not usable"


def _without_aliases(args: JsonObject, aliases: Mapping[str, str]) -> JsonObject:
    renamed: JsonObject = {}
    for name, value in args.items():
        target = aliases.get(name, name)
        if target in renamed:
            raise BadToolInput(f"{strict_json.member((target,))} is given twice, once under another name")
        renamed[target] = value
    return renamed


def _sentence(error: "ValidationError") -> str:
    """What is wrong, without the value: that may be megabytes."""
    path = tuple(error.absolute_path)
    rule: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "required":
        missing = next(name for name in rule if name not in instance)
        return f"{strict_json.member((*path, missing))} is missing"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        extra = next((name for name in instance if name not in known), "")
        return f"{strict_json.member((*path, extra))} is not known"
    if error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else rule
        return f"{strict_json.member(path)} must be of type {' or '.join(kinds)}"
    if error.validator in ("enum", "const"):
        return f"{strict_json.member(path)} must be {strict_json.canonical(rule)}"
    return f"{strict_json.member(path)} does not keep to {error.validator} {strict_json.canonical(rule)}"
