"""What a model call costs. The only file that reads ``prices.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from aster.v1 import common_pb2
from asteros.errors import ConfigError

PACKAGED = Path(__file__).with_name("prices.yaml")

_MILLION = 1_000_000
_RATES = frozenset({"input", "output", "cache_read", "cache_write"})


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Price:
    """The rates of a model; all of a call with more than ``above`` input tokens costs ``long``."""

    rates: Rates
    above: int = 0
    long: Rates | None = None

    def of(self, usage: common_pb2.TokenUsage) -> Rates:
        """The rates that hold for one call."""
        return self.long if self.long is not None and usage.input_tokens > self.above else self.rates


class PriceTable:
    """Prices by model name; a name ending in ``*`` stands for all that begin so."""

    def __init__(self, path: Path = PACKAGED, own: Path | None = None) -> None:
        """``own``: a table whose rows are added, or replace those of the same name.

        :raises ConfigError: a file is missing or not of the form described in ``prices.yaml``."""
        self._set(_read(path) | (_read(own) if own is not None else {}))

    def _set(self, rows: Mapping[str, Price]) -> None:
        self.rows = MappingProxyType(dict(rows))
        self._exact = MappingProxyType({name: price for name, price in rows.items() if not name.endswith("*")})
        prefixes = [(name[:-1], price) for name, price in rows.items() if name.endswith("*")]
        # The longest prefix says most about a model.
        self._prefixes = tuple(sorted(prefixes, key=lambda row: len(row[0]), reverse=True))

    def put(self, prices: Mapping[str, Price]) -> None:
        """Adds or replaces rows, for calls from now on."""
        self._set({**self.rows, **prices})

    def price(self, model: str) -> Price | None:
        """The price of a model; None when it is not known."""
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        return next((price for prefix, price in self._prefixes if model.startswith(prefix)), None)

    def cost_usd(self, model: str, usage: common_pb2.TokenUsage) -> float | None:
        """US dollars for the tokens of one call; None, and never 0, for a model without a known price."""
        price = self.price(model)
        if price is None:
            return None
        rates = price.of(usage)
        plain = max(usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens, 0)
        dollars = (
            plain * rates.input
            + usage.cached_input_tokens * rates.cache_read
            + usage.cache_write_tokens * rates.cache_write
            + usage.output_tokens * rates.output
        )
        return dollars / _MILLION


def _read(path: Path) -> dict[str, Price]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"price table {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"price table {path} is not YAML") from error
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict):
        raise ConfigError(f"price table {path}: 'models' must map model names to prices")
    return {str(name): _price(f"price table {path}: {name}", row) for name, row in models.items()}


def _price(where: str, row: Any) -> Price:
    if not isinstance(row, dict) or "long" not in row:
        return Price(_rates(where, row))
    rates = _rates(where, {name: rate for name, rate in row.items() if name != "long"})
    long = row["long"]
    above = long.get("above") if isinstance(long, dict) else None
    if not isinstance(above, int) or above <= 0:
        raise ConfigError(f"{where}: long needs above, a number of input tokens")
    return Price(rates, above, _rates(f"{where}: long", {name: rate for name, rate in long.items() if name != "above"}))


def _rates(where: str, row: Any) -> Rates:
    if not isinstance(row, dict) or not {"input", "output"} <= set(row) <= _RATES:
        raise ConfigError(f"{where}: needs input and output, may have cache_read and cache_write")
    for name, rate in row.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < float("inf"):
            raise ConfigError(f"{where}: {name} must be dollars per million tokens, 0 or more")
    # A provider without a price of its own for cached tokens charges them like others.
    own = float(row["input"])
    return Rates(own, float(row["output"]), float(row.get("cache_read", own)), float(row.get("cache_write", own)))
