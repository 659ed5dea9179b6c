"""The journal decides: from every point a crash can leave, the turn is taken up and ends (A1, A4, R4, R5, R9)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from runtime.crashes import Snapshot, snapshots
from runtime.helpers import (
    ASK_ALWAYS,
    Action,
    World,
    call,
    check_events,
    check_history,
    kinds,
    of,
    results,
    shape,
)

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros.runtime.agent import Agent

pytestmark = pytest.mark.anyio

COMPLETED = agent_pb2.TURN_STATE_COMPLETED


async def _finished(world: World) -> Agent:
    """Starts as a server does, answers what is asked, and waits for the end of every turn."""
    await world.registry.resume()
    row = await world.store.agent("default", "a1")
    assert row is not None
    agent = await world.awake(row.key)
    while rows := await world.store.unfinished_turns(row.key):
        ending = asyncio.ensure_future(agent.mailbox.wait(rows[0].turn.id))
        while not ending.done():
            for pending in await world.store.open_pending("default", row.key, "", 9):
                await world.approve(agent, pending.pending.id)
            await asyncio.wait([ending], timeout=0.01)
        await ending
    return agent


async def _copies(tmp_path: Path, *steps: Sequence[Action], **config: object) -> list[Snapshot]:
    """Every disk a crash in such a turn can leave, the last one with its end."""
    async with World(tmp_path / "first") as world:
        world.box.hold.set()
        agent = await world.agent(*steps, **config)

        async def play() -> None:
            accepted = await world.say(agent)
            if config.get("permission_mode") == ASK_ALWAYS:
                for asked in await world.asked(agent, len(steps[0])):
                    await world.approve(agent, asked.pending_id)
            assert (await world.ended(agent, accepted)).state == COMPLETED

        return await snapshots(world, play, tmp_path)


@contextlib.asynccontextmanager
async def _taken_up(snapshot: Snapshot) -> AsyncIterator[tuple[World, Agent, list[event_pb2.Event]]]:
    """Another server on what the crash left, after it has finished everything."""
    async with World(snapshot.folder) as world:
        world.box.hold.set()
        agent = await _finished(world)
        yield world, agent, await world.events(agent)


SCENES: dict[str, tuple[list[Sequence[Action]], dict[str, object], str]] = {
    "text": ([["one two three"]], {}, "u a"),
    "never": ([["hm", call("plain", "c1")], ["ok"]], {}, "u a1 t1 a"),
    "key": ([[call("keyed", "c1")], ["ok"]], {}, "u a1 t1 a"),
    "safe": ([[call("look", "c1")], ["ok"]], {}, "u a1 t1 a"),
    "mixed": ([[call("look", "c1"), call("plain", "c2"), call("keyed", "c3")], ["ok"]], {}, "u a3 t3 a"),
    "two steps": ([[call("plain", "c1")], [call("plain", "c2")], ["ok"]], {}, "u a1 t1 a1 t1 a"),
    "asked": ([[call("plain", "c1"), call("keyed", "c2")], ["ok"]], {"permission_mode": ASK_ALWAYS}, "u a2 t2 a"),
}


@pytest.mark.parametrize("scene", SCENES)
async def test_a_crash_after_any_commit(tmp_path: Path, scene: str, anyio_backend: str) -> None:
    steps, config, history = SCENES[scene]
    copies = await _copies(tmp_path, *steps, **config)
    whole = len(copies[-1].did)
    for snapshot in copies:
        async with _taken_up(snapshot) as (world, agent, events):
            where = f"{scene}, after {snapshot.last or 'rows'}"
            check_events(events)
            messages = await world.messages(agent)
            check_history(messages)
            assert shape(messages) == history, where
            (turn,) = await world.store.turns(agent.ref.key, "", "", 9)
            assert (turn.state, list(turn.pending_ids)) == (COMPLETED, []), where
            assert turn.reply.content[-1].text == steps[-1][-1], where
            # After the last commit nothing is left to do, and nothing wakes it.
            slept = snapshot is copies[-1]
            expected = agent_pb2.AGENT_STATE_STOPPED if slept else agent_pb2.AGENT_STATE_STARTED
            assert agent.lifecycle.status.state == expected, where
            assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_IDLE, where
            assert agent.lifecycle.status.message_count == len(messages), where
            # R5: never twice, whatever was done before the crash and after it.
            did = [*snapshot.did, *world.box.did]
            assert did.count("plain ") <= str(steps).count("'plain'"), where
            assert len(of(events, "agent_resumed")) == (not slept), where
            assert len(did) >= whole - len(of(events, "outcome_unknown")), where


def _after(copies: Sequence[Snapshot], kind: str) -> Snapshot:
    """The disk after the commit with the first event of a kind."""
    return next(snapshot for snapshot in copies if kind in snapshot.last.split())


async def test_a_tool_that_may_not_be_repeated_is_sealed(tmp_path: Path, anyio_backend: str) -> None:
    """A4: nobody knows whether it took effect; a person is told, and the model."""
    copies = await _copies(tmp_path, [call("plain", "c1")], ["ok"])
    async with _taken_up(_after(copies, "tool_start")) as (world, agent, events):
        assert world.box.did == []
        after = kinds(events).partition("tool_start ")[2]
        assert after == (
            "agent_resumed outcome_unknown tool_end tool_execution step_complete "
            "text_chunk text_done model_call token_usage step_complete complete state_changed"
        )
        (resumed,) = of(events, "agent_resumed")
        assert (resumed.cause, list(resumed.uncertain_call_ids)) == ("restart", ["c1"])
        (end,) = of(events, "tool_end")
        assert end.state == common_pb2.TOOL_CALL_STATE_UNCERTAIN
        assert b"TOOL_OUTCOME_UNKNOWN" in end.error.SerializeToString()
        assert of(events, "outcome_unknown")[0].call.id == "c1"
        told = results(await world.messages(agent))["c1"]
        assert (told["ok"], told["error"]) == (False, "interrupted")
        stored = await world.store.tool_call(agent.ref.key, "c1")
        assert stored is not None
        assert stored.record.state == common_pb2.TOOL_CALL_STATE_UNCERTAIN


@pytest.mark.parametrize("tool", ["look", "keyed"])
async def test_a_tool_that_may_be_repeated_runs_again_without_a_second_start(
    tmp_path: Path, tool: str, anyio_backend: str
) -> None:
    copies = await _copies(tmp_path, [call(tool, "c1", text="x")], ["ok"])
    async with _taken_up(_after(copies, "tool_start")) as (world, agent, events):
        assert world.box.did == [f"{tool} x"]
        assert kinds(events).count("tool_start") == 1
        assert of(events, "outcome_unknown") == []
        assert list(of(events, "agent_resumed")[0].uncertain_call_ids) == []
        assert results(await world.messages(agent))["c1"]["ok"] is True
        (turn,) = await world.store.turns(agent.ref.key, "", "", 9)
        assert world.box.keys in ([], [f"{turn.id}/1/c1"])


async def test_a_finished_tool_is_not_run_again(tmp_path: Path, anyio_backend: str) -> None:
    copies = await _copies(tmp_path, [call("plain", "c1", text="x")], ["ok"])
    async with _taken_up(_after(copies, "tool_end")) as (world, agent, events):
        assert world.box.did == []
        assert results(await world.messages(agent)) == {"c1": {"ok": True, "result": "did x"}}
        assert len(of(events, "tool_start")) == 1


async def test_a_step_cut_off_in_its_text_is_said_again(tmp_path: Path, anyio_backend: str) -> None:
    copies = await _copies(tmp_path, ["one ", {"pause": 0.05}, "two"])
    async with _taken_up(_after(copies, "text_chunk")) as (_, _, events):
        assert kinds(events) == (
            "state_changed state_changed text_chunk agent_resumed text_chunk text_chunk "
            "text_done model_call token_usage step_complete complete state_changed"
        )
        assert of(events, "text_done")[0].text == "one two"


async def test_an_open_approval_waits_with_the_same_id(tmp_path: Path, anyio_backend: str) -> None:
    """A1."""
    copies = await _copies(tmp_path, [call("plain", "c1")], ["ok"], permission_mode=ASK_ALWAYS)
    snapshot = _after(copies, "tool_approval_request")
    async with World(snapshot.folder) as world:
        await world.registry.resume()
        assert world.registry.awake_count == 0, "it waits for a person, not for the server"
        (row,) = await world.store.open_pending("default", 0, "", 9)
        agent = await world.awake(row.agent_key)
        (asked,) = await world.asked(agent)
        assert asked.pending_id == row.pending.id
        assert agent.lifecycle.status.activity == agent_pb2.AGENT_ACTIVITY_WAITING
        await world.approve(agent, asked.pending_id)
        await world.seen(agent, "complete")
        assert world.box.did == ["plain "]
    assert len(copies) > 5


async def test_queued_turns_are_taken_up_in_their_order(tmp_path: Path, anyio_backend: str) -> None:
    async with World(tmp_path / "first") as world:
        agent = await world.agent([call("held_read", "c1")], ["ok"])
        for text in ("one", "two", "three"):
            await world.say(agent, text)
        await world.seen(agent, "tool_start")
        folder = world.copy(tmp_path / "second")
    async with World(folder) as world:
        world.box.hold.set()
        agent = await _finished(world)
        said = [m.content[0].text for m in await world.messages(agent) if m.role == common_pb2.ROLE_USER]
        assert said == ["one", "two", "three"]
        check_events(await world.events(agent))


async def test_a_server_that_stops_leaves_the_turn_for_the_next(tmp_path: Path, anyio_backend: str) -> None:
    """No kill: the tool is stopped, and nothing is written in its name."""
    async with World(tmp_path) as world:
        agent = await world.agent([call("held", "c1")], ["ok"])
        accepted = await world.say(agent)
        await world.seen(agent, "tool_progress")
    async with World(tmp_path) as world:
        world.box.hold.set()
        agent = await _finished(world)
        turn = await world.ended(agent, accepted)
        assert turn.state == COMPLETED
        assert world.box.did == []
        assert len(of(await world.events(agent), "outcome_unknown")) == 1


async def test_a_crash_after_the_crash(tmp_path: Path, anyio_backend: str) -> None:
    copies = await _copies(tmp_path / "a", [call("keyed", "c1")], ["ok"])
    snapshot = _after(copies, "tool_start")
    async with World(snapshot.folder) as world:
        row = await world.store.agent("default", "a1")
        assert row is not None
        again = await snapshots(world, lambda: _finished(world), tmp_path / "b")
    for second in again:
        async with _taken_up(second) as (world, agent, events):
            check_events(events)
            assert shape(await world.messages(agent)) == "u a1 t1 a"
