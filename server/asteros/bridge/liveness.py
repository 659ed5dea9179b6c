"""WebSockets that live while the peer says anything at all.

A client that only sends, and never reads, answers no pings: data counts as well as a pong does.
An app finds its socket in ``scope["extensions"]["aster.liveness"]``."""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

NAME = "aster.liveness"
IDLE = 60.0  # seconds without a byte from the peer
_GOING_AWAY = 1001


class LivelySocket(WebSocketsSansIOProtocol):
    """Pings every ``ping_interval`` seconds, and closes what was silent for IDLE."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard_at = self.loop.time()
        self.takes_any_bytes = False  # a text message that is not UTF-8 is given to the app as it is
        self._asked: list[asyncio.Future[None]] = []

    # -- for apps -----------------------------------------------------------------------

    def ping(self) -> None:
        """Asks the peer to show that it is there."""
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_ping(b"aster")
            self.transport.write(b"".join(self.conn.data_to_send()))

    async def send_texts(self, texts: Iterable[bytes]) -> None:
        """Text messages in one write, of a socket that was accepted; nothing when the peer has left.
        Waits while the peer does not read, as the app's own ``send`` does."""
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        for text in texts:
            self.conn.send_text(text)
        self.transport.write(b"".join(self.conn.data_to_send()))

    async def heard(self) -> None:
        """Returns with the next byte from the peer."""
        asked = self.loop.create_future()
        self._asked.append(asked)
        await asked

    # -- the protocol ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        if self._asked:
            for asked in self._asked:
                if not asked.done():
                    asked.set_result(None)
            self._asked.clear()
        super().data_received(data)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[NAME] = self

    def send_receive_event_to_app(self) -> None:
        if self.takes_any_bytes and self.curr_msg_data_type == "text":
            self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    def start_keepalive(self) -> None:
        if self.ping_interval:
            self.ping_timer = self.loop.call_later(self.ping_interval, self._beat)

    def _beat(self) -> None:
        self.ping_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        left = self.heard_at + IDLE - self.loop.time()
        if left <= 0:
            self._give_up()
            return
        self.ping()
        assert self.ping_interval is not None
        self.ping_timer = self.loop.call_later(min(self.ping_interval, left), self._beat)

    def _give_up(self) -> None:
        self.conn.fail(_GOING_AWAY, "idle")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
