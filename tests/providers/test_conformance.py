"""The promise of ``Provider``, held by every kind."""

import asyncio
import json
from contextlib import aclosing

import pytest
from providers.kinds import STOPS, Heard, HttpKind, Kind, Scene, hear, request
from wire import End, Tool

from asteros import errors
from asteros.providers.base import TextDelta

pytestmark = pytest.mark.anyio

WRITE = Tool("Write", {"file_path": "a.txt", "content": "hi, 世界 🌍"}, id="call_w")
READ = Tool("Read", {"file_path": "b.txt"}, id="call_r")


async def test_text_arrives_in_pieces_and_order(kind: Kind) -> None:
    kind.plays(Scene(text="The quick brown fox. 敏捷的狐狸。"))
    heard = await hear(kind.provider, request(kind.model))
    assert heard.text == "The quick brown fox. 敏捷的狐狸。"
    assert len(heard.chunks) > 3
    assert heard.finish.stop_reason == STOPS["end_turn"]
    assert heard.finish.model


async def test_reasoning_is_apart_from_text(kind: Kind) -> None:
    kind.plays(Scene(thinking="let me see", text="Here."))
    heard = await hear(kind.provider, request(kind.model))
    assert (heard.thinking, heard.text) == ("let me see", "Here.")


async def test_a_tool_call_is_whole(kind: Kind) -> None:
    kind.plays(Scene(text="I will write.", tools=[WRITE]))
    heard = await hear(kind.provider, request(kind.model))
    (call,) = heard.calls
    assert (call.id, call.name, json.loads(call.input_json)) == ("call_w", "Write", WRITE.input)
    assert heard.finish.stop_reason == STOPS["tool_use"]


async def test_parallel_tool_calls_keep_their_order(kind: Kind) -> None:
    kind.plays(Scene(tools=[WRITE, READ, Tool("Ls", {}, id="call_l")]))
    heard = await hear(kind.provider, request(kind.model))
    assert [(call.id, call.name) for call in heard.calls] == [
        ("call_w", "Write"),
        ("call_r", "Read"),
        ("call_l", "Ls"),
    ]
    assert json.loads(heard.calls[2].input_json) == {}


async def test_usage_is_reported(kind: Kind) -> None:
    kind.plays(Scene(text="x", usage=(1234, 56)))
    usage = (await hear(kind.provider, request(kind.model))).finish.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (1234, 56, 1290)


async def test_the_output_limit_is_told(kind: Kind) -> None:
    kind.plays(Scene(text="and then", stop="max_tokens"))
    heard = await hear(kind.provider, request(kind.model))
    assert heard.finish.stop_reason == STOPS["max_tokens"]


async def test_a_cut_stream_is_never_finished(kind: Kind) -> None:
    kind.plays(Scene(text="one two three", frames=-1))
    with pytest.raises(errors.ProviderTruncated):
        await hear(kind.provider, request(kind.model))


async def test_a_closed_connection_is_never_finished(kind: Kind) -> None:
    kind.plays(Scene(text="one two three", frames=4, end=End.BROKEN))
    heard = Heard()
    with pytest.raises(errors.ProviderTruncated):
        await hear(kind.provider, request(kind.model), heard)


async def test_a_reset_connection_is_unavailable(kind: Kind) -> None:
    kind.plays(Scene(text="one two three", frames=4, end=End.RESET))
    with pytest.raises(errors.ProviderUnavailable):
        await hear(kind.provider, request(kind.model))


@pytest.mark.parametrize(
    ("error", "expected"), [("overloaded", errors.ProviderLimit), ("invalid", errors.ProviderRejected)]
)
async def test_an_error_inside_a_200(kind: Kind, error: str, expected: type[errors.AsterError]) -> None:
    kind.plays(Scene(text="one two", frames=3, error=error))
    with pytest.raises(expected) as caught:
        await hear(kind.provider, request(kind.model))
    assert caught.value.facts["provider"] == kind.provider.name


async def test_silence_is_a_stall(kind: Kind) -> None:
    kind.plays(Scene(text="one two", frames=4, end=End.SILENT))
    heard = Heard()
    with pytest.raises(errors.ProviderStalled):
        await hear(kind.provider, request(kind.model, idle_timeout=0.05), heard)
    assert heard.chunks


async def test_cancelling_ends_the_call(kind: Kind) -> None:
    kind.plays(Scene(text="one two", frames=4, end=End.SILENT))
    began = asyncio.Event()

    async def listen() -> None:
        async for _ in kind.provider.stream(request(kind.model)):
            began.set()

    task = asyncio.ensure_future(listen())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_concurrent_calls_do_not_mix(kind: Kind) -> None:
    scene = Scene(text="one two three four")
    kind.plays(*[scene] * 8)
    heard = await asyncio.gather(*(hear(kind.provider, request(kind.model)) for _ in range(8)))
    assert {each.text for each in heard} == {scene.text}


async def test_closing_twice_is_fine(kind: Kind) -> None:
    await kind.provider.aclose()
    await kind.provider.aclose()


async def test_cancelling_closes_the_connection(http: HttpKind) -> None:
    http.plays(Scene(text="one two", frames=4, end=End.SILENT))
    async with aclosing(http.provider.stream(request(http.model))) as chunks:
        assert isinstance(await anext(chunks), TextDelta)
        waiting = asyncio.ensure_future(_drain(chunks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await http.wire.client_left()


async def test_closing_the_stream_closes_the_connection(http: HttpKind) -> None:
    http.plays(Scene(text="one two", frames=4, end=End.SILENT))
    chunks = http.provider.stream(request(http.model))
    assert isinstance(await anext(chunks), TextDelta)
    await chunks.aclose()
    await http.wire.client_left()


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_code_points_cut_over_packets(http: HttpKind, size: int) -> None:
    http.plays(Scene(text="héllo 世界 🌍🌍", tools=[WRITE], write_size=size))
    heard = await hear(http.provider, request(http.model))
    assert heard.text == "héllo 世界 🌍🌍"
    assert json.loads(heard.calls[0].input_json) == WRITE.input


async def test_lines_may_end_with_crlf(http: HttpKind) -> None:
    http.plays(Scene(text="one two", tools=[READ], newline="\r\n", write_size=5))
    heard = await hear(http.provider, request(http.model))
    assert (heard.text, len(heard.calls)) == ("one two", 1)


async def test_half_a_tool_call_is_never_yielded(http: HttpKind) -> None:
    http.plays(Scene(tools=[Tool("Write", raw='{"file_path": "a')]))
    heard = Heard()
    with pytest.raises(errors.ProviderTruncated):
        await hear(http.provider, request(http.model), heard)
    assert not heard.calls


async def test_a_tool_call_cut_by_the_output_limit_is_dropped(http: HttpKind) -> None:
    http.plays(Scene(text="x", tools=[Tool("Write", raw='{"file_path": "a')], stop="max_tokens"))
    heard = await hear(http.provider, request(http.model))
    assert not heard.calls
    assert heard.finish.stop_reason == STOPS["max_tokens"]


async def _drain(chunks: object) -> None:
    async for _ in chunks:  # type: ignore[attr-defined]
        pass
