"""Messages and statuses become JSON; streams are cut into items, and each is rendered once."""

import base64
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, status_pb2

from asteros.bridge import protojson
from asteros.bridge.bindings import Binding, Style
from asteros.bridge.options import Hook

_HTTP_BODY = "google.api.HttpBody"
_CACHED = 2048  # items of a kind that are kept rendered
_SHARED = 16  # messages of streams that are kept cut: connections that follow the same get the same ones
_CACHED_BYTES = 4096  # of an item that is kept


def dumped(value: Any) -> bytes:
    """Compact JSON in UTF-8, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def body_of(binding: Binding, raw: bytes) -> tuple[bytes, str]:
    """Body and content type of a unary response."""
    message = _parsed(binding.method.output_type, raw)
    picked = _picked(binding, message)
    if isinstance(picked, Message) and picked.DESCRIPTOR.full_name == _HTTP_BODY:
        return _raw_body(picked)
    return _json(binding, message, picked), "application/json"


def _parsed(kind: Descriptor, raw: bytes) -> Message:
    message: Message = message_factory.GetMessageClass(kind).FromString(raw)
    return message


def _picked(binding: Binding, message: Message) -> Any:
    value: Any = message
    for field in binding.response_body:
        value = getattr(value, field.name)
    return value


def _json(binding: Binding, message: Message, picked: Any) -> bytes:
    """What ``response_body`` names, or the whole."""
    if isinstance(picked, Message):
        return protojson.text_of(picked).encode()
    value: Any = json.loads(protojson.text_of(message))
    for field in binding.response_body:
        value = value.get(field.json_name) if isinstance(value, dict) else None
    return dumped(value)


def _raw_body(picked: Any) -> tuple[bytes, str]:
    return picked.data, picked.content_type or "application/octet-stream"


# -- failures ----------------------------------------------------------------------


def status_json(status: status_pb2.Status, style: Style, pool: DescriptorPool | None = None) -> dict[str, Any]:
    """The body of a failure."""
    plain = {
        "code": status.code,
        "message": status.message,
        "details": [_detail(each, pool) for each in status.details],
    }
    if style == "gateway":
        return plain
    return {"error": {"code": status.code, "status": code_pb2.Code.Name(status.code), **plain}}


def _detail(packed: Any, pool: DescriptorPool | None) -> Any:
    for each in (pool, descriptor_pool.Default()):
        if each is not None:
            try:
                return json_format.MessageToDict(packed, descriptor_pool=each)
            except (TypeError, DecodeError, json_format.Error):
                continue
    return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}


# -- streams -----------------------------------------------------------------------


class Item(NamedTuple):
    """One thing of a stream, ready for every framing."""

    id: str  # "": none
    name: str  # "": none
    body: bytes  # JSON on one line, or the data of an HttpBody
    content_type: str = ""  # of an HttpBody alone


class Items(tuple[Item, ...]):
    """The items of one message. Connections that carry the same message share them, and what was made of them."""

    def written(self, kind: type, write: Callable[["Items"], bytes]) -> bytes:
        """What a framing of this kind makes of them."""
        if kind not in self._made:
            self._made[kind] = write(self)
        return self._made[kind]

    @functools.cached_property
    def _made(self) -> dict[type, bytes]:
        return {}


class Renderer:
    """Cuts the messages of a stream into items. Of lists of small messages each element is
    rendered once for all connections: their bytes are the same."""

    def __init__(self, binding: Binding, hook: Hook | None) -> None:
        self._binding = binding
        self._hook = hook
        self._element = binding.element

    def items(self, raw: bytes) -> Items:
        """The items of one message of the stream."""
        element = self._element
        if element is None or element.message_type is None:
            return Items([self._whole(raw)])
        return _items(raw, element.number, _renderer(element.message_type, self._hook))

    def _whole(self, raw: bytes) -> Item:
        message = _parsed(self._binding.method.output_type, raw)
        picked = _picked(self._binding, message)
        if isinstance(picked, Message):
            if picked.DESCRIPTOR.full_name == _HTTP_BODY:
                return Item("", "", *_raw_body(picked))
            if self._hook is not None:
                return Item(*self._hook(picked), _json(self._binding, message, picked))
        return Item("", "", _json(self._binding, message, picked))


@functools.lru_cache(maxsize=64)
def _renderer(kind: Descriptor, hook: Hook | None) -> "functools._lru_cache_wrapper[Item]":
    parse = message_factory.GetMessageClass(kind).FromString

    @functools.lru_cache(maxsize=_CACHED)
    def render(raw: bytes) -> Item:
        message = parse(raw)
        named = hook(message) if hook is not None else ("", "")
        return Item(*named, protojson.text_of(message).encode())

    return render


@functools.lru_cache(maxsize=_SHARED)
def _items(raw: bytes, number: int, render: "functools._lru_cache_wrapper[Item]") -> Items:
    parts = elements(raw, number)
    return Items([render(part) if len(part) <= _CACHED_BYTES else render.__wrapped__(part) for part in parts])


def elements(raw: bytes, number: int) -> Iterator[bytes]:
    """The encoded elements of a repeated message field, in order, without parsing the rest."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(raw, at)
            if tag >> 3 == number:
                yield raw[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(raw, at)
        else:
            at += 8 if kind == 1 else 4


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def hook_for(binding: Binding, hooks: Any) -> Hook | None:
    """The hook for what a binding's stream carries."""
    field: FieldDescriptor | None = binding.element or (binding.response_body[-1] if binding.response_body else None)
    kind = field.message_type if field is not None else binding.method.output_type
    hook: Hook | None = hooks.get(kind.full_name) if kind is not None else None
    return hook


def is_raw(binding: Binding) -> bool:
    """The response is an HttpBody, which goes out as it is."""
    kind = binding.response_body[-1].message_type if binding.response_body else binding.method.output_type
    return kind is not None and kind.full_name == _HTTP_BODY
