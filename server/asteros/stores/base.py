"""The promises of a store, and the rows that cross it.

Everything an agent changes goes through one door: a ``Unit``, which carries the
events and the rows that belong together and is written whole or not at all. The
store numbers the events inside the transaction, by updating the agent's row, and
the same statement refuses a writer whose epoch is not the agent's (guarantee R1).

What is read is an ``aster.v1`` message or one of the small rows below."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aster.v1 import (
    access_service_pb2,
    agent_pb2,
    common_pb2,
    control_service_pb2,
    session_service_pb2,
    workflow_pb2,
)
from asteros.stores.resources import ResourceStore

if TYPE_CHECKING:
    from asteros.stores.stars import StarStore
    from asteros.stores.workflows import WorkflowStore

DEFAULT_TENANT = "default"
UNFINISHED = (agent_pb2.TURN_STATE_QUEUED, agent_pb2.TURN_STATE_RUNNING, agent_pb2.TURN_STATE_WAITING)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the events of one unit have in common; subscriptions filter by it."""

    session_id: str = ""
    turn_id: str = ""
    star_id: str = ""
    workflow_run_id: str = ""


NO_SCOPE = Scope()


@dataclass(frozen=True, slots=True)
class AgentRef:
    """Which agent: its number in the store, and the names the world knows it by."""

    key: int
    tenant: str
    id: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one agent that were committed together, as stored and as sent.

    ``body`` holds the encoded frames one after another, each with the tag and
    length of ``repeated EventFrame frames = 1``: a slice of it is a response."""

    position: int  # of the first event, in the order of the whole log
    agent_key: int
    first_sequence: int
    create_time: int  # nanoseconds since 1970
    scope: Scope
    kinds: bytes  # one catalogue code per event
    ends: tuple[int, ...]  # where each event's frame ends in body
    body: bytes

    @property
    def count(self) -> int:
        return len(self.kinds)

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + len(self.kinds) - 1

    @property
    def last_position(self) -> int:
        return self.position + len(self.kinds) - 1

    def slice(self, first: int, last: int) -> bytes:
        """Frames of the events first (included) to last (excluded), by index."""
        return self.body[self.ends[first - 1] if first else 0 : self.ends[last - 1]]


# -- rows of a unit: each is one write -------------------------------------


@dataclass(frozen=True, slots=True)
class PutAgent:
    """Stores name, config and labels of the unit's agent."""

    agent: agent_pb2.Agent


@dataclass(frozen=True, slots=True)
class PutStatus:
    """Stores state and counters of the unit's agent; uptime and queue are not stored."""

    status: agent_pb2.AgentStatus


@dataclass(frozen=True, slots=True)
class PutTurn:
    """Inserts or replaces a turn. ``input``, ``principal`` and ``budget`` count on insert only."""

    turn: agent_pb2.Turn
    input: common_pb2.Message | None = None
    principal: str = ""
    budget: common_pb2.Budget | None = None


@dataclass(frozen=True, slots=True)
class PutSession:
    """Inserts a session (SessionAlreadyExists when the id is taken) or replaces it."""

    session: session_service_pb2.Session
    insert: bool = False


@dataclass(frozen=True, slots=True)
class AddMessage:
    """Appends a message to a session of the unit's agent."""

    session_id: str
    message: common_pb2.Message


@dataclass(frozen=True, slots=True)
class CopyMessages:
    """Begins a new session with the first ``count`` messages of another one of the unit's agent."""

    source_id: str
    session_id: str
    count: int


@dataclass(frozen=True, slots=True)
class PutToolCall:
    """Inserts or replaces a tool call; the journal of what was started and what came of it."""

    record: control_service_pb2.ToolCallRecord
    step: int
    index: int  # place among the calls of its step


@dataclass(frozen=True, slots=True)
class PutPending:
    """Inserts or replaces a request that waits, or waited, for a person."""

    pending: control_service_pb2.PendingRequest
    call_id: str = ""
    ask_index: int = 0  # which question of the call, for AskUserQuestion


@dataclass(frozen=True, slots=True)
class AddRequest:
    """Remembers a request_id with what it made; refused when the id is known."""

    request_id: str
    digest: bytes  # of method and body
    target: str  # id of what the request made


@dataclass(frozen=True, slots=True)
class AddRule:
    """A decision that reaches further than its call: a session's tool policy."""

    session_id: str
    tool: str
    policy: common_pb2.PermissionPolicy


@dataclass(frozen=True, slots=True)
class PutNote:
    """Keeps a value of a tool or a middleware under a name; None forgets it."""

    scope: str  # a session's id; "" is the agent itself
    name: str
    value: bytes | None  # JSON


@dataclass(frozen=True, slots=True)
class PutRemote:
    """Stores how far the program behind a remote agent has come.

    With ``after`` the unit is refused (``LeaseLost``) unless the stored instance and number are
    these: a batch is written only when the one before it was, so ``acked`` never covers a hole."""

    instance_id: str
    acked: int
    listed: bool = True
    after: int | None = None


@dataclass(frozen=True, slots=True)
class PutRun:
    """Stores where a workflow run stands; the unit is of the run's own log."""

    run: workflow_pb2.WorkflowRun  # without steps
    wish: int  # what people want of it: 0 go on, 1 pause, 2 end
    active: float  # seconds at work


@dataclass(frozen=True, slots=True)
class PutStep:
    """Inserts or replaces one attempt of one execution of a step of the unit's workflow run."""

    step: workflow_pb2.WorkflowStepRun
    rounds: str  # of the loops around it, outermost first: "2.1"
    place: int
    facts: bytes  # JSON
    output: str


Row = (
    PutAgent
    | PutStatus
    | PutTurn
    | PutSession
    | AddMessage
    | CopyMessages
    | PutToolCall
    | PutPending
    | AddRequest
    | AddRule
    | PutNote
    | PutRemote
    | PutRun
    | PutStep
)


@dataclass(slots=True)
class Unit:
    """What one agent changes at once: all or nothing."""

    agent_key: int
    epoch: int
    scope: Scope = NO_SCOPE
    events: list[Any] = field(default_factory=list)  # what the sealer can encode; a store only counts them
    rows: Sequence[Row] = ()


class RequestIdKnown(Exception):
    """A unit was refused because its request_id was stored before."""

    def __init__(self, digest: bytes, target: str) -> None:
        super().__init__("request_id known")
        self.digest = digest
        self.target = target


# The outcome of one unit: its segment (None without events), or why it was refused.
Outcome = Segment | None | Exception
# Numbers and encodes the events of a unit: (unit, first sequence, position) -> segment.
Sealer = Callable[[Unit, int, int], Segment]


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent as stored. ``agent`` has no status; ``status`` lacks uptime and queue."""

    key: int
    tenant: str
    epoch: int
    agent: agent_pb2.Agent
    status: agent_pb2.AgentStatus
    default_session_id: str
    latest_sequence: int
    oldest_sequence: int
    floor_position: int  # last position that retention took away; 0: none

    @property
    def ref(self) -> AgentRef:
        return AgentRef(self.key, self.tenant, self.agent.id)


@dataclass(frozen=True, slots=True)
class RemoteRow:
    """What is stored of a remote agent beside its agent's row."""

    owner: str  # principal
    instance_id: str
    acked: int
    listed: bool


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn as stored, with what it was started with."""

    agent_key: int
    turn: agent_pb2.Turn
    input: common_pb2.Message
    principal: str
    budget: common_pb2.Budget


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A request as stored, and the agent that raised it."""

    agent_key: int
    pending: control_service_pb2.PendingRequest
    call_id: str
    ask_index: int


@dataclass(frozen=True, slots=True)
class CallRow:
    """A tool call as stored."""

    record: control_service_pb2.ToolCallRecord
    step: int
    index: int


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key: its public part, and the digest of its secret."""

    tenant: str
    key: access_service_pb2.ApiKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Which agents a list shows; every set field must hold."""

    states: tuple[int, ...] = ()
    template_id: str = ""
    id_prefix: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class Store(Protocol):
    """A place that survives. Opened and closed by its owner; one store, one log.

    Reads see every commit that was answered before. Methods raise
    ``StoreUnavailable`` when the store does not answer, ``StorageFull`` when it has
    no room and ``StoreCorrupt`` when it is damaged. Cancelling a read abandons it;
    a commit that has begun is finished whoever waits."""

    kind: str  # "sqlite", "postgres"
    log_id: str  # changes when the whole log starts anew
    secret: bytes  # 32 random bytes, made with the store: keys of cursors and tokens

    async def open(self) -> None:
        """Opens, migrating the schema first.

        :raises RefusedToStart: another process has it, or it is newer than this code."""
        ...

    async def aclose(self) -> None:
        """Writes what is pending and closes. Idempotent."""
        ...

    # -- the log ------------------------------------------------------------

    async def commit(self, units: Sequence[Unit], seal: Sealer) -> list[Outcome]:
        """Writes the units in this order in one durable transaction, each whole or not at all.

        One outcome per unit. A refused unit (``LeaseLost``, ``RequestIdKnown``,
        ``SessionAlreadyExists``) leaves the others alone. Raises, with nothing
        written, when the transaction itself fails. Returns after the disk has it."""
        ...

    async def head(self) -> int:
        """Position of the newest event ever stored; 0 for an empty log."""
        ...

    async def read_agent_segments(
        self, agent_key: int, after_sequence: int, limit: int, before: int = 0
    ) -> list[Segment]:
        """Segments that hold events after the sequence, oldest first; about ``limit`` events,
        at least one segment when there is one: an empty list is the end.

        With ``before``: newest first, only segments that begin below that sequence."""
        ...

    async def read_segments(self, tenant: str, after: int, limit: int, before: int = 0) -> list[Segment]:
        """The same for all agents of a tenant, after a position.

        With ``before``: newest first, only segments that begin below that position."""
        ...

    async def sequence_at(self, agent_key: int, position: int) -> int:
        """Sequence of the agent's newest event at or below the position; 0 when there is none."""
        ...

    async def position_at_time(self, nanos: int) -> int:
        """Position just before the first event stored at or after the time."""
        ...

    async def trim(self, agent_key: int, before_time: int, keep: int) -> int:
        """Retention (E7): deletes whole segments older than the time or beyond the newest
        ``keep`` events (0: any number), never one with an open request, and moves the
        floor. Returns the agent's oldest sequence."""
        ...

    async def agents_to_trim(self, before_time: int, keep: int, limit: int, after: int = 0) -> list[int]:
        """Keys of agents whose log may have something to trim, in order, above the given key.

        What an open request or a segment that is only partly too old keeps is still there
        after ``trim``, and its agent is named again: go through the keys once."""
        ...

    def resources(self) -> ResourceStore:
        """What is registered, of all kinds, and the log of its changes."""
        ...

    def workflows(self) -> "WorkflowStore":
        """Workflows and their runs, kept in the same place."""
        ...

    def stars(self) -> "StarStore":
        """Stars, what was said in them, and what they work on."""
        ...

    # -- agents ---------------------------------------------------------------

    async def create_agent(
        self,
        tenant: str,
        agent: agent_pb2.Agent,
        session: session_service_pb2.Session,
        request: AddRequest | None,
        max_agents: int,
    ) -> AgentRow:
        """Stores a new agent with its default session.

        :raises AgentAlreadyExists, AgentLimitReached, RequestIdKnown:"""
        ...

    async def create_remote_agent(self, tenant: str, agent: agent_pb2.Agent, owner: str) -> AgentRow:
        """Stores a new agent that runs in another program: no session, not listed, no limit.

        :raises AgentAlreadyExists:"""
        ...

    async def remote_agent(self, key: int) -> RemoteRow | None:
        """None: the agent is one of this server's own."""
        ...

    async def agent(self, tenant: str, agent_id: str) -> AgentRow | None: ...

    async def agent_by_key(self, key: int) -> AgentRow | None: ...

    async def agents(self, tenant: str, after: str, limit: int, only: AgentFilter) -> list[AgentRow]:
        """Agents by id, after the given id; remote ones while they are listed."""
        ...

    async def delete_agent(self, key: int) -> None:
        """Deletes the agent and everything of it. Idempotent."""
        ...

    async def acquire(self, key: int) -> AgentRow:
        """Takes the agent for this process: raises its epoch and returns the row.

        :raises AgentNotFound:"""
        ...

    async def started_agents(self) -> list[AgentRow]:
        """Agents of all tenants that are STARTED; after a start of the server none of them is in memory."""
        ...

    async def floor_position(self, tenant: str) -> int:
        """The highest position that retention took away from any agent of the tenant."""
        ...

    async def counts(self, tenant: str) -> dict[str, int]:
        """Counters of GetCosmos by field name, those that the store knows."""
        ...

    # -- what agents did ----------------------------------------------------

    async def request(self, tenant: str, request_id: str) -> tuple[bytes, str] | None:
        """Digest and target of a remembered request_id."""
        ...

    async def forget_requests(self, before_time: int) -> None: ...

    async def turn(self, agent_key: int, turn_id: str) -> TurnRow | None: ...

    async def turns(
        self, agent_key: int, session_id: str, before: str, limit: int, principal: str = ""
    ) -> list[agent_pb2.Turn]:
        """Turns, newest first, older than the given turn id ("" = from the newest); with a
        principal, only those it started."""
        ...

    async def unfinished_turns(self, agent_key: int) -> list[TurnRow]:
        """Oldest first."""
        ...

    async def agents_with_work(self) -> list[int]:
        """Keys of own agents that have queued or running turns: to be woken after a start."""
        ...

    async def session(self, tenant: str, session_id: str) -> tuple[int, session_service_pb2.Session] | None:
        """The agent's key and the session."""
        ...

    async def sessions(
        self, tenant: str, agent_key: int, before: tuple[int, str] | None, skip: int, limit: int
    ) -> tuple[list[session_service_pb2.Session], int]:
        """Sessions, last used first, and their total number. ``agent_key`` 0: of all agents."""
        ...

    async def delete_session(self, tenant: str, session_id: str) -> None: ...

    async def messages(
        self, tenant: str, session_id: str, after: int, limit: int
    ) -> list[tuple[int, common_pb2.Message]]:
        """Messages after a place in the session, oldest first, each with its place. Limit 0: all."""
        ...

    async def tool_call(self, agent_key: int, call_id: str) -> CallRow | None: ...

    async def tool_calls(self, agent_key: int, turn_id: str, step: int) -> list[CallRow]:
        """Calls of one step, in the model's order."""
        ...

    async def pending(self, agent_key: int, pending_id: str) -> PendingRow | None:
        """By the id of the request, or by the id of the tool call it is about."""
        ...

    async def pending_of_turn(self, agent_key: int, turn_id: str) -> list[PendingRow]:
        """All requests of a turn, resolved ones too, oldest first."""
        ...

    async def open_pending(self, tenant: str, agent_key: int, after: str, limit: int) -> list[PendingRow]:
        """Open requests after the given id, oldest first. ``agent_key`` 0: of all agents."""
        ...

    async def expired_pending(self, nanos: int, limit: int) -> list[PendingRow]:
        """Open requests of own agents whose time is up; a remote program looks after its own."""
        ...

    async def next_expiry(self) -> int | None:
        """When the next open request expires, nanoseconds."""
        ...

    async def session_rules(self, agent_key: int, session_id: str) -> dict[str, int]:
        """Policies by tool that decisions gave to the session."""
        ...

    async def notes(self, agent_key: int, scope: str) -> dict[str, bytes]:
        """What tools and middlewares keep for a session, or ("") for the agent, by name."""
        ...

    # -- access -----------------------------------------------------------------

    async def put_key(self, row: KeyRow, request: AddRequest | None = None) -> None:
        """Stores a key.

        :raises RequestIdKnown:"""
        ...

    async def note_key_use(self, key_id: str, minute: int) -> None:
        """Notes when a key was last used (seconds since 1970) and touches nothing else of it."""
        ...

    async def key(self, key_id: str) -> KeyRow | None: ...

    async def keys(self, tenant: str, after: str, limit: int) -> list[KeyRow]: ...
