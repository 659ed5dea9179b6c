"""All tools of a server, by name and by group."""

import re
from collections.abc import Iterable, Sequence

from asteros.errors import ToolNotFound
from asteros.tools.ask_user import AskUserQuestion
from asteros.tools.base import JsonObject, Tool
from asteros.tools.files import Ls, Read, Write
from asteros.tools.inputs import BadToolInput as BadToolInput
from asteros.tools.inputs import InputCheck
from asteros.tools.shell import Bash
from asteros.tools.strict_json import canonical

ALL = "*"
# The names of the documentation's older examples (contract, part 6).
ALIASES = {"fs_read": "read", "fs_write": "write", "fs_ls": "ls"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what every model provider takes


class ToolRegistry:
    """Tools by name; shared by all agents, never changed. Names ignore letter case."""

    canonical = staticmethod(canonical)

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        """Raises ValueError for a bad, repeated or reserved name."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            name = tool.info.name
            folded = name.casefold()
            if not _NAME.fullmatch(name):
                raise ValueError(f"bad tool name {name!r}: letters, digits, _ and -, at most 64")
            if folded in self._tools or folded in ALIASES:
                raise ValueError(f"a tool named {name} is registered already")
            self._tools[folded] = tool
        # A cache, and so the one thing that grows: schemas are compiled when first needed.
        self._checks: dict[str, InputCheck] = {}

    @classmethod
    def builtin(cls) -> "ToolRegistry":
        """The tools every server has."""
        return cls((Read(), Write(), Ls(), Bash(), AskUserQuestion()))

    def with_tools(self, *tools: Tool) -> "ToolRegistry":
        """A registry with these tools besides; ValueError as in the constructor."""
        return ToolRegistry((*self.all(), *tools))

    def all(self) -> tuple[Tool, ...]:
        """Every tool, in the order of registration."""
        return tuple(self._tools.values())

    def get(self, name: str) -> Tool | None:
        """The tool of a name or an alias, in any letter case."""
        folded = name.casefold()
        return self._tools.get(ALIASES.get(folded, folded))

    def select(self, names: Sequence[str]) -> tuple[Tool, ...]:
        """The tools that names, aliases and group names stand for; each once, as first named.

        "*" is every tool. A name in its exact spelling is a tool before it is a group:
        "Bash" is one tool, "bash" is its group. Raises ToolNotFound."""
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
        if tool is None:
            raise ToolNotFound(name)
        return (tool,)
