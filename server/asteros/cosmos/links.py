"""One remote agent while its program is connected: the pen of its log and its status."""

import asyncio
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aster.v1 import agent_pb2, common_pb2, event_pb2
from aster.v1 import studio_service_pb2 as pb
from asteros import clock, errors, ids
from asteros.cosmos.connection import Connection
from asteros.cosmos.requests import RemoteRequests
from asteros.events import catalogue
from asteros.events.catalogue import Kind, Stamp
from asteros.events.log import MAX_SEGMENT_EVENTS, EventLog, Written
from asteros.runtime import lifecycle
from asteros.runtime.journal import Journal, snapshot
from asteros.stores.base import AgentRow, PutAgent, PutRemote, PutStatus, PutTurn, RemoteRow, Row, Scope

CLOCK_SKEW = 3600 * clock.NANOS  # a program's time is kept when it is at most this far from ours
MAX_REPLY = 1024 * 1024  # characters of a turn's text that are kept for Chat
ACTIVITIES = {
    "": lifecycle.IDLE,
    "ready": lifecycle.IDLE,
    "idle": lifecycle.IDLE,
    "working": lifecycle.WORKING,
    "waiting": lifecycle.WAITING,
    "error": lifecycle.ERROR,
}


@dataclass(slots=True)
class RemoteTurn:
    """A turn that was started from here and that the program has not ended yet."""

    turn: agent_pb2.Turn
    ended: "asyncio.Future[agent_pb2.Turn]"  # once its last event is stored
    text: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, delta: str) -> None:
        """Text for the reply, should the end of the turn not repeat it."""
        if self.size < MAX_REPLY:
            self.text.append(delta)
            self.size += len(delta)


def settled(activity: agent_pb2.AgentActivity) -> agent_pb2.AgentActivity:
    """What an agent does whose program, or whose server, has gone: nothing, or it failed before."""
    return activity if activity == lifecycle.ERROR else lifecycle.IDLE


class Link:
    """Writes what the program reports, in its order, numbered and stored as events of our own are."""

    def __init__(
        self,
        connection: Connection,
        row: AgentRow,
        remote: RemoteRow,
        log: EventLog,
        asked: pb.ConnectRegister,
    ) -> None:
        self.connection = connection
        self.row = row
        self.journal = Journal(log, row.ref, row.epoch, row.latest_sequence)
        self.status = snapshot(row.status)
        self.agent = _described(row.agent, asked)
        self.accepts_commands = asked.accepts_commands
        self.instance_id = asked.instance_id
        same = bool(asked.instance_id) and asked.instance_id == remote.instance_id
        self.acked = remote.acked if same else 0  # the program's number of the last event stored
        self.taken = self.acked  # ... of the last event in line
        self.requests = RemoteRequests(row.key)
        self.turns: dict[str, RemoteTurn] = {}
        self._newest: Written | None = None
        self._online_since = clock.monotonic()

    # -- life -------------------------------------------------------------------------

    async def open(self, status: str) -> None:
        """Stores that the agent is here, and what it does."""
        rows: list[Row] = [PutAgent(snapshot(self.agent)), PutRemote(self.instance_id, self.acked)]
        await self._move(lifecycle.STARTED, ACTIVITIES[status], rows)

    async def close(self, *, listed: bool = True) -> None:
        """Stores that it has gone; with ``listed=False`` it leaves the lists, too.

        :raises LeaseLost: somebody else has registered it meanwhile."""
        if self._newest is not None:  # what is in line decides how far the program has come
            await asyncio.wait([self._newest])
        for turn in self.turns.values():
            if not turn.ended.done():
                turn.ended.set_exception(errors.RemoteAgentOffline(agent_id=self.row.ref.id))
                turn.ended.exception()  # nobody has to wait for it
        self.agent.remote.last_seen_time.CopyFrom(clock.timestamp(self.connection.heard_at))
        rows: list[Row] = [PutAgent(snapshot(self.agent)), PutRemote(self.instance_id, self.acked, listed)]
        events = [] if listed else self._withdrawn(rows)
        await self._move(lifecycle.STOPPED, settled(self.status.activity), rows, events)

    def _withdrawn(self, rows: list[Row]) -> list[event_pb2.Event]:
        """Nobody will take an answer any more."""
        stamp = Stamp(self.row.ref.id)
        events = []
        for request in self.requests:
            resolved = event_pb2.RequestResolved(
                pending_id=request.pending.id,
                outcome=event_pb2.RESOLUTION_OUTCOME_WITHDRAWN,
                resolve_time=clock.timestamp(clock.now()),
            )
            rows.append(self.requests.close(request, resolved))
            events.append(stamp.event(resolved))
        return events

    async def _move(
        self,
        state: agent_pb2.AgentState,
        activity: agent_pb2.AgentActivity,
        rows: Sequence[Row],
        events: Sequence[event_pb2.Event] = (),
    ) -> None:
        status, events = self.status, list(events)
        if (status.state, status.activity) != (state, activity):
            changed = event_pb2.StateChanged(
                previous_state=status.state, state=state, previous_activity=status.activity, activity=activity
            )
            events.append(Stamp(self.row.ref.id).event(changed))
            status.state, status.activity = state, activity
        await self.journal.write(events, [*rows, self._status_row()])

    def view(self) -> agent_pb2.Agent:
        """The agent as callers see it."""
        shown = snapshot(self.agent)
        shown.remote.connected = True
        shown.remote.last_seen_time.CopyFrom(clock.timestamp(self.connection.heard_at))
        shown.status.CopyFrom(self.status)
        shown.status.latest_sequence = self.journal.place.sequence
        shown.status.uptime.CopyFrom(clock.duration(clock.monotonic() - self._online_since))
        return shown

    # -- events -------------------------------------------------------------------------

    def put(self, events: Sequence[event_pb2.Event], first: int) -> tuple[Written | None, int]:
        """Puts a batch in line: what its acknowledgement waits for (None: nothing), and its number.

        ``first`` is the program's number of the first event, 0 for none. Numbers at or below those
        in line are repeats and left out, when the program says which start of it counts them."""
        numbered = first > 0
        durable = numbered and bool(self.instance_id)
        if durable and first <= self.taken:
            events = events[self.taken + 1 - first :]
            first = self.taken + 1
        last = first + len(events) - 1 if numbered else 0
        number = first
        for scope, run in _runs(events):
            rows = self._take(run)
            if durable:
                rows.append(PutRemote(self.instance_id, number + len(run) - 1, after=self.taken))
                self.taken = number + len(run) - 1
            number += len(run)
            self._newest = self.journal.put(run, rows, scope)
            if durable:
                self._newest.add_done_callback(functools.partial(self._stored, number - 1))
            self._end_turns(run, self._newest)
        newest = self._newest
        if newest is not None and newest.done() and not newest.cancelled() and newest.exception() is None:
            newest = self._newest = None
        return newest, last

    def _stored(self, number: int, written: Written) -> None:
        """A batch is durable; one that failed lets none behind it in (see ``PutRemote.after``)."""
        if not written.cancelled() and written.exception() is None:
            self.acked = number

    def _take(self, run: Sequence[event_pb2.Event]) -> list[Row]:
        """Makes events ready for the log; the rows that go with them."""
        before = snapshot(self.status)
        rows: list[Row] = []
        now = clock.now()
        for event, event_id in zip(run, ids.ulid.block(len(run)), strict=True):
            kind = kind_of(event)
            assert kind is not None, "judged before"
            self._stamp(event, kind, event_id.decode(), now)
            self._follow(event, kind)
            if kind.channel == common_pb2.CHANNEL_CONTROL:
                rows += self.requests.follow(event)
            if kind is catalogue.COMPLETE and event.turn_id:
                rows.append(PutTurn(self._ended(event)))
            elif event.turn_id in self.turns and kind.event_type == "progress.text_chunk":
                self.turns[event.turn_id].add(event.progress.text_chunk.delta)
        if self.status != before:
            rows.append(self._status_row())
        return rows

    def _stamp(self, event: event_pb2.Event, kind: Kind, event_id: str, now: int) -> None:
        """What the server says of an event, whatever the program said."""
        event.id = event_id
        event.event_type = kind.event_type
        event.agent_id = self.journal.ref.id
        event.ignorable = kind.ignorable
        event.star_id = event.workflow_run_id = ""  # the runs of others
        if event.HasField("create_time") and abs(clock.nanos(event.create_time) - now) > CLOCK_SKEW:
            event.ClearField("create_time")

    def _follow(self, event: event_pb2.Event, kind: Kind) -> None:
        """The agent's status follows what its program reports."""
        status = self.status
        match kind.event_type:
            case "monitor.state_changed":
                changed = event.monitor.state_changed
                changed.previous_state, changed.previous_activity = status.state, status.activity
                changed.state = status.state  # connected or not is for us to say
                changed.activity = changed.activity or status.activity
                status.activity = changed.activity
            case "progress.complete":
                failed = event.progress.complete.state == agent_pb2.TURN_STATE_FAILED
                status.activity = lifecycle.ERROR if failed else lifecycle.IDLE
                status.last_error.CopyFrom(event.progress.complete.error)
                if not failed:
                    status.ClearField("last_error")
            case "monitor.error" if event.monitor.error.severity in ("error", "fatal"):
                status.activity = lifecycle.ERROR
            case "monitor.step_complete":
                status.step_count += 1
            case "monitor.token_usage":
                usage = event.monitor.token_usage
                status.total_tokens += usage.total_tokens or usage.input_tokens + usage.output_tokens
            case "monitor.model_call":
                status.total_cost_usd += event.monitor.model_call.cost_usd

    def _status_row(self) -> PutStatus:
        self.status.last_activity_time.CopyFrom(clock.timestamp(clock.now()))
        return PutStatus(snapshot(self.status))

    # -- turns --------------------------------------------------------------------------

    def _ended(self, event: event_pb2.Event) -> agent_pb2.Turn:
        """The turn after its last event."""
        known, done = self.turns.get(event.turn_id), event.progress.complete
        turn = known.turn if known else agent_pb2.Turn(id=event.turn_id, agent_id=self.row.ref.id)
        turn.session_id = event.session_id or turn.session_id
        turn.state = done.state or agent_pb2.TURN_STATE_COMPLETED
        turn.stop_reason = done.stop_reason
        turn.cost_usd = done.cost_usd
        turn.usage.CopyFrom(done.usage)
        text = done.final_text or "".join(known.text if known else ())
        turn.reply.CopyFrom(common_pb2.Message(role=common_pb2.ROLE_ASSISTANT))
        turn.reply.content.add(text=text)
        if done.HasField("error"):
            turn.error.CopyFrom(done.error)
        turn.end_time.CopyFrom(clock.timestamp(clock.now()))
        return snapshot(turn)

    def _end_turns(self, run: Sequence[event_pb2.Event], written: Written) -> None:
        for event in run:
            if event.event_type == catalogue.COMPLETE.event_type and event.turn_id in self.turns:
                written.add_done_callback(functools.partial(self._turn_stored, self.turns[event.turn_id]))

    def _turn_stored(self, turn: RemoteTurn, written: Written) -> None:
        self.turns.pop(turn.turn.id, None)
        error = None if written.cancelled() else written.exception()
        if turn.ended.done():
            return
        if error is None:
            turn.ended.set_result(turn.turn)
        else:
            turn.ended.set_exception(error)
            turn.ended.exception()


def kind_of(event: event_pb2.Event) -> Kind | None:
    """The kind of an event; None when it has none, or one that is newer than this server."""
    channel = event.WhichOneof("payload")
    kind = getattr(event, channel).WhichOneof("kind") if channel else None
    return catalogue.KINDS[f"{channel}.{kind}"] if kind else None


def _runs(events: Sequence[event_pb2.Event]) -> Iterator[tuple[Scope, list[event_pb2.Event]]]:
    """Events that may share a segment: of one session and turn, and not too many."""
    for (session_id, turn_id), group in itertools.groupby(events, lambda event: (event.session_id, event.turn_id)):
        scope = Scope(session_id, turn_id)
        run = list(group)
        for start in range(0, len(run), MAX_SEGMENT_EVENTS):
            yield scope, run[start : start + MAX_SEGMENT_EVENTS]


def _described(stored: agent_pb2.Agent, asked: pb.ConnectRegister) -> agent_pb2.Agent:
    """The agent as its program describes it now."""
    now = clock.timestamp(clock.now())
    return agent_pb2.Agent(
        id=stored.id,
        display_name=asked.name,
        remote=agent_pb2.RemoteAgent(
            model=asked.model,
            capabilities=asked.capabilities,
            accepts_commands=asked.accepts_commands,
            metadata=asked.metadata if asked.HasField("metadata") else None,
            last_seen_time=now,
        ),
        create_time=stored.create_time,
        update_time=now,
        etag=ids.ulid(),
    )
