"""What the steps of one turn share."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from aster.v1 import agent_pb2, common_pb2, event_pb2, session_service_pb2
from asteros.events.catalogue import Stamp
from asteros.events.log import Written
from asteros.middleware.onion import Onion
from asteros.providers.base import ToolSpec
from asteros.runtime.approvals import Approvals
from asteros.runtime.conversations import Conversation
from asteros.runtime.dependencies import Dependencies, Shared
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.permissions import Hook, Permissions
from asteros.sandbox.files import Workspace
from asteros.stores.base import PutSession, PutTurn, Row, TurnRow
from asteros.tools.base import Commands, Tasks, Tool


class Helpers(Protocol):
    """The delegated turns of the agent; see ``delegation.Delegations``."""

    def of(self, parent: "TurnContext", call_id: str) -> Tasks: ...

    async def resume(self, parent: "TurnContext") -> None: ...

    async def finish(self, parent: "TurnContext") -> None: ...


@dataclass(slots=True)
class TurnContext:
    """One turn in progress. ``turn`` and ``conversation`` are changed here and stored by the rows."""

    deps: Dependencies
    config: agent_pb2.AgentConfig
    journal: Journal
    approvals: Approvals
    lifecycle: Lifecycle
    permissions: Permissions
    tools: Mapping[str, Tool]  # by folded name
    specs: Sequence[ToolSpec]  # the same, as the model sees them
    workspace: Workspace
    commands: Commands
    workspace_name: str
    row: TurnRow
    turn: agent_pb2.Turn
    conversation: Conversation
    stamp: Stamp
    onion: Onion  # the agent's middlewares
    start: Callable[[], Awaitable[None]]  # tells them that the agent is in memory; again is nothing
    helpers: Helpers
    parent: "TurnContext | None" = None  # of the turn that delegated this one
    delegated: list[str] = field(default_factory=list)  # ids of the turns it has delegated
    shared: Shared | None = None  # what the run of a Star has used that this turn is a part of
    hook: Hook | None = None  # rule 3 of the permission check
    partial_text: list[str] = field(default_factory=list)  # of the model step in progress
    answering: bool = False  # the model has begun to answer: from here on a failure is final

    @property
    def root(self) -> "TurnContext":
        """The turn that somebody asked for: this one, or that which delegated it."""
        return self.parent.root if self.parent is not None else self

    @property
    def session(self) -> session_service_pb2.Session:
        return self.conversation.session

    @property
    def history(self) -> list[common_pb2.Message]:
        return self.conversation.history

    def events(self, *payloads: Message) -> list[event_pb2.Event]:
        """Events of this turn's present step."""
        return [self.stamp.event(payload) for payload in payloads]

    def post(self, *payloads: Message, rows: tuple[Row, ...] = ()) -> Written:
        """Puts events of this turn in line."""
        return self.journal.post(self.events(*payloads), rows, self.stamp.scope)

    def say(self, message: common_pb2.Message) -> list[Row]:
        """Adds a message of this turn to the conversation; the rows store it."""
        message.turn_id = message.turn_id or self.turn.id
        return self.conversation.say(message, self.lifecycle)

    def count(self, usage: common_pb2.TokenUsage, cost: float) -> None:
        """Adds a model call to what the turn, the session and the agent have used."""
        if self.conversation.asked_bytes and usage.input_tokens:
            rate = self.conversation.asked_bytes / usage.input_tokens
            self.conversation.bytes_per_token = min(max(rate, 1.0), 8.0)
        for counted in [self] if self.root is self else [self, self.root]:
            counted.turn.cost_usd += cost
            add_usage(counted.turn.usage, usage)
            counted.session.input_tokens += usage.input_tokens
            counted.session.output_tokens += usage.output_tokens
            counted.session.cost_usd += cost
        if (shared := self.root.shared) is not None:
            shared.cost += cost
            shared.tokens += usage.total_tokens
            shared.steps += 1
        status = self.lifecycle.status
        status.total_tokens += usage.total_tokens
        status.total_cost_usd += cost

    def session_row(self) -> Row:
        return PutSession(snapshot(self.session))

    def turn_rows(self) -> list[Row]:
        """The turn and the agent's status as they stand."""
        rows: list[Row] = [PutTurn(snapshot(self.turn)), self.lifecycle.row()]
        if self.parent is not None:  # what was used counts there too
            rows += [PutTurn(snapshot(self.root.turn)), self.root.session_row()]
        return rows


def add_usage(total: common_pb2.TokenUsage, more: common_pb2.TokenUsage) -> None:
    """Adds token counts field by field."""
    for name in more.DESCRIPTOR.fields_by_name:
        setattr(total, name, getattr(total, name) + getattr(more, name))
