"""The same inputs, good and bad, through gRPC, REST and Connect: the same answer or the same reason.

Each face has a server of its own, begun alike, so that what one input changes is there for the
next on all of them."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bridge.faces import Answer, Asked, comparable, over_connect, over_grpc, over_rest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from services.helpers import serving

from asteros.bridge.bindings import Binding, Service, Table
from asteros.services.server import services

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
TABLE = Table([Service(service, "aster") for service in services()])
FIRST: dict[str, Binding] = {b.method.full_name: b for b in TABLE if b.number == 0}
KNOWN = "known"
CONFIG = {"template_id": "chat", "model_config": {"provider": "scripted", "model": "echo"}}
F = FieldDescriptor

# Requests that work, in an order that makes sense; the rest is made from the descriptors.
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("AgentService.CreateAgent", {"agent_id": KNOWN, "config": CONFIG, "labels": {"a": "b"}}),
    ("AgentService.CreateAgent", {"agent_id": KNOWN, "config": CONFIG}),
    ("AgentService.CreateAgent", {"agent_id": "other", "config": CONFIG, "request_id": "r"}),
    ("AgentService.CreateAgent", {"agent_id": "other", "config": CONFIG, "request_id": "r"}),
    ("AgentService.CreateAgent", {"agent_id": "bad id", "config": CONFIG}),
    ("AgentService.CreateAgent", {"agent_id": "x", "config": {"template_id": "none"}}),
    ("AgentService.Chat", {"agent_id": KNOWN, "message": "hello"}),
    ("AgentService.Chat", {"agent_id": KNOWN, "message": "hello", "request_id": "q"}),
    ("AgentService.Chat", {"agent_id": KNOWN, "message": "hello", "request_id": "q"}),
    ("AgentService.Chat", {"agent_id": KNOWN, "message": "x" * 600_000}),
    ("AgentService.GetAgent", {"agent_id": KNOWN}),
    ("AgentService.GetStatus", {"agent_id": KNOWN}),
    ("AgentService.ListAgents", {"labels": {"a": "b"}}),
    ("AgentService.ListAgents", {"states": ["AGENT_STATE_CLOSED"]}),
    ("AgentService.ListAgents", {"id_prefix": "o", "page_size": 1}),
    ("AgentService.ListTurns", {"agent_id": KNOWN}),
    ("AgentService.UpdateAgent", {"agent": {"id": KNOWN, "display_name": "D"}, "update_mask": "displayName"}),
    ("AgentService.UpdateAgent", {"agent": {"id": KNOWN, "etag": "old"}, "update_mask": "displayName"}),
    ("AgentService.UpdateAgent", {"agent": {"id": KNOWN}, "update_mask": "nonsense"}),
    ("AgentService.SendSystemMessage", {"agent_id": KNOWN, "text": "be brief"}),
    ("AgentService.Interrupt", {"agent_id": KNOWN}),
    ("SessionService.CreateSession", {"agent_id": KNOWN, "session_id": "s-1"}),
    ("SessionService.GetSession", {"session_id": "s-1"}),
    ("SessionService.ListSessions", {"agent_id": KNOWN}),
    ("SessionService.ListMessages", {"session_id": "s-1"}),
    ("EventService.ListEvents", {"agent_id": KNOWN, "page_size": 3}),
    ("EventService.ListEvents", {"agent_id": KNOWN, "channels": ["CHANNEL_PROGRESS"], "newest_first": True}),
    ("EventService.ListEvents", {"agent_id": KNOWN, "event_types": ["text_delta"], "page_size": 2}),
    ("EventService.Subscribe", {"agent_id": KNOWN, "after_sequence": "0"}),
    ("EventService.Subscribe", {"agent_id": KNOWN, "cursor": "broken"}),
    ("EventService.Subscribe", {"agent_id": KNOWN, "heartbeat_interval": "0.1s"}),
    ("EventService.SubscribeProgress", {"agent_id": KNOWN, "start_time": "2020-01-01T00:00:00Z"}),
    ("EventService.ListEvents", {"channels": ["CHANNEL_UNSPECIFIED"]}),
    ("EventService.Subscribe", {"channels": ["CHANNEL_UNSPECIFIED"]}),
    ("DashboardService.ListTraces", {"end_time": "6676-02-15T21:47:43Z"}),
    ("DashboardService.GetUsage", {"start_time": "6676-02-15T21:47:43Z"}),
    ("ServerService.GetServerInfo", {}),
    ("TemplateService.GetTemplate", {"template_id": "chat"}),
    ("ToolService.ListTools", {"page_size": 2}),
    ("AccessService.GetCaller", {}),
    ("AgentService.CloseAgent", {"agent_id": "other"}),
    ("AgentService.Chat", {"agent_id": "other", "message": "still there?"}),
    ("AgentService.DeleteAgent", {"agent_id": "other"}),
    ("AgentService.GetAgent", {"agent_id": "other"}),
]


def method(name: str) -> MethodDescriptor:
    return FIRST[f"aster.v1.{name}"].method


def leaves(kind: Any, want: Any, value: Any, depth: int = 0) -> dict[str, Any]:
    """A request with a value in every single field of a sort, two levels deep."""
    found: dict[str, Any] = {}
    for field in kind.fields:
        if field.is_repeated or field.containing_oneof is not None:
            continue
        if want(field):
            found[field.name] = value
        elif depth < 1 and field.message_type is not None and field.message_type.file.package == "aster.v1":
            inside = leaves(field.message_type, want, value, depth + 1)
            if inside:
                found[field.name] = inside
    return found


def named(field: FieldDescriptor) -> bool:
    return field.type == F.TYPE_STRING and (field.name == "id" or field.name.endswith("_id"))


def text(field: FieldDescriptor) -> bool:
    return bool(field.type == F.TYPE_STRING)


def counted(field: FieldDescriptor) -> bool:
    return field.type in (F.TYPE_INT32, F.TYPE_INT64)


def made() -> Iterator[Asked]:
    """Inputs for every method of the contract, most of them bad, each in a way of its own."""
    for binding in FIRST.values():
        kind = binding.request
        yield Asked(binding.method, leaves(kind, named, "nobody"))
        yield Asked(binding.method, leaves(kind, named, "no body/ü ?#%2F"))
        yield Asked(binding.method, leaves(kind, named, "x" * 300))
        yield Asked(binding.method, {**leaves(kind, counted, -1), **leaves(kind, named, "nobody")})
        yield Asked(binding.method, {**leaves(kind, text, "?"), **leaves(kind, named, KNOWN)})


INPUTS = [
    *(Asked(method(name), body) for name, body in GOOD),
    *{(asked.rpc, str(asked.body)): asked for asked in made()}.values(),
]


@contextlib.asynccontextmanager
async def face(folder: Path, name: str) -> AsyncIterator[Any]:
    """How to ask a new server, by one of its faces."""
    folder.mkdir()
    async with serving(folder, http_port=0, connect="on") as server:
        base = f"http://127.0.0.1:{server.house.http_port}"
        async with httpx2.AsyncClient(base_url=base, timeout=30, trust_env=False) as client:

            async def ask(asked: Asked) -> Answer:
                if name == "grpc":
                    return await over_grpc(server.channel, asked)
                if name == "rest":
                    return await over_rest(client, asked, FIRST[asked.method.full_name])
                return await over_connect(client, asked)

            yield ask


async def answers(folder: Path, name: str) -> list[Answer]:
    async with face(folder, name) as ask:
        return [await ask(asked) for asked in INPUTS]


async def test_same_answers(tmp_path: Path) -> None:
    assert len(INPUTS) >= 300
    found = {name: await answers(tmp_path / name, name) for name in ("grpc", "rest", "connect")}
    differing = [
        f"{asked}\n" + "\n".join(f"  {name}: {comparable_answer(each[index])}" for name, each in found.items())
        for index, asked in enumerate(INPUTS)
        if len({json.dumps(comparable_answer(each[index]), sort_keys=True) for each in found.values()}) > 1
    ]
    assert not differing, f"{len(differing)} of {len(INPUTS)} differ:\n" + "\n".join(differing[:20])
    codes = {answer.code for answer in found["grpc"]}
    assert codes >= {"OK", "NOT_FOUND", "INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"}
    assert "UNKNOWN" not in codes
    assert "INTERNAL" not in codes


def comparable_answer(answer: Answer) -> Any:
    if answer.code != "OK":
        return answer.code, answer.reason, sorted(answer.fields)
    return comparable(answer.value)
