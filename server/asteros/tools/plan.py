"""EnterPlanMode and ExitPlanMode: first a plan that a person approves, then the work.

What may run in plan mode is the business of the permission check."""

from asteros.tools.base import JsonObject, Option, PathRefused, RerunPolicy, ToolContext, ToolInfo
from asteros.tools.files import PATH, failure

PLAN_FILE = "plan.md"  # the one file that may be written in plan mode
MAX_PLAN = 64 * 1024  # bytes
APPROVE, GO_ON = "Approve", "Keep planning"


class EnterPlanMode:
    """{"ok", "plan_mode": true, "plan_file_path"}; holds for the session until ExitPlanMode is approved."""

    info = ToolInfo(
        name="EnterPlanMode",
        description=(
            "Enters plan mode: from then on only tools that look, ask or write the plan file may run, "
            "until the user approves the plan that ExitPlanMode shows."
        ),
        input_schema={
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "Why a plan comes first."}},
            "additionalProperties": False,
        },
        harmless=True,
        rerun=RerunPolicy.SAFE,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """Entering twice is fine."""
        await context.set_plan_mode(True)
        return {"ok": True, "plan_mode": True, "plan_file_path": PLAN_FILE}


class ExitPlanMode:
    """Shows the plan to a person: {"ok", "plan_mode": false, "plan"} when approved, else {"ok": false, "error"}."""

    info = ToolInfo(
        name="ExitPlanMode",
        description=(
            "Shows the plan to the user and asks for approval. Leaves plan mode when it is given. "
            "Give the plan itself, or the path of the file that holds it."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "plan": {"type": "string", "minLength": 1, "description": "The plan, as Markdown."},
                "plan_file_path": {**PATH, "description": f"File that holds the plan. Default {PLAN_FILE}."},
            },
            "additionalProperties": False,
        },
        harmless=True,
        rerun=RerunPolicy.SAFE,  # the question is raised once, its answer stays: ToolContext.ask
        timeout=None,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """A free answer is told to the model as feedback and keeps plan mode."""
        if not context.in_plan_mode:
            # Not a failure: after a crash this call runs again, and may have left already.
            return {"ok": True, "plan_mode": False}
        path = args.get("plan_file_path", PLAN_FILE)
        try:
            plan = args["plan"] if "plan" in args else await _read(path, context)
        except (PathRefused, OSError) as error:
            return failure(path, error)
        if not plan.strip() or len(plan.encode()) > MAX_PLAN:
            return {"ok": False, "error": f"a plan has 1 to {MAX_PLAN} bytes", "path": path}
        options = [Option(APPROVE, "Leave plan mode and begin."), Option(GO_ON, "Stay in plan mode.")]
        answer = await context.ask(0, f"Approve this plan?\n\n{plan}", options)
        if answer.dismissed or answer.text != APPROVE:
            feedback = {} if answer.dismissed or answer.text == GO_ON else {"feedback": answer.text}
            return {"ok": False, "error": "the user did not approve the plan", "plan_mode": True, **feedback}
        await context.set_plan_mode(False)
        return {"ok": True, "plan_mode": False, "plan": plan}


async def _read(path: str, context: ToolContext) -> str:
    return (await context.files.read(path, MAX_PLAN + 1)).decode(errors="replace")
