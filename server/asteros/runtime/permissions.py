"""May this tool run? The policy stands outside the model (security, part 10).

The checks go in the order of the contract; the first answer wins:
1 not in the agent's set, or DENY; 2 plan mode; 3 a middleware (none is built in);
4 what a decision gave to the session; 5 ALLOW or ASK for the tool; 6 rules, DENY
before ASK before ALLOW, the most specific first; 7 the agent's mode."""

import fnmatch
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2
from asteros.tools.base import JsonObject, ToolInfo
from asteros.tools.registry import ALIASES

ALLOW = common_pb2.PERMISSION_POLICY_ALLOW
ASK = common_pb2.PERMISSION_POLICY_ASK
DENY = common_pb2.PERMISSION_POLICY_DENY
_NAMES = {ALLOW: "allow", ASK: "ask", DENY: "deny"}
_PLAN_TOOLS = {"read", "ls", "glob", "grep", "webfetch", "websearch", "askuserquestion", "exitplanmode"}
# One simple command: words and plain options, nothing a shell would expand or chain.
_SIMPLE_COMMAND = re.compile(r"[A-Za-z0-9_./:@%+,=-]+( [A-Za-z0-9_./:@%+,=-]+)*")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says about one call, and which rule said it."""

    policy: common_pb2.PermissionPolicy
    rule: str
    reason: str

    @property
    def decision(self) -> str:
        return _NAMES[self.policy]


class Permissions:
    """The policy of one agent, as it was when its turn began."""

    def __init__(self, config: agent_pb2.AgentConfig, session_rules: Mapping[str, int]) -> None:
        self._policies: dict[str, int] = {}
        for name, policy in config.tool_permissions.items():
            # Of a name and its alias the stricter counts: DENY over ASK over ALLOW.
            self._policies[_folded(name)] = max(policy, self._policies.get(_folded(name), 0))
        self._session = {_folded(name): policy for name, policy in session_rules.items()}
        self._rules = sorted(config.permission_rules, key=_order)
        self._mode = config.permission_mode
        digest = hashlib.sha256()
        digest.update(str(sorted(self._policies.items())).encode())
        for rule in self._rules:
            digest.update(rule.SerializeToString(deterministic=True))
        digest.update(str(int(self._mode)).encode())
        # Part of what an approval is bound to: another policy asks again.
        self.version = digest.hexdigest()[:16]

    def remember(self, tool: str, policy: common_pb2.PermissionPolicy) -> None:
        """A decision with scope SESSION holds from now on."""
        self._session[_folded(tool)] = policy

    def denies(self, name: str) -> bool:
        """A policy denies the name, also where no such tool exists here (seed 001, fs_delete)."""
        return self._policies.get(_folded(name)) == DENY

    def check(self, tool: ToolInfo, args: JsonObject) -> Verdict:
        """The verdict on a call of a tool that the agent has."""
        name = tool.name.casefold()
        explicit = self._policies.get(name)
        if explicit == DENY:
            return Verdict(DENY, "tool_permissions", f"the policy of this agent denies {tool.name}")
        if self._mode == agent_pb2.PERMISSION_MODE_PLAN and name not in _PLAN_TOOLS:
            return Verdict(DENY, "plan_mode", f"{tool.name} may not run in plan mode")
        if policy := self._session.get(name):
            return Verdict(_policy(policy), "session", f"decided for this session: {tool.name}")
        if explicit in (ALLOW, ASK):
            return Verdict(
                _policy(explicit), "tool_permissions", f"the policy of this agent is to {_NAMES[_policy(explicit)]}"
            )
        for rule in self._rules:
            if _matches(rule, tool, args):
                return Verdict(rule.policy, "permission_rules", f"rule {rule.tool} {rule.argument}".strip())
        return self._by_mode(tool)

    def _by_mode(self, tool: ToolInfo) -> Verdict:
        if self._mode == agent_pb2.PERMISSION_MODE_AUTO_APPROVE:
            return Verdict(ALLOW, "permission_mode", "every tool is approved")
        if self._mode == agent_pb2.PERMISSION_MODE_ALWAYS_ASK:
            return Verdict(ASK, "permission_mode", "every tool asks")
        if tool.read_only:
            return Verdict(ALLOW, "permission_mode", "the tool only reads")
        return Verdict(ASK, "permission_mode", f"{tool.name} changes something")


def _folded(name: str) -> str:
    """The tool that a name means in any letter case; an alias is the tool (a denial of it must not miss)."""
    folded = name.casefold()
    return ALIASES.get(folded, folded)


def _policy(value: int | None) -> common_pb2.PermissionPolicy:
    return {ALLOW: ALLOW, DENY: DENY}.get(value or 0, ASK)  # type: ignore[call-overload, no-any-return]


def _order(rule: agent_pb2.PermissionRule) -> tuple[int, int]:
    """DENY before ASK before ALLOW; the most literal characters first."""
    literal = sum(char not in "*?" for char in rule.tool + rule.argument)
    return (-int(rule.policy), -literal)


def _matches(rule: agent_pb2.PermissionRule, tool: ToolInfo, args: JsonObject) -> bool:
    if not fnmatch.fnmatchcase(tool.name.casefold(), _folded(rule.tool)):
        return False
    if not rule.argument:
        return True
    value = args.get(tool.main_argument)
    if not isinstance(value, str):
        return False
    if tool.main_argument == "command" and rule.policy == ALLOW and not _SIMPLE_COMMAND.fullmatch(value):
        return False  # string matching is a convenience, never the boundary
    return fnmatch.fnmatchcase(value, rule.argument)


def input_digest(tool: str, canonical_input: str, agent_id: str, policy_version: str, workspace: str) -> str:
    """What an approval is bound to (guarantee A2): SHA-256, 64 hex digits."""
    parts = (tool, canonical_input, agent_id, policy_version, workspace)
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
