"""What holds for every built-in tool, tried with inputs made from its schema.

A valid input never raises: the answer is a JSON object with "ok", and with a sentence when
that is false. An invalid one is refused with a sentence before anybody is asked."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools.fakes import FakeContext, SilentCommands
from tools.schemas import spoiled, valid

from asteros.errors import UrlNotAllowed
from asteros.sandbox.files import Workspace
from asteros.sandbox.netguard import Address, Network
from asteros.sandbox.outbound import Outbound
from asteros.tools.base import Answer, Tool
from asteros.tools.registry import BadToolInput, Kit, ToolRegistry

FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


async def closed(host: str, port: int, networks: Sequence[Network]) -> Sequence[Address]:
    """No network: whatever address hypothesis makes up is not looked for."""
    raise UrlNotAllowed("url")


REGISTRY = ToolRegistry.builtin(Kit(outbound=Outbound((), resolve=closed)))
NAMES = [tool.info.name for tool in REGISTRY.all()]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    (tmp_path / "0").write_text("0\n00\n")
    (tmp_path / "folder").mkdir()
    return FakeContext(Workspace.open(tmp_path), {index: Answer("0") for index in range(4)}, SilentCommands())


def found(name: str) -> Tool:
    tool = REGISTRY.get(name)
    assert tool is not None
    return tool


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_a_valid_input_is_answered(
    name: str, runner: asyncio.Runner, context: FakeContext, data: st.DataObject
) -> None:
    tool = found(name)
    args = data.draw(valid(dict(tool.info.input_schema)))
    read = REGISTRY.parse_input(tool, json.dumps(args))
    context.in_plan_mode = data.draw(st.booleans())
    answer = runner.run(tool.run(read, context))
    assert json.loads(REGISTRY.canonical(answer)) == answer
    assert isinstance(answer["ok"], bool)
    if not answer["ok"]:
        assert isinstance(answer["error"], str)
        assert answer["error"]
        assert "/tmp" not in answer["error"]


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_an_invalid_input_is_refused(name: str, data: st.DataObject) -> None:
    tool = found(name)
    args = data.draw(spoiled(dict(tool.info.input_schema)))
    with pytest.raises(BadToolInput) as caught:
        REGISTRY.parse_input(tool, json.dumps(args))
    assert 0 < len(str(caught.value)) <= 300


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_told_what_it_needs(name: str) -> None:
    info = found(name).info
    assert info.description.endswith(".")
    assert set(info.input_schema.get("required", ())) <= set(info.input_schema["properties"])
    aliases = info.argument_aliases or {}
    assert set(aliases.values()) <= set(info.input_schema["properties"])
    assert not set(aliases) & set(info.input_schema["properties"])


# Parameter names are part of the contract: clients and prompts rely on them.
PARAMETERS = """
Read: file_path* offset limit
Write: file_path* content* create_dirs backup append
Edit: file_path* old_string* new_string* replace_all preserve_indentation backup
Glob: pattern* path exclude_patterns include_hidden case_sensitive max_results sort_by recursive
Grep: pattern* path glob file_type output_mode max_results context_lines case_insensitive whole_word line_numbers
  no_heading hidden follow multiline
Ls: path
Bash: command* timeout description working_dir shell_id background capture_output environment shell
BashOutput: bash_id* filter lines follow include_stderr since resource_info clear_cache
KillShell: shell_id* signal force wait timeout cleanup
Task: action task_id description subagent_type prompt model timeout_minutes async
TodoWrite: todos* list_name action todo_id
AskUserQuestion: questions*
EnterPlanMode: reason
ExitPlanMode: plan plan_file_path
WebFetch: url* method headers body timeout
WebSearch: query* max_results topic include_raw_content allowed_domains blocked_domains
ListMcpResources: server
ReadMcpResource: server* uri*
Skill: skill* params
"""


def test_parameters_are_those_of_the_contract() -> None:
    words = PARAMETERS.replace("\n  ", " ").strip().splitlines()
    wanted = {line.partition(":")[0]: line.partition(": ")[2].split() for line in words}
    assert sorted(wanted) == sorted(NAMES)
    for name, members in wanted.items():
        schema = found(name).info.input_schema
        required = schema.get("required", ())
        assert [f"{member}*" if member in required else member for member in schema["properties"]] == members, name


def test_no_two_tools_say_the_same() -> None:
    for one, other in itertools.combinations(REGISTRY.all(), 2):
        assert one.info.description != other.info.description
