"""Shell commands under rules: the corpus of ``shell_commands.yaml``, and what a command is at all."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aster.v1 import agent_pb2, common_pb2
from asteros.runtime import shell_command
from asteros.runtime.permissions import Permissions
from asteros.runtime.shell_command import MAX_LENGTH, Pattern, parse
from asteros.tools.base import ToolInfo

BASH = ToolInfo("Bash", "", {}, main_argument="command")
MODES = {"smart": agent_pb2.PERMISSION_MODE_SMART_APPROVE, "auto": agent_pb2.PERMISSION_MODE_AUTO_APPROVE}
CORPUS = yaml.safe_load(Path(__file__).with_name("shell_commands.yaml").read_text(encoding="utf-8"))
CASES = [
    (name, command, decision)
    for name, answers in CORPUS["cases"].items()
    for decision, commands in answers.items()
    for command in commands
]


def permissions(name: str) -> Permissions:
    chosen = CORPUS["sets"][name]
    config = agent_pb2.AgentConfig(permission_mode=MODES[chosen["mode"]])
    for rule in chosen["rules"]:
        policy, argument = rule.split(" ", 1)
        value = common_pb2.PermissionPolicy.Value(f"PERMISSION_POLICY_{policy.upper()}")
        config.permission_rules.add(tool="Bash", argument=argument, policy=value)
    return Permissions(config, {})


@pytest.mark.parametrize(("name", "command", "decision"), CASES, ids=[f"{n}-{c!r}" for n, c, _ in CASES])
def test_corpus(name: str, command: str, decision: str) -> None:
    verdict = permissions(name).judge(BASH, {"command": command})
    assert verdict.decision == decision, verdict.reason


def test_corpus_is_as_large_as_promised() -> None:
    assert len({(name, command) for name, command, _ in CASES}) == len(CASES) >= 200


@pytest.mark.parametrize(
    "more", [{"environment": {"PATH": "/ws"}}, {"shell": "zsh"}, {"shell": "/ws/sh"}, {"shell_id": "s1"}]
)
def test_an_allowed_command_has_no_other_meaning(more: dict[str, Any]) -> None:
    """What an assignment in front could do, another argument of the tool must not do either."""
    args = {"command": "git status", **more}
    assert permissions("reader").judge(BASH, args).decision == "ask"
    assert permissions("guard").judge(BASH, {**args, "command": "rm x"}).decision == "deny"


@pytest.mark.parametrize("more", [{"environment": {}}, {"shell": "bash"}, {"shell": ""}, {"timeout": 5}])
def test_arguments_that_change_nothing(more: dict[str, Any]) -> None:
    assert permissions("reader").judge(BASH, {"command": "git status", **more}).decision == "allow"


def test_words() -> None:
    assert parse(r"""git log 'a $b' "c \"d\" \x" e\ f ''""") == ["git", "log", "a $b", r'c "d" \x', "e f", ""]


def test_too_long_is_not_simple() -> None:
    assert parse("ls " + "a" * (MAX_LENGTH - 3)) is not None
    assert parse("ls " + "a" * (MAX_LENGTH - 2)) is None


TEXT = st.text(max_size=30)
SHELLISH = st.text(alphabet="abrm =/-.;|&$`'\"\\(){}<>*?[]~#!%^\n\t:,@+", max_size=30)


@settings(max_examples=400, deadline=None)
@given(st.one_of(TEXT, SHELLISH))
def test_what_parses_is_what_a_shell_sees(command: str) -> None:
    """The standard library's parser agrees on every command that ours accepts."""
    words = parse(command)
    if words is not None:
        assert shlex.split(command, comments=True) == words


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=("C", "Z")), max_size=8), min_size=1, max_size=5))
def test_quoted_words_come_back(words: list[str]) -> None:
    text = shell_command.quoted(words)
    assert parse(text) in (words, None)
    if parse(text) is not None:
        assert Pattern(text).allows(text)


@settings(max_examples=400, deadline=None)
@given(st.one_of(TEXT, SHELLISH), st.sampled_from(["rm *", "git push *", "rm*", "*rm*", "$(*"]))
def test_what_is_held_back_is_never_allowed(command: str, pattern: str) -> None:
    config = agent_pb2.AgentConfig(permission_mode=MODES["auto"])
    config.permission_rules.add(tool="Bash", argument=pattern, policy=common_pb2.PERMISSION_POLICY_DENY)
    config.permission_rules.add(tool="Bash", argument="*", policy=common_pb2.PERMISSION_POLICY_ALLOW)
    decision = Permissions(config, {}).judge(BASH, {"command": command}).decision
    words = parse(command)
    if decision == "allow":
        assert words is not None
        assert words[0].rsplit("/", 1)[-1] != "rm" or pattern in ("git push *", "$(*")
