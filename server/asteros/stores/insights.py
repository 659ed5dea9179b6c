"""What is kept beside the log to answer questions about it: sums by minute and hour, and traces.

The sums are made from stored events alone, by one follower (``insight.follower``). What
they hold and how far they have read the log is written in one transaction, so an event
is in them once or not yet, whenever the process ends."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from aster.v1 import dashboard_service_pb2
from asteros.stores.base import Segment

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds: how fine the sums are
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
NANO_USD = 1_000_000_000  # money is counted in billionths of a dollar: whole numbers add up exactly


class Timed(enum.IntEnum):
    """What has a histogram of its times."""

    TURN = 1
    FIRST_TOKEN = 2  # of a model call
    OUTPUT_TOKEN = 3  # of a model call: mean time of a token after the first
    TOOL = 4


class TraceStatus(enum.IntEnum):
    """Where a turn stands."""

    RUNNING = 0
    OK = 1
    ERROR = 2


@dataclass(slots=True)
class Usage:
    """Counts of some time, some agents, some models."""

    turns: int = 0  # that ended
    failed_turns: int = 0
    steps: int = 0
    model_calls: int = 0
    unpriced_calls: int = 0
    tool_calls: int = 0
    failed_tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanos: int = 0

    def values(self) -> tuple[int, ...]:
        """In the order of the columns."""
        return _VALUES(self)

    def add(self, more: "Usage") -> None:
        for name in Usage.__slots__:
            setattr(self, name, getattr(self, name) + getattr(more, name))


_VALUES: "attrgetter[tuple[int, ...]]" = attrgetter(*Usage.__slots__)


@dataclass(slots=True)
class Slot:
    """Times of one slot of a histogram, nanoseconds."""

    count: int = 0
    total: int = 0
    most: int = 0

    def add(self, more: "Slot") -> None:
        self.count += more.count
        self.total += more.total
        self.most = max(self.most, more.most)


@dataclass(slots=True)
class TraceRow:
    """A turn as its events tell it, without what it delegated. Fields are the columns, in order."""

    agent_key: int
    turn_id: str
    tenant: str
    agent_id: str
    session_id: str
    parent_turn_id: str
    start_time: int  # nanoseconds since 1970
    end_time: int  # 0: it runs
    status: int
    first_sequence: int
    last_sequence: int
    span_count: int = 1  # itself, model calls, tool calls
    model: str = ""  # that answered last
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanos: int = 0
    error: bytes = b""  # google.rpc.Status

    def values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in TraceRow.__slots__)

    def include(self, part: "TraceRow") -> None:
        """Adds what a delegated turn used."""
        self.span_count += part.span_count
        self.cost_nanos += part.cost_nanos
        for name in TOKENS:
            setattr(self, name, getattr(self, name) + getattr(part, name))


@dataclass(frozen=True, slots=True)
class Logged:
    """A segment of the log and whose it is; its body is empty when it holds nothing to count."""

    tenant: str
    agent_id: str
    segment: Segment


# (tenant, start, agent id, model), and (tenant, kind, start, agent id, name, slot).
# start: seconds since 1970, of a minute.
UsageKey = tuple[str, int, str, str]
SlotKey = tuple[str, int, int, str, str, int]
TraceKey = tuple[int, str]  # agent key, turn id


@dataclass(slots=True)
class Fold:
    """What a piece of the log adds to the sums."""

    usage: dict[UsageKey, Usage] = field(default_factory=dict)
    slots: dict[SlotKey, Slot] = field(default_factory=dict)
    traces: dict[TraceKey, TraceRow] = field(default_factory=dict)  # as they stand after it


@dataclass(frozen=True, slots=True)
class Window:
    """Whole minutes, hours and days that make up a time: (grain, first, end), seconds since 1970."""

    parts: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, start: int, end: int, coarsest: int = DAY) -> "Window":
        """From start to end, both whole minutes."""
        return cls(tuple(part for part in _parts(start, end, coarsest) if part[1] < part[2]))

    def starts(self) -> list[tuple[int, int]]:
        """(grain, start) of every minute, hour and day."""
        return [(grain, start) for grain, first, end in self.parts for start in range(first, end, grain)]


def _parts(start: int, end: int, grain: int) -> Iterator[tuple[int, int, int]]:
    """The largest pieces in the middle, smaller ones at both ends."""
    if grain == MINUTE:
        yield MINUTE, start, end
        return
    finer = HOUR if grain == DAY else MINUTE
    first, last = -(-start // grain) * grain, end // grain * grain
    if first >= last:
        yield from _parts(start, end, finer)
        return
    yield from _parts(start, first, finer)
    yield grain, first, last
    yield from _parts(last, end, finer)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which sums, and how they are split. ``group``: 0 not, 1 by agent, 2 by model."""

    tenant: str
    window: Window
    row_seconds: int
    group: int = 0
    agent_id: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces, newest first: begun from ``start`` to before ``end``, nanoseconds."""

    tenant: str
    start: int
    end: int
    agent_id: str = ""
    status: int | None = None


class InsightStore(Protocol):
    """The sums of one store. Methods raise as ``stores.base.Store`` does."""

    async def position(self) -> int:
        """Position of the last event that is in the sums."""
        ...

    async def log_after(self, position: int, limit: int, kinds: Sequence[int]) -> list[Logged]:
        """At most ``limit`` segments of all tenants after the position, oldest first; with bodies where
        they hold an event of these kinds (catalogue codes, at most five)."""
        ...

    async def traces_of(self, keys: Sequence[TraceKey]) -> dict[TraceKey, TraceRow]:
        """Those of the traces that there are."""
        ...

    async def add(self, fold: Fold, before: int, position: int) -> bool:
        """Adds to the sums and moves them from one position to another, at once or not at all.

        False, and nothing done: they were not at ``before``."""
        ...

    async def forget_minutes(self, before: int) -> None:
        """Deletes sums by minute that begin before a time, seconds since 1970; the others stay."""
        ...

    async def usage(self, query: UsageQuery, most_keys: int) -> list[tuple[int, str, Usage]]:
        """(start of the row, key, sums) by start and key. The keys that cost most keep their names,
        the rest is summed as "other"."""
        ...

    async def latencies(
        self, tenant: str, window: Window, kinds: Sequence[Timed], agent_id: str = ""
    ) -> Mapping[tuple[int, str], dict[int, Slot]]:
        """Histograms by (kind, name): slots by number. Those of one agent are not kept by the day."""
        ...

    async def active(self, tenant: str, start: int, end: int) -> tuple[int, int]:
        """Agents and sessions with a turn that began in the time, nanoseconds."""
        ...

    async def traces(
        self, query: TraceQuery, before: tuple[int, str] | None, skip: int, limit: int
    ) -> tuple[list[TraceRow], int]:
        """Traces, newest first, older than (start time, turn id), and how many there are in all.

        Spans, tokens and money include what a turn delegated."""
        ...

    async def trace(self, tenant: str, turn_id: str) -> TraceRow | None: ...

    async def traces_below(self, tenant: str, turn_id: str, limit: int) -> list[TraceRow]:
        """What a turn delegated, and what that delegated, oldest first."""
        ...

    async def said_first(self, keys: Sequence[TraceKey]) -> dict[TraceKey, str]:
        """Texts of the messages that turns answer, as far as they are known."""
        ...

    async def put_price(self, price: dashboard_service_pb2.Price) -> None: ...

    async def prices(self) -> list[dashboard_service_pb2.Price]:
        """Prices that were put, by model."""
        ...
