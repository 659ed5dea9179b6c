"""By reflection alone, as grpcurl does it: no stub of ours is imported here."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from services.helpers import Server

pytestmark = pytest.mark.anyio
BUF = Path(__file__).parents[2] / ".venv-proto/bin/buf"


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """The reflection client of grpcio is synchronous; it runs in a thread."""
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def create_agent(channel: grpc.Channel) -> dict[str, Any]:
    database = ProtoReflectionDescriptorDatabase(channel)
    service = descriptor_pool.DescriptorPool(database).FindServiceByName("aster.v1.AgentService")
    method = service.methods_by_name["CreateAgent"]
    request = message_factory.GetMessageClass(method.input_type)()
    json_format.ParseDict({"agentId": "dynamic", "config": {"templateId": "demo"}}, request)
    answer = message_factory.GetMessageClass(method.output_type).FromString
    call = channel.unary_unary(f"/{service.full_name}/{method.name}", type(request).SerializeToString, answer)
    return json_format.MessageToDict(call(request))


async def test_a_call_without_stubs(channel: grpc.Channel) -> None:
    answer = await asyncio.to_thread(create_agent, channel)
    assert answer["agent"]["id"] == "dynamic"
    assert answer["agent"]["status"]["state"] == "AGENT_STATE_CREATED"


async def test_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    names = set(await asyncio.to_thread(database.get_services))
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} < names
    assert sum(name.startswith("aster.v1.") for name in names) == 13


@pytest.mark.parametrize("name", ["ErrorInfo", "BadRequest", "RetryInfo", "QuotaFailure", "ResourceInfo"])
async def test_error_details_can_be_read(channel: grpc.Channel, name: str) -> None:
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    found = await asyncio.to_thread(pool.FindMessageTypeByName, f"google.rpc.{name}")
    assert found.fields


async def test_every_service_can_be_described(channel: grpc.Channel) -> None:
    """All files behind a name come along, down to google.api."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)

    def describe() -> int:
        services = [name for name in database.get_services() if name.startswith("aster.")]
        return sum(len(pool.FindServiceByName(name).methods) for name in services)

    assert await asyncio.to_thread(describe) > 70


@pytest.mark.skipif(not BUF.exists(), reason="needs .venv-proto (make proto)")
async def test_buf_curl(server: Server) -> None:
    """A client that nobody here wrote, and that asks for grpc.reflection.v1 first."""
    answer = await curl(server, "aster.v1.ServerService/GetServerInfo", "{}")
    assert json.loads(answer)["server"]["name"] == "AsterOS"
    missing = await curl(server, "aster.v1.AgentService/GetAgent", '{"agentId": "nobody"}')
    error = json.loads(missing)
    assert error["code"] == "not_found"
    assert error["details"][0]["type"] == "google.rpc.ErrorInfo"


async def curl(server: Server, method: str, body: str) -> str:
    command = [
        BUF,
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "-d",
        body,
        f"http://{server.address}/{method}",
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout or done.stderr


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_both_versions(server: Server, version: str) -> None:
    """The messages are the same; field 7 of the request lists the services."""
    ask = server.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")

    async def requests() -> AsyncIterator[bytes]:
        yield b"\x3a\x00"

    answer = await ask(requests()).read()
    assert b"aster.v1.AgentService" in answer
