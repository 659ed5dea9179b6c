"""Which network addresses may be reached on behalf of somebody else: the guard against SSRF.

Addresses are judged, never text: ``getaddrinfo`` makes 127.0.0.1 of ``2130706433``,
``0x7f.1`` and ``①②⑦.0.0.1``. A name is resolved once, all its addresses are checked, and
the caller connects to one of those: resolving again could give another answer (DNS
rebinding). TLS keeps the name: SNI, certificate and Host header stay those of the URL.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence

from asteros import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVE_SECONDS = 10.0
MAX_ADDRESSES = 32  # of one name; one with more is refused

METADATA = "metadata service"
LINK_LOCAL = "link-local"
MULTICAST = "multicast"
NOT_A_HOST = "not the address of one host"
TRANSLATED = "of a local translation or a retired range"
PRIVATE = "not reachable from the public Internet"

# What no configuration opens, in the order it is looked for.
_NEVER: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        METADATA,
        (
            "169.254.169.254/32",
            "169.254.170.2/32",
            "168.63.129.16/32",
            "100.100.100.200/32",
            "192.0.0.192/32",
            "fd00:ec2::/32",
            "fd20:ce::254/128",
        ),
    ),
    (LINK_LOCAL, ("169.254.0.0/16", "fe80::/10")),
    (MULTICAST, ("224.0.0.0/4", "ff00::/8")),
    (NOT_A_HOST, ("0.0.0.0/8", "240.0.0.0/4", "::/128")),
    (TRANSLATED, ("192.88.99.0/24", "64:ff9b:1::/48", "fec0::/10")),
)
_CLOSED = [(reason, [ipaddress.ip_network(text) for text in texts]) for reason, texts in _NEVER]
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carrier-grade NAT
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")  # retired, yet some stacks still take ::127.0.0.1 for 127.0.0.1


def judge(address: str | Address) -> str | None:
    """Why an address may not be reached; None: it is a public one.

    IPv4 inside IPv6 (mapped, compatible, 6to4, Teredo, NAT64) is judged as what it
    leads to. Raises ValueError for a text that is not an address."""
    return next(filter(None, map(_judge_one, _unwrapped(_address(address)))), None)


def allowed(address: str | Address, allowed_cidrs: Iterable[Network] = ()) -> bool:
    """It is public, or one of ``allowed_cidrs`` opens it. Metadata services, link-local and
    multicast addresses and those of no single host are never open."""
    nets = tuple(allowed_cidrs)
    return all(_open(one, nets) for one in _unwrapped(_address(address)))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR texts as networks. Raises ValueError for one that is malformed."""
    return tuple(ipaddress.ip_network(text.strip()) for text in texts)


async def resolve(
    host: str, port: int, allowed_cidrs: Sequence[Network] = (), *, field: str = "url"
) -> tuple[Address, ...]:
    """All addresses of a host, checked, in the system's order of preference.

    One address that may not be reached condemns the name: whoever controls it could
    otherwise choose. At most RESOLVE_SECONDS. ``field`` names the request's field in the
    error. Cancelled: stops waiting at once; the look-up itself ends in its thread.

    :raises UrlNotAllowed: an address is closed, or the host is not a name
    :raises OSError: the name has no address, or nobody answered (TimeoutError)"""
    if "\0" in host:  # a resolver written in C would see another name
        raise errors.UrlNotAllowed(field)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError):
        raise errors.UrlNotAllowed(field) from None
    addresses = tuple(dict.fromkeys(_address(str(item[4][0])) for item in found))
    if len(addresses) > MAX_ADDRESSES or not all(allowed(address, allowed_cidrs) for address in addresses):
        raise errors.UrlNotAllowed(field)
    return addresses


def _address(value: str | Address) -> Address:
    return ipaddress.ip_address(value) if isinstance(value, str) else value


def _unwrapped(address: Address) -> tuple[Address, ...]:
    """The addresses that decide: those inside, where it carries any."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def _never(address: Address) -> str | None:
    for reason, nets in _CLOSED:
        if any(address in net for net in nets):
            return reason
    return None


def _judge_one(address: Address) -> str | None:
    reason = _never(address)
    if reason is None and (not address.is_global or address in _SHARED):
        return PRIVATE
    return reason


def _open(address: Address, nets: Sequence[Network]) -> bool:
    reason = _judge_one(address)
    return reason is None or (reason == PRIVATE and any(address in net for net in nets))
