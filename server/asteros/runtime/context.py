"""What the steps of one turn share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from aster.v1 import agent_pb2, common_pb2, event_pb2, session_service_pb2
from asteros.events.catalogue import Stamp
from asteros.events.log import Written
from asteros.providers.base import ToolSpec
from asteros.runtime.approvals import Approvals
from asteros.runtime.conversations import Conversation
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.permissions import Permissions
from asteros.sandbox.files import Workspace
from asteros.stores.base import PutSession, PutTurn, Row, TurnRow
from asteros.tools.base import Tool


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
    workspace_name: str
    row: TurnRow
    turn: agent_pb2.Turn
    conversation: Conversation
    stamp: Stamp
    partial_text: list[str] = field(default_factory=list)  # of the model step in progress
    answering: bool = False  # the model has begun to answer: from here on a failure is final

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

    def session_row(self) -> Row:
        return PutSession(snapshot(self.session))

    def turn_rows(self) -> list[Row]:
        """The turn and the agent's status as they stand."""
        return [PutTurn(snapshot(self.turn)), self.lifecycle.row()]
