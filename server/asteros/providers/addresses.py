"""Which addresses a caller may name as ``base_url`` (SSRF): judged when it is stored and when it is called."""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from asteros import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# All checked addresses of (host, port); raises UrlNotAllowed at the field named last, and
# OSError for a name without an address. ``sandbox.netguard`` has it.
Resolve = Callable[[str, int, str], Awaitable[Sequence[Address]]]

FIELD = "config.model_config.base_url"
_HTTPS = 443


class Addresses:
    """The judge of addresses that callers name; those of the operator are not asked about.

    ``allowed``: networks that the operator has opened, in which any port and plain http
    will do. Everywhere else it is https on port 443."""

    def __init__(self, resolve: Resolve, allowed: Sequence[Network] = ()) -> None:
        self._resolve = resolve
        self._allowed = tuple(allowed)

    async def check(self, url: str, field: str = FIELD) -> Sequence[Address]:
        """Where to connect for an address; who resolves again could be told otherwise.

        :raises UrlNotAllowed: at ``field``.
        :raises OSError: the name has no address, or nobody answered in time."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise errors.UrlNotAllowed(field) from None
        if not host or parts.scheme not in ("http", "https") or parts.username or parts.password:
            raise errors.UrlNotAllowed(field)
        port = port or (_HTTPS if parts.scheme == "https" else 80)
        if parts.scheme == "https" and port == _HTTPS:
            return await self._resolve(host, port, field)
        return await self._opened(host, port, field)

    async def _opened(self, host: str, port: int, field: str) -> Sequence[Address]:
        """Addresses that the operator has opened, all of them; one that cannot be found is none."""
        try:
            found = await self._resolve(host, port, field)
        except OSError:
            raise errors.UrlNotAllowed(field) from None
        if not all(any(address in net for net in self._allowed) for address in found):
            raise errors.UrlNotAllowed(field)
        return found
