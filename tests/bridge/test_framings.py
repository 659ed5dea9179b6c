"""Streams of any service: lines, events, failures, whoever leaves, and drain. Without sockets."""

import asyncio
import json
from typing import Any

import pytest
from bridge.probe import Answer, Caller, Stand

from asteros.bridge import streams

pytestmark = pytest.mark.anyio
EVENTS = {"accept": "text/event-stream"}


def lines(answer: Answer) -> list[Any]:
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.splitlines()]


def events(answer: Answer) -> list[dict[str, str]]:
    """Server-sent events: their fields by name."""
    blocks = answer.body.decode().removesuffix("\n\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in blocks]


async def test_gateway_lines(stand: Stand) -> None:
    answer = await stand.gateway("GET", "/v1/stream/2")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert [line["result"]["name"] for line in lines(answer)] == ["n0", "n1"]


async def test_gateway_line_has_the_whole_list(stand: Stand) -> None:
    found = lines(await stand.gateway("GET", "/v1/stream/2/children"))
    assert [[child["id"] for child in line["result"]] for line in found] == [["0-a", "0-b"], ["1-a", "1-b"]]


async def test_aster_lines(stand: Stand) -> None:
    answer = await stand.aster("GET", "/v1/stream/2")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["name"] for line in lines(answer)] == ["n0", "n1"]


async def test_aster_line_for_each_element(stand: Stand) -> None:
    found = lines(await stand.aster("GET", "/v1/stream/2/children"))
    assert [line["id"] for line in found] == ["0-a", "0-b", "1-a", "1-b"]


async def test_scalar_of_a_stream(stand: Stand) -> None:
    assert lines(await stand.aster("GET", "/v1/stream/2/name")) == ["n0", "n1"]
    assert lines(await stand.gateway("GET", "/v1/stream/1/name")) == [{"result": "n0"}]


async def test_empty_stream(stand: Stand) -> None:
    for caller in (stand.gateway, stand.aster):
        answer = await caller("GET", "/v1/stream/0")
        assert (answer.status, answer.body) == (200, b"")
    assert events(await stand.aster("GET", "/v1/stream/0", **EVENTS)) == [
        {"retry": "2000"},
        {"event": "end", "data": "{}"},
    ]


async def test_raw_stream(stand: Stand) -> None:
    for caller in (stand.gateway, stand.aster):
        answer = await caller("GET", "/v1/stream/3/raw", **EVENTS)
        assert (answer.body, answer.headers["content-type"]) == (b"0;1;2;", "text/csv")


async def test_events(stand: Stand) -> None:
    """In both styles; without hooks they are bare data."""
    for caller in (stand.gateway, stand.aster):
        answer = await caller("GET", "/v1/stream/2", **EVENTS)
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        first, one, two, end = events(answer)
        assert (first, end) == ({"retry": "2000"}, {"event": "end", "data": "{}"})
        assert [json.loads(each["data"])["name"] for each in (one, two)] == ["n0", "n1"]
        assert set(one) == {"data"}


async def test_hooks_name_events(stand: Stand) -> None:
    hooks = {"probe.v1.Inner": lambda inner: (inner.id if inner.id.endswith("a") else "", f"kind-{inner.id[-1]}")}
    caller = Caller(stand.bridge("aster", hooks=hooks))
    _, one, two, _ = events(await caller("GET", "/v1/stream/1/children", **EVENTS))
    assert (one["id"], one["event"]) == ("0-a", "kind-a")
    assert ("id" in two, two["event"]) == (False, "kind-b")  # never invented


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/x-ndjson", "text/html, */*;q=0.8", ""])
async def test_lines_unless_events_are_asked_for(stand: Stand, accept: str) -> None:
    headers = {"accept": accept} if accept else {}
    assert (await stand.aster("GET", "/v1/stream/1", **headers)).headers["content-type"] == "application/x-ndjson"


async def test_several_events_in_one_write(stand: Stand) -> None:
    answer = await stand.aster("GET", "/v1/stream/1/children", **EVENTS)
    assert [chunk.count(b"data:") for chunk in answer.chunks] == [0, 2, 1]


# -- failures ----------------------------------------------------------------------------------


async def test_failure_before_the_first_message(stand: Stand) -> None:
    """Is an HTTP error, never a 200."""
    gateway = await stand.gateway("GET", "/v1/stream/0?big=5&name=why")
    assert (gateway.status, gateway.json) == (404, {"error": {"code": 5, "message": "why", "details": []}})
    for headers in ({}, EVENTS):
        aster = await stand.aster("GET", "/v1/stream/0?big=5&name=why", **headers)
        assert (aster.status, aster.json["error"]["status"]) == (404, "NOT_FOUND")


async def test_refusal_before_the_call(stand: Stand) -> None:
    """Is the plain status, for streams too."""
    answer = await stand.gateway("GET", "/v1/stream/x")
    assert (answer.status, answer.json["code"]) == (400, 3)


async def test_failure_after_the_first_message(stand: Stand) -> None:
    gateway = lines(await stand.gateway("GET", "/v1/stream/1?big=5&name=why"))
    assert gateway[1] == {"error": {"code": 5, "message": "why", "details": []}}
    aster = lines(await stand.aster("GET", "/v1/stream/1?big=5&name=why"))
    assert aster[1] == {"error": {"code": 5, "status": "NOT_FOUND", "message": "why", "details": []}}
    *_, failed = events(await stand.aster("GET", "/v1/stream/1?big=5&name=why", **EVENTS))
    assert (failed["event"], json.loads(failed["data"])) == ("error", aster[1])


async def test_unavailable_is_no_goaway_by_itself(stand: Stand) -> None:
    *_, failed = events(await stand.aster("GET", "/v1/stream/1?big=14", **EVENTS))
    assert failed["event"] == "error"


# -- whoever leaves ------------------------------------------------------------------------------


async def test_leaving_cancels_a_call(stand: Stand) -> None:
    leave = asyncio.Event()
    stand.server.hanging.clear()
    stand.server.cancelled.clear()
    request = asyncio.create_task(stand.aster("GET", "/v1/hang", leave=leave))
    await stand.server.hanging.wait()
    leave.set()
    await stand.server.cancelled.wait()
    assert (await request).status == 0  # nobody is there to be answered


async def test_leaving_cancels_a_stream(stand: Stand) -> None:
    leave = asyncio.Event()
    stand.server.cancelled.clear()

    async def leave_then(answer: Answer) -> None:
        if b"n1" in answer.body:
            leave.set()

    answer = await stand.aster("GET", "/v1/stream/2?flag=true", leave=leave, on_chunk=leave_then)
    await stand.server.cancelled.wait()
    assert len(lines(answer)) == 2


async def test_back_pressure_reaches_the_server(stand: Stand) -> None:
    """While the reader does not read, the server cannot write."""
    go_on, leave = asyncio.Event(), asyncio.Event()

    async def stall(answer: Answer) -> None:
        if answer.body:
            await go_on.wait()

    stand.server.written, stand.server.cancelled = 0, asyncio.Event()
    text = "x" * 10_000
    request = asyncio.create_task(stand.aster("GET", f"/v1/stream/20000?text={text}", leave=leave, on_chunk=stall))
    before = -1
    while before != stand.server.written or before <= 0:
        before = stand.server.written
        await asyncio.sleep(0.2)
    assert stand.server.written < 10_000  # of 20,000; what lies between is the window of gRPC
    leave.set()
    await stand.server.cancelled.wait()
    go_on.set()
    await request


# -- quiet, and drain ---------------------------------------------------------------------------


async def test_keep_alive(stand: Stand) -> None:
    leave = asyncio.Event()
    caller = Caller(stand.bridge("aster", keep_alive=0.05))

    async def leave_then(answer: Answer) -> None:
        if answer.body.count(b": keep-alive\n\n") == 2:
            leave.set()

    answer = await caller("GET", "/v1/stream/1?flag=true", leave=leave, on_chunk=leave_then, **EVENTS)
    assert answer.body.count(b": keep-alive\n\n") == 2


@pytest.mark.parametrize("headers", [EVENTS, {}])
async def test_drain(stand: Stand, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that the server leaves open ends with the last id, and cleanly."""
    monkeypatch.setattr(streams, "GRACE", 0.05)
    bridge = stand.bridge("aster", hooks={"probe.v1.Inner": lambda inner: (inner.id, "")})
    stand.server.cancelled.clear()

    async def drain(answer: Answer) -> None:
        if b"1-b" in answer.body:
            bridge.drain.begin()

    answer = await Caller(bridge)("GET", "/v1/stream/2/children?flag=true", on_chunk=drain, **headers)
    await stand.server.cancelled.wait()
    if headers:
        last = events(answer)[-1]
        assert (last["event"], last["id"]) == ("goaway", "1-b")
        assert json.loads(last["data"]) == {"reason": "draining", "cursor": "1-b"}
    else:
        error = lines(answer)[-1]["error"]
        assert error["status"] == "UNAVAILABLE"
        assert error["details"][0] == {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "DRAINING", "domain": "probe",
            "metadata": {"cursor": "1-b"},
        }  # fmt: skip
    assert (await Caller(bridge)("GET", "/health")).status == 503


async def test_an_element_is_rendered_once(stand: Stand) -> None:
    seen: list[str] = []

    def hook(inner: Any) -> tuple[str, str]:
        seen.append(inner.id)
        return inner.id, ""

    caller = Caller(stand.bridge("aster", hooks={"probe.v1.Inner": hook}))
    both = await asyncio.gather(*(caller("GET", "/v1/stream/50/children", **EVENTS) for _ in range(2)))
    assert both[0].body == both[1].body
    assert len(seen) == len(set(seen)) == 100


async def test_last_event_id_replaces_where_to_begin(stand: Stand) -> None:
    """Also what the URL says again: a browser repeats its old URL."""
    caller = Caller(stand.bridge("aster", resume_field="text"))
    answer = await caller("GET", "/v1/stream/1?number=5", last_event_id="c")
    (line,) = lines(answer)
    assert line["text"] == "c"
