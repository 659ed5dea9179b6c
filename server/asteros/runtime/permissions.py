"""May this tool run? The policy stands outside the model (security, part 10).

The checks go in the order of the contract; the first answer wins:
1 policy DENY, or a path outside the workspace; 2 plan mode; 3 a hook, which may also
change the input: then again from 1; 4 what a decision gave to the session; 5 ALLOW or
ASK for the tool; 6 rules (``permission_rules``); 7 the agent's mode."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from aster.v1 import agent_pb2
from asteros.runtime import permission_rules
from asteros.runtime.permission_rules import ALLOW as ALLOW
from asteros.runtime.permission_rules import ASK as ASK
from asteros.runtime.permission_rules import BUILTIN, workspace_path
from asteros.runtime.permission_rules import DENY as DENY
from asteros.tools.base import JsonObject, ToolInfo
from asteros.tools.plan import PLAN_FILE
from asteros.tools.registry import ALIASES

_log = logging.getLogger(__name__)
MAX_CHANGES = 8  # times that hooks may change the input of one call
_NAMES: dict[int, str] = {ALLOW: "allow", ASK: "ask", DENY: "deny"}
_PLAN_TOOLS = {"read", "ls", "glob", "grep", "websearch", "askuserquestion", "exitplanmode"}
_PATH_MEMBERS = ("file_path", "path", "working_dir", "plan_file_path")
# Read-only for what it changes here, and yet a way out for what the agent knows.
_REACHES_OUT = {"webfetch"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says about one call, and which rule said it."""

    policy: int  # ALLOW, ASK or DENY
    rule: str
    reason: str
    args: JsonObject | None = None  # what a hook made of the input; None: it is as it was

    @property
    def decision(self) -> str:
        return _NAMES[self.policy]

    @property
    def notable(self) -> bool:
        """Anything but a plain allow: it leaves a governance event."""
        return self.policy != ALLOW or self.args is not None


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What a hook says about a call: a policy, or other arguments, which are judged anew."""

    policy: int = 0  # ALLOW, ASK or DENY; 0: no opinion
    args: JsonObject | None = None  # fit for the tool
    rule: str = "hook"
    reason: str = "a hook decided"


# Rule 3: asked about every call that rules 1 and 2 leave; None is no opinion. A hook that
# raises denies the call.
Hook = Callable[[ToolInfo, JsonObject], Awaitable[HookAnswer | None]]


class Permissions:
    """The policy of one agent, as it was when its turn began."""

    def __init__(self, config: agent_pb2.AgentConfig, session_rules: Mapping[str, int]) -> None:
        self._policies: dict[str, int] = {}
        for name, policy in config.tool_permissions.items():
            # Of a name and its alias the stricter counts: DENY over ASK over ALLOW.
            self._policies[_folded(name)] = max(policy, self._policies.get(_folded(name), 0))
        self._session = {_folded(name): policy for name, policy in session_rules.items()}
        self._rules = permission_rules.Rules(config.permission_rules, _folded)
        self._mode = config.permission_mode
        # A session may enter and leave plan mode while its turn runs.
        self.in_plan = self._mode == agent_pb2.PERMISSION_MODE_PLAN
        digest = hashlib.sha256()
        digest.update(str(sorted(self._policies.items())).encode())
        for rule in self._rules.sealed():
            digest.update(rule)
        digest.update(str(int(self._mode)).encode())
        # Part of what an approval is bound to: another policy asks again.
        self.version = digest.hexdigest()[:16]

    def remember(self, tool: str, policy: int) -> None:
        """A decision with scope SESSION holds from now on."""
        self._session[_folded(tool)] = policy

    def denies(self, name: str) -> bool:
        """A policy denies the name, also where no such tool exists here (seed 001, fs_delete)."""
        return self._policies.get(_folded(name)) == DENY

    async def check(self, tool: ToolInfo, args: JsonObject, hook: Hook | None = None) -> Verdict:
        """The verdict on a call of a tool that the agent has, all rules considered."""
        if hook is None:
            return self.judge(tool, args)
        changed: JsonObject | None = None
        for _ in range(MAX_CHANGES + 1):
            now = args if changed is None else changed
            verdict = self._first(tool, now)
            answer = await _answer(hook, tool, now) if verdict is None else None
            if answer is not None and answer.args is not None and answer.args != now:
                changed = answer.args
                continue
            if verdict is None and answer is not None and answer.policy in _NAMES:
                verdict = Verdict(answer.policy, answer.rule, answer.reason)
            return replace(verdict or self._rest(tool, now), args=changed)
        return Verdict(DENY, "hook", f"the input of {tool.name} was changed again and again")

    def judge(self, tool: ToolInfo, args: JsonObject) -> Verdict:
        """The verdict without a hook."""
        return self._first(tool, args) or self._rest(tool, args)

    # -- 1 and 2: what nothing overrules ---------------------------------------------------

    def _first(self, tool: ToolInfo, args: JsonObject) -> Verdict | None:
        name = tool.name.casefold()
        if self._policies.get(name) == DENY:
            return Verdict(DENY, "tool_permissions", f"the policy of this agent denies {tool.name}")
        if _leaves(tool, args):
            return Verdict(DENY, "workspace", "the path leaves the workspace")
        if self.in_plan and not self._plans(name, args):
            return Verdict(DENY, "plan_mode", f"{tool.name} may not run like this in plan mode")
        return None

    def _plans(self, name: str, args: JsonObject) -> bool:
        """Plan mode looks, asks and writes its plan."""
        match name:
            case "webfetch":
                return str(args.get("method") or "GET").upper() == "GET" and not args.get("body")
            case "write":
                return workspace_path(str(args.get("file_path"))) == PLAN_FILE
            case "task":
                return str(args.get("subagent_type")).casefold() == "explore"
        return name in _PLAN_TOOLS

    # -- 4 to 7 ---------------------------------------------------------------------------

    def _rest(self, tool: ToolInfo, args: JsonObject) -> Verdict:
        name = tool.name.casefold()
        if policy := self._session.get(name):
            return Verdict(_policy(policy), "session", f"decided for this session: {tool.name}")
        explicit = self._policies.get(name)
        if explicit in (ALLOW, ASK):
            return Verdict(explicit, "tool_permissions", f"the policy of this agent is to {_NAMES[_policy(explicit)]}")
        if found := self._rules.match(tool, args):
            return Verdict(_policy(found.policy), "permission_rules", found.reason)
        return self._by_mode(tool, name)

    def _by_mode(self, tool: ToolInfo, name: str) -> Verdict:
        if self._mode == agent_pb2.PERMISSION_MODE_AUTO_APPROVE:
            return Verdict(ALLOW, "permission_mode", "every tool is approved")
        if self._mode == agent_pb2.PERMISSION_MODE_ALWAYS_ASK:
            return Verdict(ASK, "permission_mode", "every tool asks")
        if tool.harmless or (tool.read_only and name not in _REACHES_OUT):
            return Verdict(ALLOW, "permission_mode", "the tool only reads")
        return Verdict(ASK, "permission_mode", f"{tool.name} changes something")


async def _answer(hook: Hook, tool: ToolInfo, args: JsonObject) -> HookAnswer | None:
    try:
        return await hook(tool, args)
    except Exception:
        _log.exception("the permission hook failed for %s", tool.name)
        return HookAnswer(DENY, reason="the check of this call failed, so it was not run")


def _leaves(tool: ToolInfo, args: JsonObject) -> bool:
    """A built-in tool was given a path outside the workspace."""
    if tool.origin != BUILTIN:
        return False
    named = [args.get(member) for member in _PATH_MEMBERS]
    return any(isinstance(value, str) and workspace_path(value) is None for value in named)


def _folded(name: str) -> str:
    """The tool that a name means in any letter case; an alias is the tool (a denial of it must not miss)."""
    folded = name.casefold()
    return ALIASES.get(folded, folded)


def _policy(value: int | None) -> int:
    """A stored policy; what it does not know asks."""
    return value if value in _NAMES and value is not None else ASK


def input_digest(tool: str, canonical_input: str, agent_id: str, policy_version: str, workspace: str) -> str:
    """What an approval is bound to (guarantee A2): SHA-256, 64 hex digits."""
    parts = (tool, canonical_input, agent_id, policy_version, workspace)
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
