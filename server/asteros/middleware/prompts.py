"""reasoning and simplicity: a paragraph of advice in the system prompt."""

from dataclasses import replace
from typing import ClassVar

from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.providers.base import ModelRequest
from asteros.tools.base import JsonObject


def with_prompt(request: ModelRequest, text: str) -> ModelRequest:
    """The request with a paragraph at the end of its system prompt."""
    return replace(request, system=f"{request.system}\n\n{text}" if request.system else text)


class _Advice(Middleware):
    """``prompt`` in the settings replaces the advice."""

    advice: ClassVar[str]
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {"prompt": {"type": "string", "minLength": 1, "maxLength": 20_000}},
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._text: str = config.get("prompt", self.advice)

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        return await proceed(with_prompt(request, self._text))


class Reasoning(_Advice):
    """Asks for a plan before and a check after."""

    name = "reasoning"
    priority = 500
    about = "advice to think in steps; the text can be set"
    advice = (
        "Before you answer or act, name what is asked, what you know and what you still need, and the steps in "
        "between. After each result check whether it fits; if not, say so and change the plan."
    )


class Simplicity(_Advice):
    """Asks for the least that does it."""

    name = "simplicity"
    priority = 600
    about = "advice to do no more than is asked; the text can be set"
    advice = (
        "Do what is asked and no more: the smallest change, the fewest files, the plainest words. Add nothing for "
        "needs that nobody has named."
    )
