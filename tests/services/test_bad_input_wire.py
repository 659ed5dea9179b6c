"""Guarantees, part 4: bytes that are no message, too many of them, and methods that are none.

What the core answers itself has no details (M21); what we answer has few enough (M20)."""

from typing import Any

import grpc
import pytest
from services.helpers import Server, config_of, decoded, failure, refused, refused_by_core, stub

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio


# -- bytes -----------------------------------------------------------------------


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def deep_struct(depth: int) -> bytes:
    """CreateSessionRequest.metadata with lists in lists."""
    value = b""
    for _ in range(depth):
        value = _field(6, _field(1, value))  # Value.list_value.values
    return _field(1, b"a") + _field(4, _field(1, _field(1, b"k") + _field(2, value)))


BROKEN = {
    "wire format": b"\xff\xff\xff",
    "cut off": b"\x0a\x05ab",
    "bad UTF-8": b"\x0a\x02\xff\xfe",
    "deep": deep_struct(200),
    "very deep": deep_struct(20_000),
}


@pytest.mark.parametrize("method", ["SessionService/CreateSession", "AgentService/Stream", "EventService/Subscribe"])
@pytest.mark.parametrize("name", BROKEN)
async def test_broken_bytes(server: Server, method: str, name: str) -> None:
    streams = not method.startswith("Session")
    make = server.channel.unary_stream if streams else server.channel.unary_unary
    call = make(f"/aster.v1.{method}")(BROKEN[name])
    if name.endswith("deep") and streams:
        return  # for these messages it is an unknown field, which is skipped
    await refused(call, "INVALID_ARGUMENT", "MALFORMED_MESSAGE", "BadRequest")


async def test_depth_within_the_limit_is_read(server: Server) -> None:
    """The counter-case: the same builder makes a message that parses."""
    request = sessions.CreateSessionRequest.FromString(deep_struct(20))
    request.agent_id = await server.agent()
    assert (await server.sessions.CreateSession(request)).session.metadata.fields["k"].HasField("list_value")


# -- sizes, and methods that are none ----------------------------------------------


async def test_message_too_large(server: Server) -> None:
    call = server.channel.unary_unary("/aster.v1.AgentService/Chat")(b"\x12" + b"x" * (4 << 20))
    await refused_by_core(call, "RESOURCE_EXHAUSTED")


async def test_metadata_too_large(server: Server) -> None:
    call = server.agents.ListAgents(agents.ListAgentsRequest(), metadata=(("x-big", "x" * (20 << 10)),))
    await refused_by_core(call, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    "path", ["/aster.v1.AgentService/Nothing", "/aster.v1.Nothing/Chat", "/x", "/aster.v1.AgentService"]
)
async def test_unknown_method(server: Server, path: str) -> None:
    await refused_by_core(server.channel.unary_unary(path)(b""), "UNIMPLEMENTED")


HUGE = {"ascii": "x" * (60 << 10), "four bytes a character": "\U0001f600" * (15 << 10)}


@pytest.mark.parametrize("kind", HUGE)
async def test_huge_input_does_not_make_huge_errors(server: Server, kind: str) -> None:
    """M20: trailers beyond the peer's 8 KiB would replace the error by another."""
    agent_id = await server.agent()
    text = HUGE[kind]
    lookups = [
        control.GetToolCallRequest(agent_id=agent_id, call_id=text),
        control.ApproveToolCallRequest(agent_id=agent_id, pending_id=text, decision=control.DECISION_ALLOW),
        agents.CreateAgentRequest(config={"template_id": text}),
        agents.CreateAgentRequest(config=config_of(tools=[text])),
    ]
    for request in lookups:
        error = await _trailing(stub(server, request)(request))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        size = sum(len(key) + len(value) for key, value in error.trailing_metadata() or ())
        # The core sends details in base64 and the text percent-encoded, in one block of headers.
        assert size * 4 / 3 + len((error.details() or "").encode()) * 3 < 8 << 10
    many = agents.CreateAgentRequest(
        config=config_of(text[:50], tool_permissions={f"{text[:50]}{n}": 9 for n in range(900)})
    )
    refusal = await refused(server.agents.CreateAgent(many), "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    assert refusal.metadata["count"] == "900"
    assert len(refusal.fields) > 5


async def _trailing(call: Any) -> grpc.aio.AioRpcError:
    error = await failure(call)
    assert decoded(error).details
    return error
