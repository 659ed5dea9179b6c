"""Rows and units for the tests of stores."""

from collections.abc import Awaitable, Callable, Sequence

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2, session_service_pb2
from asteros import clock
from asteros.events.catalogue import Stamp
from asteros.events.cursor import CursorCodec
from asteros.events.frames import Sealer, events
from asteros.stores import base
from asteros.stores.base import AgentRow, Scope, Segment, Store, Unit

SECOND = clock.NANOS
SEAL = Sealer(CursorCodec(b"s" * 32))
# Opens the same place again; what was open before is closed first.
Reopen = Callable[[], Awaitable[Store]]


async def new_agent(store: Store, agent_id: str = "a1", tenant: str = "default", **how: object) -> AgentRow:
    """A stored agent, acquired: its row has an epoch that may write."""
    row = await create(store, agent_id, tenant, **how)
    return await store.acquire(row.key)


async def create(
    store: Store,
    agent_id: str = "a1",
    tenant: str = "default",
    *,
    request: base.AddRequest | None = None,
    max_agents: int = 0,
    template: str = "chat",
    labels: dict[str, str] | None = None,
    session_id: str = "",
) -> AgentRow:
    agent = agent_pb2.Agent(id=agent_id, labels=labels or {})
    agent.config.template_id = template
    session = session_of(session_id or f"ses_{tenant}_{agent_id}", agent_id)
    return await store.create_agent(tenant, agent, session, request, max_agents)


def session_of(session_id: str, agent_id: str = "a1", used: int = 0) -> session_service_pb2.Session:
    return session_service_pb2.Session(id=session_id, agent_id=agent_id, update_time=clock.timestamp(used))


def texts(row: AgentRow, *deltas: str) -> list[event_pb2.Event]:
    stamp = Stamp(row.agent.id)
    return [stamp.text(delta) for delta in deltas]


def unit(row: AgentRow, *deltas: str, rows: Sequence[base.Row] = (), epoch: int | None = None, turn: str = "") -> Unit:
    """A change of one agent: text events and rows."""
    scope = Scope(turn_id=turn)
    return Unit(row.key, row.epoch if epoch is None else epoch, scope, texts(row, *deltas), rows)


async def say(store: Store, row: AgentRow, *deltas: str) -> Segment:
    """Commits one unit of text events."""
    (segment,) = await store.commit([unit(row, *deltas)], SEAL)
    assert isinstance(segment, Segment)
    return segment


async def put(store: Store, row: AgentRow, *rows: base.Row) -> None:
    """Commits rows without events."""
    outcome = await store.commit([unit(row, rows=rows)], SEAL)
    assert outcome == [None]


def said(segments: Sequence[Segment]) -> list[str]:
    """The texts in segments, in their order."""
    return [event.progress.text_chunk.delta for segment in segments for event in events(segment)]


def numbers(segments: Sequence[Segment]) -> list[int]:
    """The sequences in segments, as the stored bytes say them."""
    return [event.sequence for segment in segments for event in events(segment)]


def turn_of(
    turn_id: str, state: agent_pb2.TurnState = agent_pb2.TURN_STATE_QUEUED, session_id: str = "ses"
) -> agent_pb2.Turn:
    return agent_pb2.Turn(id=turn_id, session_id=session_id, state=state)


def message_of(text: str, role: common_pb2.Role = common_pb2.ROLE_USER) -> common_pb2.Message:
    return common_pb2.Message(role=role, content=[common_pb2.ContentBlock(text=text)])


def pending_of(
    pending_id: str, *, turn_id: str = "t1", created: int = 0, expires: int = 100 * SECOND
) -> control_service_pb2.PendingRequest:
    return control_service_pb2.PendingRequest(
        id=pending_id, turn_id=turn_id, create_time=clock.timestamp(created), expire_time=clock.timestamp(expires)
    )


def resolved(pending: control_service_pb2.PendingRequest) -> control_service_pb2.PendingRequest:
    done = control_service_pb2.PendingRequest()
    done.CopyFrom(pending)
    done.resolution.outcome = event_pb2.RESOLUTION_OUTCOME_ALLOWED
    return done


def call_of(
    call_id: str, turn_id: str = "t1", state: common_pb2.ToolCallState = common_pb2.TOOL_CALL_STATE_PENDING
) -> control_service_pb2.ToolCallRecord:
    return control_service_pb2.ToolCallRecord(
        call=common_pb2.ToolCall(id=call_id, name="Read"), turn_id=turn_id, state=state
    )
