"""Headers of HTTP become metadata of gRPC, and back."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence

from asteros.bridge.options import Metadata
from asteros.bridge.refusal import bad_request

# The permanent headers of IANA's list that grpc-gateway passes on.
_PERMANENT = frozenset(
    (
        "accept", "accept-charset", "accept-language", "accept-ranges", "authorization", "cache-control",
        "content-type", "cookie", "date", "expect", "from", "host", "if-match", "if-modified-since", "if-none-match",
        "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin", "pragma", "referer", "user-agent",
        "via", "warning",
    )
)  # fmt: skip
_PASSED = frozenset(("traceparent", "tracestate", "baggage", "x-request-id"))
_PREFIX = "grpc-metadata-"
_NAME = re.compile(r"[0-9a-z_.-]+")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def metadata_of(
    headers: Iterable[tuple[str, str]], authorization: str, client: str, reserved: frozenset[str]
) -> list[tuple[str, str | bytes]]:
    """Metadata for a call. ``client``: address of the peer, "" when unknown.

    :raises Refusal: a binary header that is no base64."""
    out: list[tuple[str, str | bytes]] = []
    if authorization and _plain(authorization):
        out.append(("authorization", authorization))
    forwarded, host, forwarded_host = "", "", ""
    for name, value in headers:
        if not _plain(value):
            continue
        if name == "x-forwarded-for":
            forwarded = f"{forwarded}, {value}" if forwarded else value
        elif name == "x-forwarded-host":
            forwarded_host = value
        elif name.startswith(_PREFIX):
            out += _named(name.removeprefix(_PREFIX), value, reserved)
        elif name in _PERMANENT:
            host = value if name == "host" else host
            out.append((f"grpcgateway-{name}", value))
        elif name in _PASSED:
            out.append((name, value))
    if client:
        out.append(("x-forwarded-for", f"{forwarded}, {client}" if forwarded else client))
    if forwarded_host or host:
        out.append(("x-forwarded-host", forwarded_host or host))
    return out


def _plain(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _named(name: str, value: str, reserved: frozenset[str]) -> Iterator[tuple[str, str | bytes]]:
    """What ``Grpc-Metadata-<name>`` says. Names of gRPC itself and reserved ones are not for clients."""
    if not _NAME.fullmatch(name) or name.startswith("grpc-") or name in reserved or name == "authorization":
        return
    if name.endswith("-bin"):
        try:
            yield name, base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except binascii.Error:
            raise bad_request("FIELD_VIOLATION", "a binary header is not base64", (name, "is not base64")) from None
    else:
        yield name, value


def timeout_of(text: str) -> float | None:
    """Seconds of ``Grpc-Timeout``; None without one.

    :raises Refusal:"""
    if not text:
        return None
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise bad_request("FIELD_VIOLATION", "grpc-timeout is not valid", ("grpc-timeout", "is not valid"))
    return int(match[1]) * _UNITS[match[2]]


def to_headers(metadata: Metadata | None, prefix: str) -> Iterator[tuple[bytes, bytes]]:
    """Metadata of the server, as headers with a prefix."""
    for name, value in metadata or ():
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        if _NAME.fullmatch(name) and not name.startswith("grpc-") and _plain(text):
            yield f"{prefix}{name}".encode(), text.encode()


def accepts(accept: str, offered: Sequence[str]) -> str:
    """The best of the offered media types, "" when none will do. The first wins a draw."""
    if not accept.strip():
        return offered[0]
    best, best_rank = "", (0.0, 0)
    for media in offered:
        for part in accept.split(","):
            wanted, *parameters = [each.strip().lower() for each in part.split(";")]
            quality = _quality(parameters)
            exactness = (wanted == media) * 3 or (wanted == f"{media.partition('/')[0]}/*") * 2 or int(wanted == "*/*")
            if exactness and quality > 0 and (quality, exactness) > best_rank:
                best, best_rank = media, (quality, exactness)
    return best


def _quality(parameters: Sequence[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
