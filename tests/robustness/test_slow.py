"""F13: a subscriber that does not read, among others that do (T1, E1, E8).

Structure alone, no timing: what each has in the end, whatever the machine's speed. A
connection swallows 4 to 8 MiB before its server notices anything, so the flood is
several times that, and the stalled one has a connection of its own."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from robustness import agents, collect
from robustness.harness import ServerProcess, Stubs
from robustness.recorder import DISCONNECT, DROP_OLDEST, Listener, Pool, Record, end_of
from robustness.traffic import Traffic
from robustness.validators import (
    History,
    Problems,
    validate_dense,
    validate_gapless,
    validate_kept,
    validate_ordered,
    validate_stored,
    validate_unique,
)

from aster.v1 import agent_service_pb2

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

FLOOD = "flood:60000@0"
TURNS = 2
PATIENCE = 60.0  # seconds
WRITE_LIMIT = 10.0  # seconds that the server lets one write block
BUFFER = 64
LAST = "echo-last"  # the agent with the newest event of all: who has that one has had its chance at the others
PROMISES = (
    validate_dense,
    validate_ordered,
    validate_unique,
    validate_stored,
    validate_gapless,
    validate_kept,
)


class Stalled(Listener):
    """Opens a stream, reads its first message and then nothing until ``read_on``."""

    async def stall(self) -> Any:
        call = self.open()
        self.take((await call.read()).frames)
        return call

    async def read_on(self, call: Any, newest: dict[str, int]) -> None:
        """Reads what the stream still gives and, when it ends, goes on from the cursor like anybody."""
        async with asyncio.timeout(PATIENCE):
            while not self.reached(newest):
                try:
                    message = await call.read()
                except grpc.aio.AioRpcError as error:
                    self.record.ends.append(end_of(error))
                    call = self.open()
                    continue
                self.take(message.frames)
        call.cancel()


async def flood(stubs: Stubs, traffic: Traffic) -> None:
    """Many events on one agent while others ask for approvals: control events between the others."""
    async with asyncio.timeout(PATIENCE):  # names the place where nothing came
        await _flood(stubs, traffic)


async def _flood(stubs: Stubs, traffic: Traffic) -> None:
    request = agent_service_pb2.CreateAgentRequest(agent_id="flooding", config=agents.model(FLOOD))
    await stubs.agents.CreateAgent(request)
    turns = [await traffic.send("flooding", "go") for _ in range(TURNS)]
    approving = asyncio.create_task(traffic.approve_all())
    for number in range(5):
        await traffic.create(f"ask-{number}")
        await traffic.ended(await traffic.send(f"ask-{number}", "go"))
    for turn_id in turns:
        await traffic.ended(turn_id)
    approving.cancel()
    await asyncio.gather(approving, return_exceptions=True)
    await traffic.create(LAST)
    await traffic.ended(await traffic.send(LAST, "the last word"))


async def history_of(stubs: Stubs, pool: Pool, records: list[Record]) -> History:
    names = ["flooding", *(f"ask-{number}" for number in range(5)), LAST]
    return History(records, log={name: await collect.log_of(stubs, pool, name) for name in names})


def wrong(history: History) -> list[str]:
    found: list[str] = []
    for promise in PROMISES:
        problems: Problems = promise(history)
        found += list(problems)[:3]
    return found


@pytest.mark.parametrize("policy", [DROP_OLDEST, DISCONNECT], ids=["drop-oldest", "disconnect"])
async def test_one_stalled_subscriber_harms_nobody(tmp_path: Path, policy: int) -> None:
    server, pool = ServerProcess(tmp_path), Pool()
    agents.write_scripts(server.scripts_dir)
    async with server, Stubs(server.address) as stubs, Stubs(server.address) as others, Stubs(server.address) as own:
        fast = [Listener(others, pool, Record(f"fast-{number}")) for number in range(3)]
        slow = Stalled(own, pool, Record("stalled", policy=policy), buffer=BUFFER)
        traffic = Traffic(stubs, seed=0)
        traffic.watch(fast[0])
        following = [asyncio.create_task(listener.run()) for listener in fast]
        call = await slow.stall()
        await flood(stubs, traffic)
        history = await history_of(stubs, pool, [listener.record for listener in (*fast, slow)])
        newest = {LAST: len(history.log[LAST])}
        for listener in fast:
            assert await listener.reach(newest, PATIENCE)
        await slow.read_on(call, newest)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    assert wrong(history) == []
    assert not any(listener.record.gaps for listener in fast)
    assert slow.record.ends or (slow.record.gaps and policy == DROP_OLDEST), "the flood was too small"
    for end in slow.record.ends:
        assert (end.code, end.reason) == ("RESOURCE_EXHAUSTED", "SUBSCRIBER_TOO_SLOW"), end
        assert end.metadata["cursor"]


@pytest.mark.long
async def test_a_write_that_blocks_too_long_ends_the_stream(tmp_path: Path) -> None:
    """The buffer has room for all of it: what ends this stream is the one write that blocks for ten seconds."""
    server, pool = ServerProcess(tmp_path), Pool()
    agents.write_scripts(server.scripts_dir)
    async with server, Stubs(server.address) as stubs, Stubs(server.address) as others, Stubs(server.address) as own:
        fast = Listener(others, pool, Record("fast"))
        slow = Stalled(own, pool, Record("stalled"), buffer=16_384)
        traffic = Traffic(stubs, seed=0)
        traffic.watch(fast)
        following = asyncio.create_task(fast.run())
        call = await slow.stall()
        await flood(stubs, traffic)
        await asyncio.sleep(WRITE_LIMIT + 2)  # what is tested is that time passes
        history = await history_of(stubs, pool, [fast.record, slow.record])
        await slow.read_on(call, {LAST: len(history.log[LAST])})
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert wrong(history) == []
    assert [end.reason for end in slow.record.ends] == ["SUBSCRIBER_TOO_SLOW"]
