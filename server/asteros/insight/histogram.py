"""Times as histograms with fixed slots, so that those of any minutes, hours and agents add up.

Eight slots to a doubling: a slot is 9 % wide. Each knows its number of times and their sum,
so a percentile is the mean of its slot: off by less than 9 %, and exact where all times of
the slot are equal. Mean and maximum are exact."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from aster.v1 import dashboard_service_pb2 as pb
from asteros import clock
from asteros.stores.insights import Slot

_FINEST = 1_000  # nanoseconds; all that is shorter shares slot 0
_PER_DOUBLING = 8


def slot_of(nanos: int) -> int:
    """Number of the slot of a time."""
    return int(math.log2(max(nanos, _FINEST) / _FINEST) * _PER_DOUBLING)


def merged(histograms: Iterable[Mapping[int, Slot]]) -> dict[int, Slot]:
    """The histogram of all their times."""
    whole: dict[int, Slot] = {}
    for histogram in histograms:
        for number, slot in histogram.items():
            whole.setdefault(number, Slot()).add(slot)
    return whole


@dataclass(frozen=True, slots=True)
class Latency:
    """What a histogram says; nanoseconds."""

    count: int
    mean: int
    p50: int
    p95: int
    p99: int
    most: int

    @classmethod
    def of(cls, slots: Mapping[int, Slot]) -> "Latency":
        """All zero without any time."""
        count = sum(slot.count for slot in slots.values())
        if not count:
            return cls(0, 0, 0, 0, 0, 0)
        total = sum(slot.total for slot in slots.values())
        most = max(slot.most for slot in slots.values())
        p50, p95, p99 = (_percentile(slots, count, percent) for percent in (50, 95, 99))
        return cls(count, total // count, p50, p95, p99, most)

    def summary(self) -> pb.LatencySummary:
        """The same as the contract has it."""
        names = {"p50": self.p50, "p95": self.p95, "p99": self.p99, "mean": self.mean, "max": self.most}
        return pb.LatencySummary(**{name: length(nanos) for name, nanos in names.items()})


def length(nanos: int) -> Duration:
    """A length of time in nanoseconds as the contract has it."""
    return Duration(seconds=nanos // clock.NANOS, nanos=nanos % clock.NANOS)


def _percentile(slots: Mapping[int, Slot], count: int, percent: int) -> int:
    """The time that so many of a hundred do not exceed (nearest rank)."""
    rank = -(-count * percent // 100)
    for number in sorted(slots):
        rank -= slots[number].count
        if rank <= 0:
            return slots[number].total // slots[number].count
    raise AssertionError("unreachable: the rank is at most the count")
