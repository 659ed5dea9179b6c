"""A request of HTTP becomes the message of an RPC: body, then query, then path."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from asteros.bridge import bodies, fields
from asteros.bridge.bindings import Binding
from asteros.bridge.bodies import Compatibility
from asteros.bridge.refusal import bad_request

_MASK = "google.protobuf.FieldMask"
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query, in order.

    :raises Refusal: broken percent-encoding."""
    text = query.decode("latin-1")
    if _BROKEN.search(text):
        raise bad_request("FIELD_VIOLATION", "the query has a broken escape")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise bad_request("FIELD_VIOLATION", "the query is not UTF-8") from None


def request_of(
    binding: Binding,
    variables: Mapping[str, str],
    pairs: list[tuple[str, str]],
    body: bytes,
    compatibility: Compatibility | None = None,
) -> Message:
    """The request of a binding.

    :raises Refusal: what was sent does not fit."""
    message: Message = message_factory.GetMessageClass(binding.request)()
    if binding.body is not None:
        value = bodies.with_compatibility(bodies.parsed(body), compatibility or {})
        if value is not None:
            _fill(message, binding, value)
    if binding.body != "*":
        fields.set_query_fields(message, pairs, _taken(binding))
    _set_path(message, binding, variables)
    return message


def named_by_path(binding: Binding, variables: Mapping[str, str]) -> Message:
    """The request without its body and its query.

    :raises Refusal:"""
    message: Message = message_factory.GetMessageClass(binding.request)()
    _set_path(message, binding, variables)
    return message


def _set_path(message: Message, binding: Binding, variables: Mapping[str, str]) -> None:
    for path, variable in zip(binding.path_fields, binding.template.variables, strict=True):
        fields.set_path_field(message, path, variables[variable.field])


def _fill(message: Message, binding: Binding, value: Any) -> None:
    strict, pool = binding.style == "aster", binding.request.file.pool
    if binding.body == "*":
        bodies.fill(message, value, strict=strict, pool=pool)
        return
    assert binding.body is not None
    bodies.fill_field(message, binding.body, value, strict=strict, pool=pool)
    if binding.verb == "PATCH":
        _fill_mask(message, binding.body[-1], value)


def _fill_mask(message: Any, field: FieldDescriptor, value: Any) -> None:
    """PATCH of one message without a mask changes what its body names."""
    mask = message.DESCRIPTOR.fields_by_name.get("update_mask")
    if mask is None or mask.message_type is None or mask.message_type.full_name != _MASK:
        return
    if field.message_type is not None and not field.is_repeated:
        paths = bodies.mask_paths(field.message_type, value)
        if paths:
            message.update_mask.paths.extend(paths)


def _taken(binding: Binding) -> list[tuple[str, ...]]:
    """What the query cannot set: the fields of path and body."""
    paths = [*binding.path_fields, *([binding.body] if isinstance(binding.body, tuple) else [])]
    return [tuple(field.name for field in path) for path in paths]
