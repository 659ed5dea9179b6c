"""F2, durable before visible (E2): what the system was asked to do, in its order.

kill -9 proves nothing about power loss: without a single sync nothing is lost by it.
So the order itself is looked at, and the same look must find fault with a server that
was told to be durable against crashes alone."""

import asyncio
from pathlib import Path

import pytest
from robustness import agents, trace
from robustness.harness import ServerProcess, Stubs
from robustness.recorder import Listener, Pool, Record

from aster.v1 import agent_service_pb2

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(trace.missing()), reason=trace.missing() or "-"),
]

MARKERS = ("MARKER7f3a", "MARKER81c2", "MARKERd05e")


async def traced(folder: Path, durability: str) -> list[tuple[bool, str]]:
    """The verdict on each of three events, every one after everything was quiet."""
    output = folder / "trace"
    server = ServerProcess(folder, arguments=("--durability", durability), prefix=trace.command(output))
    _write_script(server.scripts_dir)
    async with server, Stubs(server.address) as stubs:
        listener = Listener(stubs, Pool(), Record("all"))
        following = asyncio.create_task(listener.run())
        for number in range(len(MARKERS)):
            await _one_turn(stubs, listener, number)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await server.terminate()  # the trace is whole once strace has ended behind the server
    lines = trace.lines_of(output)
    return [trace.durable_before_visible(lines, marker) for marker in MARKERS]


def _write_script(folder: Path) -> None:
    """One text chunk per marker, which stands in no name and in no message of the user: events alone hold it."""
    for number, marker in enumerate(MARKERS):
        (folder / f"say-{number}.yaml").write_text(f"- - text: {{text: {marker}, chunk: 40}}\n", encoding="utf-8")


async def _one_turn(stubs: Stubs, listener: Listener, number: int) -> None:
    """One agent says its marker, and the listener has heard its turn end."""
    ended = asyncio.Event()
    listener.on_event(lambda event: ended.set() if event.progress.complete.final_text == MARKERS[number] else None)
    name, config = f"agent-{number}", agents.model(f"script:say-{number}")
    await stubs.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent_id=name, config=config))
    await stubs.agents.Send(agent_service_pb2.SendRequest(agent_id=name, message="go"))
    await ended.wait()


async def test_an_event_is_on_the_disk_before_anybody_sees_it(tmp_path: Path) -> None:
    for verdict, why in await traced(tmp_path, "full"):
        assert verdict, why


async def test_the_same_look_is_red_without_the_sync(tmp_path: Path) -> None:
    """Not each event must be red: the checkpoint, four times a second, syncs too and may come in between."""
    verdicts = await traced(tmp_path, "normal")
    assert not all(verdict for verdict, _ in verdicts), verdicts


APPEND = '12 10:00:00.1 pwrite64(9</d/aster.db-wal>, "MARKER7f3a"..., 4096, 32) = 4096'
SYNC = "12 10:00:00.2 fdatasync(9</d/aster.db-wal>) = 0"
BEGUN = "12 10:00:00.2 fdatasync(9</d/aster.db-wal> <unfinished ...>"
ENDED = "12 10:00:00.4 <... fdatasync resumed>) = 0"
SEND = '11 10:00:00.3 sendmsg(20<socket:[77]>, {msg_iov=[{iov_base="MARKER7f3a", iov_len=10}]}, 0) = 10'
OTHER_SYNC = "12 10:00:00.2 fdatasync(8</d/aster.db>) = 0"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ((APPEND, SYNC, SEND), True),
        ((APPEND, BEGUN, ENDED, SEND), True),
        ((APPEND, SEND, SYNC), False),
        ((APPEND, BEGUN, SEND, ENDED), False),
        ((SYNC, APPEND, SEND), False),
        ((BEGUN, APPEND, ENDED, SEND), False),
        ((APPEND, OTHER_SYNC, SEND), False),
        ((APPEND, SYNC, APPEND, SEND), True),
    ],
)
def test_the_order_that_counts(lines: tuple[str, ...], verdict: bool) -> None:
    assert trace.durable_before_visible(lines, MARKERS[0])[0] is verdict


@pytest.mark.parametrize("lines", [(), (APPEND, SYNC), (SEND,)])
def test_a_trace_without_the_event_proves_nothing(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="sent"):
        trace.durable_before_visible(lines, MARKERS[0])
