"""AskUserQuestion: the agent asks the people who watch it."""

import asyncio
from typing import Any

from asteros.tools.base import Answer, JsonObject, Option, RerunPolicy, ToolContext, ToolInfo

MAX_QUESTIONS = 4
MAX_OPTIONS = 4
MAX_HEADER = 12  # characters

_OPTION = {
    "type": "object",
    "properties": {"label": {"type": "string", "minLength": 1}, "description": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
_QUESTION = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 1},
        "header": {"type": "string", "maxLength": MAX_HEADER, "description": "A word or two that name the matter."},
        "options": {
            "type": "array",
            "items": _OPTION,
            "maxItems": MAX_OPTIONS,
            "description": "What to choose from; none: the answer is free text.",
        },
        "multi_select": {"type": "boolean", "description": "Several options may be chosen."},
    },
    "required": ["question"],
    "additionalProperties": False,
}


class AskUserQuestion:
    """Asks up to four questions at once: {"ok", "answers": [{"question", "answer"}]}."""

    info = ToolInfo(
        name="AskUserQuestion",
        description="Asks the user questions and waits for the answers. Use it when a decision is not yours to make.",
        input_schema={
            "type": "object",
            "properties": {
                "questions": {"type": "array", "items": _QUESTION, "minItems": 1, "maxItems": MAX_QUESTIONS}
            },
            "required": ["questions"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,  # a question already raised is not raised again: ToolContext.ask
        timeout=None,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """A dismissed or expired question makes the whole call a failure, which still
        holds the answers that were given and names the questions left open."""
        questions: list[JsonObject] = args["questions"]
        answers = await _ask_all(questions, context)
        pairs = [(question["question"], answer) for question, answer in zip(questions, answers, strict=True)]
        given = [{"question": text, "answer": answer.text} for text, answer in pairs if not answer.dismissed]
        unanswered = [text for text, answer in pairs if answer.dismissed]
        if unanswered:
            return {
                "ok": False,
                "error": "the user gave no answer",
                "unanswered": unanswered,
                "answers": given,
            }
        return {"ok": True, "answers": given}


async def _ask_all(questions: list[JsonObject], context: ToolContext) -> list[Answer]:
    """All at once, so that a person sees them together; cancelled together."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ask(index, question, context)) for index, question in enumerate(questions)]
    except BaseExceptionGroup as errors:
        # The runtime knows its own exceptions, not groups of them.
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _ask(index: int, question: dict[str, Any], context: ToolContext) -> Answer:
    header = question.get("header", "")
    prompt = f"{header}: {question['question']}" if header else question["question"]
    options = [Option(item["label"], item.get("description", "")) for item in question.get("options", ())]
    return await context.ask(index, prompt, options, multi_select=question.get("multi_select", False))
