"""The other strategies, and how one is added."""

import asyncio
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pytest
from services.helpers import STUCK, Server, refused
from stars.helpers import events, run, said, star_of

from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import stars_service_pb2 as pb
from asteros import errors
from asteros.stars.base import Team
from asteros.stars.strategies import GROUP, Leader, Strategies

pytestmark = pytest.mark.anyio
FAILS = [[{"fail": "auth"}]]


async def parents(server: Server) -> dict[str, str]:
    """Of each turn that the Star has begun: whose work it was for."""
    return {event.turn_id: event.parent_turn_id for event in await events(server)}


async def test_round_robin(server: Server) -> None:
    members = {"ann": [["one"]], "bob": [["two"]], "cid": [["three"]]}
    await star_of(server, members, strategy="round_robin")
    done = await run(server, message="count")
    assert (done.text, done.turn.agent_id) == ("three", "cid")
    assert await said(server) == ["- > -: count", "ann > -: one", "bob > -: two", "cid > -: three"]
    found_parents = await parents(server)
    (first,) = [turn_id for turn_id, parent in found_parents.items() if not parent]
    assert {parent for parent in found_parents.values() if parent} == {first}
    found = await server.agents.ListTurns(agents.ListTurnsRequest(agent_id="bob"))
    stored = await server.store.turn((await server.registry.row("default", "bob")).key, found.turns[0].id)
    assert stored is not None
    assert stored.input.content[0].text == "count\n\nThe answer so far:\none"


async def test_round_robin_passes(server: Server) -> None:
    """So many as the Star says; one that changes nothing is the last."""
    await star_of(server, {"ann": [["a"]], "bob": [["b"]]}, strategy="round_robin", limits=pb.StarLimits(max_rounds=5))
    done = await run(server)
    assert done.text == "b"
    assert (await said(server))[1:] == ["ann > -: a", "bob > -: b"] * 2


async def test_round_robin_passes_over_who_fails(server: Server) -> None:
    await star_of(server, {"ann": FAILS, "bob": [["b"]], "cid": FAILS, "dee": "echo"}, strategy="round_robin")
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id="dee"))
    assert (await run(server)).text == "b"


@pytest.mark.parametrize("strategy", ["round_robin", "parallel_vote"])
async def test_when_all_fail(server: Server, strategy: str) -> None:
    await star_of(server, {"ann": FAILS, "bob": FAILS}, strategy=strategy)
    call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go"))
    await refused(call, "FAILED_PRECONDITION", "PROVIDER_AUTH", "PreconditionFailure")


async def test_when_nobody_can_begin(server: Server) -> None:
    await star_of(server, {"ann": "echo"}, strategy="parallel_vote")
    await server.agents.CloseAgent(agents.CloseAgentRequest(agent_id="ann"))
    call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go"))
    await refused(call, "FAILED_PRECONDITION", "AGENT_CLOSED", "PreconditionFailure")


async def test_parallel_vote(server: Server) -> None:
    members: dict[str, Any] = {"ann": [["No."]], "bob": [["Yes, it is"]], "cid": FAILS, "dee": [["yes,  IT is "]]}
    await star_of(server, members, strategy="parallel_vote")
    done = await run(server)
    assert (done.text, done.turn.agent_id) == ("Yes, it is", "bob")


async def test_a_tie_goes_to_who_joined_first(server: Server) -> None:
    await star_of(server, {"ann": [["x"]], "bob": [["y"]]}, strategy="parallel_vote")
    assert (await run(server)).turn.agent_id == "ann"


async def test_stopping_while_another_works(server: Server) -> None:
    """An interrupt of the first turn, although that has ended."""
    members: dict[str, Any] = {"ann": [["a"]], "bob": server.script("stuck", STUCK), "cid": [["c"]]}
    await star_of(server, members, strategy="round_robin")
    running = asyncio.ensure_future(server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go")))
    await server.seen("bob", "progress.text_chunk")
    first = next(turn_id for turn_id, parent in (await parents(server)).items() if not parent)
    await server.agents.Interrupt(agents.InterruptRequest(agent_id="ann", turn_id=first))
    await refused(running, "CANCELLED", "TURN_INTERRUPTED")
    assert {event.agent_id for event in await events(server)} == {"ann", "bob"}


@pytest.mark.parametrize(
    ("strategy", "members", "reason"),
    [
        ("leader", ["ann"], "STAR_WITHOUT_LEADER"),
        ("", [], "STAR_WITHOUT_LEADER"),
        ("round_robin", [], "WRONG_STATE"),
        ("parallel_vote", [], "WRONG_STATE"),
    ],
)
async def test_a_star_that_cannot_work(server: Server, strategy: str, members: Sequence[str], reason: str) -> None:
    await star_of(server, dict.fromkeys(members, "echo"), strategy=strategy)
    call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="go"))
    refusal = await refused(call, "FAILED_PRECONDITION", reason, "PreconditionFailure")
    assert reason == "WRONG_STATE" or refusal.text == "no leader in stars"


# -- others ------------------------------------------------------------------------------


class Youngest:
    """The member that joined last, alone."""

    name = "youngest"
    delegates = False

    def check(self, star: pb.Star) -> None:
        """Anything goes."""

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        return await team.ask(team.members[-1], task.upper())


class Broken(Youngest):
    name = "broken"

    async def run(self, task: str, team: Team) -> agent_pb2.Turn:
        raise RuntimeError("secret")


async def test_one_of_a_package(server: Server) -> None:
    server.house._teams.strategies._kinds["youngest"] = Youngest()
    await star_of(server, {"ann": "echo", "bob": "echo"}, strategy="youngest")
    done = await run(server, message="loud")
    assert (done.text, done.turn.agent_id) == ("LOUD", "bob")


async def test_a_broken_one(server: Server) -> None:
    server.house._teams.strategies._kinds["broken"] = Broken()
    await star_of(server, {"ann": "echo"}, strategy="broken")
    await refused(server.stars.RunStar(pb.RunStarRequest(star_id="team", message="x")), "INTERNAL", "INTERNAL")


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(value: str) -> Strategies:
        point = metadata.EntryPoint("x", value, GROUP)
        monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
        return Strategies.installed()

    assert installed(f"{__name__}:Youngest").get("youngest").name == "youngest"
    assert isinstance(installed(f"{__name__}:Youngest").get(""), Leader)
    with pytest.raises(errors.ConfigError, match="a strategy named leader is registered already"):
        installed("asteros.stars.strategies:Leader")
    with pytest.raises(errors.ConfigError, match="cannot be loaded"):
        installed("asteros.stars.strategies:Nothing")
