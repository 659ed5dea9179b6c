"""Calls: what they send, how they are retried, how their failures look."""

import asyncio
from datetime import timedelta

import grpc
import pytest
from clients.python.fake_log import UNAVAILABLE, Fault
from clients.python.fake_server import FakeAster

import aster
from aster import (
    Agent,
    AgentConfig,
    AgentState,
    AsterClient,
    DecisionScope,
    ModelConfig,
    PermissionMode,
    PermissionPolicy,
    StopReason,
    errors,
)
from aster.v1 import common_pb2, control_service_pb2

pytestmark = pytest.mark.anyio


async def test_every_exported_name_exists() -> None:
    assert all(getattr(aster, name) is not None for name in aster.__all__)
    assert {"AsterClient", "TextChunk", "PermissionPolicy", "errors"} <= set(aster.__all__) <= set(dir(aster))
    with pytest.raises(AttributeError, match="NoSuchName"):
        aster.NoSuchName  # noqa: B018


async def test_create_agent_by_fields(fake: FakeAster, client: AsterClient) -> None:
    agent = await client.create_agent(
        "assistant",
        agent_id="x",
        provider="anthropic",
        model="claude-sonnet-4-5",
        tools=["filesystem", "bash"],
        tool_permissions={"Write": PermissionPolicy.ASK},
        permission_mode=PermissionMode.PLAN,
        metadata={"team": "blue"},
        labels={"env": "test"},
    )
    (request,) = fake.requests("CreateAgent")
    assert (agent.id, request.agent_id, request.labels["env"]) == ("x", "x", "test")
    assert request.request_id
    config = request.config
    assert (config.template_id, list(config.tools)) == ("assistant", ["filesystem", "bash"])
    assert (config.model_config.provider, config.model_config.model) == ("anthropic", "claude-sonnet-4-5")
    assert config.tool_permissions["Write"] == common_pb2.PERMISSION_POLICY_ASK
    assert config.metadata["team"] == "blue"


async def test_create_agent_by_config_and_fields(fake: FakeAster, client: AsterClient) -> None:
    config = AgentConfig(
        template_id="assistant",
        model_config=ModelConfig(model="m1", temperature=0.5),
        tools=["bash"],
        iteration_limit=0,
    )
    await client.create_agent(config=config, model="m2", system_prompt="Be brief.")
    sent = fake.requests("CreateAgent")[0].config
    assert (sent.template_id, sent.model_config.model, list(sent.tools)) == ("assistant", "m2", ["bash"])
    assert not sent.model_config.HasField("temperature")
    assert (sent.iteration_limit, sent.HasField("iteration_limit"), sent.system_prompt) == (0, True, "Be brief.")
    assert config.model_config.model == "m1"


async def test_lists_ask_for_page_after_page(fake: FakeAster, client: AsterClient) -> None:
    for agent_id in "bcde":
        fake.add_agent(agent_id)
    assert [agent.id async for agent in client.list_agents()] == list("abcde")
    assert [request.page_token for request in fake.requests("ListAgents")] == ["", "2", "4"]
    async for _ in client.list_agents():
        break
    assert len(fake.requests("ListAgents")) == 4


async def test_chat_has_both_looks(client: AsterClient) -> None:
    result = await client.agent("a").chat("你好")
    assert result.text == result.content == result.message.content == "echo: 你好"
    assert [block.text for block in result.content_blocks] == ["echo: 你好"]
    assert result.stop_reason == StopReason.END_TURN == "end_turn"
    assert (result.usage.total_tokens, result.turn.agent_id, result.message.role) == (7, "a", "assistant")


async def test_send_then_subscribe_misses_nothing(client: AsterClient) -> None:
    agent = client.agent("a")
    sent = await agent.send("hi")
    events = agent.subscribe(cursor=sent.cursor, turn_id=sent.turn_id, until_turn_complete=True)
    assert "".join([event.text_delta async for event in events]) == "echo: hi"
    turn = await agent.turn(sent.turn_id)
    assert turn.id == sent.turn.id
    assert [turn.id async for turn in agent.turns()] == [sent.turn_id]
    assert [message.content async for message in agent.messages()] == ["hi", "echo: hi"]
    assert (await agent.interrupt(reason="enough")).id == sent.turn_id


async def test_messages_before_the_first_turn_are_none(client: AsterClient) -> None:
    assert [message async for message in client.agent("a").messages()] == []


async def test_life_cycle(fake: FakeAster, client: AsterClient) -> None:
    async with await client.create_agent("assistant", agent_id="x") as agent:
        assert await agent.get_state() == AgentState.CREATED
        await agent.start()
        status = await agent.status()
        assert (status.state, status.activity, status.message_count) == ("started", "idle", 0)
        assert (status.step_count, status.uptime, status.last_activity, status.error) == (0, timedelta(0), None, None)
        assert await agent.send_system_message("It is ten o'clock.") == "msg_1"
    assert await agent.get_state() == "closed"
    assert (await client.get_agent("x")).info == agent.info
    await client.delete_agent("x", force=True)
    assert fake.requests("DeleteAgent")[0].force
    with pytest.raises(errors.NotFound):
        await client.get_agent("x")


async def test_sessions_and_server(fake: FakeAster, client: AsterClient) -> None:
    session = await client.create_session("a", session_id="s1", title="one", metadata={"k": 1})
    assert (session.id, session.agent_id) == ("s1", "a")
    await client.agent("a").chat("hi", session_id="s1")
    assert [row.id async for row in client.list_sessions()] == ["s1"]
    assert [message.role async for message in client.messages("s1")] == ["user", "assistant"]
    assert (await client.server_info()).name == "fake"
    assert set(fake.authorization) == {"Bearer key"}


async def test_approvals(fake: FakeAster, client: AsterClient) -> None:
    agent = client.agent("a")
    async with agent.subscribe(["control"]) as events:
        chat = asyncio.create_task(agent.chat("write it"))
        event = await anext(events)
        assert event.tool_call is not None
        assert (event.tool_call.name, event.tool_call.input) == ("Write", {"path": "/hello.txt"})
        (pending,) = [row async for row in client.pending_approvals()]
        assert pending.id == event.id == event.payload.pending_id
        await agent.approve_tool_call(event.id, True, edited_input={"path": "/b"}, scope=DecisionScope.SESSION)
        assert (await chat).text == "echo: write it"
        assert (await anext(events)).kind == "request_resolved"
    request = fake.requests("ApproveToolCall")[0]
    assert (request.decision, request.edited_input_json) == (control_service_pb2.DECISION_ALLOW, '{"path": "/b"}')
    assert request.scope == control_service_pb2.DECISION_SCOPE_SESSION
    with pytest.raises(errors.FailedPrecondition) as caught:
        await client.approve(pending, False)
    assert (caught.value.reason, caught.value.metadata) == ("REQUEST_ALREADY_RESOLVED", {"decided_by": "ann"})


async def test_the_inbox_decides_every_kind(fake: FakeAster, client: AsterClient) -> None:
    row = control_service_pb2.PendingRequest
    await client.approve(row(id="p1", agent_id="a", iteration_limit={"iteration_limit": 50}))
    await client.approve(row(id="p2", workflow_run_id="r", workflow_approval={"workflow_id": "w"}), False, note="no")
    assert fake.requests("RespondToIterationLimit")[0].pending_id == "p1"
    step = fake.requests("RespondToWorkflowApproval")[0]
    assert (step.workflow_id, step.run_id, step.pending_id, step.note) == ("w", "r", "p2", "no")
    with pytest.raises(ValueError, match="user_input"):
        await client.approve(row(id="p3", user_input={"prompt": "?"}))


async def test_answers(fake: FakeAster, client: AsterClient) -> None:
    agent = client.agent("a")
    for value in ("blue", 1, [0, 2], None):
        await agent.respond_to_input_request("q", value)
    sent = [(r.text, list(r.option_indexes), r.dismiss) for r in fake.requests("RespondToInputRequest")]
    assert sent == [("blue", [], False), ("", [1], False), ("", [0, 2], False), ("", [], True)]


async def test_a_long_tool_result_is_joined(fake: FakeAster, client: AsterClient) -> None:
    fake.outputs["toolu_1"] = ['{"text": "', "many words", '"}']
    record = await client.agent("a").tool_call("toolu_1")
    assert (record.result.output_json, record.next_output_offset) == ('{"text": "many words"}', 0)


# Retries.


async def test_reads_are_tried_three_times(fake: FakeAster, client: AsterClient) -> None:
    fake.faults["GetStatus"].extend([UNAVAILABLE, UNAVAILABLE])
    assert (await client.agent("a").status()).state == "created"
    fake.faults["GetStatus"].extend([UNAVAILABLE] * 3)
    with pytest.raises(errors.Unavailable):
        await client.agent("a").status()
    assert len(fake.requests("GetStatus")) == 6


async def test_a_retried_message_keeps_its_request_id(fake: FakeAster, client: AsterClient) -> None:
    agent: Agent = client.agent("a")
    for rpc in ("Chat", "Send", "SendSystemMessage", "CreateAgent"):
        fake.faults[rpc].append(UNAVAILABLE)
    await agent.chat("one")
    await agent.send("two", request_id="mine")
    await agent.send_system_message("three")
    await client.create_agent("assistant")
    for rpc in ("Chat", "Send", "SendSystemMessage", "CreateAgent"):
        first, second = fake.requests(rpc)
        assert first.request_id == second.request_id != ""
    assert fake.requests("Send")[0].request_id == "mine"


async def test_calls_without_a_request_id_are_not_repeated(fake: FakeAster, client: AsterClient) -> None:
    fake.faults["CloseAgent"].append(UNAVAILABLE)
    with pytest.raises(errors.Unavailable):
        await client.agent("a").close()
    assert len(fake.requests("CloseAgent")) == 1


async def test_a_failed_turn_is_not_repeated(fake: FakeAster, client: AsterClient) -> None:
    facts = {"turn_id": "trn_9", "provider": "openai"}
    fake.faults["Chat"].append(Fault(grpc.StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE", metadata=facts))
    with pytest.raises(errors.Unavailable) as caught:
        await client.agent("a").chat("hi")
    assert caught.value.metadata == facts
    assert len(fake.requests("Chat")) == 1


async def test_the_servers_wait_is_kept_and_never_outlives_the_timeout(fake: FakeAster) -> None:
    wait = Fault(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=0.25)
    fake.faults["GetServerInfo"].append(wait)
    loop = asyncio.get_running_loop()
    async with AsterClient(fake.address, timeout=10) as client:
        begin = loop.time()
        await client.server_info()
        assert loop.time() - begin >= 0.25
    fake.faults["GetServerInfo"].append(wait)
    async with AsterClient(fake.address, timeout=0.2) as client:
        with pytest.raises(errors.Unavailable) as caught:
            await client.server_info()
    assert caught.value.retry_after == 0.25
    assert len(fake.requests("GetServerInfo")) == 3


# Failures.


@pytest.mark.parametrize("kind", errors.AsterError.__subclasses__(), ids=lambda kind: kind.__name__)
async def test_every_code_has_its_class(fake: FakeAster, client: AsterClient, kind: type[errors.AsterError]) -> None:
    fake.faults["StartAgent"].append(Fault(kind.code, "WHY", "text", {"k": "v"}))
    with pytest.raises(kind) as caught:
        await client.agent("a").start()
    error = caught.value
    assert (error.code, error.reason, error.metadata, error.message) == (kind.code, "WHY", {"k": "v"}, "text")
    assert str(error) == "text [WHY]"


async def test_violations_are_listed(fake: FakeAster, client: AsterClient) -> None:
    fault = Fault(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION", violations=(("page_size", "is negative"),))
    fake.faults["GetStatus"].append(fault)
    with pytest.raises(errors.InvalidArgument) as caught:
        await client.agent("a").status()
    assert caught.value.violations == (errors.Violation("page_size", "is negative"),)


async def test_details_that_cannot_be_read_leave_code_and_text() -> None:
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    failure = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailers, details="gone")
    error = errors.from_rpc(failure)
    assert (type(error), error.message, error.reason) == (errors.NotFound, "gone", "")


async def test_a_deadline_is_a_timeout_error(fake: FakeAster, client: AsterClient) -> None:
    with pytest.raises(TimeoutError) as caught:
        await client.agent("a").chat("write it", timeout=0.05)
    assert isinstance(caught.value, errors.DeadlineExceeded)


async def test_cancelling_a_chat_cancels_its_rpc(fake: FakeAster, client: AsterClient) -> None:
    chat = asyncio.create_task(client.agent("a").chat("write it"))
    await fake.until(lambda: fake.pending)
    chat.cancel()
    with pytest.raises(asyncio.CancelledError):
        await chat
    await fake.until(lambda: fake.cancelled == ["Chat"])


async def test_defaults_come_from_the_environment(fake: FakeAster, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "from-env"
    monkeypatch.setenv("ASTER_ADDRESS", fake.address)
    monkeypatch.setenv("ASTER_API_KEY", "from-env")
    async with AsterClient() as client:
        await client.server_info()
    async with AsterClient(api_key="wrong") as client:
        with pytest.raises(errors.Unauthenticated):
            await client.server_info()
    monkeypatch.delenv("ASTER_ADDRESS")
    assert AsterClient().address == "127.0.0.1:50051"
