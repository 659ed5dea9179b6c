"""TemplateService: the patterns agents are made from."""

from aster.v1 import template_service_pb2 as pb
from asteros.runtime.templates import Template, TemplateRegistry
from asteros.services.call import Call
from asteros.services.paging import Pages


class TemplatesServicer:
    """Check and translate."""

    def __init__(self, templates: TemplateRegistry, pages: Pages) -> None:
        self._templates = templates
        self._pages = pages

    async def ListTemplates(self, request: pb.ListTemplatesRequest, call: Call) -> pb.ListTemplatesResponse:
        size, after = self._pages.size(request), self._pages.start(call, request)
        # By id, so that a page begins behind the one before even when files have changed.
        rest = [template for template in self._templates.all() if template.id > after]
        response = pb.ListTemplatesResponse(templates=map(_view, rest[:size]))
        if len(rest) > size:
            response.next_page_token = self._pages.token(call, request, rest[size - 1].id)
        return response

    async def GetTemplate(self, request: pb.GetTemplateRequest, call: Call) -> pb.GetTemplateResponse:  # noqa: ARG002
        """By id or alias."""
        return pb.GetTemplateResponse(template=_view(self._templates.get(request.template_id)))


def _view(template: Template) -> pb.Template:
    return pb.Template(
        id=template.id,
        display_name=template.display_name,
        description=template.description,
        defaults=template.defaults,
    )
