"""A context for one tool call: a real workspace, and a person with answers ready."""

import asyncio
import json
from collections.abc import Mapping, Sequence

from asteros.errors import bad_field
from asteros.sandbox.base import Captured, Tier
from asteros.sandbox.files import Workspace
from asteros.tools.base import (
    Answer,
    Command,
    Commands,
    Delegated,
    Delegation,
    Files,
    Finished,
    JsonValue,
    Notes,
    Option,
    Shell,
    Shells,
    Tasks,
    Todo,
)

MAX_NOTE = 256 * 1024


class FakeNotes:
    """Notes of one session, as JSON: what is not JSON fails here as it does there."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def names(self) -> Sequence[str]:
        return sorted(self.kept)

    async def get(self, name: str) -> JsonValue:
        await asyncio.sleep(0)
        return json.loads(self.kept[name]) if name in self.kept else None

    async def put(self, name: str, value: JsonValue) -> None:
        await asyncio.sleep(0)
        text = json.dumps(value)
        if len(text) > MAX_NOTE:
            raise bad_field("value", "too long")
        self.kept[name] = text


class NoCommands:
    """For tools that run none."""

    shells = Shells()

    async def run(self, command: Command) -> Finished:
        raise AssertionError(command)

    async def start(self, command: Command, shell_id: str = "") -> Shell:
        raise AssertionError(command)


class SilentCommands:
    """Commands that say nothing and end at once, and leave a shell that has ended: no program is run."""

    def __init__(self) -> None:
        self.shells = Shells()
        self.shells.add(self._ended("0", Command("true")))

    @staticmethod
    def _ended(shell_id: str, command: Command) -> Shell:
        shell = Shell(shell_id, command, Tier.NONE)
        shell.over()
        return shell

    async def run(self, command: Command) -> Finished:
        await asyncio.sleep(0)
        return Finished(0, Captured("", 0, False), Captured("", 0, False), 0.0, Tier.NONE)

    async def start(self, command: Command, shell_id: str = "") -> Shell:
        await asyncio.sleep(0)
        shell = self._ended(shell_id or self.shells.new_id(), command)
        self.shells.add(shell)
        return shell


class FakeTasks:
    """Helpers that answer at once with their prompt in capitals."""

    def __init__(self) -> None:
        self.begun: dict[str, Delegation] = {}

    async def begin(self, spec: Delegation) -> str:
        await asyncio.sleep(0)
        task_id = f"trn_{len(self.begun) + 1}"
        self.begun[task_id] = spec
        return task_id

    async def get(self, task_id: str) -> Delegated | None:
        await asyncio.sleep(0)
        spec = self.begun.get(task_id)
        if spec is None:
            return None
        return Delegated(task_id, "completed", spec.description, spec.prompt.upper(), "", 1, 12)

    async def wait(self, task_id: str, timeout: float | None) -> Delegated | None:
        return await self.get(task_id)

    async def stop(self, task_id: str, reason: str) -> Delegated | None:
        return await self.get(task_id)

    async def all(self) -> Sequence[Delegated]:
        found = [await self.get(task_id) for task_id in self.begun]
        return [task for task in found if task is not None]


class FakeContext:
    """Questions without an answer wait for ever."""

    def __init__(
        self, files: Files, answers: Mapping[int, Answer] | None = None, commands: Commands | None = None
    ) -> None:
        self.agent_id, self.session_id, self.turn_id, self.call_id = "a1", "s1", "t1", "c1"
        self.idempotency_key = "k1"
        self.files = files
        self.commands: Commands = commands or NoCommands()
        self.tasks: Tasks = FakeTasks()
        self.answers = answers or {}
        self.asked: list[tuple[int, str, tuple[Option, ...], bool]] = []
        self.cancelled: list[int] = []
        self.session_notes: Notes = FakeNotes()
        self.agent_notes: Notes = FakeNotes()
        self.announced: list[list[Todo]] = []
        self.reports: list[str] = []
        self.parts: list[tuple[str, JsonValue]] = []
        self.in_plan_mode = False

    async def ask(
        self, index: int, prompt: str, options: Sequence[Option] = (), *, multi_select: bool = False
    ) -> Answer:
        self.asked.append((index, prompt, tuple(options), multi_select))
        if index in self.answers:
            return self.answers[index]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        raise AssertionError

    def progress(self, message: str, fraction: float | None = None) -> None:
        self.reports.append(message)

    def intermediate(self, label: str, data: JsonValue) -> None:
        self.parts.append((label, data))

    def todos(self, items: Sequence[Todo]) -> None:
        self.announced.append(list(items))

    async def set_plan_mode(self, on: bool) -> None:
        await asyncio.sleep(0)
        self.in_plan_mode = on


def promised(workspace: Workspace) -> Files:
    """Fails type checking when the workspace does not keep the promise."""
    return workspace
