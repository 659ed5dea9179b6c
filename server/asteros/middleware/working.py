"""working_memory: one page that the agent keeps up to date and sees in every model call."""

from collections.abc import Sequence
from typing import ClassVar

from asteros.middleware.base import CallModel, Middleware, MiddlewareContext, ModelContext, ModelStream
from asteros.middleware.prompts import with_prompt
from asteros.providers.base import ModelRequest
from asteros.tools.base import JsonObject, Notes, RerunPolicy, Tool, ToolContext, ToolInfo

NOTE = "working_memory"


class UpdateWorkingMemory:
    """Replaces the page: {"ok", "bytes"}."""

    info = ToolInfo(
        name="update_working_memory",
        description="Replaces your working memory: a short page of facts you see in every later step. Keep it whole "
        "and short; what you leave out is forgotten.",
        input_schema={
            "type": "object",
            "properties": {"memory": {"type": "string", "description": "The whole page; empty forgets it."}},
            "required": ["memory"],
            "additionalProperties": False,
        },
        harmless=True,
        rerun=RerunPolicy.SAFE,
    )

    def __init__(self, scope: str, max_bytes: int) -> None:
        self._scope = scope
        self._max = max_bytes

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        size = len(args["memory"].encode())
        if size > self._max:
            return {"ok": False, "error": f"the page has {size} bytes; at most {self._max} are kept"}
        notes = context.session_notes if self._scope == "thread" else context.agent_notes
        await notes.put(NOTE, args["memory"] or None)
        return {"ok": True, "bytes": size}


class WorkingMemory(Middleware):
    """``scope`` thread: a page for each session; resource: one for the agent."""

    name = "working_memory"
    priority = 6
    about = "update_working_memory: a page the model sees in every call"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "scope": {"enum": ["thread", "resource"], "default": "thread"},
            "max_bytes": {"type": "integer", "minimum": 100, "maximum": 100_000, "default": 8_000},
            "template": {"type": "string", "maxLength": 8_000, "default": ""},
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._scope: str = config["scope"]
        self._template: str = config["template"]
        self._tool = UpdateWorkingMemory(self._scope, config["max_bytes"])

    def own_tools(self) -> Sequence[Tool]:
        return (self._tool,)

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        page = await self._notes(context).get(NOTE) or self._template
        shown = page or "(empty)"
        text = (
            f"Your working memory; change it with update_working_memory:\n<working_memory>\n{shown}\n</working_memory>"
        )
        return await proceed(with_prompt(request, text))

    def _notes(self, context: MiddlewareContext) -> Notes:
        return context.session_notes if self._scope == "thread" else context.agent_notes
