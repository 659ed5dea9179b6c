"""The error tree: every failure a caller can see is a type here.

Each class knows its gRPC code and its reason (``proto/aster/v1/error_reason.proto``);
an instance holds facts, which become ``ErrorInfo.metadata``. ``status_of`` is the
one place where an exception becomes a ``google.rpc.Status``: whatever is not an
``AsterError`` is INTERNAL with a fixed text, so nothing internal reaches a client.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "aster"
# gRPC carries details in a trailer, cut by the peer at 16 KiB for all metadata.
MAX_DETAILS_BYTES = 4096
RESERVED_BYTES = 256  # of them, for what is added later: RequestInfo, the turn's id
MAX_TEXT = 500  # bytes of one message or fact; the message travels percent-encoded
MAX_FACTS = 2048  # bytes of all facts
MAX_VIOLATIONS = 3072  # bytes of all field violations


class Code(enum.IntEnum):
    """Codes of google/rpc/code.proto. UNKNOWN is left out on purpose: it is never sent."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request: its path as in the proto, and what is wrong with it."""

    field: str
    description: str


class AsterError(Exception):
    """Internal error."""

    # The class docstring is the default message.
    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    wait: ClassVar[float | None] = None  # seconds of RetryInfo where whoever raises it knows none

    def __init__(self, text: str = "", *, retry_after: float | None = None, **facts: object) -> None:
        self.text = text or (type(self).__doc__ or "internal error").strip().rstrip(".")
        self.retry_after = retry_after  # seconds after which trying again may help
        self.facts = {name: str(value) for name, value in facts.items()}
        super().__init__(self.text)

    def details(self) -> Iterable[message.Message]:
        """google.rpc details beside ErrorInfo and RetryInfo."""
        return ()

    def status(self) -> status_pb2.Status:
        """The google.rpc.Status of this error, its details within MAX_DETAILS_BYTES.

        ErrorInfo always stands first and is never cut away."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)
        for name, value in self.facts.items():
            info.metadata[name] = _cut(value, min(MAX_TEXT, MAX_FACTS // len(self.facts)))
        parts: list[message.Message] = [info]
        wait = self.wait if self.retry_after is None else self.retry_after
        if wait is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(int(wait * 1e9))
            parts.append(retry)
        parts.extend(self.details())
        return status_pb2.Status(code=self.code, message=_cut(self.text, MAX_TEXT), details=_packed(parts))


def _cut(text: str, size: int) -> str:
    """At most ``size`` bytes of a text, and no half character."""
    return text.encode(errors="replace")[:size].decode(errors="ignore")


def _packed(parts: Sequence[message.Message]) -> list[any_pb2.Any]:
    packed: list[any_pb2.Any] = []
    room = MAX_DETAILS_BYTES - RESERVED_BYTES
    for part in parts:
        wrapped = any_pb2.Any()
        wrapped.Pack(part)
        room -= wrapped.ByteSize()
        if room < 0:
            break
        packed.append(wrapped)
    return packed


# -- INVALID_ARGUMENT ------------------------------------------------------


class InvalidArgument(AsterError):
    """The request is not valid."""

    code = Code.INVALID_ARGUMENT
    reason = "FIELD_VIOLATION"

    def __init__(self, violations: Sequence[Violation] = (), text: str = "", **facts: object) -> None:
        first = f"{violations[0].field}: {violations[0].description}" if violations else ""
        super().__init__(text or first, retry_after=None, **facts)
        self.violations = tuple(violations)

    def details(self) -> Iterable[message.Message]:
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for violation in self.violations:
                bad.field_violations.add(
                    field=_cut(violation.field, MAX_TEXT), description=_cut(violation.description, MAX_TEXT)
                )
                if bad.ByteSize() > MAX_VIOLATIONS:  # keep what fits beside ErrorInfo
                    del bad.field_violations[-1]
                    break
            yield bad


class FieldViolation(InvalidArgument):
    """A field is missing or has a bad value."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__(violations, count=len(violations))


class UnknownField(InvalidArgument):
    """A member of the body is not known."""

    reason = "UNKNOWN_FIELD"


def bad_field(field: str, description: str) -> FieldViolation:
    """The common case: exactly one field is wrong."""
    return FieldViolation(Violation(field, description))


class MalformedMessage(InvalidArgument):
    """The bytes are not a valid message."""

    reason = "MALFORMED_MESSAGE"


class InvalidId(InvalidArgument):
    """An id does not have the required form."""

    reason = "INVALID_ID"

    def __init__(self, field: str, description: str) -> None:
        super().__init__([Violation(field, description)], field=field)


class InvalidCursor(InvalidArgument):
    """The cursor or page token was not made by this server for this request."""

    reason = "INVALID_CURSOR"

    def __init__(self, field: str) -> None:
        super().__init__(
            [Violation(field, "not made by this server for this request; open again without it")], field=field
        )


class UrlNotAllowed(InvalidArgument):
    """The address is not allowed."""

    reason = "URL_NOT_ALLOWED"

    def __init__(self, field: str) -> None:
        super().__init__([Violation(field, "address not allowed")], field=field)


class ProviderRejected(InvalidArgument):
    """The model provider refused the request."""

    reason = "PROVIDER_REJECTED"

    def __init__(self, text: str = "", **facts: object) -> None:
        super().__init__((), text, **facts)


# -- credentials and rights ------------------------------------------------


class InvalidCredentials(AsterError):
    """Credentials are missing or not valid."""

    code = Code.UNAUTHENTICATED
    reason = "INVALID_CREDENTIALS"


class PermissionDenied(AsterError):
    """The caller may not do this."""

    code = Code.PERMISSION_DENIED
    reason = "SCOPE_REQUIRED"


class ScopeRequired(PermissionDenied):
    """The caller lacks a scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the scope {scope} is required", scope=scope)


class FourEyesRequired(PermissionDenied):
    """Another person than the one who started the turn must decide."""

    reason = "FOUR_EYES_REQUIRED"


class ApprovalDenied(PermissionDenied):
    """An approval step was denied or has expired."""

    reason = "APPROVAL_DENIED"


class ToolDenied(PermissionDenied):
    """The tool call was denied."""

    reason = "TOOL_DENIED"


# -- NOT_FOUND and ALREADY_EXISTS ------------------------------------------


class NotFound(AsterError):
    """Not found."""

    code = Code.NOT_FOUND
    reason = "AGENT_NOT_FOUND"
    kind: ClassVar[str] = "agent"
    key: ClassVar[str] = "agent_id"

    def __init__(self, id: str, **facts: object) -> None:
        super().__init__(f"{self.kind} not found: {id}", retry_after=None, **{self.key: id, **facts})
        self.id = id

    def details(self) -> Iterable[message.Message]:
        yield error_details_pb2.ResourceInfo(
            resource_type=f"aster.v1.{self.kind}", resource_name=_cut(self.id, MAX_TEXT)
        )


class AgentNotFound(NotFound):
    """No such agent."""


class AgentNotRegistered(AgentNotFound):
    """This connection has not registered the agent."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.text = f"agent {id} not registered"


class SessionNotFound(NotFound):
    """No such session."""

    reason, kind, key = "SESSION_NOT_FOUND", "session", "session_id"


class MessageNotFound(NotFound):
    """No such message."""

    reason, kind, key = "MESSAGE_NOT_FOUND", "message", "message_id"


class TurnNotFound(NotFound):
    """No such turn."""

    reason, kind, key = "TURN_NOT_FOUND", "turn", "turn_id"


class ToolCallNotFound(NotFound):
    """No such tool call."""

    reason, kind, key = "TOOL_CALL_NOT_FOUND", "tool call", "call_id"


class PendingRequestNotFound(NotFound):
    """No such approval or question."""

    reason, kind, key = "PENDING_REQUEST_NOT_FOUND", "pending request", "pending_id"


class TemplateNotFound(NotFound):
    """No such template."""

    reason, kind, key = "TEMPLATE_NOT_FOUND", "template", "template_id"


class WorkflowNotFound(NotFound):
    """No such workflow."""

    reason, kind, key = "WORKFLOW_NOT_FOUND", "workflow", "workflow_id"


class WorkflowRunNotFound(NotFound):
    """No such run of this workflow."""

    reason, kind, key = "WORKFLOW_RUN_NOT_FOUND", "workflow run", "run_id"


class ScheduleNotFound(NotFound):
    """No such schedule of this workflow."""

    reason, kind, key = "SCHEDULE_NOT_FOUND", "schedule", "schedule_id"


class ToolNotFound(NotFound):
    """No such tool."""

    reason, kind, key = "TOOL_NOT_FOUND", "tool", "tool"


class StarNotFound(NotFound):
    """No such Star."""

    reason, kind, key = "STAR_NOT_FOUND", "star", "star_id"


class StarMemberNotFound(NotFound):
    """The Star has no such member."""

    reason, kind, key = "STAR_MEMBER_NOT_FOUND", "star member", "name"


class ApiKeyNotFound(NotFound):
    """No such API key."""

    reason, kind, key = "API_KEY_NOT_FOUND", "API key", "key_id"


class AlreadyExists(AsterError):
    """It exists already."""

    code = Code.ALREADY_EXISTS
    reason = "AGENT_ALREADY_EXISTS"
    kind: ClassVar[str] = "agent"
    key: ClassVar[str] = "agent_id"

    def __init__(self, id: str) -> None:
        super().__init__(f"{self.kind} already exists: {id}", retry_after=None, **{self.key: id})
        self.id = id

    def details(self) -> Iterable[message.Message]:
        yield error_details_pb2.ResourceInfo(
            resource_type=f"aster.v1.{self.kind}", resource_name=_cut(self.id, MAX_TEXT)
        )


class AgentAlreadyExists(AlreadyExists):
    """The agent id is taken."""


class SessionAlreadyExists(AlreadyExists):
    """The session id is taken."""

    reason, kind, key = "SESSION_ALREADY_EXISTS", "session", "session_id"


class StarAlreadyExists(AlreadyExists):
    """The Star's id is taken."""

    reason, kind, key = "STAR_ALREADY_EXISTS", "star", "star_id"


class StarMemberAlreadyExists(AlreadyExists):
    """The name is taken in the Star, or the agent is in it already."""

    reason, kind, key = "STAR_MEMBER_ALREADY_EXISTS", "star member", "name"

    def __init__(self, id: str, star_id: str = "") -> None:
        super().__init__(id)
        self.facts["star_id"] = star_id


class AgentAlreadyRegistered(AgentAlreadyExists):
    """The agent is registered on another connection, or its id belongs to somebody else."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.text = f"agent {id} already registered"


class SessionAlreadyRegistered(SessionAlreadyExists):
    """The session id belongs to somebody else."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.text = f"session {id} already registered"


class RequestIdReused(AlreadyExists):
    """The request_id was used for a different request."""

    reason, kind, key = "REQUEST_ID_REUSED", "request", "request_id"


class WorkflowAlreadyExists(AlreadyExists):
    """The workflow id is taken."""

    reason, kind, key = "WORKFLOW_ALREADY_EXISTS", "workflow", "workflow_id"


class ScheduleAlreadyExists(AlreadyExists):
    """The schedule id is taken."""

    reason, kind, key = "SCHEDULE_ALREADY_EXISTS", "schedule", "schedule_id"


# -- state -----------------------------------------------------------------


class FailedPrecondition(AsterError):
    """The system is not in a state for this."""

    code = Code.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def details(self) -> Iterable[message.Message]:
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=self.reason, description=_cut(self.text, MAX_TEXT))
        yield failure


class WrongState(FailedPrecondition):
    """The verb is not allowed in this state."""


class AgentClosed(FailedPrecondition):
    """The agent is closed."""

    reason = "AGENT_CLOSED"


class RequestAlreadyResolved(FailedPrecondition):
    """The request was decided otherwise, has expired or was withdrawn."""

    reason = "REQUEST_ALREADY_RESOLVED"


class ExpressionFailed(FailedPrecondition):
    """An expression could not be computed."""

    reason = "EXPRESSION_FAILED"


class StarWithoutLeader(FailedPrecondition):
    """no leader in stars."""

    reason = "STAR_WITHOUT_LEADER"


class ApprovalStale(FailedPrecondition):
    """The decision is about another input than the stored one."""

    reason = "APPROVAL_STALE"


class ModelPriceUnknown(FailedPrecondition):
    """The model has no known price and a money limit is set."""

    reason = "MODEL_PRICE_UNKNOWN"


class ProviderAuth(FailedPrecondition):
    """The model provider refused the key, or no key is set."""

    reason = "PROVIDER_AUTH"


class RemoteAgentReadOnly(FailedPrecondition):
    """This cannot be done to an agent that runs in another program."""

    reason = "REMOTE_AGENT_READ_ONLY"


class SandboxUnavailable(FailedPrecondition):
    """This machine cannot box tools as configured."""

    reason = "SANDBOX_UNAVAILABLE"


class EtagMismatch(AsterError):
    """Somebody changed it in between: read again, then retry."""

    code = Code.ABORTED
    reason = "ETAG_MISMATCH"
    wait = 0.0


class LeaseLost(AsterError):
    """Another owner has taken over the agent: retry."""

    code = Code.ABORTED
    reason = "LEASE_LOST"
    wait = 0.1


class AgentBusy(AsterError):
    """A turn is in progress."""

    code = Code.ABORTED
    reason = "AGENT_BUSY"
    wait = 1.0


class ToolOutcomeUnknown(AsterError):
    """The server stopped while the tool ran."""

    code = Code.ABORTED
    reason = "TOOL_OUTCOME_UNKNOWN"


class CursorOutOfRange(AsterError):
    """The cursor is outside the stored log."""

    code = Code.OUT_OF_RANGE
    reason = "EVENT_CURSOR_EXPIRED"


class CursorExpired(CursorOutOfRange):
    """That part of the log is no longer stored: start from the oldest."""


class CursorAhead(CursorOutOfRange):
    """The log has not come so far."""

    reason = "EVENT_CURSOR_AHEAD"


class LogReset(CursorOutOfRange):
    """The log began anew: open again without a cursor."""

    reason = "EVENT_LOG_RESET"


# -- limits ----------------------------------------------------------------


class ResourceExhausted(AsterError):
    """A limit is reached."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"

    def details(self) -> Iterable[message.Message]:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=self.reason, description=_cut(self.text, MAX_TEXT))
        yield quota


class AgentLimitReached(ResourceExhausted):
    """The server hosts as many agents as it may."""

    reason = "AGENT_LIMIT_REACHED"
    wait = 60.0


class RateLimited(ResourceExhausted):
    """Too many requests wait."""

    reason = "RATE_LIMITED"
    wait = 1.0


class AuthRateLimited(ResourceExhausted):
    """Too many bad credentials."""

    reason = "AUTH_RATE_LIMITED"
    wait = 60.0


class BudgetExceeded(ResourceExhausted):
    """A budget is used up."""

    reason = "BUDGET_EXCEEDED"


class SubscriberTooSlow(ResourceExhausted):
    """The subscriber did not read fast enough: open again from the cursor."""

    reason = "SUBSCRIBER_TOO_SLOW"
    wait = 0.1


class ProviderLimit(ResourceExhausted):
    """The model provider limits the rate."""

    reason = "PROVIDER_LIMIT"
    wait = 5.0


class StorageFull(ResourceExhausted):
    """The store has no room; reading still works."""

    reason = "STORAGE_FULL"


# -- others ----------------------------------------------------------------


class Unavailable(AsterError):
    """Not available now: try again."""

    code = Code.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"
    wait = 1.0


class ProviderUnavailable(Unavailable):
    """The model provider failed."""

    reason = "PROVIDER_UNAVAILABLE"


class ProviderStalled(Unavailable):
    """The model provider stopped sending."""

    reason = "PROVIDER_STALLED"


class ProviderTruncated(Unavailable):
    """The model provider ended its answer without saying so."""

    reason = "PROVIDER_TRUNCATED"


class Draining(Unavailable):
    """The server is about to stop: open again from the cursor."""

    reason = "DRAINING"


class RemoteAgentOffline(Unavailable):
    """The remote agent is not connected."""

    reason = "REMOTE_AGENT_OFFLINE"
    wait = 5.0


class StoreUnavailable(Unavailable):
    """The store does not answer."""


class TurnInterrupted(AsterError):
    """The turn was interrupted before it ended."""

    code = Code.CANCELLED
    reason = "TURN_INTERRUPTED"


class NotAvailable(AsterError):
    """This server is built or configured without the feature."""

    code = Code.UNIMPLEMENTED
    reason = "NOT_AVAILABLE"

    def __init__(self, feature: str) -> None:
        super().__init__(f"this server runs without the feature {feature}", feature=feature)


class StoreCorrupt(AsterError):
    """The store is damaged."""

    code = Code.DATA_LOSS
    reason = "STORE_CORRUPT"


class ToolFailed(AsterError):
    """The tool raised an error."""

    code = Code.INTERNAL
    reason = "TOOL_FAILED"


class MiddlewareFailed(AsterError):
    """A middleware of the agent failed."""

    code = Code.INTERNAL
    reason = "INTERNAL"


class ToolTimeout(AsterError):
    """The tool took too long."""

    code = Code.DEADLINE_EXCEEDED
    reason = "TOOL_TIMEOUT"


class StepTimeout(ToolTimeout):
    """The step of a workflow took too long."""


class ToolCanceled(AsterError):
    """A person stopped the tool."""

    code = Code.CANCELLED
    reason = "TOOL_CANCELED"


class Relayed(AsterError):
    """Something else has failed; carries its error, with a fact that says what it was."""

    def __init__(self, stored: status_pb2.Status, **facts: object) -> None:
        super().__init__(stored.message, retry_after=None, **facts)
        self._stored = stored

    def status(self) -> status_pb2.Status:
        status = status_pb2.Status()
        status.CopyFrom(self._stored)
        info = error_details_pb2.ErrorInfo()
        if status.details and status.details[0].Unpack(info):
            for name, value in self.facts.items():
                info.metadata[name] = value
            status.details[0].Pack(info)
        return status


class TurnFailed(Relayed):
    """A turn that was waited for has failed; carries the stored error of the turn."""

    def __init__(self, stored: status_pb2.Status, turn_id: str) -> None:
        super().__init__(stored, turn_id=turn_id)


class AgentActionFailed(Relayed):
    """What was to be done to one of many agents has failed."""

    def __init__(self, stored: status_pb2.Status, agent_id: str) -> None:
        super().__init__(stored, agent_id=agent_id)


class ConfigError(Exception):
    """An option is unknown, malformed or contradicts another. The text names the fix."""


class RefusedToStart(Exception):
    """Starting would be unsafe or would break a promise. The text names the ways out."""


def status_of(error: BaseException) -> status_pb2.Status:
    """The Status a client or an event may see; a foreign exception tells nothing of itself."""
    if isinstance(error, AsterError):
        return error.status()
    return AsterError("internal error").status()
