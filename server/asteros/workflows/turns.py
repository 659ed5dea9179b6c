"""Steps that are turns of an agent: a message to it, or one call of a tool.

The turn's id is made when the step begins and stored with it. So a turn that is there was
begun by this step, and one that is not is begun now, whatever happened in between."""

import contextlib
import hashlib

from google.rpc import status_pb2

from aster.v1 import agent_pb2, common_pb2, session_service_pb2, workflow_pb2
from asteros import clock, errors, ids
from asteros.cosmos.registry import Registry
from asteros.runtime import history
from asteros.runtime.agent import Agent
from asteros.runtime.approvals import to_the_end
from asteros.runtime.mailbox import ENDED, Input
from asteros.tools.base import RerunPolicy
from asteros.workflows.actions import Action, Prepared, Work
from asteros.workflows.failures import StepFailed, failed

Step = workflow_pb2.WorkflowStep
LOOK_AGAIN = 0.2  # seconds until an agent that was lost in mid-turn is woken again
_UNTOUCHED = (common_pb2.TOOL_CALL_STATE_PENDING, common_pb2.TOOL_CALL_STATE_WAITING)


class Turns:
    """Has turns played by agents, each once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.deps.store
        self._tools = registry.deps.tools

    async def play(
        self, work: Work, agent_id: str, message: common_pb2.Message, session_id: str, turn_id: str
    ) -> agent_pb2.Turn:
        """The turn after its end, however it ended. What it used is added to the run.

        :raises AsterError: it could not be begun."""
        with work.shares.given(work.record.place) as budget:
            said = Input(
                message=message,
                session_id=session_id,
                principal=work.book.row.principal,
                budget=budget,
                turn_id=turn_id,
                workflow_run_id=work.run_id,
            )
            turn = await self._played(work.tenant, agent_id, said)
        work.book.count(work.record, turn.usage, turn.cost_usd, turn.step_count)
        return turn

    async def _played(self, tenant: str, agent_id: str, said: Input) -> agent_pb2.Turn:
        while True:
            async with self._registry.agent(tenant, agent_id) as agent:
                if await self._store.turn(agent.ref.key, said.turn_id) is None:
                    await self._opened(agent, said.session_id)
                    await agent.mailbox.submit(said)
                turn = await agent.mailbox.wait(said.turn_id)
            if turn.state in ENDED:
                return turn
            await clock.sleep(LOOK_AGAIN)  # the agent was lost: whoever wakes it takes the turn up

    @staticmethod
    async def _opened(agent: Agent, session_id: str) -> None:
        """Opens the run's own session with the agent, unless it is there."""
        if not session_id.startswith("ses_wfr-"):
            return
        now = clock.timestamp(clock.now())
        session = session_service_pb2.Session(
            id=session_id, agent_id=agent.ref.id, status="active", create_time=now, update_time=now
        )
        with contextlib.suppress(errors.SessionAlreadyExists):
            await agent.conversations.add(session, None)

    async def stop(self, work: Work, agent_id: str, turn_id: str) -> None:
        """Interrupts a turn, if it has begun, and waits for its end."""
        with contextlib.suppress(errors.AgentNotFound, errors.TurnNotFound, errors.AgentClosed):
            async with self._registry.agent(work.tenant, agent_id) as agent:
                await to_the_end(agent.interrupt(turn_id, "the workflow step was cancelled"))

    async def effects(self, work: Work) -> bool:
        """Whether a tool that may not be repeated has run in the turn of a step."""
        row = await self._store.agent(work.tenant, work.record.step.agent_id)
        turn = await self._store.turn(row.key, work.record.step.turn_id) if row is not None else None
        if row is None or turn is None:
            return False
        for number in range(turn.turn.step_count + 1):
            for call in await self._store.tool_calls(row.key, turn.turn.id, number):
                if call.record.state not in _UNTOUCHED and self._once(call.record.call.name):
                    return True
        return False

    def _once(self, tool_name: str) -> bool:
        tool = self._tools.get(tool_name)
        return tool is None or (tool.info.rerun is RerunPolicy.NEVER and not tool.info.read_only)

    async def result(self, work: Work, agent_id: str, call_id: str) -> common_pb2.ToolResult | None:
        """The stored result of a tool call."""
        row = await self._store.agent(work.tenant, agent_id)
        found = await self._store.tool_call(row.key, call_id) if row is not None else None
        return found.record.result if found is not None and found.record.HasField("result") else None


class AgentStep(Action):
    """A message to an agent; its reply is the output."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def prepare(self, work: Work) -> Prepared | None:
        work.record.step.agent_id = work.step.agent.agent_id
        work.record.step.turn_id = ids.new("trn_")
        session = await work.fill(work.step.agent.session_id, "agent.session_id") if work.step.agent.session_id else ""
        work.record.facts["session"] = session or own_session(work.run_id, work.step.agent.agent_id)
        return None

    async def run(self, work: Work) -> str:
        message = user(work.input)
        agent_id, turn_id = work.record.step.agent_id, work.record.step.turn_id
        turn = await self._turns.play(work, agent_id, message, work.record.facts["session"], turn_id)
        return text_of(turn)

    async def abandon(self, work: Work) -> None:
        await self._turns.stop(work, work.record.step.agent_id, work.record.step.turn_id)

    async def effects(self, work: Work) -> bool:
        return await self._turns.effects(work)


class ToolStep(Action):
    """A turn that is one tool call and asks no model; the tool's result is the output."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def prepare(self, work: Work) -> Prepared | None:
        work.record.step.agent_id = work.step.tool.agent_id
        work.record.step.turn_id = ids.new("trn_")
        return None

    async def run(self, work: Work) -> str:
        turn_id, agent_id = work.record.step.turn_id, work.record.step.agent_id
        call_id = f"call_{turn_id.removeprefix('trn_')}"
        message = common_pb2.Message(role=common_pb2.ROLE_ASSISTANT)
        message.content.add(
            tool_call=common_pb2.ToolCall(id=call_id, name=work.step.tool.tool_name, input_json=work.input or "{}")
        )
        session = own_session(work.run_id, agent_id, "tools")
        turn = await self._turns.play(work, agent_id, message, session, turn_id)
        result = await self._turns.result(work, agent_id, call_id)
        if turn.state != agent_pb2.TURN_STATE_COMPLETED or result is None or result.is_error:
            if turn.state != agent_pb2.TURN_STATE_COMPLETED or result is None:
                raise StepFailed(_why(turn))
            text = f"the tool answered: {result.output_json[:400]}"
            raise failed(errors.ToolFailed(text, tool=work.step.tool.tool_name))
        return result.output_json

    async def abandon(self, work: Work) -> None:
        await self._turns.stop(work, work.record.step.agent_id, work.record.step.turn_id)

    async def effects(self, work: Work) -> bool:
        return await self._turns.effects(work)


class Chooser:
    """An agent that names one of several routes."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def prepare(self, work: Work) -> None:
        work.record.step.agent_id = work.step.router.chooser_agent_id
        work.record.step.turn_id = ids.new("trn_")

    async def choose(self, work: Work) -> int:
        """Number of the route; -1: none of them."""
        agent_id = work.step.router.chooser_agent_id
        routes = {route.step.id: index for index, route in enumerate(work.step.router.routes)}
        lines = [f"- {route.step.id}: {route.description}" for route in work.step.router.routes]
        prompt = "\n".join(
            [
                "Choose what to do with the text below. Answer with one of these names and nothing else, "
                "or with NONE when none fits:",
                *lines,
                "",
                "The text:",
                work.input,
            ]
        )
        session = own_session(work.run_id, agent_id, f"router {work.step.id}")
        turn = await self._turns.play(work, agent_id, user(prompt), session, work.record.step.turn_id)
        answer = text_of(turn)
        return routes.get(answer.strip().strip("`\"'.*"), -1)

    async def abandon(self, work: Work) -> None:
        await self._turns.stop(work, work.record.step.agent_id, work.record.step.turn_id)


def text_of(turn: agent_pb2.Turn) -> str:
    """The reply of a turn.

    :raises StepFailed: it has not completed."""
    if turn.state != agent_pb2.TURN_STATE_COMPLETED:
        raise StepFailed(_why(turn))
    return history.text_of(turn.reply)


def _why(turn: agent_pb2.Turn) -> status_pb2.Status:
    return turn.error if turn.state == agent_pb2.TURN_STATE_FAILED else errors.TurnInterrupted(turn_id=turn.id).status()


def own_session(run_id: str, agent_id: str, use: str = "") -> str:
    """The session that a run keeps with an agent."""
    digest = hashlib.sha256(f"{agent_id}\0{use}".encode()).hexdigest()[:8]
    return f"ses_wfr-{run_id.removeprefix('wfr_')}-{digest}"


def user(text: str) -> common_pb2.Message:
    message = common_pb2.Message(role=common_pb2.ROLE_USER)
    message.content.add(text=text)
    return message
