"""A bare grpc.aio server: no agents, no store, no interceptors, identity serializers.

Requests are JSON, responses are frames as ours encodes them: the same fields with
values of the same length, so that an event has the same size on both sides.

Batched   n events from a tight loop, `batch` per message, encoded once beforehand
Follow    n events of one shared log, whatever has arrived as one message (natural batches)
Publish   writes n events into that log, `rate` per second (0: full speed, `burst` at once)
Echo      a unary call; its answer is its request
One       a stream of one event
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from aster.v1 import event_pb2, event_service_pb2
from asteros.services.server import OPTIONS

RING = 1 << 16
MAX_BATCH = 256


def frame(number: int, now: int) -> bytes:
    """One event as an entry of ``frames``, stamped like a committed one."""
    event = event_pb2.Event(
        id="01J8ZQ4M3T5V6W7X8Y9ZABCDEF",
        sequence=5000 + number,
        event_type="progress.text_chunk",
        agent_id="bench-0",
        session_id="ses_01J8ZQ4M3T5V6W7X8Y9ZABCDEF",
        turn_id="trn_01J8ZQ4M3T5V6W7X8Y9ZABCDEF",
        step=1,
        ignorable=True,
    )
    event.create_time.seconds, event.create_time.nanos = divmod(now, 1_000_000_000)
    event.progress.text_chunk.delta = f"tok{number} "
    holder = event_service_pb2.SubscribeResponse()
    holder.frames.add(cursor="A" * 36, event=event)
    return holder.SerializeToString()


class Log:
    """A ring of encoded frames; each reader is a cursor and a future of its own."""

    def __init__(self) -> None:
        self.ring: list[bytes] = [b""] * RING
        self.head = self.readers = 0
        self.waiting: set[asyncio.Future[None]] = set()

    def append(self, entry: bytes) -> None:
        self.ring[self.head % RING] = entry
        self.head += 1

    def wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()

    async def follow(self, count: int) -> AsyncIterator[bytes]:
        cursor = self.head
        end = cursor + count
        self.readers += 1
        try:
            while cursor < end:
                if cursor == self.head:
                    future = asyncio.get_running_loop().create_future()
                    self.waiting.add(future)
                    await future
                if self.head - cursor > RING:
                    raise OverflowError("a reader fell out of the ring")
                upto = min(self.head, cursor + MAX_BATCH)
                a, z = cursor % RING, cursor % RING + upto - cursor
                yield b"".join(self.ring[a:z] if z <= RING else self.ring[a:] + self.ring[: z - RING])
                cursor = upto
        finally:
            self.readers -= 1


LOG = Log()


class Gate:
    """Opens when all readers have come: opening a thousand streams is not what Batched measures."""

    def __init__(self) -> None:
        self.came, self.opened = 0, asyncio.Event()

    async def enter(self, readers: int) -> None:
        self.came += 1
        opened = self.opened
        if self.came == readers:
            self.came, self.opened = 0, asyncio.Event()
            opened.set()
        await opened.wait()


GATE = Gate()


async def batched(request: dict[str, Any], _context: Any) -> AsyncIterator[bytes]:
    size = request["batch"]
    message = b"".join(frame(number, time.time_ns()) for number in range(size))
    await GATE.enter(request["readers"])
    for _ in range(request["n"] // size):
        yield message


async def follow(request: dict[str, Any], context: Any) -> None:
    await context.write(b"\x0a\x02\x1a\x00")  # a heartbeat: the client knows that it is in place
    async for message in LOG.follow(request["n"]):
        await context.write(message)


async def publish(request: dict[str, Any], _context: Any) -> bytes:
    count, rate, burst = request["n"], request["rate"], request["burst"]
    while LOG.readers < request["readers"]:
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for first in range(0, count, burst):
        if rate:
            await asyncio.sleep(max(0.0, start + first / rate - loop.time()))
        for number in range(first, min(first + burst, count)):
            LOG.append(frame(number, time.time_ns()))
        LOG.wake()
        if not rate:
            await asyncio.sleep(0)
    return b""


async def echo(request: bytes, _context: Any) -> bytes:
    return request


async def one(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    yield frame(0, time.time_ns())


def handlers() -> Any:
    return grpc.method_handlers_generic_handler(
        "raw.Raw",
        {
            "Batched": grpc.unary_stream_rpc_method_handler(batched, json.loads),
            "Follow": grpc.unary_stream_rpc_method_handler(follow, json.loads),
            "Publish": grpc.unary_unary_rpc_method_handler(publish, json.loads),
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "One": grpc.unary_stream_rpc_method_handler(one),
        },
    )


async def main(ready: Path) -> None:
    from grpc_health.v1 import health, health_pb2_grpc

    server = grpc.aio.server(options=OPTIONS)  # the same limits as ours: they are not what is measured
    server.add_generic_rpc_handlers((handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    aside = ready.with_suffix(".new")
    aside.write_text(json.dumps({"grpc_port": port}))
    aside.replace(ready)
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-file", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(arguments.ready_file))
    else:
        uvloop.run(main(arguments.ready_file))
