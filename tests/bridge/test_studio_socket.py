"""The Studio socket over real sockets: both dialects as documented, refusals, life and end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from bridge.studio_sockets import Front, Wire, fronted
from services.helpers import LIMIT
from services.programs import deltas, logged, view

from aster.v1 import agent_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import session_service_pb2 as sessions
from asteros import errors
from asteros.bridge import liveness, studio
from asteros.cosmos import remote

pytestmark = pytest.mark.anyio


async def said(front: Front, agent_id: str, expected: list[str]) -> None:
    """All texts of an agent, once as many are stored: events have no answer to wait for."""
    async with asyncio.timeout(LIMIT):
        while len(found := await deltas(front.server, agent_id)) < len(expected):
            await asyncio.sleep(0.01)
    assert found == expected


# -- the documented frames, byte for byte -------------------------------------------------

REGISTER = """{
  "type": "register",
  "agent": {
    "id": "agent-123",
    "name": "Writing Agent",
    "status": "ready",
    "model": "claude-3-5-sonnet",
    "capabilities": ["writing", "editing"]
  }
}"""
REGISTER_SESSION = """{
  "type": "register_session",
  "session": {
    "id": "session-456",
    "agent_id": "agent-123",
    "created_at": "2024-01-01T12:00:00Z"
  }
}"""
EVENT = """{
  "type": "event",
  "agent_id": "agent-123",
  "event": {
    "channel": "monitor",
    "event_type": "token_usage",
    "input_tokens": 100,
    "output_tokens": 50
  }
}"""
PING = """{
  "type": "ping"
}"""
OTHER_EVENTS = (
    {"channel": "monitor", "event_type": "state_changed", "state": "working"},
    {"channel": "monitor", "event_type": "error", "severity": "error", "message": "API call failed"},
    {"channel": "progress", "event_type": "text_chunk", "delta": "Hello, "},
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Of a module, so that its server and its tests share a loop."""
    return "asyncio"


@pytest.fixture(scope="module")
async def front(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with fronted(tmp_path_factory.mktemp("studio")) as running:
        yield running


async def test_the_documented_messages_work(front: Front) -> None:
    async with front.dial("") as wire:
        greeting = await wire.raw()
        assert greeting == '{"type":"connected","payload":{"message":"Connected to Aster Studio Remote Agent Service"}}'
        await wire.send(REGISTER)
        assert await wire.raw() == (
            '{"type":"registered","payload":{"agent_id":"agent-123","message":"Agent registered successfully"}}'
        )
        await wire.send(REGISTER_SESSION)
        assert await wire.raw() == (
            '{"type":"session_registered","payload":'
            '{"session_id":"session-456","message":"Session registered successfully"}}'
        )
        await wire.send(EVENT)
        for event in OTHER_EVENTS:
            await wire.send({"type": "event", "agent_id": "agent-123", "event": event})
        await wire.send(PING)
        assert await wire.raw() == '{"type":"pong"}'  # and nothing before it: events have no answer
        await wire.send({"type": "unregister", "agent_id": "agent-123"})
        assert await wire.answers() == []
    await front.server.seen("agent-123", "text_chunk")
    stored = await logged(front.server, "agent-123")
    used, changed, failed, said = stored[1:5]
    assert used.event_type == "monitor.token_usage"
    assert (used.monitor.token_usage.input_tokens, used.monitor.token_usage.total_tokens) == (100, 150)
    assert changed.event_type == "monitor.state_changed"
    assert changed.monitor.state_changed.activity == agent_pb2.AGENT_ACTIVITY_WORKING
    assert failed.event_type == "monitor.error"
    assert (failed.monitor.error.severity, failed.monitor.error.error.message) == ("error", "API call failed")
    assert (said.event_type, said.progress.text_chunk.delta) == ("progress.text_chunk", "Hello, ")
    session = await front.server.sessions.GetSession(sessions.GetSessionRequest(session_id="session-456"))
    assert session.session.create_time.ToJsonString() == "2024-01-01T12:00:00Z"


async def test_the_frames_of_the_other_dialect_work(front: Front) -> None:
    async with front.dial() as wire:
        payload = {"agent_id": "old-1", "template_id": "writer", "metadata": {"team": "x"}}
        (answer,) = await wire.told({"type": "register", "payload": payload})
        assert answer["payload"] == {"agent_id": "old-1", "message": "Agent registered successfully"}
        session = {"session_id": "old-s", "agent_id": "old-1", "message_count": 4}
        assert (await wire.told({"type": "register_session", "payload": session}))[0]["type"] == "session_registered"
        envelope = {
            "cursor": 7,
            "bookmark": {"cursor": 7, "timestamp": 1},
            "event": {"type": "tool:end", "call": {"id": "c1", "name": "Read", "result": {"text": "x"}}},
        }
        assert await wire.told({"type": "event", "payload": {"agent_id": "old-1", "envelope": envelope}}) == []
        assert await wire.told({"type": "event", "payload": {"agent_id": "old-1", "envelopes": [envelope] * 2}}) == []
        await wire.send({"type": "ping"})
        assert await wire.raw() == '{"type":"pong","payload":null}'
        agent = await view(front.server, "old-1")
        assert dict(agent.remote.metadata) == {"team": "x", "template_id": "writer"}
        assert await wire.told({"type": "unregister", "payload": {"agent_id": "old-1"}}) == []
        while len(ends := await logged(front.server, "old-1", "tool_end")) < 3:
            await asyncio.sleep(0.01)
    assert len(ends) == 3
    assert ends[0].progress.tool_end.result.call_id == "c1"
    assert ends[0].progress.tool_end.result.output_json == '{"text":"x"}'


async def test_dialects_mix_on_one_socket(front: Front) -> None:
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "mixed-d"}})
        await wire.told({"type": "register", "payload": {"agent_id": "mixed-s", "template_id": "t"}})
        await wire.send(
            {
                "type": "event",
                "payload": {"agent_id": "mixed-d", "envelope": {"event": {"delta": "1", "type": "text_chunk"}}},
            }
        )
        await wire.send({"type": "event", "agent_id": "mixed-s", "event": {"type": "text_delta", "delta": "2"}})
        await wire.send({"type": "ping"})
        assert await wire.raw() == '{"type":"pong"}'
    await said(front, "mixed-d", ["1"])
    await said(front, "mixed-s", ["2"])


# -- refusals -------------------------------------------------------------------------------

LONG = "x" * 129
BAD: list[tuple[Any, str]] = [
    ("no json", "Failed to parse message"),
    ("[1]", "Failed to parse message"),
    ("3", "Failed to parse message"),
    (b'{"type":"ping\xff"}', "Failed to parse message"),
    ('{"type":"event","event":' + '{"a":' * 64 + "1" + "}" * 64 + "}", "Failed to parse message"),
    ('{"type":"ping","n":NaN}', "Failed to parse message"),
    ({}, "unknown message type: "),
    ({"type": 7}, "unknown message type: "),
    ({"type": "dance"}, "unknown message type: dance"),
    ({"type": "register", "payload": None}, "agent_id is required"),
    ({"type": "register", "payload": {}}, "agent_id is required"),
    ({"type": "register", "payload": {"agent_id": "n1"}}, "template_id is required"),
    ({"type": "register", "agent": {}}, "agent_id is required"),
    ({"type": "register", "agent": {"id": ""}}, "agent_id is required"),
    ({"type": "register"}, "failed to parse register payload: …"),
    ({"type": "register", "agent": []}, "failed to parse register payload: …"),
    ({"type": "register", "payload": "x"}, "failed to parse register payload: …"),
    ({"type": "register", "agent": {"id": 5}}, "failed to parse register payload: invalid id"),
    ({"type": "register", "agent": {"id": LONG}}, "failed to parse register payload: invalid id"),
    ({"type": "register", "agent": {"id": "a\nb"}}, "failed to parse register payload: invalid id"),
    ({"type": "register", "agent": {"id": "a/b"}}, "failed to parse register payload: invalid id"),
    ({"type": "register", "agent": {"id": "a", "metadata": 3}}, "failed to parse register payload: …"),
    ({"type": "register", "agent": {"id": "a", "capabilities": "x"}}, "failed to parse register payload: …"),
    ({"type": "register", "agent": {"id": "held"}}, "agent held already registered"),
    ({"type": "register_session"}, "failed to parse register_session payload: …"),
    ({"type": "register_session", "payload": None}, "session_id is required"),
    ({"type": "register_session", "payload": {"session_id": "s"}}, "agent_id is required"),
    ({"type": "register_session", "session": {"agent_id": "held"}}, "session_id is required"),
    (
        {"type": "register_session", "session": {"id": "s", "agent_id": "held", "created_at": "noon"}},
        "failed to parse register_session payload: …",
    ),
    (
        {"type": "register_session", "session": {"id": "taken", "agent_id": "other"}},
        "session taken already registered",
    ),
    ({"type": "event"}, "agent_id is required"),
    ({"type": "event", "payload": None}, "agent_id is required"),
    ({"type": "event", "agent_id": "nobody"}, "agent nobody not registered"),
    ({"type": "event", "agent_id": "held"}, "failed to push event: event is nil"),
    ({"type": "event", "agent_id": "held", "event": None}, "failed to push event: event is nil"),
    ({"type": "event", "payload": {"agent_id": "held"}}, "failed to push event: event is nil"),
    ({"type": "event", "payload": {"agent_id": "held", "envelope": {}}}, "failed to push event: event is nil"),
    ({"type": "event", "agent_id": "held", "event": []}, "failed to parse event payload: …"),
    ({"type": "event", "agent_id": "held", "event": {}}, "failed to parse event payload: …"),
    ({"type": "event", "agent_id": "held", "events": []}, "failed to parse event payload: …"),
    ({"type": "event", "agent_id": "held", "events": [{"type": "done"}] * 1001}, "failed to parse event payload: …"),
    (
        {"type": "event", "agent_id": "held", "events": [{"type": "done"}, 3]},
        "failed to parse event payload: events[1]: not an object",
    ),
    (
        {"type": "event", "agent_id": "held", "event": {"type": "token_usage", "input_tokens": "many"}},
        "failed to parse event payload: …",
    ),
    ({"type": "unregister", "agent_id": "nobody"}, "agent nobody not registered"),
    ({"type": "unregister", "payload": {}}, "agent_id is required"),
]


@pytest.fixture(scope="module")
async def holder(front: Front) -> AsyncIterator[Wire]:
    """A socket that has registered an agent."""
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "held"}})
        await wire.told({"type": "register_session", "session": {"id": "taken", "agent_id": "held"}})
        yield wire


@pytest.mark.parametrize(("frame", "text"), BAD)
async def test_a_bad_frame_is_answered_and_the_socket_stays(
    front: Front, holder: Wire, frame: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "REFUSED", 10_000)
    before = len(await logged(front.server, "held"))
    code, message = await holder.refused(frame)
    assert code == ("invalid_message" if text == "Failed to parse message" else "message_handling_failed")
    assert message == text or (text.endswith("…") and message.startswith(text[:-1]) and len(message) > len(text))
    assert len(await logged(front.server, "held")) == before


async def test_an_agent_of_the_server_is_nobody_elses(front: Front, holder: Wire) -> None:
    own = await front.server.agent()
    assert (await holder.refused({"type": "register", "agent": {"id": own}}))[1] == f"agent {own} already registered"
    frame = {"type": "event", "agent_id": own, "event": {"type": "text_chunk", "delta": "x"}}
    assert (await holder.refused(frame))[1] == f"agent {own} not registered"


async def test_text_that_is_not_utf_8_is_answered_too(front: Front) -> None:
    async with front.dial() as wire:
        await wire.socket.send(b'{"type":"ping\xff"}', text=True)
        assert (await wire.read())["payload"]["code"] == "invalid_message"
        assert await wire.answers() == []


async def test_bytes_that_hold_json_are_a_frame(front: Front) -> None:
    async with front.dial() as wire:
        await wire.send(b'{"type":"ping"}')
        assert await wire.raw() == '{"type":"pong"}'


async def test_a_frame_may_come_in_pieces(front: Front) -> None:
    async with front.dial() as wire:
        await wire.socket.send(['{"ty', 'pe":', '"ping"}'])
        assert await wire.raw() == '{"type":"pong"}'


async def test_half_a_character_is_shown_as_such(front: Front) -> None:
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "halved"}})
        frame = '{"type":"event","agent_id":"halved","event":{"type":"text_chunk","delta":"a\\ud83d"}}'
        assert await wire.told(frame) == []
    await said(front, "halved", ["a\ufffd"])


async def test_a_frame_that_is_too_large_closes(front: Front) -> None:
    async with front.dial(max_size=None) as wire:
        await wire.send('{"type":"ping","x":"' + "x" * 2**20 + '"}')
        assert await wire.closed() == 1009


async def test_a_hundred_refusals_in_a_minute_close(front: Front) -> None:
    async with front.dial() as wire:
        for _ in range(100):
            await wire.send("?")
        assert await wire.closed() == 1008


# -- acknowledgements ---------------------------------------------------------------------------


async def test_acknowledgements_tell_what_is_stored(front: Front) -> None:
    agent = {"id": "acked", "ack": True, "instance_id": "run-1"}
    async with front.dial() as wire:
        (answer,) = await wire.told({"type": "register", "agent": agent})
        assert answer["payload"]["acked_client_sequence"] == 0
        assert answer["payload"]["ping_interval_ms"] == 30_000
        assert answer["payload"]["connection_id"]
        events = [{"type": "text_chunk", "delta": str(number)} for number in range(1, 251)]
        await wire.send({"type": "event", "agent_id": "acked", "client_sequence": 1, "events": events})
        ack = {"type": "event_ack", "payload": {"agent_id": "acked", "acked_client_sequence": 250}}
        assert await wire.read() == ack
        await wire.send({"type": "event", "agent_id": "acked", "client_sequence": 251, "event": events[0]})
        ack["payload"]["acked_client_sequence"] = 251
        assert await wire.read() == ack
    async with front.dial() as wire:
        (answer,) = await wire.told({"type": "register", "agent": agent})
        assert answer["payload"]["acked_client_sequence"] == 251
        again = [{"type": "text_chunk", "delta": "new"}] * 3
        await wire.told({"type": "event", "agent_id": "acked", "client_sequence": 250, "events": again})
    await said(front, "acked", [*map(str, range(1, 251)), "1", "new"])


async def test_who_does_not_ask_hears_nothing(front: Front) -> None:
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "quiet", "instance_id": "i"}})
        events = [{"type": "text_chunk", "delta": "x"}] * 300
        assert await wire.told({"type": "event", "agent_id": "quiet", "client_sequence": 1, "events": events}) == []


# -- seen -----------------------------------------------------------------------------------------


async def test_stats_show_who_is_connected(front: Front) -> None:
    async with front.dial() as wire, httpx2.AsyncClient() as http:
        agent = {"id": "counted", "name": "N", "status": "working", "metadata": {"k": 1}}
        await wire.told({"type": "register", "agent": agent})
        await wire.told({"type": "event", "agent_id": "counted", "event": {"type": "step_complete"}})
        body = (await http.get(f"http://127.0.0.1:{front.port}{studio.STATS}")).json()
        assert body["success"] is True
        assert body["data"]["remote_agents_count"] == len(body["data"]["agents"])
        (found,) = [each for each in body["data"]["agents"] if each["agent_id"] == "counted"]
        assert found["status"]["state"] == "working"
        assert found["status"]["agent_id"] == "counted"
        assert found["metadata"] == {"k": 1, "name": "N", "remote": True, "source": "remote_agent"}
        await wire.told({"type": "unregister", "agent_id": "counted"})
        body = (await http.get(f"http://127.0.0.1:{front.port}{studio.STATS}")).json()
        assert "counted" not in [each["agent_id"] for each in body["data"]["agents"]]


async def test_what_was_sent_before_leaving_is_stored(front: Front) -> None:
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "leaving"}})
        for number in range(50):
            frame = {"type": "event", "agent_id": "leaving", "event": {"type": "text_chunk", "delta": str(number)}}
            await wire.send(frame)
    await front.server.seen("leaving", "monitor.state_changed")
    async with asyncio.timeout(LIMIT):
        while (await view(front.server, "leaving")).remote.connected:
            await asyncio.sleep(0.01)
    await said(front, "leaving", [str(number) for number in range(50)])


# -- commands ---------------------------------------------------------------------------------------


async def test_commands_reach_a_program_that_takes_them(front: Front) -> None:
    async with front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "obeys", "accepts_commands": True}})
        chat = asyncio.create_task(_chat(front, "obeys", "hello"))
        command = (await wire.read())["payload"]
        assert (command["agent_id"], command["chat"]["message"]) == ("obeys", "hello")
        turn_id = command["chat"]["turn_id"]
        await wire.send({"type": "command_result", "command_id": command["command_id"], "ok": True})
        for event in ({"type": "text_chunk", "delta": "hi"}, {"type": "done"}):
            await wire.send({"type": "event", "agent_id": "obeys", "event": {**event, "turn_id": turn_id}})
        answer = await chat
        assert (answer.text, answer.turn.id) == ("hi", turn_id)
        chat = asyncio.create_task(_chat(front, "obeys", "again"))
        refused = (await wire.read())["payload"]["command_id"]
        await wire.send({"type": "command_result", "payload": {"command_id": refused, "ok": False, "error": "busy"}})
        with pytest.raises(Exception, match="the remote agent refused: busy"):
            await chat


async def _chat(front: Front, agent_id: str, text: str) -> agents.ChatResponse:
    return await front.server.agents.Chat(agents.ChatRequest(agent_id=agent_id, message=text))


# -- life -------------------------------------------------------------------------------------------


async def test_a_second_program_is_refused_while_the_first_answers_pings(front: Front) -> None:
    async with front.dial() as first, front.dial() as second:
        await first.told({"type": "register", "agent": {"id": "dual"}})
        assert (await second.refused({"type": "register", "agent": {"id": "dual"}}))[
            1
        ] == "agent dual already registered"
        assert await first.told({"type": "event", "agent_id": "dual", "event": {"type": "done"}}) == []


async def test_a_half_open_socket_loses_its_agent(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PROBE_SECONDS", 0.2)
    async with front.dial() as first, front.dial() as second:
        await first.told({"type": "register", "agent": {"id": "half"}})
        first.socket.transport.pause_reading()  # pings are not answered
        (answer,) = await second.told({"type": "register", "agent": {"id": "half"}})
        assert answer["type"] == "registered"
        first.socket.transport.resume_reading()
        assert await first.closed() == 1001


async def test_silence_ends_a_socket_and_data_keeps_it(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "IDLE", 0.4)
    original = liveness.LivelySocket.start_keepalive

    def soon(self: liveness.LivelySocket) -> None:
        self.ping_interval = 0.1
        original(self)

    monkeypatch.setattr(liveness.LivelySocket, "start_keepalive", soon)
    async with front.dial(max_queue=None) as talker, front.dial() as silent:
        for wire in (talker, silent):
            wire.socket.transport.pause_reading()  # like a client that never reads: no pongs either
        for _ in range(20):
            await talker.send({"type": "ping"})
            await asyncio.sleep(0.05)
        silent.socket.transport.resume_reading()
        assert await silent.closed() == 1001
        talker.socket.transport.resume_reading()
        assert json.loads(await talker.raw())["type"] == "pong"


async def test_a_drain_closes_with_its_own_code(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front, front.dial() as wire:
        await wire.told({"type": "register", "agent": {"id": "drained"}})
        front.server.registry.remotes.end_all(errors.Draining())
        assert await wire.closed() == 1012


# -- who may ---------------------------------------------------------------------------------------


async def test_keys_are_asked_for_before_the_upgrade(tmp_path: Path) -> None:
    async with fronted(tmp_path, auth=True, api_key="root", metadata=()) as front:
        for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401)):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(front.url, additional_headers=headers)
            assert refused.value.response.status_code == status
        for headers in ({"Authorization": "Bearer root"}, {"X-API-Key": "root"}, {"Authorization": "root"}):
            async with front.dial(additional_headers=headers) as wire:
                assert await wire.answers() == []
        async with front.dial("?greeting=0&api_key=root") as wire:
            assert await wire.answers() == []


async def test_pages_of_other_origins_are_kept_out(front: Front) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(front.url, origin="https://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
