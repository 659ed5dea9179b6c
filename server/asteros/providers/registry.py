"""Which provider a model configuration means, with which address and which key."""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aster.v1 import agent_pb2
from asteros import errors
from asteros.providers.addresses import Addresses
from asteros.providers.base import Provider
from asteros.providers.lazy import LazyProvider
from asteros.providers.presets import TABLE, Preset
from asteros.providers.router import Router
from asteros.providers.scripted import ScriptedProvider

# Each client owns a pool of connections and a TLS context.
MAX_CLIENTS = 128

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where one configuration's calls go."""

    preset: Preset
    base_url: str
    key: str
    missing_key: str  # the variable to set, when a key is needed and none is known
    responses: bool = False  # see Preset
    foreign: bool = False  # the caller named the address


class ProviderRegistry:
    """Resolves configurations and keeps one client per provider, address and key.

    ``environ`` holds ``<PROVIDER>_API_KEY`` and, to move a provider elsewhere,
    ``<PROVIDER>_BASE_URL``. ``secrets`` maps ``ModelConfig.api_key_secret`` to keys.
    ``router`` chooses where a config names no model. ``addresses`` judges those that
    callers name; None: they may name any. All methods belong to one event loop."""

    def __init__(
        self,
        scripts: Path | None,
        environ: Mapping[str, str],
        *,
        secrets: Mapping[str, str] | None = None,
        router: Router | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """:raises ConfigError: the router names a model that no provider fits."""
        self._environ = environ
        self._secrets = secrets or {}
        self._scripted = ScriptedProvider(scripts)
        self._clients: OrderedDict[tuple[str, str, str], LazyProvider] = OrderedDict()  # least used first
        self._closing: set[asyncio.Task[None]] = set()
        self._addresses = addresses
        self._router = router or Router()
        for route in self._router:
            try:
                self.check(route.model, "model")
            except errors.InvalidArgument as error:
                wrong = error.violations[0]
                field = wrong.field.rpartition(".")[2]
                raise errors.ConfigError(f"{route.where}: {field} {wrong.description}") from None

    def check(self, config: agent_pb2.ModelConfig, field: str = "config.model_config") -> None:
        """Refuses a configuration no provider fits, and looks at its fallbacks too.

        Creates nothing and reaches no network; a missing key is no reason here.

        :raises FieldViolation, UrlNotAllowed: named below ``field``."""
        target = self._target(config, field)
        if target.preset.dialect == "scripted":
            self._scripted.check(config.model, f"{field}.model")
        for index, fallback in enumerate(config.fallbacks):
            self.check(fallback, f"{field}.fallbacks[{index}]")

    async def check_addresses(self, config: agent_pb2.ModelConfig, field: str = "config.model_config") -> None:
        """Refuses a ``base_url`` of the configuration or its fallbacks that may not be reached.

        A name that cannot be resolved now passes: every call is judged again.

        :raises UrlNotAllowed: named below ``field``."""
        if self._addresses is not None and config.base_url and self._target(config, field).foreign:
            with contextlib.suppress(OSError):
                await self._addresses.check(config.base_url, f"{field}.base_url")
        for index, fallback in enumerate(config.fallbacks):
            await self.check_addresses(fallback, f"{field}.fallbacks[{index}]")

    def resolve(
        self, config: agent_pb2.ModelConfig, field: str = "config.model_config"
    ) -> tuple[Provider, agent_pb2.ModelConfig]:
        """The provider for a configuration, and the configuration with provider name and key filled in.

        What comes back holds a key in clear: it is for one ``ModelRequest`` and is
        never stored. Without a key where one is needed, the first stream raises
        ``ProviderAuth``.

        :raises FieldViolation: as in ``check``, fallbacks and scripts left aside."""
        target = self._target(config, field)
        filled = agent_pb2.ModelConfig()
        filled.CopyFrom(config)
        filled.provider, filled.api_key = target.preset.name, target.key
        if target.preset.dialect == "scripted":
            return self._scripted, filled
        return self._client(target), filled

    def route(self, profile: str, task: str = "chat") -> agent_pb2.ModelConfig:
        """The model of a task under a routing profile: the first of its row that can be called.

        ``profile``: one of ``router.PROFILES``. Without any key it is the offline demo."""
        for route in self._router.row(task, profile):
            if not self._target(route.model, "model").missing_key:
                return route.model
        return agent_pb2.ModelConfig(provider="scripted", model="demo")

    async def aclose(self) -> None:
        """Closes all clients. Idempotent."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()
        await asyncio.gather(*self._closing)

    def _target(self, config: agent_pb2.ModelConfig, field: str) -> _Target:
        if not config.model:
            raise errors.bad_field(f"{field}.model", "is required")
        preset = self._preset(config, field)
        if preset.dialect == "scripted":
            return _Target(preset, "", "", "")
        ours = self._variable(preset, "BASE_URL") or preset.base_url
        base_url = config.base_url or ours
        if not base_url:
            raise errors.bad_field(f"{field}.base_url", f"is required for the provider {preset.name}")
        _check_url(base_url, f"{field}.base_url")
        key = self._key(config, field)
        # The server's own key goes to addresses its operator chose, never to one a caller names.
        if not key and _same(base_url, ours):
            key = self._variable(preset, "API_KEY")
        needed = preset.needs_key and _same(base_url, preset.base_url)
        missing = "" if key or not needed else _variable_name(preset.name, "API_KEY")
        at_home = not preset.base_url or _same(base_url, preset.base_url)
        responses = preset.dialect == "responses" and at_home
        return _Target(preset, base_url, key, missing, responses=responses, foreign=not _same(base_url, ours))

    def _preset(self, config: agent_pb2.ModelConfig, field: str) -> Preset:
        name = config.provider.lower()
        if not name:
            preset = TABLE.of_model(config.model)
            if preset is None:
                raise errors.bad_field(f"{field}.provider", "is required: the model's name does not tell it")
            return preset
        preset = TABLE.named(name)
        if preset is None and _NAME.fullmatch(name):
            other = Preset(name, needs_key=False)  # any other server of the OpenAI dialect
            preset = other if config.base_url or self._variable(other, "BASE_URL") else None
        if preset is None:
            raise errors.bad_field(f"{field}.provider", "is not known; with a base_url it may have any name")
        return preset

    def _key(self, config: agent_pb2.ModelConfig, field: str) -> str:
        if config.api_key:
            _check_key(config.api_key, f"{field}.api_key")
            return config.api_key
        if not config.api_key_secret:
            return ""
        key = self._secrets.get(config.api_key_secret, "")
        if not key:
            raise errors.bad_field(f"{field}.api_key_secret", "is not the name of a key of this server")
        return key

    def _variable(self, preset: Preset, suffix: str) -> str:
        """The first variable that is set, under the provider's own name or another of its names."""
        values = (self._environ.get(_variable_name(name, suffix), "").strip() for name in preset.names())
        return next(filter(None, values), "")

    def _client(self, target: _Target) -> LazyProvider:
        identity = (target.preset.name, target.base_url, target.key)
        client = self._clients.get(identity)
        if client is None:
            self._make_room()
            client = LazyProvider(target.preset.name, self._maker(target), missing_key=target.missing_key)
            self._clients[identity] = client
        self._clients.move_to_end(identity)
        return client

    def _maker(self, target: _Target) -> Callable[[], Provider]:
        """Imports the driver when called, and not before."""
        addresses = self._addresses if target.foreign else None
        where = {"name": target.preset.name, "base_url": target.base_url, "api_key": target.key}

        def anthropic() -> Provider:
            from asteros.providers import transport
            from asteros.providers.anthropic import AnthropicProvider

            return AnthropicProvider(**where, http=transport.new_client(addresses))

        def openai() -> Provider:
            from asteros.providers import transport
            from asteros.providers.openai import OpenAIProvider

            return OpenAIProvider(
                target.preset, **where, responses=target.responses, http=transport.new_client(addresses)
            )

        return anthropic if target.preset.dialect == "anthropic" else openai

    def _make_room(self) -> None:
        """Closes the client that has been idle longest once there are too many; one in use stays."""
        if len(self._clients) < MAX_CLIENTS:
            return
        idle = next((identity for identity, client in self._clients.items() if not client.streams), None)
        if idle is not None:
            closing = asyncio.ensure_future(self._clients.pop(idle).aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _variable_name(name: str, suffix: str) -> str:
    return f"{name.upper().replace('-', '_')}_{suffix}"


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")


def _check_url(url: str, field: str) -> None:
    """Only the form, which needs no look-up; see ``check_addresses`` for the rest."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise errors.UrlNotAllowed(field)


def _check_key(key: str, field: str) -> None:
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise errors.bad_field(field, "holds characters that no key has")
