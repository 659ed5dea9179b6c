"""The kinds of providers under one hood: the same scene, told in each one's own language."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from wire import AnthropicReply, End, OpenAIReply, ResponsesReply, Tool, WireServer

from aster.v1 import agent_pb2, common_pb2
from asteros.providers.anthropic import AnthropicProvider
from asteros.providers.base import Finish, ModelChunk, ModelRequest, Provider, TextDelta, ThinkDelta, ToolSpec, ToolUse
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE
from asteros.providers.scripted import ScriptedProvider

KEY = "k-test-1234567890"
STOPS = {
    "end_turn": agent_pb2.STOP_REASON_END_TURN,
    "max_tokens": agent_pb2.STOP_REASON_MAX_TOKENS,
    "tool_use": agent_pb2.STOP_REASON_TOOL_USE,
}


@dataclass(frozen=True)
class Scene:
    """One model call as a test wants it to go."""

    text: str = ""
    thinking: str = ""
    tools: Sequence[Tool] = ()
    stop: str = ""
    usage: tuple[int, int] = (10, 5)
    frames: int | None = None  # cut: only so many frames; the offline kind has none and just fails
    error: str = ""  # "overloaded" or "invalid" behind the frames
    end: End = End.CLOSED
    write_size: int = 0
    newline: str = "\n"


class Kind(Protocol):
    """A provider and the way to make it play a scene."""

    provider: Provider
    model: str

    def plays(self, *scenes: Scene) -> None: ...


class HttpKind(Kind, Protocol):
    """A provider behind the wire server."""

    wire: WireServer


class AnthropicKind:
    model = "claude-sonnet-4-5"

    def __init__(self, wire: WireServer, _folder: Path) -> None:
        self.wire = wire
        self.provider: Provider = AnthropicProvider(base_url=wire.base_url, api_key=KEY)

    def plays(self, *scenes: Scene) -> None:
        names = {"overloaded": "overloaded_error", "invalid": "invalid_request_error"}
        for scene in scenes:
            self.wire.reply(
                AnthropicReply(
                    text=scene.text,
                    thinking=scene.thinking,
                    tools=scene.tools,
                    stop_reason=scene.stop,
                    usage={"input_tokens": scene.usage[0], "output_tokens": scene.usage[1]},
                    error=names.get(scene.error, ""),
                    **_wire_part(scene),
                )
            )


class OpenAIKind:
    name = "openai"
    model = "gpt-4.1"

    def __init__(self, wire: WireServer, _folder: Path) -> None:
        self.wire = wire
        preset = TABLE.by_name[self.name]
        self.provider: Provider = OpenAIProvider(preset, name=self.name, base_url=wire.openai_url, api_key=KEY)

    def plays(self, *scenes: Scene) -> None:
        names = {"overloaded": "rate_limit_exceeded", "invalid": "invalid_request_error"}
        reasons = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
        for scene in scenes:
            sent, produced = scene.usage
            self.wire.reply(
                OpenAIReply(
                    text=scene.text,
                    reasoning=scene.thinking,
                    tools=scene.tools,
                    finish_reason=reasons.get(scene.stop, ""),
                    usage={"prompt_tokens": sent, "completion_tokens": produced, "total_tokens": sent + produced},
                    error=names.get(scene.error, ""),
                    **_wire_part(scene),
                )
            )


class DeepSeekKind(OpenAIKind):
    name = "deepseek"
    model = "deepseek-chat"


class ResponsesKind:
    model = "gpt-5.1"

    def __init__(self, wire: WireServer, _folder: Path) -> None:
        self.wire = wire
        preset = TABLE.by_name["openai"]
        self.provider: Provider = OpenAIProvider(
            preset, name="openai", base_url=wire.openai_url, api_key=KEY, responses=True
        )

    def plays(self, *scenes: Scene) -> None:
        names = {"overloaded": "rate_limit_exceeded", "invalid": "invalid_prompt"}
        for scene in scenes:
            self.wire.reply(
                ResponsesReply(
                    text=scene.text,
                    thinking=scene.thinking,
                    tools=scene.tools,
                    incomplete="max_output_tokens" if scene.stop == "max_tokens" else "",
                    usage={"input_tokens": scene.usage[0], "output_tokens": scene.usage[1]},
                    error=names.get(scene.error, ""),
                    **_wire_part(scene),
                )
            )


def _wire_part(scene: Scene) -> dict[str, Any]:
    part = {"frames": scene.frames, "end": scene.end, "write_size": scene.write_size, "newline": scene.newline}
    # Both dialects end with two frames that matter: the reason or usage, and the very last.
    return {**part, "frames": -2} if scene.frames == -1 else part


class ScriptedKind:
    model = "script:scene"

    def __init__(self, _wire: WireServer, folder: Path) -> None:
        self._file = folder / "scene.yaml"
        self.provider: Provider = ScriptedProvider(folder)

    def plays(self, *scenes: Scene) -> None:
        self._file.write_text(yaml.safe_dump([list(_actions(scene)) for scene in scenes], allow_unicode=True), "utf-8")


def _actions(scene: Scene) -> list[dict[str, Any]]:
    sent, produced = scene.usage
    actions: list[dict[str, Any]] = [{"usage": {"input_tokens": sent, "output_tokens": produced}}]
    if scene.thinking:
        actions.append({"think": scene.thinking})
    if scene.text:
        actions.append({"text": scene.text})
    actions += [{"tool": {"name": tool.name, "input": dict(tool.input), "id": tool.id}} for tool in scene.tools]
    if scene.end is End.SILENT:
        actions.append({"pause": 3600})
    if scene.error:
        actions.append({"fail": {"overloaded": "limit", "invalid": "rejected"}[scene.error]})
    elif scene.end is End.RESET:
        actions.append({"fail": "unavailable"})
    elif scene.end is End.BROKEN or (scene.frames is not None and scene.end is End.CLOSED):
        actions.append({"fail": "truncated"})
    return [*actions, {"stop": scene.stop}] if scene.stop else actions


HTTP: dict[str, Callable[[WireServer, Path], HttpKind]] = {
    "anthropic": AnthropicKind,
    "openai": OpenAIKind,
    "responses": ResponsesKind,
    "deepseek": DeepSeekKind,
}
ALL: dict[str, Callable[[WireServer, Path], Kind]] = {**HTTP, "scripted": ScriptedKind}


@dataclass
class Heard:
    """What a stream gave."""

    chunks: list[ModelChunk] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks if isinstance(chunk, TextDelta))

    @property
    def thinking(self) -> str:
        return "".join(chunk.text for chunk in self.chunks if isinstance(chunk, ThinkDelta))

    @property
    def calls(self) -> list[common_pb2.ToolCall]:
        return [chunk.call for chunk in self.chunks if isinstance(chunk, ToolUse)]

    @property
    def finish(self) -> Finish:
        """The one Finish, which is the last chunk."""
        (finish,) = (chunk for chunk in self.chunks if isinstance(chunk, Finish))
        assert finish is self.chunks[-1]
        return finish


def message(role: "common_pb2.Role", *blocks: Any) -> common_pb2.Message:
    """A message of texts, tool calls and tool results."""
    made = common_pb2.Message(role=role)
    for block in blocks:
        match block:
            case str():
                made.content.add(text=block)
            case common_pb2.ToolCall():
                made.content.add(tool_call=block)
            case common_pb2.ToolResult():
                made.content.add(tool_result=block)
            case common_pb2.SealedThinking():
                made.content.add(sealed_thinking=block)
            case common_pb2.Media():
                made.content.add(media=block)
            case _:
                raise TypeError(block)
    return made


def user(*blocks: Any) -> common_pb2.Message:
    return message(common_pb2.ROLE_USER, *blocks)


def request(
    model: str,
    *messages: common_pb2.Message,
    system: str = "",
    tools: Sequence[ToolSpec] = (),
    idle_timeout: float = 5.0,
    **config: Any,
) -> ModelRequest:
    """A model request; without messages the user says hello."""
    return ModelRequest(
        agent_pb2.ModelConfig(model=model, **config),
        messages or [user("hello")],
        system=system,
        tools=tools,
        idle_timeout=idle_timeout,
    )


async def hear(provider: Provider, asked: ModelRequest, heard: Heard | None = None) -> Heard:
    """Runs one call to its end; ``heard`` keeps what came before a failure."""
    heard = heard or Heard()
    async for chunk in provider.stream(asked):
        heard.chunks.append(chunk)
    return heard
