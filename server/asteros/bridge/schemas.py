"""Messages become JSON Schema 2020-12, as ProtoJSON writes them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from asteros.bridge.behaviour import INPUT_ONLY, OUTPUT_ONLY, REQUIRED, behaviour_of
from asteros.bridge.bindings import Style
from asteros.bridge.comments import Comments
from asteros.bridge.fields import is_map

Schema = dict[str, Any]

# Components of a failure's body.
ERRORS: Mapping[Style, str] = {"aster": "Error", "gateway": "GatewayError"}
_F = FieldDescriptor
_INT64: Schema = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_UINT64: Schema = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
_INT32: Schema = {"type": "integer", "format": "int32", "minimum": -(1 << 31), "maximum": (1 << 31) - 1}
_UINT32: Schema = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": (1 << 32) - 1}
_BYTES: Schema = {"type": "string", "contentEncoding": "base64"}
SCALARS: Mapping[int, Schema] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), _INT32),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), _UINT32),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _INT64),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), _UINT64),
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: _BYTES,
}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


_WELL_KNOWN: Mapping[str, Schema] = {
    "Timestamp": {"type": "string", "format": "date-time"},
    "Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "FieldMask": {"type": "string"},
    "Struct": {"type": "object", "additionalProperties": True},
    "Value": {},
    "ListValue": {"type": "array", "items": {}},
    "NullValue": {"type": "null"},
    "Empty": {"type": "object"},
    "Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
    "DoubleValue": _nullable(SCALARS[_F.TYPE_DOUBLE]),
    "FloatValue": _nullable(SCALARS[_F.TYPE_FLOAT]),
    "Int64Value": _nullable(_INT64),
    "UInt64Value": _nullable(_UINT64),
    "Int32Value": _nullable(_INT32),
    "UInt32Value": _nullable(_UINT32),
    "BoolValue": _nullable({"type": "boolean"}),
    "StringValue": _nullable({"type": "string"}),
    "BytesValue": _nullable(_BYTES),
}
WELL_KNOWN = {f"google.protobuf.{name}": schema for name, schema in _WELL_KNOWN.items()}


class Schemas:
    """Named schemas, made when they are first asked for. ``components`` is what was asked for so far."""

    def __init__(self, comments: Comments, answered: Collection[str]) -> None:
        """``answered``: full names of the messages that answers hold, where empty values are printed."""
        self._comments = comments
        self._answered = answered
        self._components: dict[str, Schema] = {}
        self._names: dict[tuple[str, frozenset[str]], str] = {}

    @property
    def components(self) -> dict[str, Schema]:
        return dict(sorted(self._components.items()))

    def message(self, kind: Descriptor, without: Iterable[str] = (), name: str = "") -> Schema:
        """The schema of a message, or a reference to it. ``without``: fields, by proto name, that
        stand elsewhere in the request. ``name``: of the component, in place of the message's own."""
        known = WELL_KNOWN.get(kind.full_name)
        if known is not None:
            return dict(known)
        left_out = frozenset(without)
        return self._named(kind, left_out, name, lambda: self._object(kind, left_out))

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value, with what its comment says."""
        schema = self._value(field)
        text = self._comments.get(field.full_name)
        if text:
            schema["description"] = text
        behaviour = behaviour_of(field)
        holder = field.containing_type
        if REQUIRED in behaviour and holder is not None and holder.full_name not in self._answered:
            schema |= _not_empty(schema)
        if field.name == "page_size" and "minimum" in schema:
            schema["minimum"] = 0  # of every list method (AIP-158)
        if OUTPUT_ONLY in behaviour:
            schema["readOnly"] = True
        if INPUT_ONLY in behaviour:
            schema["writeOnly"] = True
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        return schema

    def single(self, field: FieldDescriptor) -> Schema:
        """The schema of one value of a field, be it a list or not."""
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(SCALARS[field.type])

    def error(self, style: Style) -> Schema:
        """A reference to the body of a failure in a style."""
        name = ERRORS[style]
        self._components[name] = _failure(style)
        return _reference(name)

    # -- inside ------------------------------------------------------------------------

    def _value(self, field: FieldDescriptor) -> Schema:
        if is_map(field):
            entry: Any = field.message_type
            return {"type": "object", "additionalProperties": self.single(entry.fields_by_name["value"])}
        if field.is_repeated:
            return {"type": "array", "items": self.single(field)}
        return self.single(field)

    def _object(self, kind: Descriptor, without: frozenset[str]) -> Schema:
        fields = [field for field in kind.fields if field.name not in without]
        schema: Schema = {"type": "object"}
        text = "\n\n".join(filter(None, [self._comments.get(kind.full_name, ""), *self._choices(kind, without)]))
        if text:
            schema["description"] = text
        schema["properties"] = {field.json_name: self.field(field) for field in fields}
        required = [f.json_name for f in fields if REQUIRED in behaviour_of(f)]
        if required:
            schema["required"] = required
        return schema

    def _choices(self, kind: Descriptor, without: frozenset[str]) -> Iterable[str]:
        for oneof in kind.oneofs:
            names = [f.json_name for f in oneof.fields if f.name not in without]
            if len(names) > 1:  # one alone is how `optional` is written down
                about = self._comments.get(oneof.full_name, "")
                yield f"At most one of {', '.join(names)} is set. {about}".rstrip()

    def _enum(self, kind: EnumDescriptor) -> Schema:
        if kind.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[kind.full_name])
        return self._named(kind, frozenset(), "", lambda: self._names_of(kind))

    def _names_of(self, kind: EnumDescriptor) -> Schema:
        schema: Schema = {"type": "string"}
        said = [(value.name, self._comments.get(f"{kind.full_name}.{value.name}", "")) for value in kind.values]
        values = [f"- {name}: {' '.join(text.split())}" for name, text in said if text]
        text = "\n\n".join(filter(None, [self._comments.get(kind.full_name, ""), "\n".join(values)]))
        if text:
            schema["description"] = text
        return {**schema, "enum": [value.name for value in kind.values]}

    def _named(
        self, kind: Descriptor | EnumDescriptor, without: frozenset[str], wanted: str, make: Callable[[], Schema]
    ) -> Schema:
        key = (kind.full_name, without)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self._free(kind, wanted)
            self._components[name] = {}  # takes the name, and ends the recursion
            self._components[name] = make()
        return _reference(name)

    def _free(self, kind: Descriptor | EnumDescriptor, wanted: str) -> str:
        """The name without its package, where nobody else has it."""
        short = wanted or short_name(kind)
        taken = {*self._components, *ERRORS.values()}
        if short not in taken:
            return short
        return next(
            name
            for name in (kind.full_name, *(f"{short}_{number}" for number in range(2, len(taken) + 3)))
            if name not in taken
        )


def _not_empty(schema: Schema) -> Schema:
    """In proto3 an empty value is a missing one."""
    least = {"string": "minLength", "array": "minItems", "object": "minProperties"}
    limit = least.get(str(schema.get("type")))
    return {limit: 1} if limit and "format" not in schema else {}


def short_name(kind: Descriptor | EnumDescriptor) -> str:
    """A name without its package."""
    return str(kind.full_name).removeprefix(f"{kind.file.package}.")


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _failure(style: Style) -> Schema:
    status: Schema = {
        "type": "object",
        "properties": {
            "code": {**_INT32, "description": "Code of gRPC."},
            "message": {"type": "string", "description": "What went wrong, for people."},
            "details": {"type": "array", "items": dict(WELL_KNOWN["google.protobuf.Any"])},
        },
        "required": ["code", "message", "details"],
    }
    if style == "gateway":
        return {"description": "A failure, as google.rpc.Status.", **status}
    status["properties"]["status"] = {"type": "string", "description": "Name of the code."}
    status["required"] = ["code", "status", "message", "details"]
    text = "A failure. The reason that programs read is in the google.rpc.ErrorInfo among the details."
    return {"type": "object", "description": text, "properties": {"error": status}, "required": ["error"]}
