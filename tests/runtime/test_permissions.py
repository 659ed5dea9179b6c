"""May this tool run? One case for each numbered rule, and one for each pair of neighbours."""

import itertools
from typing import Any

import pytest

from aster.v1 import agent_pb2, common_pb2
from asteros.runtime.permissions import Permissions, Verdict, input_digest
from asteros.tools.base import ToolInfo

ALLOW, ASK, DENY = (
    common_pb2.PERMISSION_POLICY_ALLOW,
    common_pb2.PERMISSION_POLICY_ASK,
    common_pb2.PERMISSION_POLICY_DENY,
)
SMART, ALWAYS_ASK, AUTO, PLAN = (
    agent_pb2.PERMISSION_MODE_SMART_APPROVE,
    agent_pb2.PERMISSION_MODE_ALWAYS_ASK,
    agent_pb2.PERMISSION_MODE_AUTO_APPROVE,
    agent_pb2.PERMISSION_MODE_PLAN,
)
WRITE = ToolInfo("Write", "", {}, main_argument="file_path")
READ = ToolInfo("Read", "", {}, read_only=True, main_argument="file_path")
BASH = ToolInfo("Bash", "", {}, main_argument="command")
PLAIN = ToolInfo("Plain", "", {}, read_only=True)


def _rule(tool: str, policy: int, argument: str = "") -> agent_pb2.PermissionRule:
    return agent_pb2.PermissionRule(tool=tool, argument=argument, policy=policy)


def _check(
    tool: ToolInfo = WRITE, argument: str = "a.txt", session: dict[str, int] | None = None, **config: Any
) -> Verdict:
    args = {tool.main_argument: argument} if tool.main_argument else {}
    return Permissions(agent_pb2.AgentConfig(**config), session or {}).check(tool, args)


# A config that makes each rule speak alone, and what it then says; in the order of the contract.
RULES: dict[str, tuple[dict[str, Any], int, str]] = {
    "1 policy deny": ({"tool_permissions": {"Write": DENY}}, DENY, "tool_permissions"),
    "2 plan mode": ({"permission_mode": PLAN}, DENY, "plan_mode"),
    "4 session": ({"session": {"Write": ALLOW}}, ALLOW, "session"),
    "5 policy": ({"tool_permissions": {"Write": ASK}}, ASK, "tool_permissions"),
    "6 rules": ({"permission_rules": [_rule("Write", ALLOW)]}, ALLOW, "permission_rules"),
    "7 mode": ({"permission_mode": ALWAYS_ASK}, ASK, "permission_mode"),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_alone(name: str) -> None:
    config, policy, rule = RULES[name]
    verdict = _check(**config)
    assert (verdict.policy, verdict.rule) == (policy, rule)
    assert verdict.reason
    assert verdict.decision == {ALLOW: "allow", ASK: "ask", DENY: "deny"}[policy]


PAIRS = [
    (first, second)
    for first, second in itertools.combinations(RULES, 2)
    # Two that are set by one field cannot hold at once.
    if not set(RULES[first][0]) & set(RULES[second][0])
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_earlier_rule_wins(first: str, second: str) -> None:
    verdict = _check(**RULES[first][0], **RULES[second][0])
    assert (verdict.policy, verdict.rule) == RULES[first][1:]


def test_all_neighbours_are_among_the_pairs() -> None:
    assert set(itertools.pairwise(RULES)) <= set(PAIRS)


@pytest.mark.parametrize(
    ("mode", "tool", "policy"),
    [
        (0, READ, ALLOW),
        (0, WRITE, ASK),
        (SMART, READ, ALLOW),
        (SMART, WRITE, ASK),
        (ALWAYS_ASK, READ, ASK),
        (AUTO, WRITE, ALLOW),
        (AUTO, BASH, ALLOW),
        (PLAN, READ, ALLOW),
        (PLAN, WRITE, DENY),
        (PLAN, BASH, DENY),
        (PLAN, PLAIN, DENY),
    ],
)
def test_modes(mode: int, tool: ToolInfo, policy: int) -> None:
    assert _check(tool, permission_mode=mode).policy == policy


@pytest.mark.parametrize("name", ["Ls", "Glob", "Grep", "WebFetch", "WebSearch", "AskUserQuestion", "ExitPlanMode"])
def test_what_plan_mode_allows(name: str) -> None:
    assert _check(ToolInfo(name, "", {}, read_only=True), permission_mode=PLAN).policy == ALLOW


@pytest.mark.parametrize("mode", [AUTO, PLAN, SMART])
def test_no_mode_and_no_decision_overrules_a_denial(mode: int) -> None:
    """A5: no client can turn a deny into a run."""
    verdict = _check(
        session={"Write": ALLOW},
        permission_mode=mode,
        tool_permissions={"Write": DENY},
        permission_rules=[_rule("*", ALLOW)],
    )
    assert verdict.policy == DENY


def test_a_session_may_deny_what_the_policy_allows() -> None:
    assert _check(session={"Write": DENY}, tool_permissions={"Write": ALLOW}, permission_mode=AUTO).policy == DENY


@pytest.mark.parametrize("name", ["write", "WRITE", "wRiTe"])
def test_letter_case_does_not_matter(name: str) -> None:
    assert _check(tool_permissions={name: DENY}).rule == "tool_permissions"
    assert _check(session={name: ALLOW}).rule == "session"
    assert _check(permission_rules=[_rule(name, DENY)]).rule == "permission_rules"
    assert _check(ToolInfo(name, "", {}), tool_permissions={"Write": DENY}).policy == DENY


@pytest.mark.parametrize("name", ["fs_write", "FS_Write"])
def test_an_alias_is_the_tool(name: str) -> None:
    """`tools` takes these names too: a denial under one must not miss."""
    assert _check(tool_permissions={name: DENY}, permission_mode=AUTO).rule == "tool_permissions"
    assert _check(permission_rules=[_rule(name, DENY)], permission_mode=AUTO).policy == DENY
    for mine, other in itertools.permutations((ALLOW, DENY)):
        assert _check(tool_permissions={name: mine, "Write": other}).policy == DENY


@pytest.mark.parametrize(
    ("rules", "policy"),
    [
        ([("Write", ALLOW, ""), ("Write", ASK, ""), ("Write", DENY, "")], DENY),
        ([("Write", ALLOW, "a.txt"), ("*", DENY, "")], DENY),
        ([("Write", ALLOW, "a.txt"), ("*", ASK, "")], ASK),
        ([("Write", ALLOW, "a.*"), ("Write", DENY, "b.*")], ALLOW),
        ([("Write", DENY, "*.md")], ASK),
        ([("W*", ALLOW, "")], ALLOW),
        ([("Wr?te", ALLOW, "?.txt")], ALLOW),
        ([("Read", ALLOW, "")], ASK),
    ],
)
def test_rules_deny_before_ask_before_allow(rules: list[tuple[str, int, str]], policy: int) -> None:
    for order in itertools.permutations(rules):
        made = [_rule(tool, what, argument) for tool, what, argument in order]
        assert _check(permission_rules=made).policy == policy


def test_of_two_equal_policies_the_more_specific_speaks() -> None:
    rules = [_rule("*", DENY), _rule("Write", DENY, "a.txt"), _rule("Write", DENY, "*")]
    assert _check(permission_rules=rules).reason == "rule Write a.txt"


def test_a_rule_with_an_argument_needs_a_tool_with_one() -> None:
    assert _check(PLAIN, permission_rules=[_rule("Plain", DENY, "*")]).policy == ALLOW


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("git status", True),
        ("git log --oneline -5", True),
        ("git status; rm -rf /", False),
        ("git status && rm x", False),
        ("git status | sh", False),
        ("git $(rm x)", False),
        ("git `rm x`", False),
        ("git status > /etc/passwd", False),
        ("git status &", False),
        ("git status\nrm x", False),
        ("git log 'a b'", False),
        ("git ${HOME}", False),
        ("git *", False),
        ("git ~", False),
        (" git status", False),
    ],
)
def test_an_allowing_shell_rule_matches_simple_commands_alone(command: str, allowed: bool) -> None:
    verdict = _check(BASH, command, permission_rules=[_rule("Bash", ALLOW, "git *")])
    assert (verdict.policy == ALLOW) is allowed


@pytest.mark.parametrize("policy", [ASK, DENY])
def test_a_shell_rule_that_holds_back_matches_every_command(policy: int) -> None:
    rules = [_rule("Bash", policy, "*rm*")]
    assert _check(BASH, "ls; rm -rf /", permission_rules=rules, permission_mode=AUTO).policy == policy


def test_a_decision_for_the_session_holds_at_once() -> None:
    permissions = Permissions(agent_pb2.AgentConfig(), {})
    assert permissions.check(WRITE, {}).policy == ASK
    permissions.remember("WRITE", ALLOW)
    assert permissions.check(WRITE, {}).policy == ALLOW


def test_the_version_follows_the_policy_and_nothing_else() -> None:
    def version(**config: Any) -> str:
        return Permissions(agent_pb2.AgentConfig(**config), {}).version

    rules = [_rule("Write", ALLOW, "a"), _rule("Read", DENY)]
    base = version(permission_rules=rules, tool_permissions={"a": ASK, "b": DENY}, permission_mode=AUTO)
    assert base == version(
        permission_rules=rules[::-1], tool_permissions={"B": DENY, "A": ASK}, permission_mode=AUTO, system_prompt="x"
    )
    others = [
        version(permission_rules=rules[:1], tool_permissions={"a": ASK, "b": DENY}, permission_mode=AUTO),
        version(permission_rules=rules, tool_permissions={"a": ASK}, permission_mode=AUTO),
        version(permission_rules=rules, tool_permissions={"a": ASK, "b": DENY}),
    ]
    assert len({base, *others}) == 4


def test_the_digest_keeps_its_parts_apart() -> None:
    digests = {
        input_digest("ab", "c", "a1", "v", "w"),
        input_digest("a", "bc", "a1", "v", "w"),
        input_digest("ab", "c", "a1", "vw", ""),
        input_digest("ab", "c", "a1v", "", "w"),
    }
    assert len(digests) == 4
    assert all(len(digest) == 64 for digest in digests)
