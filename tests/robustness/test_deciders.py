"""A3: a hundred people decide on one request at once, each with a key of their own connection. One
decision is taken, everybody learns which, and what it says is what runs."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from services.helpers import Server, bearer, decoded, dialled, serving

from aster.v1 import access_service_pb2 as access
from aster.v1 import agent_pb2, event_pb2
from aster.v1 import control_service_pb2 as control
from aster.v1 import control_service_pb2_grpc as control_grpc

pytestmark = pytest.mark.anyio
ROOT = "root-key-of-this-test-0123456789abcdef"
PEOPLE, DECIDERS = 10, 100
QUICK = 2
NIGHT = 10  # times as many
ALLOW, DENY = control.DECISION_ALLOW, control.DECISION_DENY
Outcome = control.PendingRequest | grpc.aio.AioRpcError


@contextlib.asynccontextmanager
async def people(folder: Path) -> AsyncIterator[tuple[Server, dict[str, control_grpc.ControlServiceStub]]]:
    """A server with keys, and the stub of each person by the principal the server takes them for."""
    async with serving(folder, api_key=ROOT, metadata=bearer(ROOT)) as server, contextlib.AsyncExitStack() as stack:
        found = {}
        for number in range(PEOPLE):
            request = access.CreateApiKeyRequest(name=f"person-{number}", scopes=["approvals:decide"])
            secret = (await server.access.CreateApiKey(request)).secret
            channel = await stack.enter_async_context(dialled(server.address, bearer(secret)))
            found[f"person-{number}"] = control_grpc.ControlServiceStub(channel)
        yield server, found


def requests(agent_id: str, pending_id: str, rng: random.Random) -> list[control.ApproveToolCallRequest]:
    """What the deciders want: yes, no, or yes with one of two other texts."""
    wishes: list[dict[str, object]] = [
        {"decision": ALLOW},
        {"decision": DENY},
        {"decision": ALLOW, "edited_input_json": '{"file_path":"a.txt","content":"one"}'},
        {"decision": ALLOW, "edited_input_json": '{"file_path":"a.txt","content":"two"}'},
    ]
    chosen = [wishes[n % len(wishes)] for n in range(DECIDERS)]
    rng.shuffle(chosen)
    return [control.ApproveToolCallRequest(agent_id=agent_id, pending_id=pending_id, **wish) for wish in chosen]  # type: ignore[arg-type]


def wanted(request: control.ApproveToolCallRequest) -> tuple[int, str]:
    allowed = request.decision == ALLOW
    outcome = event_pb2.RESOLUTION_OUTCOME_ALLOWED if allowed else event_pb2.RESOLUTION_OUTCOME_DENIED
    return outcome, request.edited_input_json


async def one_round(server: Server, stubs: dict[str, control_grpc.ControlServiceStub], rng: random.Random) -> None:
    agent_id, event = await server.asking("write a.txt: zero")
    asked = requests(agent_id, event.id, rng)
    names = [f"person-{n % PEOPLE}" for n in range(DECIDERS)]
    calls = [stubs[name].ApproveToolCall(request) for name, request in zip(names, asked, strict=True)]
    outcomes: list[Outcome] = await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[assignment]
    turn = await server.ended(agent_id, event.turn_id)
    assert turn.state == agent_pb2.TURN_STATE_COMPLETED
    resolved = (await server.seen(agent_id, "control.request_resolved")).control.request_resolved
    taken = (resolved.outcome, resolved.edited_input_json)
    for request, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, grpc.aio.AioRpcError):
            assert wanted(request) != taken
            refusal = decoded(outcome)
            assert (refusal.code.name, refusal.info.reason) == ("FAILED_PRECONDITION", "REQUEST_ALREADY_RESOLVED")
            assert refusal.metadata["decided_by"] == resolved.decided_by
        else:
            assert wanted(request) == taken
            assert outcome.pending.resolution == resolved
    # Who decided is somebody who wanted this, by their key.
    assert resolved.decided_by in {name for name, request in zip(names, asked, strict=True) if wanted(request) == taken}
    assert await _written(server, agent_id) == _content(resolved)


async def _written(server: Server, agent_id: str) -> str:
    key = (await server.registry.row("default", agent_id)).key
    path = server.house.options.data_dir / "workspaces" / "agents" / str(key) / "a.txt"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _content(resolved: event_pb2.RequestResolved) -> str:
    if resolved.outcome != event_pb2.RESOLUTION_OUTCOME_ALLOWED:
        return ""
    return next((word for word in ("one", "two") if word in resolved.edited_input_json), "zero")


async def _rounds(folder: Path, count: int) -> None:
    rng = random.Random(int(os.environ.get("SEED") or 1))
    async with people(folder) as (server, stubs):
        for _ in range(count):
            await one_round(server, stubs, rng)


async def test_a_hundred_deciders(tmp_path: Path) -> None:
    await _rounds(tmp_path, QUICK)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_hundred_deciders_a_thousand_times(tmp_path: Path) -> None:
    await _rounds(tmp_path, 1000 * (NIGHT if os.environ.get("LANE") == "night" else 1))


async def test_nobody_decides_in_the_name_of_another(tmp_path: Path) -> None:
    """A7: who decided comes from the key, whatever the message or its metadata say."""
    async with people(tmp_path) as (server, stubs):
        agent_id, event = await server.asking()
        request = control.ApproveToolCallRequest(
            agent_id=agent_id, pending_id=event.id, decision=DENY, note="decided_by: person-7"
        )
        forged = request.SerializeToString() + b"\xfa\x07\x08person-7"  # a field that does not exist
        raw = server.channel.unary_unary(
            "/aster.v1.ControlService/ApproveToolCall", None, control.ApproveToolCallResponse.FromString
        )
        answer = await raw(forged, metadata=(("x-principal", "person-7"), ("decided-by", "person-7")))
        assert answer.pending.resolution.decided_by not in ("", "person-7")
        agent_id, event = await server.asking()
        by_three = await stubs["person-3"].ApproveToolCall(
            control.ApproveToolCallRequest(agent_id=agent_id, pending_id=event.id, decision=DENY)
        )
        assert by_three.pending.resolution.decided_by == "person-3"


async def test_four_eyes_over_the_wire(tmp_path: Path) -> None:
    async with people(tmp_path) as (server, stubs):
        agent_id, event = await server.asking(four_eyes=True)
        request = control.ApproveToolCallRequest(agent_id=agent_id, pending_id=event.id, decision=ALLOW)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.control.ApproveToolCall(request)
        refusal = decoded(refused.value)
        assert (refusal.code.name, refusal.info.reason) == ("PERMISSION_DENIED", "FOUR_EYES_REQUIRED")
        assert (await stubs["person-1"].ApproveToolCall(request)).pending.resolution.decided_by == "person-1"
