import asyncio
from pathlib import Path

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.ask_user import AskUserQuestion
from asteros.tools.base import Answer, Option

pytestmark = pytest.mark.anyio

QUESTIONS = {
    "questions": [
        {
            "question": "Which?",
            "header": "Colour",
            "options": [{"label": "red", "description": "warm"}, {"label": "blue"}],
            "multi_select": True,
        },
        {"question": "Why?"},
    ]
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


@pytest.fixture(autouse=True)
def closed(workspace: Workspace) -> None:
    workspace.close()


async def test_asks_all_and_answers(workspace: Workspace) -> None:
    context = FakeContext(workspace, {0: Answer("red\nblue"), 1: Answer("because")})
    assert await AskUserQuestion().run(QUESTIONS, context) == {
        "ok": True,
        "answers": [{"question": "Which?", "answer": "red\nblue"}, {"question": "Why?", "answer": "because"}],
    }
    assert context.asked == [
        (0, "Colour: Which?", (Option("red", "warm"), Option("blue")), True),
        (1, "Why?", (), False),
    ]


async def test_no_answer_is_a_failure_that_keeps_the_others(workspace: Workspace) -> None:
    context = FakeContext(workspace, {0: Answer(dismissed=True), 1: Answer("because")})
    assert await AskUserQuestion().run(QUESTIONS, context) == {
        "ok": False,
        "error": "the user gave no answer",
        "unanswered": ["Which?"],
        "answers": [{"question": "Why?", "answer": "because"}],
    }


async def test_cancelling_stops_all_questions(workspace: Workspace) -> None:
    context = FakeContext(workspace)
    task = asyncio.create_task(AskUserQuestion().run(QUESTIONS, context))
    while len(context.asked) < 2:  # both are open at once
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(context.cancelled) == [0, 1]


async def test_an_error_of_the_runtime_comes_out_as_it_is(workspace: Workspace) -> None:
    class Broken(FakeContext):
        async def ask(self, index: int, *args: object, **more: object) -> Answer:
            if index == 1:
                raise LookupError("runtime")
            return await super().ask(index, "")

    context = Broken(workspace)
    with pytest.raises(LookupError, match="runtime"):
        await AskUserQuestion().run(QUESTIONS, context)
    assert context.cancelled == [0]
