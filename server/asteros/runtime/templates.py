"""Templates: the patterns agents are made from. Read-only, shared by all agents.

What an ``AgentConfig`` leaves unset comes from its template; an agent's own prompt
or tools never change the template (contract, part 6)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aster.v1 import agent_pb2, common_pb2
from asteros import errors

Config = agent_pb2.AgentConfig


@dataclass(frozen=True, slots=True)
class Template:
    """One pattern. ``defaults.model_config`` unset: the server's default model."""

    id: str
    display_name: str
    description: str
    defaults: Config
    aliases: tuple[str, ...] = ()


_HELPFUL = "You are a helpful assistant. Use the tools you have; say plainly what you did and what failed."

BUILTIN = (
    Template(
        "assistant",
        "Assistant",
        "Answers, reads and writes files, asks when it needs to know.",
        Config(system_prompt=_HELPFUL, tools=["filesystem", "AskUserQuestion"]),
        ("general-assistant", "default-agent"),
    ),
    Template(
        "chat",
        "Chat",
        "Talks, without tools.",
        Config(system_prompt="You are a friendly and precise conversation partner."),
        ("chat-template",),
    ),
    Template(
        "code-assistant",
        "Code assistant",
        "Reads and changes code in its working folder.",
        Config(
            system_prompt="You are a careful software engineer. Read before you change; change as little as needed.",
            tools=["filesystem", "bash", "AskUserQuestion"],
        ),
        ("code-generator", "coder"),
    ),
    Template(
        "demo",
        "Demo",
        "Works without a model key: does what it is told in plain forms, with real tools.",
        Config(
            model_config=agent_pb2.ModelConfig(provider="scripted", model="demo"),
            tools=["filesystem", "bash", "AskUserQuestion"],
            # It writes into a folder of its own, and a first minute should not begin with a question.
            tool_permissions={"Write": common_pb2.PERMISSION_POLICY_ALLOW},
        ),
    ),
)


class TemplateRegistry:
    """Templates by id and alias."""

    def __init__(self, templates: Iterable[Template] = BUILTIN) -> None:
        found: dict[str, Template] = {}
        for template in templates:
            for name in (template.id, *template.aliases):
                found[name] = template
        self._templates: Mapping[str, Template] = found

    def get(self, template_id: str) -> Template:
        """
        :raises TemplateNotFound:"""
        template = self._templates.get(template_id)
        if template is None:
            raise errors.TemplateNotFound(template_id)
        return template

    def resolve(self, config: Config, default_model: agent_pb2.ModelConfig) -> Config:
        """The config in effect: what is set, else the template's, else the server's model."""
        defaults = self.get(config.template_id).defaults
        resolved = Config()
        resolved.CopyFrom(config)
        if not resolved.HasField("model_config"):
            model = defaults.model_config if defaults.HasField("model_config") else default_model
            resolved.model_config.CopyFrom(model)
        if not resolved.tools:
            resolved.tools.extend(defaults.tools)
        if not resolved.middlewares:
            resolved.middlewares.extend(defaults.middlewares)
        resolved.system_prompt = resolved.system_prompt or defaults.system_prompt
        for tool, policy in defaults.tool_permissions.items():
            if tool not in config.tool_permissions:
                resolved.tool_permissions[tool] = policy
        resolved.permission_mode = resolved.permission_mode or defaults.permission_mode
        return resolved
