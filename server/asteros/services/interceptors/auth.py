"""Who calls, and may they? One table, and a method that is not in it is refused."""

from asteros import errors
from asteros.services.access_table import ANY, PUBLIC, TABLE
from asteros.services.call import Call, Caller, Proceed
from asteros.services.credentials import Credentials

_NOBODY = Caller("", "", frozenset())


class Auth:
    """Interceptor: sets ``call.caller`` and holds the call against the table."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        needed = TABLE.get(call.method)
        if needed is None:
            raise errors.ScopeRequired("admin")
        if needed == PUBLIC:
            call.caller = _NOBODY
        else:
            call.caller = await self._credentials.caller(call.metadata, call.context.peer())
            for scope in needed if needed != ANY else ():
                if not call.caller.has(scope):
                    raise errors.ScopeRequired(scope)
        await proceed(call)
