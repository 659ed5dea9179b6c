"""The onion: order, what may be changed, whose fault a failure is, and the agent's life."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2
from middleware.helpers import Rings, reply, restarted, sent, settings
from runtime.helpers import ASK_ALWAYS, Action, World, call, check_events, kinds, of, results

from aster.v1 import agent_pb2, common_pb2
from asteros.middleware.base import (
    AgentContext,
    CallModel,
    CallTool,
    Middleware,
    MiddlewareContext,
    ModelContext,
    ModelStream,
    Review,
    ToolRequest,
)
from asteros.middleware.onion import Onion
from asteros.middleware.registry import BUILTIN, MiddlewareRegistry
from asteros.providers.base import ModelChunk, ModelRequest, TextDelta
from asteros.tools.base import JsonObject

pytestmark = pytest.mark.anyio
FAILED = agent_pb2.TURN_STATE_FAILED


async def test_a_lower_number_stands_further_out_and_ties_stand_as_listed(world: World, rings: Rings) -> None:
    agent = await world.agent(["hi"], **settings(inner=None, twin=None, outer=None))
    turn = await world.turn(agent)
    told = [line for line in rings.log if "starts" not in line]
    asked, heard = told[:3], told[3:]
    assert asked == ["twin asks", "outer asks", "inner asks"]
    assert heard == ["inner heard", "outer heard", "twin heard"]
    assert reply(turn) == "<twin <outer <inner hi>>>"
    assert sent().system.endswith("twin.outer.inner.")
    view = world.registry.view(await world.registry.row("default", "a1"))
    assert list(view.middleware_order) == ["twin", "outer", "inner", "probe"]


async def test_rings_stand_around_each_tool_call_too(world: World, rings: Rings) -> None:
    agent = await world.agent([call("plain", "c1", text="x")], ["done"], **settings(outer=None, inner=None))
    await world.turn(agent)
    runs = [line for line in rings.log if "runs" in line]
    assert runs == ["outer runs plain", "inner runs plain"]
    assert results(await world.messages(agent))["c1"]["seen_by"] == ["inner", "outer"]
    check_events(await world.events(agent))


async def test_the_life_of_an_agent_is_told_outermost_first_and_back(world: World, rings: Rings) -> None:
    agent = await world.agent(["hi"], **settings(inner=None, outer=None))
    await world.turn(agent)
    await world.turn(agent)
    assert [line for line in rings.log if "starts" in line] == ["outer starts a1", "inner starts a1"]
    agent = await restarted(world, agent)
    assert rings.log[-2:] == ["inner stops a1", "outer stops a1"]
    await agent.start()
    assert rings.log[-2:] == ["outer starts a1", "inner starts a1"]
    await agent.start()
    assert rings.log[-2:] == ["outer starts a1", "inner starts a1"], "once"
    await agent.close()
    assert rings.log[-2:] == ["inner stops a1", "outer stops a1"]


async def test_the_end_of_the_server_is_told_too(world: World, rings: Rings) -> None:
    agent = await world.agent(["hi"], **settings(outer=None))
    await agent.start()
    await world.registry.aclose()
    assert rings.log == ["outer starts a1", "outer stops a1"]


async def test_new_settings_make_a_new_onion_from_the_next_turn_on(world: World, rings: Rings) -> None:
    agent = await world.agent(["hi"], **settings(outer=None))
    await world.turn(agent)
    changed = agent_pb2.Agent()
    changed.CopyFrom(agent.row.agent)
    changed.config.middlewares[:] = ["inner"]
    agent.updated(changed)
    rings.log.clear()
    assert reply(await world.turn(agent)) == "<inner hi>"
    assert rings.log[:2] == ["outer stops a1", "inner starts a1"]


async def test_without_rings_the_providers_stream_is_the_answer() -> None:
    """No middleware, no cost per chunk: the very object is handed through."""

    async def stream(request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        yield TextDelta("x")

    made: list[ModelStream] = []

    def opened(request: ModelRequest) -> ModelStream:
        made.append(stream(request))
        return made[-1]

    class Changes(Middleware):
        name, priority = "changes", 1

        async def wrap_model_call(
            self, request: ModelRequest, context: ModelContext, proceed: CallModel
        ) -> ModelStream:
            return await proceed(replace(request, system="other"))

    request = ModelRequest(agent_pb2.ModelConfig(), [])
    for onion in (Onion(), Onion([Changes({})])):
        async with onion.model_call(request, None, opened) as chunks:  # type: ignore[arg-type]
            assert chunks is made[-1]
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)  # closed


# -- failures ------------------------------------------------------------------------


def _kind(ring_name: str, **hooks: Any) -> type[Middleware]:
    return type(ring_name, (Middleware,), {"name": ring_name, "priority": 20, **hooks})


class Own:
    """A world with kinds of the test's own."""

    def __init__(self, folder: Path, *own: type[Middleware]) -> None:
        self.world = World(folder)
        self.world.middlewares = MiddlewareRegistry((*BUILTIN, *own))

    async def __aenter__(self) -> World:
        return await self.world.__aenter__()

    async def __aexit__(self, *how: Any) -> None:
        await self.world.__aexit__(*how)


def _info(turn: agent_pb2.Turn) -> tuple[str, dict[str, str]]:
    info = error_details_pb2.ErrorInfo()
    assert turn.error.details[0].Unpack(info)
    return info.reason, dict(info.metadata)


async def _raises(*_: Any) -> Any:
    raise RuntimeError("secret path /etc/shadow")


async def _breaks(self: Any, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
    async def broken(stream: ModelStream) -> ModelStream:
        async for chunk in stream:
            yield chunk
            raise RuntimeError("secret path /etc/shadow")

    return broken(await proceed(request))


@pytest.mark.parametrize("hook", [_raises, _breaks])
async def test_a_ring_that_fails_fails_the_turn_and_says_so(tmp_path: Path, hook: Any) -> None:
    async with Own(tmp_path, _kind("bad", wrap_model_call=hook)) as world:
        agent = await world.agent(["hi there"], middlewares=["telemetry", "bad"])
        turn = await world.turn(agent)
        assert (turn.state, turn.error.message) == (FAILED, "A middleware of the agent failed")
        assert _info(turn) == ("INTERNAL", {"middleware": "bad"})
        (raised,) = of(await world.events(agent), "error")
        assert raised.phase == "system"
        check_events(await world.events(agent))


async def test_a_ring_that_fails_around_a_tool_fails_that_call(tmp_path: Path) -> None:
    async with Own(tmp_path, _kind("bad", wrap_tool_call=_raises)) as world:
        agent = await world.agent([call("plain", "c1")], ["done"], middlewares=["bad"])
        turn = await world.turn(agent)
        assert reply(turn) == "done"
        assert results(await world.messages(agent))["c1"]["error"] == "A middleware of the agent failed"
        assert world.box.did == []


async def test_what_the_tool_raises_is_the_tools_failure(world: World, rings: Rings) -> None:
    agent = await world.agent([call("raises", "c1")], ["done"], **settings(outer=None, filesystem=None))
    await world.turn(agent)
    (end,) = of(await world.events(agent), "tool_end")
    assert end.error.message == "The tool raised an error"


async def test_a_start_that_fails_is_tried_again_by_the_next_turn(tmp_path: Path) -> None:
    tries: list[str] = []

    async def start(self: Middleware, agent: AgentContext) -> None:
        tries.append(self.name)
        if len(tries) == 2:
            raise RuntimeError

    kinds_ = [_kind(name, on_agent_start=start) for name in ("one", "two")]
    async with Own(tmp_path, *kinds_) as world:
        agent = await world.agent(["hi"], middlewares=["one", "two"])
        assert (await world.turn(agent)).state == FAILED
        assert reply(await world.turn(agent)) == "hi"
        assert tries == ["one", "two", "two"]


async def test_a_stop_that_fails_stops_nobody_else(tmp_path: Path) -> None:
    stopped: list[str] = []

    async def stop(self: Middleware, agent: AgentContext) -> None:
        stopped.append(self.name)
        raise RuntimeError

    kinds_ = [_kind(name, on_agent_stop=stop) for name in ("one", "two")]
    async with Own(tmp_path, *kinds_) as world:
        agent = await world.agent(["hi"], middlewares=["one", "two"])
        await world.turn(agent)
        await agent.close()
        assert stopped == ["two", "one"]


async def test_an_interrupt_closes_what_the_rings_have_opened(tmp_path: Path) -> None:
    closed: list[str] = []

    async def both(self: Any, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        async def watched(stream: ModelStream) -> ModelStream:
            try:
                async for chunk in stream:
                    yield chunk
            finally:
                closed.append("ring")

        await proceed(request)  # opened and never read
        return watched(await proceed(request))

    async with Own(tmp_path, _kind("both", wrap_model_call=both)) as world:
        agent = await world.agent(model="flood:100000@50", middlewares=["both"])
        said = await world.say(agent)
        await world.seen(agent, "text_chunk")
        turn = await agent.mailbox.interrupt(said.turn.id, "enough")
        assert turn.state == agent_pb2.TURN_STATE_INTERRUPTED
        assert closed == ["ring"]


# -- changed inputs ----------------------------------------------------------------------


def _changes(text: str) -> Any:
    async def wrap(self: Any, request: ToolRequest, context: MiddlewareContext, proceed: CallTool) -> JsonObject:
        return await proceed(replace(request, args={"text": text}))

    return wrap


async def test_an_input_changed_around_the_run_is_judged_again(tmp_path: Path) -> None:
    rule = agent_pb2.PermissionRule(tool="plain", argument="bad*", policy=common_pb2.PERMISSION_POLICY_DENY)
    kinds_ = [_kind("good", wrap_tool_call=_changes("good")), _kind("evil", wrap_tool_call=_changes("bad thing"))]
    async with Own(tmp_path, *kinds_) as world:
        for name in ("good", "evil"):
            steps = ([call("plain", f"c-{name}", text="mine")], ["done"])
            agent = await world.agent(*steps, agent_id=name, middlewares=[name], permission_rules=[rule])
            await world.turn(agent)
        assert world.box.did == ["plain good"]
        denied = results(await world.messages(agent))["c-evil"]
        assert denied["ok"] is False
        assert "would have to be approved" in denied["error"]


async def test_an_approved_call_never_runs_with_another_input(tmp_path: Path) -> None:
    async with Own(tmp_path, _kind("sly", wrap_tool_call=_changes("other"))) as world:
        steps = ([call("plain", "c1", text="shown")], ["done"])
        agent = await world.agent(*steps, middlewares=["sly"], permission_mode=ASK_ALWAYS)
        said = await world.say(agent)
        (asked,) = await world.asked(agent)
        await world.approve(agent, asked.pending_id)
        await world.ended(agent, said)
        assert world.box.did == []


async def test_a_review_changes_the_input_before_anyone_is_asked(tmp_path: Path) -> None:
    async def review(self: Any, request: ToolRequest, context: MiddlewareContext) -> Review:
        return Review("change", args={"text": request.args["text"].removeprefix("sudo ")})

    async with Own(tmp_path, _kind("tames", review_tool_call=review)) as world:
        steps = ([call("plain", "c1", text="sudo rm")], ["done"])
        agent = await world.agent(*steps, middlewares=["tames"], permission_mode=ASK_ALWAYS)
        said = await world.say(agent)
        (asked,) = await world.asked(agent)
        assert asked.call.input_json == '{"text":"rm"}'
        await world.approve(agent, asked.pending_id, input_digest=asked.input_digest)
        await world.ended(agent, said)
        assert world.box.did == ["plain rm"]


# -- a model call of its own --------------------------------------------------------------


async def test_a_model_call_of_a_ring_counts_and_is_no_text_of_the_turn(tmp_path: Path) -> None:
    async def asks(self: Any, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        told = await context.ask_model(replace(request, system="aside"))
        return await proceed(replace(request, system=f"told {told}"))

    async with Own(tmp_path, _kind("asks", wrap_model_call=asks)) as world:
        world.prices.of_a_token = 0.5
        said: list[Action] = [{"text": "hi"}, {"usage": {"input_tokens": 6, "output_tokens": 4}}]
        agent = await world.agent(said, middlewares=["asks"])
        turn = await world.turn(agent)
        events = await world.events(agent)
        assert [each.usage.total_tokens for each in of(events, "model_call")] == [10, 10]
        assert "".join(each.delta for each in of(events, "text_chunk")) == "hi"
        assert (turn.usage.total_tokens, turn.cost_usd, turn.step_count) == (20, 10.0, 1)
        assert agent.lifecycle.status.total_tokens == 20
        check_events(events)


async def test_a_budget_stops_a_ring_from_asking(tmp_path: Path) -> None:
    async def asks(self: Any, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        for _ in range(50):
            await context.ask_model(request)
        return await proceed(request)

    async with Own(tmp_path, _kind("asks", wrap_model_call=asks)) as world:
        said: list[Action] = [{"text": "hi"}, {"usage": {"input_tokens": 600, "output_tokens": 400}}]
        limit = common_pb2.Budget(max_tokens=5000)
        agent = await world.agent(said, middlewares=["asks"], turn_budget=limit, tools=["Ls"])
        turn = await world.turn(agent)
        assert turn.stop_reason == agent_pb2.STOP_REASON_BUDGET
        assert 3000 <= turn.usage.total_tokens <= 5000


async def test_two_turns_of_two_agents_share_nothing(world: World, rings: Rings) -> None:
    agents = [await world.agent(["hi"], agent_id=name, **settings(outer=None)) for name in ("a1", "a2")]
    await asyncio.gather(*(world.turn(agent) for agent in agents))
    assert agents[0].rings.current(agents[0].config) is not agents[1].rings.current(agents[1].config)
    assert sorted(line for line in rings.log if "starts" in line) == ["outer starts a1", "outer starts a2"]
    assert "complete" in kinds(await world.events(agents[0]))
