"""What a remote agent's program waits for a person to decide, as its events tell it.

A request is stored under the id of its event, as for agents of our own; the program's
own id for it is kept beside, because that is what the program will be answered with."""

from collections.abc import Iterable, Iterator

from aster.v1 import control_service_pb2, event_pb2
from asteros import clock
from asteros.runtime.journal import snapshot
from asteros.stores.base import PendingRow, PutPending

MAX_OPEN = 1000  # of one agent; more are events alone
Pending = control_service_pb2.PendingRequest
# kind of event -> field of PendingRequest
_KINDS = {
    "tool_approval_request": "tool_approval",
    "user_input_request": "user_input",
    "iteration_limit": "iteration_limit",
}


class RemoteRequests:
    """The open requests of one remote agent."""

    def __init__(self, agent_key: int) -> None:
        self._agent_key = agent_key
        self._open: dict[str, PendingRow] = {}

    def load(self, rows: Iterable[PendingRow]) -> None:
        """Takes over what was open when the program dialled in."""
        self._open = {row.pending.id: row for row in rows}

    def find(self, pending_id: str) -> PendingRow | None:
        """An open request, by our id of it or by the program's."""
        found = self._open.get(pending_id)
        return found or next((row for row in self._open.values() if pending_id and row.call_id == pending_id), None)

    def follow(self, event: event_pb2.Event) -> list[PutPending]:
        """Rows that go with a control event; its ``pending_id`` becomes ours."""
        kind = event.control.WhichOneof("kind") or ""
        if kind == "request_resolved":
            return self._resolved(event.control.request_resolved)
        if kind not in _KINDS or len(self._open) >= MAX_OPEN:
            return []
        asked = getattr(event.control, kind)
        own_id = asked.pending_id or (asked.call.id if kind == "tool_approval_request" else "") or event.id
        asked.pending_id = event.id
        pending = Pending(
            id=event.id,
            agent_id=event.agent_id,
            session_id=event.session_id,
            turn_id=event.turn_id,
            expire_time=asked.expire_time if asked.HasField("expire_time") else None,
            **{_KINDS[kind]: asked},
        )
        pending.create_time.CopyFrom(clock.timestamp(clock.now()))
        self._open[event.id] = PendingRow(self._agent_key, pending, own_id, 0)
        return [PutPending(snapshot(pending), own_id)]

    def _resolved(self, resolved: event_pb2.RequestResolved) -> list[PutPending]:
        row = self.find(resolved.pending_id)
        if row is None:
            return []
        resolved.pending_id = row.pending.id
        return [self.close(row, resolved)]

    def close(self, row: PendingRow, resolved: event_pb2.RequestResolved) -> PutPending:
        """The request is decided."""
        del self._open[row.pending.id]
        row.pending.resolution.CopyFrom(resolved)
        return PutPending(snapshot(row.pending), row.call_id)

    def __iter__(self) -> Iterator[PendingRow]:
        return iter(list(self._open.values()))
