"""EventService: events, live and stored."""

from collections.abc import Sequence
from typing import Any

from aster.v1 import common_pb2, event_pb2
from aster.v1 import event_service_pb2 as pb
from asteros.cosmos.registry import Registry
from asteros.events import filters, frames
from asteros.services.access_table import CHANNEL_SCOPES
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.services.streams import Streams
from asteros.stores.base import AgentRow, Segment

_LIST_SIZE = 100
_SCAN = 4096  # events looked at for one page of a filtered list


class EventsServicer:
    """Check, call, translate; what a stream does is in ``events.subscription``."""

    def __init__(self, registry: Registry, streams: Streams, pages: Pages) -> None:
        self._registry = registry
        self._store = registry.deps.store
        self._streams = streams
        self._pages = pages

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> None:
        await self._stream(request, call, request.channels)

    async def SubscribeProgress(self, request: pb.SubscribeProgressRequest, call: Call) -> None:
        await self._stream(request, call, [common_pb2.CHANNEL_PROGRESS])

    async def SubscribeControl(self, request: pb.SubscribeControlRequest, call: Call) -> None:
        await self._stream(request, call, [common_pb2.CHANNEL_CONTROL])

    async def SubscribeMonitor(self, request: pb.SubscribeMonitorRequest, call: Call) -> None:
        await self._stream(request, call, [common_pb2.CHANNEL_MONITOR])

    async def _stream(self, request: Any, call: Call, channels: Sequence[int]) -> None:
        for channel in channels or sorted(CHANNEL_SCOPES):
            self._streams.check_channel(call, channel)
        subscription = await self._streams.subscribe(call, request, channels)
        try:
            await self._streams.follow(call, subscription)
        finally:
            subscription.close()

    async def ListEvents(self, request: pb.ListEventsRequest, call: Call) -> pb.ListEventsResponse:
        for channel in request.channels or sorted(CHANNEL_SCOPES):
            self._streams.check_channel(call, channel)
        size = self._pages.size(request, _LIST_SIZE)
        token = self._pages.start(call, request)
        row = await self._registry.row(call.caller.tenant, request.agent_id) if request.agent_id else None
        at = int(token) if token else await self._first(call, request, row)
        found, at, more = await self._page(call, request, row, at, size)
        response = pb.ListEventsResponse(frames=found)
        if more:
            response.next_page_token = self._pages.token(call, request, str(at))
        return response

    async def _first(self, call: Call, request: pb.ListEventsRequest, row: AgentRow | None) -> int:
        """Where a list begins: a sequence with an agent, a position without."""
        if request.newest_first:
            return 1 << 62
        if row is not None and request.after_sequence:
            return self._streams.within(request.after_sequence, row)
        if request.cursor:
            return await self._streams.cursor_start(call, request.cursor, row)
        return 0

    async def _page(
        self, call: Call, request: pb.ListEventsRequest, row: AgentRow | None, at: int, size: int
    ) -> tuple[list[event_pb2.EventFrame], int, bool]:
        """Frames from ``at`` on, where the next page begins, and whether there is one."""
        wanted = filters.compiled(request.channels, request.event_types, turn_id=request.turn_id)
        found: list[event_pb2.EventFrame] = []
        scanned = 0
        while scanned < _SCAN:
            segments = await self._segments(call, row, at, request.newest_first)
            if not segments:
                return found, at, False
            for segment in segments:
                first = segment.first_sequence if row is not None else segment.position
                order = self._order(wanted.indexes(segment), first, at, request.newest_first)
                for index in order:
                    if len(found) == size:
                        return found, at, True
                    found += frames.event_frames(segment, [index])
                    at = first + index
                at = first if request.newest_first else first + segment.count - 1
                scanned += segment.count
        return found, at, True

    @staticmethod
    def _order(indexes: Sequence[int], first: int, at: int, newest_first: bool) -> list[int]:
        """The events of a segment that the page has not passed yet."""
        if newest_first:
            return [index for index in reversed(indexes) if first + index < at]
        return [index for index in indexes if first + index > at]

    async def _segments(self, call: Call, row: AgentRow | None, at: int, newest_first: bool) -> list[Segment]:
        after, before = (0, at) if newest_first else (at, 0)
        if row is not None:
            return await self._store.read_agent_segments(row.key, after, 256, before)
        return await self._store.read_segments(call.caller.tenant, after, 256, before)
