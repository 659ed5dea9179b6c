"""The guard against SSRF: addresses are judged, never text (security, part 9)."""

import ipaddress
import socket

import pytest

from asteros import errors
from asteros.sandbox import netguard
from asteros.sandbox.netguard import LINK_LOCAL, METADATA, MULTICAST, NOT_A_HOST, PRIVATE, TRANSLATED

pytestmark = pytest.mark.anyio

TABLE: list[tuple[str, str | None]] = [
    ("8.8.8.8", None),
    ("1.1.1.1", None),
    ("93.184.216.34", None),
    ("100.63.255.255", None),
    ("100.128.0.1", None),
    ("172.15.255.255", None),
    ("172.32.0.1", None),
    ("192.167.255.255", None),
    ("223.255.255.254", None),
    ("2606:4700:4700::1111", None),
    ("2001:4860:4860::8888", None),
    ("::ffff:8.8.8.8", None),
    ("64:ff9b::808:808", None),
    ("2002:808:808::1", None),
    ("127.0.0.1", PRIVATE),
    ("127.255.255.254", PRIVATE),
    ("10.0.0.1", PRIVATE),
    ("10.255.255.255", PRIVATE),
    ("172.16.0.1", PRIVATE),
    ("172.31.255.255", PRIVATE),
    ("192.168.1.1", PRIVATE),
    ("192.0.2.1", PRIVATE),
    ("198.18.0.1", PRIVATE),
    ("198.51.100.7", PRIVATE),
    ("203.0.113.9", PRIVATE),
    ("100.64.0.1", PRIVATE),
    ("100.127.255.255", PRIVATE),
    ("::1", PRIVATE),
    ("fc00::1", PRIVATE),
    ("fd12:3456:789a::1", PRIVATE),
    ("2001:db8::1", PRIVATE),
    ("100::1", PRIVATE),
    ("::ffff:127.0.0.1", PRIVATE),
    ("::ffff:10.0.0.1", PRIVATE),
    ("::ffff:100.64.0.1", PRIVATE),
    ("::127.0.0.1", PRIVATE),
    ("64:ff9b::7f00:1", PRIVATE),
    ("64:ff9b::a00:1", PRIVATE),
    ("2002:7f00:1::", PRIVATE),
    ("2002:c0a8:101::1", PRIVATE),
    ("2001:0:808:808:0:0:80ff:fffe", PRIVATE),  # Teredo, client 127.0.0.1
    ("169.254.169.254", METADATA),
    ("169.254.170.2", METADATA),
    ("168.63.129.16", METADATA),
    ("100.100.100.200", METADATA),
    ("192.0.0.192", METADATA),
    ("fd00:ec2::254", METADATA),
    ("fd20:ce::254", METADATA),
    ("::ffff:169.254.169.254", METADATA),
    ("64:ff9b::a9fe:a9fe", METADATA),
    ("2002:a9fe:a9fe::1", METADATA),
    ("::168.63.129.16", METADATA),
    ("169.254.0.1", LINK_LOCAL),
    ("fe80::1", LINK_LOCAL),
    ("fe80::1%1", LINK_LOCAL),
    ("224.0.0.1", MULTICAST),
    ("239.255.255.250", MULTICAST),
    ("ff02::1", MULTICAST),
    ("0.0.0.0", NOT_A_HOST),
    ("0.1.2.3", NOT_A_HOST),
    ("255.255.255.255", NOT_A_HOST),
    ("240.0.0.1", NOT_A_HOST),
    ("::", NOT_A_HOST),
    ("192.88.99.1", TRANSLATED),
    ("fec0::1", TRANSLATED),
    ("64:ff9b:1::1", TRANSLATED),
]


@pytest.mark.parametrize(("address", "reason"), TABLE, ids=[address for address, _ in TABLE])
def test_address_is_judged(address: str, reason: str | None) -> None:
    assert netguard.judge(address) == reason
    assert netguard.allowed(address) is (reason is None)


def test_the_table_is_whole() -> None:
    assert len(dict(TABLE)) == len(TABLE) >= 60


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "2130706433", "0x7f.1", "1.2.3.4.5", "1.2.3.4/32"])
def test_a_text_is_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        netguard.judge(text)


@pytest.mark.parametrize("address", [address for address, reason in TABLE if reason == PRIVATE])
def test_a_range_opens_what_is_private(address: str) -> None:
    assert netguard.allowed(address, netguard.networks(["0.0.0.0/0", "::/0"]))


@pytest.mark.parametrize("address", [address for address, reason in TABLE if reason not in (PRIVATE, None)])
def test_no_range_opens_the_rest(address: str) -> None:
    exact = ipaddress.ip_network(address.partition("%")[0])
    assert not netguard.allowed(address, [exact, *netguard.networks(["0.0.0.0/0", "::/0"])])


def test_a_range_opens_itself_alone() -> None:
    nets = netguard.networks([" 10.1.0.0/16", "fd12::/16"])
    assert netguard.allowed("10.1.2.3", nets)
    assert netguard.allowed("::ffff:10.1.2.3", nets)
    assert not netguard.allowed("10.2.0.1", nets)
    with pytest.raises(ValueError, match="host bits"):
        netguard.networks(["10.1.2.3/16"])


SPELLINGS = ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "①②⑦.0.0.1", "localhost", "::1", "0"]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_this_machine_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(errors.UrlNotAllowed) as caught:
        await netguard.resolve(host, 443, field="base_url")
    assert caught.value.violations[0].field == "base_url"
    assert "127" not in caught.value.text


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "nul\0byte"])
async def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(errors.UrlNotAllowed):
        await netguard.resolve(host, 443)


async def test_addresses_are_returned_once_each() -> None:
    assert await netguard.resolve("8.8.8.8", 443) == (ipaddress.ip_address("8.8.8.8"),)
    assert await netguard.resolve("127.0.0.1", 80, netguard.networks(["127.0.0.0/8"])) == (
        ipaddress.ip_address("127.0.0.1"),
    )


async def test_one_bad_address_condemns_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "mixed.example"
        pairs = [("8.8.8.8", port), ("10.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", pair) for pair in pairs]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(errors.UrlNotAllowed):
        await netguard.resolve("mixed.example", 443)
    good = await netguard.resolve("mixed.example", 443, netguard.networks(["10.0.0.0/8"]))
    assert [str(address) for address in good] == ["8.8.8.8", "10.0.0.1"]
