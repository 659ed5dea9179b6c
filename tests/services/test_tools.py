"""ToolService, and ControlTool over the wire."""

import json
import sys
from pathlib import Path

import pytest
from services.helpers import Server, pages, refused, serving

from aster.v1 import agent_service_pb2, common_pb2, control_service_pb2, tool_service_pb2, tool_service_pb2_grpc
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stub(server: Server) -> tool_service_pb2_grpc.ToolServiceStub:
    return tool_service_pb2_grpc.ToolServiceStub(server.channel)


async def test_every_tool_in_pages_by_name(stub: tool_service_pb2_grpc.ToolServiceStub) -> None:
    found = await pages(stub.ListTools, tool_service_pb2.ListToolsRequest(page_size=5), "tools")
    names = [tool.name for page in found for tool in page]
    assert names == sorted(tool.info.name for tool in ToolRegistry.builtin().all())
    assert {len(page) for page in found[:-1]} == {5}


async def test_one_tool(stub: tool_service_pb2_grpc.ToolServiceStub) -> None:
    tool = (await stub.GetTool(tool_service_pb2.GetToolRequest(tool_name="fs_read"))).tool
    assert (tool.name, tool.read_only, tool.rerun_policy, tool.pausable) == ("Read", True, "safe", False)
    assert (list(tool.groups), tool.origin) == (["filesystem"], "builtin")
    assert json.loads(tool.input_schema_json)["required"] == ["file_path"]
    assert tool.description.startswith("Reads a text file")


async def test_no_such_tool(stub: tool_service_pb2_grpc.ToolServiceStub) -> None:
    call = stub.GetTool(tool_service_pb2.GetToolRequest(tool_name="fs_delete"))
    refusal = await refused(call, "NOT_FOUND", "TOOL_NOT_FOUND", "ResourceInfo")
    assert refusal.metadata == {"tool": "fs_delete"}


async def test_mcp_servers_do_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(
        json.dumps(
            {"mcpServers": {"slow": {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}}}
        )
    )
    async with serving(tmp_path, mcp_config=config) as server:
        await server.agent(tools=["mcp__slow__later"])  # may be named before it is there
        stub = tool_service_pb2_grpc.ToolServiceStub(server.channel)
        listed = await stub.ListTools(tool_service_pb2.ListToolsRequest())
        assert not any(tool.name.startswith("mcp__") for tool in listed.tools)


async def test_stopping_a_tool(server: Server) -> None:
    script = "- - tool: {name: AskUserQuestion, id: call_ask, input: {questions: [{question: why}]}}\n- - text: end\n"
    agent_id = await server.agent(server.script("asks", script), tools=["AskUserQuestion"])
    sent = await server.agents.Send(agent_service_pb2.SendRequest(agent_id=agent_id, message="go"))
    await server.seen(agent_id, "control.user_input_request")
    request = control_service_pb2.ControlToolRequest(agent_id=agent_id, call_id="call_ask", action=3)  # type: ignore[arg-type]
    answer = await server.control.ControlTool(request)
    assert answer.state == common_pb2.TOOL_CALL_STATE_CANCELED
    turn = await server.ended(agent_id, sent.turn.id)
    assert turn.reply.content[0].text == "end"
    controlled = (await server.seen(agent_id, "control.tool_control")).control.tool_control
    assert (controlled.call_id, controlled.state) == ("call_ask", common_pb2.TOOL_CALL_STATE_CANCELED)
    await refused(server.control.ControlTool(request), "FAILED_PRECONDITION", "WRONG_STATE", "PreconditionFailure")
    request.call_id = "nothing"
    await refused(server.control.ControlTool(request), "NOT_FOUND", "TOOL_CALL_NOT_FOUND", "ResourceInfo")
    request.action = control_service_pb2.TOOL_ACTION_UNSPECIFIED
    await refused(server.control.ControlTool(request), "INVALID_ARGUMENT", "FIELD_VIOLATION", "BadRequest")
