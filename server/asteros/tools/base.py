"""The promise of a tool, and what the runtime hands to a call of it."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asteros.sandbox.files import Entry as Entry
from asteros.sandbox.files import PathRefused as PathRefused

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
    rerun: RerunPolicy = RerunPolicy.NEVER
    timeout: float | None = 60.0  # seconds; None: the tool waits for people and has no limit
    groups: tuple[str, ...] = ()  # group names that include it, for example "filesystem"
    main_argument: str = ""  # the input member that permission rules match
    origin: str = "builtin"
    # Other spellings of input members: {"path": "file_path"}. Applied before the schema.
    argument_aliases: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to choose from."""

    label: str
    description: str = ""


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
    def session_notes(self) -> Notes:
        """What is kept for this session; goes with it."""
        ...

    @property
    def agent_notes(self) -> Notes:
        """What is kept for the agent, for all its sessions."""
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
