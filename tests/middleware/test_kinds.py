"""The smaller middlewares, each against the real runtime: what the model is sent, what comes of it."""

import json
from typing import Any

import pytest
from middleware.helpers import (
    Plays,
    Probe,
    reply,
    restarted,
    sent,
    sent_results,
    sent_shape,
    settings,
    text_message,
    tokens,
)
from runtime.helpers import ASK_ALWAYS, Action, World, call, check_events, of, results

from aster.v1 import agent_pb2, common_pb2
from asteros.middleware.observations import shortened
from asteros.middleware.patch import PatchToolCalls
from asteros.providers.base import ModelRequest

pytestmark = pytest.mark.anyio


# -- filesystem ------------------------------------------------------------------------------


async def test_a_large_result_goes_into_a_file_and_can_be_read(world: World) -> None:
    big = call("big", "c/1", size=200_000)
    steps = ([big], [call("Read", "c2", file_path="tool_results/c_1.txt")], ["done"])
    agent = await world.agent(*steps, tools=["big"], **settings(filesystem=None))
    await world.turn(agent)
    told = results(await world.messages(agent))
    pointer = told["c/1"]
    assert (pointer["ok"], pointer["evicted"], pointer["file_path"]) == (True, True, "tool_results/c_1.txt")
    assert pointer["bytes"] > 200_000
    assert pointer["head"].startswith("ééé")
    assert len(pointer["head"].encode()) <= 2000
    assert told["c2"]["content"].startswith("ééé"), "the file tools came with the middleware, and read it"
    assert len(told["c2"]["content"]) > 80_000, "what Read answers is left as it is"
    check_events(await world.events(agent))


async def test_a_result_below_the_limit_stays(world: World) -> None:
    agent = await world.agent(
        [call("big", "c1", size=2000)], ["done"], **settings(filesystem={"max_result_bytes": 4000})
    )
    await world.turn(agent)
    assert "evicted" not in results(await world.messages(agent))["c1"]


# -- todolist ----------------------------------------------------------------------------------


async def test_todos_are_kept_and_told(world: World) -> None:
    todos = [{"content": "look", "status": "completed"}, {"content": "write", "status": "in_progress"}]
    agent = await world.agent(
        [call("write_todos", "c1", todos=todos)], ["done"], tools=["look"], **settings(todolist=None)
    )
    await world.turn(agent)
    (update,) = of(await world.events(agent), "todo_update")
    assert [(item.content, item.status) for item in update.items] == [("look", "completed"), ("write", "in_progress")]
    assert "write_todos" in [tool.name for tool in sent().tools]
    assert "write_todos" in sent().system


async def test_nobody_else_has_the_tools_of_a_middleware(world: World) -> None:
    agent = await world.agent(["hi"], middlewares=["probe"])
    await world.turn(agent)
    assert {"write_todos", "memory_write"}.isdisjoint(tool.name for tool in sent().tools)


# -- memory --------------------------------------------------------------------------------------


def _memory(call_id: str, name: str, content: str) -> Action:
    return {"tool": {"name": "memory_write", "id": call_id, "input": {"name": name, "content": content}}}


async def test_memories_outlive_session_and_server(world: World) -> None:
    steps = (
        [_memory("c1", "city", "Ann lives in Bern")],
        [_memory("c2", "pet", "a cat called Tom")],
        [call("memory_search", "c3", query="where does ann live")],
        [_memory("c4", "pet", "")],
        ["done"],
    )
    agent = await world.agent(*steps, **settings(agent_memory=None))
    await world.turn(agent)
    found = results(await world.messages(agent))["c3"]
    assert found == {"ok": True, "results": [{"name": "city", "content": "Ann lives in Bern"}]}
    agent = await restarted(world, agent)
    await world.turn(agent)
    assert "Kept: city, pet" in sent(-3).system
    assert "Kept: city\n" in sent().system + "\n", "what was forgotten is gone"


async def test_memory_files_are_shown_and_searched(world: World) -> None:
    steps = (
        [call("Write", "c1", file_path="AGENTS.md", content="Speak Swiss.\n\nThe build runs with make.")],
        [call("memory_search", "c2", query="make")],
        ["done"],
    )
    agent = await world.agent(*steps, **settings(agent_memory=None))
    await world.turn(agent)
    assert "AGENTS.md" not in sent(0).system
    assert "Speak Swiss." in sent().system
    found = results(await world.messages(agent))["c2"]["results"]
    assert found == [{"file_path": "AGENTS.md", "content": "The build runs with make."}]


async def test_memory_is_bounded(world: World) -> None:
    writes = [_memory(f"c{n}", f"m{n}", "x" * 90_000) for n in range(3)]
    agent = await world.agent(*[[write] for write in writes], ["done"], **settings(agent_memory=None))
    await world.turn(agent)
    assert [results(await world.messages(agent))[f"c{n}"]["ok"] for n in range(3)] == [True, True, False]


@pytest.mark.parametrize(("scope", "shared"), [("thread", False), ("resource", True)])
async def test_working_memory_has_the_scope_it_was_given(world: World, scope: str, shared: bool) -> None:
    steps = ([call("update_working_memory", memory="Ann, 30")], ["done"])
    agent = await world.agent(*steps, **settings(working_memory={"scope": scope, "template": "name: ?"}))
    await world.turn(agent)
    assert "name: ?" in sent(0).system
    assert "Ann, 30" in sent(1).system
    session = await agent.conversations.add(_session(), None)
    await world.turn(agent, session_id=session)
    assert ("Ann, 30" in sent(2).system) is shared
    agent = await restarted(world, agent)
    await world.turn(agent)
    assert "Ann, 30" in sent(-2).system


def _session() -> Any:
    from aster.v1 import session_service_pb2

    return session_service_pb2.Session(id="s2", agent_id="a1", status="active")


async def test_a_page_too_long_is_refused(world: World) -> None:
    agent = await world.agent(
        [call("update_working_memory", "c1", memory="x" * 200)], ["done"], **settings(working_memory={"max_bytes": 100})
    )
    await world.turn(agent)
    assert results(await world.messages(agent))["c1"]["ok"] is False


# -- observation_compression ------------------------------------------------------------------------


async def test_older_results_are_shortened_for_the_model_and_kept_in_the_store(world: World) -> None:
    steps = [[call("big", f"c{n}", size=5000)] for n in range(4)]
    config = {"max_bytes": 1000, "keep_recent": 2}
    agent = await world.agent(*steps, ["done"], **settings(observation_compression=config))
    await world.turn(agent)
    seen = sent_results()
    assert ["shortened_from_bytes" in seen[f"c{n}"] for n in range(4)] == [True, True, False, False]
    assert len(json.dumps(seen["c0"], ensure_ascii=False).encode()) <= 1000
    stored = results(await world.messages(agent))
    assert len(stored["c0"]["result"].encode()) == 5000
    assert sent_shape() == "u a1 t1 a1 t1 a1 t1 a1 t1"


def test_shortening_keeps_whose_result_it_is() -> None:
    result = common_pb2.ToolResult(call_id="c1", name="x", output_json='"' + "y" * 900 + '"', is_error=True)
    message = common_pb2.Message(role=common_pb2.ROLE_TOOL, content=[common_pb2.ContentBlock(tool_result=result)])
    (short,) = shortened([message], [0], 300)
    told = short.content[0].tool_result
    assert (told.call_id, told.is_error) == ("c1", True)
    assert json.loads(told.output_json)["ok"] is False
    assert message.content[0].tool_result.output_json == result.output_json, "the stored one is not touched"


# -- patch_tool_calls -----------------------------------------------------------------------------


async def test_what_other_rings_broke_is_repaired() -> None:
    answer = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT)
    answer.content.add(tool_call=common_pb2.ToolCall(id="c1", name="x", input_json="{half"))
    request = ModelRequest(agent_pb2.ModelConfig(), [text_message(common_pb2.ROLE_USER, "hi"), answer])
    passed: list[ModelRequest] = []

    async def proceed(request: ModelRequest) -> Any:
        passed.append(request)

    await PatchToolCalls({}).wrap_model_call(request, None, proceed)  # type: ignore[arg-type]
    _, asked, told = passed[0].messages
    assert json.loads(asked.content[0].tool_call.input_json) == {"unreadable_input": "{half"}
    assert json.loads(told.content[0].tool_result.output_json) == {"ok": False, "error": "interrupted"}
    assert answer.content[0].tool_call.input_json == "{half"


# -- structured_output ---------------------------------------------------------------------------


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def test_a_reply_that_fits_is_json_alone(world: World) -> None:
    agent = await world.agent(['```json\n{"city": "Bern"}\n```'], **settings(structured_output={"schema": CITY}))
    turn = await world.turn(agent)
    assert reply(turn) == '{"city": "Bern"}'
    assert len(Probe.seen) == 1
    assert '"required": ["city"]' in sent().system


async def test_a_reply_that_does_not_fit_is_asked_for_once_more(world: World) -> None:
    Plays.replies = ['{"town": "Bern"}', '{"city": "Bern"}']
    agent = await world.agent(["-"], **settings(structured_output={"schema": CITY}, plays=None))
    turn = await world.turn(agent)
    assert reply(turn) == '{"city": "Bern"}'
    assert turn.usage.input_tokens == sum(tokens(Plays.asked)), "both calls count"
    *_, said, told = Plays.asked[-1].messages
    assert said.content[0].text == '{"town": "Bern"}'
    assert "'city' is a required property" in told.content[0].text
    assert "".join(each.delta for each in of(await world.events(agent), "text_chunk")) == '{"city": "Bern"}'
    assert [message.role for message in await world.messages(agent)] == [1, 2], "a bad reply is not kept"


@pytest.mark.parametrize("bad", ["no JSON", '{"city": 5}', '{"city": "a", "city": "b"}', "", "[" * 5000])
async def test_the_second_bad_reply_fails_the_turn(world: World, bad: str) -> None:
    Plays.replies = [bad, bad, '{"city": "Bern"}']
    agent = await world.agent(["-"], **settings(structured_output={"schema": CITY}, plays=None))
    turn = await world.turn(agent)
    assert turn.state == agent_pb2.TURN_STATE_FAILED
    assert turn.error.message.startswith("The model's reply does not keep to the schema")
    assert Plays.replies == ['{"city": "Bern"}']
    assert turn.usage.input_tokens == sum(tokens(Plays.asked)), "what was used counts"
    assert not of(await world.events(agent), "text_chunk")


async def test_tool_calls_pass(world: World) -> None:
    steps = (["looking", call("look", "c1")], ['{"city": "Bern"}'])
    agent = await world.agent(*steps, **settings(structured_output={"schema": CITY}))
    turn = await world.turn(agent)
    assert reply(turn) == '{"city": "Bern"}'
    assert sent_shape() == "u a1 t1"


# -- hitl --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "asked", "ran"),
    [
        ({"ask": ["plain"]}, 1, ["plain x"]),
        ({"ask": ["look"]}, 0, ["plain x"]),
        ({"deny": ["PLAIN"], "ask": []}, 0, []),
        ({"deny": ["pl*"], "allow": ["plain"]}, 0, []),
        ({"allow": ["plain"]}, 0, ["plain x"]),
        ({"ask": ["plain"], "allow": ["*"]}, 1, ["plain x"]),
        ({"ask": ["pl*"], "allow": ["plain"]}, 0, ["plain x"]),
        (None, 1, ["plain x"]),
    ],
)
async def test_chosen_calls_are_asked_for(world: World, config: Any, asked: int, ran: list[str]) -> None:
    agent = await world.agent([call("plain", "c1", text="x")], ["done"], tools=["plain"], **settings(hitl=config))
    said = await world.say(agent)
    if asked:
        (request,) = await world.asked(agent)
        await world.approve(agent, request.pending_id)
    await world.ended(agent, said)
    assert world.box.did == ran
    assert len(of(await world.events(agent), "tool_approval_request")) == asked


async def test_hitl_allows_what_the_mode_would_ask_and_never_what_a_policy_denies(world: World) -> None:
    steps = ([call("plain", "c1", text="x"), call("keyed", "c2", text="y")], ["done"])
    denied = {"keyed": common_pb2.PERMISSION_POLICY_DENY}
    config = settings(hitl={"ask": [], "allow": ["*"]})
    agent = await world.agent(*steps, permission_mode=ASK_ALWAYS, tool_permissions=denied, **config)
    await world.turn(agent)
    assert world.box.did == ["plain x"]


async def test_a_person_edits_and_rejects(world: World) -> None:
    steps = ([call("plain", "c1", text="x"), call("plain", "c2", text="y")], ["done"])
    agent = await world.agent(*steps, **settings(hitl={"ask": ["plain"]}))
    said = await world.say(agent)
    first, second = await world.asked(agent, 2)
    await world.approve(agent, first.pending_id, edited_input_json='{"text": "z"}')
    await world.approve(agent, second.pending_id, allow=False, note="not that")
    await world.ended(agent, said)
    assert world.box.did == ["plain z"]
    assert results(await world.messages(agent))["c2"]["note"] == "not that"


# -- prompts -------------------------------------------------------------------------------------


async def test_advice_stands_at_the_end_of_the_prompt_in_order(world: World) -> None:
    config = settings(simplicity={"prompt": "Keep it small."}, reasoning=None)
    agent = await world.agent(["hi"], system_prompt="You are A.", **config)
    await world.turn(agent)
    first, second, third = sent().system.split("\n\n")
    assert (first, third) == ("You are A.", "Keep it small.")
    assert "name what is asked" in second
