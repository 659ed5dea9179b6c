"""The Studio socket: a program reports its agents, each socket is one ConnectAgents call.

``studio_frames`` translates; here frames are carried in their order, acknowledgements are thinned
out, and the end of either side ends the other."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import status_pb2
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from asteros.bridge import protojson, reply, studio_frames
from asteros.bridge.liveness import NAME as LIVENESS
from asteros.bridge.options import Options
from asteros.bridge.refusal import HTTP_STATUS, UNAUTHENTICATED, Refusal, reason_of, status_of
from asteros.bridge.studio_events import Canonical, Events
from asteros.bridge.studio_frames import Frame, FrameError, Translator
from asteros.bridge.transcode import Gate, Receive, Request, Scope, Send, Upstream, answer_status
from asteros.bridge.websocket import denying

PATH = "/v1/remote-agents/connect"
STATS = "/v1/remote-agents/stats"
ACK_EVENTS, ACK_SECONDS = 100, 0.2  # an acknowledgement comes after so many events, or so much time
REFUSED, REFUSED_SECONDS = 100, 60.0  # frames that may be refused, and within which time
WRITE_LIMIT = 10.0  # seconds a client may take for one frame
LAST_WORDS = 10.0  # seconds for the server to store what a client sent before it left
KEEP_ALIVE = 15.0  # seconds between signs of life that are passed on
_POLICY, _BROKEN, _RESTART = 1008, 1011, 1012
_CODES = {"DRAINING": _RESTART, "LEASE_LOST": 1001, "REMOTE_AGENT_OFFLINE": 1001, "INVALID_CREDENTIALS": _POLICY}


class Studio:
    """The routes of one bridge. ``canonical`` knows the spellings of event types."""

    def __init__(
        self, channel: grpc.aio.Channel, service: ServiceDescriptor, options: Options, canonical: Canonical
    ) -> None:
        connect: Any = service.methods_by_name["ConnectAgents"]
        self.gate = Gate(Upstream(channel), options)
        self.request = message_factory.GetMessageClass(connect.input_type)
        batch = connect.input_type.fields_by_name["events"].message_type
        event = message_factory.GetMessageClass(batch.fields_by_name["events"].message_type)
        self.translator = Translator(self.request, Events(event, canonical))
        self._list = service.methods_by_name["ListRemoteAgents"]
        self.connect: Any = channel.stream_stream(
            _rpc(connect),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(connect.output_type).FromString,
        )

    @property
    def routes(self) -> list[BaseRoute]:
        return [WebSocketRoute(PATH, self), Route(STATS, self._stats, methods=["GET"])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the wish to connect
        request = Request(scope, receive)
        try:
            metadata = self.gate.metadata(request, changes=True)
        except Refusal as refusal:
            status = refusal.status(self.gate.options.error_domain)
            await answer_status(denying(send), status, "aster", refusal.http, refusal.headers)
            return
        call = self.connect(metadata=tuple(metadata))
        try:
            status = await _admitted(call)
            if status is not None:
                await answer_status(denying(send), status, "aster")
                return
            await send({"type": "websocket.accept"})
            await Socket(self, call, request, send, scope.get("extensions", {}).get(LIVENESS)).run()
        finally:
            call.cancel()

    async def _stats(self, request: StarletteRequest) -> Response:
        """Remote agents that are connected now, in the shape of older servers."""
        asked: Any = message_factory.GetMessageClass(self._list.input_type)(page_size=1000)
        answer: Any = message_factory.GetMessageClass(self._list.output_type)
        agents: list[Any] = []
        try:
            metadata = self.gate.metadata(Request(request.scope, request.receive), changes=False)
            while not agents or asked.page_token:
                raw = await self.gate.upstream.call(
                    _rpc(self._list), asked.SerializeToString(), metadata, stream=False, timeout=10
                )
                page = answer.FromString(raw)
                agents += page.agents
                asked.page_token = page.next_page_token
                if not page.agents:
                    break
        except grpc.aio.AioRpcError as error:
            return _failure(status_of(error))
        except Refusal as refusal:
            return _failure(refusal.status(self.gate.options.error_domain), refusal.http)
        shown = [_shown(agent) for agent in agents]
        return JSONResponse({"success": True, "data": {"remote_agents_count": len(shown), "agents": shown}})


class Socket:
    """One program. Frames are done one after the other; events do not wait for their storing."""

    def __init__(self, studio: Studio, call: Any, request: Request, send: Send, liveness: Any) -> None:
        self._studio = studio
        self._call = call
        self._receive = request.receive
        self._greets = b"greeting=0" not in request.query.split(b"&")
        self._send = send
        self._liveness = liveness
        self._dialect = "D"
        self._agents: dict[str, bool] = {}  # registered here -> wants acknowledgements
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._numbers = 0
        self._writing, self._sending = asyncio.Lock(), asyncio.Lock()
        self._closed = False
        self._heard_at = 0.0
        self._refused: deque[float] = deque()
        self._acks = Acks(self._text)
        self._probe: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until either side ends."""
        if self._liveness is not None:
            self._liveness.takes_any_bytes = True
        if self._greets:
            await self._text(studio_frames.frame("connected", message=studio_frames.GREETING))
        reading = asyncio.create_task(self._read(), name="studio-read")
        hearing = asyncio.create_task(self._hear(), name="studio-hear")
        beating = asyncio.create_task(self._beat(), name="studio-beat")
        try:
            await asyncio.wait((reading, hearing), return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and reading.exception() is None:  # the program left: what it sent before counts
                self._closed = True
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._call.done_writing()
                await asyncio.wait((hearing,), timeout=LAST_WORDS)
            else:
                await asyncio.wait((hearing,), timeout=LAST_WORDS)
                await self._close(await self._code())
        finally:
            self._closed = True
            tasks = [reading, hearing, beating, *((self._probe,) if self._probe else ())]
            self._acks.stop()
            for task in tasks:
                task.cancel()
            for error in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(error, Exception) and not isinstance(error, _Left | grpc.aio.AioRpcError):
                    raise error

    # -- from the program -------------------------------------------------------------------

    async def _read(self) -> None:
        while (event := await self._receive())["type"] == "websocket.receive":
            self._heard_at = asyncio.get_running_loop().time()
            text = event.get("text")
            try:
                await self._take(
                    studio_frames.parsed(text.encode("utf-8", "replace") if text is not None else event["bytes"])
                )
            except FrameError as refusal:
                await self._refuse(refusal)

    async def _take(self, frame: Frame) -> None:
        """
        :raises FrameError:"""
        if frame.type != "ping" and frame.dialect:
            self._dialect = frame.dialect
        translator = self._studio.translator
        match frame.type:
            case "event":
                agent_id = self._own(translator.agent_of(frame))
                await self._write(translator.events(frame, agent_id))
            case "ping":
                self._dialect = frame.dialect or self._dialect
                await self._ask(translator.ping(), frame.type)  # all before it has been taken
                await self._text(studio_frames.pong(self._dialect))
            case "register":
                request, ack = translator.register(frame)
                answer = await self._ask(request, frame.type)
                self._agents[answer.registered.agent_id] = ack
                self._acks.begin(answer.registered.agent_id, answer.registered.acked_client_sequence)
                await self._text(studio_frames.registered(answer.registered, ack))
            case "register_session":
                answer = await self._ask(translator.register_session(frame), frame.type)
                await self._text(studio_frames.session_registered(answer.session_registered))
            case "unregister":
                agent_id = self._own(translator.agent_of(frame))
                del self._agents[agent_id]
                await self._write(translator.unregister(agent_id))
            case "command_result":
                await self._write(translator.command_result(frame))
            case unknown:
                raise FrameError(f"unknown message type: {studio_frames.shown(unknown)}")

    def _own(self, agent_id: str) -> str:
        if agent_id not in self._agents:
            raise FrameError(f"agent {studio_frames.shown(agent_id)} not registered", reason="AGENT_NOT_FOUND")
        return agent_id

    async def _ask(self, request: Any, doing: str) -> Any:
        """The server's answer to a message.

        :raises FrameError: it refused."""
        self._numbers += 1
        request.correlation_id = str(self._numbers)
        answer = self._answers[request.correlation_id] = asyncio.get_running_loop().create_future()
        try:
            await self._write(request)
            response = await answer
        finally:
            del self._answers[request.correlation_id]
        if response.HasField("error"):
            raise studio_frames.refusal(response.error, doing)
        return response

    async def _write(self, request: Any) -> None:
        """Waits while the server does not read: then neither do we."""
        async with self._writing:
            try:
                await self._call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                raise _Left from None

    async def _refuse(self, refusal: FrameError) -> None:
        await self._text(studio_frames.error(refusal))
        now = asyncio.get_running_loop().time()
        self._refused.append(now)
        while self._refused[0] < now - REFUSED_SECONDS:
            self._refused.popleft()
        if len(self._refused) >= REFUSED:
            await self._close(_POLICY)

    async def _beat(self) -> None:
        """The server, too, wants to know that the program is there."""
        passed_on = 0.0
        while True:
            await _pause(KEEP_ALIVE)
            heard_at = max(self._heard_at, self._liveness.heard_at if self._liveness is not None else 0.0)
            if heard_at > passed_on:
                passed_on = heard_at
                await self._write(self._studio.translator.ping())

    # -- from the server ----------------------------------------------------------------------

    async def _hear(self) -> None:
        async for response in self._call:
            match response.WhichOneof("message"):
                case "events_ack":
                    if self._agents.get(response.events_ack.agent_id):
                        await self._acks.add(response.events_ack.agent_id, response.events_ack.acked_client_sequence)
                case "command":
                    await self._text(studio_frames.command(response.correlation_id, response.command))
                case "ping":
                    self._probe = self._probe or asyncio.create_task(self._show(), name="studio-probe")
                case said:
                    await self._answered(response, said)

    async def _answered(self, response: Any, said: str | None) -> None:
        answer = self._answers.get(response.correlation_id)
        if answer is not None and not answer.done():
            answer.set_result(response)
        elif said == "error":
            await self._refuse(studio_frames.refusal(response.error, "event"))

    async def _show(self) -> None:
        """The server asks whether the program is there: so do we."""
        if self._liveness is not None:
            self._liveness.ping()
            await self._liveness.heard()
            await self._write(self._studio.translator.ping())
        self._probe = None

    async def _code(self) -> int:
        """With which code a call that has ended ends the socket."""
        try:
            code = await self._call.code()
        except asyncio.CancelledError:  # house: cancelled -- the call was, this task was not: its state is asked for
            return _BROKEN
        if code is grpc.StatusCode.OK:
            return _BROKEN
        details = await self._call.details()
        metadata = await self._call.trailing_metadata()
        error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=details)
        reason = reason_of(status_of(error)).reason
        return _CODES.get(reason, _RESTART if code is grpc.StatusCode.UNAVAILABLE else _BROKEN)

    # -- to the program -------------------------------------------------------------------------

    async def _text(self, text: str) -> None:
        """One frame. Who does not take it in time is cut off."""
        if self._closed:
            return
        async with self._sending:
            try:
                async with asyncio.timeout(WRITE_LIMIT):
                    await self._send({"type": "websocket.send", "text": text})
            except OSError:  # it has gone, or time is up
                self._closed = True
                raise _Left from None

    async def _close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                async with asyncio.timeout(WRITE_LIMIT):
                    await self._send({"type": "websocket.close", "code": code})


class Acks:
    """Cumulative acknowledgements: at most one per ACK_EVENTS events or ACK_SECONDS."""

    def __init__(self, text: Callable[[str], Awaitable[None]]) -> None:
        self._text = text
        self._told: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._later: asyncio.Task[None] | None = None

    def begin(self, agent_id: str, number: int) -> None:
        """So far the program knows by its registration."""
        self._told[agent_id] = number
        self._stored.pop(agent_id, None)

    async def add(self, agent_id: str, number: int) -> None:
        """Events up to this number are stored."""
        if number <= self._told.get(agent_id, 0):
            return
        self._stored[agent_id] = number
        if number - self._told.get(agent_id, 0) >= ACK_EVENTS:
            await self._tell(agent_id)
        elif self._later is None or self._later.done():
            self._later = asyncio.create_task(self._tell_all(), name="studio-acks")

    async def _tell_all(self) -> None:
        await _pause(ACK_SECONDS)
        with contextlib.suppress(_Left):
            for agent_id in list(self._stored):
                await self._tell(agent_id)

    async def _tell(self, agent_id: str) -> None:
        number = self._stored.pop(agent_id, 0)
        if number:
            self._told[agent_id] = number
            await self._text(studio_frames.event_ack(agent_id, number))

    def stop(self) -> None:
        if self._later is not None:
            self._later.cancel()


class _Left(Exception):
    """The other side has gone."""


async def _pause(seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


async def _admitted(call: Any) -> status_pb2.Status | None:
    """Why the server does not let the call in; None when it does."""
    try:
        await call.initial_metadata()
        if not call.done():
            return None
        code, details = await call.code(), await call.details()
        metadata = await call.trailing_metadata()
    except grpc.aio.AioRpcError as error:
        return status_of(error)
    if code is grpc.StatusCode.OK:
        return None
    return status_of(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details=details))


def _rpc(method: MethodDescriptor) -> str:
    assert method.containing_service is not None
    return f"/{method.containing_service.full_name}/{method.name}"


def _failure(status: status_pb2.Status, http: int = 0) -> Response:
    body = reply.dumped(reply.status_json(status, "aster"))
    headers = {"www-authenticate": "Bearer"} if status.code == UNAUTHENTICATED else None
    code = http or HTTP_STATUS.get(status.code, 500)
    return Response(body, code, headers, media_type="application/json")


def _shown(agent: Any) -> dict[str, Any]:
    """One agent of the stats."""
    activities = agent.status.DESCRIPTOR.fields_by_name["activity"].enum_type.values_by_number
    activity = activities[agent.status.activity].name.removeprefix("AGENT_ACTIVITY_").lower()
    metadata = json.loads(protojson.text_of(agent.remote.metadata)) if agent.remote.HasField("metadata") else {}
    about = {"name": agent.display_name, "model": agent.remote.model, "capabilities": list(agent.remote.capabilities)}
    return {
        "agent_id": agent.id,
        "status": {
            "agent_id": agent.id,
            "state": "ready" if activity == "idle" else activity,
            "step_count": agent.status.step_count,
            "cursor": agent.status.latest_sequence,
        },
        "metadata": {
            **{key: value for key, value in about.items() if value},
            **metadata,
            "remote": True,
            "source": "remote_agent",
        },
    }
