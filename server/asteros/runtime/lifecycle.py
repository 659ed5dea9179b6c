"""State (life cycle) and activity of one agent, and its counters.

CREATED -> STARTED -> RUNNING -> STARTED -> STOPPED -> STARTED; any -> CLOSED (seed 004).
Activity says what it does now: IDLE, WORKING, WAITING, ERROR (seeds 000, 003)."""

from collections.abc import Sequence

from aster.v1 import agent_pb2, event_pb2
from asteros import clock, errors
from asteros.runtime.journal import snapshot
from asteros.stores.base import PutStatus

CREATED = agent_pb2.AGENT_STATE_CREATED
STARTED = agent_pb2.AGENT_STATE_STARTED
RUNNING = agent_pb2.AGENT_STATE_RUNNING
STOPPED = agent_pb2.AGENT_STATE_STOPPED
CLOSED = agent_pb2.AGENT_STATE_CLOSED
IDLE = agent_pb2.AGENT_ACTIVITY_IDLE
WORKING = agent_pb2.AGENT_ACTIVITY_WORKING
WAITING = agent_pb2.AGENT_ACTIVITY_WAITING
ERROR = agent_pb2.AGENT_ACTIVITY_ERROR

_ALLOWED = {
    (CREATED, STARTED),
    (STARTED, RUNNING),
    (RUNNING, STARTED),
    (STARTED, STOPPED),
    (STOPPED, STARTED),
    (CREATED, CLOSED),
    (STARTED, CLOSED),
    (RUNNING, CLOSED),
    (STOPPED, CLOSED),
}


class Lifecycle:
    """The status of an agent in memory; ``row`` gives what is stored of it."""

    def __init__(self, status: agent_pb2.AgentStatus) -> None:
        self.status = snapshot(status)
        self._started_at = clock.monotonic()

    @property
    def closed(self) -> bool:
        return self.status.state == CLOSED

    def change(
        self, state: agent_pb2.AgentState | None = None, activity: agent_pb2.AgentActivity | None = None
    ) -> list[event_pb2.StateChanged]:
        """Moves to a state and an activity; what changed, to be announced and stored.

        :raises WrongState: the state cannot be reached from the present one."""
        status = self.status
        target = status.state if state is None else state
        doing = status.activity if activity is None else activity
        if target == status.state and doing == status.activity:
            return []
        if target != status.state and (status.state, target) not in _ALLOWED:
            names = agent_pb2.AgentState.Name
            raise errors.WrongState(f"the agent is {names(status.state)}", state=names(status.state))
        changed = event_pb2.StateChanged(
            previous_state=status.state, state=target, previous_activity=status.activity, activity=doing
        )
        if target == STARTED and status.state != RUNNING:
            self._started_at = clock.monotonic()
        status.state, status.activity = target, doing
        return [changed]

    def undo(self, changed: Sequence[event_pb2.StateChanged]) -> None:
        """Takes changes back that could not be stored."""
        if changed:
            self.status.state = changed[0].previous_state
            self.status.activity = changed[0].previous_activity

    def started(self) -> list[event_pb2.StateChanged]:
        """CREATED and STOPPED become STARTED; anything else stays."""
        return self.change(STARTED) if self.status.state in (CREATED, STOPPED) else []

    def row(self) -> PutStatus:
        """The status as a row; stamped as active now."""
        self.status.last_activity_time.CopyFrom(clock.timestamp(clock.now()))
        return PutStatus(snapshot(self.status))

    @property
    def uptime(self) -> float:
        """Seconds since it was last started."""
        return clock.monotonic() - self._started_at
