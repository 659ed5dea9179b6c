"""What an operator and other packages add."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from asteros.errors import RefusedToStart
from asteros.sandbox.files import Workspace
from asteros.tools import installed
from asteros.tools.function import tool
from asteros.tools.installed import Installed
from asteros.tools.mcp_config import McpServer
from asteros.tools.registry import ToolRegistry
from asteros.tools.search import Hit

pytestmark = pytest.mark.anyio


@tool(read_only=True)
async def weather(city: str) -> str:
    """How the weather is."""
    return f"sunny in {city}"


def several() -> Sequence[Any]:
    @tool()
    async def rain() -> None:
        """Makes rain."""

    return [rain]


def broken() -> Sequence[Any]:
    return [3]


class Backend:
    async def search(self, query: str, *, topic: str, limit: int, raw_content: bool) -> Sequence[Hit]:
        return [Hit(query, "https://x.example/")]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[metadata.EntryPoint]]:
    """Entry points as if a package had them."""
    found: dict[str, list[metadata.EntryPoint]] = {}

    def entry_points(group: str, name: str = "") -> list[metadata.EntryPoint]:
        return [entry for entry in found.get(group, ()) if name in ("", entry.name)]

    monkeypatch.setattr(installed.metadata, "entry_points", entry_points)
    return found


def entry(name: str, group: str = "asteros.tools") -> metadata.EntryPoint:
    return metadata.EntryPoint(name, f"tools.test_installed:{name}", group)


async def test_a_tool_a_list_and_a_function(entries: dict[str, list[metadata.EntryPoint]]) -> None:
    entries["asteros.tools"] = [entry("weather"), entry("several")]
    made = await Installed.of()
    builtin = [each.info.name for each in ToolRegistry.builtin().all()]
    assert [each.info.name for each in made.registry.all()] == [*builtin, "weather", "rain"]
    found = made.registry.get("weather")
    assert found is not None
    assert found.info.origin == "custom"
    await made.aclose()


@pytest.mark.parametrize("name", ["missing", "broken"])
async def test_a_package_that_is_broken_stops_the_start(
    entries: dict[str, list[metadata.EntryPoint]], name: str
) -> None:
    entries["asteros.tools"] = [entry(name)]
    with pytest.raises(RefusedToStart, match=f"the entry point {name} of asteros.tools"):
        await Installed.of()


async def test_a_name_that_is_taken(entries: dict[str, list[metadata.EntryPoint]]) -> None:
    entries["asteros.tools"] = [entry("weather"), entry("weather")]
    with pytest.raises(RefusedToStart, match="registered already"):
        await Installed.of()


async def test_a_search_backend_by_its_name(entries: dict[str, list[metadata.EntryPoint]]) -> None:
    entries["asteros.search"] = [metadata.EntryPoint("mine", "tools.test_installed:Backend", "asteros.search")]
    made = await Installed.of(search="mine")
    found = made.registry.get("WebSearch")
    assert found is not None
    answer = await found.run({"query": "q"}, None)  # type: ignore[arg-type]
    assert answer["results"][0]["title"] == "q"
    with pytest.raises(RefusedToStart, match="neither an address nor an entry point"):
        await Installed.of(search="other")


async def test_skills_are_listed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "SKILL.md").write_text("---\ndescription: Does s.\n---\n")
    made = await Installed.of(skills=Workspace.open(tmp_path))
    found = made.registry.get("Skill")
    assert found is not None
    assert found.info.description.endswith("- s: Does s.")
    await made.aclose()


async def test_mcp_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed.util, "find_spec", lambda name: None)
    with pytest.raises(RefusedToStart, match=r"pip install 'asteros\[mcp\]'"):
        await Installed.of(servers=[McpServer("x", command="y")])


async def test_a_registry_of_ones_own_is_taken_as_it_is() -> None:
    own = ToolRegistry([weather])
    made = await Installed.of(registry=own)
    assert made.registry is own
    assert made.registry.all() == (weather,)
