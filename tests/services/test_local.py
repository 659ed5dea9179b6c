"""The channel inside the process does what grpc.aio does over a socket, as far as its callers can see."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from services.helpers import Server

from aster.v1 import agent_service_pb2, event_service_pb2
from asteros.services.local import LocalChannel

pytestmark = pytest.mark.anyio

GET = "/aster.v1.AgentService/GetAgent"
SUBSCRIBE = "/aster.v1.EventService/Subscribe"
LIMIT = 10.0
Behavior = Callable[[bytes, Any], Awaitable[Any]]


def channel(unary: Behavior | None = None, stream: Behavior | None = None) -> LocalChannel:
    """One with the methods /a/Unary and /a/Stream."""
    handlers = {}
    if unary is not None:
        handlers["/a/Unary"] = grpc.unary_unary_rpc_method_handler(unary)
    if stream is not None:
        handlers["/a/Stream"] = grpc.unary_stream_rpc_method_handler(stream)
    return LocalChannel(handlers, None)  # type: ignore[arg-type]


async def test_an_answer_and_what_the_servicer_sees() -> None:
    async def unary(request: bytes, context: Any) -> bytes:
        assert list(context.invocation_metadata()) == [("key", "value")]
        return request + b"!"

    call = channel(unary).unary_unary("/a/Unary")(b"hi", metadata=(("key", "value"),))
    assert await call == b"hi!"


async def test_a_deadline_ends_the_servicer() -> None:
    ended = asyncio.Event()

    async def unary(_request: bytes, _context: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await channel(unary).unary_unary("/a/Unary")(b"", timeout=0.01)
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ended.is_set()


async def test_who_leaves_ends_the_servicer() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def unary(_request: bytes, _context: Any) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    call = channel(unary).unary_unary("/a/Unary")(b"")
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


async def test_a_writer_waits_for_its_reader() -> None:
    written = []

    async def stream(_request: bytes, context: Any) -> None:
        for number in range(5):
            await context.write(b"%d" % number)
            written.append(number)

    call = channel(stream=stream).unary_stream("/a/Stream")(b"")
    for _ in range(20):
        await asyncio.sleep(0)
    assert written == [0]  # the second waits until the first is taken
    async with asyncio.timeout(LIMIT):
        read = [await call.read() for _ in range(6)]
    assert read == [b"0", b"1", b"2", b"3", b"4", grpc.aio.EOF]
    assert written == [0, 1, 2, 3, 4]


async def test_a_message_whose_write_was_interrupted_is_read() -> None:
    async def stream(_request: bytes, context: Any) -> None:
        await context.write(b"0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await context.write(b"1")

    call = channel(stream=stream).unary_stream("/a/Stream")(b"")
    for _ in range(20):
        await asyncio.sleep(0)
    assert [await call.read() for _ in range(3)] == [b"0", b"1", grpc.aio.EOF]


async def test_a_reader_gets_what_was_written_before_the_failure() -> None:
    class Status:
        code, details, trailing_metadata = grpc.StatusCode.ABORTED, "why", (("name", "value"),)

    async def stream(_request: bytes, context: Any) -> None:
        await context.write(b"last")
        await context.abort_with_status(Status)

    call = channel(stream=stream).unary_stream("/a/Stream")(b"")
    assert await call.read() == b"last"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.ABORTED, "why")
    assert dict(failed.value.trailing_metadata()) == {"name": "value"}


@pytest.mark.parametrize("waiting", ["reader", "writer"])
async def test_cancel_frees_both_sides(waiting: str) -> None:
    ended = asyncio.Event()

    async def stream(_request: bytes, context: Any) -> None:
        try:
            while waiting == "writer":
                await context.write(b"x")
            await asyncio.Event().wait()
        finally:
            ended.set()

    call = channel(stream=stream).unary_stream("/a/Stream")(b"")
    reader = asyncio.create_task(call.read()) if waiting == "reader" else None
    for _ in range(5):
        await asyncio.sleep(0)
    call.cancel()
    async with asyncio.timeout(LIMIT):
        await ended.wait()
        if reader is not None:
            with pytest.raises(asyncio.CancelledError):
                await reader
        with pytest.raises(asyncio.CancelledError):
            await call.read()


async def test_a_real_server_says_the_same_inside_and_outside(server: Server) -> None:
    inside = server.house._grpc.local(server.channel)
    request = agent_service_pb2.GetAgentRequest(agent_id="nobody").SerializeToString()
    found = []
    for each in (inside, server.channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await each.unary_unary(GET)(request)
        found.append((failed.value.code(), failed.value.details()))
        assert "grpc-status-details-bin" in failed.value.trailing_metadata()
    assert found[0] == found[1]
    call: Any = inside.unary_stream(SUBSCRIBE)(event_service_pb2.SubscribeRequest().SerializeToString())
    first = event_service_pb2.SubscribeResponse.FromString(await call.read())
    assert first.frames[0].HasField("started")
    call.cancel()


async def test_what_is_not_ours_goes_outside(server: Server) -> None:
    inside = server.house._grpc.local(server.channel)
    assert await inside.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
