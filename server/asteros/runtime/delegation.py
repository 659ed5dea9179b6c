"""Turns that a turn gives to a helper: the tool Task (contract, part 6).

A delegated turn has a session of its own, fewer tools and never more rights. Its
events stand in the same log and name their parent. It ends with the turn that began
it, at the latest, and is taken up again with it after a crash."""

import asyncio
import dataclasses
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

from aster.v1 import agent_pb2, common_pb2, session_service_pb2
from asteros import clock, errors, ids
from asteros.runtime import history
from asteros.runtime.context import TurnContext
from asteros.runtime.turn import TurnRun
from asteros.stores.base import AddMessage, PutNote, PutSession, PutTurn, Row, TurnRow
from asteros.tools.base import Delegated, Delegation

_log = logging.getLogger(__name__)
_NOTE = "delegation"  # of the helper's session: what it was begun with
_STATES = {
    agent_pb2.TURN_STATE_COMPLETED: "completed",
    agent_pb2.TURN_STATE_FAILED: "failed",
    agent_pb2.TURN_STATE_INTERRUPTED: "stopped",
    agent_pb2.TURN_STATE_WAITING: "waiting",
}

# Builds the run of a delegated turn: (row, parent, what it was begun with, resumed).
MakeRun = Callable[[TurnRow, TurnContext, Delegation, bool], Awaitable[TurnRun]]


class Delegations:
    """The delegated turns of one agent that are in progress."""

    def __init__(self, make_run: MakeRun) -> None:
        self._make_run = make_run
        self._live: dict[str, tuple[TurnRun, asyncio.Task[None]]] = {}
        self._leaving = False

    @property
    def runs(self) -> Sequence[TurnRun]:
        return [run for run, _ in self._live.values()]

    def of(self, parent: TurnContext, call_id: str) -> "CallTasks":
        """What a tool call of a turn may do with helpers."""
        return CallTasks(self, parent, call_id)

    async def resume(self, parent: TurnContext) -> None:
        """Takes up the helpers of a turn that is taken up itself."""
        for row in await parent.deps.store.unfinished_turns(parent.journal.ref.key):
            if row.turn.parent_turn_id == parent.turn.id and row.turn.parent_call_id:
                await self.start(parent, row, resumed=True)

    async def start(self, parent: TurnContext, row: TurnRow, *, resumed: bool) -> None:
        """Runs a stored turn beside the one that delegated it."""
        notes = await parent.deps.store.notes(row.agent_key, row.turn.session_id)
        spec = Delegation(**json.loads(notes[_NOTE]))
        run = await self._make_run(row, parent, spec, resumed)
        parent.delegated.append(run.turn.id)
        task = asyncio.create_task(self._run(run), name=f"delegated turn {run.turn.id}")
        self._live[run.turn.id] = (run, task)

    async def _run(self, run: TurnRun) -> None:
        try:
            await run.run(more_wait=lambda: False)
        except errors.AsterError as error:  # the lease is lost: the turn that delegated it meets the same
            _log.warning("delegated turn %s was given up: %s", run.turn.id, error.reason)
        finally:
            run.context.workspace.close()
            self._live.pop(run.turn.id, None)

    async def stop(self, turn_id: str, reason: str) -> None:
        """Interrupts a helper and waits for its end; nothing when it has ended, or the process ends."""
        live = self._live.get(turn_id)
        if live is not None and not self._leaving:
            live[0].interrupt(reason)
            await asyncio.wait([live[1]])

    async def wait(self, turn_id: str, timeout: float | None) -> None:
        """Waits for the end of a helper, or so many seconds. Cancelling only stops the waiting."""
        if live := self._live.get(turn_id):
            await asyncio.wait([live[1]], timeout=timeout)

    async def finish(self, parent: TurnContext) -> None:
        """Ends the helpers of a turn that ends: nobody could ask for what they find."""
        for turn_id in parent.delegated:
            await self.stop(turn_id, "the turn that delegated this one has ended")

    def leave(self) -> None:
        """The process ends: from now on helpers are left as they are stored."""
        self._leaving = True

    async def halt(self) -> None:
        """Stops working on every helper; ``leave`` came before."""
        tasks = [task for _, task in self._live.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class CallTasks:
    """``tools.base.Tasks`` for one tool call."""

    def __init__(self, delegations: Delegations, parent: TurnContext, call_id: str) -> None:
        self._delegations = delegations
        self._parent = parent
        self._call_id = call_id

    async def begin(self, spec: Delegation) -> str:
        parent = self._parent
        if parent.parent is not None:
            raise errors.WrongState("a helper cannot delegate", turn_id=parent.turn.id)
        parent.deps.providers.check(config_of(parent.config, spec).model_config)
        task_id = _id_of(parent.turn.id, self._call_id)
        if await parent.deps.store.turn(parent.journal.ref.key, task_id) is None:
            await self._delegations.start(parent, await self._store(task_id, spec), resumed=False)
        return task_id

    async def _store(self, task_id: str, spec: Delegation) -> TurnRow:
        """Stores the helper's session, its turn, and what it was told, at once."""
        parent, now = self._parent, clock.timestamp(clock.now())
        agent_id = parent.journal.ref.id
        session = session_service_pb2.Session(
            id=f"ses_{task_id.removeprefix('trn_')}",
            agent_id=agent_id,
            title=spec.description,
            status="active",
            parent_session_id=parent.session.id,
            message_count=1,
            create_time=now,
            update_time=now,
        )
        turn = agent_pb2.Turn(
            id=task_id,
            agent_id=agent_id,
            session_id=session.id,
            state=agent_pb2.TURN_STATE_RUNNING,
            create_time=now,
            start_time=now,
            first_sequence=parent.journal.place.sequence + 1,
            parent_turn_id=parent.turn.id,
            parent_call_id=self._call_id,
            star_id=parent.turn.star_id,
            workflow_run_id=parent.turn.workflow_run_id,
        )
        said = common_pb2.Message(role=common_pb2.ROLE_USER, id=ids.new("msg_"), turn_id=task_id, create_time=now)
        said.content.add(text=spec.prompt)
        row = TurnRow(parent.journal.ref.key, turn, said, parent.row.principal, common_pb2.Budget())
        note = json.dumps(dataclasses.asdict(spec), ensure_ascii=False).encode()
        rows: list[Row] = [
            PutSession(session, insert=True),
            PutTurn(turn, said, row.principal, row.budget),
            AddMessage(session.id, said),
            PutNote(session.id, _NOTE, note),
        ]
        await parent.journal.write((), rows)
        return row

    async def wait(self, task_id: str, timeout: float | None) -> Delegated | None:
        if await self.get(task_id) is None:
            return None
        await self._delegations.wait(task_id, timeout)
        return await self.get(task_id)

    async def stop(self, task_id: str, reason: str) -> Delegated | None:
        if await self.get(task_id) is None:
            return None
        await self._delegations.stop(task_id, reason)
        return await self.get(task_id)

    async def get(self, task_id: str) -> Delegated | None:
        ref = self._parent.journal.ref
        row = await self._parent.deps.store.turn(ref.key, task_id)
        if row is None or not row.turn.parent_turn_id:
            return None
        found = await self._parent.deps.store.session(ref.tenant, row.turn.session_id)
        if found is None or found[1].parent_session_id != self._parent.session.id:
            return None  # of another conversation
        turn = row.turn
        return Delegated(
            turn.id,
            _STATES.get(turn.state, "running"),
            found[1].title,
            history.text_of(turn.reply),
            turn.error.message,
            turn.step_count,
            turn.usage.total_tokens,
        )

    async def all(self) -> Sequence[Delegated]:
        found = [await self.get(task_id) for task_id in self._parent.delegated]
        return [task for task in found if task is not None]


def config_of(config: agent_pb2.AgentConfig, spec: Delegation) -> agent_pb2.AgentConfig:
    """The settings of a helper: those of its parent, with another prompt and perhaps another model."""
    made = agent_pb2.AgentConfig()
    made.CopyFrom(config)
    made.system_prompt = spec.system
    if spec.model:
        made.model_config.model = spec.model
        del made.model_config.fallbacks[:]
    return made


def _id_of(turn_id: str, call_id: str) -> str:
    """The turn that a call begins: the same id when the call is run again after a crash.

    Sorts beside its parent: the same time in front, then 80 bits of a hash."""
    digest = hashlib.sha256(f"{turn_id}/{call_id}".encode()).digest()
    return f"trn_{turn_id.removeprefix('trn_')[:10]}{ids.encoded(int.from_bytes(digest[:10], 'big'), 16)}"
