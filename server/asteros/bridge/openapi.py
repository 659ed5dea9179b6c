"""The table of bindings becomes one OpenAPI 3.1 document.

An operation is a binding: each appears exactly once, in the order of the protos, with the
comments that stand there. What is not of a proto (health, WebSockets) is not in it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from asteros.bridge import reply
from asteros.bridge.behaviour import OUTPUT_ONLY, REQUIRED, behaviour_of, within
from asteros.bridge.bindings import Binding, Table
from asteros.bridge.comments import Comments
from asteros.bridge.fields import is_map
from asteros.bridge.schemas import WELL_KNOWN, Schema, Schemas, short_name
from asteros.bridge.template import Template, Variable

VERSION = "3.1.0"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_SENTENCE = re.compile(r"\.(?=\s|$)")
_SECURITY: Mapping[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of this server."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key by itself."},
}
# What a query can say in one text.
_TEXTS = frozenset(WELL_KNOWN) - {f"google.protobuf.{name}" for name in ("ListValue", "Empty", "Any")}


def document(table: Table, title: str, version: str, comments: Comments, resume_field: str = "") -> Schema:
    """The document, ready for JSON. ``version``: of the API. ``resume_field``: of a stream's
    request, what Last-Event-ID replaces."""
    schemas = Schemas(comments, frozenset().union(*(within(binding.method.output_type) for binding in table)))
    writer = _Writer(schemas, comments, resume_field)
    paths: dict[str, Schema] = {}
    names: dict[str, str] = {}  # shape of a path -> as it was written first
    for binding in table:
        path = _path(binding.template)
        # Two paths that differ in the names of their variables are one path.
        written = names.setdefault(re.sub(r"\{[^}]*\}", "{}", path), path)
        verb = binding.verb.lower()
        operations = paths.setdefault(written, {})
        operations[verb if verb in METHODS else f"x-{verb}"] = writer.operation(binding, written)
    return {
        "openapi": VERSION,
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "tags": list(_tags(table, comments)),
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": dict(_SECURITY)},
    }


def _tags(table: Table, comments: Comments) -> Iterator[Schema]:
    for service in dict.fromkeys(binding.method.containing_service for binding in table):
        assert service is not None
        about = comments.get(service.full_name, "")
        yield {"name": service.name, **({"description": about} if about else {})}


def _path(template: Template) -> str:
    """As OpenAPI writes paths: a variable is one name, a bare wildcard gets one."""
    pieces: list[str] = []
    for number, part in enumerate(template.parts):
        if isinstance(part, Variable):
            pieces.append(f"{{{part.field}}}")
        else:
            pieces.append(f"{{segment_{number}}}" if part in ("*", "**") else part)
    return "/" + "/".join(pieces) + (f":{template.verb}" if template.verb else "")


class _Writer:
    def __init__(self, schemas: Schemas, comments: Comments, resume_field: str) -> None:
        self._schemas = schemas
        self._comments = comments
        self._resume_field = resume_field

    def operation(self, binding: Binding, path: str) -> Schema:
        method = binding.method
        assert method.containing_service is not None
        about = self._comments.get(method.full_name, "")
        found: Schema = {
            "operationId": _operation_id(binding),
            "tags": [method.containing_service.name],
        }
        if about:
            end = _SENTENCE.search(about)
            found["summary"] = " ".join(about[: end.start() if end else None].split())
            found["description"] = about
        if method.GetOptions().deprecated:
            found["deprecated"] = True
        parameters = [*self._path_parameters(binding, path), *self._query(binding), *self._resume(binding)]
        if parameters:
            found["parameters"] = parameters
        if binding.body is not None:
            found["requestBody"] = self._body(binding)
        found["responses"] = self._responses(binding)
        return found

    # -- where a request says what -----------------------------------------------------

    def _path_parameters(self, binding: Binding, path: str) -> Iterator[Schema]:
        """``path`` has the names: those of whoever wrote this path first."""
        names = re.findall(r"\{([^}]*)\}", path)
        fields = dict(zip((v.field for v in binding.template.variables), binding.path_fields, strict=True))
        wild = [part for part in binding.template.parts if isinstance(part, Variable) or part in ("*", "**")]
        for name, part in zip(names, wild, strict=True):
            if isinstance(part, Variable):
                field = fields[part.field][-1]
                schema = self._schemas.single(field)
                pattern = _pattern(part.segments)
                schema |= {"pattern": pattern} if pattern else {}
                schema |= {"minLength": 1} if schema.get("type") == "string" and not pattern else {}
                yield _parameter("path", name, schema, self._comments.get(field.full_name, ""), required=True)
            else:
                yield _parameter("path", name, {"type": "string"}, "", required=True)

    def _query(self, binding: Binding) -> Iterator[Schema]:
        if binding.body == "*":
            return
        taken = [_names(each) for each in binding.path_fields]
        if binding.body is not None:
            taken.append(_names(binding.body))
        yield from self._query_of(binding.request, (), taken, ())

    def _query_of(
        self,
        kind: Descriptor,
        above: tuple[FieldDescriptor, ...],
        taken: Sequence[tuple[str, ...]],
        open_kinds: tuple[str, ...],
    ) -> Iterator[Schema]:
        """Parameters of the fields of a message, dotted below the first level."""
        if kind.full_name in open_kinds:
            return  # a message within itself: a query could go on for ever, the document cannot
        for field in kind.fields:
            path = (*above, field)
            names = _names(path)
            if any(names[: len(each)] == each for each in taken):
                continue
            if OUTPUT_ONLY in behaviour_of(field):
                continue
            inside = field.message_type
            if inside is not None and not is_map(field) and inside.full_name not in _TEXTS:
                if not field.is_repeated:
                    yield from self._query_of(inside, path, taken, (*open_kinds, kind.full_name))
                continue
            yield from self._query_parameter(path)

    def _query_parameter(self, path: tuple[FieldDescriptor, ...]) -> Iterator[Schema]:
        field = path[-1]
        name = ".".join(each.json_name for each in path)
        about = self._comments.get(field.full_name, "")
        required = all(REQUIRED in behaviour_of(each) for each in path)
        style: Schema = {}
        if is_map(field):
            entry: Any = field.message_type
            if entry.fields_by_name["value"].message_type is not None:
                return
            style = {"style": "deepObject", "explode": True}  # name[key]=value
        schema = self._schemas.field(field)
        schema.pop("description", None)
        schema.pop("writeOnly", None)
        yield {**_parameter("query", name, schema, about, required=required), **style}

    def _resume(self, binding: Binding) -> Iterator[Schema]:
        if binding.streaming and self._resume_field in binding.request.fields_by_name:
            about = f"Replaces where to begin: the id of the last event. As {self._resume_field}."
            yield _parameter("header", "Last-Event-ID", {"type": "string"}, about, required=False)

    def _body(self, binding: Binding) -> Schema:
        schema, required = self._body_schema(binding)
        return {**({"required": True} if required else {}), "content": {"application/json": {"schema": schema}}}

    def _body_schema(self, binding: Binding) -> tuple[Schema, bool]:
        """What the body holds, without what the path says, and whether it must be there."""
        body = binding.body
        if body == "*":
            elsewhere = {path[0].name for path in binding.path_fields if len(path) == 1}
            needed = [
                field
                for field in binding.request.fields
                if field.name not in elsewhere and REQUIRED in behaviour_of(field)
            ]
            return self._schemas.message(binding.request, elsewhere), bool(needed)
        assert body is not None
        field = body[-1]
        required = REQUIRED in behaviour_of(field)
        depth, names = len(body), _names(body)
        below = {
            path[depth].name for path in binding.path_fields if len(path) > depth and _names(path[:depth]) == names
        }
        if below and field.message_type is not None:
            name = f"{short_name(binding.request)}.{field.json_name}"
            return self._schemas.message(field.message_type, below, name), required
        return self._schemas.field(field), required

    # -- what comes back ----------------------------------------------------------------

    def _responses(self, binding: Binding) -> Schema:
        failure = {"application/json": {"schema": self._schemas.error(binding.style)}}
        return {
            "200": {"description": "OK.", "content": self._answers(binding)},
            "default": {"description": "A failure.", "content": failure},
        }

    def _answers(self, binding: Binding) -> Schema:
        if reply.is_raw(binding):
            return {"*/*": {}}
        schema = self._answer(binding)
        if not binding.streaming:
            return {"application/json": {"schema": schema}}
        about = "Server-sent events; the data of each is one such object as JSON."
        events = {"schema": {"type": "string", "description": about}}
        if binding.style == "aster":
            return {"application/x-ndjson": {"schema": schema}, "text/event-stream": events}
        line = {"type": "object", "properties": {"result": schema, "error": self._schemas.error("gateway")}}
        return {"application/json": {"schema": line}, "text/event-stream": events}

    def _answer(self, binding: Binding) -> Schema:
        """One message, or the part of it that is sent."""
        if binding.element is not None:
            return self._schemas.single(binding.element)
        if binding.response_body:
            return self._schemas.field(binding.response_body[-1])
        return self._schemas.message(binding.method.output_type)


def _names(path: Sequence[FieldDescriptor]) -> tuple[str, ...]:
    return tuple(field.name for field in path)


def _operation_id(binding: Binding) -> str:
    service = binding.method.containing_service
    assert service is not None
    return f"{service.name}_{binding.method.name}" + (f"_{binding.number + 1}" if binding.number else "")


def _parameter(place: str, name: str, schema: Schema, about: str, *, required: bool) -> Schema:
    found: dict[str, Any] = {"name": name, "in": place, "required": required, "schema": schema}
    return {**found, "description": about} if about else found


def _pattern(segments: Sequence[str]) -> str:
    """What a variable's value looks like, "" when it is one segment of any text."""
    if tuple(segments) == ("*",):
        return ""
    pieces = [{"*": "[^/]+", "**": ".*"}.get(segment) or re.escape(segment) for segment in segments]
    return f"^{'/'.join(pieces)}$"
