"""StarsService: Stars, members, messages. What a run does stands in tests/stars."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from services.helpers import LIMIT, Server, bearer, dialled, pages, refused, serving, stub

from aster.v1 import access_service_pb2 as access
from aster.v1 import agent_pb2, session_service_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import cosmos_service_pb2 as cosmos
from aster.v1 import stars_service_pb2 as pb

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as running:
        for name in ("ann", "bob", "cid"):
            await running.agent(agent_id=name)
        yield running


async def made(server: Server, *names: str, **fields: Any) -> pb.Star:
    request = pb.CreateStarRequest(star_id="team", **fields)
    request.members.extend(pb.StarMember(agent_id=name) for name in names)
    return (await server.stars.CreateStar(request)).star


async def get(server: Server) -> pb.Star:
    return (await server.stars.GetStar(pb.GetStarRequest(star_id="team"))).star


def members(star: pb.Star) -> list[tuple[str, str, str]]:
    return [(member.name, member.agent_id, member.role) for member in star.members]


# -- the resource ------------------------------------------------------------------


async def test_create_and_get(server: Server) -> None:
    limits = pb.StarLimits(max_rounds=2)
    star = await made(server, "ann", display_name="Team", strategy="round_robin", limits=limits)
    assert (star.id, star.display_name, star.strategy, star.limits) == ("team", "Team", "round_robin", limits)
    assert members(star) == [("ann", "ann", "worker")]
    assert star.create_time.seconds == star.members[0].join_time.seconds > 0
    assert await get(server) == star


async def test_defaults(server: Server) -> None:
    star = (await server.stars.CreateStar(pb.CreateStarRequest())).star
    assert star.id.startswith("star_")
    assert (star.display_name, star.strategy, list(star.members)) == (star.id, "leader", [])


async def test_create_once(server: Server) -> None:
    request = pb.CreateStarRequest(request_id="r1", display_name="x")
    one, two = await asyncio.gather(*(server.stars.CreateStar(request) for _ in range(2)))
    assert one == two
    other = pb.CreateStarRequest(request_id="r1", display_name="y")
    await refused(server.stars.CreateStar(other), "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")
    await made(server)
    again = server.stars.CreateStar(pb.CreateStarRequest(star_id="team"))
    await refused(again, "ALREADY_EXISTS", "STAR_ALREADY_EXISTS", "ResourceInfo")


BAD: dict[str, tuple[Callable[[], Any], tuple[str, str, str], list[str]]] = {
    "id": (
        lambda: pb.CreateStarRequest(star_id="no/id"),
        ("INVALID_ARGUMENT", "INVALID_ID", "BadRequest"),
        ["star_id"],
    ),
    "strategy": (
        lambda: pb.CreateStarRequest(strategy="guess"),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["strategy"],
    ),
    "negative limit": (
        lambda: pb.CreateStarRequest(limits=pb.StarLimits(max_rounds=-1)),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["limits.max_rounds"],
    ),
    "too many": (
        lambda: pb.CreateStarRequest(members=[pb.StarMember(agent_id=f"a{n}") for n in range(101)]),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["members"],
    ),
    "nobody": (
        lambda: pb.CreateStarRequest(members=[pb.StarMember(name="x")]),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["members[0].agent_id"],
    ),
    "a name with a blank": (
        lambda: pb.CreateStarRequest(members=[pb.StarMember(agent_id="ann", name="a b")]),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["members[0].name"],
    ),
    "unknown agent": (
        lambda: pb.CreateStarRequest(members=[pb.StarMember(agent_id="zoe")]),
        ("NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "twice": (
        lambda: pb.CreateStarRequest(members=[pb.StarMember(agent_id="ann"), pb.StarMember(agent_id="ann", name="x")]),
        ("ALREADY_EXISTS", "STAR_MEMBER_ALREADY_EXISTS", "ResourceInfo"),
        [],
    ),
    "join without star": (
        lambda: pb.JoinStarRequest(star_id="none", agent_id="ann"),
        ("NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "join nobody": (
        lambda: pb.JoinStarRequest(star_id="team"),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["agent_id"],
    ),
    "leave nobody": (
        lambda: pb.LeaveStarRequest(star_id="team"),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["name"],
    ),
    "leave a stranger": (
        lambda: pb.LeaveStarRequest(star_id="team", name="zoe"),
        ("NOT_FOUND", "STAR_MEMBER_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "unknown star": (lambda: pb.GetStarRequest(star_id="none"), ("NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"), []),
    "unknown star and no message": (
        lambda: pb.RunStarRequest(star_id="none"),
        ("NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "no message": (
        lambda: pb.RunStarRequest(star_id="team"),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["message"],
    ),
    "nothing said": (
        lambda: pb.SendStarMessageRequest(star_id="team"),
        ("INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest"),
        ["text"],
    ),
    "said to a stranger": (
        lambda: pb.SendStarMessageRequest(star_id="team", text="x", to_member="zoe"),
        ("NOT_FOUND", "STAR_MEMBER_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "said by a stranger": (
        lambda: pb.SendStarMessageRequest(star_id="team", text="x", from_member="zoe"),
        ("NOT_FOUND", "STAR_MEMBER_NOT_FOUND", "ResourceInfo"),
        [],
    ),
    "delete nothing": (lambda: pb.DeleteStarRequest(star_id="x"), ("NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"), []),
    "messages of nothing": (
        lambda: pb.ListStarMessagesRequest(star_id="x"),
        ("NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"),
        [],
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_requests(server: Server, name: str) -> None:
    make, (code, reason, kind), fields = BAD[name]
    await made(server, "bob")
    request = make()
    method = getattr(server.stars, type(request).__name__.removesuffix("Request"))
    assert (await refused(method(request), code, reason, kind)).fields == fields


async def test_join_and_leave(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await made(server)
    joined = await server.stars.JoinStar(pb.JoinStarRequest(star_id="team", agent_id="ann", role="leader", name="A"))
    assert (joined.member.name, joined.member.role) == ("A", "leader")
    assert "[Stars Join] Agent 'ann' joined stars 'team'" in caplog.messages
    await server.stars.JoinStar(pb.JoinStarRequest(star_id="team", agent_id="bob"))
    for taken in ({"agent_id": "ann"}, {"agent_id": "cid", "name": "bob"}):
        call = server.stars.JoinStar(pb.JoinStarRequest(star_id="team", **taken))
        await refused(call, "ALREADY_EXISTS", "STAR_MEMBER_ALREADY_EXISTS", "ResourceInfo")
    assert members(await get(server)) == [("A", "ann", "leader"), ("bob", "bob", "worker")]
    await server.stars.LeaveStar(pb.LeaveStarRequest(star_id="team", agent_id="ann"))
    await server.stars.LeaveStar(pb.LeaveStarRequest(star_id="team", name="bob"))
    assert members(await get(server)) == []


async def test_members_in_pages(server: Server) -> None:
    await made(server, "cid", "ann", "bob")
    found = await pages(server.stars.ListStarMembers, pb.ListStarMembersRequest(star_id="team", page_size=2), "members")
    assert [[member.name for member in page] for page in found] == [["cid", "ann"], ["bob"]]


async def test_stars_in_pages(server: Server) -> None:
    for name in ("b", "a", "c"):
        await server.stars.CreateStar(pb.CreateStarRequest(star_id=name, members=[pb.StarMember(agent_id="ann")]))
    found = await pages(server.stars.ListStars, pb.ListStarsRequest(page_size=2), "stars")
    assert [[star.id for star in page] for page in found] == [["a", "b"], ["c"]]
    assert {len(star.members) for page in found for star in page} == {1}


async def test_an_agent_that_is_deleted_leaves(server: Server) -> None:
    await made(server, "ann", "bob")
    await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id="ann"))
    assert [member.name for member in (await get(server)).members] == ["bob"]


async def test_it_outlives_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.agent(agent_id="ann")
        star = await made(server, "ann")
    async with serving(tmp_path) as server:
        assert await get(server) == star


async def test_deleting_takes_all_of_it(server: Server) -> None:
    star = await made(server, "ann")
    await server.stars.SendStarMessage(pb.SendStarMessageRequest(star_id="team", text="old"))
    await server.stars.DeleteStar(pb.DeleteStarRequest(star_id="team"))
    assert (await server.agents.GetAgent(agents.GetAgentRequest(agent_id="ann"))).agent.id == "ann"
    again = await made(server, "ann")
    assert again.create_time != star.create_time
    assert not (await server.stars.ListStarMessages(pb.ListStarMessagesRequest(star_id="team"))).messages


async def test_it_is_registered(server: Server) -> None:
    call = server.cosmos.WatchResources(cosmos.WatchResourcesRequest(kinds=[cosmos.RESOURCE_KIND_STAR]))
    changes: list[cosmos.ResourceChange] = []

    async def take(count: int) -> list[int]:
        while len(changes) < count:
            changes.extend((await call.read()).changes)
        return [change.kind for change in changes]

    async with asyncio.timeout(LIMIT):
        await take(1)
        await made(server, display_name="The team")
        await server.stars.JoinStar(pb.JoinStarRequest(star_id="team", agent_id="ann"))
        await server.agents.DeleteAgent(agents.DeleteAgentRequest(agent_id="ann"))
        await server.stars.DeleteStar(pb.DeleteStarRequest(star_id="team"))
        assert await take(5) == [5, 2, 3, 3, 4]
    assert changes[1].resource.display_name == "The team"
    call.cancel()


# -- talking --------------------------------------------------------------------------


async def heard(server: Server, turn: agent_pb2.Turn) -> list[str]:
    """What a member was told, in all its turns for the Star."""
    await server.ended(turn.agent_id, turn.id)
    request = session_service_pb2.ListMessagesRequest(session_id=turn.session_id)
    listed = await server.sessions.ListMessages(request)
    return [message.content[0].text for message in listed.messages if message.role == 1]


async def test_say(server: Server) -> None:
    """To one, to those it names, or to all but who speaks."""
    await made(server, "ann", "bob", "cid")
    for fields, receivers in (
        ({"text": "hi"}, ["ann", "bob", "cid"]),
        ({"text": "hi", "to_member": "bob"}, ["bob"]),
        ({"text": "@cid look", "from_member": "ann"}, ["cid"]),
        ({"text": "done", "from_member": "ann"}, ["bob", "cid"]),
    ):
        sent = await server.stars.SendStarMessage(pb.SendStarMessageRequest(star_id="team", **fields))
        assert [turn.agent_id for turn in sent.turns] == receivers
        assert {turn.star_id for turn in sent.turns} == {"team"}
    assert await heard(server, sent.turns[0]) == ["hi", "hi", "[from:ann] done"]
    assert await heard(server, sent.turns[1]) == ["hi", "[from:ann] @cid look", "[from:ann] done"]
    listed = await pages(
        server.stars.ListStarMessages, pb.ListStarMessagesRequest(star_id="team", page_size=3), "messages"
    )
    assert [[(one.from_member, one.to_member, one.text) for one in page] for page in listed] == [
        [("", "", "hi"), ("", "bob", "hi"), ("ann", "", "@cid look")],
        [("ann", "", "done")],
    ]


async def test_said_once(server: Server) -> None:
    await made(server, "ann", "bob")
    request = pb.SendStarMessageRequest(star_id="team", text="hi", request_id="r1")
    first, second = [await server.stars.SendStarMessage(request) for _ in range(2)]
    assert (first.message, [turn.id for turn in first.turns]) == (second.message, [turn.id for turn in second.turns])
    other = pb.SendStarMessageRequest(star_id="team", text="ho", request_id="r1")
    await refused(server.stars.SendStarMessage(other), "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")


# -- rights -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "request_", "missing"),
    [
        (["agents:read"], pb.JoinStarRequest(star_id="t", agent_id="a"), "agents:write"),
        (["agents:read"], pb.RunStarRequest(star_id="t", message="x"), "runs:write"),
        (["runs:write"], pb.GetStarRequest(star_id="t"), "agents:read"),
        (["agents:read"], pb.ListStarMessagesRequest(star_id="t"), "sessions:read"),
        (["runs:write"], pb.StreamStarRequest(star_id="t", message="x"), "events:progress:read"),
        (["agents:write"], cosmos.ForEachAgentRequest(action=cosmos.AGENT_ACTION_INTERRUPT), "runs:write"),
    ],
)
async def test_rights(tmp_path: Path, scopes: list[str], request_: Any, missing: str) -> None:
    async with serving(tmp_path, api_key="root", metadata=bearer("root")) as server:
        secret = (await server.access.CreateApiKey(access.CreateApiKeyRequest(name="k", scopes=scopes))).secret
        async with dialled(server.address, bearer(secret)) as channel:
            limited = Server(server.house, server.scripts).dial(channel)
            refusal = await refused(stub(limited, request_)(request_), "PERMISSION_DENIED", "SCOPE_REQUIRED")
        assert refusal.metadata == {"scope": missing}


async def test_a_task_without_a_leader(server: Server) -> None:
    await made(server, "ann")
    call = server.stars.RunStar(pb.RunStarRequest(star_id="team", message="x"))
    refusal = await refused(call, "FAILED_PRECONDITION", "STAR_WITHOUT_LEADER", "PreconditionFailure")
    assert refusal.text == "no leader in stars"
