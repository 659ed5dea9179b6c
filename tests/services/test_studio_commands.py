"""What people ask of remote agents: relayed to programs that take commands, refused elsewhere."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from services.helpers import LIMIT, Server, refused
from services.programs import Program, complete, dialled_in, logged, text, view

from aster.v1 import agent_pb2, event_pb2
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import control_service_pb2 as control
from aster.v1 import session_service_pb2 as sessions
from aster.v1 import studio_service_pb2 as pb

pytestmark = pytest.mark.anyio
Answer = Callable[[pb.ConnectCommand], list[event_pb2.Event] | status_pb2.Status]


class Worker:
    """A program that answers every command at once: with events, or with a refusal."""

    def __init__(self, program: Program, agent_id: str, answer: Answer) -> None:
        self.program = program
        self.agent_id = agent_id
        self.commands: list[pb.ConnectCommand] = []
        self._answer = answer

    async def run(self) -> None:
        while (said := await self.program.call.read()) is not grpc.aio.EOF:
            if not said.HasField("command"):
                continue
            self.commands.append(said.command)
            answer = self._answer(said.command)
            failed = answer if isinstance(answer, status_pb2.Status) else None
            request = pb.ConnectAgentsRequest(
                correlation_id=said.correlation_id, command_result=pb.ConnectCommandResult(error=failed)
            )
            await self.program.call.write(request)
            if isinstance(answer, list) and answer:
                batch = pb.ConnectEvents(agent_id=self.agent_id, events=answer)
                await self.program.call.write(pb.ConnectAgentsRequest(events=batch))


@contextlib.asynccontextmanager
async def working(server: Server, agent_id: str, answer: Answer) -> AsyncIterator[Worker]:
    async with dialled_in(server.channel) as program:
        await program.register(agent_id, accepts_commands=True)
        worker = Worker(program, agent_id, answer)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def echo(command: pb.ConnectCommand) -> list[event_pb2.Event]:
    """A turn that repeats what was said."""
    turn_id = command.chat.turn_id
    return [text(command.chat.message, turn_id=turn_id), complete(turn_id)]


# -- turns ---------------------------------------------------------------------------------


async def test_chat_waits_for_the_end_of_the_turn(server: Server) -> None:
    async with working(server, "chats", echo) as worker:
        answer = await server.agents.Chat(agents.ChatRequest(agent_id="chats", message="hello", session_id="s9"))
        assert (answer.text, answer.turn.state) == ("hello", agent_pb2.TURN_STATE_COMPLETED)
        assert worker.commands[0].chat.session_id == "s9"
        got = await server.agents.GetTurn(agents.GetTurnRequest(agent_id="chats", turn_id=answer.turn.id))
        assert got.turn.reply == answer.turn.reply


async def test_stream_shows_the_events_of_the_turn(server: Server) -> None:
    async with working(server, "streams", echo):
        seen = []
        async with asyncio.timeout(LIMIT):
            async for response in server.agents.Stream(agents.StreamRequest(agent_id="streams", message="hi")):
                seen += [frame.event.event_type for frame in response.frames if frame.HasField("event")]
        assert seen == ["progress.text_chunk", "progress.complete"]


async def test_send_returns_at_once_and_the_turn_ends_by_itself(server: Server) -> None:
    async with working(server, "sends", lambda _: []) as worker:
        sent = await server.agents.Send(agents.SendRequest(agent_id="sends", message="x", request_id="send-once"))
        assert sent.turn.state == agent_pb2.TURN_STATE_RUNNING
        again = await server.agents.Send(agents.SendRequest(agent_id="sends", message="x", request_id="send-once"))
        assert again.turn.id == sent.turn.id
        assert len(worker.commands) == 1
        other = server.agents.Send(agents.SendRequest(agent_id="sends", message="y", request_id="send-once"))
        await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED", "ResourceInfo")


async def test_a_failed_turn_is_a_failed_chat(server: Server) -> None:
    def fail(command: pb.ConnectCommand) -> list[event_pb2.Event]:
        error = status_pb2.Status(code=8, message="out of tokens")
        return [complete(command.chat.turn_id, state="TURN_STATE_FAILED", error=error)]

    async with working(server, "fails", fail):
        chat = server.agents.Chat(agents.ChatRequest(agent_id="fails", message="x"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await chat
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failed.value.details() == "out of tokens"


async def test_a_refused_command_says_so(server: Server) -> None:
    async with working(server, "refuses", lambda _: status_pb2.Status(code=2, message="busy")):
        chat = server.agents.Chat(agents.ChatRequest(agent_id="refuses", message="x"))
        refusal = await refused(chat, "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")
        assert refusal.text == "the remote agent refused: busy"


async def test_a_caller_who_leaves_interrupts_the_turn(server: Server) -> None:
    async with working(server, "left", lambda _: []) as worker:
        chat = server.agents.Chat(agents.ChatRequest(agent_id="left", message="x"))
        while not worker.commands:
            await asyncio.sleep(0.01)
        while worker.commands[0].chat.turn_id not in server.registry.remotes.link("default", "left").turns:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        chat.cancel()
        async with asyncio.timeout(LIMIT):
            while len(worker.commands) < 2:
                await asyncio.sleep(0.01)
        assert worker.commands[1].interrupt.turn_id == worker.commands[0].chat.turn_id


async def test_interrupt_reaches_the_program(server: Server) -> None:
    async with working(server, "stops", lambda _: []) as worker:
        sent = await server.agents.Send(agents.SendRequest(agent_id="stops", message="x"))
        request = agents.InterruptRequest(agent_id="stops", turn_id=sent.turn.id, reason="enough")
        assert (await server.agents.Interrupt(request)).turn.id == sent.turn.id
        assert worker.commands[1].interrupt == pb.ConnectInterrupt(turn_id=sent.turn.id, reason="enough")


async def test_a_program_that_goes_away_fails_the_chat(server: Server) -> None:
    async with working(server, "gone", lambda _: []) as worker:
        chat = asyncio.create_task(refused(
            server.agents.Chat(agents.ChatRequest(agent_id="gone", message="x")), "UNAVAILABLE",
            "REMOTE_AGENT_OFFLINE", "RetryInfo",
        ))  # fmt: skip
        while not worker.commands:
            await asyncio.sleep(0.01)
        worker.program.call.cancel()
        await chat


# -- decisions -----------------------------------------------------------------------------


def asking(**asked: Any) -> event_pb2.Event:
    return event_pb2.Event(control=event_pb2.ControlEvent(**asked))


async def test_an_approval_is_listed_decided_and_told_to_the_program(server: Server) -> None:
    async with working(server, "asks", lambda _: []) as worker:
        request = event_pb2.ToolApprovalRequest(pending_id="own-1", call={"id": "c1", "name": "Write"}, reason="?")
        batch = pb.ConnectEvents(agent_id="asks", events=[asking(tool_approval_request=request)])
        await worker.program.call.write(pb.ConnectAgentsRequest(events=batch))
        raised = await server.seen("asks", "control.tool_approval_request")
        assert raised.control.tool_approval_request.pending_id == raised.id
        listing = control.ListPendingApprovalsRequest(agent_id="asks")
        (pending,) = (await server.control.ListPendingApprovals(listing)).pending
        assert (pending.id, pending.tool_approval.call.id) == (raised.id, "c1")
        decision = control.ApproveToolCallRequest(
            agent_id="asks", pending_id=raised.id, decision=control.DECISION_DENY, note="no"
        )
        decided = (await server.control.ApproveToolCall(decision)).pending
        assert decided.resolution.outcome == event_pb2.RESOLUTION_OUTCOME_DENIED
        told = worker.commands[0].resolved
        assert (told.pending_id, told.outcome, told.note) == ("own-1", event_pb2.RESOLUTION_OUTCOME_DENIED, "no")
        assert (await server.seen("asks", "control.request_resolved")).control.request_resolved.pending_id == raised.id
        assert not (await server.control.ListPendingApprovals(listing)).pending
        await refused(
            server.control.ApproveToolCall(decision), "NOT_FOUND", "PENDING_REQUEST_NOT_FOUND", "ResourceInfo"
        )


async def test_a_question_is_answered_with_the_words_of_its_options(server: Server) -> None:
    async with working(server, "quiz", lambda _: []) as worker:
        question = event_pb2.UserInputRequest(pending_id="q", prompt="which?", options=[{"label": "a"}, {"label": "b"}])
        batch = pb.ConnectEvents(agent_id="quiz", events=[asking(user_input_request=question)])
        await worker.program.call.write(pb.ConnectAgentsRequest(events=batch))
        await server.seen("quiz", "control.user_input_request")
        answer = control.RespondToInputRequestRequest(agent_id="quiz", pending_id="q", option_indexes=[1])
        await server.control.RespondToInputRequest(answer)
        assert worker.commands[0].resolved.answer == "b"


async def test_a_request_that_its_program_resolves_is_closed(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("self", instance_id="i")
        limit = event_pb2.IterationLimitReached(pending_id="own", current_step=5)
        await program.report("self", asking(iteration_limit=limit), first=1)
        listing = control.ListPendingApprovalsRequest(agent_id="self")
        (pending,) = (await server.control.ListPendingApprovals(listing)).pending
        await program.hang_up()
    async with dialled_in(server.channel) as program:
        await program.register("self", instance_id="i")
        resolved = event_pb2.RequestResolved(pending_id="own", outcome="RESOLUTION_OUTCOME_ALLOWED")
        await program.report("self", asking(request_resolved=resolved), first=2)
        assert not (await server.control.ListPendingApprovals(listing)).pending
        (event,) = await logged(server, "self", "request_resolved")
        assert event.control.request_resolved.pending_id == pending.id


async def test_what_nobody_will_answer_is_withdrawn(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("drops")
        await program.report("drops", asking(user_input_request=event_pb2.UserInputRequest(prompt="?")))
        await program.send(unregister=pb.ConnectUnregister(agent_id="drops"))
        assert (await program.ask(ping=pb.ConnectPing())).HasField("pong")
        assert not (
            await server.control.ListPendingApprovals(control.ListPendingApprovalsRequest(agent_id="drops"))
        ).pending


# -- not for remote agents -------------------------------------------------------------------


async def test_who_only_reports_cannot_be_told_anything(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("reports")
        for call in (
            server.agents.Chat(agents.ChatRequest(agent_id="reports", message="x")),
            server.agents.Send(agents.SendRequest(agent_id="reports", message="x")),
            server.agents.Stream(agents.StreamRequest(agent_id="reports", message="x")),
            server.agents.Interrupt(agents.InterruptRequest(agent_id="reports")),
            server.agents.StartAgent(agents.StartAgentRequest(agent_id="reports")),
            server.agents.CloseAgent(agents.CloseAgentRequest(agent_id="reports")),
            server.sessions.CreateSession(sessions.CreateSessionRequest(agent_id="reports")),
            server.control.ApproveToolCall(
                control.ApproveToolCallRequest(agent_id="reports", pending_id="x", decision=control.DECISION_ALLOW)
            ),
        ):
            await refused(call, "FAILED_PRECONDITION", "REMOTE_AGENT_READ_ONLY", "PreconditionFailure")


async def test_who_is_not_connected_cannot_be_told_anything_now(server: Server) -> None:
    async with working(server, "away", echo) as worker:
        await worker.program.call.done_writing()
        async with asyncio.timeout(LIMIT):
            while (await view(server, "away")).remote.connected:
                await asyncio.sleep(0.01)
    chat = server.agents.Chat(agents.ChatRequest(agent_id="away", message="x"))
    await refused(chat, "UNAVAILABLE", "REMOTE_AGENT_OFFLINE", "RetryInfo")


async def test_a_remote_agent_is_deleted_when_it_is_not_connected(server: Server) -> None:
    async with dialled_in(server.channel) as program:
        await program.register("bye")
        delete = agents.DeleteAgentRequest(agent_id="bye", force=True)
        await refused(server.agents.DeleteAgent(delete), "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")
        await program.hang_up()
    await server.agents.DeleteAgent(delete)
    await refused(
        server.agents.GetAgent(agents.GetAgentRequest(agent_id="bye")), "NOT_FOUND", "AGENT_NOT_FOUND", "ResourceInfo"
    )
