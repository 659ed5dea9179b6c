"""Task: work given to a helper with a mind of its own (contract, part 6).

A helper has its own conversation, so what it reads does not fill the caller's; it has
no more rights than the caller. Three kinds, as in the documentation: Explore and Plan
only read, general-purpose has all tools but those that speak to people."""

import asyncio
from collections.abc import Awaitable, Callable

from asteros.tools.base import Delegated, Delegation, JsonObject, RerunPolicy, ToolContext, ToolInfo

MAX_MINUTES = 60
_ACTIONS = ("start", "query", "wait", "stop", "list")
# Kind: minutes, only reading, and what it is told it is.
_KINDS = {
    "Explore": (10, True, "You explore: find out what was asked, by reading and searching. Change nothing."),
    "Plan": (15, True, "You plan: read what you need, then write down the steps and their risks. Change nothing."),
    "general-purpose": (30, False, "You work on one task for another assistant. Do it to the end."),
}
_MANNERS = "Nobody can answer questions. Your last message is all that is read of your work: put the result in it."


class Task:
    """Starts a helper and gives its answer; or asks about one, waits for it, or stops it."""

    info = ToolInfo(
        name="Task",
        description=(
            "Gives a task to a helper with a fresh memory and the same files, and answers with what it found. "
            "Say everything it must know in prompt. With async it works beside you: ask later with action "
            '"wait" or "query" and its task_id. Helpers end when you end your turn.'
        ),
        input_schema={
            "type": "object",
            "properties": {
                "action": {"enum": list(_ACTIONS), "description": "Default start."},
                "task_id": {"type": "string", "description": "Of query, wait and stop."},
                "description": {"type": "string", "maxLength": 200, "description": "A few words, for people."},
                "subagent_type": {"enum": list(_KINDS), "description": "Default general-purpose."},
                "prompt": {"type": "string", "minLength": 1, "description": "The task; start needs it."},
                "model": {"type": "string", "description": "Another model of the same provider."},
                "timeout_minutes": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_MINUTES},
                "async": {"type": "boolean", "description": "Answer at once."},
            },
            "additionalProperties": False,
        },
        rerun=RerunPolicy.SAFE,  # the same call finds the helper it began
        timeout=None,  # each kind has its own
        main_argument="subagent_type",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """{"ok", "task_id", "state", "result"?, "error"?, "steps", "tokens"}, or of list {"ok", "tasks"}."""
        action = args.get("action", "start")
        if action == "start":
            return await self._start(args, context)
        if action == "list":
            return {"ok": True, "tasks": [_told(task) for task in await context.tasks.all()]}
        ask: dict[str, Callable[[str], Awaitable[Delegated | None]]] = {
            "query": context.tasks.get,
            "wait": lambda task_id: context.tasks.wait(task_id, _seconds(args, MAX_MINUTES)),
            "stop": lambda task_id: context.tasks.stop(task_id, "stopped by the assistant that began it"),
        }
        task_id = args.get("task_id", "")
        task = await ask[action](task_id)
        if task is None:
            return {"ok": False, "error": f"there is no task {task_id!r}; action list names them"}
        return _told(task)

    async def _start(self, args: JsonObject, context: ToolContext) -> JsonObject:
        if not args.get("prompt"):
            return {"ok": False, "error": "prompt is required: what should the helper do?"}
        kind = args.get("subagent_type", "general-purpose")
        minutes, read_only, role = _KINDS[kind]
        task_id = await context.tasks.begin(
            Delegation(
                prompt=args["prompt"],
                system=f"{role} {_MANNERS}",
                description=str(args.get("description", kind)),
                read_only=read_only,
                model=args.get("model", ""),
            )
        )
        if args.get("async"):
            return {"ok": True, "task_id": task_id, "state": "running"}
        return await self._finished(task_id, _seconds(args, minutes), context)

    async def _finished(self, task_id: str, seconds: float, context: ToolContext) -> JsonObject:
        task: Delegated | None = None
        try:
            task = await context.tasks.wait(task_id, seconds)
        finally:
            if task is None or task.state in ("running", "waiting"):
                stopped = asyncio.ensure_future(context.tasks.stop(task_id, "its time is up, or its caller stopped"))
                task = await asyncio.shield(stopped)
        if task is None:
            return {"ok": False, "error": "the task is gone", "task_id": task_id}
        return _told(task)


def _seconds(args: JsonObject, minutes: float) -> float:
    return float(args.get("timeout_minutes", minutes)) * 60


def _told(task: Delegated) -> JsonObject:
    told: JsonObject = {
        "ok": task.state not in ("failed", "stopped"),
        "task_id": task.task_id,
        "state": task.state,
        "description": task.description,
        "steps": task.steps,
        "tokens": task.tokens,
    }
    if task.text:
        told["result"] = task.text
    if not told["ok"]:
        told["error"] = task.error or f"the helper was {task.state} before it had finished"
    return told
