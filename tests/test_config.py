"""Options: flags before variables before the file before defaults, each judged in one line."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from asteros.config import Options, parse
from asteros.errors import ConfigError

# A value of each option in words, and as it must be read.
GIVEN: dict[str, tuple[str, Any]] = {
    "name": ("n", "n"),
    "data_dir": ("/d", Path("/d")),
    "host": ("::1", "::1"),
    "grpc_port": ("0", 0),
    "http_port": ("1", 1),
    "studio_port": ("2", 2),
    "metrics_port": ("-1", -1),
    "ready_file": ("r", Path("r")),
    "api_prefix": ("/v2", "/v2"),
    "allowed_hosts": ("a.example,b.example", "a.example,b.example"),
    "allowed_origins": ("https://a.example", "https://a.example"),
    "store": ("sqlite:", "sqlite:"),
    "durability": ("normal", "normal"),
    "api_key": ("k", "k"),
    "tls_client_ca": ("a", Path("a")),
    "tls_cert": ("c", Path("c")),
    "tls_key": ("y", Path("y")),
    "max_agents": ("3", 3),
    "max_awake_agents": ("4", 4),
    "idle_seconds": ("1.5", 1.5),
    "retention_days": ("0.5", 0.5),
    "retention_events": ("6", 6),
    "scripts_dir": ("s", Path("s")),
    "stars_dir": ("stars", Path("stars")),
    "prices": ("p.yaml", Path("p.yaml")),
    "routes": ("r.yaml", Path("r.yaml")),
    "allow_url_cidr": ("10.0.0.0/8,::1/128", "10.0.0.0/8,::1/128"),
    "search_backend": ("https://s.example", "https://s.example"),
    "skills_dir": ("k", Path("k")),
    "templates_dir": ("t", Path("t")),
    "workflows_dir": ("w", Path("w")),
    "mcp_config": ("m.json", Path("m.json")),
    "workspace_roots": ("/w:/v", "/w:/v"),
    "workspace_quota": ("8", 8),
    "sandbox_min_tier": ("strong", "strong"),
    "sandbox_uid_base": ("9", 9),
    "connect": ("off", "off"),
    "drain_seconds": ("7", 7.0),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
}
ON = {"auto_discover", "enable_cors", "enable_health", "enable_metrics", "key_in_query"}  # by themselves
SWITCHES = {"allow_unsandboxed", "enable_auth", "insecure_no_auth", "insecure_plaintext"} | ON
TLS = {"tls_cert": "c", "tls_key": "y"}  # neither goes alone


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def options(*arguments: str, **environ: str) -> Options:
    return parse(arguments, environ=environ)


def wrong(*arguments: str, **environ: str) -> str:
    """The refusal, which must be one line."""
    with pytest.raises(ConfigError) as caught:
        options(*arguments, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_option_is_tried() -> None:
    assert {field.name for field in dataclasses.fields(Options)} == set(GIVEN) | SWITCHES


@pytest.mark.parametrize("name", GIVEN)
def test_flag_variable_and_file(name: str, tmp_path: Path) -> None:
    text, value = GIVEN[name]
    needed = {other: TLS[other] for other in TLS if name.startswith("tls") and other != name}
    flags = [f"{flag(other)}={given}" for other, given in needed.items()]
    assert getattr(options(f"{flag(name)}={text}", *flags), name) == value
    assert getattr(options(*flags, **{f"ASTER_{name.upper()}": text}), name) == value
    file = tmp_path / "aster.toml"
    shown = text if isinstance(value, int | float) else f'"{text}"'
    file.write_text(f"{name} = {shown}\n")
    assert getattr(options("--config", str(file), *flags), name) == value
    assert getattr(options(*flags, ASTER_CONFIG=str(file)), name) == value


@pytest.mark.parametrize("name", sorted(SWITCHES))
def test_switches(name: str, tmp_path: Path) -> None:
    file = tmp_path / "aster.toml"
    file.write_text(f"{name} = true\n")
    assert getattr(options(), name) is (name in ON)
    assert getattr(options(flag(name)), name)
    assert getattr(options("--config", str(file)), name)
    for text, on in (
        ("1", True),
        ("TRUE", True),
        ("on", True),
        ("yes", True),
        ("0", False),
        ("off", False),
        ("", False),
    ):
        assert getattr(options(**{f"ASTER_{name.upper()}": text}), name) is on
    assert not getattr(options(f"--no-{flag(name)[2:]}", "--config", str(file)), name)


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "aster.toml"
    file.write_text('name = "file"\nmax_agents = 1\nidle_seconds = 2\n')
    given = options("--config", str(file), "--name", "flag", ASTER_NAME="variable", ASTER_MAX_AGENTS="5")
    assert (given.name, given.max_agents, given.idle_seconds, given.grpc_port) == ("flag", 5, 2.0, 50051)


def test_the_flag_names_the_file_before_the_variable(tmp_path: Path) -> None:
    first, second = tmp_path / "1.toml", tmp_path / "2.toml"
    first.write_text('name = "first"\n')
    second.write_text('name = "second"\n')
    assert options("--config", str(first), ASTER_CONFIG=str(second)).name == "first"


def test_safe_defaults() -> None:
    given = options()
    assert (given.host, given.grpc_port, given.http_port, given.studio_port) == ("127.0.0.1", 50051, 8080, 3032)
    assert (given.durability, given.drain_seconds, given.api_key, given.enable_auth) == ("full", 30.0, "", False)
    assert given.retention_days == 90


UNKNOWN = [
    (("--no-such",), "--no-such"),
    (("extra",), "extra"),
    (("--grpc-port", "x"), "'x' is not a int"),
    (("--grpc-port", "65536"), "--grpc-port: invalid port number"),
    (("--grpc-port=-1",), "--grpc-port: invalid port number"),
    (("--metrics-port=-2",), "--metrics-port: invalid port number"),
    (("--http-port=-2",), "--http-port: invalid port number"),
    (("--studio-port", "65536"), "--studio-port: invalid port number"),
    (("--api-prefix", "api"), "--api-prefix: begins with a slash"),
    (("--api-prefix", "/api/"), "--api-prefix: begins with a slash"),
    (("--idle-seconds", "soon"), "'soon' is not a float"),
    (("--durability", "none"), "--durability"),
    (("--log-level", "loud"), "--log-level"),
    (("--data-dir", ""), "--data-dir"),
    (("--grpc-port",), "expected one argument"),
]


@pytest.mark.parametrize(("arguments", "text"), UNKNOWN)
def test_unknown_and_malformed(arguments: tuple[str, ...], text: str) -> None:
    assert text in wrong(*arguments)


CONTRADICTIONS = [
    (("--tls-cert", "c"), "--tls-cert and --tls-key go together"),
    (("--tls-key", "k"), "--tls-cert and --tls-key go together"),
    (("--tls-client-ca", "a"), "--tls-client-ca needs --tls-cert and --tls-key"),
    (("--insecure-no-auth", "--api-key", "k"), "--insecure-no-auth contradicts"),
    (("--insecure-no-auth", "--enable-auth"), "--insecure-no-auth contradicts"),
    (("--store", "postgres://x"), "this version stores in sqlite alone"),
]


@pytest.mark.parametrize(("arguments", "text"), CONTRADICTIONS)
def test_contradictions(arguments: tuple[str, ...], text: str) -> None:
    assert text in wrong(*arguments)


NUMBERS = ["max_agents", "max_awake_agents", "retention_days", "retention_events", "idle_seconds", "drain_seconds"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_not_negative(name: str) -> None:
    assert f"{flag(name)}: must be 0 or more" in wrong(f"{flag(name)}=-1")
    assert getattr(options(f"{flag(name)}=0"), name) == 0


@pytest.mark.parametrize("name", [name for name in NUMBERS if isinstance(getattr(Options(), name), float)])
@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_numbers_are_numbers(name: str, text: str) -> None:
    assert flag(name) in wrong(f"{flag(name)}={text}")


@pytest.mark.parametrize("name", ["durability", "log_format", "log_level"])
def test_choices_hold_everywhere(name: str, tmp_path: Path) -> None:
    """argparse looks at flags alone."""
    file = tmp_path / "aster.toml"
    file.write_text(f'{name} = "loud"\n')
    for text in (wrong(**{f"ASTER_{name.upper()}": "loud"}), wrong("--config", str(file))):
        assert "'loud' is not one of" in text


FILES = [
    ("nothing = 1\n", "unknown option 'nothing'"),
    ("[grpc]\nport = 1\n", "unknown option 'grpc'"),
    ("grpc_port = true\n", "grpc_port: True is not a int"),
    ("grpc_port = 1.5\n", "grpc_port: 1.5 is not a int"),
    ("grpc_port = [1]\n", "grpc_port: [1] is not a int"),
    ("enable_auth = 3\n", "enable_auth: 3 is not a bool"),
    ("data_dir = 3\n", "data_dir: 3 is not a Path"),
    ("name = \n", "line 1"),
    ("grpc_port = 70000\n", "--grpc-port: invalid port number"),
]


@pytest.mark.parametrize(("content", "text"), FILES)
def test_files(content: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "aster.toml"
    file.write_text(content)
    assert text in wrong("--config", str(file))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in wrong("--config", str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"\n')
    assert "latin.toml" in wrong("--config", str(tmp_path / "latin.toml"))


def test_bad_variables() -> None:
    assert "ASTER_GRPC_PORT: 'x' is not a int" in wrong(ASTER_GRPC_PORT="x")
    assert "ASTER_ENABLE_AUTH: 'maybe' is not a bool" in wrong(ASTER_ENABLE_AUTH="maybe")


HOSTS = {
    "127.0.0.1": True, "127.9.9.9": True, "::1": True, "localhost": True,
    "0.0.0.0": False, "::": False, "192.168.1.1": False, "example.com": False, "": False, "127.0.0.1.nip.io": False,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_loopback(host: str) -> None:
    assert Options(host=host).loopback is HOSTS[host]
