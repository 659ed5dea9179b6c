"""Bash: commands in the sandbox of the agent's workspace, waited for or in the background."""

import asyncio

from asteros import errors
from asteros.tools.base import Command, CommandRefused, Finished, JsonObject, PathRefused, ToolContext, ToolInfo

PROGRESS_EVERY = 10.0  # seconds between reports of a command that takes long
MAX_SECONDS = 600


class Bash:
    """Runs one command: {"ok", "exit_code", "stdout", "stderr", "seconds", "sandbox", …}."""

    info = ToolInfo(
        name="Bash",
        description=(
            "Runs a shell command in the sandbox of the workspace: no network unless the operator allows hosts, "
            f"60 seconds unless timeout says otherwise (at most {MAX_SECONDS}). Long output is cut in the middle. "
            "With background: true it answers at once with a bash_id for BashOutput and KillShell."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "command": {"type": "string", "minLength": 1},
                "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS, "description": "Seconds."},
                "description": {"type": "string", "description": "What the command does, for people."},
                "working_dir": {"type": "string", "description": "Folder in the workspace."},
                "shell_id": {
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_.-]{1,64}$",
                    "description": "Name for a background shell.",
                },
                "background": {"type": "boolean"},
                "capture_output": {"type": "boolean", "description": "False: only the exit code is answered."},
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "shell": {"enum": ["bash", "sh"]},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
        timeout=None,  # it keeps its own, within the agent's
        groups=("bash",),
        main_argument="command",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``ok`` means exit code 0. Where no box can be shut the command is not run at all."""
        command = Command(
            args["command"],
            args.get("shell", "bash"),
            args.get("working_dir", "."),
            args.get("environment", {}),
            args.get("timeout", 0),
        )
        try:
            if args.get("background", False):
                return await _start(command, args.get("shell_id", ""), context)
            finished = await _reported(command, context)
        except (errors.AsterError, CommandRefused, PathRefused, OSError) as error:
            return refusal(error, command=command.text)
        return _answer(command, finished, captured=args.get("capture_output", True))


async def _start(command: Command, shell_id: str, context: ToolContext) -> JsonObject:
    shell = await context.commands.start(command, shell_id)
    return {"ok": True, "bash_id": shell.id, "running": shell.running, "sandbox": shell.tier}


async def _reported(command: Command, context: ToolContext) -> Finished:
    """Runs the command and says now and then that it still runs."""
    task = asyncio.create_task(context.commands.run(command), name="command")
    try:
        waited = 0.0
        while not task.done():
            await asyncio.wait((task,), timeout=PROGRESS_EVERY)
            waited += PROGRESS_EVERY
            if not task.done():
                context.progress(f"the command runs for {waited:g} s")
        return task.result()
    finally:
        # Cancelled here, the command is gone before the call ends.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _answer(command: Command, finished: Finished, *, captured: bool) -> JsonObject:
    answer: JsonObject = {"ok": True, "exit_code": finished.exit_code}
    if wrong := _wrong(finished):
        answer = {"ok": False, "error": wrong, "exit_code": finished.exit_code, "command": command.text}
    if finished.timed_out:
        answer["timed_out"] = True
    if captured:
        for name, stream in (("stdout", finished.stdout), ("stderr", finished.stderr)):
            answer[name] = stream.text
            if stream.cut:
                answer[f"{name}_bytes"] = stream.size
                answer["truncated"] = True
    return answer | {"seconds": round(finished.seconds, 3), "sandbox": finished.tier}


def _wrong(finished: Finished) -> str:
    """What went wrong, in one sentence; "" when nothing did."""
    if finished.timed_out:
        return f"the command was stopped after {finished.seconds:.0f} seconds"
    if finished.over_quota:
        return "the command was stopped: the workspace is full"
    return f"exit code {finished.exit_code}" if finished.exit_code else ""


def refusal(error: Exception, **facts: object) -> JsonObject:
    """{"ok": false, …} for what kept a command from running; nothing of the host in it."""
    if isinstance(error, errors.AsterError):
        return {"ok": False, "error": error.text, "reason": error.reason, **facts, **error.facts}
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return {"ok": False, "error": "the working folder does not exist in the workspace", **facts}
    if isinstance(error, OSError):
        return {"ok": False, "error": f"the command could not be started: {error.strerror}", **facts}
    return {"ok": False, "error": str(error), **facts}
