"""What HTTP failures become, for every provider reached over HTTP."""

import email.utils
import time

import pytest
from providers.kinds import KEY, Heard, HttpKind, Scene, hear, request, user
from wire import End, ErrorReply, RawReply, WireServer

from aster.v1 import agent_pb2
from asteros import clock, errors
from asteros.providers import failures
from asteros.providers.base import ModelRequest
from asteros.providers.registry import ProviderRegistry
from asteros.providers.transport import MAX_LINE_BYTES

pytestmark = pytest.mark.anyio

STATUSES = [
    (400, errors.ProviderRejected),
    (401, errors.ProviderAuth),
    (402, errors.ProviderLimit),
    (403, errors.ProviderAuth),
    (404, errors.ProviderRejected),
    (408, errors.ProviderUnavailable),
    (413, errors.ProviderRejected),
    (422, errors.ProviderRejected),
    (429, errors.ProviderLimit),
    (500, errors.ProviderUnavailable),
    (503, errors.ProviderUnavailable),
    (529, errors.ProviderLimit),
]


@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_each_status_has_its_error(http: HttpKind, status: int, expected: type[errors.AsterError]) -> None:
    http.wire.reply(ErrorReply(status=status))
    with pytest.raises(expected) as caught:
        await hear(http.provider, request(http.model))
    assert type(caught.value) is expected
    assert caught.value.facts == {"provider": http.provider.name, "http_status": str(status)}
    assert len(http.wire.requests) == 1  # retries are the caller's


async def test_retry_after_is_told(http: HttpKind) -> None:
    http.wire.reply(ErrorReply(status=429, retry_after="7"))
    with pytest.raises(errors.ProviderLimit) as caught:
        await hear(http.provider, request(http.model))
    assert caught.value.retry_after == 7.0


async def test_a_refusal_tells_why_without_the_key(http: HttpKind) -> None:
    http.wire.reply(ErrorReply(status=400, message=f"bad schema\nfor {KEY} and sk-ant-abcdefgh1234 " + "x" * 1000))
    with pytest.raises(errors.ProviderRejected) as caught:
        await hear(http.provider, request(http.model))
    assert "bad schema for [redacted] and [redacted]" in caught.value.text
    assert KEY not in caught.value.text
    assert len(caught.value.text) < 400


async def test_a_refused_key_tells_nothing_of_the_provider(http: HttpKind) -> None:
    http.wire.reply(ErrorReply(status=401, message=f"key {KEY} is bad"))
    with pytest.raises(errors.ProviderAuth) as caught:
        await hear(http.provider, request(http.model))
    assert caught.value.text == "The model provider refused the key"
    assert caught.value.__cause__ is None


async def test_a_redirect_is_not_followed(http: HttpKind) -> None:
    elsewhere = {"location": f"{http.wire.base_url}/elsewhere", "content-type": "text/plain"}
    http.wire.reply(RawReply(status=307, headers=elsewhere, parts=["moved"]))
    with pytest.raises(errors.ProviderRejected):
        await hear(http.provider, request(http.model))
    assert len(http.wire.requests) == 1


async def test_a_refused_connection_is_unavailable(http: HttpKind) -> None:
    await http.wire.stop()
    with pytest.raises(errors.ProviderUnavailable):
        await hear(http.provider, request(http.model))


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openai_responses"])
async def test_a_server_without_tls_is_unavailable(wire: WireServer, provider: str) -> None:
    url = wire.base_url.replace("http:", "https:")
    registry = ProviderRegistry(None, {})
    model = agent_pb2.ModelConfig(provider=provider, model="m", api_key=KEY, base_url=url)
    made, filled = registry.resolve(model)
    with pytest.raises(errors.ProviderUnavailable) as caught:
        await hear(made, ModelRequest(filled, [user("hi")], idle_timeout=5.0))
    assert "127.0.0.1" not in f"{caught.value.text} {caught.value.status()}"
    await registry.aclose()


async def test_a_retry_after_that_is_a_date(http: HttpKind) -> None:
    soon = email.utils.formatdate(clock.now() / clock.NANOS + 20, usegmt=True)
    http.wire.reply(ErrorReply(status=503, retry_after=soon))
    with pytest.raises(errors.ProviderUnavailable) as caught:
        await hear(http.provider, request(http.model))
    assert caught.value.retry_after == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    "said", ['{"error":{"message":{"a":[]}}}', '{"error":5}', "[]", '"x"', '{"error":{"message":"\\ud83d"}}']
)
async def test_an_error_body_of_no_known_form(http: HttpKind, said: str) -> None:
    http.wire.reply(RawReply(status=400, headers={"content-type": "application/json"}, parts=[said]))
    with pytest.raises(errors.ProviderRejected) as caught:
        await hear(http.provider, request(http.model))
    assert caught.value.status().message


async def test_silence_before_the_first_byte_is_a_stall(http: HttpKind) -> None:
    http.wire.reply(RawReply(parts=[], end=End.SILENT, head=False))
    with pytest.raises(errors.ProviderStalled):
        await hear(http.provider, request(http.model, idle_timeout=0.05))


async def test_comments_and_pings_are_signs_of_life(http: HttpKind) -> None:
    alive = RawReply(parts=[": keep-alive\n\n", "event: ping\ndata: {}\n\n"] * 5, pause=0.05, end=End.SILENT)
    http.wire.reply(alive)
    before = time.monotonic()
    with pytest.raises(errors.ProviderStalled):
        await hear(http.provider, request(http.model, idle_timeout=0.3))
    assert time.monotonic() - before > 0.5


async def test_an_endless_line_is_refused(http: HttpKind) -> None:
    http.wire.reply(RawReply(parts=["data: ", *["x" * 65536] * (MAX_LINE_BYTES // 65536 + 2)]))
    with pytest.raises(errors.ProviderTruncated):
        await hear(http.provider, request(http.model))


@pytest.mark.parametrize(
    "frame",
    [
        "event: message_start\ndata: {broken\n\n",
        "event: message_start\ndata: 5\n\n",
        "event: message_start\ndata: {}\n\n",
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":9,"delta":{}}\n\n',
        'data: {"choices":[{"index":0,"delta":{"content":7}}]}\n\n',
        'data: {"choices":5}\n\n',
        "event: x\ndata: " + "[" * 100_000 + "\n\n",
        "",
    ],
)
async def test_malformed_frames_are_truncation(http: HttpKind, frame: str) -> None:
    http.wire.reply(RawReply(parts=[frame] if frame else []))
    with pytest.raises(errors.ProviderTruncated):
        await hear(http.provider, request(http.model))


async def test_bytes_that_are_not_utf8(http: HttpKind) -> None:
    http.wire.reply(RawReply(parts=["event: ping\ndata: \udcff\udcfe\n\n"]))
    with pytest.raises(errors.ProviderTruncated):
        await hear(http.provider, request(http.model))


async def test_no_connection_is_left_open_after_faults(http: HttpKind) -> None:
    for end in (End.BROKEN, End.RESET, End.CLOSED, End.SILENT):
        http.plays(Scene(text="one two three", frames=4, end=end))
        with pytest.raises(errors.AsterError):
            await hear(http.provider, request(http.model, idle_timeout=0.05), Heard())
    await http.provider.aclose()
    await http.wire.all_closed()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e9"}, failures.MAX_RETRY_AFTER),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:05 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_forms_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after(headers) == seconds
