"""What a provider's refusal becomes: the one place that judges HTTP statuses and error names.

Text of the provider reaches a caller only for a refused request (it says what to
mend), shortened and without anything that looks like a key. All other texts are ours."""

import email.utils
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

from asteros import clock, errors
from asteros.providers.deltas import clean

MAX_PROVIDER_TEXT = 300
# A provider that says "come back tomorrow" is told on; more is taken for a broken header.
MAX_RETRY_AFTER = 86_400.0

# Names of errors sent inside a stream whose HTTP status was 200, and the status they stand for.
_KINDS = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "invalid_image": 400,
    "image_parse_error": 400,
    "image_content_policy_violation": 400,
    "context_length_exceeded": 400,
    "bio_policy": 400,
    "misalignment_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_AUTH = frozenset({401, 403})
# 402 is a quota in money: the account is empty, the request itself is fine.
_LIMIT = frozenset({402, 429, 529})
# 4xx of a kind that the same request may get past when sent again.
_PASSING = frozenset({408, 409, 425})
_SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|key|gsk|xai|AIza)[-_]?[\w*.-]{8,})")


class Response(Protocol):
    """What is read of an HTTP response."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def of_response(provider: str, response: Response, *, text: object = "", key: str = "") -> errors.AsterError:
    """The error for an HTTP status of 300 or more. ``text`` is the provider's own word."""
    status = response.status_code
    return _of(status, text, key, retry_after(response.headers), provider=provider, http_status=status)


def of_kind(provider: str, kind: object, *, text: object = "", key: str = "") -> errors.AsterError:
    """The error for a failure named inside a 200 stream, by type or by number; unknown: unavailable."""
    name = str(kind)
    status = int(name) if name.isdecimal() and len(name) == 3 else _KINDS.get(name, 500)
    return _of(status, text, key, None, provider=provider)


def _of(status: int, text: object, key: str, retry_after: float | None, **facts: Any) -> errors.AsterError:
    if status in _AUTH:
        return errors.ProviderAuth("The model provider refused the key", **facts)
    if status in _LIMIT:
        return errors.ProviderLimit(retry_after=retry_after, **facts)
    if status >= 500 or status in _PASSING:
        return errors.ProviderUnavailable(retry_after=retry_after, **facts)
    return rejected(text, key, **facts)


def rejected(text: object, key: str = "", **facts: Any) -> errors.ProviderRejected:
    """A refused request with the provider's reason, redacted and short."""
    reason = redacted(text, key)
    default = "The model provider refused the request"
    return errors.ProviderRejected(f"{default}: {reason}" if reason else default, **facts)


def malformed(provider: str, what: str) -> errors.ProviderTruncated:
    """A stream that ended early or cannot be read."""
    return errors.ProviderTruncated(f"The model provider's stream {what}", provider=provider)


def no_key(provider: str, variable: str) -> errors.ProviderAuth:
    """No key is known for a provider that needs one."""
    return errors.ProviderAuth(
        f"No key for the model provider {provider}: set {variable} or model_config.api_key", provider=provider
    )


def redacted(said: object, key: str = "") -> str:
    """One line of at most MAX_PROVIDER_TEXT characters without the key or anything like one.

    ``said`` is whatever a provider put where its text belongs; what is not text is nothing."""
    text = clean(said) if isinstance(said, str) else ""
    if key:
        text = text.replace(key, "[redacted]")
    line = " ".join(_SECRETS.sub("[redacted]", text).split())
    return line if len(line) <= MAX_PROVIDER_TEXT else line[: MAX_PROVIDER_TEXT - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a response asks to wait: ``retry-after-ms``, or ``retry-after`` as seconds or a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _seconds(value, unit)
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), MAX_RETRY_AFTER)
    return None


def _seconds(value: str, unit: float) -> float | None:
    try:
        return float(value) * unit
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - clock.now() / clock.NANOS
    except (ValueError, OverflowError):
        return None
