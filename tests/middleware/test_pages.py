"""The pages about middlewares and templates say what the code does."""

import re
from pathlib import Path

import pytest

from asteros.middleware.base import Middleware
from asteros.middleware.registry import BUILTIN, MiddlewareRegistry
from asteros.runtime.template_files import parse
from asteros.runtime.templates import BUILTIN as TEMPLATES

DOCS = Path(__file__).parents[2] / "docs"
ROWS = re.findall(r"^\| ([a-z_]+) \| (\d+) \| .*? \| ([^|]*) \|$", (DOCS / "middleware.md").read_text(), re.MULTILINE)


def test_the_table_has_every_middleware_in_its_order() -> None:
    assert [(name, int(number)) for name, number, _ in ROWS] == [
        (kind.name, kind.priority) for kind in MiddlewareRegistry().all()
    ]


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.name)
def test_the_table_names_every_setting_and_its_default(kind: type[Middleware]) -> None:
    (text,) = [settings for name, _, settings in ROWS if name == kind.name]
    properties = kind.config_schema.get("properties", {})
    assert set(re.findall(r"`(\w+)`", text)) == set(properties)
    told = dict(re.findall(r"`(\w+)` \(([\w.]+)\)", text))
    for name, default in told.items():
        known = properties[name].get("default")
        if isinstance(known, bool | int | float):
            assert default == str(known).lower(), name


def test_every_template_is_listed_with_its_aliases() -> None:
    page = (DOCS / "templates.md").read_text()
    rows = re.findall(r"^\| ([a-z-]+) \| ([^|]*)\| [^|]+ \|$", page, re.MULTILINE)
    told = {name: tuple(filter(None, re.split(r"[, ]+", aliases.strip()))) for name, aliases in rows}
    assert told == {template.id: template.aliases for template in TEMPLATES}


def test_the_example_of_a_template_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "templates.md").read_text(), re.DOTALL)
    assert parse(example.encode(), "x").aliases == ("ops",)
