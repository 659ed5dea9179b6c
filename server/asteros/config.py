"""Options of a server: flags, ASTER_* variables and an optional TOML file become one
frozen value, checked once (seed 002, Options; security, part 1)."""

import argparse
import dataclasses
import ipaddress
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from asteros.errors import ConfigError

ENV_PREFIX = "ASTER_"
_SWITCHED = ("http", "studio", "metrics")  # faces that -1 switches off


def _option(default: Any, help_text: str, *, choices: tuple[str, ...] = (), metavar: str = "") -> Any:
    return field(default=default, metadata={"help": help_text, "choices": choices, "metavar": metavar})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a server is told. Every field is a flag, an ASTER_ variable and a key of the TOML file."""

    name: str = _option("AsterOS", "name of this server")
    data_dir: Path = _option(Path(".aster"), "folder of the database and the workspaces", metavar="DIR")
    host: str = _option("127.0.0.1", "address to listen on")
    grpc_port: int = _option(50051, "gRPC port; 0: a free one")
    http_port: int = _option(8080, "HTTP port; 0: a free one, -1: none")
    studio_port: int = _option(3032, "Studio port, the same as HTTP; 0: a free one, -1: none")
    metrics_port: int = _option(9464, "Prometheus port, on loopback; 0: a free one, -1: none")
    ready_file: Path | None = _option(None, "write ports and pid to this JSON file when serving", metavar="PATH")
    api_prefix: str = _option("/api", "what routes begin with; may be empty")
    connect: str = _option("auto", "Connect and gRPC-Web; auto: where installed", choices=("auto", "on", "off"))
    auto_discover: bool = _option(True, "take up what lies in the folders of templates, Stars and workflows")
    enable_metrics: bool = _option(True, "show /metrics, and open the metrics port")
    enable_health: bool = _option(True, "answer /health")
    enable_cors: bool = _option(True, "let pages of other origins read answers")
    allowed_hosts: str = _option("", "names of this server, by comma, besides localhost; *: any", metavar="NAMES")
    allowed_origins: str = _option("", "origins, by comma, whose pages may use a key; empty: any", metavar="ORIGINS")
    key_in_query: bool = _option(True, "accept a key as ?api_key=, which proxies may log")
    store: str = _option("sqlite", "where data lives: sqlite (in the data directory)", metavar="URL")
    durability: str = _option("full", "full: a commit survives power loss; normal: a crash", choices=("full", "normal"))
    api_key: str = _option("", "one key with every right; turns authentication on")
    enable_auth: bool = _option(False, "demand keys (see `asteros keys`)")
    insecure_no_auth: bool = _option(False, "listen beyond loopback without any authentication")
    insecure_plaintext: bool = _option(False, "listen beyond loopback without TLS (it ends at a proxy)")
    tls_cert: Path | None = _option(None, "certificate chain, PEM; reloaded when it changes", metavar="PATH")
    tls_key: Path | None = _option(None, "private key, PEM", metavar="PATH")
    tls_client_ca: Path | None = _option(None, "demand client certificates of these authorities", metavar="PATH")
    max_agents: int = _option(0, "most agents that may be registered; 0: no limit")
    max_awake_agents: int = _option(0, "most agents in memory; 0: no limit")
    idle_seconds: float = _option(300.0, "seconds after which an idle agent leaves memory")
    retention_days: float = _option(90.0, "days that events are kept; 0: for ever")
    retention_events: int = _option(0, "newest events kept of each agent; 0: all")
    scripts_dir: Path | None = _option(None, "folder of YAML files for the model script:NAME", metavar="DIR")
    prices: Path | None = _option(None, "YAML file of model prices, beside the packaged ones", metavar="FILE")
    routes: Path | None = _option(None, "YAML file of routes, in place of the packaged ones", metavar="FILE")
    allow_url_cidr: str = _option("", "networks, by comma, that base_url and WebFetch may reach", metavar="CIDRS")
    search_backend: str = _option("", "WebSearch: address of a SearXNG server, or name of an entry point")
    templates_dir: Path | None = _option(None, "folder of YAML templates, read again when they change", metavar="DIR")
    stars_dir: Path | None = _option(None, "folder of YAML Stars, created when they are found", metavar="DIR")
    workflows_dir: Path | None = _option(None, "folder of YAML workflows, read again when they change", metavar="DIR")
    skills_dir: Path | None = _option(None, "folder of skills, each a folder with a SKILL.md", metavar="DIR")
    mcp_config: Path | None = _option(None, "JSON file of MCP servers whose tools agents may have", metavar="PATH")
    workspace_roots: str = _option("", "folders, by colon, that work_dir may lie in", metavar="DIRS")
    workspace_quota: int = _option(1 << 30, "bytes on disk of one workspace; 0: no limit")
    sandbox_min_tier: str = _option("medium", "weakest sandbox that runs commands", choices=("strong", "medium"))
    sandbox_uid_base: int = _option(100_000, "as root, agents' commands run as this uid plus the agent's number")
    allow_unsandboxed: bool = _option(False, "allow agents the sandbox kind none: commands without a box")
    drain_seconds: float = _option(30.0, "seconds that turns may take to end when the server stops")
    log_format: str = _option("text", "form of log lines", choices=("text", "json"))
    log_level: str = _option("info", "least severe lines to log", choices=("debug", "info", "warning", "error"))

    @property
    def loopback(self) -> bool:
        """Only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> "Options":
        """
        :raises ConfigError: a value is out of range or contradicts another."""
        for name, least in (("grpc_port", 0), *((f"{face}_port", -1) for face in _SWITCHED)):
            if not least <= getattr(self, name) <= 65535:
                raise ConfigError(f"--{_flag(name)}: invalid port number")
        if self.api_prefix and (not self.api_prefix.startswith("/") or self.api_prefix.endswith("/")):
            raise ConfigError("--api-prefix: begins with a slash and does not end with one")
        if self.store not in ("sqlite", "sqlite:"):
            raise ConfigError(f"--store {self.store}: this version stores in sqlite alone; leave the option out")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")
        if self.insecure_no_auth and (self.api_key or self.enable_auth):
            raise ConfigError("--insecure-no-auth contradicts --api-key and --enable-auth: leave one out")
        for option in dataclasses.fields(self):
            value, choices = getattr(self, option.name), option.metadata["choices"]
            if choices and value not in choices:
                raise ConfigError(f"--{_flag(option.name)}: {value!r} is not one of {', '.join(choices)}")
            if isinstance(value, (int, float)) and not option.name.endswith("_port") and not 0 <= value < math.inf:
                raise ConfigError(f"--{_flag(option.name)}: must be 0 or more")
        return self


def _flag(name: str) -> str:
    return name.replace("_", "-")


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where help is."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag per option."""
    parser.add_argument("--config", metavar="PATH", help="TOML file with any of these options (ASTER_CONFIG)")
    for option in dataclasses.fields(Options):
        about = option.metadata
        default = "" if option.default in (None, "", False) else f" (default {option.default})"
        extra: dict[str, Any] = {"help": f"{about['help']}{default}", "default": None}
        if isinstance(option.default, bool):
            extra["action"] = argparse.BooleanOptionalAction
        else:
            extra["choices"] = about["choices"] or None
            extra["metavar"] = about["metavar"] or (None if about["choices"] else "N" if _number(option) else "TEXT")
        parser.add_argument(f"--{_flag(option.name)}", **extra)


def _number(option: "dataclasses.Field[Any]") -> bool:
    return isinstance(option.default, (int, float))


def options_from(flags: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Flags before variables before the file before defaults.

    :raises ConfigError: unknown or malformed, in one line."""
    path = flags.config or environ.get(ENV_PREFIX + "CONFIG")
    values: dict[str, Any] = _from_file(Path(path)) if path else {}
    hints = get_type_hints(Options)
    for option in dataclasses.fields(Options):
        variable = ENV_PREFIX + option.name.upper()
        if variable in environ:
            values[option.name] = _parsed(environ[variable], hints[option.name], variable)
        given = getattr(flags, option.name, None)
        if given is not None:
            values[option.name] = _parsed(given, hints[option.name], f"--{_flag(option.name)}")
    return Options(**values).check()


def _from_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: {error}") from None
    hints = get_type_hints(Options)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(f"--config {path}: unknown option {unknown[0]!r}")
    return {name: _parsed(value, hints[name], f"{path}: {name}") for name, value in table.items()}


def _parsed(value: Any, kind: Any, where: str) -> Any:
    """A value of the option's type."""
    try:
        if kind is bool:
            return _flag_value(value)
        if kind in (int, float):
            return _number_value(value, kind)
        if kind is str:
            return str(value)
        if not value and kind is Path:
            raise ValueError(value)  # this one cannot be left empty
        return Path(value) if value else None
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: {value!r} is not a {getattr(kind, '__name__', 'path')}") from None


def _number_value(value: Any, kind: type[int] | type[float]) -> int | float:
    """TOML has types of its own: neither true nor 1.5 is a number of ports."""
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise ValueError(value)
    return kind(value)


def _flag_value(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    folded = str(value).lower()
    if folded in ("1", "true", "yes", "on"):
        return True
    if folded in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(value)


def parse(arguments: Sequence[str], prog: str = "asteros serve", environ: Mapping[str, str] | None = None) -> Options:
    """Options from a command line.

    :raises ConfigError:"""
    parser = OneLineParser(prog=prog, description="Runs the server.")
    add_flags(parser)
    return options_from(parser.parse_args(arguments), os.environ if environ is None else environ)
