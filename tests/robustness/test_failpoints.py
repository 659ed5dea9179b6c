"""A turn is killed at every point of its journal, and taken up: its history is whole, it ends once,
and no tool runs more often than it allows (A1, A4, R4, R5, R9)."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import grpc
import pytest
from robustness import collect
from robustness.agents import ALLOW, ASK, model
from robustness.dialects import refusals
from robustness.harness import ServerProcess, Stubs
from robustness.marking_server import KINDS
from robustness.recorder import Pool
from robustness.validators import History, Sent, problems

from aster.v1 import agent_pb2, agent_service_pb2, common_pb2, control_service_pb2

pytestmark = pytest.mark.anyio
AGENT = "a1"
MARKING = ("-m", "robustness.marking_server")
SCRIPT = """\
- - text: {text: "I begin. ", chunk: 3}
  - tool: {name: mark_never, input: {text: one}}
- - tool: {name: mark_key, input: {text: two}}
  - tool: {name: mark_safe, input: {text: three}}
- - text: Done.
"""
STEPS, CALLS = 3, 3
# Point and visit; the ones of the quick lane stand first.
QUICK = [
    ("run.before_tool", 1),
    ("run.after_tool_before_result", 2),
    ("run.before_terminal", 1),
    ("approval.after_store_before_wake", 1),
]
LONG = [
    *(("run.before_model", visit) for visit in range(1, STEPS + 1)),
    *(("run.mid_stream", visit) for visit in (1, 2, 4, 6)),
    *(("run.before_tool", visit) for visit in (2, 3)),
    *(("run.after_tool_before_result", visit) for visit in (1, 3)),
    *(("approval.after_store_before_wake", visit) for visit in (2, 3)),
    *(("approval.after_decide_before_dispatch", visit) for visit in (1, 2, 3)),
    *((f"log.{point}", visit) for visit in range(2, 12, 2) for point in (
        "before_append", "after_append_before_ack", "after_ack_before_publish"
    )),
]  # fmt: skip
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)]


def config(point: str) -> agent_pb2.AgentConfig:
    policy = ASK if point.startswith("approval.") else ALLOW
    return model("script:marks", tools=list(KINDS), tool_permissions=dict.fromkeys(KINDS, policy))


async def decided(stubs: Stubs) -> None:
    """Allows whatever the agent asks, until it is cancelled."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):  # the server is dying, and asks again
            for pending_id in await collect.pending_of(stubs, AGENT):
                request = control_service_pb2.ApproveToolCallRequest(
                    agent_id=AGENT, pending_id=pending_id, decision=control_service_pb2.DECISION_ALLOW
                )
                await stubs.control.ApproveToolCall(request, wait_for_ready=True)
        await asyncio.sleep(0.02)


async def ended(stubs: Stubs, turn_id: str) -> None:
    """Waits for the end of the turn, whichever server brings it about."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):
            request = agent_service_pb2.GetTurnRequest(agent_id=AGENT, turn_id=turn_id)
            turn = (await stubs.agents.GetTurn(request, wait_for_ready=True)).turn
            if turn.HasField("end_time"):
                return
        await asyncio.sleep(0.02)


def test_a_broken_history_is_refused() -> None:
    """The checkers do see what they are there for."""
    call = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT)
    call.content.add(tool_call=common_pb2.ToolCall(id="c1", name="t"))
    answer = common_pb2.Message(role=common_pb2.ROLE_TOOL)
    answer.content.add(tool_result=common_pb2.ToolResult(call_id="c1", output_json="{}"))
    said = common_pb2.Message(role=common_pb2.ROLE_USER)
    said.content.add(text="and?")
    assert refusals([said, call, answer, said]) == []
    for broken in ([said, call], [said, call, said], [said, call, answer, answer], [said, answer]):
        assert {refusal.split(":")[0] for refusal in refusals(broken)} == {"anthropic", "openai", "responses"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("point", "visit"), CASES)
async def test_killed_and_taken_up(tmp_path: Path, point: str, visit: int) -> None:
    marks = tmp_path / "marks.txt"
    server = ServerProcess(tmp_path, program=MARKING)
    (server.scripts_dir / "marks.yaml").write_text(SCRIPT)
    paths = str(Path(__file__).parents[1])
    environment = {"ASTER_TEST_MARKS": str(marks), "PYTHONPATH": paths}
    server.environment = {
        **environment, "ASTER_TESTING": "1", "ASTER_FAILPOINTS": f"{point}=kill#{visit}"
    }  # fmt: skip
    async with server, Stubs(server.address) as stubs:
        create = agent_service_pb2.CreateAgentRequest(agent_id=AGENT, config=config(point), request_id="c")
        send = agent_service_pb2.SendRequest(agent_id=AGENT, message="go", request_id="s")
        playing = asyncio.create_task(_play(stubs, create, send))
        deciding = asyncio.create_task(decided(stubs))
        try:
            assert await server.wait(30) == -9, server.log[-2000:]
            killed_with = _lines(marks)
            server.environment = environment
            await server.start()
            async with asyncio.timeout(30):
                turn_id = await playing
                await ended(stubs, turn_id)
        finally:
            for task in (playing, deciding):
                task.cancel()
            await asyncio.gather(playing, deciding, return_exceptions=True)
        history = History(
            log={AGENT: await collect.log_of(stubs, Pool(), AGENT)},
            sent=[Sent(AGENT, "s", [turn_id])],
            turns={AGENT: await collect.turns_of(stubs, AGENT)},
            messages={AGENT: await collect.messages_of(stubs, AGENT)},
        )
        assert await collect.pending_of(stubs, AGENT) == []
    assert problems(history) == []
    assert refusals(history.messages[AGENT]) == []
    _check_effects(_lines(marks), killed_with)
    (turn,) = history.turns[AGENT]
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED


async def _play(stubs: Stubs, create: agent_service_pb2.CreateAgentRequest, send: agent_service_pb2.SendRequest) -> str:
    """Creates the agent and sends it on its way, repeated until somebody answers."""
    while True:
        try:
            await stubs.agents.CreateAgent(create, wait_for_ready=True)
            return str((await stubs.agents.Send(send, wait_for_ready=True)).turn.id)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _check_effects(lines: list[str], before: list[str]) -> None:
    """R5: once, or again as the tool declares it, and then with the same key."""
    runs = Counter(line.split()[1] for line in lines)
    assert runs["mark_never"] <= 1
    assert runs["mark_key"] in (1, 2)
    assert runs["mark_safe"] in (1, 2)
    keys = [line.split()[3] for line in lines if line.split()[1] == "mark_key"]
    assert len(set(keys)) == 1, "one call has one key"
    assert sum(runs.values()) <= CALLS + 1, "one kill cuts off one call"
    assert lines[: len(before)] == before
