"""What the bridge itself refuses, and the one table from gRPC codes to HTTP."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

DETAILS = "grpc-status-details-bin"
UNAUTHENTICATED = 16
_MAX_NAME, _MAX_TEXT, _MAX_FIELDS = 100, 200, 10  # of violations that are told: they travel in headers
HTTP_STATUS: Mapping[int, int] = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429,
    9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, UNAUTHENTICATED: 401,
}  # fmt: skip


@dataclass(eq=False)
class Refusal(Exception):
    """A request that never becomes a call. ``http`` 0: by the code."""

    code: int
    reason: str
    text: str
    http: int = 0
    fields: Sequence[tuple[str, str]] = ()  # (field, what is wrong), of BadRequest
    headers: Sequence[tuple[str, str]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # of ErrorInfo

    def status(self, domain: str) -> status_pb2.Status:
        """As a google.rpc.Status; without details where there is no domain to give reasons a meaning."""
        status = status_pb2.Status(code=self.code, message=self.text)
        if domain:
            if self.reason:  # HTTP's own refusals have none
                _pack(status, error_details_pb2.ErrorInfo(reason=self.reason, domain=domain, metadata=self.facts))
            if self.fields:
                violations = [
                    error_details_pb2.BadRequest.FieldViolation(field=name[:_MAX_NAME], description=text[:_MAX_TEXT])
                    for name, text in self.fields[:_MAX_FIELDS]
                ]
                _pack(status, error_details_pb2.BadRequest(field_violations=violations))
            _pack(status, error_details_pb2.RequestInfo(request_id=secrets.token_hex(13)))
        return status

    def told(self) -> str:
        """As metadata: {"reason", "fields": [[field, what is wrong]]} in JSON."""
        fields = [[name[:_MAX_NAME], text[:_MAX_TEXT]] for name, text in self.fields[:_MAX_FIELDS]]
        return json.dumps({"reason": self.reason, "fields": fields})


def _pack(status: status_pb2.Status, detail: Message) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)


def bad_request(reason: str, text: str, *fields: tuple[str, str]) -> Refusal:
    """INVALID_ARGUMENT."""
    return Refusal(3, reason, text, fields=fields)


def bad_json(text: str, where: str = "") -> Refusal:
    """A body that is no JSON, or JSON that parsers would read in different ways."""
    return bad_request("MALFORMED_JSON", text, (where, text))


def bad_field(name: str, text: str) -> Refusal:
    """A value that its field cannot have."""
    return bad_request("FIELD_VIOLATION", f"{name}: {text}", (name, text))


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """What the server said, with its details when it sent any that can be read."""
    code: int = error.code().value[0]
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            if status.code == code:
                return status
    return status_pb2.Status(code=code, message=error.details() or "")


def reason_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """Its ErrorInfo; empty when it has none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            break
    return info


def retry_after(status: status_pb2.Status) -> int:
    """Whole seconds of its RetryInfo, rounded up; 0 when it has none."""
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            return int(info.retry_delay.seconds + (info.retry_delay.nanos > 0))
    return 0
