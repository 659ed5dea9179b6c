"""Descriptors of a server that is asked for them, so that the bridge can serve what it has never seen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb

from asteros.bridge.options import Metadata

# Version 1 has the messages of v1alpha under another name; older servers know only that.
_METHODS = tuple(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha"))
_OF_GRPC = "grpc."  # health and reflection are no services to offer
_UNIMPLEMENTED = 12

Files = dict[str, descriptor_pb2.FileDescriptorProto]


class ReflectionError(Exception):
    """The server gives no descriptors; the text says why, in one line."""


async def discover(channel: grpc.aio.Channel, metadata: Metadata = ()) -> Sequence[ServiceDescriptor]:
    """Every service of a server, but for those of gRPC itself.

    :raises ReflectionError: it has no reflection, or does not let us ask."""
    for method in _METHODS:
        try:
            names, files = await _ask(channel, method, metadata)
        except grpc.aio.AioRpcError as error:
            if error.code().value[0] == _UNIMPLEMENTED and method != _METHODS[-1]:
                continue
            raise ReflectionError(f"{error.code().name}: {error.details()}") from None
        pool = DescriptorPool()
        for name in list(files):
            _add(pool, files, name)
        return [pool.FindServiceByName(name) for name in names]
    return []


async def _ask(channel: grpc.aio.Channel, method: str, metadata: Metadata) -> tuple[list[str], Files]:
    """Names of services, and every file they need, by name."""
    stub = channel.stream_stream(
        method, pb.ServerReflectionRequest.SerializeToString, pb.ServerReflectionResponse.FromString
    )
    call = stub(metadata=tuple(metadata))
    files: Files = {}
    try:
        listed = await _answer(call, pb.ServerReflectionRequest(list_services=""))
        names = [each.name for each in listed.list_services_response.service if not each.name.startswith(_OF_GRPC)]
        for name in names:
            await _take(call, pb.ServerReflectionRequest(file_containing_symbol=name), files)
        for missing in _missing(files):
            await _take(call, pb.ServerReflectionRequest(file_by_filename=missing), files)
        await call.done_writing()
    finally:
        call.cancel()
    return names, files


async def _answer(
    call: Any,
    request: pb.ServerReflectionRequest,
) -> pb.ServerReflectionResponse:
    await call.write(request)
    response = await call.read()
    if not isinstance(response, pb.ServerReflectionResponse):
        raise ReflectionError("the server ended its reflection")
    if response.HasField("error_response"):
        raise ReflectionError(response.error_response.error_message)
    return response


async def _take(
    call: Any,
    request: pb.ServerReflectionRequest,
    files: Files,
) -> None:
    response = await _answer(call, request)
    for raw in response.file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(raw)
        files[file.name] = file


def _missing(files: Files) -> Iterator[str]:
    """Names of files that others import and nobody has sent, until there are none."""
    while absent := {need for file in files.values() for need in file.dependency} - files.keys():
        yield min(absent)


def _add(pool: DescriptorPool, files: Mapping[str, descriptor_pb2.FileDescriptorProto], name: str) -> None:
    """Adds a file after those it imports."""
    file = files[name]
    for need in file.dependency:
        _add(pool, files, need)
    try:
        pool.FindFileByName(name)
    except KeyError:
        pool.Add(file)
