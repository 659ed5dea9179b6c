"""Who calls, and may they? One table, and a method that is not in it is refused."""

import asyncio

from asteros import clock, errors
from asteros.services.access_table import ANY, ONE_OF, PUBLIC, TABLE
from asteros.services.call import Call, Caller, Proceed
from asteros.services.credentials import Credentials

CHECK_SECONDS = 10.0  # between looks at the keys of open streams
_NOBODY = Caller("", "", frozenset())


class Auth:
    """Interceptor: sets ``call.caller`` and holds the call against the table."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._open: dict[Call, asyncio.Timeout] = {}  # streams of callers with a key
        self._checking: asyncio.Task[None] | None = None

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        needed = TABLE.get(call.method)
        if needed is None:
            raise errors.ScopeRequired("admin")
        if needed == PUBLIC:
            call.caller = _NOBODY
            await proceed(call)
            return
        call.caller = await self._credentials.caller(call.metadata, call.context.peer())
        _hold(call, needed)
        if call.handler.response_streaming and call.caller.scopes is not None:
            await self._watched(call, proceed)
        else:
            await proceed(call)

    # -- open streams ---------------------------------------------------------------

    async def _watched(self, call: Call, proceed: Proceed) -> None:
        """A stream that ends when its key is revoked or expires (security, part 2)."""
        try:
            async with asyncio.timeout(None) as limit:
                self._open[call] = limit
                if self._checking is None:
                    self._checking = asyncio.create_task(self._check(), name="aster-auth")
                await proceed(call)
        except TimeoutError:
            if not limit.expired():
                raise
            raise errors.InvalidCredentials from None
        finally:
            self._open.pop(call, None)
            if not self._open and self._checking is not None:
                self._checking.cancel()
                self._checking = None

    async def _check(self) -> None:
        while True:
            await clock.sleep(CHECK_SECONDS)
            for call, limit in list(self._open.items()):
                try:
                    ended = not await self._credentials.valid(call.metadata)
                except errors.AsterError:
                    continue  # the store does not answer now: no reason to end a stream
                if ended and call in self._open:
                    limit.reschedule(asyncio.get_running_loop().time())


def _hold(call: Call, needed: tuple[str, ...]) -> None:
    """
    :raises ScopeRequired:"""
    for scope in needed if needed != ANY else ():
        if not call.caller.has(scope):
            raise errors.ScopeRequired(scope)
    one_of = ONE_OF.get(call.method)
    if one_of is not None and not any(map(call.caller.has, one_of)):
        raise errors.ScopeRequired(one_of[0])
