"""Permission rules: a glob on the tool's name and one on its main argument.

DENY is looked at before ASK before ALLOW, of equals the most specific first. What the
argument means follows from the tool: words of a command (``shell_command``), a path of
the workspace, or any other text. A rule that allows matches exactly what it says; one
that holds back also matches what it might mean."""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.runtime import shell_command
from asteros.tools.base import JsonObject, Tool, ToolInfo

ALLOW = common_pb2.PERMISSION_POLICY_ALLOW
ASK = common_pb2.PERMISSION_POLICY_ASK
DENY = common_pb2.PERMISSION_POLICY_DENY
COMMAND = "command"  # the main argument of tools that run one
PATHS = ("file_path", "path")  # main arguments that name a file or folder of the workspace
BUILTIN = "builtin"  # origin of tools whose paths are those of the workspace
# With one of these a command does not mean what it says: programs and options come from elsewhere.
_OTHER_MEANING = ("environment", "shell_id")
_SHELLS = ("", "sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/bash")


@dataclass(frozen=True, slots=True)
class Match:
    """The rule that speaks about a call, and what it says."""

    policy: common_pb2.PermissionPolicy
    rule: agent_pb2.PermissionRule
    sure: bool = True  # False: the rule denies something that this call may be

    @property
    def reason(self) -> str:
        name = f"{self.rule.tool} {self.rule.argument}".strip()
        return f"rule {name}" if self.sure else f"this may be what the rule {name} denies"


class Rules:
    """The rules of an agent. ``fold`` gives the tool's name that a name means."""

    def __init__(self, rules: Iterable[agent_pb2.PermissionRule], fold: Callable[[str], str]) -> None:
        self._rules = [(_glob(fold(rule.tool)), rule) for rule in sorted(rules, key=_order)]

    def match(self, tool: ToolInfo, args: JsonObject) -> Match | None:
        """What the rules say about a call; None when none speaks."""
        name = tool.name.casefold()
        maybe: Match | None = None
        for names, rule in self._rules:
            if rule.policy == ALLOW and maybe is not None:
                return maybe
            if not names.fullmatch(name):
                continue
            if _holds(rule, tool, args):
                return maybe if maybe and rule.policy == ASK else Match(rule.policy, rule)
            if rule.policy == DENY and maybe is None and _may_hold(rule, tool, args):
                maybe = Match(ASK, rule, sure=False)
        return maybe

    def sealed(self) -> Iterable[bytes]:
        """The rules as bytes, for the version of the policy."""
        return (rule.SerializeToString(deterministic=True) for _, rule in self._rules)


def _order(rule: agent_pb2.PermissionRule) -> tuple[int, int]:
    """DENY before ASK before ALLOW; the most literal characters first."""
    literal = sum(char not in "*?" for char in rule.tool + rule.argument)
    return (-int(rule.policy), -literal)


@functools.lru_cache(maxsize=2048)
def _glob(pattern: str) -> re.Pattern[str]:
    return shell_command.glob(pattern)


@functools.lru_cache(maxsize=2048)
def _command(pattern: str) -> shell_command.Pattern:
    return shell_command.Pattern(pattern)


def _holds(rule: agent_pb2.PermissionRule, tool: ToolInfo, args: JsonObject) -> bool:
    if not rule.argument:
        return True
    value = args.get(tool.main_argument)
    if not isinstance(value, str):
        return False
    if tool.main_argument == COMMAND:
        return _holds_command(rule, value, args)
    pattern = rule.argument
    if tool.main_argument in PATHS:
        path = workspace_path(value)
        if path is None:
            return rule.policy != ALLOW
        if tool.origin == BUILTIN:  # "/" is the workspace, too
            value, pattern = path, pattern.removeprefix("./").lstrip("/")
        else:
            value, pattern = "/" * value.startswith("/") + path, pattern.removeprefix("./")
    if rule.policy != ALLOW:  # a name in another letter case may be the same file or host
        pattern, value = pattern.casefold(), value.casefold()
    return _glob(pattern).fullmatch(value) is not None


def _holds_command(rule: agent_pb2.PermissionRule, command: str, args: JsonObject) -> bool:
    pattern = _command(rule.argument)
    if rule.policy == ALLOW:
        return pattern.allows(command) and not _means_otherwise(args)
    return pattern.holds(command) or (rule.policy == ASK and pattern.may_hold(command))


def _may_hold(rule: agent_pb2.PermissionRule, tool: ToolInfo, args: JsonObject) -> bool:
    value = args.get(tool.main_argument)
    return tool.main_argument == COMMAND and isinstance(value, str) and _command(rule.argument).may_hold(value)


def _means_otherwise(args: JsonObject) -> bool:
    return any(args.get(name) for name in _OTHER_MEANING) or (args.get("shell") or "") not in _SHELLS


# -- paths --------------------------------------------------------------------------------


def workspace_path(value: str) -> str | None:
    """A path of the workspace without ".", ".." and a leading "/"; None: it leaves the workspace.

    Links are not looked at: the door to the files keeps them inside."""
    parts: list[str] = []
    for part in value.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


# -- making rules ----------------------------------------------------------------------------


def check(rules: Iterable[agent_pb2.PermissionRule], find: Callable[[str], Tool | None]) -> None:
    """Refuses rules that could never match, where their tool is known: nobody should rely on one.

    :raises FieldViolation:"""
    wrong = []
    for index, rule in enumerate(rules):
        tool = find(rule.tool)
        if not rule.argument or tool is None:
            continue
        field = f"config.permission_rules[{index}].argument"
        if not tool.info.main_argument:
            wrong.append(errors.Violation(field, f"{tool.info.name} has no argument that a rule can match"))
        elif tool.info.main_argument == COMMAND and rule.policy == ALLOW and not _command(rule.argument).can_allow:
            wrong.append(errors.Violation(field, "only one simple command, named without wildcards, can be allowed"))
    if wrong:
        raise errors.FieldViolation(*wrong)


def for_calls_like(tool: ToolInfo, args: JsonObject, policy: common_pb2.PermissionPolicy) -> agent_pb2.PermissionRule:
    """The rule for calls with the same main argument.

    :raises FieldViolation: a command that is no simple one cannot be allowed for ever."""
    value = args.get(tool.main_argument)
    argument = value if isinstance(value, str) else ""
    if tool.main_argument == COMMAND and argument:
        words = shell_command.parse(argument)
        if words is not None:
            return agent_pb2.PermissionRule(tool=tool.name, argument=shell_command.quoted(words), policy=policy)
        if policy == ALLOW:
            raise errors.bad_field("scope", "only one simple command can be allowed for ever; allow this one once")
    if tool.main_argument and not argument and policy == ALLOW:
        raise errors.bad_field("scope", "this call names nothing that a rule could be about; allow it once")
    # The characters of a path are no pattern.
    return agent_pb2.PermissionRule(tool=tool.name, argument=argument.replace("*", "?"), policy=policy)
