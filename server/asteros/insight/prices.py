"""Prices that an operator sets: stored, and in the price table of the providers from then on."""

from aster.v1 import dashboard_service_pb2 as pb
from asteros.providers.pricing import Price, PriceTable, Rates
from asteros.stores.insights import InsightStore


class Prices:
    """The price table with what is stored beside it. Prices are the server's, the same for all agents."""

    def __init__(self, table: PriceTable, store: InsightStore) -> None:
        self._table = table
        self._store = store

    async def load(self) -> None:
        """After a start: what was set before counts again, above files."""
        self._table.put({price.model: _entry(price) for price in await self._store.prices()})

    async def put(self, price: pb.Price) -> pb.Price:
        """Stores a price, then uses it."""
        await self._store.put_price(price)
        self._table.put({price.model: _entry(price)})
        return price

    def all(self) -> list[pb.Price]:
        """By model. A name ending in ``*`` stands for all models that begin so."""
        return [_price(model, row.rates) for model, row in sorted(self._table.rows.items())]


def _entry(price: pb.Price) -> Price:
    own = price.input_usd_per_million
    read = price.cache_read_usd_per_million if price.HasField("cache_read_usd_per_million") else own
    write = price.cache_write_usd_per_million if price.HasField("cache_write_usd_per_million") else own
    return Price(Rates(own, price.output_usd_per_million, read, write))


def _price(model: str, rates: Rates) -> pb.Price:
    price = pb.Price(model=model, input_usd_per_million=rates.input, output_usd_per_million=rates.output)
    if rates.cache_read != rates.input:
        price.cache_read_usd_per_million = rates.cache_read
    if rates.cache_write != rates.input:
        price.cache_write_usd_per_million = rates.cache_write
    return price
