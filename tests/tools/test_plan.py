from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.base import Answer
from asteros.tools.plan import MAX_PLAN, EnterPlanMode, ExitPlanMode

pytestmark = pytest.mark.anyio


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    made = FakeContext(Workspace.open(tmp_path), {0: Answer("Approve")})
    made.in_plan_mode = True
    return made


async def test_enters(context: FakeContext) -> None:
    context.in_plan_mode = False
    for _ in range(2):
        assert await EnterPlanMode().run({"reason": "large"}, context) == {
            "ok": True,
            "plan_mode": True,
            "plan_file_path": "plan.md",
        }
        assert context.in_plan_mode


async def test_leaves_when_the_plan_is_approved(context: FakeContext) -> None:
    assert await ExitPlanMode().run({"plan": "1. do it"}, context) == {
        "ok": True,
        "plan_mode": False,
        "plan": "1. do it",
    }
    assert not context.in_plan_mode
    index, prompt, options, multi = context.asked[0]
    assert (index, prompt, multi) == (0, "Approve this plan?\n\n1. do it", False)
    assert [option.label for option in options] == ["Approve", "Keep planning"]


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (Answer(dismissed=True), {}),
        (Answer("Keep planning"), {}),
        (Answer("Approve\nbut shorter"), {"feedback": "Approve\nbut shorter"}),
        (Answer("shorter"), {"feedback": "shorter"}),
    ],
)
async def test_stays_when_it_is_not(context: FakeContext, answer: Answer, more: dict[str, Any]) -> None:
    context.answers = {0: answer}
    assert await ExitPlanMode().run({"plan": "x"}, context) == {
        "ok": False,
        "error": "the user did not approve the plan",
        "plan_mode": True,
        **more,
    }
    assert context.in_plan_mode


async def test_the_plan_may_be_in_a_file(context: FakeContext, tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("from the file")
    (tmp_path / "other.md").write_text("another")
    assert (await ExitPlanMode().run({}, context))["plan"] == "from the file"
    context.in_plan_mode = True
    assert (await ExitPlanMode().run({"plan_file_path": "other.md"}, context))["plan"] == "another"


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({}, "there is no such file or folder"),
        ({"plan_file_path": "../x"}, "the path leaves the workspace"),
        ({"plan": " \n"}, f"a plan has 1 to {MAX_PLAN} bytes"),
        ({"plan": "x" * (MAX_PLAN + 1)}, f"a plan has 1 to {MAX_PLAN} bytes"),
    ],
)
async def test_without_a_plan_nobody_is_asked(context: FakeContext, args: dict[str, str], error: str) -> None:
    answer = await ExitPlanMode().run(args, context)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert context.asked == []


async def test_outside_of_plan_mode_there_is_nothing_to_leave(context: FakeContext) -> None:
    context.in_plan_mode = False
    assert await ExitPlanMode().run({"plan": "x"}, context) == {"ok": True, "plan_mode": False}
    assert context.asked == []
