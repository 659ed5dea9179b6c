"""Conditions, inputs and outputs of steps: CEL, and texts with CEL in them.

What they may name is listed in ``WorkflowStep`` of the contract. The computing is done by
``cel.py`` in a process of its own, which is started with the first expression, ended with
the server, and ended early when an expression takes too long or too much."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("input", "inputs", "previous", "steps")
LOOP_NAMES = ("item", "round")
MAX_EXPRESSION = 4096  # characters
TIME_LIMIT = 2.0  # seconds that one expression may take
_START_LIMIT = 30.0  # seconds for the first answer of a process: a loaded machine
_MAX_LINE = 16 * 1024 * 1024  # bytes of an answer
_PROGRAM = str(Path(__file__).with_name("cel.py"))


class BadExpression(Exception):
    """It cannot be compiled, or has no value; the text says why."""


class Expressions:
    """Compiles and computes, one at a time. Started by the first use; end with ``aclose``."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._fresh = True
        self._turn = asyncio.Lock()

    async def aclose(self) -> None:
        async with self._turn:
            await self._end()

    async def type_of(self, text: str, names: Sequence[str]) -> str:
        """The type of an expression as CEL names it ("BOOL", "LIST<INT>", "DYN").

        :raises BadExpression: it is too long, malformed, or names what there is not."""
        if len(text) > MAX_EXPRESSION:
            raise BadExpression(f"is longer than {MAX_EXPRESSION} characters")
        return str((await self._ask({"text": text, "names": list(names)}))["type"])

    async def value(self, text: str, values: Mapping[str, Any]) -> Any:
        """The value of an expression, as JSON has it.

        :raises BadExpression:"""
        used = {name: value if name in text else _EMPTY[name] for name, value in values.items()}
        return (await self._ask({"text": text, "names": list(values), "values": used}))["value"]

    async def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        async with self._turn:
            try:
                answer = await self._answer(json.dumps(question).encode() + b"\n")
            except (TimeoutError, ConnectionError, ValueError):
                await self._end()
                raise BadExpression("it takes too much time or memory") from None
            except asyncio.CancelledError:  # house: cancelled -- raised again; its answer must not be the next one's
                await self._end()
                raise
        if "error" in answer:
            raise BadExpression(str(answer["error"]))
        return answer

    async def _answer(self, line: bytes) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", _PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL, env={}, cwd="/", limit=_MAX_LINE,
            )  # fmt: skip
            self._fresh = True
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(_START_LIMIT if self._fresh else TIME_LIMIT):
            process.stdin.write(line)
            await process.stdin.drain()
            data = await process.stdout.readline()
        self._fresh = False
        if not data.endswith(b"\n"):
            raise ConnectionError("the process has ended")
        answer: dict[str, Any] = json.loads(data)
        return answer

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


_EMPTY: dict[str, Any] = {
    "input": "", "inputs": {}, "previous": "", "steps": {}, "item": None, "round": 0, "result": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a template: plain text, or an expression."""

    text: str
    is_expression: bool


def parts_of(template: str) -> list[Part]:
    """``${expression}`` and what stands between; ``$${`` is a plain ``${``.

    :raises BadExpression: an expression that does not end."""
    parts: list[Part] = []
    plain, place = [], 0
    while (start := template.find("${", place)) >= 0:
        if start > place and template[start - 1] == "$":
            plain.append(template[place : start - 1] + "${")
            place = start + 2
            continue
        end = _end_of(template, start + 2)
        plain.append(template[place:start])
        parts += [Part("".join(plain), is_expression=False), Part(template[start + 2 : end], is_expression=True)]
        plain, place = [], end + 1
    parts.append(Part("".join(plain) + template[place:], is_expression=False))
    return [part for part in parts if part.text or part.is_expression]


def _end_of(template: str, place: int) -> int:
    """Where the brace stands that closes an expression: not one of a map, nor one in a text."""
    depth, quote = 0, ""
    while place < len(template):
        char = template[place]
        if quote:
            if char == "\\":
                place += 1
            elif template.startswith(quote, place):
                place += len(quote) - 1
                quote = ""
        elif char in "'\"":
            quote = char * 3 if template.startswith(char * 3, place) else char
            place += len(quote) - 1
        elif char == "{":
            depth += 1
        elif char == "}":
            if not depth:
                return place
            depth -= 1
        place += 1
    raise BadExpression("a ${ has no }")


def text_of(value: Any) -> str:
    """A value inside a text: texts as they are, all else as JSON; nothing for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


async def filled(expressions: Expressions, template: str, values: Mapping[str, Any]) -> str:
    """A template with its expressions computed.

    :raises BadExpression:"""
    return "".join(
        [
            text_of(await expressions.value(part.text, values)) if part.is_expression else part.text
            for part in parts_of(template)
        ]
    )
