"""ToolService: what agents can be given."""

import json

from aster.v1 import tool_service_pb2 as pb
from asteros import errors
from asteros.services.call import Call
from asteros.services.paging import Pages
from asteros.tools.base import Tool
from asteros.tools.registry import ToolRegistry


class ToolsServicer:
    """Check and translate; the tools of MCP servers come and go while they are connected."""

    def __init__(self, tools: ToolRegistry, pages: Pages) -> None:
        self._tools = tools
        self._pages = pages

    async def ListTools(self, request: pb.ListToolsRequest, call: Call) -> pb.ListToolsResponse:
        size, after = self._pages.size(request), self._pages.start(call, request)
        # By name, so that a page begins behind the one before even when tools have come or gone.
        rest = sorted((tool for tool in self._tools.all() if tool.info.name > after), key=lambda tool: tool.info.name)
        response = pb.ListToolsResponse(tools=map(_view, rest[:size]))
        if len(rest) > size:
            response.next_page_token = self._pages.token(call, request, rest[size - 1].info.name)
        return response

    async def GetTool(self, request: pb.GetToolRequest, call: Call) -> pb.GetToolResponse:  # noqa: ARG002
        tool = self._tools.get(request.tool_name)
        if tool is None:
            raise errors.ToolNotFound(request.tool_name)
        return pb.GetToolResponse(tool=_view(tool))


def _view(tool: Tool) -> pb.Tool:
    info = tool.info
    return pb.Tool(
        name=info.name,
        description=info.description,
        input_schema_json=json.dumps(info.input_schema, ensure_ascii=False),
        read_only=info.read_only,
        rerun_policy=info.rerun.value,
        groups=info.groups,
        origin=info.origin,
    )
