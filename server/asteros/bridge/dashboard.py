"""``/v1/dashboard`` as documented: each route is a few calls and a translation.

Answers are ``{"success": true, "data": …}``, failures ``{"success": false, "error": {"code", "message"}}``.
Nothing is decided here: rights, limits and defaults are those of the RPCs."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asteros.bridge import bodies, reply, requests
from asteros.bridge import dashboard_shapes as shapes
from asteros.bridge.dashboard_events import Data, shown
from asteros.bridge.dashboard_stream import Messages, Socket
from asteros.bridge.refusal import HTTP_STATUS, UNAUTHENTICATED, Refusal, status_of
from asteros.bridge.transcode import Gate, Request

PREFIX = "/v1/dashboard"
MOST = 1_000  # entries of a list
_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited"}
_BY_AGENT, _BY_MODEL = 1, 2  # UsageGrouping

Handler = Callable[["Asked"], Awaitable[Any]]
Metadata = Sequence[tuple[str, str | bytes]]


def _current() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def _bad(text: str) -> Refusal:
    return Refusal(3, "", text)


class Asked:
    """One request: its query, checked as it is read, and what it may call with."""

    def __init__(self, request: Request, path: Mapping[str, str], metadata: Metadata) -> None:
        self.request = request
        self.path = path
        self.metadata = metadata
        self._query = dict(requests.pairs_of(request.query))

    def text(self, name: str) -> str:
        return self._query.get(name, "")

    def number(self, name: str, default: int, most: int) -> int:
        """
        :raises Refusal: no whole number, or negative. Too large means the most."""
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise _bad(f"{name} must be a whole number, 0 or more")
        return min(int(text), most)

    def period(self) -> str:
        """
        :raises Refusal: an unknown period."""
        period = self.text("period") or "24h"
        if period not in shapes.PERIODS:
            raise _bad(f"period must be one of {', '.join(shapes.PERIODS)}")
        return period

    def time(self, name: str, stamp: Timestamp) -> bool:
        """Sets a time the query gives; whether it does.

        :raises Refusal: no time of RFC 3339."""
        text = self.text(name)
        if not text:
            return False
        try:
            stamp.FromJsonString(text)
        except ValueError:
            raise _bad(f"{name} must be a time like 2026-01-31T12:00:00Z") from None
        return True


class Dashboard:
    """The routes, over a gate to a server with these services."""

    def __init__(
        self, gate: Gate, services: Sequence[ServiceDescriptor], now: Callable[[], Timestamp] = _current
    ) -> None:
        self._gate = gate
        self._now = now
        self._methods = {method.name: method for service in services for method in service.methods}
        self._connected = 0  # sockets

    def routes(self) -> list[BaseRoute]:
        """For a bridge, before its transcoder."""
        found: list[BaseRoute] = [
            self._route("/overview", GET=self._overview),
            self._route("/traces", GET=self._traces),
            self._route("/traces/{id}", GET=self._trace),
            self._route("/metrics/tokens", GET=self._tokens),
            self._route("/metrics/costs", GET=self._costs),
            self._route("/metrics/performance", GET=self._performance),
            self._route("/events", GET=self._events),
            self._route("/events/since/{cursor}", GET=self._since),
            self._route("/events/stats", GET=self._stats),
            WebSocketRoute(f"{PREFIX}/events/stream", self._stream),
            self._route("/insights", GET=self._insights),
            self._route("/pricing", GET=self._prices, PUT=self._set_price),
            self._route("/sessions", GET=self._sessions),
            self._route("/sessions/{id}", GET=self._session),
        ]
        return found

    # -- one request -------------------------------------------------------------------

    def _route(self, path: str, **handlers: Handler) -> Route:
        async def endpoint(asked: StarletteRequest) -> Response:
            request = Request(asked.scope, asked.receive)
            handler = handlers.get("GET" if request.verb == "HEAD" else request.verb)
            try:
                metadata = self._gate.metadata(request, changes=request.verb == "PUT")
                if handler is None:
                    raise Refusal(12, "", "method not allowed", http=405)
                data = await handler(Asked(request, asked.path_params, metadata))
            except Refusal as refusal:
                return await self._refused(request, refusal)
            except grpc.aio.AioRpcError as error:
                status = status_of(error)
                return _failed(HTTP_STATUS.get(status.code, 500), status.message)
            return _answer(200, {"success": True, "data": data})

        return Route(PREFIX + path, endpoint, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])

    async def _refused(self, request: Request, refusal: Refusal) -> Response:
        """Who is nobody learns that first."""
        nobody = await self._gate.refused(request) if refusal.code != UNAUTHENTICATED else None
        if nobody is not None:
            return _failed(HTTP_STATUS.get(nobody.code, 500), nobody.message)
        return _failed(refusal.http or HTTP_STATUS.get(refusal.code, 500), refusal.text)

    def _new(self, name: str, **fields: Any) -> Any:
        """A request of a method."""
        return message_factory.GetMessageClass(self._methods[name].input_type)(**fields)

    async def _call(self, asked: Asked, name: str, message: Any) -> Any:
        method: MethodDescriptor = self._methods[name]
        assert method.containing_service is not None
        rpc = f"/{method.containing_service.full_name}/{name}"
        raw = await self._gate.upstream.call(rpc, message.SerializeToString(), asked.metadata, stream=False)
        return message_factory.GetMessageClass(method.output_type).FromString(raw)

    async def _pages(self, asked: Asked, name: str, field: str) -> list[Any]:
        """All entries of a list."""
        message, found = self._new(name, page_size=MOST), []
        while True:
            page = await self._call(asked, name, message)
            found += getattr(page, field)
            if not page.next_page_token:
                return found
            message.page_token = page.next_page_token

    # -- figures -----------------------------------------------------------------------

    def _timed(self, asked: Asked, name: str, **fields: Any) -> tuple[Any, str]:
        """A request about the time the query gives, and what that time is called."""
        message = self._new(name, **fields)
        period, now = asked.period(), self._now()
        message.end_time.CopyFrom(now)
        message.start_time.FromNanoseconds(now.ToNanoseconds() - shapes.PERIODS[period] * 1_000_000_000)
        own = asked.time("start", message.start_time)
        return message, "custom" if asked.time("end", message.end_time) or own else period

    async def _overview(self, asked: Asked) -> Data:
        message, period = self._timed(asked, "GetOverview")
        answer = await self._call(asked, "GetOverview", message)
        return shapes.overview(answer.overview, period, message.end_time)

    async def _tokens(self, asked: Asked) -> Data:
        return shapes.token_metrics(*await self._usage(asked, asked.text("model")))

    async def _costs(self, asked: Asked) -> Data:
        return shapes.cost_metrics(*await self._usage(asked, ""))

    async def _usage(self, asked: Asked, model: str) -> tuple[str, Any, Any, Any, Any]:
        whole, period = self._timed(asked, "GetUsage", agent_id=asked.text("agent_id"), model=model)
        seconds = whole.end_time.seconds - whole.start_time.seconds
        wanted = [whole]
        for more in ({"group_by": _BY_AGENT}, {"group_by": _BY_MODEL}, {"interval": None}):
            message = self._new("GetUsage", **more)
            message.MergeFrom(whole)
            wanted.append(message)
        wanted[-1].interval.FromSeconds(shapes.trend_seconds(seconds))
        total, agents, models, trend = await asyncio.gather(
            *(self._call(asked, "GetUsage", message) for message in wanted)
        )
        return period, total.rows[0], agents.rows, models.rows, trend.rows

    async def _performance(self, asked: Asked) -> Data:
        message, period = self._timed(asked, "GetPerformance", agent_id=asked.text("agent_id"))
        return shapes.performance(period, (await self._call(asked, "GetPerformance", message)).performance)

    async def _insights(self, asked: Asked) -> list[Data]:
        return [shapes.insight(found) for found in await self._pages(asked, "ListInsights", "insights")]

    # -- traces ------------------------------------------------------------------------

    async def _traces(self, asked: Asked) -> Data:
        message, skip = self._listed(asked, "ListTraces", status=asked.text("status"), agent_id=asked.text("agent_id"))
        asked.time("start", message.start_time)
        asked.time("end", message.end_time)
        page = await self._call(asked, "ListTraces", message)
        return _list("traces", map(shapes.trace, page.traces), page, skip)

    def _listed(self, asked: Asked, name: str, **fields: Any) -> tuple[Any, int]:
        limit, skip = asked.number("limit", 50, MOST), asked.number("offset", 0, 1 << 30)
        return self._new(name, page_size=limit, skip=skip, **fields), skip

    async def _trace(self, asked: Asked) -> Data:
        answer = await self._call(asked, "GetTrace", self._new("GetTrace", turn_id=asked.path["id"]))
        return shapes.trace_detail(answer.trace)

    # -- events ------------------------------------------------------------------------

    async def _events(self, asked: Asked) -> Data:
        """The newest, newest first."""
        message = self._new("ListEvents", newest_first=True, page_size=asked.number("limit", 100, MOST))
        message.agent_id = asked.text("agent_id")
        message.event_types.extend([asked.text("type")] if asked.text("type") else [])
        if channel := asked.text("channel").lower():
            if channel not in ("progress", "control", "monitor"):
                raise _bad("channel must be progress, control or monitor")
            message.channels.append(("progress", "control", "monitor").index(channel) + 1)
        frames = (await self._call(asked, "ListEvents", message)).frames
        return {"events": [_listed_event(frame) for frame in frames], "cursor": frames[0].cursor if frames else "0"}

    async def _since(self, asked: Asked) -> Data:
        """What came after a cursor, oldest first; "0" is the beginning."""
        cursor = asked.path["cursor"]
        message = self._new("ListEvents", page_size=asked.number("limit", 100, MOST))
        message.cursor = "" if cursor == "0" else cursor
        try:
            frames = (await self._call(asked, "ListEvents", message)).frames
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise _bad("Invalid cursor") from None
            raise
        return {
            "events": [_listed_event(frame) for frame in frames],
            "next_cursor": frames[-1].cursor if frames else cursor,
        }

    async def _stats(self, asked: Asked) -> Data:
        await self._call(asked, "GetCaller", self._new("GetCaller"))  # nobody may ask
        return {"active_connections": self._connected}

    async def _stream(self, socket: WebSocket) -> None:
        request = Request(socket.scope, socket.receive)
        try:
            metadata = self._gate.metadata(request, changes=True)
        except Refusal as refusal:
            await socket.send_denial_response(await self._refused(request, refusal))
            return
        nobody = await self._gate.refused(request)
        if nobody is not None:
            await socket.send_denial_response(_failed(HTTP_STATUS.get(nobody.code, 500), nobody.message))
            return
        self._connected += 1
        try:
            await Socket(socket, metadata, self._subscribe, secrets.token_hex(8)).run()
        finally:
            self._connected -= 1

    def _subscribe(self, fields: Data, metadata: Metadata) -> Any:
        """The messages of EventService.Subscribe, parsed; ``cancel`` ends it."""
        message, method = self._new("Subscribe", **fields), self._methods["Subscribe"]
        assert method.containing_service is not None
        rpc = f"/{method.containing_service.full_name}/Subscribe"
        call = self._gate.upstream.call(rpc, message.SerializeToString(), metadata, stream=True)
        return Messages(call, message_factory.GetMessageClass(method.output_type))

    # -- prices ------------------------------------------------------------------------

    async def _prices(self, asked: Asked) -> Data:
        return {price.model: shapes.price(price) for price in await self._pages(asked, "ListPrices", "prices")}

    async def _set_price(self, asked: Asked) -> Data:
        told = bodies.parsed(await asked.request.body(self._gate.options.max_body))
        if not isinstance(told, dict):
            raise _bad("the body must be an object")
        if told.get("currency") not in (None, "", shapes.CURRENCY):
            raise _bad(f"currency must be {shapes.CURRENCY}")
        if not isinstance(told.get("model"), str):
            raise _bad("model is required")
        message = self._new("SetPrice")
        message.price.model = told["model"]
        message.price.input_usd_per_million = _number(told, "input_price_per_m")
        message.price.output_usd_per_million = _number(told, "output_price_per_m")
        stored = (await self._call(asked, "SetPrice", message)).price
        return {"model": stored.model, "pricing": shapes.price(stored)}

    # -- sessions ----------------------------------------------------------------------

    async def _sessions(self, asked: Asked) -> Data:
        message, skip = self._listed(asked, "ListSessions")
        page = await self._call(asked, "ListSessions", message)
        return _list("sessions", map(shapes.session, page.sessions), page, skip)

    async def _session(self, asked: Asked) -> Data:
        session_id = asked.path["id"]
        found = await self._call(asked, "GetSession", self._new("GetSession", session_id=session_id))
        wanted = self._new("ListMessages", session_id=session_id, page_size=MOST)
        page = await self._call(asked, "ListMessages", wanted)
        return shapes.session(found.session) | {"messages": [shapes.message(each) for each in page.messages]}


def _list(name: str, entries: Any, page: Any, skip: int) -> Data:
    shown_entries = list(entries)
    return {name: shown_entries, "total": page.total_size, "has_more": skip + len(shown_entries) < page.total_size}


def _listed_event(frame: Any) -> Data:
    found = shown(frame)
    found["event"] = found.pop("data")
    return found


def _number(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"{name} is required, a number")
    return float(value)


def _answer(status: int, body: Data) -> Response:
    headers = {"x-content-type-options": "nosniff"}
    return Response(reply.dumped(body), status, headers, "application/json")


def _failed(status: int, text: str) -> Response:
    code = _CODES.get(status, "bad_request" if 400 <= status < 500 else "internal_error")
    return _answer(status, {"success": False, "error": {"code": code, "message": text}})
