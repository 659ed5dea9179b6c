"""One request, put in the words of each face; one answer, whatever the face it came from."""

import base64
import json
import re
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import httpx2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import code_pb2, error_details_pb2, status_pb2

from asteros.bridge import fields
from asteros.bridge.bindings import Binding

TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Asked:
    """``body`` is ProtoJSON with the names of the proto."""

    method: MethodDescriptor
    body: dict[str, Any]

    @property
    def rpc(self) -> str:
        assert self.method.containing_service is not None
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    def message(self) -> Any:
        return json_format.ParseDict(self.body, message_factory.GetMessageClass(self.method.input_type)())

    def __str__(self) -> str:
        return f"{self.rpc} {json.dumps(self.body)[:200]}"


@dataclass(frozen=True)
class Answer:
    """A refusal has ``code`` and ``reason``, anything else ``value``: the message, or the first of a stream."""

    code: str = "OK"
    reason: str = ""
    fields: tuple[str, ...] = ()
    value: Any = None


def of_status(code: int, details: list[Any]) -> Answer:
    """``details``: messages, or their names and bytes."""
    reason, named = "", ()
    for name, raw in details:
        if name.endswith("google.rpc.ErrorInfo"):
            reason = error_details_pb2.ErrorInfo.FromString(raw).reason
        elif name.endswith("google.rpc.BadRequest"):
            found = error_details_pb2.BadRequest.FromString(raw)
            named = tuple(each.field for each in found.field_violations)
    return Answer(code_pb2.Code.Name(code), reason, named)


def of_message(message: Any) -> Answer:
    return Answer(value=json_format.MessageToDict(message, always_print_fields_with_no_presence=True))


# What two servers never have in common: ids, times, lengths of time, tokens.
_OWN = (
    (re.compile(r"\b[a-z]{3,4}_[0-9A-HJKMNP-TV-Z]{26}\b|\b[0-9A-HJKMNP-TV-Z]{26}(-\d+)?\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d+\.\d+s\b"), "LENGTH"),
)
_OWN_MEMBERS = frozenset(("nextPageToken", "cursor", "ticket", "key"))
_REQUESTS_ALONE = "apiKey"  # INPUT_ONLY: gRPC has it empty, JSON not at all


def comparable(value: Any) -> Any:
    """Without what is a server's own."""
    if isinstance(value, dict):
        return {
            name: comparable(inner)
            for name, inner in value.items()
            if name not in _OWN_MEMBERS and (inner or name != _REQUESTS_ALONE)
        }
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str):
        for pattern, name in _OWN:
            value = pattern.sub(name, value)
    return value


# -- gRPC --------------------------------------------------------------------------------


async def over_grpc(channel: grpc.aio.Channel, asked: Asked) -> Answer:
    kinds = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": message_factory.GetMessageClass(asked.method.output_type).FromString,
    }
    try:
        if not asked.method.server_streaming:
            return of_message(await channel.unary_unary(asked.rpc, **kinds)(asked.message(), timeout=TIMEOUT))
        call = channel.unary_stream(asked.rpc, **kinds)(asked.message(), timeout=TIMEOUT)
        first = await call.read()
        call.cancel()
        return of_message(first)
    except grpc.aio.AioRpcError as error:
        raw = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), b"")
        status = status_pb2.Status.FromString(raw)
        return of_status(error.code().value[0], [(each.type_url, each.value) for each in status.details])


# -- REST --------------------------------------------------------------------------------


def _taken(message: Any, path: tuple[Any, ...]) -> str:
    """The text of a path's variable; the message loses it."""
    for field in path[:-1]:
        message = getattr(message, field.name)
    text = str(getattr(message, path[-1].name))
    message.ClearField(path[-1].name)
    return text


def _pairs(message: Any, above: str = "") -> list[tuple[str, str]]:
    """Everything that is set, as a query says it."""
    found: list[tuple[str, str]] = []
    for field, value in message.ListFields():
        name = above + field.json_name
        if fields.is_map(field):
            found += [(f"{name}[{key}]", str(value[key])) for key in value]
        elif field.message_type is not None and field.message_type.full_name not in fields.LEAVES:
            found += _pairs(value, f"{name}.")
        else:
            said = json_format.MessageToDict(message)[field.json_name]
            texts = said if isinstance(said, list) else [said]
            found += [(name, str(text).lower() if isinstance(text, bool) else str(text)) for text in texts]
    return found


async def over_rest(client: httpx2.AsyncClient, asked: Asked, binding: Binding) -> Answer:
    message = asked.message()
    path = binding.template.text
    for variable, field_path in zip(binding.template.variables, binding.path_fields, strict=True):
        path = path.replace(f"{{{variable.field}}}", quote(_taken(message, field_path), safe=""))
    body: Any = None
    if binding.body == "*":
        body = json_format.MessageToDict(message)
    elif binding.body is not None:
        (field,) = binding.body
        if message.HasField(field.name):
            body = json_format.MessageToDict(getattr(message, field.name))
            message.ClearField(field.name)
    query = [] if binding.body == "*" else _pairs(message)
    content = {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    request = client.build_request(binding.verb, path, params=query or None, **content)
    response = await client.send(request, stream=True)
    try:
        if response.status_code != 200:
            error = json.loads(await response.aread())["error"]
            return _of_json(error["code"], error["details"])
        if asked.method.server_streaming:
            value = json.loads(await anext(response.aiter_lines()))
            return Answer(value={binding.response_body[0].json_name: [value]})
        value = json.loads(await response.aread())
    finally:
        await response.aclose()
    return Answer(value={binding.response_body[0].json_name: value} if binding.response_body else value)


def _of_json(code: int, details: list[dict[str, Any]]) -> Answer:
    found = []
    for detail in details:
        kind = detail.pop("@type")
        known: Any = {"ErrorInfo": error_details_pb2.ErrorInfo, "BadRequest": error_details_pb2.BadRequest}
        if kind.rpartition(".")[2] in known:
            read = json_format.ParseDict(detail, known[kind.rpartition(".")[2]]())
            found.append((kind, read.SerializeToString()))
    return of_status(code, found)


# -- Connect -----------------------------------------------------------------------------


async def over_connect(client: httpx2.AsyncClient, asked: Asked) -> Answer:
    body = json.dumps(json_format.MessageToDict(asked.message())).encode()
    kind = "application/json"
    if asked.method.server_streaming:
        body, kind = struct.pack(">BI", 0, len(body)) + body, "application/connect+json"
    request = client.build_request("POST", asked.rpc, content=body, headers={"content-type": kind})
    response = await client.send(request, stream=True)
    try:
        if not asked.method.server_streaming:
            said = json.loads(await response.aread())
            return Answer(value=said) if response.status_code == 200 else _of_connect(said)
        data = b""
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
                break
        said = json.loads(data[5 : 5 + int.from_bytes(data[1:5], "big")])
        return _of_connect(said["error"]) if data[0] else Answer(value=said)
    finally:
        await response.aclose()


def _of_connect(error: dict[str, Any]) -> Answer:
    code = code_pb2.Code.Value({"canceled": "CANCELLED"}.get(error["code"], error["code"].upper()))
    details = error.get("details", ())
    return of_status(code, [(detail["type"], base64.b64decode(detail["value"] + "==")) for detail in details])
