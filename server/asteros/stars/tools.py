"""What a member can do with the others while it works on a task: delegate, ask, broadcast, finish."""

import asyncio
from collections.abc import Sequence

from aster.v1 import agent_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import errors
from asteros.runtime.history import text_of
from asteros.stars import words
from asteros.stars.run import Run
from asteros.tools.base import JsonObject, RerunPolicy, Tool, ToolContext, ToolInfo

_STATES = {
    agent_pb2.TURN_STATE_COMPLETED: "completed",
    agent_pb2.TURN_STATE_FAILED: "failed",
    agent_pb2.TURN_STATE_INTERRUPTED: "stopped",
}


def tools_of(run: Run, turn_id: str) -> Sequence[Tool]:
    """The tools of a turn; none where its member works alone."""
    if not run.may_delegate(turn_id):
        return ()
    given: list[Tool] = [Give(run, turn_id, question=False), Give(run, turn_id, question=True), Broadcast(run)]
    return [*given, Finish()] if turn_id == run.row.id else given


class Give:
    """delegate and ask: another member takes a turn, and this one gets its answer."""

    def __init__(self, run: Run, turn_id: str, *, question: bool) -> None:
        self._run = run
        self._what = "question" if question else "task"
        place = run.place(turn_id)
        others = [member for member in run.members if place is None or member.name != place.member]
        team = ", ".join(f"{member.name} ({member.role})" for member in others) or "nobody"
        does = "Asks a member of your team something" if question else "Gives a member of your team a task"
        self.info = ToolInfo(
            name="ask" if question else "delegate",
            description=(
                f"{does} and waits for the answer. Say everything that must be known. Several calls at once "
                f"are worked on side by side. Your team: {team}."
            ),
            input_schema={
                "type": "object",
                "properties": {
                    "member": {"type": "string", "description": "The name of the member."},
                    self._what: {"type": "string", "minLength": 1},
                },
                "required": ["member", self._what],
                "additionalProperties": False,
            },
            read_only=True,  # side by side; what the member does is judged with that member
            rerun=RerunPolicy.SAFE,  # the same call finds the turn it began
            timeout=None,  # a turn has limits of its own
            main_argument="member",
        )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """{"ok", "member", "state", "turn_id", "answer"?, "error"?}."""
        member = words.member_of(await self._run.team(), args["member"])
        step = int(context.idempotency_key.split("/")[1])
        if not self._run.round_left(context.turn_id, step):
            return {"ok": False, "error": "there are no rounds left: finish with what you have"}
        ended = False
        try:
            turn = await self._run.delegate(context.turn_id, context.call_id, step, member, args[self._what])
            ended = True
        except errors.Draining:
            await asyncio.Event().wait()  # this turn is left as it is stored, too, and goes on after the next start
            raise
        except errors.AsterError:
            ended = True
            raise
        finally:
            if not ended:
                self._run.abandon(context.turn_id, context.call_id)
        return _told(member, turn)


def _told(member: pb.StarMember, turn: agent_pb2.Turn) -> JsonObject:
    told: JsonObject = {
        "ok": turn.state == agent_pb2.TURN_STATE_COMPLETED,
        "member": member.name,
        "state": _STATES.get(turn.state, "running"),
        "turn_id": turn.id,
    }
    if text := text_of(turn.reply):
        told["answer"] = text
    if not told["ok"]:
        told["error"] = turn.error.message or f"the member was {told['state']} before it had finished"
    return told


class Broadcast:
    """broadcast: the others are told something, and nobody answers."""

    info = ToolInfo(
        name="broadcast",
        description=(
            "Tells all members of your team something, or only those that the text names as @name. "
            "They read it with their next step; nobody answers."
        ),
        input_schema={
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1}},
            "required": ["text"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,  # what was said is said once
    )

    def __init__(self, run: Run) -> None:
        self._run = run

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """{"ok", "told": [names]}."""
        return {"ok": True, "told": await self._run.tell(context.turn_id, context.call_id, args["text"])}


class Finish:
    """finish: the task is done, and this is the answer."""

    info = ToolInfo(
        name="finish",
        description="Ends the task. The answer is what the caller gets: put all of the result in it.",
        input_schema={
            "type": "object",
            "properties": {"answer": {"type": "string", "minLength": 1}},
            "required": ["answer"],
            "additionalProperties": False,
        },
        harmless=True,  # and not read-only: it comes after what was called before it
        final=True,
        rerun=RerunPolicy.SAFE,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """{"ok", "answer"}."""
        return {"ok": True, "answer": args["answer"]}
