"""A server of the probe protos, and a bridge in front of it that is called without any socket."""

import asyncio
import contextlib
import functools
import json
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2

from asteros.bridge.app import Bridge
from asteros.bridge.bindings import Service, Style
from asteros.bridge.options import Options

ROOT = Path(__file__).parents[2]
PROTOS = Path(__file__).parent / "protos"
LIMIT = 20.0  # seconds of anything


@functools.cache
def pool() -> DescriptorPool:
    """The probe protos in a pool of their own, as reflection would give them."""
    command = [
        str(ROOT / ".venv-proto/bin/python"), "-m", "grpc_tools.protoc", f"-I{PROTOS}",
        f"-I{sysconfig.get_path('purelib')}", "--include_imports", "--descriptor_set_out=/dev/stdout", "probe.proto",
    ]  # fmt: skip
    made = subprocess.run(command, capture_output=True, check=True)
    found = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made.stdout).file:
        found.Add(file)
    return found


def everything() -> Any:
    return message_factory.GetMessageClass(pool().FindMessageTypeByName("probe.v1.Everything"))


def services(style: Style) -> list[Service]:
    names = ("probe.v1.Probe", "probe.v1.Special")
    return [Service(pool().FindServiceByName(name), style) for name in names]


# -- the server ------------------------------------------------------------------------


class Server:
    """What answers behind the bridge. ``open``: RPCs that are running; ``read``: messages written."""

    def __init__(self) -> None:
        self.grpc = grpc.aio.server()
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.written = 0
        echo = grpc.unary_unary_rpc_method_handler(self._echo)
        probe = pool().FindServiceByName("probe.v1.Probe")
        self._add("probe.v1.Probe", {method.name: echo for method in probe.methods})
        one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        special = {
            "Fail": one(self._fail), "Metadata": one(self._metadata), "Raw": one(self._raw), "Hang": one(self._hang),
            "Count": many(self._count), "RawStream": many(self._raw_stream),
        }  # fmt: skip
        self._add("probe.v1.Special", special)
        self.port = self.grpc.add_insecure_port("127.0.0.1:0")

    def _add(self, name: str, methods: Mapping[str, Any]) -> None:
        self.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))

    async def _echo(self, raw: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-trailer", "t"),))
        await context.send_initial_metadata((("x-initial", "i"),))
        return raw

    async def _fail(self, raw: bytes, context: Any) -> bytes:
        await self._abort(everything().FromString(raw), context)
        return b""

    @staticmethod
    async def _abort(asked: Any, context: Any) -> None:
        status = status_pb2.Status(code=asked.count or asked.big, message=asked.name)
        if asked.flag:
            known, unknown = any_pb2.Any(), any_pb2.Any(type_url="type.example/unknown.Type", value=b"\1\2")
            known.Pack(error_details_pb2.ErrorInfo(reason="WHY", domain="probe", metadata={"k": "v"}))
            retry = any_pb2.Any()
            retry.Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 1, "nanos": 1}))
            status.details.extend([known, retry, unknown])
        trailers = (("grpc-status-details-bin", status.SerializeToString()),) if asked.flag else ()
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        await context.abort(code, status.message, trailers)

    async def _metadata(self, _raw: bytes, context: Any) -> bytes:
        told = everything()()
        for key, value in context.invocation_metadata() or ():
            told.labels[key] = value if isinstance(value, str) else f"bytes {value.hex()}"
        left = context.time_remaining()
        told.ratio = left if left is not None and left < 1e6 else 0
        return bytes(told.SerializeToString())

    async def _raw(self, raw: bytes, _context: Any) -> bytes:
        asked = everything().FromString(raw)
        return self._http_body(asked.name.encode() * 2)

    @staticmethod
    def _http_body(data: bytes) -> bytes:
        kind = message_factory.GetMessageClass(pool().FindMessageTypeByName("google.api.HttpBody"))
        return bytes(kind(content_type="text/csv", data=data).SerializeToString())

    async def _hang(self, _raw: bytes, _context: Any) -> bytes:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def _count(self, raw: bytes, context: Any) -> None:
        asked = everything().FromString(raw)
        try:
            for number in range(asked.count):
                children = [{"id": f"{number}-{part}"} for part in "ab"]
                payload = everything()(name=f"n{number}", big=number, children=children, text=asked.text)
                await context.write(payload.SerializeToString())
                self.written += 1
            if asked.flag:
                self.hanging.set()
                await asyncio.Event().wait()
            if asked.big:
                asked.count = 0
                await self._abort(asked, context)
        finally:
            self.cancelled.set()

    async def _raw_stream(self, raw: bytes, context: Any) -> None:
        for number in range(everything().FromString(raw).count):
            await context.write(self._http_body(b"%d;" % number))


# -- a caller --------------------------------------------------------------------------


@dataclass
class Answer:
    """A response, whole or as far as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def said(self) -> dict[str, Any]:
        """The fields that the probe was asked with, without empty ones."""
        message = json_format.ParseDict(self.json, everything()(), descriptor_pool=pool())
        told = json_format.MessageToDict(message, descriptor_pool=pool())
        assert isinstance(told, dict)
        return told


class Caller:
    """Speaks ASGI to an app."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def scope(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        given = {"host": "localhost:8080", **{name.lower(): value for name, value in headers.items()}}
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("192.0.2.1", 5555), "server": ("127.0.0.1", 8080),
        }  # fmt: skip

    async def __call__(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        leave: asyncio.Event | None = None,
        on_chunk: Any = None,
        **headers: str,
    ) -> Answer:
        """One request. ``leave``: set it and the client is gone."""
        answer = Answer()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop(0)
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.chunks.append(message.get("body", b""))
                if on_chunk is not None:
                    await on_chunk(answer)

        async with asyncio.timeout(LIMIT):
            await self._app(self.scope(method, target, named), receive, send)
        return answer


@dataclass
class Stand:
    """A server, the bridges of both styles, and callers of them."""

    server: Server
    channel: grpc.aio.Channel
    gateway: Caller
    aster: Caller

    def bridge(self, style: Style, **options: Any) -> Bridge:
        """Another bridge to the same server."""
        return Bridge(self.channel, services(style), Options(error_domain="probe", **options))


@contextlib.asynccontextmanager
async def standing() -> AsyncIterator[Stand]:
    server = Server()
    await server.grpc.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        bridges = [Caller(Bridge(channel, services(style), Options(error_domain="probe"))) for style in STYLES]
        yield Stand(server, channel, *bridges)
    await server.grpc.stop(None)


STYLES: tuple[Style, Style] = ("gateway", "aster")
