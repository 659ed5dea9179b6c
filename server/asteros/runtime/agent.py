"""One agent in memory: what it is, its life, and the rooms its turns work in.

What is in memory is a cache of what is stored. An agent is built from its row, under
an epoch that fences whoever held it before, and may be dropped whenever it is idle."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Sequence

from google.protobuf.message import Message as ProtoMessage

from aster.v1 import agent_pb2, common_pb2, control_service_pb2, event_pb2
from asteros import clock, errors
from asteros.events.catalogue import Stamp
from asteros.middleware.onion import Onion
from asteros.runtime import lifecycle
from asteros.runtime.approvals import Approvals
from asteros.runtime.context import TurnContext
from asteros.runtime.conversations import Conversation, Conversations
from asteros.runtime.delegation import Delegations, config_of
from asteros.runtime.dependencies import Dependencies
from asteros.runtime.journal import Journal, snapshot
from asteros.runtime.lifecycle import Lifecycle
from asteros.runtime.mailbox import Mailbox
from asteros.runtime.permissions import Permissions
from asteros.runtime.rings import AgentHandle, Rings, hook_of
from asteros.runtime.tooling import AgentTools
from asteros.runtime.turn import TurnRun
from asteros.sandbox.shells import Shells
from asteros.stores.base import AddRequest, AgentRow, Row, Scope, TurnRow
from asteros.tools.base import Delegation


class Agent:
    """A woken agent. Several callers at once are safe."""

    def __init__(self, row: AgentRow, deps: Dependencies, changed: Callable[["Agent"], None]) -> None:
        self.ref = row.ref
        self.row = row
        self.deps = deps
        self.lifecycle = Lifecycle(row.status)
        self.journal = Journal(deps.log, row.ref, row.epoch, row.latest_sequence)
        self.approvals = Approvals(deps.store, self.journal, self._resolved, self._unresolved)
        self.conversations = Conversations(deps.store, self.journal, self.lifecycle, row.default_session_id)
        self.mailbox = Mailbox(
            deps.store, self.journal, self.lifecycle, self.conversations, self._make_run, lambda: changed(self)
        )
        self.rings = Rings(deps.middlewares, AgentHandle(deps.store, self.journal))
        self.delegations = Delegations(self._make_delegated)
        self.shells = Shells()  # in the background; they end when it leaves memory
        self.last_used = clock.monotonic()
        self.holds = 0  # callers that use it now; it is not evicted under them
        self.changing = asyncio.Lock()  # held while its settings are read, changed and stored
        self._config: agent_pb2.AgentConfig | None = None

    # -- what it is -----------------------------------------------------------------

    @property
    def config(self) -> agent_pb2.AgentConfig:
        """The config in effect, template included."""
        if self._config is None:
            self._config = self.deps.templates.resolve(self.row.agent.config, self.deps.providers.route)
            self.deps.secrets.open_config(self._config, self.ref.id)
        return self._config

    @property
    def workspace_name(self) -> str:
        """What names its working folder in the digest of an approval."""
        return self.config.sandbox.work_dir or str(self.ref.key)

    @property
    def idle(self) -> bool:
        """Nothing is in progress, waits or uses it: it may be dropped from memory."""
        return not self.mailbox.busy and not self.holds

    @property
    def at_work(self) -> bool:
        """A turn is in progress that does not wait for a person."""
        return self.mailbox.busy and self.lifecycle.status.activity != lifecycle.WAITING

    def updated(self, agent: agent_pb2.Agent) -> None:
        """Takes over new settings; a turn in progress keeps the old ones."""
        self.row = dataclasses.replace(self.row, agent=agent)
        self._config = None
        self.rings.retire()

    # -- life -------------------------------------------------------------------------

    async def start(self) -> None:
        """CREATED or STOPPED becomes STARTED; nothing when it is started already.

        :raises AgentClosed, MiddlewareFailed:"""
        if self.lifecycle.closed:
            raise errors.AgentClosed(agent_id=self.ref.id)
        if not self.mailbox.busy:  # else the turn in progress has told them
            await self.rings.start(self.rings.current(self.config))
        await self._announce(self.lifecycle.started())

    async def stop(self) -> None:
        """STARTED becomes STOPPED, before it is dropped from memory.

        :raises WrongState: a turn is in progress."""
        if self.mailbox.busy:
            raise errors.WrongState("a turn is in progress", agent_id=self.ref.id)
        if self.lifecycle.status.state == lifecycle.STARTED:
            await self._announce(self.lifecycle.change(lifecycle.STOPPED))
        await self.shells.aclose()
        await self.rings.stop()

    async def halt(self) -> None:
        """Leaves every turn as it is stored: the process ends, or the agent is deleted."""
        self.delegations.leave()
        await self.mailbox.halt()
        await self.delegations.halt()
        await self.shells.aclose()
        await self.rings.stop()

    async def close(self) -> None:
        """Interrupts the turn in progress, drops queued ones, and closes for good. Idempotent."""
        if self.lifecycle.closed:
            return
        async with self.mailbox.shut("the agent was closed"):
            if self.lifecycle.closed:
                return
            # From memory by way of STOPPED, as the seeds draw it.
            started = self.lifecycle.status.state == lifecycle.STARTED
            stopped = self.lifecycle.change(lifecycle.STOPPED) if started else []
            await self._announce([*stopped, *self.lifecycle.change(lifecycle.CLOSED, lifecycle.IDLE)])
        await self.shells.aclose()
        await self.rings.stop()

    async def _announce(self, changed: Sequence[event_pb2.StateChanged]) -> None:
        if not changed:
            return
        stamp = Stamp(self.ref.id)
        try:
            await self.journal.write([stamp.event(payload) for payload in changed], [self.lifecycle.row()])
        except Exception:
            self.lifecycle.undo(changed)
            raise

    # -- turns ------------------------------------------------------------------------

    async def _make_run(self, row: TurnRow, turn: agent_pb2.Turn, trace_id: str, resumed: bool) -> TurnRun:
        config = self.config
        conversation = await self.conversations.get(turn.session_id)
        onion = self.rings.current(config)
        brought = self.deps.middlewares.tools(config.middlewares)
        part = await self.deps.teams.part(self.ref.tenant, turn)
        tools = AgentTools.of(self.deps.tools, config, brought, [*onion.tools, *part.tools])
        permissions = Permissions(config, conversation.rules)
        if conversation.planning is not None:
            permissions.in_plan = conversation.planning
        scope = Scope(turn.session_id, turn.id, turn.star_id, turn.workflow_run_id)
        stamp = Stamp(self.ref.id, scope, 0, trace_id, turn.parent_turn_id, turn.parent_call_id)
        context = self._context(config, tools, permissions, row, turn, conversation, stamp, onion)
        context.shared = part.shared
        return TurnRun(context, resumed=resumed)

    async def _make_delegated(self, row: TurnRow, parent: TurnContext, spec: Delegation, resumed: bool) -> TurnRun:
        """The run of a turn that another one delegated: with no more rights than that one has."""
        turn = snapshot(row.turn)
        conversation = await self.conversations.get(turn.session_id)
        permissions = Permissions(parent.config, parent.conversation.rules | conversation.rules)
        permissions.in_plan = parent.permissions.in_plan
        scope = Scope(turn.session_id, turn.id, turn.star_id, turn.workflow_run_id)
        stamp = Stamp(self.ref.id, scope, 0, parent.stamp.trace_id, turn.parent_turn_id, turn.parent_call_id)
        context = self._context(
            config_of(parent.config, spec),
            AgentTools(parent.tools, parent.specs).for_helper(read_only=spec.read_only),
            permissions,
            row,
            turn,
            conversation,
            stamp,
            parent.onion,
        )
        context.parent = parent
        return TurnRun(context, resumed=resumed)

    def _context(
        self,
        config: agent_pb2.AgentConfig,
        tools: AgentTools,
        permissions: Permissions,
        row: TurnRow,
        turn: agent_pb2.Turn,
        conversation: Conversation,
        stamp: Stamp,
        onion: Onion,
    ) -> TurnContext:
        workspace = self.deps.open_workspace(self.ref.key, config.sandbox.work_dir)
        context = TurnContext(
            deps=self.deps,
            config=config,
            journal=self.journal,
            approvals=self.approvals,
            lifecycle=self.lifecycle,
            permissions=permissions,
            tools=tools.by_name,
            specs=tools.specs,
            workspace=workspace,
            commands=self.deps.sandboxes.commands(workspace, config.sandbox, self.shells),
            workspace_name=self.workspace_name,
            row=row,
            turn=turn,
            conversation=conversation,
            stamp=stamp,
            onion=onion,
            start=lambda: self.rings.start(onion),
            helpers=self.delegations,
        )
        context.hook = hook_of(onion, context)
        return context

    @property
    def runs(self) -> Sequence[TurnRun]:
        """Turns in progress: the mailbox's, and those it has delegated."""
        current = self.mailbox.current
        return [*([current] if current else []), *self.delegations.runs]

    def run_of(self, turn_id: str) -> TurnRun | None:
        """A turn in progress."""
        return next((run for run in self.runs if run.turn.id == turn_id), None)

    async def interrupt(self, turn_id: str, reason: str) -> agent_pb2.Turn:
        """Stops a turn, also a delegated one; see ``Mailbox.interrupt``."""
        self.deps.teams.stopped(self.ref.tenant, turn_id, reason)
        await self.delegations.stop(turn_id, reason)
        return await self.mailbox.interrupt(turn_id, reason)

    def _unresolved(self, pending: control_service_pb2.PendingRequest) -> None:
        """The resolution could not be stored: the turn waits again."""
        run = self.run_of(pending.turn_id)
        if run is not None and pending.id not in run.turn.pending_ids:
            run.turn.pending_ids.append(pending.id)
            run.turn.state = agent_pb2.TURN_STATE_WAITING
            self.lifecycle.change(activity=lifecycle.WAITING)

    def bound_to(self, turn_id: str) -> tuple[str, str]:
        """Policy version and workspace that approvals of a turn are bound to: those it was begun with."""
        run = self.run_of(turn_id)
        if run is not None:
            return run.context.permissions.version, run.context.workspace_name
        return Permissions(self.config, {}).version, self.workspace_name

    # -- decisions ------------------------------------------------------------------------------

    def _resolved(self, pending: control_service_pb2.PendingRequest) -> tuple[list[event_pb2.Event], list[Row]]:
        """What else changes when a request of the turn in progress is resolved."""
        run = self.run_of(pending.turn_id)
        if run is None or pending.id not in run.turn.pending_ids:
            return [], []
        run.turn.pending_ids.remove(pending.id)
        payloads: list[event_pb2.StateChanged] = []
        if not run.turn.pending_ids:
            run.turn.state = agent_pb2.TURN_STATE_RUNNING
            if not any(other.turn.pending_ids for other in self.runs):
                payloads = self.lifecycle.change(activity=lifecycle.WORKING)
        return run.context.events(*payloads), run.context.turn_rows()

    def four_eyes(self, turn_id: str) -> bool:
        """Who started the turn may not decide: by the settings, or those the turn was begun with."""
        run = self.run_of(turn_id)
        begun = run is not None and run.context.config.four_eyes
        return begun or self.config.four_eyes

    async def starter_of(self, turn_id: str) -> str:
        """The principal that started a turn, for four eyes."""
        row = await self.deps.store.turn(self.ref.key, turn_id)
        return row.principal if row else ""

    def remember_rule(self, session_id: str, tool: str, policy: common_pb2.PermissionPolicy) -> None:
        """A decision with scope SESSION holds from now on, for the turn in progress too."""
        conversation = self.conversations.loaded(session_id)
        if conversation is not None:
            conversation.rules[tool] = policy
        for run in self.runs:
            if run.context.session.id == session_id:
                run.context.permissions.remember(tool, policy)

    def refuse_session_in_use(self, session_id: str) -> None:
        """
        :raises WrongState: one of the session's turns is in progress or waits."""
        if self.mailbox.uses(session_id):
            raise errors.WrongState("a turn of the session is in progress", session_id=session_id)


def request_of(request_id: str, method: str, request: ProtoMessage) -> AddRequest | None:
    """The idempotency row of a request; None without a request_id."""
    if not request_id:
        return None
    digest = hashlib.sha256(method.encode() + b"\x00" + request.SerializeToString(deterministic=True)).digest()
    return AddRequest(request_id, digest, "")
