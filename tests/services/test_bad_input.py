"""Guarantees, part 4: what a request may not say, row by row; nothing is answered with UNKNOWN.

Rows that need an agent in some state stand in test_bad_input_state.py, cursors
in test_bad_input_cursors.py, bytes and sizes in test_bad_input_wire.py, what a model's
failure becomes in test_bad_input_model.py, what fails inside in test_failures.py, rights
and keys in test_access.py and test_keys.py."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from services.helpers import Server, config_of, failure, refused, stub

from aster.v1 import access_service_pb2 as access
from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions
from asteros import errors

pytestmark = pytest.mark.anyio
Make = Callable[[], Any]
INFINITE = duration_pb2.Duration(seconds=31 * 86400)


# -- fields ----------------------------------------------------------------------

VIOLATIONS: dict[str, tuple[Make, list[str]]] = {
    "everything missing": (control.ApproveToolCallRequest, ["agent_id", "pending_id", "decision"]),
    "nothing said": (lambda: agents.ChatRequest(), ["agent_id", "message"]),
    "no config": (agents.CreateAgentRequest, ["config"]),
    "no template": (lambda: agents.CreateAgentRequest(config={"system_prompt": "x"}), ["config.template_id"]),
    "no agent": (agents.UpdateAgentRequest, ["agent", "agent.id"]),
    "key without name and scopes": (access.CreateApiKeyRequest, ["name", "scopes"]),
    "bad enum": (
        lambda: agents.SendRequest(agent_id="a", message="x", busy_policy=77),  # type: ignore[arg-type]
        ["busy_policy"],
    ),
    "bad enum in a list": (lambda: events.SubscribeRequest(channels=[1, 9]), ["channels[1]"]),  # type: ignore[list-item]
    "bad enum in a map": (
        lambda: agents.CreateAgentRequest(config=config_of(tool_permissions={"Read": 44})),
        ["config.tool_permissions['Read']"],
    ),
    "negative page": (lambda: agents.ListAgentsRequest(page_size=-1), ["page_size"]),
    "negative skip": (lambda: sessions.ListSessionsRequest(skip=-1), ["skip"]),
    "negative sequence": (lambda: events.SubscribeRequest(agent_id="a", after_sequence=-1), ["after_sequence"]),
    "heartbeat too short": (
        lambda: events.SubscribeRequest(heartbeat_interval=duration_pb2.Duration(nanos=999_999_999)),
        ["heartbeat_interval"],
    ),
    "heartbeat too long": (
        lambda: events.SubscribeControlRequest(heartbeat_interval=duration_pb2.Duration(seconds=301)),
        ["heartbeat_interval"],
    ),
    "buffer too large": (lambda: events.SubscribeProgressRequest(buffer_size=16_385), ["buffer_size"]),
    "sequence of many agents": (lambda: events.SubscribeRequest(after_sequence=1), ["after_sequence"]),
    "sequence without agent": (lambda: events.ListEventsRequest(after_sequence=1), ["after_sequence"]),
    "cursor and sequence": (
        lambda: events.ListEventsRequest(agent_id="a", after_sequence=1, cursor="c"),
        ["cursor"],
    ),
    "text too long": (lambda: agents.SendRequest(agent_id="a", message="x" * (512 * 1024 + 1)), ["message"]),
    "text too long in bytes": (lambda: agents.SendRequest(agent_id="a", message="é" * (256 * 1024 + 1)), ["message"]),
    "title too long": (
        lambda: sessions.CreateSessionRequest(agent_id="a", title="x" * (64 * 1024 + 1)),
        ["title"],
    ),
    "request_id too long": (
        lambda: agents.SendRequest(agent_id="a", message="x", request_id="r" * 129),
        ["request_id"],
    ),
    "list too long": (lambda: events.ListEventsRequest(event_types=["x"] * 1001), ["event_types"]),
    "labels": (
        lambda: agents.CreateAgentRequest(config=config_of(), labels={"a b": "c", "ok": "/"}),
        ["labels['a b']", "labels['ok']"],
    ),
    "many labels": (
        lambda: agents.CreateAgentRequest(config=config_of(), labels={f"l{n}": "" for n in range(33)}),
        ["labels"],
    ),
    "edited without allow": (
        lambda: control.ApproveToolCallRequest(
            agent_id="a", pending_id="p", decision=control.DECISION_DENY, edited_input_json="{}"
        ),
        ["edited_input_json"],
    ),
    "edited for ever": (
        lambda: control.ApproveToolCallRequest(
            agent_id="a",
            pending_id="p",
            decision=control.DECISION_ALLOW,
            scope=control.DECISION_SCOPE_ALWAYS,
            edited_input_json="{}",
        ),
        ["edited_input_json"],
    ),
    "answer and dismiss": (
        lambda: control.RespondToInputRequestRequest(agent_id="a", pending_id="p", text="x", dismiss=True),
        ["dismiss"],
    ),
    "no answer": (lambda: control.RespondToInputRequestRequest(agent_id="a", pending_id="p"), ["text"]),
    "too many steps": (
        lambda: control.RespondToIterationLimitRequest(
            agent_id="a", pending_id="p", decision=control.DECISION_ALLOW, additional_steps=1001
        ),
        ["additional_steps"],
    ),
    "negative budget": (
        lambda: agents.SendRequest(agent_id="a", message="x", budget={"max_tokens": -1, "max_cost_usd": -0.5}),
        ["budget.max_cost_usd", "budget.max_tokens"],
    ),
    # A limit that is no number would never be reached.
    "budget that is no number": (
        lambda: agents.SendRequest(agent_id="a", message="x", budget={"max_cost_usd": math.nan}),
        ["budget.max_cost_usd"],
    ),
    "metadata that JSON cannot carry": (
        lambda: sessions.CreateSessionRequest(
            agent_id="a",
            metadata={"a": [math.inf]},
        ),
        ["metadata"],
    ),
    "time that is none": (
        lambda: events.SubscribeRequest(agent_id="a", start_time=timestamp_pb2.Timestamp(seconds=1, nanos=-1)),
        ["start_time"],
    ),
    "time beyond the calendar": (
        lambda: access.CreateApiKeyRequest(
            name="n", scopes=["admin"], expire_time=timestamp_pb2.Timestamp(seconds=1 << 61)
        ),
        ["expire_time"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_field_violations(server: Server, name: str) -> None:
    """All of them are listed, with the names of the proto."""
    if await server.store.agent("default", "a") is None:
        await server.agent(agent_id="a")  # so that no field is about something that is not there
    make, fields = VIOLATIONS[name]
    request = make()
    refusal = await refused(stub(server, request)(request), "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    assert sorted(refusal.fields) == sorted(fields)
    assert refusal.metadata["count"] == str(len(fields))


async def test_a_config_is_judged_whole(server: Server) -> None:
    model = agent_pb2.ModelConfig(
        provider="scripted", model="echo", temperature=1.5, top_p=0.0, max_tokens=0, stop_sequences=["x"] * 17
    )
    for _ in range(6):
        model.fallbacks.add(provider="scripted", model="echo", temperature=-1)
    model.fallbacks[0].fallbacks.add(model="echo")
    config = agent_pb2.AgentConfig(
        template_id="chat",
        model_config=model,
        iteration_limit=-1,
        approval_timeout=INFINITE,
        sandbox=agent_pb2.SandboxConfig(kind="docker", work_dir="../up"),
        permission_rules=[agent_pb2.PermissionRule()],
    )
    call = server.agents.CreateAgent(agents.CreateAgentRequest(config=config))
    refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    inner = {"temperature", "top_p", "max_tokens", "stop_sequences", "fallbacks"}
    wanted = {f"config.model_config.{name}" for name in inner}
    wanted |= {f"config.model_config.fallbacks[{n}].temperature" for n in range(6)}
    wanted |= {"config.iteration_limit", "config.approval_timeout", "config.sandbox.kind", "config.sandbox.work_dir"}
    wanted |= {"config.permission_rules[0].tool", "config.permission_rules[0].policy"}
    assert set(refusal.fields) == wanted


UNKNOWN_NAMES: dict[str, tuple[agent_pb2.AgentConfig, str]] = {
    "model": (config_of("no-such-model"), "config.model_config.model"),
    "script": (config_of("script:none"), "config.model_config.model"),
    "script path": (config_of("script:../../etc/passwd"), "config.model_config.model"),
    "provider": (
        agent_pb2.AgentConfig(template_id="chat", model_config={"provider": "nobody", "model": "m"}),
        "config.model_config.provider",
    ),
    "middleware": (config_of(middlewares=["filesystem", "nothing"]), "config.middlewares[1]"),
}


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
async def test_names_that_mean_nothing(server: Server, name: str) -> None:
    config, field = UNKNOWN_NAMES[name]
    call = server.agents.CreateAgent(agents.CreateAgentRequest(config=config))
    refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
    assert refusal.fields == [field]


# -- ids -------------------------------------------------------------------------

BAD_IDS = ["../x", "a/b", "a\\b", "a\x00b", "a\nb", "x" * 129]
BAD_NEW_IDS = [*BAD_IDS, "x" * 64, ".hidden", "-flag", "a b", "é", "a:b"]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_ids_of_something(server: Server, bad: str) -> None:
    requests = [
        agents.GetAgentRequest(agent_id=bad),
        agents.ChatRequest(agent_id=bad),  # the id comes before all other violations
        agents.GetTurnRequest(agent_id="a", turn_id=bad),
        agents.UpdateAgentRequest(agent=agent_pb2.Agent(id=bad)),
        sessions.GetSessionRequest(session_id=bad),
        events.SubscribeRequest(agent_ids=["a", bad]),
        access.RevokeApiKeyRequest(key_id=bad),
    ]
    for request in requests:
        await refused(stub(server, request)(request), "INVALID_ARGUMENT", "INVALID_ID", "BadRequest")


@pytest.mark.parametrize("bad", BAD_NEW_IDS)
async def test_ids_of_something_new(server: Server, bad: str) -> None:
    for request in (
        agents.CreateAgentRequest(agent_id=bad, config=config_of()),
        sessions.CreateSessionRequest(agent_id="a", session_id=bad),
    ):
        await refused(stub(server, request)(request), "INVALID_ARGUMENT", "INVALID_ID", "BadRequest")


async def test_longest_ids(server: Server) -> None:
    """At the limit: 63 characters are an id."""
    longest = "A" + "b._-" * 15 + "xy"
    assert await server.agent(agent_id=longest) == longest
    remote = agents.GetAgentRequest(agent_id="x" * 128)
    await refused(server.agents.GetAgent(remote), "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")


# -- masks, offsets and order ------------------------------------------------------------------


async def test_update_mask(server: Server) -> None:
    agent_id = await server.agent()
    for path in ("id", "status", "config.nothing", "config.model_config.model.more", "etag", "labels.a"):
        request = agents.UpdateAgentRequest(
            agent=agent_pb2.Agent(id=agent_id), update_mask=field_mask_pb2.FieldMask(paths=[path])
        )
        call = server.agents.UpdateAgent(request)
        refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
        assert refusal.fields == ["update_mask"], path


async def test_output_offset(server: Server) -> None:
    """An offset that was not given out, in the middle of a character too."""
    agent_id = await server.agent()
    request = control.GetToolCallRequest(agent_id=agent_id, call_id="c", output_offset=-1)
    await refused(server.control.GetToolCall(request), "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")


async def test_what_is_not_there_comes_before_bad_fields(server: Server) -> None:
    """Order of refusals: 404 of the resource, then field violations."""
    for request in (agents.ChatRequest(agent_id="nobody"), agents.ListTurnsRequest(agent_id="nobody", page_size=-1)):
        await refused(stub(server, request)(request), "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")


async def test_the_same_by_other_fields(server: Server) -> None:
    update = agents.UpdateAgentRequest(agent=agent_pb2.Agent(id="nobody", labels={"a b": "c"}))
    assert (await failure(server.agents.UpdateAgent(update))).code() is grpc.StatusCode.NOT_FOUND
    messages = sessions.ListMessagesRequest(session_id="nothing", page_size=-1)
    assert (await failure(server.sessions.ListMessages(messages))).code() is grpc.StatusCode.NOT_FOUND


URLS = [
    "http://x.example", "ftp://x.example", "https://user:pw@x.example", "https://", "x.example", "file:///etc/passwd",
    "http://127.0.0.1.x.example", "http://169.254.169.254/latest",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
async def test_addresses_that_are_not_allowed(server: Server, url: str) -> None:
    """The refusal shows neither the address nor what it resolves to."""
    model = agent_pb2.ModelConfig(provider="custom", model="m", api_key="k", base_url=url)
    config = agent_pb2.AgentConfig(template_id="chat", model_config=model)
    call = server.agents.CreateAgent(agents.CreateAgentRequest(config=config))
    refusal = await refused(call, "INVALID_ARGUMENT", "URL_NOT_ALLOWED", "BadRequest")
    assert url not in f"{refusal.text} {refusal.details}"


# -- the table -----------------------------------------------------------------------

# Reasons that no call of this version can be answered with: where they are tested instead.
ELSEWHERE = {
    "SANDBOX_UNAVAILABLE": "a tool's result: tests/tools",
    "SUBSCRIBER_TOO_SLOW": "tests/events",
    "TOOL_CANCELED": "a tool's result",
    "TOOL_DENIED": "a tool's result",
    "TOOL_FAILED": "a tool's result",
    "TOOL_OUTCOME_UNKNOWN": "a tool's result",
    "TOOL_TIMEOUT": "a tool's result",
    "EXPRESSION_FAILED": "a step's error: tests/workflows",
    "APPROVAL_DENIED": "a step's error: tests/workflows",
    "UNKNOWN_FIELD": "of JSON alone: tests/bridge",
}


def test_every_reason_is_provoked() -> None:
    """A new error without a test of its row is found here."""
    sources = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AsterError)]
    provoked = {
        kind.reason
        for kind in kinds
        if f'"{kind.reason}"' in sources or f'("{kind.reason.removesuffix("_NOT_FOUND")}", server' in sources
    }
    assert {kind.reason for kind in kinds} - set(ELSEWHERE) - provoked == set()
