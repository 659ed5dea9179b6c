"""todolist: a list of what is to be done, which the agent keeps and everyone sees."""

from collections.abc import Sequence
from dataclasses import replace

from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.middleware.prompts import with_prompt
from asteros.providers.base import ModelRequest
from asteros.tools.base import Tool
from asteros.tools.todo import TodoWrite

_ADVICE = (
    "For work of three or more steps keep a list with write_todos: write it before you begin, have exactly one item "
    "in_progress, and mark an item completed as soon as it is."
)


class WriteTodos(TodoWrite):
    """TodoWrite under the name of the original's middleware: one list, whichever tool writes it."""

    info = replace(TodoWrite.info, name="write_todos", harmless=True)


class TodoList(Middleware):
    """Gives write_todos, whose changes are told to everyone (progress.todo_update), and asks for its use."""

    name = "todolist"
    priority = 50
    about = "write_todos: a list of what is to be done"

    def own_tools(self) -> Sequence[Tool]:
        return (WriteTodos(),)

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        return await proceed(with_prompt(request, _ADVICE))
