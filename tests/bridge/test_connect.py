"""Connect and gRPC-Web as bytes on the wire, before a server that does what it is asked."""

import asyncio
import base64
import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from bridge.probe import Answer, Caller, Stand, everything, pool
from google.protobuf import json_format
from google.rpc import error_details_pb2

from asteros.bridge import paths

pytestmark = pytest.mark.anyio
ECHO = "/probe.v1.Probe/Create"
SPECIAL = "/probe.v1.Special/"
CODECS = ("json", "proto")


@pytest.fixture
def call(stand: Stand) -> Caller:
    return Caller(stand.bridge("aster", connect=True))


def message(codec: str, **fields: Any) -> bytes:
    one = everything()(**fields)
    if codec == "json":
        return json_format.MessageToJson(one, descriptor_pool=pool()).encode()
    return bytes(one.SerializeToString())


def read(codec: str, data: bytes) -> Any:
    if codec == "json":
        return json_format.Parse(data, everything()(), descriptor_pool=pool())
    return everything().FromString(data)


def envelope(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


def envelopes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        flags, size = struct.unpack(">BI", data[:5])
        yield flags, data[5 : 5 + size]
        data = data[5 + size :]


def reason(error: dict[str, Any]) -> str:
    """The reason among the details of a Connect error."""
    for detail in error.get("details", ()):
        if detail["type"] == "google.rpc.ErrorInfo":
            raw = base64.b64decode(detail["value"] + "==")
            return str(error_details_pb2.ErrorInfo.FromString(raw).reason)
    return ""


# -- unary -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
async def test_unary(call: Caller, codec: str) -> None:
    answer = await call("POST", ECHO, message(codec, name="n", big=1 << 60), content_type=f"application/{codec}")
    assert (answer.status, answer.headers["content-type"]) == (200, f"application/{codec}")
    assert read(codec, answer.body) == everything()(name="n", big=1 << 60)
    assert answer.headers["x-initial"] == "i"
    assert answer.headers["trailer-x-trailer"] == "t"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_empty_bodies(call: Caller) -> None:
    for codec in CODECS:
        answer = await call("POST", ECHO, b"", content_type=f"application/{codec}")
        assert read(codec, answer.body) == everything()()


async def test_json_prints_what_rest_prints(call: Caller) -> None:
    connect = await call("POST", ECHO, b'{"name":"n"}', content_type="application/json")
    rest = await call("POST", "/v1/things", b'{"name":"n"}', content_type="application/json")
    assert connect.json == rest.json


@pytest.mark.parametrize(
    ("code", "status", "name"), [(5, 404, "not_found"), (1, 499, "canceled"), (13, 500, "internal")]
)
async def test_failure(call: Caller, code: int, status: int, name: str) -> None:
    answer = await call(
        "POST", f"{SPECIAL}Fail", message("json", count=code, name="no", flag=True), content_type="application/json"
    )
    assert answer.status == status
    assert (answer.json["code"], answer.json["message"]) == (name, "no")
    kinds = [detail["type"] for detail in answer.json["details"]]
    assert kinds == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "type.example/unknown.Type"]
    assert reason(answer.json) == "WHY"


async def test_unauthenticated_says_how(call: Caller) -> None:
    answer = await call("POST", f"{SPECIAL}Fail", message("json", count=16), content_type="application/json")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"nme":"n"}', "UNKNOWN_FIELD"),
        (b'{"count":"many"}', "FIELD_VIOLATION"),
        (b'{"name":', "MALFORMED_JSON"),
        (b"[]", "MALFORMED_JSON"),
        (b'{"name":"a","name":"b"}', "MALFORMED_JSON"),
        (b"\xff", "MALFORMED_JSON"),
    ],
)
async def test_bad_json_is_refused_as_rest_refuses_it(call: Caller, body: bytes, why: str) -> None:
    answer = await call("POST", ECHO, body, content_type="application/json")
    rest = await call("POST", "/v1/things", body, content_type="application/json")
    assert (answer.status, answer.json["code"], reason(answer.json)) == (400, "invalid_argument", why)
    assert (rest.status, rest.json["error"]["details"][0]["reason"]) == (400, why)


async def test_unknown_members_are_left_out_in_gateway_style(stand: Stand) -> None:
    call = Caller(stand.bridge("gateway", connect=True))
    answer = await call("POST", ECHO, b'{"nme":"n","name":"m"}', content_type="application/json")
    assert (answer.status, answer.json["name"]) == (200, "m")


async def test_too_large_a_body(stand: Stand) -> None:
    call = Caller(stand.bridge("aster", connect=True, max_body=100))
    for path, kind in ((ECHO, "application/json"), (f"{SPECIAL}Count", "application/connect+proto")):
        answer = await call("POST", path, b"x" * 101, content_type=kind)
        last = answer.json if path == ECHO else json.loads(list(envelopes(answer.body))[-1][1])["error"]
        assert (last["code"], reason(last)) == ("resource_exhausted", "MESSAGE_TOO_LARGE")


# -- GET -----------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
async def test_get(call: Caller, codec: str) -> None:
    """Only of methods without side effects."""
    asked = base64.urlsafe_b64encode(message(codec, name="n")).decode().rstrip("=")
    answer = await call("GET", f"{SPECIAL}Metadata?connect=v1&encoding={codec}&base64=1&message={asked}", x_mine="m")
    assert (answer.status, answer.headers["content-type"]) == (200, f"application/{codec}")
    assert read(codec, answer.body).labels["x-mine"] == "m"


async def test_get_of_plain_json(call: Caller) -> None:
    answer = await call("GET", f"{SPECIAL}Metadata?encoding=json&message={quote('{}')}")
    assert answer.status == 200
    bad = await call("GET", f"{SPECIAL}Metadata?encoding=json&message={quote('{')}")
    assert (bad.status, reason(bad.json)) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize(
    ("query", "status"), [("", 415), ("?encoding=xml&message=a", 415), ("?encoding=json", 400), ("?encoding=%ff", 400)]
)
async def test_bad_gets(call: Caller, query: str, status: int) -> None:
    assert (await call("GET", f"{SPECIAL}Metadata{query}")).status == status


# -- what is no request of these protocols -------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [
        ("PUT", "application/json", 405),
        ("GET", "", 405),
        ("POST", "text/plain", 415),
        ("POST", "application/grpc", 415),
        ("POST", "application/connect+json", 415),
        ("POST", "", 415),
    ],
)
async def test_other_requests(call: Caller, method: str, kind: str, status: int) -> None:
    answer = await call(method, ECHO, b"{}", content_type=kind)
    assert answer.status == status
    assert (status == 405) == ("allow" in answer.headers)


async def test_unknown_paths_are_those_of_rest(call: Caller) -> None:
    for path in ("/probe.v1.Probe/None", "/probe.v1.Special/Upload", "/none.v1.Probe/Create"):
        answer = await call("POST", path, b"{}", content_type="application/json")
        assert (answer.status, answer.json["error"]["code"]) == (404, 5), path


async def test_off(stand: Stand) -> None:
    answer = await Caller(stand.bridge("aster"))("POST", ECHO, b"{}", content_type="application/json")
    assert answer.status == 404


async def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.available()
    monkeypatch.setattr(paths, "DRIVER", "none_such")
    assert not paths.available()


# -- metadata ------------------------------------------------------------------------------


async def told(call: Caller, **headers: str) -> dict[str, str]:
    answer = await call("POST", f"{SPECIAL}Metadata", b"{}", content_type="application/json", **headers)
    assert answer.status == 200
    labels: dict[str, str] = answer.json["labels"]
    return labels


async def test_headers_become_metadata(call: Caller) -> None:
    found = await told(
        call, authorization="Bearer k", traceparent="00-1", x_mine="m", x_data_bin="AQI", x_request_id="r",
        x_api_key="k", x_grpc_web="1",
    )  # fmt: skip
    assert found.items() >= {
        "authorization": "Bearer k", "traceparent": "00-1", "x-mine": "m", "x-data-bin": "bytes 0102",
        "x-request-id": "r",
    }.items()  # fmt: skip
    assert "x-api-key" not in found
    assert "x-grpc-web" not in found


async def test_what_no_client_can_say(stand: Stand) -> None:
    bridge = stand.bridge(
        "aster", connect=True, reserved=frozenset(("x-token",)), trusted=lambda address: (("x-token", address),)
    )
    found = await told(Caller(bridge), x_token="mine", x_forwarded_for="1.2.3.4")
    assert found["x-token"] == "192.0.2.1"
    assert found["x-forwarded-for"] == "1.2.3.4, 192.0.2.1"


async def test_odd_headers_harm_nobody(call: Caller) -> None:
    assert "x-odd" not in await told(call, x_odd="caf\xe9")
    answer = await call("POST", ECHO, b"{}", content_type="application/json", x_data_bin="%%")
    assert (answer.status, reason(answer.json)) == (400, "FIELD_VIOLATION")


async def test_two_credentials_are_refused(call: Caller) -> None:
    answer = await call("POST", ECHO, b"{}", content_type="application/json", authorization="Bearer a", x_api_key="b")
    assert (answer.status, answer.json["code"], reason(answer.json)) == (401, "unauthenticated", "INVALID_CREDENTIALS")


async def test_pages_of_others_are_refused(call: Caller) -> None:
    answer = await call("POST", ECHO, b"{}", content_type="application/json", origin="https://evil.example")
    assert (answer.status, reason(answer.json)) == (403, "ORIGIN_NOT_ALLOWED")


async def test_browsers_may_send_and_read(call: Caller) -> None:
    asked = await call("OPTIONS", ECHO, origin="http://localhost:5173", access_control_request_method="POST")
    assert asked.status == 204
    allowed = asked.headers["access-control-allow-headers"].lower()
    assert "connect-protocol-version" in allowed
    assert "x-grpc-web" in allowed
    answer = await call("POST", ECHO, b"{}", content_type="application/json", origin="http://localhost:5173")
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]


# -- deadlines and leaving -------------------------------------------------------------------


async def test_deadline_reaches_the_server(call: Caller) -> None:
    answer = await call("POST", f"{SPECIAL}Metadata", b"{}", content_type="application/json", connect_timeout_ms="5000")
    assert 4 < answer.json["ratio"] < 6  # gRPC rounds up


async def test_deadline_passes(call: Caller) -> None:
    answer = await call("POST", f"{SPECIAL}Hang", b"{}", content_type="application/json", connect_timeout_ms="50")
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")


async def test_bad_deadline(call: Caller) -> None:
    answer = await call("POST", ECHO, b"{}", content_type="application/json", connect_timeout_ms="soon")
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")


async def test_leaving_cancels(stand: Stand, call: Caller) -> None:
    stand.server.hanging.clear()
    stand.server.cancelled.clear()
    leave = asyncio.Event()
    asking = asyncio.create_task(call("POST", f"{SPECIAL}Hang", b"{}", content_type="application/json", leave=leave))
    await stand.server.hanging.wait()
    leave.set()
    async with asyncio.timeout(5):
        await stand.server.cancelled.wait()
        await asking


# -- streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
async def test_stream(call: Caller, codec: str) -> None:
    answer = await call(
        "POST", f"{SPECIAL}Count", envelope(message(codec, count=3)), content_type=f"application/connect+{codec}"
    )
    assert (answer.status, answer.headers["content-type"]) == (200, f"application/connect+{codec}")
    *frames, last = envelopes(answer.body)
    assert [read(codec, data).name for _, data in frames] == ["n0", "n1", "n2"]
    assert last == (2, b"{}")


async def test_failure_in_mid_stream(call: Caller) -> None:
    body = envelope(message("json", count=2, big=8))
    answer = await call("POST", f"{SPECIAL}Count", body, content_type="application/connect+json")
    *frames, (flags, end) = envelopes(answer.body)
    assert (answer.status, len(frames), flags) == (200, 2, 2)
    assert json.loads(end)["error"]["code"] == "resource_exhausted"


async def test_leaving_a_stream_cancels(stand: Stand, call: Caller) -> None:
    stand.server.cancelled.clear()
    leave = asyncio.Event()

    async def leaving(answer: Answer) -> None:
        leave.set()

    body = envelope(message("proto", count=1, flag=True))
    await call("POST", f"{SPECIAL}Count", body, content_type="application/connect+proto", leave=leave, on_chunk=leaving)
    async with asyncio.timeout(5):
        await stand.server.cancelled.wait()


async def test_drain_ends_streams(stand: Stand) -> None:
    """Also those of a server that does not end them itself."""
    bridge = stand.bridge("aster", connect=True)

    async def draining(answer: Answer) -> None:
        bridge.drain.begin()

    body = envelope(message("json", count=1, flag=True))
    answer = await Caller(bridge)(
        "POST", f"{SPECIAL}Count", body, content_type="application/connect+json", on_chunk=draining
    )
    *_, (_, end) = envelopes(answer.body)
    error = json.loads(end)["error"]
    assert (error["code"], reason(error)) == ("unavailable", "DRAINING")


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\5ab", envelope(b"") * 2, b"\7\0\0\0\0"])
async def test_bad_envelopes(call: Caller, body: bytes) -> None:
    answer = await call("POST", f"{SPECIAL}Count", body, content_type="application/connect+proto")
    *frames, (flags, end) = envelopes(answer.body)
    assert (answer.status, frames, flags) == (200, [], 2)
    assert json.loads(end)["error"]["code"] in ("invalid_argument", "unimplemented")


# -- gRPC-Web ----------------------------------------------------------------------------------


def trailers(data: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in data.decode().strip().split("\r\n"))


@pytest.mark.parametrize("suffix", ["", "+proto", "+json"])
async def test_web_unary(call: Caller, suffix: str) -> None:
    codec = suffix.removeprefix("+") or "proto"
    kind = f"application/grpc-web{suffix}"
    answer = await call("POST", ECHO, envelope(message(codec, name="n")), content_type=kind)
    (flags, data), (last, end) = envelopes(answer.body)
    assert (answer.status, flags, last) == (200, 0, 128)
    assert read(codec, data) == everything()(name="n")
    assert trailers(end)["grpc-status"] == "0"
    assert trailers(end)["x-trailer"] == "t"


async def test_web_stream_and_failure(call: Caller) -> None:
    body = envelope(message("proto", count=2, big=5))
    answer = await call("POST", f"{SPECIAL}Count", body, content_type="application/grpc-web+proto")
    *frames, (_, end) = envelopes(answer.body)
    assert len(frames) == 2
    assert trailers(end)["grpc-status"] == "5"


async def test_web_failure_has_its_details(call: Caller) -> None:
    body = envelope(message("proto", count=9, name="not now", flag=True))
    answer = await call("POST", f"{SPECIAL}Fail", body, content_type="application/grpc-web+proto")
    ((_, end),) = envelopes(answer.body)
    found = trailers(end)
    assert (found["grpc-status"], found["grpc-message"]) == ("9", "not%20now")
    assert b"WHY" in base64.b64decode(found["grpc-status-details-bin"] + "==")


async def test_web_deadline(call: Caller) -> None:
    body = envelope(b"")
    answer = await call("POST", f"{SPECIAL}Hang", body, content_type="application/grpc-web+proto", grpc_timeout="50m")
    ((_, end),) = envelopes(answer.body)
    assert trailers(end)["grpc-status"] == "4"
