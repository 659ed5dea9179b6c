"""Bash: commands, refused as long as the server has no box to run them in."""

from asteros.tools.base import JsonObject, ToolContext, ToolInfo


class Bash:
    """Answers every call with a refusal: a command never runs outside a sandbox (security rule 8)."""

    info = ToolInfo(
        name="Bash",
        description="Runs a shell command in the sandbox of the workspace.",
        input_schema={
            "type": "object",
            "properties": {
                "command": {"type": "string", "minLength": 1},
                "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": 600, "description": "Seconds."},
                "description": {"type": "string", "description": "What the command does, for people."},
                "working_dir": {"type": "string", "description": "Folder in the workspace."},
                "shell_id": {"type": "string"},
                "background": {"type": "boolean"},
                "capture_output": {"type": "boolean"},
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "shell": {"type": "string"},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
        groups=("bash",),
        main_argument="command",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """{"ok": false, "error", "command"}, always."""
        return {
            "ok": False,
            "error": "no sandbox is available on this server, so commands are not run",
            "command": args["command"],
        }
