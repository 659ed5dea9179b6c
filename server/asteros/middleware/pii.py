"""pii_redaction: personal data and keys do not reach the model, and do not come back from it.

Every pattern is linear: bounded repeats, and no two that could share a character."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from aster.v1 import common_pb2
from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.providers.base import ModelRequest, TextDelta
from asteros.tools.base import JsonObject

HELD = 512  # characters of an answer held back at most, until it is clear where a word ends
_REMEMBERED = 20_000  # messages whose redacted form is kept
_PATTERNS: dict[str, re.Pattern[str]] = {
    "email": re.compile(
        r"(?<![\w.+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    ),
    "key": re.compile(
        r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gsk|xai|ghp|gho|glpat|xox[bap])[-_][A-Za-z0-9_-]{16,200}"
        r"|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,50}|eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000})"
    ),
    "card": re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])"),
    "phone": re.compile(r"(?<![\w.-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,4}(?![\w-])"),
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = "0123456789 ().+-"  # what a number in several groups is made of


class PiiRedaction(Middleware):
    """Replaces what it finds by ``[email]``, ``[phone]``, ``[card]`` (by Luhn) and ``[key]``.

    In what the model is sent, tool results too, and in the text it answers. What people
    said is stored as they said it. Inputs of tool calls are left alone."""

    name = "pii_redaction"
    priority = 30
    about = "personal data and keys never reach the model"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "kinds": {
                "type": "array",
                "items": {"enum": list(_PATTERNS)},
                "minItems": 1,
                "uniqueItems": True,
                "default": list(_PATTERNS),
            },
            "answers": {"type": "boolean", "default": True},
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._kinds = [kind for kind in _PATTERNS if kind in config["kinds"]]
        self._answers: bool = config["answers"]
        self._known: dict[str, common_pb2.Message] = {}  # by message id

    def redact(self, text: str) -> str:
        """The text without what is looked for."""
        for kind in self._kinds:
            text = _PATTERNS[kind].sub(_CHECKS.get(kind, _always)(kind), text)
        return text

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        messages = [self._message(message) for message in request.messages]
        stream = await proceed(replace(request, messages=messages, system=self.redact(request.system)))
        return self._answer(stream) if self._answers else stream

    def _message(self, message: common_pb2.Message) -> common_pb2.Message:
        known = self._known.get(message.id) if message.id else None
        if known is None:
            known = self._redacted(message)
            if message.id:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[message.id] = known
        return known

    def _redacted(self, message: common_pb2.Message) -> common_pb2.Message:
        """The message itself when there is nothing to hide in it."""
        copy = common_pb2.Message()
        copy.CopyFrom(message)
        for block in copy.content:
            match block.WhichOneof("block"):
                case "text":
                    block.text = self.redact(block.text)
                case "tool_result":
                    block.tool_result.output_json = self.redact(block.tool_result.output_json)
        return message if copy == message else copy

    async def _answer(self, stream: ModelStream) -> ModelStream:
        """The answer with its text a little late: a match may come in pieces."""
        held = ""
        async for chunk in stream:
            if isinstance(chunk, TextDelta):
                held += chunk.text
                cut = _cut(held)
                ready, held = held[:cut], held[cut:]
            else:
                ready, held = held, ""
            if shown := self.redact(ready):
                yield TextDelta(shown)
            if not isinstance(chunk, TextDelta):
                yield chunk


def _cut(text: str) -> int:
    """Up to where no later text can change what is found: the last word may go on, and so may
    a number in several groups that it ends."""
    floor = max(len(text) - HELD, 0)
    at = _back(text, len(text), floor, lambda char: not char.isspace())
    while at == len(text) or text[at] in _NUMBER:
        number = _back(text, at, floor, _NUMBER.__contains__)
        if not text[number:at].strip():
            break
        at = _back(text, number, floor, lambda char: not char.isspace())
    return at


def _back(text: str, at: int, floor: int, over: Callable[[str], bool]) -> int:
    while at > floor and over(text[at - 1]):
        at -= 1
    return at


def _always(kind: str) -> Callable[[re.Match[str]], str]:
    return lambda _: f"[{kind}]"


def _by_luhn(kind: str) -> Callable[[re.Match[str]], str]:
    """A number that fails its checksum is no card."""
    return lambda found: f"[{kind}]" if _luhn(found[0]) else found[0]


def _as_phone(kind: str) -> Callable[[re.Match[str]], str]:
    """Eight to fifteen digits (E.164): fewer are an amount more often, and a date is none."""

    def judged(found: re.Match[str]) -> str:
        digits = sum(char.isdigit() for char in found[0])
        return f"[{kind}]" if 8 <= digits <= 15 and not _DATE.fullmatch(found[0]) else found[0]

    return judged


_CHECKS = {"card": _by_luhn, "phone": _as_phone}


def _luhn(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
