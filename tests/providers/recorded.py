"""Recorded answers: a body byte for byte, how it comes over the wire, and what must be made of it.

``recordings/DIALECT/NAME.sse`` is the body, ``NAME.yaml`` the rest::

    about: in one line
    status: 200                       # the default
    headers: {content-type: ...}      # default: an event stream
    sizes: [5, 1, 9]                  # bytes of each write; the last one repeats; default 64
    end: closed                       # or broken, reset, silent: see wire.End
    preset: deepseek                  # of the folder compatible: which server it is
    expect: {text, thinking, seals, calls, stop, usage, model}
         or {error, text, thinking, says, retry_after}   # text: what came before the error

The bodies follow the providers' published formats; none was taken from a live account."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from providers.kinds import KEY, Heard
from wire import BytesReply, End, WireServer

from aster.v1 import agent_pb2, common_pb2
from asteros.providers.anthropic import AnthropicProvider
from asteros.providers.base import Provider, Seal
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE

FOLDER = Path(__file__).with_name("recordings")
DIALECTS = ("anthropic", "chat", "compatible", "responses")
_USAGE = {
    "input": "input_tokens", "output": "output_tokens", "cached": "cached_input_tokens",
    "written": "cache_write_tokens", "reasoning": "reasoning_tokens",
}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One case."""

    dialect: str
    name: str
    body: bytes
    about: dict[str, Any]

    @property
    def expect(self) -> dict[str, Any]:
        expected: dict[str, Any] = self.about["expect"]
        return expected

    @property
    def end(self) -> End:
        return End[self.about.get("end", "closed").upper()]

    def reply(self, *sizes: int) -> BytesReply:
        """The answer on the wire; ``sizes`` replace those of the recording."""
        return BytesReply(
            data=self.body,
            sizes=sizes or self.about.get("sizes", (64,)),
            status=self.about.get("status", 200),
            headers=self.about.get("headers", {"content-type": "text/event-stream"}),
            end=self.end,
        )

    def provider(self, wire: WireServer) -> Provider:
        """Who reads it."""
        if self.dialect == "anthropic":
            return AnthropicProvider(base_url=wire.base_url, api_key=KEY)
        preset = TABLE.by_name[self.about.get("preset", "openai")]
        responses = self.dialect == "responses"
        return OpenAIProvider(preset, name=preset.name, base_url=wire.openai_url, api_key=KEY, responses=responses)

    def check_answer(self, heard: Heard) -> None:
        """What was heard is what is expected, of an answer that came to its end."""
        expected = self.expect
        assert (heard.text, heard.thinking) == (expected["text"], expected.get("thinking", ""))
        calls = [{"id": call.id, "name": call.name, "input": json.loads(call.input_json)} for call in heard.calls]
        assert calls == expected.get("calls", [])
        seals = [json.loads(chunk.data) for chunk in heard.chunks if isinstance(chunk, Seal)]
        assert seals == expected.get("seals", [])
        reason = agent_pb2.StopReason.Value(f"STOP_REASON_{expected['stop'].upper()}")
        assert (heard.finish.stop_reason, heard.finish.model) == (reason, expected["model"])
        assert heard.finish.usage == usage_of(expected["usage"])


class Readers:
    """One provider for each kind of server, all at one wire server."""

    def __init__(self, wire: WireServer) -> None:
        self.wire = wire
        self._providers: dict[tuple[str, str], Provider] = {}

    def of(self, recording: Recording) -> Provider:
        kind = (recording.dialect, recording.about.get("preset", ""))
        if kind not in self._providers:
            self._providers[kind] = recording.provider(self.wire)
        return self._providers[kind]

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()


def usage_of(expected: dict[str, int]) -> common_pb2.TokenUsage:
    usage = common_pb2.TokenUsage(**{_USAGE[name]: count for name, count in expected.items()})
    usage.total_tokens = usage.input_tokens + usage.output_tokens
    return usage


def load(*dialects: str) -> list[Recording]:
    """All recordings of some dialects, or of all."""
    return [
        Recording(dialect, file.stem, file.read_bytes(), yaml.safe_load(file.with_suffix(".yaml").read_text("utf-8")))
        for dialect in dialects or DIALECTS
        for file in sorted((FOLDER / dialect).glob("*.sse"))
    ]
