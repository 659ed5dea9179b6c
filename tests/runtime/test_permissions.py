"""May this tool run? One case for each numbered rule, and one for each pair of neighbours."""

import itertools
from typing import Any

import pytest
from runtime.helpers import World

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.runtime import permission_rules
from asteros.runtime.permissions import MAX_CHANGES, HookAnswer, Permissions, Verdict, input_digest
from asteros.tools.base import JsonObject, ToolInfo
from asteros.tools.plan import PLAN_FILE
from asteros.tools.registry import ToolRegistry

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
    return Permissions(agent_pb2.AgentConfig(**config), session or {}).judge(tool, args)


# A config that makes each rule speak alone, and what it then says; in the order of the contract.
RULES: dict[str, tuple[dict[str, Any], int, str]] = {
    "1 policy deny": ({"tool_permissions": {"Write": DENY}}, DENY, "tool_permissions"),
    "1 workspace": ({"argument": "../a.txt"}, DENY, "workspace"),
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
    verdict = _check(ToolInfo(name, "", {}, read_only=True), permission_mode=PLAN)
    assert verdict.rule == "permission_mode"
    assert verdict.policy == (ASK if name == "WebFetch" else ALLOW), "it reads, and yet tells the outside something"


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
        ("git log 'a b'", True),
        ("git log 'a b", False),
        ("git ${HOME}", False),
        ("git *", False),
        ("git ~", False),
        (" git status ", True),
        ("", False),
    ],
)
def test_an_allowing_shell_rule_matches_simple_commands_alone(command: str, allowed: bool) -> None:
    verdict = _check(BASH, command, permission_rules=[_rule("Bash", ALLOW, "git *")])
    assert (verdict.policy == ALLOW) is allowed


@pytest.mark.parametrize("policy", [ASK, DENY])
def test_a_shell_rule_that_holds_back_matches_every_command(policy: int) -> None:
    rules = [_rule("Bash", policy, "*rm*")]
    assert _check(BASH, "ls; rm -rf /", permission_rules=rules, permission_mode=AUTO).policy == policy


# -- paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a.txt", True),
        ("/a.txt", True),
        ("a/../b", True),
        ("..a/b", True),
        ("a/..b", True),
        ("/", True),
        ("..", False),
        ("../x", False),
        ("/../x", False),
        ("a/../../x", False),
        ("./.././x", False),
        ("a//..//..//x", False),
    ],
)
@pytest.mark.parametrize("mode", [SMART, AUTO, PLAN])
def test_a_path_outside_the_workspace_is_denied(path: str, inside: bool, mode: int) -> None:
    verdict = _check(READ, path, permission_mode=mode, tool_permissions={"Read": ALLOW})
    assert (verdict.policy, verdict.rule) == ((ALLOW, "tool_permissions") if inside else (DENY, "workspace"))


def test_other_members_that_name_paths() -> None:
    config = agent_pb2.AgentConfig(permission_mode=AUTO)
    for member in ("path", "working_dir", "plan_file_path"):
        assert Permissions(config, {}).judge(BASH, {"command": "ls", member: "../x"}).rule == "workspace"


def test_a_foreign_tool_has_paths_of_its_own() -> None:
    foreign = ToolInfo("mcp__x__read", "", {}, main_argument="path", origin="mcp")
    assert _check(foreign, "../x", permission_mode=AUTO).policy == ALLOW
    rules = [_rule("mcp__*", ALLOW, "/data/*")]
    assert _check(foreign, "/data/x", permission_rules=rules).policy == ALLOW
    for path in ("data/x", "/data/../etc/passwd", "/data/../../etc/passwd", "../data/x"):
        assert _check(foreign, path, permission_rules=rules).policy == ASK


@pytest.mark.parametrize("path", ["secret/a", "/secret/a", "./secret/a", "x/../secret/a", "secret//a", "SECRET/A"])
def test_a_path_in_another_spelling_is_denied_too(path: str) -> None:
    for pattern in ("secret/*", "./secret/*", "/secret/*", "Secret/*"):
        assert (
            _check(argument=path, permission_rules=[_rule("Write", DENY, pattern)], permission_mode=AUTO).policy == DENY
        )


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("src/a", ALLOW),
        ("/src/a", ALLOW),
        ("src/../secret/a", ASK),
        ("src/../src/a", ALLOW),
        ("SRC/a", ASK),
        ("srcx/a", ASK),
        ("src", ASK),
    ],
)
def test_an_allowed_path_is_that_path(path: str, policy: int) -> None:
    assert _check(argument=path, permission_rules=[_rule("Write", ALLOW, "src/*")]).policy == policy


def test_a_bracket_is_no_pattern() -> None:
    rules = [_rule("Write", ALLOW, "[ab].txt")]
    assert _check(argument="[ab].txt", permission_rules=rules).policy == ALLOW
    assert _check(argument="a.txt", permission_rules=rules).policy == ASK


@pytest.mark.timeout(10)
def test_a_pattern_of_many_stars_is_no_trap() -> None:
    """F28: nobody may hold up the server with a rule and an argument."""
    rules = [_rule("Write", ALLOW, "*a" * 40 + "b"), _rule("Bash", DENY, "*a " * 40 + "b")]
    assert _check(argument="a" * 60_000, permission_rules=rules).policy == ASK
    assert _check(BASH, "a " * 30_000, permission_rules=rules, permission_mode=AUTO).policy == ASK


# -- plan mode -----------------------------------------------------------------------------


def _info(name: str, **more: Any) -> ToolInfo:
    return ToolInfo(name, "", {}, **more)


@pytest.mark.parametrize(
    ("tool", "args", "planned"),
    [
        ("WebFetch", {"url": "https://x", "method": "GET"}, True),
        ("WebFetch", {"url": "https://x", "method": "get"}, True),
        ("WebFetch", {"url": "https://x", "method": "POST"}, False),
        ("WebFetch", {"url": "https://x", "body": "x"}, False),
        ("Write", {"file_path": PLAN_FILE}, True),
        ("Write", {"file_path": f"/x/../{PLAN_FILE}"}, True),
        ("Write", {"file_path": "other.md"}, False),
        ("Write", {"file_path": f"x/{PLAN_FILE}"}, False),
        ("Edit", {"file_path": PLAN_FILE}, False),
        ("Task", {"subagent_type": "Explore"}, True),
        ("Task", {"subagent_type": "explore"}, True),
        ("Task", {"subagent_type": "general-purpose"}, False),
        ("Task", {}, False),
        ("Bash", {"command": "ls"}, False),
        ("TodoWrite", {}, False),
    ],
)
def test_what_plan_mode_allows_by_its_arguments(tool: str, args: JsonObject, planned: bool) -> None:
    verdict = Permissions(agent_pb2.AgentConfig(permission_mode=PLAN), {"Task": ALLOW}).judge(_info(tool), args)
    assert (verdict.rule != "plan_mode") is planned


def test_a_session_enters_and_leaves_plan_mode() -> None:
    permissions = Permissions(agent_pb2.AgentConfig(permission_mode=AUTO), {})
    permissions.in_plan = True
    assert permissions.judge(WRITE, {"file_path": "a"}).rule == "plan_mode"
    permissions.in_plan = False
    assert permissions.judge(WRITE, {"file_path": "a"}).policy == ALLOW
    began = Permissions(agent_pb2.AgentConfig(permission_mode=PLAN), {})
    began.in_plan = False
    assert began.judge(WRITE, {"file_path": "a"}).policy == ASK, "behind plan mode comes smart approve"


def test_what_smart_approve_lets_run() -> None:
    """The list of the contract, with the tools as they declare themselves."""
    free = {"Read", "Ls", "Glob", "Grep", "WebSearch", "BashOutput", "TodoWrite", "AskUserQuestion"}
    free |= {"EnterPlanMode", "ExitPlanMode"}
    tools = {tool.info.name: tool.info for tool in ToolRegistry.builtin().all()}
    assert {"Read", "Ls", "Write", "Bash", "AskUserQuestion"} <= set(tools)
    for name in ("Read", "Write", "Edit", "Bash", "WebFetch", "TodoWrite", *free):
        if name in tools:
            verdict = Permissions(agent_pb2.AgentConfig(), {}).judge(tools[name], {})
            assert (verdict.policy == ALLOW) is (name in free), name


@pytest.mark.parametrize("name", ["Read", "TodoWrite"])
def test_a_foreign_tool_of_a_known_name_is_not_that_tool(name: str) -> None:
    assert _check(_info(name, origin="mcp:x")).policy == ASK


# -- the hook ------------------------------------------------------------------------------


async def _hooked(*answers: HookAnswer | None, args: JsonObject | None = None, **config: Any) -> tuple[Verdict, int]:
    """The verdict with a hook that gives these answers, the last one for ever, and how often it was asked."""
    asked: list[JsonObject] = []

    async def hook(tool: ToolInfo, given: JsonObject) -> HookAnswer | None:
        asked.append(given)
        return answers[min(len(asked), len(answers)) - 1]

    session = config.pop("session", {})
    permissions = Permissions(agent_pb2.AgentConfig(**config), session)
    return await permissions.check(WRITE, args or {"file_path": "a.txt"}, hook), len(asked)


@pytest.mark.anyio
@pytest.mark.parametrize("policy", [ALLOW, ASK, DENY])
async def test_a_hook_stands_between_plan_mode_and_the_session(policy: int) -> None:
    answer = HookAnswer(policy, rule="hitl", reason="because")
    assert (await _hooked(answer, session={"Write": DENY}))[0] == Verdict(policy, "hitl", "because")
    for earlier in ({"tool_permissions": {"Write": DENY}}, {"permission_mode": PLAN}):
        verdict, asked = await _hooked(answer, **earlier)
        assert (verdict.policy, asked) == (DENY, 0)


@pytest.mark.anyio
async def test_a_hook_without_an_opinion() -> None:
    for answer in (None, HookAnswer(), HookAnswer(args={"file_path": "a.txt"})):
        verdict, asked = await _hooked(answer, permission_mode=AUTO)
        assert (verdict, asked) == (Verdict(ALLOW, "permission_mode", "every tool is approved"), 1)
        assert not verdict.notable


@pytest.mark.anyio
async def test_changed_input_is_judged_from_the_beginning() -> None:
    changed = {"file_path": "b.txt"}
    verdict, asked = await _hooked(HookAnswer(args=changed), permission_mode=AUTO)
    assert (verdict.policy, verdict.args, asked) == (ALLOW, changed, 2)
    assert verdict.notable
    verdict, _ = await _hooked(HookAnswer(args={"file_path": "../b"}), permission_mode=AUTO)
    assert verdict.rule == "workspace"
    verdict, _ = await _hooked(HookAnswer(args=changed), HookAnswer(DENY))
    assert (verdict.rule, verdict.args) == ("hook", changed)


@pytest.mark.anyio
async def test_a_hook_that_never_rests_is_a_denial() -> None:
    answers = [HookAnswer(args={"file_path": f"{n}.txt"}) for n in range(MAX_CHANGES + 2)]
    verdict, asked = await _hooked(*answers, permission_mode=AUTO)
    assert (verdict.policy, verdict.rule, asked) == (DENY, "hook", MAX_CHANGES + 1)


@pytest.mark.anyio
async def test_a_hook_that_fails_is_a_denial() -> None:
    async def hook(tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
        raise RuntimeError("secret")

    verdict = await Permissions(agent_pb2.AgentConfig(permission_mode=AUTO), {}).check(WRITE, {}, hook)
    assert verdict.policy == DENY
    assert "secret" not in verdict.reason


# -- making rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (_rule("Bash", ALLOW, "git status *"), False),
        (_rule("Bash", ALLOW, "*"), False),
        (_rule("Bash", ALLOW, ""), False),
        (_rule("bash", ALLOW, "git log | head"), True),
        (_rule("Bash", ALLOW, "$HOME/x"), True),
        (_rule("Bash", ALLOW, "g?t status"), True),
        (_rule("Bash", ALLOW, "gi* status"), True),
        (_rule("Bash", DENY, "git log | head"), False),
        (_rule("AskUserQuestion", DENY, "x"), True),
        (_rule("fs_write", DENY, "x"), False),
        (_rule("nothing", DENY, "x"), False),
        (_rule("*", DENY, "x"), False),
    ],
)
def test_a_rule_that_could_never_match_is_refused(rule: agent_pb2.PermissionRule, wrong: bool) -> None:
    find = ToolRegistry.builtin().get
    if not wrong:
        permission_rules.check([rule], find)
        return
    with pytest.raises(errors.FieldViolation) as refused:
        permission_rules.check([_rule("Read", ALLOW), rule], find)
    assert refused.value.violations[0].field == "config.permission_rules[1].argument"


@pytest.mark.anyio
async def test_an_agent_with_such_a_rule_is_not_made(world: World) -> None:
    with pytest.raises(errors.FieldViolation):
        await world.agent(["hi"], permission_rules=[_rule("Bash", ALLOW, "git log | head")])


@pytest.mark.parametrize("command", ["git log 'a*b' x", "ls", 'git commit -m "it\'s"'])
def test_a_rule_for_ever_is_for_this_command(command: str) -> None:
    rule = permission_rules.for_calls_like(BASH, {"command": command}, ALLOW)
    assert _check(BASH, command, permission_rules=[rule]).policy == ALLOW
    assert _check(BASH, f"{command} more", permission_rules=[rule]).policy == ASK
    assert _check(BASH, command.replace("a*b", "axb") + "x", permission_rules=[rule]).policy == ASK


def test_what_is_no_simple_command_is_not_allowed_for_ever() -> None:
    for command in ("ls | head", "ls *"):
        with pytest.raises(errors.FieldViolation):
            permission_rules.for_calls_like(BASH, {"command": command}, ALLOW)
        rule = permission_rules.for_calls_like(BASH, {"command": command}, DENY)
        assert _check(BASH, command, permission_rules=[rule], permission_mode=AUTO).policy == DENY
    with pytest.raises(errors.FieldViolation):
        permission_rules.for_calls_like(WRITE, {}, ALLOW)


# -- what holds for the turn ---------------------------------------------------------------------


def test_a_decision_for_the_session_holds_at_once() -> None:
    permissions = Permissions(agent_pb2.AgentConfig(), {})
    assert permissions.judge(WRITE, {}).policy == ASK
    permissions.remember("WRITE", ALLOW)
    assert permissions.judge(WRITE, {}).policy == ALLOW


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
