"""The tools of one agent, chosen by its config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2
from asteros.providers.base import ToolSpec
from asteros.tools.base import Tool
from asteros.tools.registry import ToolRegistry

# Who delegates, and who speaks to people or to other members of a Star.
_NOT_FOR_HELPERS = (
    "task",
    "askuserquestion",
    "enterplanmode",
    "exitplanmode",
    "delegate",
    "ask",
    "broadcast",
    "finish",
)


@dataclass(frozen=True, slots=True)
class AgentTools:
    """An agent's tools by folded name, and as its model sees them."""

    by_name: Mapping[str, Tool]
    specs: Sequence[ToolSpec]

    @classmethod
    def of(
        cls,
        registry: ToolRegistry,
        config: agent_pb2.AgentConfig,
        brought: Sequence[str] = (),
        own: Sequence[Tool] = (),
    ) -> "AgentTools":
        """Those of the config, those its middlewares name (``brought``) and bring themselves (``own``).

        :raises ToolNotFound: the config names a tool that does not exist."""
        denied = {
            name.casefold()
            for name, policy in config.tool_permissions.items()
            if policy == common_pb2.PERMISSION_POLICY_DENY
        }
        chosen = [*registry.select([*config.tools, *brought]), *own]
        by_name = {tool.info.name.casefold(): tool for tool in chosen}
        # A denied tool stays callable, so that the refusal is audited, but is not offered.
        specs = [
            ToolSpec(tool.info.name, tool.info.description, json.dumps(tool.info.input_schema))
            for name, tool in by_name.items()
            if name not in denied
        ]
        return cls(by_name, specs)

    def for_helper(self, *, read_only: bool) -> "AgentTools":
        """Those that a delegated turn gets: it neither delegates nor talks to people itself."""
        by_name = {
            name: tool
            for name, tool in self.by_name.items()
            if name not in _NOT_FOR_HELPERS and (tool.info.read_only or not read_only)
        }
        return AgentTools(by_name, [spec for spec in self.specs if spec.name.casefold() in by_name])
