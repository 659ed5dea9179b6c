"""Strategy leader: one plans and gives work, the others work side by side, the run ends with an answer."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from services.helpers import LIMIT, STUCK, Server, refused, serving
from stars.helpers import ask, events, finish, give, results, run, said, star_of, tell

from aster.v1 import agent_pb2, common_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import stars_service_pb2 as pb

pytestmark = pytest.mark.anyio
COMPLETED, INTERRUPTED = agent_pb2.TURN_STATE_COMPLETED, agent_pb2.TURN_STATE_INTERRUPTED
FOUR = ("ann", "bob", "cid", "dee")


async def turns(server: Server, agent_id: str) -> list[agent_pb2.Turn]:
    listed = await server.agents.ListTurns(agents.ListTurnsRequest(agent_id=agent_id))
    return list(reversed(listed.turns))


async def test_a_leader_and_four_workers(server: Server) -> None:
    boss = [
        ["Let us see. ", *(give(name, f"part {name}", f"to-{name}") for name in FOUR)],
        [tell("two are missing", "tell")],
        [ask("ann", "is it right?", "check")],
        [finish("all of it")],
    ]
    workers = {name: [[f"{name} is done"]] for name in FOUR}
    await star_of(server, {"boss": boss, **workers})
    done = await run(server, message="the task")
    assert (done.text, done.turn.state, done.turn.agent_id) == ("all of it", COMPLETED, "boss")
    transcript = await said(server)
    assert transcript[0] == "- > -: the task"
    assert sorted(transcript[1:9]) == sorted(
        line for name in FOUR for line in (f"boss > {name}: part {name}", f"{name} > boss: {name} is done")
    )
    assert transcript[9:] == [
        "boss > -: two are missing",
        "boss > ann: is it right?",
        "ann > boss: ann is done",
        "boss > -: all of it",
    ]
    found = await events(server)
    assert {event.agent_id for event in found} == {"boss", *FOUR}
    for event in found:
        assert (event.parent_turn_id, bool(event.parent_call_id)) == (
            ("", False) if event.agent_id == "boss" else (done.turn.id, True)
        )
    answers = results(found)
    assert {answers[f"to-{name}"]["answer"] for name in FOUR} == {f"{name} is done" for name in FOUR}
    assert answers["tell"] == {"ok": True, "told": [*FOUR]}
    assert [turn.star_id for turn in await turns(server, "ann")] == ["team", "team"]
    total = sum([turn.usage.total_tokens for name in ("boss", *FOUR) for turn in await turns(server, name)])
    assert done.usage.total_tokens == total > done.turn.usage.total_tokens


async def test_workers_work_side_by_side(server: Server) -> None:
    """All have begun before any has ended."""
    names = ("ann", "bob", "cid")
    boss = [[give(name, "x", name) for name in names], [finish("ok")]]
    members = {"boss": boss, **{name: [["begun ", {"pause": 0.3}, "done"]] for name in names}}
    await star_of(server, members)
    await run(server)
    order = [
        event.event_type
        for event in await events(server)
        if event.agent_id != "boss" and event.event_type in ("progress.complete", "progress.text_chunk")
    ]
    assert "progress.complete" not in order[:3]


async def test_one_at_once(server: Server) -> None:
    boss = [[give(name, "x", name) for name in ("ann", "bob", "cid")], [finish("ok")]]
    members = {"boss": boss, **{name: [["a ", {"pause": 0.05}, "b"]] for name in ("ann", "bob", "cid")}}
    await star_of(server, members, limits=pb.StarLimits(max_concurrency=1))
    await run(server)
    began = [event.agent_id for event in await events(server) if event.agent_id != "boss"]
    assert len([name for name, before in zip(began, ["", *began], strict=False) if name != before]) == 3


async def test_members_remember_earlier_runs(server: Server) -> None:
    await star_of(server, {"boss": [["first"]]})
    one, two = await run(server), await run(server, message="again")
    assert one.turn.session_id == two.turn.session_id
    default = (await server.agents.Chat(agents.ChatRequest(agent_id="boss", message="x"))).turn.session_id
    assert default != one.turn.session_id


async def test_a_worker_gives_work_on(server: Server) -> None:
    """To the depth that the Star allows; who waits is not asked in a circle."""
    boss = [[give("ann", "x", "a")], [finish("ok")]]
    ann = [[give("bob", "y", "b"), give("boss", "z", "up"), give("ann", "z", "self")], ["ann done"]]
    bob = [[give("cid", "z", "c")], ["bob done"]]
    await star_of(server, {"boss": boss, "ann": ann, "bob": bob, "cid": "echo"}, limits=pb.StarLimits(max_depth=2))
    done = await run(server)
    found = results(await events(server))
    assert (found["a"]["answer"], found["b"]["answer"]) == ("ann done", "bob done")
    assert "waits for you" in found["up"]["error"]
    assert "waits for you" in found["self"]["error"]
    assert "c" not in found  # bob has no such tool: it never started
    assert done.text == "ok"
    (bobs,) = await turns(server, "bob")
    (anns,) = await turns(server, "ann")
    assert (anns.parent_turn_id, bobs.parent_turn_id, bobs.parent_call_id) == (done.turn.id, anns.id, "b")


async def test_no_more_rounds(server: Server) -> None:
    boss = [[give("ann", "1", "one"), give("ann", "2", "two")], [give("ann", "3", "three")], [finish("enough")]]
    await star_of(server, {"boss": boss, "ann": "echo"}, limits=pb.StarLimits(max_rounds=1))
    done = await run(server)
    found = results(await events(server))
    assert [found[name]["ok"] for name in ("one", "two", "three")] == [True, True, False]
    assert "no rounds left" in found["three"]["error"]
    assert done.text == "enough"


async def test_an_answer_without_finish(server: Server) -> None:
    await star_of(server, {"boss": [[give("ann", "hi", "a")], ["my own words"]], "ann": "echo"})
    assert (await run(server)).text == "my own words"


@pytest.mark.parametrize("kind", ["nobody", "left", "closed", "failing"])
async def test_a_worker_that_cannot(server: Server, kind: str) -> None:
    """The leader is told why, and goes on."""
    boss = [[give("ann" if kind != "nobody" else "zoe", "x", "a")], [finish("without")]]
    ann = server.script("fails", "- - fail: auth\n") if kind == "failing" else "echo"
    await star_of(server, {"boss": boss, "ann": ann})
    if kind == "left":
        await server.stars.LeaveStar(pb.LeaveStarRequest(star_id="team", name="ann"))
    if kind == "closed":
        await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id="ann"))
    assert (await run(server)).text == "without"
    found = await events(server)
    assert results(found)["a"]["ok"] is False


async def test_a_worker_killed_in_the_middle(server: Server) -> None:
    """Its turn is interrupted: the leader hears of it and gives the work to another."""
    boss = [[give("ann", "x", "a")], [give("bob", "x", "b")], [finish("done")]]
    await star_of(server, {"boss": boss, "ann": server.script("stuck", STUCK), "bob": "echo"})
    running = asyncio.ensure_future(run(server))
    begun = await server.seen("ann", "progress.text_chunk")
    await server.agents.Interrupt(agents.InterruptRequest(agent_id="ann", turn_id=begun.turn_id))
    assert (await running).text == "done"
    found = results(await events(server))
    assert (found["a"]["state"], found["b"]["answer"]) == ("stopped", "[from:boss] x")


# -- stopping ------------------------------------------------------------------------


async def stuck(server: Server) -> "asyncio.Future[Any]":
    """A run in which boss waits for ann, and ann for bob, who never ends."""
    members = {"boss": [[give("ann", "x", "a")], ["x"]], "ann": [[give("bob", "x", "b")], ["x"]]}
    await star_of(server, {**members, "bob": server.script("stuck", STUCK)})
    call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go"))
    running = asyncio.ensure_future(call)
    await server.seen("bob", "progress.text_chunk")
    return running


async def all_interrupted(server: Server) -> None:
    for name in ("boss", "ann", "bob"):
        (turn,) = await turns(server, name)
        assert (await server.ended(name, turn.id)).state == INTERRUPTED


async def test_an_interrupt_of_the_first_turn_stops_all(server: Server) -> None:
    running = await stuck(server)
    await server.agents.Interrupt(agents.InterruptRequest(agent_id="boss"))
    await refused(running, "CANCELLED", "TURN_INTERRUPTED")
    await all_interrupted(server)


async def test_who_goes_away_stops_all(server: Server) -> None:
    running = await stuck(server)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await all_interrupted(server)


async def test_who_goes_away_may_leave_it_running(server: Server) -> None:
    await star_of(server, {"boss": [[give("ann", "x", "a")], [finish("ok")]], "ann": [["x", {"pause": 0.2}, "y"]]})
    call = server.stars.RunStar(
        pb.RunStarRequest(star_id="team", message="go", disconnect_policy=agent_pb2.DISCONNECT_POLICY_CONTINUE)
    )
    await server.seen("ann", "progress.text_chunk")
    call.cancel()
    (turn,) = await turns(server, "boss")
    assert (await server.ended("boss", turn.id)).state == COMPLETED


async def test_an_interrupted_worker_stops_those_below(server: Server) -> None:
    running = await stuck(server)
    await server.agents.Interrupt(agents.InterruptRequest(agent_id="ann"))
    async with asyncio.timeout(LIMIT):
        assert (await running).text == "x"
    (below,) = await turns(server, "bob")
    assert (await server.ended("bob", below.id)).state == INTERRUPTED


# -- budget ---------------------------------------------------------------------------


async def test_a_budget_is_of_all_members_together(server: Server) -> None:
    usage = {"usage": {"input_tokens": 900, "output_tokens": 100}}
    boss = [[usage, give("ann", "x", "a")], [usage, give("ann", "x", "b")], [usage, finish("ok")]]
    await star_of(server, {"boss": boss, "ann": [[usage, "done"]]})
    call = server.stars.RunStar(
        pb.RunStarRequest(star_id="team", message="go", budget=common_pb2.Budget(max_tokens=3500))
    )
    refusal = await refused(call, "RESOURCE_EXHAUSTED", "BUDGET_EXCEEDED", "QuotaFailure")
    assert refusal.metadata["rule"] == "budget.max_tokens"
    used = [turn.usage.total_tokens for name in ("boss", "ann") for turn in await turns(server, name)]
    assert sum(used) <= 3500


# -- again ------------------------------------------------------------------------------


async def test_the_same_request_is_the_same_run(server: Server) -> None:
    await star_of(server, {"boss": [["x"]]})
    one, two = await asyncio.gather(*(run(server, request_id="r1") for _ in range(2)))
    assert one == two == await run(server, request_id="r1")
    assert len(await turns(server, "boss")) == 1
    other = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="other", request_id="r1"))
    await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")


async def test_a_restart_in_the_middle(tmp_path: Path) -> None:
    """The server stops while a worker works: both turns go on, each once."""
    async with serving(tmp_path) as server:
        ann = [["x ", {"pause": 30}, "y"]]
        await star_of(server, {"boss": [[give("ann", "x", "a")], [finish("ok")]], "ann": ann})
        call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go", request_id="r1"))
        await server.seen("ann", "progress.text_chunk")
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call
    async with serving(tmp_path) as server:
        server.script("ann", "- - text: done\n")
        done = await run(server, request_id="r1")
        assert (done.text, len(await turns(server, "ann")), len(await turns(server, "boss"))) == ("ok", 1, 1)
        assert await said(server) == ["- > -: go", "boss > ann: x", "ann > boss: done", "boss > -: ok"]


async def test_a_stream_of_all_members(server: Server) -> None:
    await star_of(server, {"boss": [[give("ann", "x", "a")], [finish("ok")]], "ann": "echo"})
    await server.agents.Chat(agents.ChatRequest(agent_id="ann", message="not part of it"))
    for _ in range(2):  # again with the same request: the same run from its beginning
        request = pb.StreamStarRequest(star_id="team", message="go", request_id="r1")
        async with asyncio.timeout(LIMIT):
            frames = [frame async for response in server.stars.StreamStar(request) for frame in response.frames]
        assert frames[0].HasField("started")
        seen = [frame.event for frame in frames if frame.HasField("event")]
        assert {event.star_id for event in seen} == {"team"}
        assert [event.id for event in seen] == [event.id for event in await events(server)]
        ends = [event.agent_id for event in seen if event.event_type == "progress.complete"]
        assert ends == ["ann", "boss"]
