"""A Star of one leader and four workers: a worker is killed in the middle, the server is killed -9,
and the task is still finished; nothing is done twice (F1, R5)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from robustness import agents
from robustness.harness import ServerProcess, Stubs

from aster.v1 import agent_pb2, event_service_pb2
from aster.v1 import agent_service_pb2 as pb
from aster.v1 import stars_service_pb2 as stars

pytestmark = pytest.mark.anyio
WORKERS = ("ann", "bob", "cid", "dee")
LIMIT = 60.0  # seconds
GOLDEN = Path(__file__).parents[1] / "golden" / "star.txt"


def _give(member: str, task: str) -> dict[str, Any]:
    return {"tool": {"name": "delegate", "input": {"member": member, "task": task}, "id": f"to-{member}-{task}"}}


def _write_scripts(folder: Path) -> None:
    """The leader gives one part to each, then bob's part once more, and ends. A worker writes a line
    and takes its time before it answers."""
    boss = [
        [{"text": "Everybody: go. "}, *(_give(name, "part") for name in WORKERS)],
        [_give("bob", "again")],
        [{"tool": {"name": "finish", "input": {"answer": "All parts are there."}, "id": "end"}}],
    ]
    write = {"name": "Write", "input": {"file_path": "marks.txt", "content": "mark\n", "append": True}}
    worker = [[{"tool": write}], [{"text": "thinking "}, {"pause": 0.5}, {"text": "done"}]]
    (folder / "boss.yaml").write_text(json.dumps(boss), encoding="utf-8")
    (folder / "worker.yaml").write_text(json.dumps(worker), encoding="utf-8")


async def _make(stubs: Stubs) -> None:
    request = stars.CreateStarRequest(star_id="team")
    for name in ("boss", *WORKERS):
        script = "boss" if name == "boss" else "worker"
        config = agents.appending(name, agents.ALLOW, script)
        await stubs.agents.CreateAgent(pb.CreateAgentRequest(agent_id=name, config=config))
        request.members.add(agent_id=name, role="leader" if name == "boss" else "")
    await stubs.stars.CreateStar(request)


async def _thinking(stubs: Stubs, agent_id: str) -> str:
    """Waits until a worker has written and answers; its turn."""
    request = event_service_pb2.SubscribeRequest(
        agent_id=agent_id,
        event_types=["text_chunk"],
        position=event_service_pb2.START_POSITION_EARLIEST,
    )
    call = stubs.events.Subscribe(request)
    async for response in call:
        for frame in response.frames:
            if frame.HasField("event"):
                call.cancel()
                return frame.event.turn_id
    raise AssertionError("the stream ended")


async def _run(stubs: Stubs) -> stars.RunStarResponse:
    """The run by its request_id, whatever becomes of the server meanwhile."""
    request = stars.RunStarRequest(
        star_id="team",
        message="Do it.",
        request_id="r1",
        disconnect_policy=agent_pb2.DISCONNECT_POLICY_CONTINUE,
    )
    while True:
        try:
            return await stubs.stars.RunStar(request, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)


async def _transcript(stubs: Stubs) -> str:
    """What was said; what was said side by side, in the order of names."""
    listed = await stubs.stars.ListStarMessages(stars.ListStarMessagesRequest(star_id="team", page_size=1000))
    lines = [f"{one.from_member or '-'} > {one.to_member or '-'}: {one.text}" for one in listed.messages]
    at = lines.index("boss > bob: again")
    return "".join(f"{line}\n" for line in [lines[0], *sorted(lines[1:at]), *lines[at:]])


async def _turns(stubs: Stubs, agent_id: str) -> list[agent_pb2.Turn]:
    request = pb.ListTurnsRequest(agent_id=agent_id)
    return list((await stubs.agents.ListTurns(request, wait_for_ready=True)).turns)


async def _check(server: ServerProcess, stubs: Stubs, done: stars.RunStarResponse) -> None:
    assert (done.text, done.turn.state) == ("All parts are there.", agent_pb2.TURN_STATE_COMPLETED)
    for name in WORKERS:
        found = await _turns(stubs, name)
        assert len(found) == 1 + (name == "bob")
        assert len(agents.marks(server.data_dir, name)) == len(found), "one line for each turn, whatever was killed"
    assert len(await _turns(stubs, "boss")) == 1


@pytest.mark.timeout(120)
async def test_a_worker_and_the_server_are_killed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    _write_scripts(server.scripts_dir)
    async with server, Stubs(server.address) as stubs, asyncio.timeout(LIMIT):
        await _make(stubs)
        running = asyncio.create_task(_run(stubs))
        turn_ids = dict(zip(WORKERS, await asyncio.gather(*(_thinking(stubs, name) for name in WORKERS)), strict=True))
        await stubs.agents.Interrupt(pb.InterruptRequest(agent_id="bob", turn_id=turn_ids["bob"]))
        await server.kill()
        await server.start()
        await _check(server, stubs, await running)
        assert await _transcript(stubs) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("visit", range(1, 7))
@pytest.mark.parametrize("point", ["star.after_row", "log.before_append", "log.after_append_before_ack"])
async def test_killed_anywhere(tmp_path: Path, point: str, visit: int) -> None:
    """At every turn that is begun, and in the midst of the log."""
    await _killed_at(tmp_path, f"{point}=kill#{visit if point.startswith('star') else visit * 7}")


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_killed_at_the_end(tmp_path: Path) -> None:
    await _killed_at(tmp_path, "star.before_end=kill#1")


async def _killed_at(folder: Path, plan: str) -> None:
    """The point must be reached once in every run, else this waits in vain."""
    server = ServerProcess(folder)
    _write_scripts(server.scripts_dir)
    await server.start()
    async with Stubs(server.address) as stubs, asyncio.timeout(LIMIT):
        await _make(stubs)
        await server.kill()
        server.environment = {"ASTER_TESTING": "1", "ASTER_FAILPOINTS": plan}
        await server.start()
        server.environment = {}
        running = asyncio.create_task(_run(stubs))
        restarts = asyncio.create_task(_restart(server))
        done = await running
        await restarts  # the kill may come after the answer
        for name in WORKERS:
            found = await _turns(stubs, name)
            assert len(found) == 1 + (name == "bob")
            assert len(agents.marks(server.data_dir, name)) <= len(found), "a killed write is never repeated"
        assert done.text == "All parts are there."
    await server.kill()


async def _restart(server: ServerProcess) -> None:
    """Starts the server again when it has died."""
    await server.wait(LIMIT)
    await server.start()
