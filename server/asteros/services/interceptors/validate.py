"""Parses the request and judges it: bad ids, then whether what it names exists, then all
field violations (a request that names an unknown agent is NOT_FOUND even when another
field is wrong)."""

import json
from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from asteros import errors
from asteros.services import validation
from asteros.services.call import Call, Proceed
from asteros.services.interceptors.onion import parsed

# Raises NotFound when a request names something that is not there: (tenant, method, request).
Exists = Callable[[str, str, Message], Awaitable[None]]

# Metadata of a bridge: what it could not read of a request. It holds the rest of the request, which
# is refused here, so that HTTP tells who may know it that an agent is missing, as gRPC does.
UNREADABLE = "aster-unreadable"


def _unreadable(text: str) -> errors.AsterError:
    """The refusal that the bridge would have given: a JSON list of [field, what is wrong]."""
    try:
        given = json.loads(text)
        found = [errors.Violation(str(field), str(wrong)) for field, wrong in given["fields"]]
        return (
            errors.UnknownField(found)
            if given["reason"] == errors.UnknownField.reason
            else errors.FieldViolation(*found)
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return errors.bad_field(UNREADABLE, "is for bridges")


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
        if UNREADABLE in call.metadata:
            await self._exists(call.caller.tenant, call.name, request)
            raise _unreadable(call.metadata[UNREADABLE])
        found = validation.violations(request)
        if found:
            await self._exists(call.caller.tenant, call.name, request)
            raise errors.FieldViolation(*found)
