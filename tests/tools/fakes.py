"""A context for one tool call: a real workspace, and a person with answers ready."""

import asyncio
from collections.abc import Mapping, Sequence

from asteros.sandbox.files import Workspace
from asteros.tools.base import Answer, Files, Option


class FakeContext:
    """Questions without an answer wait for ever."""

    def __init__(self, files: Files, answers: Mapping[int, Answer] | None = None) -> None:
        self.agent_id, self.session_id, self.turn_id, self.call_id = "a1", "s1", "t1", "c1"
        self.idempotency_key = "k1"
        self.files = files
        self.answers = answers or {}
        self.asked: list[tuple[int, str, tuple[Option, ...], bool]] = []
        self.cancelled: list[int] = []

    async def ask(
        self, index: int, prompt: str, options: Sequence[Option] = (), *, multi_select: bool = False
    ) -> Answer:
        self.asked.append((index, prompt, tuple(options), multi_select))
        if index in self.answers:
            return self.answers[index]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        raise AssertionError

    def progress(self, message: str, fraction: float | None = None) -> None:
        raise AssertionError("no tool here reports progress")


def promised(workspace: Workspace) -> Files:
    """Fails type checking when the workspace does not keep the promise."""
    return workspace
