"""The actions one offline model call is made of, and how text is cut into chunks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from aster.v1 import agent_pb2, common_pb2

FailKind = Literal["limit", "unavailable", "stalled", "truncated", "auth", "rejected"]

# Longest pieces of text without a blank: Chinese is said a few characters at a time.
_WIDE_PIECE = 4
_ASCII_PIECE = 64
_WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Say:
    """Text of the answer, in pieces of ``chunk`` characters (0: words), ``pause`` seconds apart."""

    text: str
    chunk: int = 0
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Think:
    """Reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Flood:
    """Text of ``count`` numbered pieces, ``rate`` per second; 0: as fast as they are taken."""

    count: int
    rate: float


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; without an id it gets a new one."""

    name: str
    input_json: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence, in seconds; longer than the request's idle timeout it is a stall."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Use:
    """The usage to report in place of the counted one."""

    usage: common_pb2.TokenUsage


@dataclass(frozen=True, slots=True)
class Stop:
    """The stop reason to report; nothing behind it is played."""

    reason: agent_pb2.StopReason


@dataclass(frozen=True, slots=True)
class Fail:
    """The failure a real provider would end the call with."""

    kind: FailKind
    retry_after: float | None = None


Action = Say | Think | Flood | Call | Pause | Use | Stop | Fail
Step = Sequence[Action]


def pieces(text: str, chunk: int = 0) -> Iterator[str]:
    """Text in order and complete: ``chunk`` characters each, or word by word with the blanks behind."""
    for word in [text] if chunk else _WORD.findall(text):
        size = chunk or (_ASCII_PIECE if word.isascii() else _WIDE_PIECE)
        for start in range(0, len(word), size):
            yield word[start : start + size]


def last_user_text(messages: Sequence[common_pb2.Message]) -> str:
    """All text of the newest user message."""
    for message in reversed(messages):
        if message.role == common_pb2.ROLE_USER:
            return "\n".join(block.text for block in message.content if block.WhichOneof("block") == "text")
    return ""


def steps_done(messages: Sequence[common_pb2.Message]) -> int:
    """How often the model has answered since the newest user message: the index of the step to play."""
    done = 0
    for message in messages:
        if message.role == common_pb2.ROLE_USER:
            done = 0
        elif message.role == common_pb2.ROLE_ASSISTANT:
            done += 1
    return done
