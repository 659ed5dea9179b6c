"""The connection to a server: agents, sessions, decisions, events of many agents."""

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from aster._requests import AgentFields, SubscribeOptions, agent_config, decision
from aster._transport import DEFAULT_TIMEOUT, Transport, new_request_id
from aster.agent import Agent, open_subscription
from aster.results import MessageView
from aster.subscription import Subscription
from aster.v1 import agent_pb2, agent_service_pb2, control_service_pb2, server_service_pb2, session_service_pb2


class AsterClient:
    """Talks to one Aster server over one gRPC channel; belongs to one event loop.

    ``address`` is "host:port", from ASTER_ADDRESS or 127.0.0.1:50051; ``api_key`` from
    ASTER_API_KEY. ``tls`` is on when ``ca`` (PEM bytes or their file) is given. ``timeout``
    is the limit in seconds of one short call with its retries; chats have none.
    Making a client connects to nothing; the first call does.

    Every call raises AsterError. Cancelling a call cancels its RPC.
    """

    def __init__(
        self,
        address: str | None = None,
        api_key: str | None = None,
        *,
        tls: bool | None = None,
        ca: bytes | str | Path | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._transport = Transport(address, api_key, tls=tls, ca=ca, timeout=timeout)

    @property
    def address(self) -> str:
        """The server's address, "host:port"."""
        return self._transport.address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; running calls are cancelled and subscriptions end."""
        await self._transport.close()

    async def server_info(self) -> server_service_pb2.ServerInfo:
        """Facts about the server that answers."""
        request = server_service_pb2.GetServerInfoRequest()
        return (await self._transport.read(self._transport.server.GetServerInfo, request)).server

    # Agents.

    async def create_agent(
        self,
        template_id: str = "",
        *,
        agent_id: str = "",
        config: agent_pb2.AgentConfig | None = None,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
        **fields: Unpack[AgentFields],
    ) -> Agent:
        """Creates an agent from a template, fields by name, a whole config, or both (seeds 003 and 004, Create).

        Raises AlreadyExists for a taken id, NotFound for an unknown template.
        """
        request = agent_service_pb2.CreateAgentRequest(
            agent_id=agent_id,
            config=agent_config(template_id, config, **fields),
            display_name=display_name,
            labels=labels,
            request_id=request_id or new_request_id(),
        )
        method, limit = self._transport.agents.CreateAgent, self._transport.timeout
        response = await self._transport.call(method, request, timeout=limit, repeatable=True)
        return Agent(self._transport, response.agent.id, response.agent)

    def agent(self, agent_id: str) -> Agent:
        """A handle on an agent that exists; calls nobody."""
        return Agent(self._transport, agent_id)

    async def get_agent(self, agent_id: str) -> Agent:
        """A handle with the agent's description in ``info``; raises NotFound."""
        request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
        response = await self._transport.read(self._transport.agents.GetAgent, request)
        return Agent(self._transport, response.agent.id, response.agent)

    async def list_agents(
        self,
        *,
        states: Iterable[agent_pb2.AgentState] = (),
        template_id: str = "",
        id_prefix: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Agent]:
        """All agents by id, described in ``info``; asks for page after page."""
        request = agent_service_pb2.ListAgentsRequest(
            states=states, template_id=template_id, id_prefix=id_prefix, labels=labels
        )
        async for info in self._transport.pages(self._transport.agents.ListAgents, request, "agents"):
            yield Agent(self._transport, info.id, info)

    async def delete_agent(self, agent_id: str, *, force: bool = False, etag: str = "") -> None:
        """Deletes an agent with its sessions and events."""
        await self.agent(agent_id).delete(force=force, etag=etag)

    def subscribe(
        self, agent_ids: Iterable[str] = (), channels: Iterable[str] = (), **options: Unpack[SubscribeOptions]
    ) -> Subscription:
        """Events of many agents on one stream; no id means every agent the caller may see."""
        return open_subscription(self._transport, list(agent_ids), channels, options)

    # Decisions.

    def pending_approvals(
        self, *, agent_id: str = "", workflow_run_id: str = ""
    ) -> AsyncIterator[control_service_pb2.PendingRequest]:
        """Everything that waits for a person, oldest first: the inbox."""
        request = control_service_pb2.ListPendingApprovalsRequest(agent_id=agent_id, workflow_run_id=workflow_run_id)
        return self._transport.pages(self._transport.control.ListPendingApprovals, request, "pending")

    async def approve(
        self,
        pending: control_service_pb2.PendingRequest,
        allow: bool = True,
        *,
        note: str = "",
        edited_input: Mapping[str, Any] | str | None = None,
        scope: control_service_pb2.DecisionScope | None = None,
    ) -> control_service_pb2.PendingRequest:
        """Decides a request of the inbox, whatever its kind; bound to the input that it shows.

        Raises ValueError for a question, which takes an answer (``respond_to_input_request``).
        """
        agent = self.agent(pending.agent_id)
        match pending.WhichOneof("request"):
            case "tool_approval":
                digest = pending.tool_approval.input_digest
                return await agent.approve_tool_call(
                    pending.id, allow, note=note, edited_input=edited_input, scope=scope, input_digest=digest
                )
            case "iteration_limit":
                return await agent.respond_to_iteration_limit(pending.id, allow)
            case "workflow_approval":
                workflow = pending.workflow_approval.workflow_id
                return await self.respond_to_workflow_approval(
                    workflow, pending.workflow_run_id, pending.id, allow, note=note
                )
            case kind:
                raise ValueError(f"a {kind} is not decided by yes or no")

    async def respond_to_workflow_approval(
        self, workflow_id: str, run_id: str, pending_id: str, allow: bool, *, note: str = ""
    ) -> control_service_pb2.PendingRequest:
        """Answers an approval step of a workflow run; with ``allow`` the note is the step's output."""
        request = control_service_pb2.RespondToWorkflowApprovalRequest(
            workflow_id=workflow_id, run_id=run_id, pending_id=pending_id, decision=decision(allow), note=note
        )
        return (await self._transport.write(self._transport.control.RespondToWorkflowApproval, request)).pending

    # Sessions.

    async def create_session(
        self,
        agent_id: str,
        *,
        session_id: str = "",
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> session_service_pb2.Session:
        """Opens a conversation beside the agent's default one."""
        request = session_service_pb2.CreateSessionRequest(
            agent_id=agent_id,
            session_id=session_id,
            title=title,
            metadata=metadata,
            request_id=request_id or new_request_id(),
        )
        method, limit = self._transport.sessions.CreateSession, self._transport.timeout
        return (await self._transport.call(method, request, timeout=limit, repeatable=True)).session

    async def fork_session(
        self,
        session_id: str,
        *,
        message_id: str = "",
        new_session_id: str = "",
        title: str = "",
        request_id: str = "",
    ) -> session_service_pb2.Session:
        """Opens a session that begins with a copy of another one's history, up to ``message_id``."""
        request = session_service_pb2.ForkSessionRequest(
            session_id=session_id,
            message_id=message_id,
            new_session_id=new_session_id,
            title=title,
            request_id=request_id or new_request_id(),
        )
        method, limit = self._transport.sessions.ForkSession, self._transport.timeout
        return (await self._transport.call(method, request, timeout=limit, repeatable=True)).session

    async def get_session(self, session_id: str) -> session_service_pb2.Session:
        """One session; raises NotFound."""
        request = session_service_pb2.GetSessionRequest(session_id=session_id)
        return (await self._transport.read(self._transport.sessions.GetSession, request)).session

    def list_sessions(self, *, agent_id: str = "") -> AsyncIterator[session_service_pb2.Session]:
        """Sessions, last used first."""
        request = session_service_pb2.ListSessionsRequest(agent_id=agent_id)
        return self._transport.pages(self._transport.sessions.ListSessions, request, "sessions")

    async def delete_session(self, session_id: str) -> None:
        """Deletes a session with its messages; its events stay in the log."""
        request = session_service_pb2.DeleteSessionRequest(session_id=session_id)
        await self._transport.write(self._transport.sessions.DeleteSession, request)

    async def messages(self, session_id: str) -> AsyncIterator[MessageView]:
        """Messages of a session, oldest first."""
        request = session_service_pb2.ListMessagesRequest(session_id=session_id)
        async for message in self._transport.pages(self._transport.sessions.ListMessages, request, "messages"):
            yield MessageView(message)
