"""Which provider, which address, which key."""

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from providers.kinds import Heard, hear, user
from wire import AnthropicReply, OpenAIReply, WireServer

from aster.v1 import agent_pb2
from asteros import errors
from asteros.providers import registry as registry_module
from asteros.providers.base import ModelRequest
from asteros.providers.openai import OpenAIProvider
from asteros.providers.pricing import PriceTable
from asteros.providers.registry import ProviderRegistry
from asteros.providers.router import Router

pytestmark = pytest.mark.anyio


def registry(environ: Mapping[str, str] | None = None, **options: Any) -> ProviderRegistry:
    return ProviderRegistry(None, environ or {}, **options)


def config(model: str = "m", **fields: Any) -> agent_pb2.ModelConfig:
    return agent_pb2.ModelConfig(model=model, **fields)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5", "anthropic"),
        ("gpt-4.1", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("deepseek-chat", "deepseek"),
        ("gemini-2.5-pro", "gemini"),
        ("llama3", "ollama"),
        ("mistral-small", "ollama"),
        ("kimi-k2", "moonshot"),
        ("moonshot-v1", "moonshot"),
        ("glm-4", "glm"),
        ("Claude-X", "anthropic"),
        ("echo", "scripted"),
        ("demo", "scripted"),
        ("flood:1@0", "scripted"),
        ("script:x", "scripted"),
    ],
)
def test_a_model_name_tells_its_provider(model: str, provider: str) -> None:
    found, filled = registry().resolve(config(model))
    assert (found.name, filled.provider, filled.model) == (provider, provider, model)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("kimi", "moonshot"),
        ("zhipu", "glm"),
        ("bigmodel", "glm"),
        ("bytedance", "doubao"),
        ("google", "gemini"),
        ("OpenAI", "openai"),
        ("groq", "groq"),
        ("openrouter", "openrouter"),
    ],
)
def test_other_names_of_providers(name: str, canonical: str) -> None:
    assert registry().resolve(config(provider=name))[1].provider == canonical


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": "unknown-model"}, "provider"),
        ({"provider": "nobody"}, "provider"),
        ({"provider": "a b", "base_url": "https://example.com"}, "provider"),
        ({"provider": "custom"}, "base_url"),
        ({"provider": "openai_compatible"}, "base_url"),
        ({"provider": "custom_claude"}, "base_url"),
        ({"provider": "gateway"}, "base_url"),
        ({"provider": "openai", "model": ""}, "model"),
        ({"provider": "openai", "api_key": "schlüssel"}, "api_key"),
        ({"provider": "openai", "api_key_secret": "none"}, "api_key_secret"),
        ({"provider": "scripted", "model": "gpt-4.1"}, "model"),
        ({"model": "script:none"}, "model"),
        ({"model": "echo", "fallbacks": [{"model": "echo"}, {"model": "x"}]}, "fallbacks[1].provider"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.FieldViolation) as caught:
        registry().check(agent_pb2.ModelConfig(**{"model": "m", **fields}))
    assert caught.value.violations[0].field == f"config.model_config.{field}"


@pytest.mark.parametrize("url", ["ftp://example.com", "https://", "https://a:x/", "https://a b/", "https://ä/"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(errors.UrlNotAllowed):
        registry().check(config(provider="openai", base_url=url))


def test_what_fits_passes() -> None:
    registry().check(config(provider="whatever", base_url="https://example.com/v1", fallbacks=[config("echo")]))
    registry({"MYHOUSE_BASE_URL": "http://10.0.0.1/v1"}).check(config(provider="myhouse"))


@pytest.mark.parametrize(
    ("environ", "fields", "key"),
    [
        ({"OPENAI_API_KEY": "env"}, {"provider": "openai"}, "env"),
        ({"OPENAI_API_KEY": " env\n"}, {"provider": "openai"}, "env"),
        ({"OPENAI_API_KEY": "env"}, {"provider": "openai", "api_key": "own"}, "own"),
        ({"KIMI_API_KEY": "k"}, {"provider": "moonshot"}, "k"),
        ({"MOONSHOT_API_KEY": "m", "KIMI_API_KEY": "k"}, {"provider": "kimi"}, "m"),
        ({"ANTHROPIC_API_KEY": "a"}, {"provider": "openai"}, ""),
        # The server's key is never sent to an address that the caller chose …
        ({"OPENAI_API_KEY": "env"}, {"provider": "openai", "base_url": "https://evil.example"}, ""),
        ({"OPENAI_API_KEY": "env"}, {"provider": "openai", "base_url": "https://api.openai.com/v1/"}, "env"),
        # … but to the one that the operator chose.
        ({"OPENAI_API_KEY": "env", "OPENAI_BASE_URL": "https://gate.example"}, {"provider": "openai"}, "env"),
        ({}, {"provider": "openai", "api_key_secret": "team"}, "named"),
    ],
)
def test_the_key(environ: dict[str, str], fields: dict[str, Any], key: str) -> None:
    assert registry(environ, secrets={"team": "named"}).resolve(config(**fields))[1].api_key == key


def test_resolving_leaves_the_given_configuration_alone() -> None:
    given = config("gpt-4.1", temperature=0.0)
    _, filled = registry({"OPENAI_API_KEY": "k"}).resolve(given)
    assert (given.api_key, given.provider) == ("", "")
    assert filled.HasField("temperature")


async def call(where: ProviderRegistry, asked: agent_pb2.ModelConfig) -> Heard:
    provider, filled = where.resolve(asked)
    return await hear(provider, ModelRequest(filled, [user("hi")], idle_timeout=5.0))


@pytest.fixture
async def at_wire(wire: WireServer) -> AsyncIterator[ProviderRegistry]:
    made = registry({"OPENAI_BASE_URL": wire.openai_url, "OPENAI_API_KEY": "k"})
    yield made
    await made.aclose()


@pytest.mark.parametrize("provider", ["anthropic", "openai", "groq"])
async def test_no_key_fails_at_the_first_stream(provider: str) -> None:
    with pytest.raises(errors.ProviderAuth) as caught:
        await call(registry(), config(provider=provider))
    assert f"{provider.upper()}_API_KEY" in caught.value.text
    assert caught.value.facts["provider"] == provider


async def test_calls_reach_their_server(wire: WireServer, at_wire: ProviderRegistry) -> None:
    wire.reply(AnthropicReply(text="one"), OpenAIReply(text="two"), OpenAIReply(text="three"))
    claude = config("claude-x", base_url=wire.base_url, api_key="own")
    assert (await call(at_wire, claude)).text == "one"
    assert (await call(at_wire, config("gpt-x"))).text == "two"
    assert (await call(at_wire, config(provider="vllm", base_url=wire.openai_url))).text == "three"
    assert [r.headers["authorization"] for r in wire.requests] == ["Bearer own", "Bearer k", "Bearer unused"]


async def test_one_client_for_one_key(at_wire: ProviderRegistry) -> None:
    first, _ = at_wire.resolve(config("gpt-x"))
    assert at_wire.resolve(config("gpt-y"))[0] is first
    assert at_wire.resolve(config("gpt-x", api_key="other"))[0] is not first


async def test_idle_clients_make_room(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "MAX_CLIENTS", 2)
    where = registry()
    clients = []
    for key in ("a", "b", "c"):
        wire.reply(OpenAIReply(text=key))
        asked = config(provider="custom", base_url=wire.openai_url, api_key=key)
        clients.append(where.resolve(asked)[0])
        assert (await call(where, asked)).text == key
    again = config(provider="custom", base_url=wire.openai_url, api_key="a")
    assert where.resolve(again)[0] is not clients[0]
    wire.reply(OpenAIReply(text="still"))
    held = ModelRequest(again, [user("hi")], idle_timeout=5.0)
    assert (await hear(clients[0], held)).text == "still"  # a client that was let go still works
    await clients[0].aclose()
    await where.aclose()
    await where.aclose()
    await wire.all_closed()


KEYS = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o", "DEEPSEEK_API_KEY": "d"}


def test_the_first_model_of_a_row_that_has_a_key() -> None:
    keys = dict(KEYS)
    found = []
    for name in KEYS:
        found.append(registry(keys).route(""))
        del keys[name]
    found.append(registry({**keys, "GROQ_API_KEY": "g"}).route(""))
    assert [(each.provider, each.model) for each in found] == [
        ("anthropic", "claude-sonnet-5-5"),
        ("openai", "gpt-6.1-sol"),
        ("deepseek", "deepseek-flash"),
        ("scripted", "demo"),
    ]


def test_every_packaged_route_fits_a_provider_and_has_a_price() -> None:
    registry(KEYS)
    prices = PriceTable()
    assert [route.where for route in Router() if prices.price(route.model.model) is None] == []


def test_a_route_that_fits_no_provider_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("tasks: {chat: {cost: [{model: x-1}]}}\ndefault: [{model: echo}]\n", "utf-8")
    with pytest.raises(errors.ConfigError, match=r"tasks\.chat\.cost\[0\]: provider is required"):
        registry(router=Router(path))


@pytest.mark.parametrize(
    ("fields", "responses"),
    [
        ({"provider": "openai"}, True),
        ({"provider": "openai", "base_url": "https://api.openai.com/v1/"}, True),
        ({"provider": "openai", "base_url": "https://gateway.example/v1"}, False),
        ({"provider": "openai_responses", "base_url": "https://gateway.example/v1"}, True),
        ({"provider": "custom", "base_url": "https://gateway.example/v1"}, False),
        ({"provider": "deepseek"}, False),
    ],
)
async def test_who_is_spoken_to_in_responses(
    fields: dict[str, Any], responses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(OpenAIProvider, "__init__", lambda self, *_, responses, **__: made.append(responses))
    provider, filled = registry(KEYS).resolve(config(**fields))
    with pytest.raises(AttributeError):  # it has no client
        await hear(provider, ModelRequest(filled, [user("hi")]))
    assert made == [responses]


async def test_scripts_come_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- - text: hi\n", "utf-8")
    where = ProviderRegistry(tmp_path, {})
    where.check(config("script:a"))
    assert (await call(where, config("script:a"))).text == "hi"


def test_importing_and_resolving_load_no_sdk() -> None:
    code = (
        "import sys\n"
        "from aster.v1 import agent_pb2\n"
        "from asteros.providers.registry import ProviderRegistry\n"
        "ProviderRegistry(None, {}).resolve(agent_pb2.ModelConfig(model='claude-x'))\n"
        "print([name for name in ('anthropic', 'openai', 'httpx2') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
