"""The only place that reads clocks or sleeps, so that tests can replace time.

``now`` is wall time for stored facts; ``monotonic`` measures lengths. Both are
looked up on the module at call time: tests set ``clock.now = …``."""

import asyncio
import time

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NANOS = 1_000_000_000


def now() -> int:
    """Wall clock in nanoseconds since 1970, UTC."""
    return time.time_ns()


def monotonic() -> float:
    """Seconds on a clock that never steps."""
    return time.monotonic()


async def sleep(seconds: float) -> None:
    """Sleeps; raises CancelledError when cancelled."""
    await asyncio.sleep(seconds)


def timestamp(nanos: int) -> Timestamp:
    """The protobuf form of a wall time in nanoseconds."""
    return Timestamp(seconds=nanos // NANOS, nanos=nanos % NANOS)


def nanos(stamp: Timestamp) -> int:
    """Wall time in nanoseconds of a protobuf timestamp."""
    return stamp.seconds * NANOS + stamp.nanos


def duration(seconds: float) -> Duration:
    """The protobuf form of a length of time in seconds."""
    whole = int(seconds * NANOS)
    return Duration(seconds=whole // NANOS, nanos=whole % NANOS)


def seconds(length: Duration) -> float:
    """Seconds of a protobuf duration."""
    return length.seconds + length.nanos / NANOS
