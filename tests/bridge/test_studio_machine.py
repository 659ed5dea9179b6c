"""Any frames in any order on several sockets: every answer is the documented one, nobody else is
touched, and no event is credited to an agent that its socket did not register."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from bridge.studio_sockets import Front, Wire, fronted
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from services.programs import deltas

T = TypeVar("T")
SOCKETS, AGENTS, SESSIONS = 3, 3, 2
_numbers = itertools.count(1)


class House:
    """One server for all examples, on a loop of its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._folder = tempfile.TemporaryDirectory()
        self.front: Front = self.run(self._stack.enter_async_context(fronted(Path(self._folder.name))))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()
        self._folder.cleanup()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    running = House()
    yield running
    running.close()


class Frames(RuleBasedStateMachine):
    house: House  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.example = next(_numbers)  # ids are new in every example: logs stay
        self.sockets: dict[int, tuple[contextlib.AsyncExitStack, Wire]] = {}
        self.owner: dict[str, int] = {}
        self.sessions: dict[str, str] = {}
        self.stored: dict[str, list[str]] = {}
        self.texts = 0

    # -- helpers ----------------------------------------------------------------------------

    def agent(self, number: int) -> str:
        return f"m{self.example}-{number}"

    def wire(self, socket: int) -> Wire:
        if socket not in self.sockets:
            stack = contextlib.AsyncExitStack()
            wire = self.house.run(stack.enter_async_context(self.house.front.dial()))
            self.sockets[socket] = (stack, wire)
        return self.sockets[socket][1]

    def told(self, socket: int, frame: Any) -> list[dict[str, Any]]:
        return self.house.run(self.wire(socket).told(frame))

    def check(self, socket: int, frame: Any, kind: str, words: str = "") -> None:
        """Exactly this answer; "" for none."""
        answers = self.told(socket, frame)
        assert [answer["type"] for answer in answers] == ([kind] if kind else []), answers
        if kind == "error":
            assert answers[0]["payload"]["message"].startswith(words), answers

    # -- rules ------------------------------------------------------------------------------

    @rule(socket=st.integers(1, SOCKETS), number=st.integers(1, AGENTS), old=st.booleans())
    def register(self, socket: int, number: int, old: bool) -> None:
        agent = self.agent(number)
        frame: dict[str, Any] = {"type": "register", "agent": {"id": agent}}
        if old:
            frame = {"type": "register", "payload": {"agent_id": agent, "template_id": "t"}}
        if agent in self.owner:
            self.check(socket, frame, "error", f"agent {agent} already registered")
        else:
            self.check(socket, frame, "registered")
            self.owner[agent] = socket
            self.stored.setdefault(agent, [])

    @rule(socket=st.integers(1, SOCKETS), number=st.integers(1, AGENTS), session=st.integers(1, SESSIONS))
    def register_session(self, socket: int, number: int, session: int) -> None:
        agent, session_id = self.agent(number), f"s{self.example}-{session}"
        frame = {"type": "register_session", "session": {"id": session_id, "agent_id": agent}}
        if self.sessions.setdefault(session_id, agent) == agent:
            self.check(socket, frame, "session_registered")
        else:
            self.check(socket, frame, "error", f"session {session_id} already registered")

    @rule(
        socket=st.integers(1, SOCKETS),
        number=st.integers(1, AGENTS),
        old=st.booleans(),
        count=st.sampled_from([0, 1, 3]),
    )
    def event(self, socket: int, number: int, old: bool, count: int) -> None:
        agent = self.agent(number)
        said = [str(self.texts + index) for index in range(max(count, 1))]
        self.texts += len(said)
        events: list[Any] = [{"type": "text_chunk", "delta": text} for text in said]
        if old:
            events = [{"event": event} for event in events]
        body = {"agent_id": agent}
        one, many = ("envelope", "envelopes") if old else ("event", "events")
        body |= {many: events} if count else {one: events[0]}
        frame = {"type": "event", "payload": body} if old else {"type": "event", **body}
        if self.owner.get(agent) == socket:
            self.check(socket, frame, "")
            self.stored[agent] += said
        else:
            self.check(socket, frame, "error", f"agent {agent} not registered")

    @rule(socket=st.integers(1, SOCKETS), number=st.integers(1, AGENTS), bad=st.sampled_from([None, 3, [], {}]))
    def bad_event(self, socket: int, number: int, bad: Any) -> None:
        agent = self.agent(number)
        words = "failed to push event: event is nil" if bad is None else "failed to parse event payload: "
        if self.owner.get(agent) != socket:
            words = f"agent {agent} not registered"
        self.check(socket, {"type": "event", "agent_id": agent, "event": bad}, "error", words)

    @rule(socket=st.integers(1, SOCKETS), number=st.integers(1, AGENTS))
    def unregister(self, socket: int, number: int) -> None:
        agent = self.agent(number)
        frame = {"type": "unregister", "agent_id": agent}
        if self.owner.get(agent) == socket:
            self.check(socket, frame, "")
            del self.owner[agent]
        else:
            self.check(socket, frame, "error", f"agent {agent} not registered")

    @rule(
        socket=st.integers(1, SOCKETS),
        frame=st.one_of(
            st.sampled_from(["", "{", "[]", "null", '"x"', "{}x", '{"type":Infinity}']),
            st.binary(max_size=40).filter(lambda data: not data.strip().startswith(b"{")),
        ),
    )
    def garbage(self, socket: int, frame: str | bytes) -> None:
        self.check(socket, frame, "error", "Failed to parse message")

    @rule(
        socket=st.integers(1, SOCKETS),
        said=st.dictionaries(
            st.sampled_from(["type", "payload", "agent", "session", "agent_id", "event", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
                max_leaves=4,
            ),
            max_size=4,
        ).filter(lambda said: said.get("type") not in ("ping",)),
    )
    def any_object(self, socket: int, said: dict[str, Any]) -> None:
        self.check(socket, said, "error")

    @rule(socket=st.integers(1, SOCKETS), kind=st.sampled_from(["register", "register_session", "event", "unregister"]))
    def empty(self, socket: int, kind: str) -> None:
        words = "session_id is required" if kind == "register_session" else "agent_id is required"
        self.check(socket, {"type": kind, "payload": None}, "error", words)

    @rule(socket=st.integers(1, SOCKETS), size=st.integers(1, 20))
    def pieces(self, socket: int, size: int) -> None:
        text = '{"type":"register","agent":{"id":""}}'
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        wire = self.wire(socket)
        self.house.run(wire.socket.send(parts))
        (answer,) = self.house.run(wire.answers())
        assert answer["payload"]["message"] == "agent_id is required"

    @precondition(lambda self: self.sockets)
    @rule(data=st.data(), how=st.sampled_from(["close", "cut", "huge", "mid-frame"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        socket = data.draw(st.sampled_from(sorted(self.sockets)))
        stack, wire = self.sockets.pop(socket)
        self.house.run(self._leave(stack, wire, how))
        self.owner = {agent: of for agent, of in self.owner.items() if of != socket}

    async def _leave(self, stack: contextlib.AsyncExitStack, wire: Wire, how: str) -> None:
        if how == "huge":
            with contextlib.suppress(Exception):
                await wire.send("x" * (10 * 2**20))
            assert await wire.closed() == 1009
        elif how == "cut":
            wire.socket.transport.abort()
        elif how == "mid-frame":
            wire.socket.transport.write(b"\x81\xfe\x10\x00abcd{")  # the head of a frame, and little of it
            wire.socket.transport.close()
        await stack.aclose()

    # -- always -----------------------------------------------------------------------------

    @invariant()
    def everybody_is_served(self) -> None:
        for _, wire in self.sockets.values():
            assert self.house.run(wire.answers()) == []

    def teardown(self) -> None:
        self.house.run(self._logs())
        for stack, _ in self.sockets.values():
            self.house.run(stack.aclose())

    async def _logs(self) -> None:
        for agent, expected in self.stored.items():
            found = await deltas(self.house.front.server, agent)
            for _ in range(200):
                if len(found) >= len(expected):
                    break
                await asyncio.sleep(0.01)
                found = await deltas(self.house.front.server, agent)
            assert found == expected


def run(house: House, examples: int, steps: int) -> None:
    Frames.house = house
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Frames, settings=chosen)  # type: ignore[no-untyped-call]


def test_any_frames_in_any_order(house: House) -> None:
    run(house, 15, 20)


@pytest.mark.fuzz
def test_many_more_frames(house: House) -> None:
    run(house, 300, 50)
