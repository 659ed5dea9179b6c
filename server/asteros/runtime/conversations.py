"""The sessions of one agent while it is in memory: history, counters, session rules."""

import json
from dataclasses import dataclass, field

from aster.v1 import common_pb2, session_service_pb2
from asteros import clock, errors, ids
from asteros.runtime.history import ForModel, closed
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.notes import PLAN_NOTE
from asteros.stores.base import AddMessage, AddRequest, CopyMessages, PutNote, PutSession, RequestIdKnown, Row, Store

FIRST_RATE = 3.5  # bytes of a token until a provider has counted some


@dataclass(slots=True)
class Conversation:
    """One session as stored; changed by the turn in progress, stored by its rows."""

    session: session_service_pb2.Session
    history: list[common_pb2.Message]
    rules: dict[str, int]  # policies by tool that decisions gave to the session
    planning: bool | None = None  # in plan mode, or out of it, by the session's own doing; None: as the agent
    last_usage: common_pb2.TokenUsage | None = None  # of the last model call, while in memory
    bytes_per_token: float = FIRST_RATE
    asked_bytes: int = 0  # of the model call in progress, where a budget counts them
    _sendable: ForModel = field(default_factory=ForModel)

    def for_model(self) -> list[common_pb2.Message]:
        """The history as a provider accepts it; a new list each time."""
        return self._sendable.of(self.history)

    def say(self, message: common_pb2.Message, lifecycle: Lifecycle) -> list[Row]:
        """Adds a message; the rows store it."""
        message.id = message.id or ids.new("msg_")
        message.create_time.CopyFrom(clock.timestamp(clock.now()))
        self.history.append(message)
        self.session.message_count += 1
        self.session.update_time.CopyFrom(message.create_time)
        lifecycle.status.message_count += 1
        return [AddMessage(self.session.id, snapshot(message)), PutSession(snapshot(self.session))]

    def unsay(self, message: common_pb2.Message, lifecycle: Lifecycle) -> None:
        """Takes a message back that was not stored: memory is as the store again."""
        for place in reversed(range(len(self.history))):
            if self.history[place].id == message.id:
                del self.history[place]
                self._sendable = ForModel()
                self.session.message_count -= 1
                lifecycle.status.message_count -= 1
                return


class Conversations:
    """Sessions by id, each loaded once."""

    def __init__(self, store: Store, journal: Journal, lifecycle: Lifecycle, default_id: str) -> None:
        self.default_id = default_id
        self._store = store
        self._journal = journal
        self._lifecycle = lifecycle
        self._loaded: dict[str, Conversation] = {}

    async def get(self, session_id: str = "") -> Conversation:
        """A session of this agent; the default one without an id.

        :raises SessionNotFound:"""
        wanted = session_id or self.default_id
        known = self._loaded.get(wanted)
        if known is not None:
            return known
        ref = self._journal.ref
        found = await self._store.session(ref.tenant, wanted)
        if found is None or found[0] != ref.key:
            raise errors.SessionNotFound(wanted, agent_id=ref.id)
        messages = await self._store.messages(ref.tenant, wanted, 0, 0)
        rules = await self._store.session_rules(ref.key, wanted)
        note = (await self._store.notes(ref.key, wanted)).get(PLAN_NOTE)
        planning = None if note is None else json.loads(note) is True
        loaded = Conversation(found[1], [message for _, message in messages], rules, planning)
        return self._loaded.setdefault(wanted, loaded)

    def loaded(self, session_id: str) -> Conversation | None:
        return self._loaded.get(session_id)

    def forget(self, session_id: str) -> None:
        """Drops what is in memory: the session was deleted, or memory went ahead of the store."""
        self._loaded.pop(session_id, None)

    async def add(self, session: session_service_pb2.Session, request: AddRequest | None) -> str:
        """Opens a session; its id, or that of the one an equal request opened.

        :raises SessionAlreadyExists, RequestIdReused:"""
        return await self._once([PutSession(session, insert=True)], request, session.id)

    async def fork(
        self,
        source: session_service_pb2.Session,
        message_id: str,
        forked: session_service_pb2.Session,
        request: AddRequest | None,
    ) -> str:
        """Opens a session that begins with a copy of another one, up to a message ("": all of it); its id.

        The copy ends before a tool call whose results it would not have. It takes what tools and
        middlewares keep for the session, and none of the permissions that were given to it.

        :raises MessageNotFound, SessionAlreadyExists, RequestIdReused:"""
        ref = self._journal.ref
        stored = [message for _, message in await self._store.messages(ref.tenant, source.id, 0, 0)]
        if message_id:
            last = next((at for at, message in enumerate(stored) if message.id == message_id), None)
            if last is None:
                raise errors.MessageNotFound(message_id, session_id=source.id)
            del stored[last + 1 :]
        forked.message_count = closed(stored)
        notes = await self._store.notes(ref.key, source.id)
        rows: list[Row] = [PutSession(forked, insert=True), CopyMessages(source.id, forked.id, forked.message_count)]
        rows += [PutNote(forked.id, name, value) for name, value in notes.items()]
        return await self._once(rows, request, forked.id)

    async def system_message(self, text: str, session_id: str, request: AddRequest | None) -> str:
        """Adds to the history without a turn; its message id. A turn in progress sees it in its
        next model call.

        :raises SessionNotFound, RequestIdReused:"""
        conversation = await self.get(session_id)
        message = common_pb2.Message(role=common_pb2.ROLE_SYSTEM, id=ids.new("msg_"))
        message.content.add(text=text)
        rows = [*conversation.say(message, self._lifecycle), self._lifecycle.row()]
        try:
            stored = await self._once(rows, request, message.id)
        except Exception:  # refused; a cancelled call has stored it
            conversation.unsay(message, self._lifecycle)
            raise
        if stored != message.id:  # said before
            conversation.unsay(message, self._lifecycle)
        return stored

    async def _once(self, rows: list[Row], request: AddRequest | None, made: str) -> str:
        """Writes rows, unless an equal request has: then what that one made."""
        if request is not None:
            rows = [AddRequest(request.request_id, request.digest, made), *rows]
        try:
            await self._journal.write((), rows)
        except RequestIdKnown as known:
            if request is None or known.digest != request.digest:
                raise errors.RequestIdReused(request.request_id if request else "") from None
            return known.target
        return made
