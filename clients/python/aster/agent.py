"""A handle on one agent: talk to it, watch it, decide for it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import grpc

from aster._requests import SubscribeOptions, answer, approval, channel_numbers, decision, subscribe_request
from aster._transport import Transport, new_request_id
from aster.results import AgentStatus, ChatResult, MessageView, SendResult
from aster.subscription import Position, Source, Subscription
from aster.v1 import (
    agent_pb2,
    agent_service_pb2,
    common_pb2,
    control_service_pb2,
    event_service_pb2,
    session_service_pb2,
)


class MessageOptions(TypedDict, total=False):
    """What may go with a message; fields of ChatRequest."""

    content: Iterable[common_pb2.ContentBlock]  # further parts, after the text
    session_id: str  # empty: the default session
    request_id: str  # idempotency key; made up when left out
    busy_policy: agent_pb2.BusyPolicy
    budget: common_pb2.Budget


class Agent:
    """One agent of the server, by id. Making a handle calls nobody; any number may exist.

    ``async with`` closes the *agent* at its end, for good (seed 003, ``defer ag.Close()``).
    Several calls at once are safe: an agent runs one turn at a time and queues the others.
    """

    def __init__(self, transport: Transport, agent_id: str, info: agent_pb2.Agent | None = None) -> None:
        self._transport = transport
        self.id = agent_id
        self.info = info  # as the server last described it; None where nobody asked

    def __repr__(self) -> str:
        return f"Agent({self.id!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Turns.

    async def chat(
        self,
        text: str,
        *,
        timeout: float | None = None,
        disconnect_policy: agent_pb2.DisconnectPolicy | None = None,
        **options: Unpack[MessageOptions],
    ) -> ChatResult:
        """Runs a turn and returns its end (seed 003, Chat).

        Waits as long as the turn takes, people included, unless ``timeout`` (seconds) says
        otherwise. Raises AsterError, also for a failed turn (``metadata["turn_id"]``);
        DeadlineExceeded after the timeout. Cancelling or a timeout interrupts the turn,
        unless ``disconnect_policy`` is CONTINUE.
        """
        request = agent_service_pb2.ChatRequest(disconnect_policy=disconnect_policy, **self._message(text, options))
        method = self._transport.agents.Chat
        return ChatResult(await self._transport.call(method, request, timeout=timeout, repeatable=True))

    async def send(self, text: str, **options: Unpack[MessageOptions]) -> SendResult:
        """Stores the message; the turn goes on by itself, whoever leaves (seed 003, Send)."""
        request = agent_service_pb2.SendRequest(**self._message(text, options))
        call, limit = self._transport.call, self._transport.timeout
        return SendResult(await call(self._transport.agents.Send, request, timeout=limit, repeatable=True))

    def stream(
        self,
        text: str,
        *,
        channels: Iterable[str] = (),
        disconnect_policy: agent_pb2.DisconnectPolicy | None = None,
        **options: Unpack[MessageOptions],
    ) -> Subscription:
        """Runs a turn and iterates over its events up to progress.complete (seed 003, Stream).

        A failed turn is in that last event, not an exception. When the server ends the
        stream early, it goes on by Subscribe. Leaving ``async with`` or cancelling
        interrupts the turn, unless ``disconnect_policy`` is CONTINUE.
        """
        wanted = channel_numbers(channels)
        request = agent_service_pb2.StreamRequest(
            channels=wanted, disconnect_policy=disconnect_policy, **self._message(text, options)
        )

        def resume(position: Position) -> "grpc.aio.UnaryStreamCall[Any, Any]":
            metadata = self._transport.metadata
            if not (position.turn_id and position.cursor):
                # Nothing of the turn was seen: the same request_id streams it from its beginning.
                return self._transport.agents.Stream(request, metadata=metadata)
            rest = event_service_pb2.SubscribeRequest(
                agent_id=self.id,
                turn_id=position.turn_id,
                cursor=position.cursor,
                channels=wanted,
                until_turn_complete=True,
            )
            return self._transport.events.Subscribe(rest, metadata=metadata)

        return Subscription(Source(resume, until_turn_complete=True, one_turn=True), Position())

    async def interrupt(self, turn_id: str = "", *, reason: str = "") -> agent_pb2.Turn:
        """Stops the current or the named turn and returns it when it has ended."""
        request = agent_service_pb2.InterruptRequest(agent_id=self.id, turn_id=turn_id, reason=reason)
        return (await self._transport.write(self._transport.agents.Interrupt, request)).turn

    async def turn(self, turn_id: str) -> agent_pb2.Turn:
        """One turn as it stands; the way to poll after ``send``."""
        request = agent_service_pb2.GetTurnRequest(agent_id=self.id, turn_id=turn_id)
        return (await self._transport.read(self._transport.agents.GetTurn, request)).turn

    def turns(self, *, session_id: str = "") -> AsyncIterator[agent_pb2.Turn]:
        """All turns, newest first, without their replies."""
        request = agent_service_pb2.ListTurnsRequest(agent_id=self.id, session_id=session_id)
        return self._transport.pages(self._transport.agents.ListTurns, request, "turns")

    async def send_system_message(self, text: str, *, session_id: str = "", request_id: str = "") -> str:
        """Adds a system message without starting a turn; returns its id (seed 004, SendSystemMessage)."""
        request = agent_service_pb2.SendSystemMessageRequest(
            agent_id=self.id, text=text, session_id=session_id, request_id=request_id or new_request_id()
        )
        method, limit = self._transport.agents.SendSystemMessage, self._transport.timeout
        return (await self._transport.call(method, request, timeout=limit, repeatable=True)).message_id

    async def messages(self, session_id: str = "") -> AsyncIterator[MessageView]:
        """Messages of a session, oldest first; without an id of the session last used."""
        session_id = session_id or (await self.status()).message.session_id
        if not session_id:  # no turn yet, so nothing was said
            return
        request = session_service_pb2.ListMessagesRequest(session_id=session_id)
        async for message in self._transport.pages(self._transport.sessions.ListMessages, request, "messages"):
            yield MessageView(message)

    # Events.

    def subscribe(self, channels: Iterable[str] = (), **options: Unpack[SubscribeOptions]) -> Subscription:
        """Events of this agent; no channel means all three (seeds 001 and 003, Subscribe)."""
        return open_subscription(self._transport, [self.id], channels, options)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; the same as its ``close`` (seed 003, Unsubscribe)."""
        await subscription.close()

    # Life cycle.

    async def start(self) -> None:
        """Loads or wakes the agent now; the first message does it too (seed 004, Start)."""
        request = agent_service_pb2.StartAgentRequest(agent_id=self.id)
        self.info = (await self._transport.write(self._transport.agents.StartAgent, request)).agent

    async def close(self) -> None:
        """Interrupts the current turn and closes the agent for good; history stays (seed 004, Close)."""
        request = agent_service_pb2.CloseAgentRequest(agent_id=self.id)
        self.info = (await self._transport.write(self._transport.agents.CloseAgent, request)).agent

    async def delete(self, *, force: bool = False, etag: str = "") -> None:
        """Deletes the agent with its sessions and events; ``force`` also while a turn runs."""
        request = agent_service_pb2.DeleteAgentRequest(agent_id=self.id, force=force, etag=etag)
        await self._transport.write(self._transport.agents.DeleteAgent, request)

    async def status(self) -> AgentStatus:
        """State and counters; does not wake the agent (seed 003, Status)."""
        request = agent_service_pb2.GetStatusRequest(agent_id=self.id)
        return AgentStatus((await self._transport.read(self._transport.agents.GetStatus, request)).status)

    async def get_state(self) -> str:
        """The life cycle state: ``== AgentState.RUNNING`` (seed 004, GetState)."""
        return (await self.status()).state

    # Decisions.

    async def approve_tool_call(
        self,
        pending_id: str,
        allow: bool,
        *,
        note: str = "",
        edited_input: Mapping[str, Any] | str | None = None,
        scope: control_service_pb2.DecisionScope | None = None,
        input_digest: str = "",
    ) -> control_service_pb2.PendingRequest:
        """Allows or denies one tool call (seed 001, ``ag.ApproveToolCall(envelope.ID, true)``).

        ``edited_input`` is run instead; ``input_digest``, the one that was shown, must then
        still be that of the call. Raises FailedPrecondition, REQUEST_ALREADY_RESOLVED, when
        somebody decided otherwise; the same decision twice is fine.
        """
        request = approval(
            self.id, pending_id, allow, note=note, edited_input=edited_input, scope=scope, input_digest=input_digest
        )
        return (await self._transport.write(self._transport.control.ApproveToolCall, request)).pending

    async def respond_to_input_request(
        self, pending_id: str, value: str | int | Iterable[int] | None
    ) -> control_service_pb2.PendingRequest:
        """Answers a question: a text, option indexes from 0, or None for no answer (seed 001)."""
        request = answer(self.id, pending_id, value)
        return (await self._transport.write(self._transport.control.RespondToInputRequest, request)).pending

    async def respond_to_iteration_limit(
        self, pending_id: str, allow: bool, *, additional_steps: int = 0
    ) -> control_service_pb2.PendingRequest:
        """Lets a turn go on past its iteration limit, or ends it."""
        request = control_service_pb2.RespondToIterationLimitRequest(
            agent_id=self.id, pending_id=pending_id, decision=decision(allow), additional_steps=additional_steps
        )
        return (await self._transport.write(self._transport.control.RespondToIterationLimit, request)).pending

    async def tool_call(self, call_id: str) -> control_service_pb2.ToolCallRecord:
        """One tool call with its whole result, up to 16 MiB, which events may shorten."""
        request = control_service_pb2.GetToolCallRequest(agent_id=self.id, call_id=call_id)
        record = (await self._transport.read(self._transport.control.GetToolCall, request)).tool_call
        parts = [record.result.output_json]
        part = record
        while part.next_output_offset:
            request.output_offset = part.next_output_offset
            part = (await self._transport.read(self._transport.control.GetToolCall, request)).tool_call
            parts.append(part.result.output_json)
        if len(parts) > 1:
            record.result.output_json = "".join(parts)
            record.next_output_offset = 0
        return record

    def _message(self, text: str, options: MessageOptions) -> dict[str, Any]:
        fields = {"agent_id": self.id, "message": text, **options}
        fields["request_id"] = options.get("request_id") or new_request_id()
        return fields


def open_subscription(
    transport: Transport, agent_ids: Sequence[str], channels: Iterable[str], options: SubscribeOptions
) -> Subscription:
    """A subscription that resumes from its cursor; opens at its first read or ``async with``."""
    request = subscribe_request(agent_ids, channels, **options)

    def resume(position: Position) -> "grpc.aio.UnaryStreamCall[Any, Any]":
        again = event_service_pb2.SubscribeRequest()
        again.CopyFrom(request)
        if position.cursor:
            again.cursor = position.cursor
        elif position.after_sequence is not None:
            again.after_sequence = position.after_sequence
        return transport.events.Subscribe(again, metadata=transport.metadata)

    # Only where one agent is named does `started` carry a sequence to go on from.
    from_now = bool(request.agent_id) and (
        request.WhichOneof("start_from") is None or request.position == event_service_pb2.START_POSITION_NOW
    )
    source = Source(resume, until_turn_complete=request.until_turn_complete, from_now=from_now)
    return Subscription(source, Position(cursor=request.cursor, turn_id=request.turn_id))
