"""Gauges and counters that are read where the work is done, when Prometheus asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asteros.cosmos.registry import Registry
from asteros.events.hub import Hub
from asteros.events.log import EventLog


class ServerMetrics(Collector):
    """No label anywhere: nothing here can tell one tenant, user or agent from another."""

    def __init__(self, registry: CollectorRegistry, log: EventLog, hub: Hub, cosmos: Registry) -> None:
        self._log, self._hub, self._cosmos = log, hub, cosmos
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        log, hub, cosmos = self._log, self._hub, self._cosmos
        yield CounterMetricFamily("aster_log_events", "Events written.", value=log.events_written)
        yield CounterMetricFamily("aster_log_groups", "Group commits.", value=log.groups)
        yield GaugeMetricFamily("aster_subscriptions", "Open event streams.", value=hub.count)
        yield CounterMetricFamily("aster_events_dropped", "Events left out for slow subscribers.", value=hub.dropped)
        yield GaugeMetricFamily("aster_agents_awake", "Agents in memory.", value=cosmos.awake_count)
