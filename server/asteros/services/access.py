"""AccessService: who calls, and with which keys."""

from aster.v1 import access_service_pb2 as pb
from asteros import clock, errors
from asteros.runtime.agent import request_of
from asteros.services.access_table import SCOPES
from asteros.services.call import Call
from asteros.services.credentials import Credentials, new_key
from asteros.services.paging import Pages
from asteros.stores.base import RequestIdKnown, Store


class AccessServicer:
    """Check, call, translate."""

    def __init__(self, store: Store, credentials: Credentials, pages: Pages) -> None:
        self._store = store
        self._credentials = credentials
        self._pages = pages

    async def GetCaller(self, request: pb.GetCallerRequest, call: Call) -> pb.GetCallerResponse:  # noqa: ARG002
        caller = call.caller
        return pb.GetCallerResponse(caller=pb.Caller(principal=caller.principal, scopes=sorted(caller.scopes or ())))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        for index, scope in enumerate(request.scopes):
            if scope not in SCOPES:
                raise errors.bad_field(f"scopes[{index}]", f"is no scope; there are {', '.join(sorted(SCOPES))}")
            if not call.caller.has(scope):
                raise errors.ScopeRequired(scope)
        expire = clock.nanos(request.expire_time) if request.HasField("expire_time") else None
        row, text = new_key(self._store.secret, call.caller.tenant, request.name, list(request.scopes), expire)
        asked = request_of(request.request_id, call.method, request)
        try:
            await self._store.put_key(row, asked)
        except RequestIdKnown as before:
            if asked is None or before.digest != asked.digest:
                raise errors.RequestIdReused(request.request_id) from None
            known = await self._store.key(before.target)
            return pb.CreateApiKeyResponse(key=known.key if known else None)
        return pb.CreateApiKeyResponse(key=row.key, secret=text)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        size = self._pages.size(request)
        after = self._pages.start(call, request)
        rows = await self._store.keys(call.caller.tenant, after, size + 1)
        response = pb.ListApiKeysResponse(keys=[row.key for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = self._pages.token(call, request, rows[size - 1].key.id)
        return response

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.RevokeApiKeyResponse:
        row = await self._store.key(request.key_id)
        if row is None or row.tenant != call.caller.tenant:
            raise errors.ApiKeyNotFound(request.key_id)
        if not row.key.HasField("revoke_time"):
            row.key.revoke_time.CopyFrom(clock.timestamp(clock.now()))
            await self._store.put_key(row)
        self._credentials.forget(request.key_id)
        return pb.RevokeApiKeyResponse(key=row.key)
