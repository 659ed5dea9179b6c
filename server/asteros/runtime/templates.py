"""Templates: the patterns agents are made from. Read-only, shared by all agents.

What an ``AgentConfig`` leaves unset comes from its template; an agent's own prompt
or tools never change the template (contract, part 6)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aster.v1 import agent_pb2, common_pb2
from asteros import errors

Config = agent_pb2.AgentConfig


@dataclass(frozen=True, slots=True)
class Template:
    """One pattern. ``defaults.model_config`` unset: the router chooses."""

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
        "researcher",
        "Researcher",
        "Finds out, compares sources and says where each fact comes from.",
        Config(
            system_prompt="You are a careful researcher. Look for more than one source, prefer the original ones, and "
            "name the source of every fact. Keep what you found and what you conclude apart; say what you could not "
            "find out.",
            tools=["WebSearch", "WebFetch", "filesystem", "TodoWrite", "AskUserQuestion"],
            middlewares=["filesystem", "summarization"],
        ),
        ("research-assistant",),
    ),
    Template(
        "data-analyst",
        "Data analyst",
        "Reads data, computes with programs and explains what the numbers say.",
        Config(
            system_prompt="You are a data analyst. Look at the data before you compute; compute with a program and "
            "never in your head; check totals. Say how sure a result is and what it does not show.",
            tools=["filesystem", "bash", "TodoWrite", "AskUserQuestion"],
            middlewares=["filesystem", "summarization"],
        ),
    ),
    Template(
        "planner",
        "Planner",
        "Looks and asks, then writes a plan for others; changes nothing.",
        Config(
            system_prompt="You plan and do not act. Read what is there, ask what is open, then write a plan of small "
            "steps: for each what is to be done, where, how one sees that it is done, and what it depends on. When "
            "the plan is whole, offer it with ExitPlanMode.",
            tools=["Read", "Ls", "Glob", "Grep", "Write", "AskUserQuestion", "ExitPlanMode"],
            permission_mode=agent_pb2.PERMISSION_MODE_PLAN,
        ),
        ("plan",),
    ),
    Template(
        "explore",
        "Explorer",
        "Finds its way through files and reports; only reads.",
        Config(
            system_prompt="You explore a folder to answer a question about it. Search wide, read what matters, and "
            "report in a few lines with paths and line numbers. You change nothing.",
            tools=["Read", "Ls", "Glob", "Grep"],
        ),
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


class More(Protocol):
    """Templates that may change; see ``template_files``."""

    def changed(self) -> bool: ...

    def all(self) -> Iterable[Template]: ...


class TemplateRegistry:
    """Templates by id and alias. One of ``more`` wins over a built-in one of the same id."""

    def __init__(self, templates: Iterable[Template] = BUILTIN, more: More | None = None) -> None:
        self._own = tuple(templates)
        self._more = more
        self._templates: Mapping[str, Template] = {}
        self._gather()

    def _gather(self) -> None:
        named = [*self._own, *(self._more.all() if self._more else ())]
        found = {alias: template for template in named for alias in template.aliases}
        # An id is never hidden by an alias of another template.
        self._templates = found | {template.id: template for template in named}

    def _current(self) -> Mapping[str, Template]:
        if self._more is not None and self._more.changed():
            self._gather()
        return self._templates

    def all(self) -> list[Template]:
        """Every template once, by id."""
        current = self._current()
        return [current[template_id] for template_id in sorted({template.id for template in current.values()})]

    def get(self, template_id: str) -> Template:
        """
        :raises TemplateNotFound:"""
        template = self._current().get(template_id)
        if template is None:
            raise errors.TemplateNotFound(template_id)
        return template

    def resolve(self, config: Config, route: Callable[[str], agent_pb2.ModelConfig]) -> Config:
        """The config in effect: what is set, else the template's.

        Entries of maps are taken one by one, and permission rules are added to the agent's
        own. ``route`` gives the model of a routing profile: where one is named, and where
        the template has no model of its own."""
        defaults = self.get(config.template_id).defaults
        resolved = Config()
        resolved.CopyFrom(config)
        if not resolved.HasField("model_config"):
            routed = config.routing_profile or not defaults.HasField("model_config")
            profile = config.routing_profile or defaults.routing_profile
            resolved.model_config.CopyFrom(route(profile) if routed else defaults.model_config)
        _fill(resolved, defaults)
        return resolved


def _fill(config: Config, defaults: Config) -> None:
    """Every field that is not set becomes the template's."""
    given = {field.name for field, _ in config.ListFields()}
    for field, value in defaults.ListFields():
        target = getattr(config, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in value:
                if key not in target:
                    target[key] = value[key]
        elif field.name == "permission_rules":
            target.extend(value)
        elif field.name in given:
            continue
        elif field.is_repeated:
            target.extend(value)
        elif field.message_type is not None:
            target.CopyFrom(value)
        else:
            setattr(config, field.name, value)
