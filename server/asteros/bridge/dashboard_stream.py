"""``/v1/dashboard/events/stream``: events on a WebSocket, in the words of the dashboard.

A frame is ``{"type": …, "payload": …}``. The client says ``{"action": "subscribe" | "unsubscribe" |
"ping", "filters": …, "since": cursor}``; until it does, it gets the monitor events of all agents."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.rpc import status_pb2
from starlette.websockets import WebSocket, WebSocketDisconnect

from asteros.bridge import bodies, reply
from asteros.bridge.dashboard_events import Data, payload_of, shown
from asteros.bridge.refusal import Refusal, reason_of, status_of

CHANNELS = ("progress", "control", "monitor")
LEVELS = ("debug", "info", "warn", "error")
# Why a stream ends for good: the close code by reason. After any other failure the client may ask again.
_CLOSE = {"SUBSCRIBER_TOO_SLOW": 1013, "RATE_LIMITED": 1013, "DRAINING": 1012}
_BINARY, _BROKEN = 1003, 1011
_CHATTER = ("text_chunk", "think_chunk", "tool_progress", "tool_intermediate")
_CONNECTED = "Connected to Aster Studio event stream"

Metadata = Sequence[tuple[str, str | bytes]]


class Messages:
    """A stream of an RPC, parsed."""

    def __init__(self, call: Any, kind: Any) -> None:
        self._call = call
        self._kind = kind

    async def read(self) -> Any:
        """The next message; None at the end.

        :raises grpc.aio.AioRpcError:"""
        raw = await self._call.read()
        return None if raw is grpc.aio.EOF else self._kind.FromString(raw)

    def cancel(self) -> None:
        self._call.cancel()


# Opens EventService.Subscribe: (fields of its request, metadata).
Subscribe = Callable[[Data, Metadata], Messages]


class Malformed(Exception):
    """What the client sent is no message."""


class Filters:
    """What a socket shows; every set list must match."""

    def __init__(self, told: Data | None = None) -> None:
        """
        :raises Malformed: not the documented form."""
        told = {"channels": ["monitor"]} if told is None else told
        self.channels = [name.lower() for name in _texts(told, "channels")]
        self.event_types = _texts(told, "event_types")
        self.agent_ids = _texts(told, "agent_ids")
        level = told.get("min_level") or LEVELS[0]
        if not isinstance(level, str) or level.lower() not in LEVELS or not set(self.channels) <= set(CHANNELS):
            raise Malformed
        self.level = LEVELS.index(level.lower())

    def fields(self, since: str) -> Data:
        """Of a SubscribeRequest."""
        numbers = [CHANNELS.index(name) + 1 for name in dict.fromkeys(self.channels)]
        found: Data = {"channels": numbers, "event_types": self.event_types, "agent_ids": self.agent_ids}
        return found | ({"cursor": since} if since and since != "0" else {"position": 2} if since else {})

    def told(self) -> Data:
        """The answer to subscribe. ``agent_count`` 0: all agents, later ones too."""
        lists = {"channels": self.channels, "event_types": self.event_types, "agent_ids": self.agent_ids}
        return {**lists, "agent_count": len(self.agent_ids)}


def _texts(told: Data, name: str) -> list[str]:
    found = told.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Malformed
    return found


def level_of(event: Any) -> int:
    """How loud an event is: its severity, warn for what a rule stopped, debug for text as it comes."""
    payload, kind = payload_of(event), event.event_type.partition(".")[2]
    if kind == "error" and payload is not None:
        return LEVELS.index(payload.severity) if payload.severity in LEVELS else LEVELS.index("error")
    if kind == "governance":
        return LEVELS.index("warn")
    return LEVELS.index("debug" if kind in _CHATTER else "info")


class Socket:
    """One connection. ``run`` until either side closes."""

    def __init__(self, socket: WebSocket, metadata: Metadata, subscribe: Subscribe, name: str) -> None:
        self._socket = socket
        self._metadata = metadata
        self._subscribe = subscribe
        self._name = name
        self._filters = Filters()
        self._stream: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # answers and events share the socket

    async def run(self) -> None:
        await self._socket.accept()
        await self._send("connected", {"connection_id": self._name, "message": _CONNECTED})
        self._follow("")
        try:
            while True:
                event = await self._socket.receive()
                if event["type"] == "websocket.disconnect":
                    return
                if event.get("text") is None:
                    await self._socket.close(_BINARY)
                    return
                await self._heard(event["text"])
        except (WebSocketDisconnect, RuntimeError):  # closed while we wrote
            return
        finally:
            await self._unfollow()

    # -- what the client says ------------------------------------------------------------

    async def _heard(self, text: str) -> None:
        try:
            told = bodies.parsed(text.encode("utf-8", "surrogatepass"))
            if not isinstance(told, dict) or not isinstance(told.get("action"), str):
                raise Malformed
            await self._act(told["action"], told)
        except (Malformed, Refusal):
            await self._send("error", {"code": "invalid_message", "message": "Failed to parse message"})

    async def _act(self, action: str, told: Data) -> None:
        match action:
            case "ping":
                await self._send("pong", None)
            case "unsubscribe":
                await self._unfollow()
                await self._send("unsubscribed", None)
            case "subscribe":
                filters, since = told.get("filters"), told.get("since") or ""
                if not isinstance(since, str) or not isinstance(filters, dict | None):
                    raise Malformed
                if filters is not None:
                    self._filters = Filters(filters)
                await self._unfollow()
                await self._send("subscribed", self._filters.told())
                self._follow(since)
            case _:
                await self._send("error", {"code": "unknown_action", "message": f"Unknown action: {action[:100]}"})

    # -- what the server says ------------------------------------------------------------

    def _follow(self, since: str) -> None:
        self._stream = asyncio.create_task(self._carry(self._filters, since), name=f"dashboard {self._name}")

    async def _unfollow(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.gather(self._stream, return_exceptions=True)
            self._stream = None

    async def _carry(self, filters: Filters, since: str) -> None:
        call = self._subscribe(filters.fields(since), self._metadata)
        try:
            while (message := await call.read()) is not None:
                for frame in message.frames:
                    await self._frame(frame, filters)
        except grpc.aio.AioRpcError as error:
            await self._failed(status_of(error))
        except (WebSocketDisconnect, RuntimeError):  # closed: ``run`` learns of it too
            return
        finally:
            call.cancel()

    async def _frame(self, frame: Any, filters: Filters) -> None:
        match frame.WhichOneof("frame"):
            case "event" if level_of(frame.event) >= filters.level:
                await self._send("event", shown(frame))
            case "gap":
                gap = frame.gap
                places = {"first_cursor": str(gap.first_sequence), "last_cursor": str(gap.last_sequence)}
                channel = CHANNELS[gap.channel - 1]
                await self._send("gap", {**places, "dropped": gap.dropped_count, "channel": channel})
            case "heartbeat":
                await self._send("heartbeat", {"cursor": frame.cursor})

    async def _failed(self, status: status_pb2.Status) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._send("error", {"code": "subscription_failed", "message": status.message})
            close = _CLOSE.get(reason_of(status).reason, _BROKEN if status.code in (2, 13, 15) else 0)
            if close:
                await self._socket.close(close)

    async def _send(self, kind: str, payload: Any) -> None:
        async with self._writing:
            await self._socket.send_text(reply.dumped({"type": kind, "payload": payload}).decode())
