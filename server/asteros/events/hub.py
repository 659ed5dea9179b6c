"""Who listens, and the one place where stored events meet them.

``publish`` is called once per group commit with what has just become durable. It
appends a reference to each matching subscription and wakes it at most once; it
never awaits a reader, so no reader can slow another or the agent (guarantee T1)."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asteros import clock, errors
from asteros.events.filters import Filter
from asteros.stores.base import AgentRef, Segment

if TYPE_CHECKING:
    from asteros.events.subscription import Subscription

_log = logging.getLogger(__name__)
TICK = 0.25  # seconds between looks at the clock: the grain of heartbeats and write limits


class Hub:
    """Live subscriptions of one process."""

    def __init__(self) -> None:
        self.head = 0  # position of the newest event that was shown
        self.dropped = 0  # events left out for slow subscribers
        self._by_agent: dict[int, set[Subscription]] = defaultdict(set)
        self._by_tenant: dict[str, set[Subscription]] = defaultdict(set)
        self._open: set[Subscription] = set()
        # Idle subscriptions by the tick at which their heartbeat is due.
        self._due: dict[int, list[Subscription]] = defaultdict(list)
        self._writing: dict[Subscription, float] = {}
        # Equal filters are one object while anyone uses them: what a segment shows is worked out once.
        self._filters: dict[Filter, tuple[Filter, int]] = {}
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._ticker = asyncio.create_task(self._tick(), name="aster-hub")

    async def aclose(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    # -- subscriptions ----------------------------------------------------------

    def opened(self, subscription: "Subscription") -> None:
        self._open.add(subscription)
        same, users = self._filters.get(subscription.filter, (subscription.filter, 0))
        self._filters[same] = (same, users + 1)
        subscription.filter = same

    def closed(self, subscription: "Subscription") -> None:
        if subscription not in self._open:
            return
        self._open.discard(subscription)
        self.detach(subscription)
        self._writing.pop(subscription, None)
        same, users = self._filters[subscription.filter]
        if users == 1:
            del self._filters[same]
        else:
            self._filters[same] = (same, users - 1)

    def attach(self, subscription: "Subscription") -> None:
        """From now on every published segment of its agents is offered to it."""
        if subscription.agent_keys is None:
            self._by_tenant[subscription.tenant].add(subscription)
        else:
            for key in subscription.agent_keys:
                self._by_agent[key].add(subscription)

    def detach(self, subscription: "Subscription") -> None:
        if subscription.agent_keys is None:
            self._by_tenant[subscription.tenant].discard(subscription)
            return
        for key in subscription.agent_keys:
            listeners = self._by_agent.get(key)
            if listeners is not None:
                listeners.discard(subscription)
                if not listeners:
                    del self._by_agent[key]

    def end_all(self, error: Exception) -> None:
        """Ends every stream after its last stored event (drain)."""
        for subscription in list(self._open):
            subscription.end(error)

    def end_agent(self, key: int, error: Exception) -> None:
        """Ends the streams of one agent alone: it was deleted."""
        for subscription in list(self._by_agent.get(key, ())):
            if subscription.agent_keys is not None and len(subscription.agent_keys) == 1:
                subscription.end(error)

    @property
    def count(self) -> int:
        """Open subscriptions."""
        return len(self._open)

    def count_of(self, tenant: str) -> int:
        """Those of one tenant."""
        return sum(subscription.tenant == tenant for subscription in self._open)

    # -- the hot path -----------------------------------------------------------

    def publish(self, group: Sequence[tuple[AgentRef, Segment]]) -> None:
        """Shows segments, in their order, to every subscription that wants them."""
        for ref, segment in group:
            self.head = segment.last_position
            mine = self._by_agent.get(ref.key)
            all_agents = self._by_tenant.get(ref.tenant)
            if not mine and not all_agents:
                continue
            views: dict[int, Sequence[int]] = {}
            for subscription in (*(mine or ()), *(all_agents or ())):
                wanted = subscription.filter
                try:
                    indexes = views.get(id(wanted))
                    if indexes is None:
                        indexes = views[id(wanted)] = wanted.indexes(segment)
                    subscription.offer(ref, segment, indexes)
                except Exception:  # of one reader: neither the log nor the others may end with it
                    _log.exception("subscription %s could not take a segment", subscription.id)
                    subscription.end(errors.AsterError("internal error"))

    # -- time -------------------------------------------------------------------

    def heartbeat_at(self, subscription: "Subscription", when: float) -> None:
        """Wakes the subscription at a time (monotonic seconds), to see if it was quiet."""
        self._due[int(when / TICK) + 1].append(subscription)

    def writing(self, subscription: "Subscription", since: float | None) -> None:
        """A write to the peer began, or ended (None)."""
        if since is None:
            self._writing.pop(subscription, None)
        else:
            self._writing[subscription] = since

    async def _tick(self) -> None:
        last = int(clock.monotonic() / TICK)
        while True:
            await clock.sleep(TICK)
            now = clock.monotonic()
            current = int(now / TICK)
            for tick in range(last + 1, current + 1):
                for subscription in self._due.pop(tick, ()):
                    subscription.tick(now)
            last = current
            for subscription, since in list(self._writing.items()):
                subscription.check_write(now - since)
