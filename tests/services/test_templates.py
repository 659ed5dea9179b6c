"""TemplateService: what agents can be made from, the operator's own folder among it."""

from pathlib import Path
from typing import Any

import pytest
from services.helpers import Server, pages, refused, serving

from aster.v1 import agent_service_pb2 as agents
from aster.v1 import server_service_pb2 as info
from aster.v1 import template_service_pb2 as pb
from aster.v1 import template_service_pb2_grpc

pytestmark = pytest.mark.anyio
BUILTIN = ["assistant", "chat", "code-assistant", "data-analyst", "demo", "explore", "planner", "researcher"]


def stub(server: Server) -> Any:
    return template_service_pb2_grpc.TemplateServiceStub(server.channel)


async def test_every_template_by_id_in_pages(server: Server) -> None:
    found = await pages(stub(server).ListTemplates, pb.ListTemplatesRequest(page_size=3), "templates")
    assert [len(page) for page in found] == [3, 3, 2]
    listed = [template for page in found for template in page]
    assert [template.id for template in listed] == BUILTIN
    assert all(template.display_name and template.description for template in listed)


@pytest.mark.parametrize("name", [*BUILTIN, "general-assistant", "plan"])
async def test_one_template_and_an_agent_of_it(server: Server, name: str) -> None:
    shown = (await stub(server).GetTemplate(pb.GetTemplateRequest(template_id=name))).template
    agent_id = await server.agent(template_id=name)
    agent = (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent
    assert len(agent.middleware_order) == len(shown.defaults.middlewares)
    assert shown.defaults.template_id == ""


async def test_refusals(server: Server) -> None:
    call = stub(server).GetTemplate(pb.GetTemplateRequest(template_id="nobody"))
    await refused(call, "NOT_FOUND", "TEMPLATE_NOT_FOUND", "ResourceInfo")


async def test_templates_forks_and_middlewares_are_no_longer_missing(server: Server) -> None:
    told = (await server.info.GetServerInfo(info.GetServerInfoRequest())).server.unavailable_features
    assert {"templates", "fork_session", "middleware.summarization"}.isdisjoint(told)


async def test_a_folder_of_templates(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "writer.yaml").write_text("defaults: {systemPrompt: You write., middlewares: [summarization, todolist]}")
    async with serving(tmp_path, templates_dir=folder) as server:
        listed = (await stub(server).ListTemplates(pb.ListTemplatesRequest())).templates
        assert [template.id for template in listed] == [*BUILTIN, "writer"]
        agent_id = await server.agent(template_id="writer")
        agent = (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent
        assert list(agent.middleware_order) == ["summarization", "todolist"]
