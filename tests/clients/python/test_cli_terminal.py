"""The command with a person at a terminal: what is asked and what the answers become."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from clients.python.fake_server import FakeAster
from clients.python.process import begin

from aster.cli import conversation
from aster.v1 import event_pb2

pytestmark = pytest.mark.anyio


class Terminal:
    """A pseudo terminal with the command in it."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._written = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the command has ended and its side is closed
            self._written += os.read(self._master, 4096)
        self._news.set()

    async def see(self, text: str) -> None:
        """Waits until the command has written it."""
        wanted = text.encode()
        async with asyncio.timeout(20):
            while wanted not in self._written:
                self._news.clear()
                await self._news.wait()
        self._written = self._written.partition(wanted)[2]

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C. One that comes between the prompt and the read is noticed with the next key: hence the Enter."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # it was noticed and the command has ended
            self.type("\n")

    async def end(self) -> int:
        code = await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        return code


async def open_terminal(fake: FakeAster, *args: str) -> Terminal:
    master, slave = os.openpty()
    process = await begin(fake, *args, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    return Terminal(process, master)


async def test_a_conversation_in_a_terminal(fake: FakeAster) -> None:
    terminal = await open_terminal(fake, "chat", "a")
    await terminal.see("> ")
    terminal.type("write it\n")
    await terminal.see('Write {"path": "/hello.txt"}')
    await terminal.see("note[t]: ")
    terminal.type("note\n")
    await terminal.see("note: ")
    terminal.type("looks good\n")
    await terminal.see("note[t]: ")
    terminal.type("y\n")
    await terminal.see("✅ Write (12 ms)")
    await terminal.see("echo: write it")
    await terminal.see("> ")
    terminal.type("\x04")
    assert await terminal.end() == 0
    assert fake.requests("ApproveToolCall")[0].note == "looks good"


async def test_ctrl_c_at_the_prompt_is_130(fake: FakeAster) -> None:
    terminal = await open_terminal(fake, "chat", "a", "-m", "write it")
    await terminal.see("note[t]: ")
    terminal.interrupt()
    assert await terminal.end() == 130
    await fake.until(lambda: fake.open_streams == 0)


class Answers:
    """An agent that notes what was decided."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        async def call(*args: object, **kwargs: object) -> None:
            self.calls.append((name, *args, kwargs))

        return call


@pytest.mark.parametrize(
    ("request_", "typed", "call"),
    [
        (
            event_pb2.ToolApprovalRequest(pending_id="p", input_digest="d"),
            ["x", "e", "{", '{"a": 1}', "yes"],
            ("approve_tool_call", "p", True, {"note": "", "edited_input": '{"a": 1}', "input_digest": "d"}),
        ),
        (
            event_pb2.ToolApprovalRequest(pending_id="p"),
            ["t", "why", "n"],
            ("approve_tool_call", "p", False, {"note": "why", "edited_input": None, "input_digest": ""}),
        ),
        (
            event_pb2.UserInputRequest(pending_id="p", options=[{"label": "blue"}, {"label": "red"}]),
            ["2, 1"],
            ("respond_to_input_request", "p", [1, 0], {}),
        ),
        (event_pb2.UserInputRequest(pending_id="p"), ["42"], ("respond_to_input_request", "p", "42", {})),
        (event_pb2.UserInputRequest(pending_id="p"), [""], ("respond_to_input_request", "p", None, {})),
        (event_pb2.IterationLimitReached(pending_id="p"), ["y"], ("respond_to_iteration_limit", "p", True, {})),
    ],
    ids=["edit", "deny", "options", "text", "dismiss", "limit"],
)
async def test_what_a_person_types_becomes_a_decision(
    monkeypatch: pytest.MonkeyPatch, request_: object, typed: list[str], call: tuple
) -> None:
    lines = iter(typed)
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    agent = Answers()
    await conversation.decide(agent, request_)
    assert agent.calls == [call]
    assert next(lines, None) is None
