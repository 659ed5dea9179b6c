"""Addresses that callers name: judged when stored, judged again when called (SSRF)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

import pytest
from providers.kinds import hear, user
from wire import AnthropicReply, OpenAIReply, RawReply, WireServer

from aster.v1 import agent_pb2
from asteros import errors
from asteros.providers.addresses import Address, Addresses
from asteros.providers.base import ModelRequest
from asteros.providers.registry import ProviderRegistry

pytestmark = pytest.mark.anyio

PUBLIC, PRIVATE, LOOPBACK = "93.184.216.34", "10.1.2.3", "127.0.0.1"


class Names:
    """A resolver that says what it is told, and refuses what no network opens."""

    def __init__(self, names: Mapping[str, Sequence[str]], *opened: str) -> None:
        self.asked: list[str] = []
        self.names = dict(names)
        self.nets = [ip_network(net) for net in opened]

    async def __call__(self, host: str, port: int, field: str) -> Sequence[Address]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("no such name")
        found = [ip_address(text) for text in self.names[host]]
        if not all(each.is_global or any(each in net for net in self.nets) for each in found):
            raise errors.UrlNotAllowed(field)
        return found

    def judge(self) -> Addresses:
        return Addresses(self, self.nets)


NAMES = {"pub": [PUBLIC], "lan": [PRIVATE], "two": [PUBLIC, PRIVATE], "localhost": [LOOPBACK], "both": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("url", "opened", "fits"),
    [
        ("https://pub/v1", (), True),
        ("https://pub:443/v1", (), True),
        ("https://pub:8443/v1", (), False),
        ("http://pub/v1", (), False),
        ("https://lan/v1", (), False),
        ("https://lan/v1", ("10.0.0.0/8",), True),
        ("http://lan:11434/v1", ("10.0.0.0/8",), True),
        ("http://two/v1", ("10.0.0.0/8",), False),
        ("https://two/v1", (), False),
        ("http://localhost:11434/v1", ("127.0.0.0/8",), True),
        ("http://localhost:11434/v1", (), False),
        ("http://nobody/v1", ("127.0.0.0/8",), False),
        ("ftp://pub/v1", (), False),
        ("https://user:pw@pub/v1", (), False),
        ("https://pub:x/v1", (), False),
        ("https:///v1", (), False),
    ],
)
async def test_what_may_be_named(url: str, opened: tuple[str, ...], fits: bool) -> None:
    judge = Names(NAMES, *opened).judge()
    if fits:
        assert await judge.check(url)
    else:
        with pytest.raises(errors.UrlNotAllowed):
            await judge.check(url)


def config(url: str, **fields: object) -> agent_pb2.ModelConfig:
    return agent_pb2.ModelConfig(provider="custom", model="m", base_url=url, api_key="k", **fields)  # type: ignore[arg-type]


async def test_a_fallback_is_judged_too_and_named() -> None:
    registry = ProviderRegistry(None, {}, addresses=Names(NAMES).judge())
    asked = config("https://pub/v1", fallbacks=[config("https://pub/v1"), config("https://lan/v1")])
    with pytest.raises(errors.UrlNotAllowed) as caught:
        await registry.check_addresses(asked)
    assert caught.value.violations[0].field == "config.model_config.fallbacks[1].base_url"


async def test_a_name_that_cannot_be_resolved_now_is_judged_at_the_call() -> None:
    names = Names({})
    registry = ProviderRegistry(None, {}, addresses=names.judge())
    await registry.check_addresses(config("https://later/v1"))
    with pytest.raises(errors.ProviderUnavailable):
        await _call(registry, config("https://later/v1"))
    names.names["later"] = [PRIVATE]
    with pytest.raises(errors.UrlNotAllowed):
        await _call(registry, config("https://later/v1"))
    assert names.asked == ["later"] * 3
    await registry.aclose()


async def test_the_operators_own_addresses_are_not_asked_about(wire: WireServer) -> None:
    names = Names({})
    environ = {"OPENAI_BASE_URL": wire.openai_url, "OPENAI_API_KEY": "k"}
    registry = ProviderRegistry(None, environ, addresses=names.judge())
    mine = agent_pb2.ModelConfig(provider="openai", model="m", base_url=wire.openai_url)
    await registry.check_addresses(mine)
    wire.reply(OpenAIReply(text="hi"))
    assert await _call(registry, mine) == "hi"
    assert names.asked == []
    await registry.aclose()


@pytest.fixture
async def named(wire: WireServer) -> AsyncIterator[tuple[ProviderRegistry, Names, str]]:
    """A registry, its resolver, and the wire server under a name that only the resolver knows."""
    names = Names({"wire.invalid": [LOOPBACK]}, "127.0.0.0/8")
    registry = ProviderRegistry(None, {}, addresses=names.judge())
    yield registry, names, wire.base_url.replace(LOOPBACK, "wire.invalid")
    await registry.aclose()


@pytest.mark.parametrize("provider", ["custom", "custom_claude"])
async def test_the_judged_address_is_the_one_connected_to(
    wire: WireServer, named: tuple[ProviderRegistry, Names, str], provider: str
) -> None:
    registry, _, url = named
    wire.reply(AnthropicReply(text="hi") if provider == "custom_claude" else OpenAIReply(text="hi"))
    asked = agent_pb2.ModelConfig(provider=provider, model="m", base_url=url, api_key="k")
    assert await _call(registry, asked) == "hi"
    assert wire.requests[0].headers["host"].startswith("wire.invalid:")


@pytest.mark.parametrize("provider", ["custom", "custom_claude", "openai_responses"])
async def test_a_name_that_changes_its_mind_is_refused(
    wire: WireServer, named: tuple[ProviderRegistry, Names, str], provider: str
) -> None:
    """DNS rebinding: good when stored, private when called."""
    registry, names, url = named
    asked = agent_pb2.ModelConfig(provider=provider, model="m", base_url=url, api_key="k")
    await registry.check_addresses(asked)
    names.names["wire.invalid"] = [PRIVATE]
    with pytest.raises(errors.UrlNotAllowed) as caught:
        await _call(registry, asked)
    assert PRIVATE not in f"{caught.value} {caught.value.status()}"
    assert wire.requests == []


async def test_a_redirect_leads_nowhere(wire: WireServer, named: tuple[ProviderRegistry, Names, str]) -> None:
    registry, names, url = named
    elsewhere = {"location": "http://169.254.169.254/latest", "content-type": "text/plain"}
    wire.reply(RawReply(status=307, headers=elsewhere, parts=["moved"]))
    with pytest.raises(errors.ProviderRejected):
        await _call(registry, config(f"{url}/v1"))
    assert names.asked == ["wire.invalid"]


async def _call(registry: ProviderRegistry, asked: agent_pb2.ModelConfig) -> str:
    provider, filled = registry.resolve(asked)
    return (await hear(provider, ModelRequest(filled, [user("hi")], idle_timeout=5.0))).text
