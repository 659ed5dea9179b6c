"""What the server says in the end, asked for page by page."""

from typing import Any

from robustness.harness import Stubs
from robustness.recorder import Pool, Seen

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    common_pb2,
    control_service_pb2,
    event_service_pb2,
    session_service_pb2,
)


async def log_of(stubs: Stubs, pool: Pool, agent_id: str) -> list[Seen]:
    """Every stored event of an agent, oldest first."""
    found: list[Seen] = []
    request = event_service_pb2.ListEventsRequest(agent_id=agent_id, page_size=1000)
    while True:
        page = await stubs.events.ListEvents(request, wait_for_ready=True)
        found += [pool.seen(frame) for frame in page.frames]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def turns_of(stubs: Stubs, agent_id: str) -> list[agent_pb2.Turn]:
    """Every turn of an agent, newest first."""
    request = agent_service_pb2.ListTurnsRequest(agent_id=agent_id, page_size=1000)
    return list(await _all(stubs.agents.ListTurns, request, "turns"))


async def pending_of(stubs: Stubs, agent_id: str) -> list[str]:
    """Ids of the open requests of an agent."""
    request = control_service_pb2.ListPendingApprovalsRequest(agent_id=agent_id)
    return [pending.id for pending in await _all(stubs.control.ListPendingApprovals, request, "pending")]


async def messages_of(stubs: Stubs, agent_id: str) -> list[common_pb2.Message]:
    """The conversation of an agent that has one session."""
    sessions = session_service_pb2.ListSessionsRequest(agent_id=agent_id)
    (session,) = (await stubs.sessions.ListSessions(sessions, wait_for_ready=True)).sessions
    request = session_service_pb2.ListMessagesRequest(session_id=session.id, page_size=1000)
    return list(await _all(stubs.sessions.ListMessages, request, "messages"))


async def _all(method: Any, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await method(request, wait_for_ready=True)
        found += getattr(page, field)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
