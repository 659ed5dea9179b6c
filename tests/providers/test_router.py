"""Which model a task gets under a profile."""

from pathlib import Path

import pytest

from asteros.errors import ConfigError
from asteros.providers.router import PROFILES, Router

TABLE = """
tasks:
  chat:
    cost: [{model: a}]
    performance: [{model: b}, {model: b2}]
    default: [{model: c}]
  plan:
    quality: [{model: d, provider: openai}]
default: [{model: e}]
"""


def router(folder: Path, text: str) -> Router:
    path = folder / "routes.yaml"
    path.write_text(text, "utf-8")
    return Router(path)


@pytest.mark.parametrize(
    ("task", "profile", "models"),
    [
        ("chat", "cost", ["a"]),
        ("chat", "performance", ["b", "b2"]),
        ("chat", "latency", ["b", "b2"]),
        ("chat", "quality", ["c"]),
        ("chat", "", ["c"]),
        ("plan", "quality", ["d"]),
        ("plan", "cost", ["e"]),
        ("unknown", "balanced", ["e"]),
    ],
)
def test_task_and_profile_then_task_then_default(tmp_path: Path, task: str, profile: str, models: list[str]) -> None:
    assert [route.model.model for route in router(tmp_path, TABLE).row(task, profile)] == models


def test_the_packaged_table_answers_every_profile() -> None:
    rows = {profile: Router().row("chat", profile) for profile in PROFILES}
    assert all(rows.values())
    assert rows["latency"] == rows["performance"]
    assert rows[""] == rows["balanced"] != rows["cost"] != rows["quality"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "is not YAML"),
        ("[]", "must be a mapping"),
        ("tasks: {}", "default: must be a list"),
        ("default: []", "default: must be a list"),
        ("default: [{model: a}]\nroutes: {}", "may have 'tasks'"),
        ("default: [{model: a}]\ntasks: []", "may have 'tasks'"),
        ("default: [{provider: a}]", r"default\[0\]: needs model"),
        ("default: [{model: a, key: b}]", r"default\[0\]: needs model"),
        ("default: [{model: 5}]", "not a text"),
        ("default: [{model: a}]\ntasks: {chat: {cheap: [{model: a}]}}", r"tasks\.chat: maps some of"),
        ("default: [{model: a}]\ntasks: {chat: {cost: a}}", r"tasks\.chat\.cost: must be a list"),
    ],
)
def test_a_bad_table_names_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        router(tmp_path, text)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Router(tmp_path / "none.yaml")
