import json
import subprocess
import sys
from typing import Any

import pytest

from asteros.errors import ToolNotFound
from asteros.tools.base import JsonObject, Tool, ToolContext, ToolInfo
from asteros.tools.registry import BadToolInput, ToolRegistry

FILES = ["Read", "Write", "Edit", "Glob", "Grep", "Ls"]
SHELLS = ["Bash", "BashOutput", "KillShell"]
# As the contract lists them (part 6); the order is that in which "*" gives them.
BUILTIN = [
    *FILES, *SHELLS, "TodoWrite", "AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "Task", "WebFetch", "WebSearch",
    "ListMcpResources", "ReadMcpResource", "Skill",
]  # fmt: skip


class Named:
    """A tool of a name, with whatever else the test needs."""

    def __init__(self, name: str, schema: dict[str, Any] | None = None, **facts: Any) -> None:
        self.info = ToolInfo(name=name, description="", input_schema=schema or {"type": "object"}, **facts)

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        return {"ok": True}


def names(tools: tuple[Tool, ...]) -> list[str]:
    return [tool.info.name for tool in tools]


@pytest.fixture(scope="module")
def registry() -> ToolRegistry:
    return ToolRegistry.builtin()


def parsed(registry: ToolRegistry, name: str, text: str) -> JsonObject:
    tool = registry.get(name)
    assert tool is not None
    return registry.parse_input(tool, text)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ([], []),
        (["Write", "Read"], ["Write", "Read"]),
        (["read", "READ", "Read"], ["Read"]),
        (["filesystem"], FILES),
        (["Filesystem", "Ls"], FILES),
        (["Grep"], ["Grep"]),
        (["grep"], ["Grep"]),
        (["bash"], SHELLS),
        (["Bash"], ["Bash"]),
        (["*"], BUILTIN),
        (["Ls", "*"], ["Ls", *(name for name in BUILTIN if name != "Ls")]),
        (
            ["fs_read", "FS_WRITE", "fs_ls", "fs_edit", "fs_glob", "fs_grep"],
            ["Read", "Write", "Ls", "Edit", "Glob", "Grep"],
        ),
    ],
)
def test_selects(registry: ToolRegistry, wanted: list[str], chosen: list[str]) -> None:
    assert names(registry.select(wanted)) == chosen


@pytest.mark.parametrize("name", ["fs_delete", "", "**", "mcp__files__read"])
def test_unknown_names_are_not_found(registry: ToolRegistry, name: str) -> None:
    with pytest.raises(ToolNotFound) as caught:
        registry.select(["Read", name])
    assert caught.value.facts == {"tool": name}
    assert registry.get(name) is None


def test_with_tools_leaves_the_old_one_alone(registry: ToolRegistry) -> None:
    more = registry.with_tools(Named("BashHistory", groups=("bash",)), Named("weather", groups=("Sky",)))
    assert names(registry.all()) == BUILTIN
    assert names(more.select(["bash"])) == [*SHELLS, "BashHistory"]
    assert names(more.select(["Bash"])) == ["Bash"]
    assert names(more.select(["sky"])) == ["weather"]
    assert more.get("WEATHER") is more.get("weather") is not None


@pytest.mark.parametrize("name", ["read", "READ", "fs_read", "", "a b", "x" * 65, "*", "天气"])
def test_refuses_bad_and_taken_names(registry: ToolRegistry, name: str) -> None:
    with pytest.raises(ValueError):
        registry.with_tools(Named(name))


def test_a_source_offers_tools_that_come_and_go(registry: ToolRegistry) -> None:
    more = registry.with_tools()
    more.offer("mcp__Files", ())
    assert more.select(["mcp__files__read", "mcp__files"]) == ()  # known, but not there yet
    with pytest.raises(ToolNotFound):
        more.select(["mcp__other__read"])
    first = Named("mcp__Files__read", groups=("sky", "mcp__Files"))
    more.offer("mcp__Files", [first, Named("mcp__Files__stat", groups=("sky",))])
    assert names(more.select(["mcp__files__READ", "sky"])) == ["mcp__Files__read", "mcp__Files__stat"]
    assert names(more.select(["mcp__files"])) == ["mcp__Files__read"]
    assert more.get("MCP__files__read") is first
    assert names(more.all()) == [*BUILTIN, "mcp__Files__read", "mcp__Files__stat"]
    more.offer("mcp__Files", [Named("mcp__Files__stat")])
    assert more.get("mcp__files__read") is None
    assert registry.get("mcp__files__stat") is None


@pytest.mark.parametrize("name", ["Read", "fs_read", "a b"])
def test_a_source_cannot_take_the_name_of_another(registry: ToolRegistry, name: str) -> None:
    more = registry.with_tools()
    more.offer("mcp__files", [Named("mcp__files__x")])
    with pytest.raises(ValueError):
        more.offer("mcp__files", [Named("mcp__files__y"), Named(name)])
    assert names(more.all()) == [*BUILTIN, "mcp__files__x"]  # as it was
    with pytest.raises(ValueError):
        more.offer("mcp__files", [Named("mcp__files__y"), Named("mcp__files__Y")])


def test_replaces_aliases(registry: ToolRegistry) -> None:
    assert parsed(registry, "Read", '{"path": "/hello.txt"}') == {"file_path": "/hello.txt"}
    assert parsed(registry, "Ls", '{"path": "/"}') == {"path": "/"}


QUESTION = '{"questions": [{"question": "?", %s}]}'


@pytest.mark.parametrize(
    ("tool", "text", "sentence"),
    [
        ("Read", "[]", "the input must be a JSON object"),
        ("Read", "", "not valid JSON: Expecting value at character 0"),
        ("Read", '{"file_path": "a", "file_path": "b"}', '"file_path" is given twice'),
        ("Read", '{"file_path": "a", "path": "b"}', '"file_path" is given twice, once under another name'),
        ("Read", '{"path": "a", "file_path": "b"}', '"file_path" is given twice, once under another name'),
        ("Read", "{}", '"file_path" is missing'),
        ("Read", '{"file_path": 1}', '"file_path" must be of type string'),
        ("Read", '{"file_path": "a", "offset": 1.0}', '"offset" must be of type integer'),
        ("Read", '{"file_path": "a", "offset": true}', '"offset" must be of type integer'),
        ("Read", '{"file_path": "a", "offset": 0}', '"offset" does not keep to minimum 1'),
        ("Read", '{"file_path": "a", "sudo": 1}', '"sudo" is not known'),
        ("Bash", '{"command": "ls", "dangerouslyDisableSandbox": true}', '"dangerouslyDisableSandbox" is not known'),
        ("Bash", '{"command": "ls", "environment": {"A": 1}}', '"environment.A" must be of type string'),
        ("AskUserQuestion", '{"questions": []}', '"questions" does not keep to minItems 1'),
        (
            "AskUserQuestion",
            QUESTION % '"header": "thirteen char"',
            '"questions[0].header" does not keep to maxLength 12',
        ),
        ("AskUserQuestion", QUESTION % '"options": [{}]', '"questions[0].options[0].label" is missing'),
        (
            "AskUserQuestion",
            json.dumps({"questions": [{"question": "?"}] * 5}),
            '"questions" does not keep to maxItems 4',
        ),
        (
            "AskUserQuestion",
            json.dumps({"questions": [{"question": "?", "options": [{"label": "x"}] * 5}]}),
            '"questions[0].options" does not keep to maxItems 4',
        ),
    ],
)
def test_says_what_is_wrong_with_an_input(registry: ToolRegistry, tool: str, text: str, sentence: str) -> None:
    with pytest.raises(BadToolInput) as caught:
        parsed(registry, tool, text)
    assert str(caught.value) == sentence


def test_sentences_are_short_and_hold_no_values() -> None:
    tool = Named(
        "big", {"properties": {"a": {"enum": ["x" * 1000]}, "b": {"anyOf": [{"type": "null"}, {"minimum": 2}]}}}
    )
    registry = ToolRegistry([tool])
    with pytest.raises(BadToolInput) as caught:
        registry.parse_input(tool, json.dumps({"a": "secret" * 1000}))
    assert len(str(caught.value)) == 300
    assert "secret" not in str(caught.value)
    with pytest.raises(BadToolInput, match='"b"'):
        registry.parse_input(tool, '{"b": 1}')


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_a_schema_that_cannot_be_used_fails_the_call_only(schema: dict[str, Any]) -> None:
    """A foreign tool's schema must neither fetch an address nor end the turn."""
    tool = Named("foreign", schema)
    with pytest.raises(BadToolInput, match="schema of foreign is not usable"):
        ToolRegistry([tool]).parse_input(tool, "{}")


def test_compiles_a_schema_once(registry: ToolRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed(registry, "Ls", "{}")

    def again(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("asteros.tools.inputs._compiled", again)
    parsed(registry, "ls", "{}")
    with pytest.raises(AssertionError):  # another tool of the same name is not mistaken for it
        registry.parse_input(Named("Ls"), "{}")


def test_canonical_is_at_hand(registry: ToolRegistry) -> None:
    assert registry.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_schemas_are_closed(registry: ToolRegistry, name: str) -> None:
    tool = registry.get(name)
    assert tool is not None
    schema = tool.info.input_schema
    assert schema["additionalProperties"] is False
    assert not tool.info.main_argument or tool.info.main_argument in schema["properties"]


def test_starting_does_not_wait_for_jsonschema() -> None:
    code = "import sys, asteros.tools.registry as r; r.ToolRegistry.builtin(); sys.exit('jsonschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
