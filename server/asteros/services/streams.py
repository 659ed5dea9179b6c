"""From a request to a subscription, and from a subscription to the wire."""

from collections.abc import Sequence
from typing import Any

from aster.v1 import event_service_pb2 as pb
from asteros import clock, errors, failpoints
from asteros.cosmos.registry import Registry
from asteros.events import filters
from asteros.events.cursor import CursorCodec, Place
from asteros.events.filters import Filter
from asteros.events.hub import Hub
from asteros.events.log import EventLog
from asteros.events.subscription import BUFFER_SIZE, HEARTBEAT, Options, Subscription
from asteros.runtime.mailbox import ENDED
from asteros.services.access_table import CHANNEL_SCOPES
from asteros.services.call import Call
from asteros.stores.base import AgentRef, AgentRow


class Streams:
    """Opens and follows subscriptions for every streaming RPC."""

    def __init__(self, registry: Registry, log: EventLog) -> None:
        self._registry = registry
        self._store = registry.deps.store
        self.hub: Hub = log.hub
        self.codec: CursorCodec = log.codec
        self.draining = False

    def check_channel(self, call: Call, channel: int) -> None:
        """A missing channel is refused with its name, never left out silently.

        :raises ScopeRequired:"""
        scope = CHANNEL_SCOPES[channel]
        if not call.caller.has(scope):
            raise errors.ScopeRequired(scope)

    async def follow(self, call: Call, subscription: Subscription) -> None:
        """Writes the messages of a stream until it ends. A write that blocks too long ends it.

        No generator stands between: each would cost every message a microsecond."""
        stop = call.stopper()
        while (data := await subscription.next()) is not None:
            await failpoints.reach("hub.before_write")
            subscription.write_began(stop)
            await call.write(data)
            subscription.write_ended()

    # -- where to begin -----------------------------------------------------------------

    def now(self, row: AgentRow, latest: int, wanted: Filter, options: Options) -> Subscription:
        """One agent, from now on."""
        start = Place(row.key, self.hub.head, latest)
        return self._open(row.tenant, [row.ref], wanted, start, options, row.oldest_sequence, latest)

    async def after(self, ref: AgentRef, sequence: int, wanted: Filter, options: Options) -> Subscription:
        """One agent, from the event after a sequence."""
        row = await self._registry.row(ref.tenant, ref.id)
        start = Place(row.key, 0, sequence)
        return self._open(row.tenant, [ref], wanted, start, options, row.oldest_sequence, row.latest_sequence)

    def from_place(self, tenant: str, wanted: Filter, start: Place, options: Options) -> Subscription:
        """All agents of a tenant, after a position."""
        return self._open(tenant, None, wanted, start, options, 0, 0)

    async def subscribe(self, call: Call, request: Any, channels: Sequence[int]) -> Subscription:
        """A subscription as a request asks for it.

        :raises AgentNotFound, InvalidCursor, CursorExpired, CursorAhead, LogReset:"""
        names = list(dict.fromkeys([*([request.agent_id] if request.agent_id else []), *request.agent_ids]))
        rows = [await self._registry.row(call.caller.tenant, name) for name in names]
        wanted = filters.compiled(
            channels,
            request.event_types,
            session_id=request.session_id,
            turn_id=request.turn_id,
            star_id=request.star_id,
            workflow_run_id=request.workflow_run_id,
        )
        options = await self._options(request, rows)
        if len(rows) == 1:
            start = await self._start_of_one(call, request, rows[0])
            oldest, latest = rows[0].oldest_sequence, max(rows[0].latest_sequence, start.sequence)
        else:
            start = await self._start_of_many(call, request, rows)
            oldest = latest = 0
        refs = [row.ref for row in rows] or None
        return self._open(call.caller.tenant, refs, wanted, start, options, oldest, latest)

    async def _options(self, request: Any, rows: Sequence[AgentRow]) -> Options:
        end_at = 0
        if request.until_turn_complete and request.turn_id and len(rows) == 1:
            turn = await self._store.turn(rows[0].key, request.turn_id)
            if turn is not None and turn.turn.state in ENDED:
                end_at = self.hub.head
        return Options(
            heartbeat=clock.seconds(request.heartbeat_interval)
            if request.HasField("heartbeat_interval")
            else HEARTBEAT,
            buffer_size=request.buffer_size or BUFFER_SIZE,
            overflow=request.overflow_policy or pb.OVERFLOW_POLICY_DROP_OLDEST,
            until_turn_complete=request.until_turn_complete,
            until_turn_id=request.turn_id,
            end_at=end_at,
        )

    async def _start_of_one(self, call: Call, request: Any, row: AgentRow) -> Place:
        match request.WhichOneof("start_from"):
            case "cursor":
                place = await self._decoded(call, request.cursor)
                sequence = await self._sequence(row, place)
            case "after_sequence":
                sequence = request.after_sequence
            case "start_time":
                position = await self._store.position_at_time(_instant(request))
                sequence = max(await self._store.sequence_at(row.key, position), row.oldest_sequence - 1)
            case "position" if request.position == pb.START_POSITION_EARLIEST:
                return Place(row.key, 0, row.oldest_sequence - 1)
            case _:
                return Place(row.key, self.hub.head, self._registry.latest(row))
        return Place(row.key, 0, self.within(sequence, row))

    @staticmethod
    def within(sequence: int, row: AgentRow) -> int:
        """A sequence to go on after.

        :raises CursorAhead, CursorExpired:"""
        oldest, latest = row.oldest_sequence, row.latest_sequence
        if sequence > latest:
            raise errors.CursorAhead(requested=sequence, oldest=oldest, latest=latest)
        if sequence < oldest - 1:
            raise errors.CursorExpired(requested=sequence, oldest=oldest, latest=latest)
        return sequence

    async def _sequence(self, row: AgentRow, place: Place) -> int:
        """The sequence a cursor means for one agent."""
        if place.agent_key == row.key:
            return place.sequence
        if place.agent_key == 0:
            self._position_within(place, row.floor_position)
            return max(await self._store.sequence_at(row.key, place.position), row.oldest_sequence - 1)
        if await self._store.agent_by_key(place.agent_key) is None:
            raise errors.LogReset(log_epoch=self._epoch(row.key))
        raise errors.InvalidCursor("cursor")

    async def cursor_start(self, call: Call, cursor: str, row: AgentRow | None) -> int:
        """Where a list goes on after a cursor: a sequence of one agent, or a position."""
        place = await self._decoded(call, cursor)
        if row is not None:
            return self.within(await self._sequence(row, place), row)
        floor = await self._store.floor_position(call.caller.tenant)
        return self._position_within(place, floor).position

    async def _start_of_many(self, call: Call, request: Any, rows: Sequence[AgentRow]) -> Place:
        match request.WhichOneof("start_from"):
            case "cursor":
                place = await self._decoded(call, request.cursor)
                if rows:
                    floor = max(row.floor_position for row in rows)
                else:
                    floor = await self._store.floor_position(call.caller.tenant)
                return self._position_within(place, floor)
            case "start_time":
                return Place(0, await self._store.position_at_time(_instant(request)))
            case "position" if request.position == pb.START_POSITION_EARLIEST:
                return Place(0, 0)
            case _:
                return Place(0, self.hub.head)

    def _position_within(self, place: Place, floor: int) -> Place:
        if place.position > self.hub.head:
            raise errors.CursorAhead(requested=place.position, oldest=floor + 1, latest=self.hub.head)
        if place.position < floor:
            raise errors.CursorExpired(requested=place.position, oldest=floor + 1, latest=self.hub.head)
        return place

    async def _decoded(self, call: Call, cursor: str) -> Place:
        try:
            place = self.codec.decode(cursor)
        except ValueError:
            raise errors.InvalidCursor("cursor") from None
        if place.agent_key:
            row = await self._store.agent_by_key(place.agent_key)
            if row is not None and row.tenant != call.caller.tenant:
                raise errors.InvalidCursor("cursor")
        return place

    def _epoch(self, agent_key: int) -> str:
        return f"{self._store.log_id}-{agent_key}" if agent_key else self._store.log_id

    def _open(
        self,
        tenant: str,
        agents: Sequence[AgentRef] | None,
        wanted: Filter,
        start: Place,
        options: Options,
        oldest: int,
        latest: int,
    ) -> Subscription:
        if self.draining:
            raise errors.Draining(retry_after=1.0)
        subscription = Subscription(
            self.hub, self._store, self.codec, tenant=tenant, agents=agents, wanted=wanted, start=start, options=options
        )
        only = agents[0].key if agents is not None and len(agents) == 1 else 0
        subscription.open(self._epoch(only), oldest, latest)
        return subscription


def _instant(request: Any) -> int:
    """start_time in nanoseconds, within what a store can compare: the year 9999 is not."""
    return min(clock.nanos(request.start_time), (1 << 63) - 1)
