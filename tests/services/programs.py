"""A program that dials in through Studio with a generated client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from services.helpers import LIMIT, Metadata, Server

from aster.v1 import agent_pb2, event_pb2, studio_service_pb2_grpc
from aster.v1 import agent_service_pb2 as agents
from aster.v1 import event_service_pb2 as events
from aster.v1 import studio_service_pb2 as pb


class Program:
    """One connection. Questions are answered one after the other."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata = ()) -> None:
        self.call = studio_service_pb2_grpc.StudioServiceStub(channel).ConnectAgents(metadata=metadata)
        self._numbers = 0

    async def send(self, **said: Any) -> str:
        self._numbers += 1
        request = pb.ConnectAgentsRequest(correlation_id=str(self._numbers), **said)
        await self.call.write(request)
        return request.correlation_id

    async def read(self) -> pb.ConnectAgentsResponse:
        async with asyncio.timeout(LIMIT):
            response = await self.call.read()
        assert response is not grpc.aio.EOF, "the connection ended"
        return response

    async def ask(self, **said: Any) -> pb.ConnectAgentsResponse:
        """What is answered to a message."""
        asked = await self.send(**said)
        while True:
            response = await self.read()
            if response.correlation_id == asked:
                return response

    async def register(self, agent_id: str, **fields: Any) -> pb.ConnectRegistered:
        answer = await self.ask(register=pb.ConnectRegister(agent_id=agent_id, **fields))
        assert answer.HasField("registered"), answer.error
        return answer.registered

    async def report(self, agent_id: str, *said: event_pb2.Event, first: int = 0) -> pb.ConnectAgentsResponse:
        """Sends events; the acknowledgement, or the refusal."""
        batch = pb.ConnectEvents(agent_id=agent_id, first_client_sequence=first, events=said)
        return await self.ask(events=batch)

    async def texts(self, agent_id: str, *deltas: str, first: int = 0) -> int:
        """The number that is acknowledged."""
        answer = await self.report(agent_id, *map(text, deltas), first=first)
        assert answer.HasField("events_ack"), answer.error
        return answer.events_ack.acked_client_sequence

    async def hang_up(self) -> None:
        """Ends as a program that closes its connection; its agents are offline afterwards."""
        await self.call.done_writing()
        async with asyncio.timeout(LIMIT):
            while await self.call.read() is not grpc.aio.EOF:
                pass


@contextlib.asynccontextmanager
async def dialled_in(channel: grpc.aio.Channel) -> AsyncIterator[Program]:
    program = Program(channel)
    try:
        yield program
    finally:
        program.call.cancel()


def text(delta: str, **envelope: Any) -> event_pb2.Event:
    return event_pb2.Event(progress=event_pb2.ProgressEvent(text_chunk=event_pb2.TextChunk(delta=delta)), **envelope)


def working(activity: int, **envelope: Any) -> event_pb2.Event:
    changed = event_pb2.StateChanged(activity=agent_pb2.AgentActivity.Name(activity))
    return event_pb2.Event(monitor=event_pb2.MonitorEvent(state_changed=changed), **envelope)


def complete(turn_id: str = "", **fields: Any) -> event_pb2.Event:
    done = event_pb2.TurnComplete(**fields)
    return event_pb2.Event(turn_id=turn_id, progress=event_pb2.ProgressEvent(complete=done))


async def view(server: Server, agent_id: str) -> agent_pb2.Agent:
    return (await server.agents.GetAgent(agents.GetAgentRequest(agent_id=agent_id))).agent


async def logged(server: Server, agent_id: str, *event_types: str) -> Sequence[event_pb2.Event]:
    """All stored events of an agent, of these types."""
    request = events.ListEventsRequest(agent_id=agent_id, event_types=event_types, page_size=1000)
    return [frame.event for frame in (await server.events.ListEvents(request)).frames]


async def deltas(server: Server, agent_id: str) -> list[str]:
    return [event.progress.text_chunk.delta for event in await logged(server, agent_id, "text_chunk")]
