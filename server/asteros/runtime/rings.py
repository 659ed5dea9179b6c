"""What the rings of an agent are handed: its notes and files, its turn, a model to ask."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.middleware.base import Review, ToolRequest
from asteros.middleware.onion import Onion
from asteros.middleware.registry import MiddlewareRegistry
from asteros.providers.base import ModelRequest
from asteros.runtime.context import TurnContext
from asteros.runtime.journal import Journal
from asteros.runtime.notes import AgentNotes
from asteros.runtime.permissions import ALLOW, ASK, DENY, Hook, HookAnswer
from asteros.stores.base import Store
from asteros.tools.base import Files, JsonObject, Notes, ToolInfo

_POLICIES = {"allow": ALLOW, "ask": ASK, "deny": DENY, "change": 0}


class AgentHandle:
    """``middleware.base.AgentContext``."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self.agent_id = journal.ref.id
        self.agent_notes: Notes = AgentNotes(store, journal, "")


class TurnHandle(AgentHandle):
    """``middleware.base.MiddlewareContext`` for one turn."""

    def __init__(self, context: TurnContext) -> None:
        super().__init__(context.deps.store, context.journal)
        self._context = context
        self.session_id = context.session.id
        self.turn_id = context.turn.id
        self.files: Files = context.workspace
        self.session_notes: Notes = AgentNotes(context.deps.store, context.journal, context.session.id)

    @property
    def history(self) -> Sequence[common_pb2.Message]:
        return self._context.history

    def emit(self, payload: Message) -> None:
        self._context.post(payload)


class ModelHandle(TurnHandle):
    """``middleware.base.ModelContext`` for one attempt of a model call."""

    def __init__(self, context: TurnContext, model: str, ask: Callable[[ModelRequest], Awaitable[str]]) -> None:
        super().__init__(context)
        self._ask = ask
        self.window = context.deps.windows.tokens(model)

    @property
    def last_usage(self) -> common_pb2.TokenUsage | None:
        return self._context.conversation.last_usage

    async def ask_model(self, request: ModelRequest) -> str:
        return await self._ask(request)


class Rings:
    """The onion of one agent while it is in memory; new settings make a new one."""

    def __init__(self, kinds: MiddlewareRegistry, handle: AgentHandle) -> None:
        self._kinds = kinds
        self._handle = handle
        self._current: Onion | None = None
        self._retired: list[Onion] = []  # of old settings; a turn in progress may still have one
        self._telling = asyncio.Lock()

    def current(self, config: agent_pb2.AgentConfig) -> Onion:
        """The onion of the settings in effect.

        :raises FieldViolation: the settings name what this server no longer has."""
        if self._current is None:
            self._current = self._kinds.onion(config.middlewares, config.middleware_config_json)
        return self._current

    def retire(self) -> None:
        """The settings have changed: the next turn gets a new onion."""
        if self._current is not None:
            self._retired.append(self._current)
            self._current = None

    async def start(self, onion: Onion) -> None:
        """Tells the rings of older settings that they leave, and these that they begin. Again is nothing.

        :raises MiddlewareFailed:"""
        async with self._telling:
            while self._retired and self._retired[0] is not onion:
                await self._retired[0].stop(self._handle)
                del self._retired[0]
            await onion.start(self._handle)

    async def stop(self) -> None:
        """Tells all rings that the agent leaves memory. Never fails."""
        async with self._telling:
            self.retire()
            for onion in self._retired:
                await onion.stop(self._handle)
            self._retired.clear()


def hook_of(onion: Onion, context: TurnContext) -> Hook | None:
    """Rule 3 of the permission check: what the rings say about a call; None: none says anything."""
    if not onion.reviews:
        return None
    handle = TurnHandle(context)

    async def hook(tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
        review = await onion.review(ToolRequest("", tool, args), handle)
        return None if review is None else _answer(review)

    return hook


def _answer(review: Review) -> HookAnswer:
    if review.decision == "change" and review.args is None:
        raise errors.MiddlewareFailed("a middleware changed a call and gave no input")
    args = review.args if review.decision == "change" else None
    return HookAnswer(_POLICIES[review.decision], args, "middleware", review.reason or "a middleware decided")
