"""The promise of a middleware: a ring of the onion around model calls and tool calls.

A lower ``priority`` stands further out; equals stand in the order they are listed. A
ring is made for one agent and lives as long as the agent is in memory: what must
survive that goes into notes or files."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from google.protobuf.message import Message as Payload

from aster.v1 import common_pb2
from asteros.providers.base import ModelChunk, ModelRequest
from asteros.tools.base import Files, JsonObject, Notes, Tool, ToolInfo

ModelStream = AsyncGenerator[ModelChunk, None]
CallModel = Callable[[ModelRequest], Awaitable[ModelStream]]
NO_CONFIG: JsonObject = {"type": "object", "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call as the rings see it. To change it: ``dataclasses.replace``, never in place."""

    call_id: str  # empty in a review
    tool: ToolInfo
    args: JsonObject  # has passed the tool's schema


CallTool = Callable[[ToolRequest], Awaitable[JsonObject]]


@dataclass(frozen=True, slots=True)
class Review:
    """What a ring says about a call before the policy judges it.

    "change" puts ``args`` in the place of the model's and has the call judged anew;
    "allow" and "ask" never win over a DENY of the policy, plan mode or the tool's set."""

    decision: Literal["allow", "ask", "deny", "change"]
    reason: str = ""
    args: JsonObject | None = None


class AgentContext(Protocol):
    """The agent, for the hooks of its life."""

    agent_id: str

    @property
    def agent_notes(self) -> Notes:
        """What is kept for the agent, for all its sessions."""
        ...


class MiddlewareContext(AgentContext, Protocol):
    """What a ring may use while a turn is in progress."""

    session_id: str
    turn_id: str

    @property
    def history(self) -> Sequence[common_pb2.Message]:
        """Everything said in the session, oldest first, as stored. Not to be changed."""
        ...

    @property
    def files(self) -> Files:
        """The agent's workspace."""
        ...

    @property
    def session_notes(self) -> Notes:
        """What is kept for this session; goes with it."""
        ...

    def emit(self, payload: Payload) -> None:
        """Puts an event of this turn in line: the message of a kind of ``aster.v1.Event``."""
        ...


class ModelContext(MiddlewareContext, Protocol):
    """The same around a model call."""

    @property
    def last_usage(self) -> common_pb2.TokenUsage | None:
        """Tokens of the session's last model call; None when it was before the last restart."""
        ...

    @property
    def window(self) -> int | None:
        """Tokens the model takes, input and output together; None: not known."""
        ...

    async def ask_model(self, request: ModelRequest) -> str:
        """Makes a model call of its own and returns its text; tools of the request are left out.

        It counts for budgets and is shown as monitor.model_call, but not as text of the
        turn. One attempt; raises what a provider raises, and BudgetExceeded."""
        ...


class Middleware:
    """A ring that does nothing; override what yours needs.

    An exception that is no ``AsterError`` fails the turn, or the tool call, as
    ``MiddlewareFailed``; its text goes to the server's log alone."""

    name: ClassVar[str]
    priority: ClassVar[int]
    about: ClassVar[str] = ""  # one line for lists
    tools: ClassVar[tuple[str, ...]] = ()  # registered tools or groups that the agent gets with it
    # JSON Schema (2020-12) of its entry in middleware_config_json; checked before __init__.
    config_schema: ClassVar[JsonObject] = NO_CONFIG

    def __init__(self, config: JsonObject) -> None:
        """``config`` has passed the schema; raise ValueError for what a schema cannot say."""

    def own_tools(self) -> Sequence[Tool]:
        """Tools it brings itself; no other agent sees them."""
        return ()

    async def wrap_model_call(
        self,
        request: ModelRequest,
        context: ModelContext,  # noqa: ARG002 - for those that override it
        proceed: CallModel,
    ) -> ModelStream:
        """Around one attempt of a model call: return ``await proceed(request)``.

        Return the stream you were given when you change only the request: that costs
        nothing per chunk. To change the answer return an async generator of your own
        over it. ``proceed`` may be called again; whatever it gave is closed in the end."""
        return await proceed(request)

    async def review_tool_call(self, call: ToolRequest, context: MiddlewareContext) -> Review | None:  # noqa: ARG002
        """Before the policy judges a call; None: no opinion. The outermost opinion counts."""
        return None

    async def wrap_tool_call(
        self,
        call: ToolRequest,
        context: MiddlewareContext,  # noqa: ARG002 - for those that override it
        proceed: CallTool,
    ) -> JsonObject:
        """Around the run of a tool, inside its time limit. What ``proceed`` raises must pass.

        Other ``args`` than those given are judged again and refused where a person would
        have to be asked: change them in ``review_tool_call``."""
        return await proceed(call)

    async def on_agent_start(self, agent: AgentContext) -> None:
        """The agent comes into memory, before its first turn there; at most ten seconds."""

    async def on_agent_stop(self, agent: AgentContext) -> None:
        """The agent leaves memory or is closed; at most ten seconds. A failure is only logged."""


def overrides(ring: Middleware, hook: str) -> bool:
    """The ring has a hook of its own, so that the onion need not call the empty one."""
    mine: Any = getattr(type(ring), hook)
    return mine is not getattr(Middleware, hook)
