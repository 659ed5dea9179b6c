"""Takes the caller's W3C trace context, so that the events of a turn carry its trace id."""

import re

from asteros.services.call import Call, Proceed

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


async def tracing(call: Call, proceed: Proceed) -> None:
    """Interceptor: sets ``call.trace_id`` from ``traceparent``; a malformed one is ignored."""
    found = _TRACEPARENT.fullmatch(call.metadata.get("traceparent", ""))
    if found and found[1] != "0" * 32:
        call.trace_id = found[1]
    await proceed(call)
