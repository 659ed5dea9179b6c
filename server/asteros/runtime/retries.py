"""When a failed model call is worth another try, and how long to wait before it (R8)."""

import random
from collections import OrderedDict

from asteros import errors

MAX_RETRIES = 2  # of one call
FIRST_BACKOFF = 0.5  # seconds; doubles
LONGEST_WAIT = 30.0  # seconds of Retry-After that are worth waiting for

# A service in trouble is not helped by three times its load: beyond a small reserve, one
# call in ten may be a retry.
SHARE = 0.1
RESERVE = 10.0  # retries
_MOST_SERVICES = 1024  # callers may name addresses of their own


def retryable(error: errors.AsterError) -> bool:
    """The same request may fare better the next time."""
    return isinstance(error, errors.ProviderLimit | errors.Unavailable)


def backoff(number: int, retry_after: float | None, time_left: float) -> float | None:
    """Seconds to wait before try ``number`` + 1; None: it is not worth the wait.

    Full jitter, unless the provider said how long. ``time_left``: seconds until the
    turn's own limit; a try that could not begin before it is not made."""
    if number > MAX_RETRIES or (retry_after is not None and retry_after > LONGEST_WAIT):
        return None
    wait = random.uniform(0, FIRST_BACKOFF * 2 ** (number - 1)) if retry_after is None else retry_after  # noqa: S311
    return wait if wait < time_left else None


class RetryBudget:
    """A bucket of retries for each service: every call puts SHARE in, a retry takes one out."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], float] = OrderedDict()  # by provider and address

    def called(self, service: tuple[str, str]) -> None:
        """Counts a first try."""
        self._put(service, min(self._left.get(service, RESERVE) + SHARE, RESERVE))

    def take(self, service: tuple[str, str]) -> bool:
        """Takes one retry out, if there is one."""
        left = self._left.get(service, RESERVE)
        if left < 1.0:
            return False
        self._put(service, left - 1.0)
        return True

    def _put(self, service: tuple[str, str], left: float) -> None:
        self._left[service] = left
        self._left.move_to_end(service)
        if len(self._left) > _MOST_SERVICES:
            self._left.popitem(last=False)
