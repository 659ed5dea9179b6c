"""All tools of a server, by name and by group."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asteros.errors import ToolNotFound
from asteros.sandbox.outbound import Outbound
from asteros.tools.ask_user import AskUserQuestion
from asteros.tools.base import JsonObject, Tool
from asteros.tools.edit import Edit
from asteros.tools.files import Ls, Read, Write
from asteros.tools.glob import Glob
from asteros.tools.grep import Grep
from asteros.tools.inputs import BadToolInput as BadToolInput
from asteros.tools.inputs import InputCheck
from asteros.tools.mcp import McpServers
from asteros.tools.mcp_tools import ListMcpResources, ReadMcpResource
from asteros.tools.plan import EnterPlanMode, ExitPlanMode
from asteros.tools.search import SearchBackend, WebSearch
from asteros.tools.shell import Bash
from asteros.tools.shell_output import BashOutput, KillShell
from asteros.tools.skill import Skill
from asteros.tools.strict_json import canonical
from asteros.tools.task import Task
from asteros.tools.todo import TodoWrite
from asteros.tools.web import WebFetch

ALL = "*"
# The names of the documentation's older examples (contract, part 6).
ALIASES = {
    "fs_read": "read",
    "fs_write": "write",
    "fs_edit": "edit",
    "fs_ls": "ls",
    "fs_glob": "glob",
    "fs_grep": "grep",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what every model provider takes


@dataclass(frozen=True, slots=True)
class Kit:
    """What built-in tools work with where the operator has set it up."""

    outbound: Outbound | None = None
    search: SearchBackend | None = None
    skill: Skill | None = None
    mcp: McpServers | None = None


class ToolRegistry:
    """Tools by name; shared by all agents. Names ignore letter case.

    What it is made with stays; besides, sources such as MCP servers offer tools that come
    and go. A turn has the tools there were when it began."""

    canonical = staticmethod(canonical)

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """Raises ValueError for a bad, repeated or reserved name."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            self._tools[self._free(tool, self._tools)] = tool
        self._offered: dict[str, dict[str, Tool]] = {}  # by source and name
        # A cache, and so the one thing that grows: schemas are compiled when first needed.
        self._checks: dict[str, InputCheck] = {}

    @classmethod
    def builtin(cls, kit: Kit | None = None) -> "ToolRegistry":
        """The tools every server has; without their part of the kit some answer that it is missing."""
        kit = kit or Kit()
        servers = kit.mcp or McpServers()
        files = (Read(), Write(), Edit(), Glob(), Grep(), Ls())
        shells = (Bash(), BashOutput(), KillShell())
        people = (TodoWrite(), AskUserQuestion(), EnterPlanMode(), ExitPlanMode(), Task())
        web = (WebFetch(kit.outbound), WebSearch(kit.search))
        return cls(
            (
                *files,
                *shells,
                *people,
                *web,
                ListMcpResources(servers),
                ReadMcpResource(servers),
                kit.skill or Skill(),
            )
        )

    def with_tools(self, *tools: Tool) -> "ToolRegistry":
        """A registry with these tools besides; ValueError as in the constructor."""
        return ToolRegistry((*self.all(), *tools))

    def offer(self, source: str, tools: Iterable[Tool]) -> None:
        """Puts these in the place of what the source offered before.

        ``source`` is what their names begin with, and their group: "mcp__files". From the
        first offer on, even an empty one, such names may be given to agents.
        Raises ValueError for a bad, repeated or reserved name."""
        offered: dict[str, Tool] = {}
        for tool in tools:
            offered[self._free(tool, {**self._tools, **offered})] = tool
        self._offered[source.casefold()] = offered

    def all(self) -> tuple[Tool, ...]:
        """Every tool: in the order of registration, then those that are offered."""
        offered = [tool for tools in self._offered.values() for tool in tools.values()]
        return (*self._tools.values(), *offered)

    def get(self, name: str) -> Tool | None:
        """The tool of a name or an alias, in any letter case."""
        folded = name.casefold()
        folded = ALIASES.get(folded, folded)
        found = (tools[folded] for tools in self._offered.values() if folded in tools)
        return self._tools.get(folded) or next(found, None)

    def select(self, names: Sequence[str]) -> tuple[Tool, ...]:
        """The tools that names, aliases and group names stand for; each once, as first named.

        "*" is every tool. A name in its exact spelling is a tool before it is a group:
        "Bash" is one tool, "bash" is its group. A name of a source that offers no such tool
        at present stands for nothing. Raises ToolNotFound."""
        chosen: dict[str, Tool] = {}
        for name in names:
            for tool in self._named(name):
                chosen.setdefault(tool.info.name, tool)
        return tuple(chosen.values())

    def parse_input(self, tool: Tool, input_json: str) -> JsonObject:
        """The arguments of a call: strict JSON, aliases replaced, schema kept.

        Raises BadToolInput with one sentence for the model."""
        check = self._checks.get(tool.info.name)
        if check is None or check.info is not tool.info:
            check = self._checks[tool.info.name] = InputCheck(tool.info)
        return check.read(input_json)

    def _named(self, name: str) -> Sequence[Tool]:
        tool = self.get(name)
        if tool is not None and tool.info.name == name:
            return (tool,)
        folded = name.casefold()
        group = [tool for tool in self.all() if folded in (ALL, *map(str.casefold, tool.info.groups))]
        if group:
            return group
        if tool is not None:
            return (tool,)
        if any(folded == source or folded.startswith(f"{source}__") for source in self._offered):
            return ()
        raise ToolNotFound(name)

    @staticmethod
    def _free(tool: Tool, taken: Mapping[str, Tool]) -> str:
        """The folded name of a tool, which must be good and not taken."""
        name = tool.info.name
        folded = name.casefold()
        if not _NAME.fullmatch(name):
            raise ValueError(f"bad tool name {name!r}: letters, digits, _ and -, at most 64")
        if folded in taken or folded in ALIASES:
            raise ValueError(f"a tool named {name} is registered already")
        return folded
