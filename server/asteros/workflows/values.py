"""What the expressions of a run may name, and their values."""

import json
from dataclasses import dataclass
from typing import Any

from aster.v1 import workflow_pb2
from asteros import errors
from asteros.workflows.book import Book, Rounds
from asteros.workflows.expressions import BadExpression, Expressions, filled, text_of
from asteros.workflows.failures import StepFailed, failed

Step = workflow_pb2.WorkflowStep


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds a step."""

    previous: str
    rounds: Rounds = ()
    round: int = 0  # of the innermost loop, from 1
    item: Any = None


class Values:
    """Computes the expressions of one run. What cannot be computed fails its step."""

    def __init__(self, book: Book, expressions: Expressions) -> None:
        self._book = book
        self._expressions = expressions
        self._inputs = json.loads(book.run.inputs_json or "{}")

    async def holds(self, step: Step, field: str, text: str, frame: Frame) -> bool:
        """A condition; an empty one holds."""
        if not text:
            return True
        found = await self._value(step, field, text, frame)
        if not isinstance(found, bool):
            raise _bad(step, field, "the value is neither true nor false")
        return found

    async def text(self, step: Step, field: str, template: str, frame: Frame) -> str:
        """A template filled in; an empty one stands for what the step before gave."""
        if not template:
            return frame.previous
        try:
            return await filled(self._expressions, template, self._known(frame))
        except BadExpression as error:
            raise _bad(step, field, str(error)) from None

    async def computed(self, step: Step, result: str, frame: Frame) -> str:
        """The output of a step that would give ``result``."""
        if not step.output:
            return result
        return text_of(await self._value(step, "output", step.output, frame, result=result))

    async def route(self, step: Step, frame: Frame) -> int:
        """Number of the first route whose condition holds; -1: none does."""
        for index, route in enumerate(step.router.routes):
            if await self.holds(step, f"router.routes[{index}].when", route.when, frame):
                return index
        return -1

    async def items(self, step: Step, frame: Frame) -> list[Any]:
        """What a loop goes through."""
        field = "loop.for_each_expression"
        found = await self._value(step, field, step.loop.for_each_expression, frame)
        if not isinstance(found, list):
            raise _bad(step, field, "the value is no list")
        return found

    async def _value(self, step: Step, field: str, text: str, frame: Frame, **more: str) -> Any:
        try:
            return await self._expressions.value(text, self._known(frame) | more)
        except BadExpression as error:
            raise _bad(step, field, str(error)) from None

    def _known(self, frame: Frame) -> dict[str, Any]:
        """By name, in the order in which definitions are checked."""
        values = {
            "input": self._book.run.message,
            "inputs": self._inputs,
            "previous": frame.previous,
            "steps": dict(self._book.outputs),
        }
        return values | ({"item": frame.item, "round": frame.round} if frame.round else {})


def _bad(step: Step, field: str, text: str) -> StepFailed:
    return failed(errors.ExpressionFailed(f"{field}: {text}", step_id=step.id, field=field))
