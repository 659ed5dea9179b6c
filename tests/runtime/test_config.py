"""The config in effect: what is set, else the template's, else the server's model."""

import pytest
from runtime.helpers import World

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.runtime.templates import BUILTIN, Template, TemplateRegistry

pytestmark = pytest.mark.anyio

ALLOW, DENY = common_pb2.PERMISSION_POLICY_ALLOW, common_pb2.PERMISSION_POLICY_DENY
Config = agent_pb2.AgentConfig
SERVER = agent_pb2.ModelConfig(provider="p", model="server's")
FULL = Template(
    "full",
    "",
    "",
    Config(
        system_prompt="template's",
        tools=["Read"],
        middlewares=["filesystem"],
        tool_permissions={"Read": ALLOW, "Write": DENY},
        permission_mode=agent_pb2.PERMISSION_MODE_ALWAYS_ASK,
        model_config=agent_pb2.ModelConfig(model="template's"),
    ),
    ("filled",),
)
REGISTRY = TemplateRegistry([FULL, Template("empty", "", "", Config())])


def _resolved(template_id: str, **config: object) -> Config:
    return REGISTRY.resolve(Config(template_id=template_id, **config), lambda profile: SERVER)


@pytest.mark.parametrize("name", ["full", "filled"])
def test_what_is_unset_comes_from_the_template(name: str) -> None:
    found = _resolved(name)
    assert (found.system_prompt, list(found.tools), found.model_config.model) == ("template's", ["Read"], "template's")
    assert dict(found.tool_permissions) == {"Read": ALLOW, "Write": DENY}
    assert found.permission_mode == agent_pb2.PERMISSION_MODE_ALWAYS_ASK
    assert list(found.middlewares) == ["filesystem"]


def test_what_is_set_counts() -> None:
    found = _resolved(
        "full",
        system_prompt="mine",
        tools=["Ls"],
        tool_permissions={"Write": ALLOW},
        permission_mode=agent_pb2.PERMISSION_MODE_PLAN,
        model_config=agent_pb2.ModelConfig(model="mine"),
        iteration_limit=0,
    )
    assert (found.system_prompt, list(found.tools), found.model_config.model) == ("mine", ["Ls"], "mine")
    assert dict(found.tool_permissions) == {"Read": ALLOW, "Write": ALLOW}
    assert found.permission_mode == agent_pb2.PERMISSION_MODE_PLAN
    assert found.HasField("iteration_limit")


def test_then_the_servers_model() -> None:
    assert _resolved("empty").model_config == SERVER


def test_a_template_is_never_changed() -> None:
    before = FULL.defaults.SerializeToString(deterministic=True)
    found = _resolved("full")
    found.tools.append("Bash")
    found.tool_permissions["x"] = DENY
    found.model_config.model = "other"
    assert FULL.defaults.SerializeToString(deterministic=True) == before
    assert list(_resolved("full").tools) == ["Read"]
    assert SERVER.model == "server's"


def test_unknown_templates_are_refused() -> None:
    with pytest.raises(errors.TemplateNotFound):
        _resolved("nobody")


ALIASES = {
    "general-assistant": "assistant",
    "default-agent": "assistant",
    "chat-template": "chat",
    "code-generator": "code-assistant",
    "coder": "code-assistant",
    "research-assistant": "researcher",
    "plan": "planner",
}
# The contract, part 6.
NAMES = ["assistant", "chat", "code-assistant", "data-analyst", "demo", "explore", "planner", "researcher"]


def test_the_templates_of_the_contract() -> None:
    assert [template.id for template in TemplateRegistry().all()] == NAMES


def test_every_field_that_is_unset_comes_from_the_template() -> None:
    mine, theirs = (agent_pb2.PermissionRule(tool=name, policy=DENY) for name in ("mine", "theirs"))
    full = Template(
        "all",
        "",
        "",
        Config(
            iteration_limit=7,
            turn_budget=common_pb2.Budget(max_steps=3),
            session_budget=common_pb2.Budget(max_steps=9),
            expose_thinking=True,
            routing_profile="cost",
            middleware_config_json={"filesystem": "{}", "hitl": "{}"},
            permission_rules=[theirs],
            sandbox=agent_pb2.SandboxConfig(work_dir="shared"),
        ),
    )
    asked: list[str] = []

    def route(profile: str) -> agent_pb2.ModelConfig:
        asked.append(profile)
        return SERVER

    own = Config(
        template_id="all",
        turn_budget=common_pb2.Budget(max_steps=5),
        middleware_config_json={"hitl": '{"ask": []}'},
        permission_rules=[mine],
    )
    found = TemplateRegistry([full]).resolve(own, route)
    assert (found.iteration_limit, found.expose_thinking, found.sandbox.work_dir) == (7, True, "shared")
    assert (found.turn_budget.max_steps, found.session_budget.max_steps) == (5, 9)
    assert dict(found.middleware_config_json) == {"filesystem": "{}", "hitl": '{"ask": []}'}
    assert [rule.tool for rule in found.permission_rules] == ["mine", "theirs"], "a template's deny is not lost"
    assert asked == ["cost"]


@pytest.mark.parametrize(("alias", "template_id"), ALIASES.items())
def test_aliases_of_the_contract(alias: str, template_id: str) -> None:
    registry = TemplateRegistry()
    assert registry.get(alias) is registry.get(template_id)
    assert registry.get(template_id).id == template_id


@pytest.mark.parametrize("template", BUILTIN, ids=lambda template: template.id)
async def test_every_builtin_template_makes_an_agent_that_answers(world: World, template: Template) -> None:
    model = agent_pb2.ModelConfig(provider="scripted", model="echo")
    agent = await world.agent(template_id=template.id, model_config=model, tools=[])
    assert agent.config.system_prompt == template.defaults.system_prompt
    assert (await world.turn(agent, "hello")).reply.content[0].text == "hello"


async def test_new_settings_count_from_the_next_turn_on(world: World) -> None:
    agent = await world.agent(["ok"])
    changed = agent_pb2.Agent()
    changed.CopyFrom(agent.row.agent)
    changed.config.model_config.model = world.script(["new"], name="new")
    agent.updated(changed)
    assert (await world.turn(agent)).reply.content[0].text == "new"
