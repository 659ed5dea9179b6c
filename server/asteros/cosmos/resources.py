"""Who watches what is registered: a snapshot, then every change, each once.

The log of changes is in the store (``stores.resources``). While anyone watches, one
follower reads what is new in it, once for all: it is rung up by whoever changes
something, and looks by itself every POLL seconds for what nobody told. A watcher goes
from position to position; what is no longer in memory it reads from the store, so a
slow one costs nobody anything and misses nothing."""

import asyncio
import base64
import binascii
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from aster.v1 import cosmos_service_pb2 as pb
from asteros import clock, errors
from asteros.stores.base import Store
from asteros.stores.resources import KINDS, ChangeRow, ResourceRow

POLL = 1.0  # seconds
BOOKMARK = 15.0  # seconds without a word, at the most
BATCH = 256  # changes of one message
RECENT = 8192  # changes kept in memory
_DIGEST = 9  # bytes


@dataclass(frozen=True, slots=True)
class _Known:
    """A change as it is sent: encoded once for all who watch."""

    position: int
    tenant: str
    kind: int
    frame: bytes


class Resources:
    """What is registered on this server. Close with ``aclose``."""

    def __init__(self, store: Store) -> None:
        self.store = store.resources()
        self._key = hashlib.blake2b(store.secret, key=b"aster resources", digest_size=32).digest()
        self._recent: deque[_Known] = deque(maxlen=RECENT)
        self._below = 0  # what comes after this position and up to _head is in _recent
        self._head = 0
        self._bell = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self._watchers = 0
        self._follower: asyncio.Task[None] | None = None
        self._draining = False

    def ring(self) -> None:
        """Something was registered, has changed or is gone, and that is stored."""
        self._bell.set()

    def drain(self) -> None:
        """Ends every watch with Draining and its cursor."""
        self._draining = True
        self._tell()

    async def aclose(self) -> None:
        self.drain()
        await self._rest()

    # -- watching -----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def watch(self, tenant: str, kinds: Sequence[int], cursor: str) -> AsyncIterator["Watch"]:
        """What is registered and what changes, from a snapshot or after a cursor.

        :raises InvalidCursor, CursorExpired, CursorAhead, Draining:"""
        watch = Watch(self, tenant, frozenset(kinds or KINDS))
        self._watchers += 1
        try:
            await watch.begin(self._decoded(tenant, cursor) if cursor else None)
            yield watch
        finally:
            self._watchers -= 1
            if not self._watchers:
                await self._rest()

    async def follow(self) -> int:
        """Begins to follow the log, if that has not begun; where it stands."""
        if self._follower is None:
            below = (await self.store.bounds())[1]
            if self._follower is None:  # nobody was quicker
                self._recent.clear()
                self._below = self._head = below
                self._follower = asyncio.create_task(self._run(), name="resource changes")
        return self._head

    async def _rest(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(errors.StoreUnavailable):  # looked at again
                while found := await self.store.changes(self._head, BATCH):
                    self._take(found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._bell.wait()
            self._bell.clear()

    def _take(self, found: Sequence[ChangeRow]) -> None:
        for row in found:
            if len(self._recent) == RECENT:
                self._below = self._recent[0].position
            self._recent.append(self._known(row))
        self._head = found[-1].position
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        self._news = None

    async def news(self, position: int, seconds: float) -> bool:
        """Waits for changes after a position; False after so many seconds.

        :raises Draining: the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._head <= position and not self._draining:
                    if self._news is None:
                        self._news = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._news)
        if self._draining:
            raise errors.Draining(retry_after=1.0)
        return self._head > position

    async def after(self, position: int) -> list[_Known]:
        """At least one change after a position, when there is one: some of them, in order.

        :raises CursorExpired: the next one is no longer stored."""
        if position < self._below:
            rows = await self.store.changes(position, BATCH)
            if rows and rows[0].position != position + 1:
                oldest = rows[0].position - 1
                raise errors.CursorExpired(requested=position, oldest=oldest, latest=self._head)
            return [self._known(row) for row in rows]
        # From the right: who is up to date looks at what is new and no further.
        found: list[_Known] = []
        for known in reversed(self._recent):
            if known.position <= position:
                break
            found.append(known)
        return found[: -BATCH - 1 : -1]

    # -- cursors and frames ---------------------------------------------------------------

    def _known(self, row: ChangeRow) -> _Known:
        change = pb.ResourceChange(
            cursor=self.cursor(row.tenant, row.position),
            kind=row.change,  # type: ignore[arg-type]
            resource=resource(row.resource),
        )
        return _Known(row.position, row.tenant, row.resource.kind, frame(change))

    def cursor(self, tenant: str, position: int) -> str:
        """The cursor that goes on after a position."""
        raw = position.to_bytes(6, "big")
        return base64.urlsafe_b64encode(raw + self._digest(tenant, raw)).decode()

    def _digest(self, tenant: str, raw: bytes) -> bytes:
        return hashlib.blake2b(raw + tenant.encode(), key=self._key, digest_size=_DIGEST).digest()

    def _decoded(self, tenant: str, cursor: str) -> int:
        try:
            raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise errors.InvalidCursor("cursor") from None
        if raw[6:] != self._digest(tenant, raw[:6]):
            raise errors.InvalidCursor("cursor")
        return int.from_bytes(raw[:6], "big")


class Watch:
    """One watcher. ``next`` again and again; the cursor is that of the newest message given out."""

    def __init__(self, resources: Resources, tenant: str, kinds: frozenset[int]) -> None:
        self._resources = resources
        self._tenant = tenant
        self._kinds = kinds
        self._snapshot: list[ResourceRow] = []  # what is left of it, the first last
        self._position = 0
        self._bookmark = False  # one is due

    @property
    def cursor(self) -> str:
        """Where to go on; empty inside the snapshot."""
        return "" if self._snapshot else self._resources.cursor(self._tenant, self._position)

    async def begin(self, position: int | None) -> None:
        """Starts with a snapshot (None) or after a position."""
        await self._resources.follow()
        if position is None:
            self._snapshot, self._position = await self._resources.store.snapshot(self._tenant, sorted(self._kinds))
            self._snapshot.reverse()
            self._bookmark = True
            return
        oldest, latest = await self._resources.store.bounds()
        if position > latest:
            raise errors.CursorAhead(requested=position, oldest=oldest, latest=latest)
        if position < oldest:
            raise errors.CursorExpired(requested=position, oldest=oldest, latest=latest)
        self._position = position

    async def next(self) -> bytes:
        """The next response: waits for it, at most BOOKMARK seconds.

        :raises Draining: the server stops. Cancelling loses nothing."""
        if self._snapshot:
            return self._part()
        if self._bookmark:
            return self._mark()
        while await self._resources.news(self._position, BOOKMARK):
            found = await self._resources.after(self._position)
            self._position = found[-1].position if found else self._position
            mine = [each.frame for each in found if each.tenant == self._tenant and each.kind in self._kinds]
            if mine:
                return b"".join(mine)
        return self._mark()

    def _part(self) -> bytes:
        rows = [self._snapshot.pop() for _ in range(min(BATCH, len(self._snapshot)))]
        changes = [pb.ResourceChange(kind=pb.CHANGE_KIND_SNAPSHOT, resource=resource(row)) for row in rows]
        return pb.WatchResourcesResponse(changes=changes).SerializeToString()

    def _mark(self) -> bytes:
        self._bookmark = False
        return frame(pb.ResourceChange(cursor=self.cursor, kind=pb.CHANGE_KIND_BOOKMARK))


def frame(change: pb.ResourceChange) -> bytes:
    """One change as part of a response: responses are put together by joining such parts."""
    return pb.WatchResourcesResponse(changes=[change]).SerializeToString()


def resource(row: ResourceRow) -> pb.Resource:
    """A registered thing as callers see it."""
    return pb.Resource(
        kind=row.kind,  # type: ignore[arg-type]
        id=row.id,
        display_name=row.display_name or row.id,
        register_time=clock.timestamp(row.register_time),
    )
