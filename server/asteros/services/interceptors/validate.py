"""Parses the request and judges it: bad ids, then whether what it names exists, then all
field violations (a request that names an unknown agent is NOT_FOUND even when another
field is wrong)."""

from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from asteros import errors
from asteros.services import validation
from asteros.services.call import Call, Proceed
from asteros.services.interceptors.onion import parsed

# Raises NotFound when a request names something that is not there: (tenant, method, request).
Exists = Callable[[str, str, Message], Awaitable[None]]


class Validate:
    """Interceptor: fills ``call.request``."""

    def __init__(self, exists: Exists) -> None:
        self._exists = exists

    async def __call__(self, call: Call, proceed: Proceed) -> None:
        if not call.handler.request_streaming:
            request = parsed(call.handler.request_deserializer, call.raw)
            call.request, call.raw = request, None
            if call.service.startswith("aster."):
                await self._judge(call, request)
        await proceed(call)

    async def _judge(self, call: Call, request: Message) -> None:
        bad = validation.bad_id(request)
        if bad is not None:
            raise errors.InvalidId(bad.field, bad.description)
        found = validation.violations(request)
        if found:
            await self._exists(call.caller.tenant, call.name, request)
            raise errors.FieldViolation(*found)
