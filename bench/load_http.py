"""Load client for HTTP/1.1: ``python -m bench.load_http PORT < plan.json``; it prints what ``load.cc`` prints.

An event is an occurrence of the plan's ``needle`` in what the server sends, whichever framing it has.
The plan is ``load.HttpPlan``. Modes:

runs     a new connection per call, ``conns`` calls at a time, read until the server closes
follow   ``conns`` connections that stay; prints {"open": N} when each has been answered, and ends when
         each has had ``stop`` events, was closed, or nobody has heard anything for QUIET seconds
unary    ``conns`` connections that stay, a call in flight on each; answers have a Content-Length"""

import asyncio
import base64
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

HOST = "127.0.0.1"
LIMIT = 60.0  # seconds for one run
QUIET = 5.0


class Connection(asyncio.Protocol):
    """Sends requests one after another and counts what comes back."""

    def __init__(self, needle: bytes) -> None:
        self.needle, self.tail = needle, b""
        self.events = self.chunks = self.bytes = self.status = 0
        self.first = self.last = 0.0
        self.closed = False
        self._changed = asyncio.Event()
        self._head = b""
        self.left = -1  # bytes of the body to come; -1: no length was given

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> None:
        self.status, self._head, self.left, self._begun = 0, b"", -1, time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.chunks += 1
        if not self.status:
            self._head += data
            head, ended, data = self._head.partition(b"\r\n\r\n")
            if not ended:
                return
            self._read(head)
        self._count(data)
        if self.left >= 0:
            self.left -= len(data)
        self._changed.set()

    def _read(self, head: bytes) -> None:
        lines = head.lower().split(b"\r\n")
        self.status = int(lines[0].split()[1])
        for line in lines[1:]:
            if line.startswith(b"content-length:"):
                self.left = int(line[15:])

    def _count(self, data: bytes) -> None:
        if not self.needle:
            return
        data = self.tail + data
        if found := data.count(self.needle):
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.events += found
        self.tail = data[1 - len(self.needle) :] if len(self.needle) > 1 else b""

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        self._changed.set()

    async def until(self, done: Any) -> None:
        """Waits until ``done`` of this connection, or its end.

        :raises TimeoutError:"""
        async with asyncio.timeout(LIMIT):
            while not (self.closed or done(self)):
                self._changed.clear()
                await self._changed.wait()


class Load:
    """One run of a plan."""

    def __init__(self, port: int, plan: dict[str, Any]) -> None:
        self.port, self.plan = port, plan
        self.requests = [base64.b64decode(each) for each in plan["requests"]]
        self.before = [base64.b64decode(each) for each in plan["before"]]
        self.needle = plan["needle"].encode()
        self.codes: Counter[str] = Counter()
        self.first: list[float] = []
        self.calls: list[float] = []
        self.seen: list[Connection] = []
        self.events = self.messages = self.bytes = 0
        self.began = self.ended = 0.0

    async def open(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self.needle), HOST, self.port)
        return connection

    async def run(self) -> None:
        await getattr(self, self.plan["mode"])()

    # -- a connection per call -----------------------------------------------------------

    async def runs(self) -> None:
        numbers = iter(range(self.plan["calls"]))
        await asyncio.gather(*[self._worker(numbers) for _ in range(self.plan["conns"])])

    async def _worker(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            begun = time.perf_counter()
            try:
                outcome = await self._one(number, begun)
            except (OSError, TimeoutError) as error:
                outcome = type(error).__name__
            self.calls.append(time.perf_counter() - begun)
            if outcome:
                self.codes[outcome] += 1

    async def _one(self, number: int, begun: float) -> str:
        """One run; how it failed, or "". A request that must come before has its own connection too."""
        if self.before:
            found = await self._exchange(self.before[number % len(self.before)])
            if found.status != 200:
                return str(found.status)
        found = await self._exchange(self.requests[number % len(self.requests)])
        self._add(found)
        if found.first:
            self.first.append(found.first - begun)
        return "" if found.status == 200 and found.events >= self.plan["least"] else f"{found.status}/{found.events}"

    async def _exchange(self, request: bytes) -> Connection:
        connection = await self.open()
        try:
            connection.ask(request)
            await connection.until(lambda each: each.left == 0)
        finally:
            connection.transport.abort()
        return connection

    # -- connections that stay --------------------------------------------------------------

    async def follow(self) -> None:
        conns, begun = self.plan["conns"], time.perf_counter()
        self.seen = [await self.open() for _ in range(conns)]
        for number, connection in enumerate(self.seen):
            connection.ask(self.requests[number % len(self.requests)])
        await asyncio.gather(*[each.until(lambda found: found.status) for each in self.seen])
        print(json.dumps({"open": conns, "open_s": time.perf_counter() - begun}), flush=True)
        full = [asyncio.create_task(each.until(self._full)) for each in self.seen]
        heard, pending = -1, set(full)
        while pending and heard != (heard := sum(each.bytes for each in self.seen)):
            _, pending = await asyncio.wait(pending, timeout=QUIET)
        for task in full:
            task.cancel()
        for each in self.seen:
            each.transport.abort()
            self._add(each)
            if not self._full(each):
                self.codes[f"{each.status}/short"] += 1
        self.calls = [0.0] * conns

    def _full(self, connection: Connection) -> bool:
        return connection.events >= self.plan["stop"]

    async def unary(self) -> None:
        numbers = iter(range(self.plan["calls"]))
        await asyncio.gather(*[self._caller(numbers) for _ in range(self.plan["conns"])])

    async def _caller(self, numbers: Iterator[int]) -> None:
        connection = await self.open()
        for number in numbers:
            begun = time.perf_counter()
            connection.ask(self.requests[number % len(self.requests)])
            await connection.until(lambda each: each.left == 0)
            self.calls.append(time.perf_counter() - begun)
            if connection.status != 200:
                self.codes[str(connection.status)] += 1
            if connection.closed:
                connection = await self.open()
        connection.transport.abort()

    # -- what was seen ----------------------------------------------------------------------

    def _add(self, connection: Connection) -> None:
        self.events += connection.events
        self.messages += connection.chunks
        self.bytes += connection.bytes
        if connection.events:
            self.began = min(self.began or connection.first, connection.first)
            self.ended = max(self.ended, connection.last)

    def result(self, wall: float) -> dict[str, Any]:
        use = resource.getrusage(resource.RUSAGE_SELF)
        failed = sum(self.codes.values())
        return {
            "events": self.events, "messages": self.messages, "dropped": 0, "bytes": self.bytes,
            "calls": len(self.calls), "failed": failed, "unanswered": 0, "codes": self.codes,
            "wall_s": wall, "span_s": self.ended - self.began, "client_cpu_s": use.ru_utime + use.ru_stime,
            "latency_us": quantiles([]), "first_us": quantiles(self.first), "call_us": quantiles(self.calls),
        }  # fmt: skip


def quantiles(seconds: list[float]) -> dict[str, int]:
    found = sorted(int(each * 1e6) for each in seconds) or [0]
    at = {"p50": len(found) // 2, "p99": min(len(found) - 1, len(found) * 99 // 100), "max": len(found) - 1}
    return {"n": len(seconds), **{name: found[index] for name, index in at.items()}}


async def main(port: int) -> None:
    load = Load(port, json.load(sys.stdin))
    begun = time.perf_counter()
    await load.run()
    print(json.dumps(load.result(time.perf_counter() - begun)))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
