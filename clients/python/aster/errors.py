"""What can go wrong with a call, as types: one class for each gRPC code.

Every failure is an ``AsterError``. Branch on the class and on ``reason``, never on
the text (``error_reason.proto`` lists the reasons, each with an example)::

    try:
        result = await agent.chat(text)
    except errors.DeadlineExceeded: ...          # seed 004: errors.Is(err, context.DeadlineExceeded)
    except errors.FailedPrecondition as error:
        if error.reason == "AGENT_CLOSED": ...
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_Detail = TypeVar("_Detail", bound=Message)


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request: its path as in the proto, and what is wrong with it."""

    field: str
    description: str


class AsterError(Exception):
    """A call, a turn or a tool failed.

    ``code`` is the gRPC code, ``reason`` the stable name of the cause (empty when no
    server said one: a broken connection), ``metadata`` its facts, ``violations`` all
    bad fields of the request, ``retry_after`` the seconds the server asks to wait.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} [{self.reason}]" if self.reason else self.message


class Cancelled(AsterError):
    """The turn was interrupted. (A caller that cancels its own task gets asyncio.CancelledError.)"""

    code = grpc.StatusCode.CANCELLED


class InvalidArgument(AsterError):
    """The request is wrong in itself; ``violations`` names the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(AsterError, TimeoutError):
    """The timeout of the call ran out; also a ``TimeoutError``."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(AsterError):
    """There is no such thing, or the caller may not know of it."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(AsterError):
    """The id is taken, or the request_id was used for another request."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(AsterError):
    """The key is valid, but not for this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(AsterError):
    """A limit, a budget or the room is used up."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(AsterError):
    """Not in this state: a closed agent, a decided request."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(AsterError):
    """Somebody else was first: a busy agent, another etag."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(AsterError):
    """The cursor is too old, ahead or of another log; never retried."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(AsterError):
    """This server is built or configured without it."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(AsterError):
    """A fault of the server; its log has the details."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(AsterError):
    """No server, a server that stops, or a model provider that failed."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(AsterError):
    """The server's store is damaged."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(AsterError):
    """No key, or not a valid one."""

    code = grpc.StatusCode.UNAUTHENTICATED


_CLASSES = {cls.code: cls for cls in AsterError.__subclasses__()}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: status_pb2.Status) -> AsterError:
    """The error a ``google.rpc.Status`` describes: of an RPC, a turn, a tool or a step."""
    info = _detail(status, error_details_pb2.ErrorInfo)
    bad = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    cls = _CLASSES.get(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), AsterError)
    return cls(
        status.message,
        reason=info.reason if info else "",
        metadata=info.metadata if info else None,
        violations=[Violation(v.field, v.description) for v in bad.field_violations] if bad else (),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
    )


def from_rpc(failure: grpc.aio.AioRpcError) -> AsterError:
    """The error of a failed call. Details that cannot be read leave code and text."""
    status = status_pb2.Status()
    for key, value in failure.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                status.Clear()
    # The trailer's own code is the one every proxy and retry saw.
    status.code = failure.code().value[0]
    status.message = status.message or failure.details() or failure.code().name
    return from_status(status)


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    found = kind()
    for packed in status.details:
        if packed.Is(found.DESCRIPTOR):
            try:
                packed.Unpack(found)
            except DecodeError:
                return None
            return found
    return None
