"""Who calls: every form in which a key, a cookie or a ticket may come becomes ``authorization``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from asteros.bridge.refusal import UNAUTHENTICATED, Refusal

Kind = Literal["none", "key", "cookie", "ticket"]
QUERY_NAMES = ("access_token", "api_key")
CHALLENGE = ("WWW-Authenticate", "Bearer")


@dataclass(frozen=True, slots=True)
class Credential:
    """``text`` goes out as ``authorization``; ``kind`` decides which pages may send it."""

    kind: Kind = "none"
    text: str = ""


def credential_of(
    headers: Iterable[tuple[str, str]],
    pairs: Iterable[tuple[str, str]],
    *,
    cookie: str = "",
    key_in_query: bool = True,
) -> Credential:
    """The one credential of a request. Headers before the cookie before the query.

    :raises Refusal: two that differ: which one counts would be a guess."""
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    texts = [*given.get("authorization", ()), *given.get("grpc-metadata-authorization", ())]
    texts += [f"Bearer {key.strip()}" for key in given.get("x-api-key", ())]
    texts = [text for text in texts if text.strip()]
    if len({_key(text) for text in texts}) > 1:
        raise unauthenticated()
    if texts:
        return Credential("key", texts[0])
    held = _from_cookies(given.get("cookie", ()), cookie)
    if held:
        return Credential("cookie", f"Bearer {held}")
    return _from_query(dict(pairs), key_in_query)


def unauthenticated() -> Refusal:
    """One text for all causes."""
    return Refusal(UNAUTHENTICATED, "INVALID_CREDENTIALS", "credentials are missing or not valid", headers=(CHALLENGE,))


def _key(text: str) -> str:
    """The key itself, with or without its scheme."""
    scheme, _, rest = text.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and rest else text.strip()


def _from_cookies(cookies: Iterable[str], name: str) -> str:
    if not name:
        return ""
    jar = SimpleCookie()
    for text in cookies:
        try:
            jar.load(text)
        except CookieError:
            continue  # a cookie of somebody else on this host
    return jar[name].value if name in jar else ""


def _from_query(query: Mapping[str, str], key_in_query: bool) -> Credential:
    if query.get("access_token"):
        return Credential("ticket", f"Bearer {query['access_token']}")
    if key_in_query and query.get("api_key"):
        return Credential("key", f"Bearer {query['api_key']}")
    return Credential()
