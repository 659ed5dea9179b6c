"""structured_output: the final reply is JSON that keeps to a schema, or the turn fails."""

import contextlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.middleware import schema
from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.middleware.prompts import with_prompt
from asteros.providers.base import Finish, ModelChunk, ModelRequest, TextDelta
from asteros.tools import strict_json
from asteros.tools.base import JsonObject

_FENCED = re.compile(r"\s*```[a-z]*\n(.*)\n\s*```\s*", re.DOTALL)


@dataclass(slots=True)
class _Reply:
    """One answer of the model, whole."""

    text: str = ""
    chunks: list[ModelChunk] = field(default_factory=list)  # as they came
    finish: Finish | None = None


class StructuredOutput(Middleware):
    """Holds an answer back until it is whole; asks once more when it does not fit.

    An answer with tool calls passes as it is. The reply's text is the JSON alone."""

    name = "structured_output"
    priority = 65
    about = "the reply is JSON that keeps to a schema"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {"schema": {"type": "object", "description": "JSON Schema (2020-12) of the reply."}},
        "required": ["schema"],
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._schema: JsonObject = config["schema"]
        try:
            schema.check(self._schema)
        except ValueError as error:
            raise ValueError(f"schema {error}") from None
        shown = json.dumps(self._schema, ensure_ascii=False)
        self._prompt = f"Your final reply is one JSON value and nothing else. It keeps to this JSON Schema:\n{shown}"

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        return self._checked(with_prompt(request, self._prompt), proceed)

    async def _checked(self, request: ModelRequest, proceed: CallModel) -> ModelStream:
        first = await _read(await proceed(request))
        text, wrong = self._parsed(first)
        if wrong:
            second = await _read(await proceed(_again(request, first.text, wrong)))
            second.finish = _together(first.finish, second.finish)
            text, wrong = self._parsed(second)
            if wrong:
                if second.finish is not None:
                    yield second.finish  # what was used counts
                raise errors.ProviderRejected(f"The model's reply does not keep to the schema: {wrong}")
            first = second
        for chunk in _played(first, text):
            yield chunk

    def _parsed(self, reply: _Reply) -> tuple[str | None, str]:
        """The reply's text as it is shown, and what is wrong with it; None: it is none of ours."""
        if reply.finish is None or reply.finish.stop_reason == agent_pb2.STOP_REASON_TOOL_USE:
            return None, ""  # without an end it is an error anyway
        fenced = _FENCED.fullmatch(reply.text)
        try:
            value: Any = strict_json.parse(fenced[1] if fenced else reply.text.strip())
        except strict_json.StrictJsonError as error:
            return None, str(error)
        try:
            wrong = schema.fault(self._schema, value)
        except ValueError as error:
            wrong = str(error)
        return json.dumps(value, ensure_ascii=False), wrong


async def _read(stream: ModelStream) -> _Reply:
    reply = _Reply()
    texts = []
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            match chunk:
                case TextDelta(text):
                    texts.append(text)
                case Finish():
                    reply.finish = chunk
            reply.chunks.append(chunk)
    reply.text = "".join(texts)
    return reply


def _played(reply: _Reply, text: str | None) -> list[ModelChunk]:
    """The answer once more; with another text, that in one piece before its end."""
    if text is None or reply.finish is None:
        return reply.chunks
    others = [chunk for chunk in reply.chunks if not isinstance(chunk, TextDelta | Finish)]
    return [*others, TextDelta(text), reply.finish]


def _again(request: ModelRequest, said: str, wrong: str) -> ModelRequest:
    """The same conversation with the bad reply and what is wrong with it."""
    answer = common_pb2.Message(
        role=common_pb2.ROLE_ASSISTANT, content=[common_pb2.ContentBlock(text=said or "(empty)")]
    )
    text = f"That reply is not valid: {wrong}. Reply again with the JSON value alone."
    asked = common_pb2.Message(role=common_pb2.ROLE_USER, content=[common_pb2.ContentBlock(text=text)])
    return replace(request, messages=[*request.messages, answer, asked])


def _together(first: Finish | None, second: Finish | None) -> Finish | None:
    """The end of the second answer with the tokens of both."""
    if first is None or second is None:
        return second
    total = common_pb2.TokenUsage()
    for name in total.DESCRIPTOR.fields_by_name:
        setattr(total, name, getattr(first.usage, name) + getattr(second.usage, name))
    return replace(second, usage=total)
