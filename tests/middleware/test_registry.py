"""Which middlewares there are, in which order, and what a config may say to them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime.helpers import World

from asteros import errors
from asteros.middleware.base import Middleware
from asteros.middleware.registry import BUILTIN, MiddlewareRegistry

# The contract, part 6; subagent comes with the tool Task.
PRIORITIES = {
    "telemetry": 5,
    "agent_memory": 5,
    "working_memory": 6,
    "pii_redaction": 30,
    "observation_compression": 35,
    "summarization": 40,
    "todolist": 50,
    "patch_tool_calls": 50,
    "structured_output": 65,
    "filesystem": 100,
    "hitl": 150,
    "reasoning": 500,
    "simplicity": 600,
}


def test_names_and_priorities_are_those_of_the_contract() -> None:
    kinds = {kind.name: kind.priority for kind in MiddlewareRegistry().all()}
    assert {name: kinds[name] for name in PRIORITIES} == PRIORITIES
    assert all(kind.about for kind in BUILTIN)


def test_the_order_is_by_priority_then_as_listed() -> None:
    registry = MiddlewareRegistry()
    names = ["filesystem", "patch_tool_calls", "todolist", "telemetry", "filesystem", "nothing"]
    assert registry.order(names) == ["telemetry", "patch_tool_calls", "todolist", "filesystem"]
    assert list(registry.tools(names)) == ["filesystem"]


@pytest.mark.parametrize(
    ("names", "configs", "fields"),
    [
        (["summarization", "nothing"], {}, ["config.middlewares[1]"]),
        ([], {"nothing": "{}"}, ["config.middleware_config_json['nothing']"]),
        (["filesystem"], {"filesystem": "{"}, ["config.middleware_config_json['filesystem']"]),
        (["filesystem"], {"filesystem": "[]"}, ["config.middleware_config_json['filesystem']"]),
        (["filesystem"], {"filesystem": '{"max_result_bytes": "x"}'}, ["config.middleware_config_json['filesystem']"]),
        (["filesystem"], {"filesystem": '{"no_such": 1}'}, ["config.middleware_config_json['filesystem']"]),
        ([], {"filesystem": '{"no_such": 1}'}, ["config.middleware_config_json['filesystem']"]),
        (["structured_output"], {}, ["config.middleware_config_json['structured_output']"]),
        (
            ["structured_output"],
            {"structured_output": '{"schema": {"type": "nonsense"}}'},
            ["config.middleware_config_json['structured_output']"],
        ),
        (
            ["summarization"],
            {"summarization": '{"trigger": 0.5, "keep": 0.4}'},
            ["config.middleware_config_json['summarization']"],
        ),
        (["filesystem"], {"filesystem": "[" * 100_000}, ["config.middleware_config_json['filesystem']"]),
        (["nothing", "other"], {}, ["config.middlewares[0]", "config.middlewares[1]"]),
    ],
)
def test_what_is_wrong_is_told_with_its_field(names: list[str], configs: dict[str, str], fields: list[str]) -> None:
    with pytest.raises(errors.FieldViolation) as refused:
        MiddlewareRegistry().onion(names, configs)
    assert [violation.field for violation in refused.value.violations] == fields


def test_a_sentence_says_what_is_wrong() -> None:
    with pytest.raises(errors.FieldViolation) as refused:
        MiddlewareRegistry().onion(["filesystem"], {"filesystem": '{"max_result_bytes": 5}'})
    assert "max_result_bytes" in refused.value.violations[0].description


@pytest.mark.anyio
async def test_an_agent_with_settings_that_are_wrong_is_not_made(world: World) -> None:
    with pytest.raises(errors.FieldViolation):
        await world.agent(["hi"], middlewares=["hitl"], middleware_config_json={"hitl": '{"ask": "Write"}'})
    assert await world.store.agent("default", "a1") is None


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.name)
def test_every_kind_is_made_with_its_defaults_or_says_what_it_needs(kind: type[Middleware]) -> None:
    needed: dict[str, Any] = {"structured_output": {"schema": {"type": "object"}}}
    onion = MiddlewareRegistry().onion([kind.name], {kind.name: json.dumps(needed.get(kind.name, {}))})
    assert [type(ring) for ring in onion.rings] == [kind]


# -- a user's own -----------------------------------------------------------------------------


def test_a_name_is_taken_once() -> None:
    twin = type("Twin", (Middleware,), {"name": "filesystem", "priority": 1})
    with pytest.raises(ValueError, match="filesystem"):
        MiddlewareRegistry((*BUILTIN, twin))
    with pytest.raises(errors.ConfigError, match="filesystem"):
        MiddlewareRegistry.installed(twin)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a package with an entry point of ours, as pip would leave it."""

    def install(name: str, source: str, value: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[asteros.middlewares]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


SOURCE = """
from asteros.middleware.base import Middleware

class Polite(Middleware):
    name = "polite"
    priority = 70

NOTHING = 5
"""


def test_entry_points_of_installed_packages_are_registered(package: Any) -> None:
    package("polite_ring", SOURCE, "polite_ring:Polite")
    registry = MiddlewareRegistry.installed()
    assert registry.order(["filesystem", "polite", "todolist"]) == ["todolist", "polite", "filesystem"]


@pytest.mark.parametrize("value", ["broken_ring:Missing", "broken_ring:NOTHING"])
def test_an_entry_point_that_is_none_is_told_at_the_start(package: Any, value: str) -> None:
    package("broken_ring", SOURCE, value)
    with pytest.raises(errors.ConfigError, match="broken_ring"):
        MiddlewareRegistry.installed()
