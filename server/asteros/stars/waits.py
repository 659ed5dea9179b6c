"""Who waits for whom. An agent has one turn at a time, so a circle would wait for ever."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator


class Waits:
    """Agents whose present turn waits for a turn of another one, by their keys."""

    def __init__(self) -> None:
        self._on: dict[int, Counter[int]] = defaultdict(Counter)

    def would_circle(self, waiter: int, on: int) -> bool:
        """``on`` waits, itself or through others, for the one that is to wait."""
        seen, left = {on}, [on]
        while left:
            key = left.pop()
            if key == waiter:
                return True
            left += [each for each in self._on.get(key, ()) if each not in seen]
            seen.update(self._on.get(key, ()))
        return False

    @contextlib.contextmanager
    def waiting(self, waiter: int, on: int) -> Iterator[None]:
        """While the block lasts the one waits for the other."""
        self._on[waiter][on] += 1
        try:
            yield
        finally:
            self._on[waiter][on] -= 1
            self._on[waiter] += Counter()  # drops what has come to nothing
            if not self._on[waiter]:
                del self._on[waiter]
