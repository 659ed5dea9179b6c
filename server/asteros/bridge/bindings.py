"""google.api.http of every method -> the table of bindings: what REST, OpenAPI and docs are made of.

A ``Binding`` is one line of a rule: the first of a method has number 0, each of its
``additional_bindings`` the next. Everything is resolved once, against descriptors; a rule
that names a field that is not there raises ``BindingError`` at start, never at a request."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from asteros.bridge import template as templates
from asteros.bridge.template import Template

Style = Literal["gateway", "aster"]
WHOLE = "*"


class BindingError(ValueError):
    """A rule that does not fit its method."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service to offer. ``style``: "gateway" answers as grpc-gateway v2 does; "aster" prints
    errors as {"error": …}, refuses unknown members, and sends lists in streams one by one."""

    descriptor: ServiceDescriptor
    style: Style = "gateway"


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """One HTTP method and path for one RPC."""

    method: MethodDescriptor
    style: Style
    number: int  # 0, and more for additional bindings
    verb: str  # "GET", …, a custom kind, or "*" for every HTTP method
    template: Template
    path_fields: tuple[tuple[FieldDescriptor, ...], ...]  # of each variable, from the request down
    body: tuple[FieldDescriptor, ...] | Literal["*"] | None  # the field(s) down to it, the whole message, nothing
    response_body: tuple[FieldDescriptor, ...]  # empty: the whole response

    @property
    def rpc(self) -> str:
        """ "/package.Service/Method", as a channel wants it."""
        assert self.method.containing_service is not None
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def request(self) -> Descriptor:
        return self.method.input_type

    @property
    def streaming(self) -> bool:
        """The response is a stream."""
        return bool(self.method.server_streaming)

    @property
    def element(self) -> FieldDescriptor | None:
        """The list whose elements are sent one by one, in a stream of the aster style."""
        if self.style != "aster" or not self.streaming or len(self.response_body) != 1:
            return None
        (field,) = self.response_body
        return field if field.is_repeated and field.message_type is not None else None

    def with_body(self, whole: bool) -> "Binding":
        """The same, with the whole message in the body, or with none."""
        return dataclasses.replace(self, body="*" if whole else None)


class NoRoute(LookupError):
    """Nothing answers this path; ``allowed`` HTTP methods would."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__("no route")
        self.allowed = tuple(allowed)


class Table:
    """Every binding of some services, in the order of their declaration.

    ``prefix``: what stands for the literal ``/api`` of templates in the aster style."""

    def __init__(self, services: Iterable[Service], prefix: str = "/api") -> None:
        self._prefix = prefix
        self.bindings = tuple(
            binding
            for service in services
            for method in service.descriptor.methods
            for binding in bindings_of(method, service.style, prefix)
        )
        # The last registered of those that match wins.
        self._by_verb: dict[str, list[Binding]] = {}
        for binding in reversed(self.bindings):
            self._by_verb.setdefault(binding.verb, []).append(binding)
        self._any = {verb: _any_of(found) for verb, found in self._by_verb.items()}

    def find(self, verb: str, raw_path: str) -> tuple[Binding, dict[str, str]]:
        """The binding of a request, and the decoded text of each variable of its path.

        :raises NoRoute: no template matches, or none for this HTTP method.
        :raises BadEscape:"""
        for kind in (verb, "*"):
            found = self._any[kind].fullmatch(raw_path) if kind in self._any else None
            if found is not None and found.lastindex is not None:
                binding = self._by_verb[kind][found.lastindex - 1]
                match = binding.template.matches(raw_path)
                assert match is not None
                return binding, binding.template.values(match)
        others = [b.verb for b in self.bindings if b.template.matches(raw_path)]
        raise NoRoute(list(dict.fromkeys(others)))

    def socket(self, path: str, rpc: str) -> Binding:
        """A WebSocket path for a method that is in the table: its frames are those of its first binding.

        :raises BindingError: there is no such method, or the path does not fit it."""
        like = next((binding for binding in self.bindings if binding.rpc == rpc and binding.streaming), None)
        if like is None:
            raise BindingError(f"{rpc} is no annotated stream")
        template, path_fields = _path(like.method, _prefixed(path, self._prefix))
        return dataclasses.replace(like, number=0, verb="GET", template=template, path_fields=path_fields, body=None)

    def __iter__(self) -> Iterator[Binding]:
        return iter(self.bindings)


def _any_of(bindings: Iterable[Binding]) -> re.Pattern[str]:
    """Matches what one of them matches; ``lastindex`` tells which, the first of several, counted from 1."""
    return re.compile("|".join(f"({binding.template.ungrouped})" for binding in bindings), re.DOTALL)


def rule_of(method: MethodDescriptor) -> http_pb2.HttpRule | None:
    """The annotation of a method, whatever pool it lives in; None without one."""
    options = descriptor_pb2.MethodOptions.FromString(method.GetOptions().SerializeToString())
    return options.Extensions[annotations_pb2.http] if options.HasExtension(annotations_pb2.http) else None


def bindings_of(method: MethodDescriptor, style: Style, prefix: str = "/api") -> Iterator[Binding]:
    """The bindings of one method. Methods whose requests are streams have none.

    :raises BindingError:"""
    rule = rule_of(method)
    if rule is None or method.client_streaming:
        return
    number = 0
    for one in (rule, *rule.additional_bindings):
        kind = one.WhichOneof("pattern")
        if kind is None:
            continue
        verb, path = (one.custom.kind, one.custom.path) if kind == "custom" else (kind.upper(), getattr(one, kind))
        yield _binding(method, style, number, verb, _prefixed(path, prefix if style == "aster" else "/api"), one)
        number += 1


def _binding(
    method: MethodDescriptor, style: Style, number: int, verb: str, path: str, rule: http_pb2.HttpRule
) -> Binding:
    template, path_fields = _path(method, path)
    body: tuple[FieldDescriptor, ...] | Literal["*"] | None = None
    if rule.body:
        body = "*" if rule.body == WHOLE else resolve(method.input_type, rule.body)
    response = resolve(method.output_type, rule.response_body) if rule.response_body else ()
    return Binding(method, style, number, verb, template, path_fields, body, response)


def _path(method: MethodDescriptor, path: str) -> tuple[Template, tuple[tuple[FieldDescriptor, ...], ...]]:
    try:
        template = templates.parse(path)
    except templates.TemplateError as error:
        said = f"{method.full_name}: {error}"  # house: exception-text -- read at start, by whoever wrote the proto
        raise BindingError(said) from None
    return template, tuple(resolve(method.input_type, variable.field) for variable in template.variables)


def _prefixed(path: str, prefix: str) -> str:
    return prefix + path.removeprefix("/api") if path == "/api" or path.startswith("/api/") else path


def resolve(message: Descriptor, path: str) -> tuple[FieldDescriptor, ...]:
    """The fields of a dotted path of proto names.

    :raises BindingError: it leads nowhere, or through a list."""
    found: list[FieldDescriptor] = []
    inside: Descriptor | None = message
    for name in path.split("."):
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None or (found and found[-1].is_repeated):
            raise BindingError(f"{message.full_name} has no field {path!r}")
        found.append(field)
        inside = field.message_type
    return tuple(found)
