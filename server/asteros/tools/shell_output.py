"""BashOutput and KillShell: what background shells have written, and their end."""

import signal

from asteros.tools.base import JsonObject, RerunPolicy, Shell, ToolContext, ToolInfo

FOLLOW_SECONDS = 30.0  # that BashOutput waits for something new
MAX_WAIT = 60
KILL_WAIT = 5.0  # seconds for the processes to go after SIGKILL
_SIGNALS = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL, "INT": signal.SIGINT, "HUP": signal.SIGHUP}


class BashOutput:
    """What a shell has written since it was last read: {"ok", "bash_id", "running", "output", "next_offset", …}."""

    info = ToolInfo(
        name="BashOutput",
        description=(
            "Returns the output of a background shell: what is new since the last call, or everything since an "
            "offset. Only the newest MiB is kept."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "bash_id": {"type": "string"},
                "filter": {"type": "string", "description": "Only lines that contain this text."},
                "lines": {"type": "integer", "minimum": 1, "description": "Only so many lines, the last ones."},
                "follow": {"type": "boolean", "description": "Wait up to 30 seconds for something new."},
                "include_stderr": {"type": "boolean", "description": "Default true."},
                "since": {"type": "integer", "minimum": 0, "description": "A next_offset of an earlier answer."},
                "resource_info": {"type": "boolean", "description": "Tell how much is buffered, too."},
                "clear_cache": {"type": "boolean", "description": "Forget the output after this answer."},
            },
            "required": ["bash_id"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        groups=("bash",),
        main_argument="bash_id",
        argument_aliases={"shell_id": "bash_id"},
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``missed_bytes``: of the output asked for, what is kept no longer."""
        shell = context.commands.shells.get(args["bash_id"])
        if shell is None:
            return _unknown(args["bash_id"])
        since: int = min(args.get("since", shell.read_to), shell.ring.end)
        if args.get("follow", False):
            await shell.news(since, FOLLOW_SECONDS)
        answer: JsonObject = {"ok": True, **_state(shell)}
        answer["output"] = _chosen(shell.ring.read(since, errors=args.get("include_stderr", True)), args)
        answer["next_offset"] = shell.read_to = shell.ring.end
        if shell.ring.start > since:
            answer["missed_bytes"] = shell.ring.start - since
        if args.get("resource_info", False):
            answer["buffered_bytes"] = shell.ring.end - shell.ring.start
        if args.get("clear_cache", False):
            shell.ring.clear()
        return answer


class KillShell:
    """Ends a shell with all its processes: {"ok", "bash_id", "running", "exit_code", …}."""

    info = ToolInfo(
        name="KillShell",
        description="Ends a background shell: a signal first, and after the timeout all its processes are killed.",
        input_schema={
            "type": "object",
            "properties": {
                "shell_id": {"type": "string"},
                "signal": {"enum": list(_SIGNALS), "description": "Default TERM."},
                "force": {"type": "boolean", "description": "Kill everything at once."},
                "wait": {"type": "boolean", "description": "Wait for the end, and see to it. Default true."},
                "timeout": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": MAX_WAIT,
                    "description": "Seconds until it is killed. Default 2.",
                },
                "cleanup": {"type": "boolean", "description": "Forget the shell and its output."},
            },
            "required": ["shell_id"],
            "additionalProperties": False,
        },
        rerun=RerunPolicy.SAFE,
        timeout=MAX_WAIT + 2 * KILL_WAIT,
        groups=("bash",),
        main_argument="shell_id",
        argument_aliases={"bash_id": "shell_id"},
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """A shell that has ended already is a success."""
        shells = context.commands.shells
        shell = shells.get(args["shell_id"])
        if shell is None:
            return _unknown(args["shell_id"])
        if args.get("force", False):
            shell.kill()
        else:
            shell.signal(_SIGNALS[args.get("signal", "TERM")])
        if args.get("wait", True) and not await shell.ended(args.get("timeout", 2.0)):
            shell.kill()
            await shell.ended(KILL_WAIT)
        if args.get("cleanup", False):
            shells.forget(shell.id)
        return {"ok": True, **_state(shell)}


def _state(shell: Shell) -> JsonObject:
    state: JsonObject = {
        "bash_id": shell.id,
        "command": shell.command.text,
        "running": shell.running,
        "seconds": round(shell.seconds, 3),
        "sandbox": shell.tier,
    }
    if shell.exit_code is not None:
        state["exit_code"] = shell.exit_code
    if shell.over_quota:
        state["note"] = "it was stopped: the workspace is full"
    return state


def _chosen(output: str, args: JsonObject) -> str:
    """The lines that are asked for."""
    lines = output.splitlines(keepends=True)
    if wanted := args.get("filter", ""):
        lines = [line for line in lines if wanted in line]
    return "".join(lines[-args["lines"] :] if "lines" in args else lines)


def _unknown(shell_id: str) -> JsonObject:
    return {
        "ok": False,
        "error": "there is no such background shell; shells end when the agent leaves memory or the server restarts",
        "reason": "SHELL_NOT_FOUND",
        "bash_id": shell_id,
    }
