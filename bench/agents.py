"""Set-up for scenarios: agents with a scripted model, one by one or a hundred thousand at once."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    common_pb2,
    event_service_pb2,
    session_service_pb2,
)
from asteros import clock, ids
from asteros.stores.sqlite import SqliteStore
from asteros.stores.sqlite_writer import SQL
from bench.harness import Server
from bench.load import Call

SUBSCRIBE = "/aster.v1.EventService/Subscribe"
STREAM = "/aster.v1.AgentService/Stream"
PROGRESS = [common_pb2.CHANNEL_PROGRESS]
TEMPLATE = "chat"  # no tools
BUFFER = 16_384  # the largest a subscriber may ask for


def config(model: str) -> agent_pb2.AgentConfig:
    settings = agent_pb2.ModelConfig(provider="scripted", model=model)
    return agent_pb2.AgentConfig(template_id=TEMPLATE, model_config=settings)


def create(server: Server, agent_id: str, model: str) -> str:
    """Registers an agent; its id."""
    request = agent_service_pb2.CreateAgentRequest(agent_id=agent_id, config=config(model))
    with server.channel() as channel:
        agent_service_pb2_grpc.AgentServiceStub(channel).CreateAgent(request, timeout=10)
    return agent_id


def send(server: Server, agent_id: str) -> None:
    """Starts a turn and does not wait for it."""
    with server.channel() as channel:
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        stub.Send(agent_service_pb2.SendRequest(agent_id=agent_id, message="go"), timeout=10)


def followers(agent_id: str, **fields: Any) -> Call:
    """A subscription that ends with the agent's next turn and shows its text alone: log, filter, envelope."""
    request = event_service_pb2.SubscribeRequest(
        agent_id=agent_id,
        event_types=["progress.text_chunk"],
        until_turn_complete=True,
        **{"buffer_size": BUFFER} | fields,
    )
    return Call.of(SUBSCRIBE, request)


def raw(method: str, **request: Any) -> Call:
    """A call of the bare server."""
    return Call(f"/raw.Raw/{method}", (json.dumps(request).encode(),))


def register(data_dir: Path, count: int, model: str = "echo") -> list[str]:
    """Fills a data directory with agents, before any server runs on it; their ids.

    The store makes the schema and its own statements write the rows, all in one
    transaction: one call each would measure fsync for a minute."""

    async def schema() -> None:
        store = SqliteStore(data_dir)
        await store.open()
        await store.aclose()

    asyncio.run(schema())
    names = [f"agent-{number:06d}" for number in range(count)]
    now = clock.timestamp(clock.now())
    state = agent_pb2.AGENT_STATE_CREATED
    idle = agent_pb2.AGENT_ACTIVITY_IDLE
    status = agent_pb2.AgentStatus(state=state, activity=idle).SerializeToString()
    settings = config(model)
    db = sqlite3.connect(data_dir / "aster.db", isolation_level=None)
    db.execute("BEGIN")
    for name in names:
        agent = agent_pb2.Agent(id=name, config=settings, create_time=now, update_time=now, etag=ids.ulid())
        session = session_service_pb2.Session(
            id=ids.new("ses_"), agent_id=name, status="active", create_time=now, update_time=now
        )
        values = ("default", name, state, TEMPLATE, "{}", agent.SerializeToString(), status, session.id, idle)
        key = db.execute(SQL["insert_agent"], values).lastrowid
        row = ("default", session.id, key, clock.nanos(now), session.SerializeToString())
        db.execute(SQL["insert_session"], row)
    db.execute("COMMIT")
    db.close()
    return names
