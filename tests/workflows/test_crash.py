"""A crash at every commit of a run with every kind of step: the same output in the end, and
what may not be done twice is done once (R5, R9)."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runtime.crashes import Snapshot, snapshots
from runtime.helpers import World
from workflows.plans import call, loop, made, say, sequence, step, together, told

from aster.v1 import control_service_pb2, event_pb2, workflow_pb2
from asteros.events.frames import events as events_of
from asteros.stores.workflows import RunRow
from asteros.tools.base import RerunPolicy
from asteros.workflows.actions import Function
from asteros.workflows.book import ENDED, STEP_OPEN, SUCCEEDED
from asteros.workflows.catalog import Catalog
from asteros.workflows.expressions import Expressions
from asteros.workflows.runs import Start, Workflows

pytestmark = pytest.mark.anyio
GO_ON = "WORKFLOW_ON_ERROR_CONTINUE"
INNER = sequence("inner_all", say("hello", "a1", input="inner ${input}"), call("inner_note", "note"))
PLAN = sequence(
    "all",
    call("once", "once", input="F", onError=GO_ON),
    step("tool_once", tool={"agentId": "a1", "toolName": "plain"}, input='{"text": "T"}', onError=GO_ON),
    step("tool_key", tool={"agentId": "a1", "toolName": "keyed"}, input='{"text": "K"}'),
    together(
        "both",
        loop("twice", say("turn", "a1", input="${item}${round}"), forEachExpression='["x", "y"]'),
        step("ok", approval={}, input="ok?"),
        step("pause", wait={"duration": "0.01s"}, input="w"),
    ),
    call("skipped", "note", when="size(previous) < 3"),
    step("inner", workflow={"workflowId": "inner"}, input="i"),
    step("way", router={"routes": [{"when": "previous.startsWith('inner')", "step": call("left", "note", input="L")}]}),
    call("last", "note", input="${steps.both}|${steps.inner}|${previous}"),
)
OUTPUT = "y2\n\nyes\n\nw|inner i|L"


class Played:
    """Runs of workflows in a world without services."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.box = world.box
        functions = {
            "note": Function(self._note, RerunPolicy.SAFE),
            "once": Function(self._once),
            "key": Function(self._note, RerunPolicy.KEY),
        }
        store, expressions = world.store.workflows(), Expressions()
        self.catalog = Catalog(store, expressions, functions, None, lambda: None)
        self.workflows = Workflows(store, world.registry, self.catalog, expressions, functions=functions)

    async def _note(self, text: str, _: str) -> str:
        return text

    async def _once(self, text: str, _: str) -> str:
        self.box.did.append(f"once {text}")
        return text

    async def define(self, workflow_id: str, plan: dict[str, Any]) -> None:
        await self.catalog.create("default", workflow_pb2.Workflow(id=workflow_id, root=made(plan)), None)

    async def end(self, row: RunRow) -> RunRow:
        """Answers what is asked until the run has ended."""
        ending = asyncio.ensure_future(self.workflows.wait(row))
        while not ending.done():
            for pending in await self.world.store.open_pending("default", row.key, "", 9):
                decision = control_service_pb2.RespondToWorkflowApprovalRequest(
                    pending_id=pending.pending.id, decision=control_service_pb2.DECISION_ALLOW, note="yes"
                )
                await self.workflows.respond(row, decision, "ann")
            await asyncio.wait([ending], timeout=0.01)
        return await ending


@contextlib.asynccontextmanager
async def playing(folder: Path) -> AsyncIterator[Played]:
    async with World(folder) as world:
        played = Played(world)
        try:
            yield played
        finally:
            await played.workflows.aclose()


async def copies(tmp_path: Path) -> tuple[list[Snapshot], str]:
    """Every disk that a crash in such a run can leave, and the id of the run."""
    async with playing(tmp_path / "first") as played:
        await played.world.agent(agent_id="a1")
        await played.define("inner", INNER)
        await played.define("all", PLAN)
        row = await played.workflows.execute("default", Start("all", "go"))

        async def play() -> None:
            ended = await played.end(row)
            assert (ended.run.state, ended.run.output) == (SUCCEEDED, OUTPUT), ended.run

        return await snapshots(played.world, play, tmp_path), row.run.id


async def log_of(world: World, row: RunRow) -> list[event_pb2.Event]:
    return [
        event for segment in await world.store.read_agent_segments(row.key, 0, 10_000) for event in events_of(segment)
    ]


async def taken_up(snapshot: Snapshot, run_id: str) -> tuple[RunRow, list[str], list[event_pb2.Event], str]:
    """Another server on what the crash left: the run after its end, what tools did, and its log."""
    async with playing(snapshot.folder) as played:
        await played.world.registry.resume()
        await played.workflows.start()
        row = await played.workflows.find("default", run_id)
        assert row is not None
        row = await played.end(row)
        assert await played.world.store.agents_with_work() == []
        steps = await played.workflows.store.steps(row.key)
        assert not [one for one in steps if one.step.state in STEP_OPEN]
        assert await played.workflows.store.unfinished_runs() == []
        return row, list(played.box.did), await log_of(played.world, row), told([one.step for one in steps])


def check_log(events: list[event_pb2.Event]) -> None:
    """Dense, one end, and each step told as it went."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.monitor.workflow_run.state for event in events if event.event_type == "monitor.workflow_run"]
    assert [state for state in states if state in ENDED] == [SUCCEEDED]
    assert events[-1].event_type == "monitor.workflow_run"
    told_of = Counter(
        (one.step_id, one.iteration, one.attempt)
        for event in events
        if event.event_type == "monitor.workflow_step" and (one := event.monitor.workflow_step).state not in STEP_OPEN
    )
    assert set(told_of.values()) == {1}


async def test_a_crash_at_a_commit(tmp_path: Path) -> None:
    """At every eighth; the long tests kill real servers at any."""
    found, run_id = await copies(tmp_path)
    assert len(found) > 30
    for snapshot in found[::8]:
        row, did, events, steps = await taken_up(snapshot, run_id)
        assert (row.run.state, row.run.output) == (SUCCEEDED, OUTPUT), (steps, row.run)
        check_log(events)
        effects = Counter([*snapshot.did, *did])
        assert effects["once F"] <= 1
        assert effects["plain T"] <= 1
        assert effects["keyed K"] >= 1
