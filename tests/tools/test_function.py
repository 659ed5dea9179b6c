from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.base import JsonObject, RerunPolicy, Tool, ToolContext
from asteros.tools.function import tool
from asteros.tools.registry import BadToolInput, ToolRegistry

pytestmark = pytest.mark.anyio


@tool(read_only=True, rerun=RerunPolicy.SAFE, groups=("sky",), main_argument="city")
async def weather(
    city: Annotated[str, "Name of the city."],
    days: int = 1,
    units: Literal["c", "f"] = "c",
    extra: dict[str, Any] | None = None,
) -> str:
    """How the weather will be."""
    return f"{city} {days} {units} {extra}"


@tool(name="Where", timeout=None)
async def where(context: ToolContext, tags: list[str], ratio: float = 0.5, flag: bool = False) -> JsonObject:
    return {"agent": context.agent_id, "tags": tags, "ratio": ratio, "flag": flag}


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    workspace = Workspace.open(tmp_path)
    workspace.close()
    return FakeContext(workspace)


def test_describes_the_function() -> None:
    made: Tool = weather  # keeps the promise
    info = made.info
    assert (info.name, info.description, info.origin) == ("weather", "How the weather will be.", "custom")
    assert (info.read_only, info.rerun, info.groups, info.main_argument) == (True, RerunPolicy.SAFE, ("sky",), "city")
    assert info.input_schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city."},
            "days": {"type": "integer"},
            "units": {"enum": ["c", "f"]},
            "extra": {"anyOf": [{"type": "object", "additionalProperties": {}}, {"type": "null"}]},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert where.info.input_schema["properties"] == {
        "tags": {"type": "array", "items": {"type": "string"}},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
    }
    assert where.info.timeout is None


async def test_runs_the_function(context: FakeContext) -> None:
    registry = ToolRegistry.builtin().with_tools(weather, where)
    args = registry.parse_input(weather, '{"city": "Oslo", "extra": null}')
    assert await weather.run(args, context) == {"ok": True, "result": "Oslo 1 c None"}
    args = registry.parse_input(where, '{"tags": ["x"], "ratio": 1}')
    assert await where.run(args, context) == {"agent": "a1", "tags": ["x"], "ratio": 1, "flag": False}
    assert await weather.function("Rome") == "Rome 1 c None"


@pytest.mark.parametrize(
    "text", ['{"city": "x", "units": "k"}', '{"city": "x", "extra": 1}', '{"days": 1}', '{"city": "x", "context": 1}']
)
def test_checks_its_input(text: str) -> None:
    registry = ToolRegistry([weather])
    with pytest.raises(BadToolInput):
        registry.parse_input(weather, text)


async def no_hint(a) -> None: ...  # type: ignore[no-untyped-def]
async def rest(*a: str) -> None: ...
async def positional(a: str, /) -> None: ...
async def odd_hint(a: set[str]) -> None: ...
async def odd_key(a: dict[int, str]) -> None: ...
def blocking(a: str) -> None: ...


@pytest.mark.parametrize("function", [no_hint, rest, positional, odd_hint, odd_key, blocking])
def test_refuses_what_cannot_be_a_tool(function: Any) -> None:
    with pytest.raises(TypeError):
        tool()(function)
