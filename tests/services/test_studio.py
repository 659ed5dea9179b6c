"""Agents of other programs over ConnectAgents: registered, fed, acknowledged, owned and gone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2
from services.helpers import LIMIT, Server, bearer, dialled, refused, serving
from services.programs import Program, complete, deltas, dialled_in, logged, text, view, working

from aster.v1 import access_service_pb2, agent_pb2, common_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import event_service_pb2 as events
from aster.v1 import session_service_pb2 as sessions
from aster.v1 import studio_service_pb2 as pb
from aster.v1 import studio_service_pb2_grpc as stubs
from asteros import clock, errors
from asteros.cosmos import remote
from asteros.cosmos.links import Link
from asteros.services import studio

pytestmark = pytest.mark.anyio
IDLE, WORKING = agent_pb2.AGENT_ACTIVITY_IDLE, agent_pb2.AGENT_ACTIVITY_WORKING
ERROR = agent_pb2.AGENT_ACTIVITY_ERROR


def reason(answer: pb.ConnectAgentsResponse) -> tuple[str, str]:
    """Reason and text of a refusal."""
    assert answer.HasField("error"), answer
    info = errors.error_details_pb2.ErrorInfo()
    assert answer.error.details[0].Unpack(info)
    return info.reason, answer.error.message


async def listed(server: Server) -> list[str]:
    return [agent.id for agent in (await server.agents.ListAgents(agents.ListAgentsRequest())).agents]


# -- seen ------------------------------------------------------------------------------


async def test_a_registered_agent_is_seen_with_what_it_says_of_itself(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        answer = await program.register(
            "writer 1", name="Writing Agent", status="working", model="m", capabilities=["writing"], metadata={"a": 1}
        )
        assert answer.connection_id
        assert answer.ping_interval.seconds == 30
        agent = await view(server, "writer 1")
        assert (agent.display_name, agent.remote.model, list(agent.remote.capabilities)) == (
            "Writing Agent", "m", ["writing"],
        )  # fmt: skip
        assert agent.remote.connected
        assert agent.remote.metadata["a"] == 1
        assert (agent.status.state, agent.status.activity) == (agent_pb2.AGENT_STATE_STARTED, WORKING)
        assert not agent.HasField("config")
        assert "writer 1" in await listed(server)
        online = await stubs.StudioServiceStub(server.channel).ListRemoteAgents(pb.ListRemoteAgentsRequest())
        assert [each.id for each in online.agents] == ["writer 1"]
        assert online.total_size == 1
        await program.hang_up()
    agent = await view(server, "writer 1")
    assert not agent.remote.connected
    assert agent.remote.last_seen_time.seconds
    assert (agent.status.state, agent.status.activity) == (agent_pb2.AGENT_STATE_STOPPED, IDLE)
    assert "writer 1" in await listed(server)


async def test_events_are_numbered_stored_and_fanned_out_like_local_ones(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("fan")
        subscribed = server.events.Subscribe(events.SubscribeRequest(agent_id="fan"))
        assert (await subscribed.read()).frames[0].HasField("started")
        await program.report("fan", text("a"), text("b", session_id="s1", turn_id="t1"), working(WORKING))
        seen: list[event_pb2.Event] = []
        async with asyncio.timeout(LIMIT):
            while len(seen) < 3:
                seen += [frame.event for frame in (await subscribed.read()).frames if frame.HasField("event")]
        subscribed.cancel()
        assert [event.sequence for event in seen] == [2, 3, 4]
        assert [event.event_type for event in seen] == [
            "progress.text_chunk", "progress.text_chunk", "monitor.state_changed",
        ]  # fmt: skip
        assert {event.agent_id for event in seen} == {"fan"}
        assert len({event.id for event in seen}) == 3
        assert (seen[1].session_id, seen[1].turn_id) == ("s1", "t1")
        stored = await logged(server, "fan")
        assert list(stored[1:]) == seen
        only = events.ListEventsRequest(agent_id="fan", turn_id="t1")
        assert len((await server.events.ListEvents(only)).frames) == 1


async def test_what_only_the_server_may_say_is_said_by_it(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("stamped")
        forged = text("x", id="mine", sequence=99, agent_id="other", star_id="s", workflow_run_id="w")
        forged.event_type, forged.ignorable = "control.iteration_limit", False
        now = clock.now()
        near, far = text("near"), text("far")
        near.create_time.CopyFrom(clock.timestamp(now - 60 * clock.NANOS))
        far.create_time.CopyFrom(clock.timestamp(now - 7200 * clock.NANOS))
        await program.report("stamped", forged, near, far)
        one, two, three = await logged(server, "stamped", "text_chunk")
        assert (one.agent_id, one.event_type, one.sequence, one.ignorable) == (
            "stamped",
            "progress.text_chunk",
            2,
            True,
        )
        assert one.id != "mine"
        assert not one.star_id
        assert not one.workflow_run_id
        assert clock.nanos(two.create_time) == now - 60 * clock.NANOS
        assert clock.nanos(three.create_time) >= now


async def test_the_status_follows_the_events(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("mood")

        async def mood(*said: event_pb2.Event) -> int:
            await program.report("mood", *said)
            return (await view(server, "mood")).status.activity

        assert await mood(working(WORKING)) == WORKING
        assert await mood(text("x")) == WORKING
        assert await mood(complete(state="TURN_STATE_COMPLETED")) == IDLE
        assert await mood(complete(state="TURN_STATE_FAILED", error=status_pb2.Status(code=13, message="no"))) == ERROR
        assert (await view(server, "mood")).status.last_error.message == "no"
        assert await mood(working(IDLE)) == IDLE
        warned = event_pb2.ErrorRaised(severity="warn")
        assert await mood(event_pb2.Event(monitor=event_pb2.MonitorEvent(error=warned))) == IDLE
        raised = event_pb2.ErrorRaised(severity="error")
        assert await mood(event_pb2.Event(monitor=event_pb2.MonitorEvent(error=raised))) == ERROR
        used = event_pb2.MonitorEvent(token_usage=common_pb2.TokenUsage(input_tokens=100, output_tokens=50))
        stepped = event_pb2.MonitorEvent(step_complete=event_pb2.StepComplete())
        await mood(event_pb2.Event(monitor=used), event_pb2.Event(monitor=stepped))
        status = (await view(server, "mood")).status
        assert (status.total_tokens, status.step_count, status.latest_sequence) == (150, 1, 10)
        changes = await logged(server, "mood", "state_changed")
        assert changes[1].monitor.state_changed.previous_activity == IDLE
        assert changes[1].monitor.state_changed.state == agent_pb2.AGENT_STATE_STARTED


async def test_sessions_stay_and_belong_to_their_agent(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        first = pb.ConnectRegisterSession(session_id="ses-1", agent_id="later", message_count=3, metadata={"k": "v"})
        answer = await program.ask(register_session=first)
        assert answer.session_registered.session_id == "ses-1"
        assert "later" not in await listed(server)
        await program.register("later")
        again = pb.ConnectRegisterSession(session_id="ses-1", agent_id="later", status="done")
        assert (await program.ask(register_session=again)).HasField("session_registered")
        other = pb.ConnectRegisterSession(session_id="ses-1", agent_id="somebody")
        assert reason(await program.ask(register_session=other)) == (
            "SESSION_ALREADY_EXISTS", "session ses-1 already registered",
        )  # fmt: skip
        await program.hang_up()
    session = (await server.sessions.GetSession(sessions.GetSessionRequest(session_id="ses-1"))).session
    assert (session.agent_id, session.message_count, session.status) == ("later", 3, "done")
    assert session.metadata["k"] == "v"
    listing = await server.sessions.ListSessions(sessions.ListSessionsRequest(agent_id="later"))
    assert [each.id for each in listing.sessions] == ["ses-1"]


async def test_who_is_taken_out_leaves_the_lists_and_keeps_its_history(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("leaver")
        await program.texts("leaver", "said")
        await program.send(unregister=pb.ConnectUnregister(agent_id="leaver"))
        assert (await program.ask(ping=pb.ConnectPing())).HasField("pong")
        assert "leaver" not in await listed(server)
        assert await deltas(server, "leaver") == ["said"]
        assert reason(await program.report("leaver", text("x")))[1] == "agent leaver not registered"
        await program.register("leaver")
        assert "leaver" in await listed(server)
        await program.texts("leaver", "again")
        assert await deltas(server, "leaver") == ["said", "again"]


# -- numbers -----------------------------------------------------------------------------


async def test_repeats_are_dropped_and_what_is_missing_is_told(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        assert (await program.register("counted", instance_id="run-1")).acked_client_sequence == 0
        assert await program.texts("counted", "1", "2", "3", first=1) == 3
        assert await program.texts("counted", "2", "3", "4", first=2) == 4
        assert await program.texts("counted", "1", first=1) == 4
        await program.hang_up()
    async with dialled_in(server.channel) as program:
        assert (await program.register("counted", instance_id="run-1")).acked_client_sequence == 4
        assert await program.texts("counted", "4", "5", first=4) == 5
        await program.hang_up()
    async with dialled_in(server.channel) as program:
        assert (await program.register("counted", instance_id="run-2")).acked_client_sequence == 0
        assert await program.texts("counted", "new 1", first=1) == 1
    assert await deltas(server, "counted") == ["1", "2", "3", "4", "5", "new 1"]


async def test_without_an_instance_nothing_is_taken_for_a_repeat(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("plain")
        assert await program.texts("plain", "a", first=1) == 1
        assert await program.texts("plain", "a", first=1) == 1
        assert await program.texts("plain", "b") == 0
    assert await deltas(server, "plain") == ["a", "a", "b"]


async def test_a_killed_connection_and_a_restart_lose_and_repeat_nothing(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(1, 301)]
    acked = 0
    for stop in (100, 200, 300):
        async with serving(tmp_path) as server, dialled_in(server.channel) as program:
            acked = (await program.register("kept", instance_id="i")).acked_client_sequence
            for start in range(acked, stop, 20):
                batch = pb.ConnectEvents(agent_id="kept", first_client_sequence=start + 1)
                batch.events.extend(map(text, numbers[start : start + 20]))
                await program.send(events=batch)
            program.call.cancel()  # whatever was on its way
    async with serving(tmp_path) as server, dialled_in(server.channel) as program:
        acked = (await program.register("kept", instance_id="i")).acked_client_sequence
        assert await program.texts("kept", *numbers[acked:], first=acked + 1) == 300 if acked < 300 else True
        assert await deltas(server, "kept") == numbers
        stored = await logged(server, "kept")
        assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))


async def test_a_batch_is_taken_whole_or_not_at_all(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("whole", instance_id="i")
        refusal = await program.report("whole", text("a"), event_pb2.Event(), text("b"), first=1)
        assert reason(refusal) == ("FIELD_VIOLATION", "events.events[1]: has no kind that this server knows")
        assert await program.texts("whole", "c", first=1) == 1
    assert await deltas(server, "whole") == ["c"]


# -- refused -------------------------------------------------------------------------------

LONG = "x" * 129


@pytest.mark.parametrize(
    ("said", "expected", "words"),
    [
        ({}, "FIELD_VIOLATION", "message: is required"),
        ({"register": {}}, "FIELD_VIOLATION", "register.agent_id: is required"),
        ({"register": {"agent_id": "a/b"}}, "INVALID_ID", "agent_id"),
        ({"register": {"agent_id": LONG}}, "INVALID_ID", "agent_id"),
        ({"register": {"agent_id": "a", "status": "asleep"}}, "FIELD_VIOLATION", "register.status"),
        ({"register": {"agent_id": "a", "metadata": {"n": float("nan")}}}, "FIELD_VIOLATION", "JSON cannot carry"),
        ({"register_session": {"agent_id": "a"}}, "FIELD_VIOLATION", "session_id: is required"),
        ({"events": {"agent_id": "fed"}}, "FIELD_VIOLATION", "events.events: is required"),
        ({"events": {"agent_id": "fed", "events": [text("x")] * 1001}}, "FIELD_VIOLATION", "at most 1000"),
        ({"events": {"agent_id": "fed", "first_client_sequence": -1, "events": [text("x")]}}, "FIELD_VIOLATION", "neg"),
        ({"events": {"agent_id": "fed", "events": [text("x", turn_id="a\nb")]}}, "FIELD_VIOLATION", "session or turn"),
        ({"events": {"agent_id": "nobody", "events": [text("x")]}}, "AGENT_NOT_FOUND", "agent nobody not registered"),
        ({"events": {"agent_id": "fed", "events": [text("x" * 2**20)]}}, "FIELD_VIOLATION", "longer than 1048576"),
        ({"unregister": {"agent_id": "nobody"}}, "AGENT_NOT_FOUND", "agent nobody not registered"),
        ({"register": {"agent_id": "fed"}}, "AGENT_ALREADY_EXISTS", "agent fed already registered"),
    ],
)
async def test_a_refusal_leaves_the_connection_open(
    server: Server, said: dict[str, Any], expected: str, words: str
) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("fed")
        found, told = reason(await program.ask(**said))
        assert found == expected
        assert words in told
        assert (await program.ask(ping=pb.ConnectPing())).HasField("pong")
        await program.hang_up()


@pytest.mark.parametrize(
    "event",
    [
        event_pb2.Event(
            monitor={"error": {"error": {"details": [any_pb2.Any(type_url="type.googleapis.com/no.Such", value=b"x")]}}}
        ),
        event_pb2.Event(monitor={"step_complete": {"duration": {"seconds": 2**62}}}),
        event_pb2.Event(control={"user_input_request": {"expire_time": {"seconds": -(2**62)}}}),
        event_pb2.Event(create_time={"seconds": 2**62}, progress={"text_chunk": {"delta": "x"}}),
        event_pb2.Event(progress={"custom": {"name": "big", "data_json": "x" * 65537}}),
    ],
)
async def test_an_event_that_would_break_other_readers_is_not_let_in(server: Server, event: event_pb2.Event) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("poison")
        assert reason(await program.report("poison", event))[0] == "FIELD_VIOLATION"
        await program.hang_up()


async def test_an_agent_of_this_server_cannot_be_fed(server: Server) -> None:
    own = await server.agent()
    async with dialled_in(server.channel) as program:
        for said in (
            {"register": pb.ConnectRegister(agent_id=own)},
            {"register_session": pb.ConnectRegisterSession(agent_id=own, session_id="ses-own")},
        ):
            assert reason(await program.ask(**said)) == ("AGENT_ALREADY_EXISTS", f"agent {own} already registered")
        assert reason(await program.report(own, text("x"))) == ("AGENT_NOT_FOUND", f"agent {own} not registered")


async def test_a_session_of_this_server_cannot_be_taken(server: Server) -> None:
    own = await server.agent()
    made = await server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id=own))
    async with dialled_in(server.channel) as program:
        taken = pb.ConnectRegisterSession(session_id=made.session.id, agent_id="thief")
        assert reason(await program.ask(register_session=taken))[0] == "SESSION_ALREADY_EXISTS"


# -- whose ---------------------------------------------------------------------------------


async def test_an_id_belongs_to_the_key_that_named_it_first(tmp_path: Path) -> None:
    async with serving(tmp_path, api_key="root", metadata=bearer("root")) as server:
        keys = []
        for name, scopes in (
            ("one", ["remote-agents:connect"]),
            ("two", ["remote-agents:connect"]),
            ("no", ["agents:read"]),
        ):
            request = access_service_pb2.CreateApiKeyRequest(name=name, scopes=scopes)
            keys.append((await server.access.CreateApiKey(request)).secret)
        async with dialled(server.address) as plain:
            mine, theirs, nobody = (Program(plain, bearer(key)) for key in keys)
            await _trespass(mine, theirs)
            await refused(nobody.call, "PERMISSION_DENIED", "SCOPE_REQUIRED")


async def _trespass(mine: Program, theirs: Program) -> None:
    await mine.register("owned")
    await mine.ask(register_session=pb.ConnectRegisterSession(session_id="ses-owned", agent_id="owned"))
    await mine.hang_up()
    for said, words in (
        ({"register": pb.ConnectRegister(agent_id="owned")}, "agent owned already registered"),
        ({"unregister": pb.ConnectUnregister(agent_id="owned")}, "agent owned not registered"),
        ({"events": pb.ConnectEvents(agent_id="owned", events=[text("x")])}, "agent owned not registered"),
        (
            {"register_session": pb.ConnectRegisterSession(agent_id="x", session_id="ses-owned")},
            "session ses-owned already registered",
        ),
    ):
        assert reason(await theirs.ask(**said))[1] == words
    theirs.call.cancel()


async def test_a_live_program_keeps_its_agent(server: Server) -> None:
    async with dialled_in(server.channel) as old, dialled_in(server.channel) as new:
        await old.register("held")
        asked = asyncio.create_task(new.ask(register=pb.ConnectRegister(agent_id="held")))
        while not (await old.read()).HasField("ping"):
            pass
        await old.send(ping=pb.ConnectPing())
        assert reason(await asked) == ("AGENT_ALREADY_EXISTS", "agent held already registered")
        await old.texts("held", "still mine")


async def test_a_silent_program_loses_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PROBE_SECONDS", 0.05)
    async with dialled_in(server.channel) as old, dialled_in(server.channel) as new:
        await old.register("moved", instance_id="i")
        await old.texts("moved", "before", first=1)
        assert (await new.register("moved", instance_id="i")).acked_client_sequence == 1
        await refused(old.call, "ABORTED", "LEASE_LOST", "RetryInfo")
        await new.texts("moved", "after", first=2)
        assert (await view(server, "moved")).remote.connected
    assert await deltas(server, "moved") == ["before", "after"]


# -- the connection --------------------------------------------------------------------------


async def test_a_connection_on_which_nothing_is_said_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "IDLE_SECONDS", 0.1)
    async with dialled_in(server.channel) as program:
        await program.register("quiet")
        await refused(program.call, "UNAVAILABLE", "REMOTE_AGENT_OFFLINE", "RetryInfo")
    assert not (await view(server, "quiet")).remote.connected


async def test_a_draining_server_ends_it_after_the_last_acknowledgement(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, dialled_in(server.channel) as program:
        await program.register("drained", instance_id="i")
        batch = pb.ConnectEvents(agent_id="drained", first_client_sequence=1, events=[text("x")])
        await program.send(events=batch)
        assert (await program.read()).events_ack.acked_client_sequence == 1
        await server.house.stop()
        await refused(program.call, "UNAVAILABLE", "DRAINING", "RetryInfo")
    async with serving(tmp_path) as server:
        assert not (await view(server, "drained")).remote.connected
        assert await deltas(server, "drained") == ["x"]


async def test_what_was_online_when_the_server_died_is_found_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(self: Link, *, listed: bool = True) -> None:
        raise errors.StoreUnavailable

    async with serving(tmp_path) as server, dialled_in(server.channel) as program:
        await program.register("crashed", status="working")
        monkeypatch.setattr(Link, "close", die)
    monkeypatch.undo()
    async with serving(tmp_path) as server:
        agent = await view(server, "crashed")
        assert not agent.remote.connected
        assert (agent.status.state, agent.status.activity) == (agent_pb2.AGENT_STATE_STOPPED, IDLE)
        assert len(await logged(server, "crashed", "state_changed")) == 2


async def test_who_hangs_up_while_it_registers_is_not_left_online(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on = asyncio.Event(), asyncio.Event()
    original = Link.open

    async def slow(self: Link, status: str) -> None:
        opening.set()
        await go_on.wait()
        await original(self, status)

    monkeypatch.setattr(Link, "open", slow)
    async with dialled_in(server.channel) as program:
        await program.send(register=pb.ConnectRegister(agent_id="hasty"))
        await opening.wait()
        program.call.cancel()
        async with asyncio.timeout(LIMIT):
            while server.registry.remotes._connections:  # the server has seen it
                await asyncio.sleep(0.01)
        go_on.set()
        async with asyncio.timeout(LIMIT):
            while (await view(server, "hasty")).status.state != agent_pb2.AGENT_STATE_STOPPED:
                await asyncio.sleep(0.01)
    assert not (await view(server, "hasty")).remote.connected
