"""Rings that tell what passes them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from runtime.helpers import World, shape

from aster.v1 import agent_pb2, common_pb2
from asteros.middleware.base import (
    AgentContext,
    CallModel,
    CallTool,
    Middleware,
    MiddlewareContext,
    ModelContext,
    ModelStream,
    ToolRequest,
)
from asteros.providers.base import Finish, ModelRequest, TextDelta, ToolUse
from asteros.providers.steps import pieces
from asteros.runtime.agent import Agent
from asteros.tools.base import JsonObject


class Probe(Middleware):
    """The innermost ring: every request as the provider gets it."""

    name = "probe"
    priority = 840
    seen: ClassVar[list[ModelRequest]] = []

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        self.seen.append(request)
        return await proceed(request)


class Plays(Middleware):
    """Answers in the provider's place: one text or tool call after the other."""

    name = "plays"
    priority = 850
    replies: ClassVar[list[str | common_pb2.ToolCall]] = []
    asked: ClassVar[list[ModelRequest]] = []

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        self.asked.append(request)
        return self._said(self.replies.pop(0), tokens([request])[0])

    async def _said(self, reply: str | common_pb2.ToolCall, sent: int) -> ModelStream:
        stop = agent_pb2.STOP_REASON_END_TURN
        if isinstance(reply, str):
            for piece in pieces(reply, 3):
                yield TextDelta(piece)
        else:
            stop = agent_pb2.STOP_REASON_TOOL_USE
            yield ToolUse(reply)
        usage = common_pb2.TokenUsage(input_tokens=sent, output_tokens=4, total_tokens=sent + 4)
        yield Finish(stop, usage, "plays")


class Counts(Middleware):
    """Makes the provider count twice as many tokens as it does."""

    name = "counts"
    priority = 860

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        return self._told(await proceed(request))

    async def _told(self, stream: ModelStream) -> ModelStream:
        async for chunk in stream:
            if isinstance(chunk, Finish):
                chunk.usage.input_tokens *= 2
            yield chunk


class Rings:
    """Kinds of rings that write into one log: outer (10), twin (10) and inner (90)."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.kinds: list[type[Middleware]] = [self._kind("outer", 10), self._kind("twin", 10), self._kind("inner", 90)]

    def _kind(self, ring_name: str, ring_priority: int) -> type[Middleware]:
        log = self.log

        class Ring(Middleware):
            name = ring_name
            priority = ring_priority

            async def wrap_model_call(
                self, request: ModelRequest, context: ModelContext, proceed: CallModel
            ) -> ModelStream:
                log.append(f"{ring_name} asks")
                changed = replace(request, system=f"{request.system}{ring_name}.")
                return self._told(await proceed(changed))

            async def _told(self, stream: ModelStream) -> ModelStream:
                async for chunk in stream:
                    yield TextDelta(f"<{ring_name} {chunk.text}>") if isinstance(chunk, TextDelta) else chunk
                log.append(f"{ring_name} heard")

            async def wrap_tool_call(
                self, call: ToolRequest, context: MiddlewareContext, proceed: CallTool
            ) -> JsonObject:
                log.append(f"{ring_name} runs {call.tool.name}")
                result = await proceed(call)
                return {**result, "seen_by": [*result.get("seen_by", []), ring_name]}

            async def on_agent_start(self, agent: AgentContext) -> None:
                log.append(f"{ring_name} starts {agent.agent_id}")

            async def on_agent_stop(self, agent: AgentContext) -> None:
                log.append(f"{ring_name} stops {agent.agent_id}")

        return Ring


def settings(**configs: Any) -> dict[str, Any]:
    """Settings of an agent with these middlewares: each a dict, or None for its defaults; and the probe."""
    texts = {name: json.dumps(config) for name, config in configs.items() if config is not None}
    return {"middlewares": [*configs, "probe"], "middleware_config_json": texts}


def sent(at: int = -1) -> ModelRequest:
    """A request as the provider got it."""
    return Probe.seen[at]


def sent_shape(at: int = -1) -> str:
    return shape(sent(at).messages)


def sent_texts(at: int = -1) -> list[str]:
    return [block.text for message in sent(at).messages for block in message.content if block.text]


def sent_results(at: int = -1) -> dict[str, Any]:
    """Tool results as the provider got them, by call id."""
    return {
        block.tool_result.call_id: json.loads(block.tool_result.output_json)
        for message in sent(at).messages
        for block in message.content
        if block.WhichOneof("block") == "tool_result"
    }


def reply(turn: agent_pb2.Turn) -> str:
    return "".join(block.text for block in turn.reply.content)


def tokens(requests: Sequence[ModelRequest]) -> list[int]:
    """What the scripted provider counts of each."""
    return [
        (len(r.system.encode()) + sum(block.ByteSize() for m in r.messages for block in m.content) + 3) // 4
        for r in requests
    ]


async def restarted(world: World, agent: Agent) -> Agent:
    """The agent after it left memory and was woken again."""
    assert await world.registry.evict(agent.ref.key)
    return await world.awake(agent.ref.key)


def text_message(role: "common_pb2.Role", text: str) -> common_pb2.Message:
    return common_pb2.Message(role=role, content=[common_pb2.ContentBlock(text=text)])
