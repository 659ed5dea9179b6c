"""AgentService, the resource: create, list, update, start, close, delete."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from services.helpers import Server, config_of, pages, refused, serving

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions

pytestmark = pytest.mark.anyio
STATES = agent_pb2.AgentState.Name


async def get(server: Server, agent_id: str) -> agent_pb2.Agent:
    return (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent


async def update(server: Server, *paths: str, **agent: Any) -> agent_pb2.Agent:
    request = agents.UpdateAgentRequest(
        agent=agent_pb2.Agent(**agent), update_mask=field_mask_pb2.FieldMask(paths=paths)
    )
    return (await server.agents.UpdateAgent(request)).agent


# -- create and get ------------------------------------------------------------------


async def test_create(server: Server) -> None:
    config = config_of(
        system_prompt="Be brief.", tools=["Read"], tool_permissions={"Read": common_pb2.PERMISSION_POLICY_DENY}
    )
    request = agents.CreateAgentRequest(config=config, display_name="Ann", labels={"team": "a"})
    made = (await server.agents.CreateAgent(request)).agent
    assert made.id.startswith("agt_")
    assert (made.display_name, dict(made.labels), made.config) == ("Ann", {"team": "a"}, config)
    assert made.status.state == agent_pb2.AGENT_STATE_CREATED
    assert made.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE
    assert made.etag
    assert await get(server, made.id) == made


async def test_created_once(server: Server) -> None:
    """50 at once with one request_id: one agent, and one answer."""
    request = agents.CreateAgentRequest(config=config_of(), request_id="create-once", labels={"once": "1"})

    async def create() -> agent_pb2.Agent:
        return (await server.agents.CreateAgent(request)).agent

    made = await asyncio.gather(*(create() for _ in range(50)))
    assert len({agent.id for agent in made}) == 1
    assert made[0] == made[-1]
    listed = await server.agents.ListAgents(agents.ListAgentsRequest(labels={"once": "1"}))
    assert len(listed.agents) == 1


async def test_same_id_at_once(server: Server) -> None:
    """Without a request_id one wins, and the others are told."""
    results = await asyncio.gather(*(server.agent(agent_id="one-of-us") for _ in range(20)), return_exceptions=True)
    assert results.count("one-of-us") == 1


@pytest.mark.parametrize("alias", ["assistant", "general-assistant", "default-agent", "coder", "chat-template"])
async def test_template_aliases(server: Server, alias: str) -> None:
    assert await server.agent(template_id=alias)


async def test_provider_keys_stay_inside(server: Server) -> None:
    """Input only: in no answer, no event, and not in clear in the files."""
    model = agent_pb2.ModelConfig(provider="openai", model="gpt-x", api_key="canary-1")
    model.fallbacks.add(provider="openai", model="gpt-y", api_key="canary-2")
    config = agent_pb2.AgentConfig(template_id="chat", model_config=model)
    made = (await server.agents.CreateAgent(agents.CreateAgentRequest(config=config))).agent
    changed = await update(server, id=made.id, display_name="x")
    listed = await server.agents.ListAgents(agents.ListAgentsRequest(id_prefix=made.id))
    for agent in (made, changed, listed.agents[0], await get(server, made.id)):
        assert "canary" not in str(agent)
        assert not agent.config.model_config.api_key
    for file in (server.house.options.data_dir).glob("*"):
        if file.is_file():
            assert b"canary" not in file.read_bytes(), file


# -- list ----------------------------------------------------------------------------


async def test_list_over_three_pages(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = sorted([await server.agent(agent_id=f"p{n}") for n in (3, 1, 4, 0, 2)])
        found = await pages(server.agents.ListAgents, agents.ListAgentsRequest(page_size=2), "agents")
        assert [[agent.id for agent in page] for page in found] == [made[:2], made[2:4], made[4:]]
        exact = await pages(server.agents.ListAgents, agents.ListAgentsRequest(page_size=5), "agents")
        assert len(exact) == 1  # no empty page at the end
        largest = await server.agents.ListAgents(agents.ListAgentsRequest(page_size=2**31 - 1))
        assert len(largest.agents) == 5


async def test_pages_survive_changes(tmp_path: Path) -> None:
    """What is deleted behind the page, or made before it, neither repeats nor skips others."""
    async with serving(tmp_path) as server:
        for name in "bdfh":
            await server.agent(agent_id=name)
        first = await server.agents.ListAgents(agents.ListAgentsRequest(page_size=2))
        await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id="d"))
        await server.agent(agent_id="a")
        await server.agent(agent_id="e")
        request = agents.ListAgentsRequest(page_size=9, page_token=first.next_page_token)
        assert [agent.id for agent in (await server.agents.ListAgents(request)).agents] == ["e", "f", "h"]


async def test_filters(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.agents.CreateAgent(
            agents.CreateAgentRequest(agent_id="web-1", config=config_of(), labels={"team": "a", "env": "x"})
        )
        await server.agents.CreateAgent(
            agents.CreateAgentRequest(agent_id="web-2", config=config_of(), labels={"team": "b"})
        )
        await server.agent(agent_id="Web-3", template_id="assistant")
        await server.agents.StartAgent(agents.StartAgentRequest(agent_id="web-2"))
        await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id="Web-3"))
        created, started, closed = (
            agent_pb2.AGENT_STATE_CREATED, agent_pb2.AGENT_STATE_STARTED, agent_pb2.AGENT_STATE_CLOSED
        )  # fmt: skip
        wanted: list[tuple[dict[str, Any], list[str]]] = [
            ({"labels": {"team": "a"}}, ["web-1"]),
            ({"labels": {"team": "a", "env": "y"}}, []),
            ({"labels": {"te%": "a"}}, []),
            ({"id_prefix": "web-"}, ["web-1", "web-2"]),
            ({"id_prefix": "%"}, []),
            ({"template_id": "assistant"}, ["Web-3"]),
            ({"states": [started]}, ["web-2"]),
            ({"states": [created, closed]}, ["Web-3", "web-1"]),
            ({"states": [created], "id_prefix": "Web"}, []),
        ]
        for only, ids in wanted:
            listed = await server.agents.ListAgents(agents.ListAgentsRequest(**only))
            assert [agent.id for agent in listed.agents] == ids, only


# -- update --------------------------------------------------------------------------


async def with_everything(server: Server) -> agent_pb2.Agent:
    config = config_of(
        system_prompt="old",
        tools=["Read", "Ls"],
        tool_permissions={"Read": common_pb2.PERMISSION_POLICY_DENY, "Ls": common_pb2.PERMISSION_POLICY_ASK},
        iteration_limit=7,
    )
    request = agents.CreateAgentRequest(config=config, display_name="old", labels={"a": "1", "b": "2"})
    return (await server.agents.CreateAgent(request)).agent


async def test_update_one_field(server: Server) -> None:
    before = await with_everything(server)
    after = await update(
        server, "config.system_prompt", id=before.id, display_name="no", config={"system_prompt": "new"}
    )
    assert after.config.system_prompt == "new"
    assert after.etag != before.etag
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    after.config.system_prompt = "old"
    assert (after.display_name, after.config, after.create_time) == ("old", before.config, before.create_time)


async def test_maps_and_lists_are_replaced_whole(server: Server) -> None:
    before = await with_everything(server)
    config = {"tools": ["Write"], "tool_permissions": {"Write": common_pb2.PERMISSION_POLICY_ALLOW}}
    after = await update(
        server, "labels", "config.tools", "config.tool_permissions", id=before.id, labels={"c": "3"}, config=config
    )
    assert dict(after.labels) == {"c": "3"}
    assert list(after.config.tools) == ["Write"]
    assert list(after.config.tool_permissions) == ["Write"]
    emptied = await update(server, "labels", "config.tools", id=before.id)
    assert not emptied.labels
    assert not emptied.config.tools
    assert emptied.config.iteration_limit == 7


async def test_unset_by_mask(server: Server) -> None:
    before = await with_everything(server)
    after = await update(server, "config.iteration_limit", "display_name", id=before.id)
    assert not after.config.HasField("iteration_limit")
    assert not after.display_name


async def test_empty_mask_means_what_is_set(server: Server) -> None:
    before = await with_everything(server)
    after = await update(server, id=before.id, display_name="new")
    assert (after.display_name, dict(after.labels)) == ("new", {"a": "1", "b": "2"})
    assert after.config == before.config


async def test_template_stays(server: Server) -> None:
    before = await with_everything(server)
    other = {"template_id": "assistant"}
    for paths in (("config.template_id",), ("config",), ()):
        call = update(server, *paths, id=before.id, config=other)
        refusal = await refused(call, "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
        assert refusal.fields == ["agent.config.template_id"]
    same = await update(server, "config", id=before.id, config=config_of(system_prompt="new"))
    assert (same.config.template_id, same.config.system_prompt, len(same.config.tools)) == ("chat", "new", 0)
    without = await update(server, "config", id=before.id, config={"system_prompt": "newer"})
    assert without.config.template_id == "chat"


async def test_update_is_judged(server: Server) -> None:
    """As a creation is, and nothing of a refused one stays."""
    before = await with_everything(server)
    wrong: dict[str, Any] = {
        "config.tools": {"tools": ["Nothing"]},
        "config.model_config": {"model_config": {"provider": "scripted", "model": "none"}},
        "config.approval_timeout": {"approval_timeout": {"seconds": 31 * 86400}},
        "config.middlewares": {"middlewares": ["nothing"]},
    }
    for mask, config in wrong.items():
        with pytest.raises(Exception, match=r"NOT_FOUND|INVALID_ARGUMENT"):
            await update(server, mask, id=before.id, config=config)
    assert await get(server, before.id) == before


async def test_etag_of_two_writers(server: Server) -> None:
    """Both read the same version: one of them writes, the other must read again."""
    before = await with_everything(server)

    async def write(name: str) -> str:
        try:
            return (await update(server, id=before.id, display_name=name, etag=before.etag)).display_name
        except Exception as error:
            return str(error)

    results = await asyncio.gather(*(write(f"w{n}") for n in range(20)))
    assert sum("ABORTED" in each for each in results) == 19
    assert (await get(server, before.id)).display_name in results


async def test_writers_of_different_fields(server: Server) -> None:
    """At once and without an etag: nothing is lost."""
    before = await with_everything(server)
    await asyncio.gather(
        update(server, id=before.id, display_name="new"),
        update(server, id=before.id, labels={"c": "3"}),
        update(server, "config.system_prompt", id=before.id, config={"system_prompt": "new"}),
        update(server, "config.iteration_limit", id=before.id, config={"iteration_limit": 9}),
    )
    after = await get(server, before.id)
    assert (after.display_name, dict(after.labels)) == ("new", {"c": "3"})
    assert (after.config.system_prompt, after.config.iteration_limit) == ("new", 9)


async def test_running_turn_keeps_the_old_settings(server: Server) -> None:
    model = server.script("two", "- - tool: {name: Ls, input: {path: .}}\n- - text: end\n")
    agent_id = await server.agent(model, tools=["Ls"], tool_permissions={"Ls": common_pb2.PERMISSION_POLICY_ASK})
    await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x"))
    await server.seen(agent_id, "control.tool_approval_request")
    after = await update(server, "config.system_prompt", id=agent_id, config={"system_prompt": "new"})
    assert after.config.system_prompt == "new"
    assert after.status.activity == agent_pb2.AGENT_ACTIVITY_WAITING


async def test_a_stored_key_stays_with_its_host(server: Server) -> None:
    """Security, part 7: who may change the address must not learn the key that way."""
    model = {"provider": "openai", "model": "gpt-x", "api_key": "canary", "base_url": "https://a.example/v1"}
    made = (
        await server.agents.CreateAgent(
            agents.CreateAgentRequest(config={"template_id": "chat", "model_config": model})
        )
    ).agent

    async def stored() -> str:
        return (await server.registry.row("default", made.id)).agent.config.model_config.api_key

    sealed = await stored()
    assert sealed
    await update(server, "config.model_config.model", id=made.id, config={"model_config": {"model": "gpt-y"}})
    assert await stored() == sealed
    await update(
        server, "config.model_config.base_url", id=made.id, config={"model_config": {"base_url": "https://b.example"}}
    )
    assert await stored() == ""


# -- life ----------------------------------------------------------------------------


async def states(server: Server, agent_id: str) -> list[str]:
    """All state changes so far."""
    request = events.ListEventsRequest(agent_id=agent_id, event_types=["monitor.state_changed"])
    frames = (await server.events.ListEvents(request)).frames
    return [STATES(frame.event.monitor.state_changed.state).removeprefix("AGENT_STATE_") for frame in frames]


async def test_start_and_close_twice(server: Server) -> None:
    agent_id = await server.agent()
    for _ in range(2):
        started = (await server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id))).agent
        assert started.status.state == agent_pb2.AGENT_STATE_STARTED
    for _ in range(2):
        closed = (await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))).agent
        assert closed.status.state == agent_pb2.AGENT_STATE_CLOSED
    assert await states(server, agent_id) == ["STARTED", "STOPPED", "CLOSED"]


async def test_close_interrupts_and_drops(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    queued = [await server.agents.Send(agents.SendRequest(agent_id=agent_id, message="x")) for _ in range(3)]
    closed = (await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id=agent_id))).agent
    assert (closed.status.queued_turn_count, closed.status.turn_id) == (0, "")
    for each in (turn_id, *(sent.turn.id for sent in queued)):
        turn = await server.ended(agent_id, each)
        assert turn.state == agent_pb2.TURN_STATE_INTERRUPTED
    kept = await server.sessions.ListMessages(sessions.ListMessagesRequest(session_id=queued[0].turn.session_id))
    assert [message.role for message in kept.messages] == [common_pb2.ROLE_USER, common_pb2.ROLE_ASSISTANT]


async def test_delete(server: Server) -> None:
    agent_id, _ = await server.stuck()
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()
    session = (await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id=agent_id))).sessions[0].id
    await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id, force=True))
    await refused(stream, "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")
    gone = server.sessions.GetSession(sessions.GetSessionRequest(session_id=session))
    await refused(gone, "NOT_FOUND", "SESSION_NOT_FOUND", "ResourceInfo")
    again = server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=agent_id))
    await refused(again, "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo")
    assert await server.agent(agent_id=agent_id) == agent_id  # the name is free
    assert (await server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id))).frames == []


async def test_delete_with_the_right_etag(server: Server) -> None:
    made = await get(server, await server.agent())
    await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id=made.id, etag=made.etag))


async def test_status(server: Server) -> None:
    agent_id = await server.agent()
    said = await server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message="hi"))
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id))).status
    assert (status.message_count, status.step_count, status.queued_turn_count) == (2, 1, 0)
    assert (status.total_tokens, status.session_id) == (said.turn.usage.total_tokens, said.turn.session_id)
    frames = (await server.events.ListEvents(events.ListEventsRequest(agent_id=agent_id))).frames
    assert status.latest_sequence == frames[-1].event.sequence == len(frames)
    assert status.uptime.ToNanoseconds() > 0


async def test_status_does_not_wake(server: Server) -> None:
    agent_id = await server.agent()
    row = await server.registry.row("default", agent_id)
    for request in (agents.GetStatusRequest, agents.GetAgentRequest, agents.ListTurnsRequest):
        await getattr(server.agents, request.__name__.removesuffix("Request"))(request(agent_id=agent_id))
    stream = server.events.Subscribe(events.SubscribeRequest(agent_id=agent_id))
    await stream.read()
    stream.cancel()
    assert row.key not in server.registry._awake
    await server.agents.StartAgent(agents.StartAgentRequest(agent_id=agent_id))
    assert row.key in server.registry._awake  # the counter-case


async def test_status_of_a_stuck_agent_is_told_at_once(server: Server) -> None:
    agent_id, turn_id = await server.stuck()
    status = (await server.agents.GetStatus(agents.GetStatusRequest(agent_id=agent_id), timeout=5)).status
    assert (status.state, status.activity) == (agent_pb2.AGENT_STATE_RUNNING, agent_pb2.AGENT_ACTIVITY_WORKING)
    assert status.turn_id == turn_id
    stopped = await server.agents.Interrupt(agents.InterruptRequest(agent_id=agent_id))
    assert stopped.turn.id == turn_id
    assert await states(server, agent_id) == ["STARTED", "RUNNING", "STARTED"]
