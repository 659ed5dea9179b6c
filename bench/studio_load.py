"""Programs that report for many remote agents at a fixed rate; ``python -m bench.studio_load``.

Each connection carries its share of the agents and sends, for each of them in turn, the events of
one period in one batch. The batches are encoded once, before the clock starts. What could not be
sent on time is sent late, never left out: a server that is behind shows as ``wall_s``."""

import argparse
import asyncio
import json
import time

import grpc

from aster.v1 import event_pb2
from aster.v1 import studio_service_pb2 as pb

CONNECT = "/aster.v1.StudioService/ConnectAgents"


def _batch(agent_id: str, count: int) -> bytes:
    chunk = event_pb2.Event(progress=event_pb2.ProgressEvent(text_chunk=event_pb2.TextChunk(delta="word after word ")))
    batch = pb.ConnectEvents(agent_id=agent_id, events=[chunk] * count)
    return pb.ConnectAgentsRequest(events=batch).SerializeToString()


async def _program(
    channel: grpc.aio.Channel, names: list[str], flags: argparse.Namespace
) -> tuple[int, int, float, float]:
    """Events sent, events acknowledged as stored, and when the first and the last of them were."""
    call = channel.stream_stream(CONNECT, response_deserializer=pb.ConnectAgentsResponse.FromString)()
    for name in names:
        await call.write(pb.ConnectAgentsRequest(register=pb.ConnectRegister(agent_id=name)).SerializeToString())
        answer = await call.read()
        assert answer.HasField("registered"), answer
    per_batch = int(flags.rate * flags.period)
    batches = [_batch(name, per_batch) for name in names]
    rounds = int(flags.seconds / flags.period)
    acked = asyncio.create_task(_acknowledgements(call, rounds * len(names)))
    print("ready", flush=True)
    began = time.perf_counter()
    for round_ in range(rounds):
        for place, batch in enumerate(batches):
            due = began + (round_ + place / len(batches)) * flags.period
            if (wait := due - time.perf_counter()) > 0.002:
                await asyncio.sleep(wait)
            await call.write(batch)
    stored = await acked * per_batch
    ended = time.perf_counter()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF  # its agents are offline now
    return rounds * len(names) * per_batch, stored, began, ended


async def _acknowledgements(call: grpc.aio.StreamStreamCall, count: int) -> int:
    for _ in range(count):
        answer = await call.read()
        assert answer.HasField("events_ack"), answer
    return count


async def _main(flags: argparse.Namespace) -> None:
    names = [f"remote-{number:05d}" for number in range(flags.agents)]
    shares = [names[start :: flags.connections] for start in range(flags.connections)]
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(flags.address, options=options) for _ in shares]
    work = (_program(channel, share, flags) for channel, share in zip(channels, shares, strict=True))
    done = await asyncio.gather(*work)
    sent, stored, began, ended = zip(*done, strict=True)
    facts = {"sent": sum(sent), "stored": sum(stored), "wall_s": max(ended) - min(began)}
    print(json.dumps({**facts, "cpu_s": time.process_time()}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rate", type=float, default=50, help="events a second of each agent")
    parser.add_argument("--period", type=float, default=0.5, help="seconds between two batches of an agent")
    parser.add_argument("--seconds", type=float, default=10)
    asyncio.run(_main(parser.parse_args()))
