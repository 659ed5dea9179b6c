"""What every RPC, event and enum of the contract has in common.

buf keeps the style of the .proto files; this keeps the promises that clients and
the bridge are built on. The checks take descriptors, so that a planted contract
with every fault can show that each of them sees.
"""

import importlib
import json
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

import aster.v1
from asteros import errors

PROTO = Path(__file__).parents[2] / "proto" / "aster" / "v1"

Check = Callable[[Sequence[FileDescriptor]], Iterator[str]]

VERBS = {"get", "put", "post", "delete", "patch"}
NO_SIDE_EFFECTS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


def contract() -> list[FileDescriptor]:
    names = sorted(m.name for m in pkgutil.iter_modules(aster.v1.__path__) if m.name.endswith("_pb2"))
    return [importlib.import_module(f"aster.v1.{name}").DESCRIPTOR for name in names]


FILES = contract()


# -- walking ---------------------------------------------------------------


def methods(files: Iterable[FileDescriptor]) -> Iterator[MethodDescriptor]:
    for file in files:
        for service in file.services_by_name.values():
            yield from service.methods


def messages(files: Iterable[FileDescriptor]) -> Iterator[Descriptor]:
    waiting = [message for file in files for message in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        yield message
        waiting += message.nested_types


def enums(files: Sequence[FileDescriptor]) -> Iterator[EnumDescriptor]:
    for file in files:
        yield from file.enum_types_by_name.values()
    for message in messages(files):
        yield from message.enum_types


def http_rules(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    """The rule of the method and its additional bindings; empty when there is none."""
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings]


def verb(rule: http_pb2.HttpRule) -> str:
    return rule.WhichOneof("pattern") or ""


def path_fields(rule: http_pb2.HttpRule) -> list[str]:
    return re.findall(r"{([\w.]+)", getattr(rule, verb(rule), ""))


def field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    field: FieldDescriptor | None = None
    scope: Descriptor | None = message
    for name in path.split("."):
        field = scope.fields_by_name.get(name) if scope else None
        scope = field.message_type if field else None
    return field


def behaviors(field: FieldDescriptor) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def is_event_frame(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.name == "EventFrame"


# -- the checks: each yields what is wrong -----------------------------------


def unreachable_over_http(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """Every RPC has a route; HTTP cannot carry both directions at once."""
    for method in methods(files):
        both_ways = method.client_streaming and method.server_streaming
        if both_ways == bool(http_rules(method)):
            yield method.full_name


def shared_messages(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """A request or response belongs to one RPC, so that it can grow for it alone."""
    used = Counter(m.full_name for method in methods(files) for m in (method.input_type, method.output_type))
    yield from (name for name, times in used.items() if times > 1)


def wrong_side_effects(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """GET is exactly what has no side effects: caches, retries and Connect rely on it."""
    for method in methods(files):
        rules = http_rules(method)
        if method.client_streaming or method.server_streaming or not rules:
            continue
        if (verb(rules[0]) == "get") != (method.GetOptions().idempotency_level == NO_SIDE_EFFECTS):
            yield method.full_name


def wrong_routes(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """One RPC a route; its variables, body and response_body exist; GET has no body."""
    seen: dict[tuple[str, str], str] = {}
    for method in methods(files):
        for rule in http_rules(method):
            where = f"{method.full_name}: {verb(rule)} {getattr(rule, verb(rule), '')}"
            if verb(rule) not in VERBS:
                yield f"{where}: no pattern"
                continue
            # {agent_id} and {id} are one route: what differs is the shape.
            key = (verb(rule), re.sub(r"{[^}]*}", "{}", getattr(rule, verb(rule))))
            if key in seen:
                yield f"{where}: is the route of {seen[key]}"
            seen[key] = method.full_name
            if verb(rule) in {"get", "delete"} and rule.body:
                yield f"{where}: with a body"
            if rule.body not in {"", "*"} and rule.body not in method.input_type.fields_by_name:
                yield f"{where}: no field {rule.body} for the body"
            if rule.response_body and rule.response_body not in method.output_type.fields_by_name:
                yield f"{where}: no field {rule.response_body} for the response"
            for path in path_fields(rule):
                field = field_at(method.input_type, path)
                if field is None or field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
                    yield f"{where}: {path} is no string field"


def optional_path_fields(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """A path always has its variables, so over gRPC they are REQUIRED too, for one thing
    that is acted on. Not for reading events, where leaving the agent out means all; not
    inside a changed resource, whose id says which and is IMMUTABLE."""
    for method in methods(files):
        if any(is_event_frame(field) for field in method.output_type.fields):
            # Streams and lists of events: `agent_id` is a filter there.
            rules = [rule for rule in http_rules(method) if verb(rule) != "get"]
        else:
            rules = http_rules(method)[:1]
        for rule in rules:
            for path in path_fields(rule):
                field = field_at(method.input_type, path)
                mark = field_behavior_pb2.IMMUTABLE if "." in path else field_behavior_pb2.REQUIRED
                if field is not None and mark not in behaviors(field):
                    yield f"{method.full_name}: {path}"


def contradicting_marks(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """REQUIRED is for what a caller sends; nobody sends OUTPUT_ONLY, and `optional` denies it."""
    for message in messages(files):
        for field in message.fields:
            marks = behaviors(field)
            if field_behavior_pb2.REQUIRED not in marks:
                continue
            # What `optional` makes of a field: a oneof of its own, named with "_".
            optional = field.containing_oneof is not None and field.containing_oneof.name.startswith("_")
            if field_behavior_pb2.OUTPUT_ONLY in marks or optional:
                yield field.full_name


def required_in_responses(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """A response promises by its comment; REQUIRED says what a caller must send."""
    for method in methods(files):
        for field in method.output_type.fields:
            if field_behavior_pb2.REQUIRED in behaviors(field):
                yield field.full_name


def unpaged_lists(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """List…: the list is field 1, tokens lead on. A list that cannot grow has pages too."""
    for method in methods(files):
        if not method.name.startswith("List"):
            continue
        request, response = method.input_type.fields_by_name, method.output_type
        first = response.fields_by_number.get(1)
        if first is None or not first.is_repeated:
            yield f"{method.full_name}: field 1 is not the list"
        for fields, name, kind in (
            (request, "page_size", FieldDescriptor.TYPE_INT32),
            (request, "page_token", FieldDescriptor.TYPE_STRING),
            (response.fields_by_name, "next_page_token", FieldDescriptor.TYPE_STRING),
        ):
            if name not in fields or fields[name].type != kind:
                yield f"{method.full_name}: {name}"


def unbatched_streams(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """A stream answers in batches, as field 1: one message for each thing costs far more.
    For events the field is `frames`, so that all streams share a frame's bytes."""
    for method in methods(files):
        fields = method.output_type.fields
        if method.server_streaming and not method.client_streaming:
            first = method.output_type.fields_by_number.get(1)
            if first is None or not first.is_repeated or len(fields) != 1:
                yield f"{method.full_name}: not one repeated field"
        for field in fields:
            if is_event_frame(field) and not (field.name == "frames" and field.number == 1 and field.is_repeated):
                yield f"{method.full_name}: {field.name} is not `repeated EventFrame frames = 1`"


def event_kinds(files: Sequence[FileDescriptor]) -> Iterator[tuple[str, str]]:
    """(channel, kind) of every event: Event.payload's members and their kinds."""
    event = next(message for message in messages(files) if message.name == "Event")
    for channel in event.oneofs_by_name["payload"].fields:
        assert channel.message_type is not None
        for kind in channel.message_type.oneofs_by_name["kind"].fields:
            yield channel.name, kind.name


def ambiguous_events(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """A kind alone ("text_chunk") names its event; clients and filters use it so."""
    counted = Counter(kind for _, kind in event_kinds(files) if kind != "custom")
    yield from (kind for kind, times in counted.items() if times > 1)


def odd_enums(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """Zero means not set, in every enum and under its own name; no two names for a number."""
    for enum in enums(files):
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper()
        if enum.values[0].number != 0 or enum.values[0].name != f"{prefix}_UNSPECIFIED":
            yield f"{enum.full_name}: zero is not {prefix}_UNSPECIFIED"
        if enum.GetOptions().allow_alias:
            yield f"{enum.full_name}: allow_alias"


def differing_packages(files: Sequence[FileDescriptor]) -> Iterator[str]:
    """One Go package, one Java package: a stray file would land in a package of its own."""
    for option in ("go_package", "java_package", "java_multiple_files"):
        values = {getattr(file.GetOptions(), option) for file in files}
        if len(values) > 1 or not all(values):
            yield f"{option}: {sorted(map(str, values))}"


CHECKS = [
    unreachable_over_http,
    shared_messages,
    wrong_side_effects,
    wrong_routes,
    optional_path_fields,
    contradicting_marks,
    required_in_responses,
    unpaged_lists,
    unbatched_streams,
    ambiguous_events,
    odd_enums,
    differing_packages,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Check) -> None:
    assert list(check(FILES)) == [], check.__doc__


def test_contract_is_whole() -> None:
    """Every .proto is among the descriptors: a file without stubs would not be looked at."""
    assert {file.name for file in FILES} == {f"aster/v1/{path.name}" for path in PROTO.glob("*.proto")}


# -- reasons of errors -----------------------------------------------------

GRPC_CODES = {code.name for code in errors.Code} | {"UNKNOWN"}


def reasons(text: str) -> Iterator[tuple[str, str]]:
    """(name, comment) of every value of the enum ErrorReason in its .proto text."""
    body = text[text.index("enum ErrorReason") :]
    for comment, name in re.findall(r"((?:^ *//.*\n)+) *ERROR_REASON_(\w+) = \d+;", body, re.MULTILINE):
        yield name, re.sub(r"^ *// ?", "", comment, flags=re.MULTILINE)


def bad_reasons(text: str) -> Iterator[str]:
    """Its comment begins with its code and ends with an example of that reason."""
    for name, comment in reasons(text):
        if name == "UNSPECIFIED":
            continue
        if comment.split(".")[0] not in GRPC_CODES - {"UNKNOWN"}:
            yield f"{name}: no code"
        try:
            example = json.loads(comment.strip().splitlines()[-1])
        except ValueError:
            yield f"{name}: no example"
            continue
        if example.get("reason") != name or example.get("domain") != errors.DOMAIN:
            yield f"{name}: example of {example}"


def error_classes() -> Iterator[type[errors.AsterError]]:
    waiting = [errors.AsterError]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += found.__subclasses__()


REASONS_TEXT = (PROTO / "error_reason.proto").read_text()


def test_every_reason_has_a_code_and_an_example() -> None:
    assert list(bad_reasons(REASONS_TEXT)) == []
    assert len(list(reasons(REASONS_TEXT))) == REASONS_TEXT.count("ERROR_REASON_", REASONS_TEXT.index("enum ErrorR"))


def test_every_error_class_has_its_reason_in_the_contract() -> None:
    codes = {name: comment.split(".")[0] for name, comment in reasons(REASONS_TEXT)}
    wrong = [
        f"{cls.__name__}: {cls.reason} with {cls.code.name}, in the contract {codes.get(cls.reason)}"
        for cls in error_classes()
        if codes.get(cls.reason) != cls.code.name
    ]
    assert wrong == []


def test_planted_reasons_are_found() -> None:
    planted = """enum ErrorReason {
      // Not a code. {"reason":"ODD","domain":"aster"}
      ERROR_REASON_ODD = 1;
      // ABORTED. Its example is another's.
      // {"reason":"ODD","domain":"aster"}
      ERROR_REASON_EVEN = 2;
    }"""
    assert list(bad_reasons(planted)) == [
        "ODD: no code",
        "ODD: no example",
        "EVEN: example of {'reason': 'ODD', 'domain': 'aster'}",
    ]


# -- a contract with every fault -------------------------------------------


def planted() -> list[FileDescriptor]:
    def message(name: str, *fields: tuple[Any, ...]) -> descriptor_pb2.DescriptorProto:
        proto = descriptor_pb2.DescriptorProto(name=name)
        for number, (field, kind, *rest) in enumerate(fields, 1):
            added = proto.field.add(name=field, number=number, label=3 if "list" in rest else 1)
            if isinstance(kind, str):
                added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f".planted.{kind}"
            else:
                added.type = kind
            for mark in (mark for mark in rest if isinstance(mark, int)):
                added.options.Extensions[field_behavior_pb2.field_behavior].append(mark)
            if "oneof" in rest:
                added.oneof_index = 0
        return proto

    text, number = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_INT64
    file = descriptor_pb2.FileDescriptorProto(name="planted.proto", package="planted", syntax="proto3")
    file.dependency.extend(["google/api/annotations.proto", "google/api/field_behavior.proto"])
    file.options.go_package = "planted"
    file.message_type.extend(
        [
            message("EventFrame"),
            message(
                "Shared", ("id", number), ("both", text, field_behavior_pb2.REQUIRED, field_behavior_pb2.OUTPUT_ONLY)
            ),
            message("ListThingsRequest", ("id", text)),
            message("ListThingsResponse", ("total", number), ("things", text, "list")),
            message("WatchRequest"),
            message("WatchResponse", ("frame", "EventFrame"), ("note", text, field_behavior_pb2.REQUIRED)),
            message("Kinds", ("same", "EventFrame", "oneof"), ("custom", "EventFrame", "oneof")),
            message("Event", ("one", "Kinds", "oneof"), ("two", "Kinds", "oneof")),
        ]
    )
    file.message_type[-2].oneof_decl.add(name="kind")
    file.message_type[-1].oneof_decl.add(name="payload")
    odd = file.enum_type.add(name="OddState")
    odd.value.add(name="ODD_STATE_UNKNOWN", number=0)

    service = file.service.add(name="PlantedService")
    service.method.add(name="NoRoute", input_type=".planted.Shared", output_type=".planted.Shared")
    listing = service.method.add(
        name="ListThings", input_type=".planted.ListThingsRequest", output_type=".planted.ListThingsResponse"
    )
    listing.options.Extensions[annotations_pb2.http].get = "/things/{id}"
    listing.options.Extensions[annotations_pb2.http].body = "*"
    watch = service.method.add(
        name="Watch", input_type=".planted.WatchRequest", output_type=".planted.WatchResponse", server_streaming=True
    )
    watch.options.Extensions[annotations_pb2.http].get = "/things/{other}"

    second = descriptor_pb2.FileDescriptorProto(name="second.proto", package="planted", syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    default = descriptor_pool.Default()
    for name in (
        "google/protobuf/descriptor.proto",
        "google/api/http.proto",
        "google/api/annotations.proto",
        "google/api/field_behavior.proto",
    ):
        pool.AddSerializedFile(default.FindFileByName(name).serialized_pb)
    for built in (file, second):
        pool.AddSerializedFile(built.SerializeToString())
    return [pool.FindFileByName("planted.proto"), pool.FindFileByName("second.proto")]


PLANTED: list[tuple[Check, list[str]]] = [
    (unreachable_over_http, ["planted.PlantedService.NoRoute"]),
    (shared_messages, ["planted.Shared"]),
    (wrong_side_effects, ["planted.PlantedService.ListThings"]),
    (
        wrong_routes,
        [
            "planted.PlantedService.ListThings: get /things/{id}: with a body",
            "planted.PlantedService.Watch: get /things/{other}: is the route of planted.PlantedService.ListThings",
            "planted.PlantedService.Watch: get /things/{other}: other is no string field",
        ],
    ),
    (optional_path_fields, ["planted.PlantedService.ListThings: id"]),
    (contradicting_marks, ["planted.Shared.both"]),
    (required_in_responses, ["planted.Shared.both", "planted.WatchResponse.note"]),
    (
        unpaged_lists,
        [
            "planted.PlantedService.ListThings: field 1 is not the list",
            "planted.PlantedService.ListThings: page_size",
            "planted.PlantedService.ListThings: page_token",
            "planted.PlantedService.ListThings: next_page_token",
        ],
    ),
    (
        unbatched_streams,
        [
            "planted.PlantedService.Watch: not one repeated field",
            "planted.PlantedService.Watch: frame is not `repeated EventFrame frames = 1`",
        ],
    ),
    (ambiguous_events, ["same"]),
    (odd_enums, ["planted.OddState: zero is not ODD_STATE_UNSPECIFIED"]),
    (
        differing_packages,
        ["go_package: ['', 'planted']", "java_package: ['']", "java_multiple_files: ['False']"],
    ),
]


@pytest.mark.parametrize(("check", "found"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_planted_faults_are_found(check: Check, found: list[str]) -> None:
    assert list(check(planted())) == found


def test_every_check_has_a_planted_fault() -> None:
    assert {check for check, _ in PLANTED} == set(CHECKS)
