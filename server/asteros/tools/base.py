"""The promise of a tool, and what the runtime hands to a call of it."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asteros.sandbox.base import Command as Command
from asteros.sandbox.base import CommandRefused as CommandRefused
from asteros.sandbox.base import Finished as Finished
from asteros.sandbox.files import Entry as Entry
from asteros.sandbox.files import PathRefused as PathRefused
from asteros.sandbox.files import Walk as Walk
from asteros.sandbox.shells import Shell as Shell
from asteros.sandbox.shells import Shells as Shells

JsonObject = dict[str, Any]
JsonValue = Any  # what JSON can say; None is "nothing"


class RerunPolicy(enum.StrEnum):
    """What happens to a call that a crash cut off (guarantee A4)."""

    NEVER = "never"  # sealed as interrupted, a person is told
    KEY = "key"  # run again with the same idempotency key
    SAFE = "safe"  # run again


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """What is known about a tool without running it; immutable and shared."""

    name: str
    description: str  # as the model reads it
    input_schema: Mapping[str, Any]  # JSON Schema (2020-12) of the input object
    read_only: bool = False  # changes nothing: smart approve lets it run, and calls run side by side
    harmless: bool = False  # changes nothing but what the agent keeps for itself: smart approve lets it run
    final: bool = False  # a call that succeeds ends the turn: its result's "answer" is what is said last
    rerun: RerunPolicy = RerunPolicy.NEVER
    timeout: float | None = 60.0  # seconds; None: the tool waits for people, or keeps a limit of its own
    groups: tuple[str, ...] = ()  # group names that include it, for example "filesystem"
    main_argument: str = ""  # the input member that permission rules match
    origin: str = "builtin"  # or "custom", or "mcp:" and the name of the MCP server
    # Other spellings of input members: {"path": "file_path"}. Applied before the schema.
    argument_aliases: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to choose from."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Todo:
    """One entry of a to-do list."""

    id: str
    content: str
    active_form: str = ""  # the same as something in progress
    status: str = "pending"  # or "in_progress" or "completed"
    priority: str = ""  # "low", "medium", "high" or nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered. Dismissed: no answer, also after expiry."""

    text: str = ""  # chosen labels one per line, then free text
    dismissed: bool = False


class Files(Protocol):
    """The one door to an agent's workspace; ``sandbox/files.py`` keeps it shut.

    Paths are relative to the workspace; a leading "/" means the workspace root.
    Blocking calls run in a thread. Every method raises ``PathRefused`` for a path
    that leaves the workspace, also through links, and ``OSError`` otherwise."""

    async def read(self, path: str, limit: int) -> bytes:
        """At most ``limit`` bytes of a regular file."""
        ...

    async def write(self, path: str, data: bytes, *, append: bool = False, create_dirs: bool = True) -> None:
        """Replaces or extends a regular file, atomically when it replaces."""
        ...

    async def list(self, path: str) -> Sequence[Entry]:
        """Entries of a folder, sorted by name; at most 10,000."""
        ...

    async def walk(
        self, path: str, *, hidden: bool = False, follow: bool = False, skip: Callable[[str], bool] = ...
    ) -> Walk:
        """All regular files beneath a folder, by path; see ``sandbox.files.Workspace.walk``."""
        ...


class Commands(Protocol):
    """Commands in the agent's box, and nowhere else; ``sandbox/commands.py`` keeps it shut.

    Every method raises ``errors.SandboxUnavailable`` where there is no box: a command
    is never run without one unless the operator allows it and the agent's config says so."""

    shells: Shells  # those that run in the background

    async def run(self, command: Command) -> Finished:
        """Runs a command to its end; see ``sandbox.commands.AgentCommands.run``."""
        ...

    async def start(self, command: Command, shell_id: str = "") -> Shell:
        """Starts one in the background; see ``sandbox.commands.AgentCommands.start``."""
        ...


class Notes(Protocol):
    """Small JSON values that outlive a call, a turn and the server, by name."""

    async def names(self) -> Sequence[str]:
        """All names, sorted."""
        ...

    async def get(self, name: str) -> JsonValue:
        """The value, or None."""
        ...

    async def put(self, name: str, value: JsonValue) -> None:
        """Keeps at most 256 KiB under a name of at most 200 characters; None forgets it.

        Durable when it returns. Raises FieldViolation for what is too large."""
        ...


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a helper is begun with."""

    prompt: str
    system: str  # its system prompt
    description: str = ""  # a few words for people
    read_only: bool = False  # it gets only the tools that change nothing
    model: str = ""  # of the parent's provider; "" the parent's


@dataclass(frozen=True, slots=True)
class Delegated:
    """A helper's turn as it stands."""

    task_id: str  # also Turn.id
    state: str  # "running", "waiting" (for a person), "completed", "failed" or "stopped"
    description: str
    text: str  # its answer; "" until it has ended
    error: str  # why it failed
    steps: int
    tokens: int


class Tasks(Protocol):
    """Work given to helpers: turns of their own, with no more rights than the caller's.

    They end with the turn of the call. A task of another conversation is None."""

    async def begin(self, spec: Delegation) -> str:
        """Begins a helper and returns its task id; run again after a crash, the same one.

        Raises FieldViolation for a model that cannot be used, WrongState in a helper."""
        ...

    async def wait(self, task_id: str, timeout: float | None) -> Delegated | None:
        """Waits for its end, at most so many seconds; how it stands then."""
        ...

    async def stop(self, task_id: str, reason: str) -> Delegated | None:
        """Interrupts it, waits for its end, and says how it stands."""
        ...

    async def get(self, task_id: str) -> Delegated | None:
        """How it stands."""
        ...

    async def all(self) -> Sequence[Delegated]:
        """Those that this turn has begun."""
        ...


class ToolContext(Protocol):
    """What one call may use. Valid while the call runs."""

    agent_id: str
    session_id: str
    turn_id: str
    call_id: str
    idempotency_key: str  # the same again when a "key" tool is run again

    @property
    def files(self) -> Files:
        """The agent's workspace."""
        ...

    @property
    def commands(self) -> Commands:
        """Commands in the agent's workspace."""
        ...

    @property
    def session_notes(self) -> Notes:
        """What is kept for this session; goes with it."""
        ...

    @property
    def agent_notes(self) -> Notes:
        """What is kept for the agent, for all its sessions."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Helpers."""
        ...

    async def ask(
        self, index: int, prompt: str, options: Sequence[Option] = (), *, multi_select: bool = False
    ) -> Answer:
        """Asks a person and waits, across restarts: question ``index`` of this call is
        raised once and its stored answer is returned ever after."""
        ...

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Reports how far the tool is (progress.tool_progress)."""
        ...

    def intermediate(self, label: str, data: JsonValue) -> None:
        """Shows a part of the result ahead of the rest (progress.tool_intermediate).

        More than 64 KiB as JSON is cut and becomes a string."""
        ...

    def todos(self, items: Sequence[Todo]) -> None:
        """Announces a whole to-do list after a change (progress.todo_update)."""
        ...

    @property
    def in_plan_mode(self) -> bool:
        """The session plans and changes nothing yet."""
        ...

    async def set_plan_mode(self, on: bool) -> None:
        """Enters or leaves plan mode: durable for the session, in force for calls judged from now on."""
        ...


class Tool(Protocol):
    """Something an agent can do. One instance serves all agents at once."""

    info: ToolInfo

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """Does it. ``args`` has passed the schema.

        Answers a JSON object; a failure the model should see is
        ``{"ok": false, "error": "one sentence", …}`` and not an exception (seed 004).
        Cancelled when the turn is interrupted or the time limit passes: clean up
        in ``finally``."""
        ...
