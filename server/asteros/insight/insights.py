"""The room's door: one object that follows the log and answers."""

from asteros.events.hub import Hub
from asteros.insight.figures import Figures
from asteros.insight.findings import Findings
from asteros.insight.follower import Follower
from asteros.insight.prices import Prices
from asteros.insight.traces import Traces
from asteros.providers.pricing import PriceTable
from asteros.stores.base import Store
from asteros.stores.insights import InsightStore


class Insights:
    """Figures, traces, findings and prices of one store."""

    def __init__(self, sums: InsightStore, store: Store, hub: Hub, table: PriceTable) -> None:
        """``table``: what calls are priced by; prices that were set are put into it."""
        self._follower = Follower(sums, lambda: hub.head)
        self.figures = Figures(sums, self._follower)
        self.traces = Traces(sums, store, self._follower)
        self.findings = Findings(self.figures)
        self.prices = Prices(table, sums)

    async def start(self) -> None:
        """Before the first model call, which must find its price."""
        await self.prices.load()
        await self._follower.start()

    async def aclose(self) -> None:
        await self._follower.aclose()
