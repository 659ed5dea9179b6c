"""A small Aster server for the tests of the client: real gRPC, answers from lists, faults on demand.

It does one thing with a message: it answers "echo: <text>", after a tool call that waits
for an approval when the text begins with "write"; "fail" fails.
"""

# ruff: noqa: N802  # the generated base classes name the methods

import asyncio
import hashlib
from collections import defaultdict, deque
from typing import Any

import grpc
from clients.python.fake_log import NOW, EventLog, Fault
from google.protobuf import duration_pb2

from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    common_pb2,
    control_service_pb2,
    control_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
)


class FakeAster(
    EventLog,
    agent_service_pb2_grpc.AgentServiceServicer,
    event_service_pb2_grpc.EventServiceServicer,
    control_service_pb2_grpc.ControlServiceServicer,
    session_service_pb2_grpc.SessionServiceServicer,
    server_service_pb2_grpc.ServerServiceServicer,
):
    """The server; its fields are the handles of the tests."""

    def __init__(self) -> None:
        super().__init__()
        self.address = ""
        self.agents: dict[str, agent_pb2.Agent] = {}
        self.turns: dict[str, agent_pb2.Turn] = {}  # by id
        self.pending: dict[str, control_service_pb2.PendingRequest] = {}
        self.messages: dict[str, list[common_pb2.Message]] = defaultdict(list)  # by session
        self.outputs: dict[str, list[str]] = {}  # parts of a tool's output, by call id
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)  # of the next calls, by RPC
        self.calls: list[tuple[str, Any]] = []  # every request, in order
        self.cancelled: list[str] = []  # RPCs whose callers went away
        self.authorization: list[str] = []
        self.key = ""  # if set, what every call must bring
        self._by_request: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> None:
        server = self._server = grpc.aio.server()
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(self, server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(self, server)
        control_service_pb2_grpc.add_ControlServiceServicer_to_server(self, server)
        session_service_pb2_grpc.add_SessionServiceServicer_to_server(self, server)
        server_service_pb2_grpc.add_ServerServiceServicer_to_server(self, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        await server.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        assert self._server is not None
        await self._server.stop(None)

    def requests(self, rpc: str) -> list[Any]:
        """The requests of one RPC, in order."""
        return [request for name, request in self.calls if name == rpc]

    async def _enter(self, rpc: str, request: Any, context: grpc.aio.ServicerContext) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        self.calls.append((rpc, copy))
        await self.tell()
        key = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
        self.authorization.append(key)
        if self.key and key != f"Bearer {self.key}":
            await Fault(grpc.StatusCode.UNAUTHENTICATED, "INVALID_CREDENTIALS", "no valid key").abort(context)
        if self.faults[rpc]:
            await self.faults[rpc].popleft().abort(context)
        agent_id = getattr(request, "agent_id", "")
        if agent_id and rpc != "CreateAgent" and agent_id not in self.agents:
            fault = Fault(grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "no such agent", {"agent_id": agent_id})
            await fault.abort(context)

    # AgentService.

    def add_agent(self, agent_id: str) -> None:
        self.agents[agent_id] = agent_pb2.Agent(
            id=agent_id, status={"state": agent_pb2.AGENT_STATE_CREATED, "activity": agent_pb2.AGENT_ACTIVITY_IDLE}
        )

    async def CreateAgent(self, request: Any, context: Any) -> Any:
        await self._enter("CreateAgent", request, context)
        agent_id = self._by_request.get(request.request_id) or request.agent_id or f"agt_{len(self.agents)}"
        if agent_id in self.agents and request.request_id not in self._by_request:
            await Fault(grpc.StatusCode.ALREADY_EXISTS, "AGENT_ALREADY_EXISTS", "taken").abort(context)
        self._by_request[request.request_id] = agent_id
        self.add_agent(agent_id)
        self.agents[agent_id].config.CopyFrom(request.config)
        return agent_service_pb2.CreateAgentResponse(agent=self.agents[agent_id])

    async def GetAgent(self, request: Any, context: Any) -> Any:
        await self._enter("GetAgent", request, context)
        return agent_service_pb2.GetAgentResponse(agent=self.agents[request.agent_id])

    async def ListAgents(self, request: Any, context: Any) -> Any:
        await self._enter("ListAgents", request, context)
        ids = sorted(self.agents)
        begin = int(request.page_token or 0)
        page = [self.agents[agent_id] for agent_id in ids[begin : begin + 2]]
        token = str(begin + 2) if begin + 2 < len(ids) else ""
        return agent_service_pb2.ListAgentsResponse(agents=page, next_page_token=token)

    async def DeleteAgent(self, request: Any, context: Any) -> Any:
        await self._enter("DeleteAgent", request, context)
        del self.agents[request.agent_id]
        return agent_service_pb2.DeleteAgentResponse()

    async def StartAgent(self, request: Any, context: Any) -> Any:
        await self._enter("StartAgent", request, context)
        self.agents[request.agent_id].status.state = agent_pb2.AGENT_STATE_STARTED
        return agent_service_pb2.StartAgentResponse(agent=self.agents[request.agent_id])

    async def CloseAgent(self, request: Any, context: Any) -> Any:
        await self._enter("CloseAgent", request, context)
        self.agents[request.agent_id].status.state = agent_pb2.AGENT_STATE_CLOSED
        return agent_service_pb2.CloseAgentResponse(agent=self.agents[request.agent_id])

    async def GetStatus(self, request: Any, context: Any) -> Any:
        await self._enter("GetStatus", request, context)
        return agent_service_pb2.GetStatusResponse(status=self.agents[request.agent_id].status)

    async def GetTurn(self, request: Any, context: Any) -> Any:
        await self._enter("GetTurn", request, context)
        return agent_service_pb2.GetTurnResponse(turn=self.turns[request.turn_id])

    async def ListTurns(self, request: Any, context: Any) -> Any:
        await self._enter("ListTurns", request, context)
        turns = [turn for turn in self.turns.values() if turn.agent_id == request.agent_id]
        return agent_service_pb2.ListTurnsResponse(turns=turns[::-1])

    async def Interrupt(self, request: Any, context: Any) -> Any:
        await self._enter("Interrupt", request, context)
        turn = self.turns[request.turn_id or list(self.turns)[-1]]
        turn.state = agent_pb2.TURN_STATE_INTERRUPTED
        return agent_service_pb2.InterruptResponse(turn=turn)

    async def SendSystemMessage(self, request: Any, context: Any) -> Any:
        await self._enter("SendSystemMessage", request, context)
        return agent_service_pb2.SendSystemMessageResponse(message_id="msg_1")

    async def Chat(self, request: Any, context: Any) -> Any:
        await self._enter("Chat", request, context)
        turn = self._turn(request)
        try:
            await self.until(lambda: turn.state >= agent_pb2.TURN_STATE_COMPLETED)
        except asyncio.CancelledError:
            self.cancelled.append("Chat")
            await self.tell()
            raise
        return agent_service_pb2.ChatResponse(turn=turn, text=turn.reply.content[0].text)

    async def Send(self, request: Any, context: Any) -> Any:
        await self._enter("Send", request, context)
        cursor = f"g{len(self.log)}"
        return agent_service_pb2.SendResponse(turn=self._turn(request), cursor=cursor)

    async def Stream(self, request: Any, context: Any) -> Any:
        await self._enter("Stream", request, context)
        turn = self._turn(request)
        wanted = event_service_pb2.SubscribeRequest(
            agent_id=request.agent_id,
            turn_id=turn.id,
            channels=request.channels,
            position=event_service_pb2.START_POSITION_EARLIEST,
            until_turn_complete=True,
        )
        async for frames in self.frames(wanted, context):
            yield agent_service_pb2.StreamResponse(frames=frames)

    def _turn(self, request: Any) -> agent_pb2.Turn:
        """The turn of a message, begun now unless the request_id is known."""
        turn_id = self._by_request.get(request.request_id, f"trn_{len(self.turns) + 1}")
        if turn_id in self.turns:
            return self.turns[turn_id]
        self._by_request[request.request_id] = turn_id
        session = request.session_id or f"ses_{request.agent_id}"
        turn = self.turns[turn_id] = agent_pb2.Turn(
            id=turn_id, agent_id=request.agent_id, session_id=session, state=agent_pb2.TURN_STATE_RUNNING
        )
        self.agents[request.agent_id].status.session_id = session
        task = asyncio.create_task(self._run(turn, request.message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return turn

    async def _run(self, turn: agent_pb2.Turn, text: str) -> None:
        agent, turn_id = turn.agent_id, turn.id
        if text.startswith("write"):
            await self._tool(agent, turn_id)
        reply = f"echo: {text}"
        await self.texts(agent, "echo: ", text, turn_id=turn_id)
        await self.emit(agent, "progress.text_done", event_pb2.TextDone(text=reply), turn_id)
        usage = common_pb2.TokenUsage(input_tokens=3, output_tokens=4, total_tokens=7)
        failed = text == "fail"
        turn.stop_reason = agent_pb2.STOP_REASON_ERROR if failed else agent_pb2.STOP_REASON_END_TURN
        turn.usage.CopyFrom(usage)
        turn.reply.CopyFrom(common_pb2.Message(id="msg_2", role=common_pb2.ROLE_ASSISTANT, content=[{"text": reply}]))
        self.messages[turn.session_id] += [
            common_pb2.Message(role=common_pb2.ROLE_USER, content=[{"text": text}]),
            turn.reply,
        ]
        turn.state = agent_pb2.TURN_STATE_FAILED if failed else agent_pb2.TURN_STATE_COMPLETED
        complete = event_pb2.TurnComplete(final_text=reply, stop_reason=turn.stop_reason, usage=usage, state=turn.state)
        if failed:
            fault = Fault(grpc.StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE", "the provider failed")
            complete.error.CopyFrom(fault.status())
        await self.emit(agent, "progress.complete", complete, turn_id)

    async def _tool(self, agent: str, turn_id: str) -> None:
        call = common_pb2.ToolCall(id="toolu_1", name="Write", input_json='{"path": "/hello.txt"}')
        digest = hashlib.sha256(call.input_json.encode()).hexdigest()
        asked = event_pb2.ToolApprovalRequest(call=call, reason="it writes", input_digest=digest)
        event = self.store(agent, "control.tool_approval_request", asked, turn_id)
        event.control.tool_approval_request.pending_id = event.id
        row = self.pending[event.id] = control_service_pb2.PendingRequest(
            id=event.id, agent_id=agent, turn_id=turn_id, create_time=NOW
        )
        row.tool_approval.CopyFrom(event.control.tool_approval_request)
        await self.tell()
        await self.until(lambda: row.HasField("resolution"))
        await self.emit(agent, "control.request_resolved", row.resolution, turn_id)
        if row.resolution.outcome == event_pb2.RESOLUTION_OUTCOME_ALLOWED:
            call.input_json = row.resolution.edited_input_json or call.input_json
            await self.emit(agent, "progress.tool_start", event_pb2.ToolStart(call=call), turn_id)
            result = common_pb2.ToolResult(call_id=call.id, name=call.name, output_json='{"ok": true}')
            took, state = duration_pb2.Duration(nanos=12_000_000), common_pb2.TOOL_CALL_STATE_COMPLETED
            end = event_pb2.ToolEnd(result=result, duration=took, state=state)
            await self.emit(agent, "progress.tool_end", end, turn_id)

    # EventService.

    async def Subscribe(self, request: Any, context: Any) -> Any:
        await self._enter("Subscribe", request, context)
        async for frames in self.frames(request, context):
            yield event_service_pb2.SubscribeResponse(frames=frames)

    # ControlService, SessionService, ServerService.

    async def ApproveToolCall(self, request: Any, context: Any) -> Any:
        await self._enter("ApproveToolCall", request, context)
        row = self.pending[request.pending_id]
        allowed = request.decision == control_service_pb2.DECISION_ALLOW
        outcome = event_pb2.RESOLUTION_OUTCOME_ALLOWED if allowed else event_pb2.RESOLUTION_OUTCOME_DENIED
        if row.HasField("resolution") and row.resolution.outcome != outcome:
            fault = Fault(
                grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ALREADY_RESOLVED", "decided", {"decided_by": "ann"}
            )
            await fault.abort(context)
        row.resolution.CopyFrom(event_pb2.RequestResolved(pending_id=row.id, outcome=outcome, note=request.note))
        row.resolution.edited_input_json = request.edited_input_json
        await self.tell()
        return control_service_pb2.ApproveToolCallResponse(pending=row)

    async def RespondToInputRequest(self, request: Any, context: Any) -> Any:
        await self._enter("RespondToInputRequest", request, context)
        return control_service_pb2.RespondToInputRequestResponse(pending={"id": request.pending_id})

    async def RespondToIterationLimit(self, request: Any, context: Any) -> Any:
        await self._enter("RespondToIterationLimit", request, context)
        return control_service_pb2.RespondToIterationLimitResponse(pending={"id": request.pending_id})

    async def RespondToWorkflowApproval(self, request: Any, context: Any) -> Any:
        await self._enter("RespondToWorkflowApproval", request, context)
        return control_service_pb2.RespondToWorkflowApprovalResponse(pending={"id": request.pending_id})

    async def ListPendingApprovals(self, request: Any, context: Any) -> Any:
        await self._enter("ListPendingApprovals", request, context)
        rows = [row for row in self.pending.values() if not row.HasField("resolution")]
        return control_service_pb2.ListPendingApprovalsResponse(pending=rows)

    async def GetToolCall(self, request: Any, context: Any) -> Any:
        await self._enter("GetToolCall", request, context)
        parts = self.outputs[request.call_id]
        record = control_service_pb2.ToolCallRecord(call={"id": request.call_id, "name": "Bash"})
        record.result.output_json = parts[request.output_offset]
        record.next_output_offset = (request.output_offset + 1) % len(parts)
        return control_service_pb2.GetToolCallResponse(tool_call=record)

    async def CreateSession(self, request: Any, context: Any) -> Any:
        await self._enter("CreateSession", request, context)
        session = session_service_pb2.Session(id=request.session_id, agent_id=request.agent_id, title=request.title)
        return session_service_pb2.CreateSessionResponse(session=session)

    async def ListSessions(self, request: Any, context: Any) -> Any:
        await self._enter("ListSessions", request, context)
        sessions = [session_service_pb2.Session(id=key, message_count=len(rows)) for key, rows in self.messages.items()]
        return session_service_pb2.ListSessionsResponse(sessions=sessions, total_size=len(sessions))

    async def ListMessages(self, request: Any, context: Any) -> Any:
        await self._enter("ListMessages", request, context)
        rows = self.messages[request.session_id]
        begin = int(request.page_token or 0)
        token = str(begin + 1) if begin + 1 < len(rows) else ""
        return session_service_pb2.ListMessagesResponse(messages=rows[begin : begin + 1], next_page_token=token)

    async def GetServerInfo(self, request: Any, context: Any) -> Any:
        await self._enter("GetServerInfo", request, context)
        return server_service_pb2.GetServerInfoResponse(server={"name": "fake", "version": "0"})
