import asyncio
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.todo import MAX_TODOS, TodoWrite

pytestmark = pytest.mark.anyio


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(Workspace.open(tmp_path))


async def write(context: FakeContext, *todos: dict[str, str], **more: Any) -> dict[str, Any]:
    return await TodoWrite().run({"todos": list(todos), **more}, context)


def shown(answer: dict[str, Any]) -> list[str]:
    return [f"{todo['id']} {todo['content']} {todo['status']}" for todo in answer["todos"]]


async def test_sets_the_list(context: FakeContext) -> None:
    answer = await write(context, {"content": "a", "activeForm": "Doing a", "priority": "high"}, {"content": "b"})
    assert answer == {
        "ok": True,
        "list_name": "default",
        "todos": [
            {"id": "1", "content": "a", "active_form": "Doing a", "status": "pending", "priority": "high"},
            {"id": "2", "content": "b", "active_form": "", "status": "pending", "priority": ""},
        ],
        "pending": 2,
        "in_progress": 0,
        "completed": 0,
    }
    assert [todo.content for todo in context.announced[0]] == ["a", "b"]
    assert shown(await write(context, {"content": "c"})) == ["1 c pending"]


async def test_changes_the_list(context: FakeContext) -> None:
    await write(context, {"content": "a"}, {"id": "x", "content": "b"})
    assert shown(await write(context, {"content": "c"}, action="add")) == ["1 a pending", "x b pending", "2 c pending"]
    changed = await write(context, {"id": "x", "status": "completed"}, action="update")
    assert shown(changed) == ["1 a pending", "x b completed", "2 c pending"]
    assert changed["completed"] == 1
    assert shown(await write(context, {"content": "A"}, action="update", todo_id="1"))[0] == "1 A pending"
    assert shown(await write(context, action="remove", todo_id="1")) == ["x b completed", "2 c pending"]
    assert shown(await write(context, {"id": "x"}, action="remove")) == ["2 c pending"]
    assert shown(await write(context, action="clear")) == []
    assert len(context.announced) == 7


async def test_lists_by_name(context: FakeContext) -> None:
    await write(context, {"content": "a"}, list_name="one")
    await write(context, {"content": "b"}, list_name="two")
    assert shown(await write(context, {"content": "c"}, list_name="one", action="add")) == [
        "1 a pending",
        "2 c pending",
    ]


@pytest.mark.parametrize(
    ("todos", "more", "error"),
    [
        ([{"status": "pending"}], {}, "each entry needs a content"),
        ([{"id": "x", "content": "a"}] * 2, {}, "there is an entry 'x' already"),
        ([{"content": "a"}], {"action": "update"}, "each entry needs the id of one in the list"),
        ([{"content": "a"}] * 2, {"action": "update", "todo_id": "k"}, "each entry needs the id of one in the list"),
        ([{"id": "y", "content": "a"}], {"action": "update"}, "there is no entry 'y'"),
        ([{"content": "a"}] * MAX_TODOS, {"action": "add"}, "a list has at most 200 entries"),
        ([{"content": "é" * 2000}] * MAX_TODOS, {}, "the list is too long to be kept"),
    ],
)
async def test_refusals_change_nothing(
    context: FakeContext, todos: list[dict[str, str]], more: dict[str, str], error: str
) -> None:
    await write(context, {"id": "k", "content": "kept"})
    answer = await write(context, *todos, **more)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert len(context.announced) == 1
    assert shown(await write(context, action="update")) == ["k kept pending"]


async def test_calls_of_one_session_do_not_lose_each_other(context: FakeContext) -> None:
    tool = TodoWrite()
    await asyncio.gather(
        *(tool.run({"todos": [{"content": str(number)}], "action": "add"}, context) for number in range(10))
    )
    assert [todo.content for todo in context.announced[-1]] == [str(number) for number in range(10)]
