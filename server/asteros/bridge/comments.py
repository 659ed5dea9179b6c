"""Comments of protos, from descriptor sets that were built with their source information."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2

# Field numbers of descriptor.proto, which make the paths of SourceCodeInfo.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM, _MESSAGE_ONEOF = 2, 3, 4, 8
_ENUM_VALUE = 2
_SERVICE_METHOD = 2

Comments = Mapping[str, str]  # full name -> what stands above its declaration
Path = tuple[int, ...]


def comments_of(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> Comments:
    """Leading comments of everything that has one.

    Values of an enum are named below their enum ("pkg.State.STATE_ON"), so that two enums
    of one package keep their values apart."""
    found: dict[str, str] = {}
    for file in files:
        texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for name, path in _names(file):
            text = _plain(texts.get(path, ""))
            if text:
                found[name] = text
    return found


def _plain(text: str) -> str:
    """Without the space after the slashes."""
    return "\n".join(line.removeprefix(" ").rstrip() for line in text.strip("\n").splitlines()).strip()


def _names(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    package = f"{file.package}." if file.package else ""
    yield from _messages(file.message_type, package, (_FILE_MESSAGE,))
    yield from _enums(file.enum_type, package, (_FILE_ENUM,))
    for index, service in enumerate(file.service):
        path = (_FILE_SERVICE, index)
        yield package + service.name, path
        yield from _each(service.method, f"{package}{service.name}.", (*path, _SERVICE_METHOD))


def _messages(
    messages: Sequence[descriptor_pb2.DescriptorProto], prefix: str, path: Path
) -> Iterator[tuple[str, Path]]:
    for index, message in enumerate(messages):
        here, inside = (*path, index), f"{prefix}{message.name}."
        yield inside[:-1], here
        yield from _each(message.field, inside, (*here, _MESSAGE_FIELD))
        yield from _each(message.oneof_decl, inside, (*here, _MESSAGE_ONEOF))
        yield from _messages(message.nested_type, inside, (*here, _MESSAGE_NESTED))
        yield from _enums(message.enum_type, inside, (*here, _MESSAGE_ENUM))


def _enums(enums: Sequence[descriptor_pb2.EnumDescriptorProto], prefix: str, path: Path) -> Iterator[tuple[str, Path]]:
    for index, enum in enumerate(enums):
        yield prefix + enum.name, (*path, index)
        yield from _each(enum.value, f"{prefix}{enum.name}.", (*path, index, _ENUM_VALUE))


def _each(declared: Iterable[Any], prefix: str, path: Path) -> Iterator[tuple[str, Path]]:
    for index, one in enumerate(declared):
        yield prefix + one.name, (*path, index)
