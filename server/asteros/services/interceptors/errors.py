"""Turns every failure into a google.rpc.Status; the one place where a call is aborted.

UNKNOWN never leaves, and nothing of a foreign exception does (guarantees M8, M20)."""

import logging
from typing import NamedTuple

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from asteros import errors
from asteros.services.call import Call, Proceed

_log = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class _Status(NamedTuple):
    """What ``abort_with_status`` wants (grpc.Status)."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


async def errors_to_status(call: Call, proceed: Proceed) -> None:
    """Interceptor: whatever fails inside becomes a status outside."""
    try:
        await proceed(call)
    except (grpc.aio.AbortError, grpc.aio.UsageError):
        raise  # answered already, or nobody is there any more
    except errors.AsterError as error:
        await abort(call, error.status())
    except Exception as error:
        if type(error).__name__ == "ExecuteBatchError":
            raise  # the peer has gone while we wrote
        _log.exception("call %s of %s failed", call.id, call.method)
        await abort(call, errors.status_of(error))


async def abort(call: Call, status: status_pb2.Status) -> None:
    """Ends the call with a status; RequestInfo names it in our log."""
    info = any_pb2.Any()
    info.Pack(error_details_pb2.RequestInfo(request_id=call.id))
    status.details.append(info)
    code = _CODES[status.code]
    call.code = code.name
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await call.context.abort_with_status(_Status(code, status.message, trailing))  # type: ignore[arg-type]
