"""How the items of a stream look on the wire; each framing is a strategy of a few bytes.

A framing gives bytes and keeps no state; the pump in ``streams`` decides when."""

from collections.abc import Iterable
from typing import Protocol

from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import status_pb2

from asteros.bridge import reply
from asteros.bridge.reply import Item

Headers = tuple[tuple[bytes, bytes], ...]


class Framing(Protocol):
    """What a stream writes. ``b""`` means nothing."""

    content_type: str
    headers: Headers

    def opening(self) -> bytes:
        """Before the first item."""
        ...

    def items(self, items: Iterable[Item]) -> bytes:
        """Several items in one write."""
        ...

    def keep_alive(self) -> bytes:
        """When nothing was written for a while."""
        ...

    def failure(self, status: status_pb2.Status) -> bytes:
        """The RPC failed after the first item."""
        ...

    def goaway(self, status: status_pb2.Status, cursor: str) -> bytes:
        """The server drains; ``cursor`` is where to go on, "" when unknown."""
        ...

    def end(self) -> bytes:
        """The RPC ended well."""
        ...


class EventStream:
    """Server-sent events."""

    content_type = "text/event-stream"
    headers: Headers = ((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))

    def __init__(self, pool: DescriptorPool | None = None) -> None:
        self._pool = pool

    def opening(self) -> bytes:
        return b"retry: 2000\n\n"

    def items(self, items: Iterable[Item]) -> bytes:
        return b"".join(map(_event, items))

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def failure(self, status: status_pb2.Status) -> bytes:
        return _event(Item("", "error", reply.dumped(reply.status_json(status, "aster", self._pool))))

    def goaway(self, status: status_pb2.Status, cursor: str) -> bytes:  # noqa: ARG002
        return _event(Item(cursor, "goaway", reply.dumped(goaway(cursor))))

    def end(self) -> bytes:
        return b"event: end\ndata: {}\n\n"


def goaway(cursor: str) -> dict[str, str]:
    """What says that the server drains."""
    return {"reason": "draining", **({"cursor": cursor} if cursor else {})}


def _event(item: Item) -> bytes:
    # Neither JSON on one line nor our ids and names hold a line feed.
    id_line = b"id: %b\n" % item.id.encode() if item.id else b""
    name_line = b"event: %b\n" % item.name.encode() if item.name else b""
    return b"%b%bdata: %b\n\n" % (id_line, name_line, item.body)


class Lines:
    """JSON lines: one bare item each; a failure is the last line."""

    content_type = "application/x-ndjson"
    headers: Headers = ((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))

    def __init__(self, pool: DescriptorPool | None = None) -> None:
        self._pool = pool

    def opening(self) -> bytes:
        return b""

    def items(self, items: Iterable[Item]) -> bytes:
        return b"".join([item.body if item.content_type else item.body + b"\n" for item in items])

    def keep_alive(self) -> bytes:
        return b""

    def failure(self, status: status_pb2.Status) -> bytes:
        return reply.dumped(reply.status_json(status, "aster", self._pool)) + b"\n"

    def goaway(self, status: status_pb2.Status, cursor: str) -> bytes:  # noqa: ARG002 - it stands in the details
        return self.failure(status)

    def end(self) -> bytes:
        return b""


class ResultLines(Lines):
    """grpc-gateway's lines: {"result": …} for each message."""

    content_type = "application/json"

    def items(self, items: Iterable[Item]) -> bytes:
        return b"".join([item.body if item.content_type else b'{"result":%b}\n' % item.body for item in items])

    def failure(self, status: status_pb2.Status) -> bytes:
        return reply.dumped({"error": reply.status_json(status, "gateway", self._pool)}) + b"\n"
