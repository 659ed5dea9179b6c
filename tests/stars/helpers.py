"""Stars on a server in this process, with members that play scripts."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from services.helpers import LIMIT, Server

from aster.v1 import agent_pb2, event_pb2, event_service_pb2
from aster.v1 import stars_service_pb2 as pb

Action = str | Mapping[str, Any]
AUTO = agent_pb2.PERMISSION_MODE_AUTO_APPROVE


def give(member: str, task: str, call_id: str) -> Action:
    return {"tool": {"name": "delegate", "input": {"member": member, "task": task}, "id": call_id}}


def ask(member: str, question: str, call_id: str) -> Action:
    return {"tool": {"name": "ask", "input": {"member": member, "question": question}, "id": call_id}}


def tell(text: str, call_id: str) -> Action:
    return {"tool": {"name": "broadcast", "input": {"text": text}, "id": call_id}}


def finish(answer: str, call_id: str = "end") -> Action:
    return {"tool": {"name": "finish", "input": {"answer": answer}, "id": call_id}}


def script(server: Server, name: str, *steps: Sequence[Action]) -> str:
    """Writes a script; the model that plays it."""
    played = [[{"text": each} if isinstance(each, str) else dict(each) for each in step] for step in steps]
    return server.script(name, yaml.safe_dump(played))


async def star_of(server: Server, members: Mapping[str, Sequence[Sequence[Action]] | str], **fields: Any) -> str:
    """A Star with these members, each an agent of that name that plays its steps, or a model; "boss" leads."""
    for name, plays in members.items():
        model = plays if isinstance(plays, str) else script(server, name, *plays)
        await server.agent(model, agent_id=name, permission_mode=AUTO)
    request = pb.CreateStarRequest(star_id=fields.pop("star_id", "team"), **fields)
    for name in members:
        request.members.add(agent_id=name, role="leader" if name == "boss" else "")
    return (await server.stars.CreateStar(request)).star.id


async def run(server: Server, star_id: str = "team", message: str = "go", **fields: Any) -> pb.RunStarResponse:
    async with asyncio.timeout(LIMIT):
        return await server.stars.RunStar(pb.RunStarRequest(star_id=star_id, message=message, **fields))


async def said(server: Server, star_id: str = "team") -> list[str]:
    """What was said, one line each: who to whom, and the words."""
    listed = await server.stars.ListStarMessages(pb.ListStarMessagesRequest(star_id=star_id))
    return [f"{one.from_member or '-'} > {one.to_member or '-'}: {one.text}" for one in listed.messages]


async def events(server: Server, star_id: str = "team") -> list[event_pb2.Event]:
    """Everything the Star has caused, in the order of the log."""
    request = event_service_pb2.ListEventsRequest(page_size=1000)
    listed = await server.events.ListEvents(request)
    return [frame.event for frame in listed.frames if frame.event.star_id == star_id]


def results(found: Sequence[event_pb2.Event]) -> dict[str, Any]:
    """What tool calls came to, by their ids."""
    ends = [event.progress.tool_end.result for event in found if event.event_type == "progress.tool_end"]
    return {end.call_id: json.loads(end.output_json) for end in ends}
