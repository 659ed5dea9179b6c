"""How many members of a run work at once."""

import contextlib
from asyncio import Future, get_running_loop
from collections import Counter, deque
from collections.abc import AsyncIterator


class Gate:
    """Lets so many in at once, in the order they came. Who waits for another member is out meanwhile."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._out: Counter[str] = Counter()  # places given up, by who has them
        self._waiting: deque[Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Waits for a place, and has it while the block lasts."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextlib.asynccontextmanager
    async def outside(self, who: str) -> AsyncIterator[None]:
        """Gives up the place of somebody while the block lasts, or several of them do, and has it back at
        once: that may be one too many for a moment, but nobody waits for who waits for them."""
        self._out[who] += 1
        if self._out[who] == 1:
            self._leave()
        try:
            yield
        finally:
            self._out[who] -= 1
            if not self._out[who]:
                del self._out[who]
                self._inside += 1

    async def _enter(self) -> None:
        while self._inside >= self._most:
            turn: Future[None] = get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:  # house: cancelled -- raised again; the place is for the next one
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._call()
                raise
        self._inside += 1

    def _leave(self) -> None:
        self._inside -= 1
        self._call()

    def _call(self) -> None:
        while self._waiting and self._inside < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
