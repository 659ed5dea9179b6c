"""Which pages and which names may reach this server (security, part 5).

A page in a browser on this machine arrives from loopback as everything here does, so
loopback is no credential: Host stops names that were bound anew, Origin stops pages."""

import ipaddress
from urllib.parse import urlsplit

from asteros.bridge.credentials import Credential
from asteros.bridge.options import Options
from asteros.bridge.refusal import Refusal

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Origins:
    """The rules of one server."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def check_host(self, host: str) -> None:
        """
        :raises Refusal: 421, a name that is not this server's."""
        name = _name(host)
        if name in self._options.hosts or "*" in self._options.hosts or is_loopback(name):
            return
        if self._options.any_address and _address(name) is not None:
            return  # a name can be bound to another address, an address cannot
        raise Refusal(7, "ORIGIN_NOT_ALLOWED", "this host is not served here", http=421)

    def check(self, origin: str | None, scheme: str, host: str, credential: Credential) -> None:
        """Holds a request that changes something, or opens a socket, against what proves its caller.

        :raises Refusal: 403."""
        if origin is not None and not self._may(origin, _same(scheme, host), credential):
            raise Refusal(7, "ORIGIN_NOT_ALLOWED", "pages of this origin may not do this")

    def _may(self, origin: str, own: str, credential: Credential) -> bool:
        if origin == "null":
            return False
        if credential.kind == "cookie":
            return _canonical(origin) == own
        if credential.kind != "none" or self._options.auth:
            allowed = self._options.origins
            return not allowed or origin in allowed or _canonical(origin) == own
        return _canonical(origin) == own or is_loopback(_name(urlsplit(origin).netloc))

    def shared(self, origin: str | None, scheme: str, host: str) -> str:
        """The value of Access-Control-Allow-Origin, "" for none."""
        if origin is None or not self._options.cors:
            return ""
        if self._options.auth and not self._options.origins:
            return "*"
        return origin if self._may(origin, _same(scheme, host), Credential()) else ""


def _same(scheme: str, host: str) -> str:
    return _canonical(f"{scheme.replace('ws', 'http')}://{host}")


def _canonical(origin: str) -> str:
    """scheme://host:port in lower case, the port always named; "" for what is none."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else ""


def _name(host: str) -> str:
    """A Host header without its port, in lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """``localhost``, or an address that only this machine has."""
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)
