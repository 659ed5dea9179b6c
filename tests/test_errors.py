"""The error tree: what every error tells, and how little room it takes."""

import inspect
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from aster.v1 import error_reason_pb2
from asteros import errors
from asteros.errors import AsterError, Code, Violation

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, AsterError) and not issubclass(kind, errors.Relayed)
]  # fmt: skip
# What a constructor must be told.
ARGUMENTS: dict[type[AsterError], tuple[Any, ...]] = {
    errors.ScopeRequired: ("admin",),
    errors.InvalidId: ("agent_id", "bad"),
    errors.InvalidCursor: ("cursor",),
    errors.UrlNotAllowed: ("base_url",),
    errors.NotAvailable: ("stars",),
}
TABLE = {  # code by reason, as the table of errors in the contract has it
    "INVALID_ARGUMENT": (
        "MALFORMED_MESSAGE FIELD_VIOLATION UNKNOWN_FIELD INVALID_ID INVALID_CURSOR URL_NOT_ALLOWED PROVIDER_REJECTED"
    ),
    "UNAUTHENTICATED": "INVALID_CREDENTIALS",
    "PERMISSION_DENIED": "SCOPE_REQUIRED FOUR_EYES_REQUIRED TOOL_DENIED APPROVAL_DENIED",
    "NOT_FOUND": (
        "AGENT_NOT_FOUND SESSION_NOT_FOUND MESSAGE_NOT_FOUND TURN_NOT_FOUND TOOL_CALL_NOT_FOUND "
        "WORKFLOW_NOT_FOUND WORKFLOW_RUN_NOT_FOUND SCHEDULE_NOT_FOUND PENDING_REQUEST_NOT_FOUND "
        "TEMPLATE_NOT_FOUND TOOL_NOT_FOUND API_KEY_NOT_FOUND STAR_NOT_FOUND STAR_MEMBER_NOT_FOUND"
    ),
    "ALREADY_EXISTS": (
        "AGENT_ALREADY_EXISTS SESSION_ALREADY_EXISTS WORKFLOW_ALREADY_EXISTS SCHEDULE_ALREADY_EXISTS "
        "STAR_ALREADY_EXISTS STAR_MEMBER_ALREADY_EXISTS REQUEST_ID_REUSED"
    ),
    "FAILED_PRECONDITION": (
        "WRONG_STATE AGENT_CLOSED REMOTE_AGENT_READ_ONLY STAR_WITHOUT_LEADER MODEL_PRICE_UNKNOWN "
        "REQUEST_ALREADY_RESOLVED APPROVAL_STALE EXPRESSION_FAILED PROVIDER_AUTH SANDBOX_UNAVAILABLE"
    ),
    "ABORTED": "AGENT_BUSY ETAG_MISMATCH LEASE_LOST TOOL_OUTCOME_UNKNOWN",
    "OUT_OF_RANGE": "EVENT_CURSOR_EXPIRED EVENT_CURSOR_AHEAD EVENT_LOG_RESET",
    "RESOURCE_EXHAUSTED": (
        "AGENT_LIMIT_REACHED RATE_LIMITED AUTH_RATE_LIMITED QUOTA_EXCEEDED BUDGET_EXCEEDED "
        "SUBSCRIBER_TOO_SLOW PROVIDER_LIMIT STORAGE_FULL"
    ),
    "UNAVAILABLE": (
        "PROVIDER_UNAVAILABLE PROVIDER_STALLED PROVIDER_TRUNCATED REMOTE_AGENT_OFFLINE DRAINING STORE_UNAVAILABLE"
    ),
    "CANCELLED": "TURN_INTERRUPTED TOOL_CANCELED",
    "DEADLINE_EXCEEDED": "TOOL_TIMEOUT",
    "UNIMPLEMENTED": "NOT_AVAILABLE",
    "DATA_LOSS": "STORE_CORRUPT",
    "INTERNAL": "TOOL_FAILED INTERNAL",
}
# Where waiting helps, and where it does not although the code may suggest it.
WAIT = "AGENT_BUSY ETAG_MISMATCH LEASE_LOST AGENT_LIMIT_REACHED RATE_LIMITED AUTH_RATE_LIMITED SUBSCRIBER_TOO_SLOW"
WAIT += " PROVIDER_LIMIT PROVIDER_UNAVAILABLE PROVIDER_STALLED PROVIDER_TRUNCATED REMOTE_AGENT_OFFLINE"
WAIT += " DRAINING STORE_UNAVAILABLE"


def made(kind: type[AsterError]) -> AsterError:
    if kind in ARGUMENTS:
        return kind(*ARGUMENTS[kind])
    return kind("x") if issubclass(kind, errors.NotFound | errors.AlreadyExists) else kind()


def kinds_of(status: status_pb2.Status) -> list[str]:
    return [detail.TypeName().removeprefix("google.rpc.") for detail in status.details]


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error(kind: type[AsterError]) -> None:
    status = made(kind).status()
    info = info_of(status)
    assert (info.domain, info.reason) == ("aster", kind.reason)
    assert f"ERROR_REASON_{info.reason}" in error_reason_pb2.ErrorReason.keys()  # noqa: SIM118 - no dict
    assert info.reason in TABLE[Code(status.code).name].split()
    assert status.message
    assert ("RetryInfo" in kinds_of(status)) == (info.reason in WAIT.split())


def test_every_reason_of_the_table_has_an_error() -> None:
    assert {kind.reason for kind in KINDS} == {reason for reasons in TABLE.values() for reason in reasons.split()}


def test_unknown_is_no_code() -> None:
    assert 2 not in set(Code)


@pytest.mark.parametrize("foreign", [RuntimeError("db password=hunter2"), KeyError("/tmp/x"), SystemExit("x")])
def test_foreign_exceptions_tell_nothing(foreign: BaseException) -> None:
    status = errors.status_of(foreign)
    assert (status.code, status.message, info_of(status).reason) == (13, "internal error", "INTERNAL")
    assert kinds_of(status) == ["ErrorInfo"]


def test_retry_after_of_the_raiser_counts() -> None:
    retry = error_details_pb2.RetryInfo()
    assert errors.RateLimited(retry_after=2.5).status().details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500


text = st.text(max_size=2000) | st.sampled_from(["\U0001f600" * 3000, "x" * 100_000, "\ud800 lone", "a\x00b"])
SIZE = errors.MAX_DETAILS_BYTES - errors.RESERVED_BYTES


@given(text, st.dictionaries(st.sampled_from("abcdefghijkl"), text, max_size=12))
def test_facts_fit(message: str, facts: dict[str, str]) -> None:
    """M20: whatever is said, ErrorInfo stands first and all fits."""
    status = errors.WrongState(message, retry_after=1.0, **facts).status()
    assert set(info_of(status).metadata) == set(facts)
    assert sum(detail.ByteSize() for detail in status.details) <= SIZE
    assert len(status.message.encode()) <= errors.MAX_TEXT


@given(st.lists(st.tuples(text, text), min_size=1, max_size=60))
def test_violations_fit(found: list[tuple[str, str]]) -> None:
    status = errors.FieldViolation(*(Violation(field, said) for field, said in found)).status()
    assert info_of(status).metadata["count"] == str(len(found))
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert 1 <= len(bad.field_violations) <= len(found)
    assert sum(detail.ByteSize() for detail in status.details) <= SIZE


def test_a_failed_turn_is_told_with_its_id() -> None:
    stored = errors.ProviderLimit(retry_after=3.0, provider="p").status()
    status = errors.TurnFailed(stored, "trn_1").status()
    assert dict(info_of(status).metadata) == {"provider": "p", "turn_id": "trn_1"}
    assert kinds_of(status) == kinds_of(stored)
    assert "turn_id" not in info_of(stored).metadata  # what is stored stays
