"""The tools of one agent, chosen by its config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2
from asteros import middleware
from asteros.providers.base import ToolSpec
from asteros.tools.base import Tool
from asteros.tools.registry import ToolRegistry


@dataclass(frozen=True, slots=True)
class AgentTools:
    """An agent's tools by folded name, and as its model sees them."""

    by_name: Mapping[str, Tool]
    specs: Sequence[ToolSpec]

    @classmethod
    def of(cls, registry: ToolRegistry, config: agent_pb2.AgentConfig) -> "AgentTools":
        """
        :raises ToolNotFound: the config names a tool that does not exist."""
        denied = {
            name.casefold()
            for name, policy in config.tool_permissions.items()
            if policy == common_pb2.PERMISSION_POLICY_DENY
        }
        chosen = registry.select([*config.tools, *middleware.tools(config.middlewares)])
        by_name = {tool.info.name.casefold(): tool for tool in chosen}
        # A denied tool stays callable, so that the refusal is audited, but is not offered.
        specs = [
            ToolSpec(tool.info.name, tool.info.description, json.dumps(tool.info.input_schema))
            for name, tool in by_name.items()
            if name not in denied
        ]
        return cls(by_name, specs)
