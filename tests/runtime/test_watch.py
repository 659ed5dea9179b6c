"""Changes of files are told while a turn runs, whatever made them."""

import os
from pathlib import Path

import pytest
from events.fakes import FakeClock
from runtime.helpers import World, call, check_events, kinds, of

from aster.v1 import agent_pb2
from asteros.runtime.watch import INTERVAL, MOST, changes

pytestmark = pytest.mark.anyio
WATCH = {"sandbox": agent_pb2.SandboxConfig(watch_files=True, work_dir="shared")}


def _folder(world: World) -> Path:
    folder = world.folder / "work" / "shared"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def test_what_a_tool_wrote_is_told_before_the_end(world: World) -> None:
    _folder(world)
    agent = await world.agent([call("Write", "", file_path="a/b.txt", content="x")], ["ok"], **WATCH)
    await world.turn(agent)
    events = await world.events(agent)
    check_events(events)
    assert [(change.path, change.change) for change in of(events, "file_changed")] == [("a/b.txt", "created")]


async def test_nobody_asked_nothing_told(world: World) -> None:
    agent = await world.agent([call("Write", "", file_path="b.txt", content="x")], ["ok"])
    await world.turn(agent)
    assert "file_changed" not in kinds(await world.events(agent))


async def test_changes_from_elsewhere_are_told_as_they_happen(world: World, fake_clock: FakeClock) -> None:
    folder = _folder(world)
    (folder / "old.txt").write_text("old")
    (folder / "gone.txt").write_text("x")
    os.symlink("/etc", folder / "out")
    agent = await world.agent([call("held", "h1")], ["ok"], **WATCH)
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    (folder / "old.txt").write_text("changed")
    (folder / "gone.txt").unlink()
    (folder / "new.txt").write_text("y")
    while INTERVAL not in fake_clock.naps:
        await fake_clock.advance(0)
    await fake_clock.advance(INTERVAL)
    await world.seen(agent, "file_changed", 3)
    world.box.hold.set()
    await world.ended(agent, accepted)
    told = [(change.path, change.change) for change in of(await world.events(agent), "file_changed")]
    assert told == [("gone.txt", "deleted"), ("new.txt", "created"), ("old.txt", "modified")]


async def test_an_archive_does_not_flood_the_log(world: World) -> None:
    folder = _folder(world)
    agent = await world.agent([call("held", "h1")], ["ok"], **WATCH)
    accepted = await world.say(agent)
    await world.seen(agent, "tool_progress")
    for number in range(MOST + 10):
        (folder / f"{number}").touch()
    world.box.hold.set()
    await world.ended(agent, accepted)
    assert len(of(await world.events(agent), "file_changed")) == MOST


def test_a_file_that_did_not_change_is_no_change() -> None:
    assert list(changes({"a": (1.0, 2)}, {"a": (1.0, 2)})) == []
