"""What only OpenAI's Responses does."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from providers.kinds import KEY, Heard, hear, message, request, user
from wire import OpenAIReply, RawReply, ResponsesReply, Tool, WireServer

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import responses_messages
from asteros.providers.base import Seal, ToolSpec
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE

pytestmark = pytest.mark.anyio

CALL = common_pb2.ToolCall(id="call_1", name="Read", input_json='{"file_path":"a"}')
RESULT = common_pb2.ToolResult(call_id="call_1", name="Read", output_json='{"ok":true}')
ASSISTANT, SYSTEM, TOOL = common_pb2.ROLE_ASSISTANT, common_pb2.ROLE_SYSTEM, common_pb2.ROLE_TOOL
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Z0FBQUFB"}


@pytest.fixture
async def provider(wire: WireServer) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider(TABLE.by_name["openai"], name="openai", base_url=wire.openai_url, api_key=KEY, responses=True)
    yield made
    await made.aclose()


async def test_a_full_request(wire: WireServer, provider: OpenAIProvider) -> None:
    spec = ToolSpec("Read", "Reads.", '{"type":"object"}')
    config: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 7, "thinking_budget_tokens": 5000}
    asked = request("gpt-5.1", user("hi"), system="Be kind.", tools=[spec], **config)
    wire.reply(ResponsesReply(text="ok"))
    await hear(provider, dataclasses.replace(asked, show_thinking=True))
    assert wire.requests[-1].body == {
        "model": "gpt-5.1",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "instructions": "Be kind.",
        "store": False,
        "stream": True,
        "tools": [
            {
                "type": "function",
                "name": "Read",
                "description": "Reads.",
                "parameters": {"type": "object"},
                "strict": False,
            }
        ],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_output_tokens": 7,
        "reasoning": {"effort": "medium", "summary": "auto"},
    }
    assert wire.requests[-1].path == "/v1/responses"


async def test_stop_sequences_go_by_chat_completions(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(OpenAIReply(text="ok"))
    heard = await hear(provider, request("gpt-4.1", stop_sequences=["END"]))
    assert heard.text == "ok"
    assert (wire.requests[-1].path, wire.requests[-1].body["stop"]) == ("/v1/chat/completions", ["END"])


@pytest.mark.parametrize(
    ("model", "budget", "effort"),
    [
        ("gpt-5.1", 0, "none"),
        ("gpt-5", 0, "minimal"),
        ("gpt-5-mini", 0, "minimal"),
        ("gpt-6.1-sol", 0, "low"),
        ("o3-mini", 0, "low"),
        ("gpt-5.1", 4095, "low"),
        ("gpt-5.1", 4096, "medium"),
        ("gpt-5.1", 16384, "high"),
    ],
)
def test_a_budget_becomes_an_effort(model: str, budget: int, effort: str) -> None:
    body = responses_messages.body(request(model, thinking_budget_tokens=budget))
    assert body["reasoning"] == {"effort": effort}


@pytest.mark.parametrize(
    ("model", "asked"), [("gpt-4.1", False), ("gpt-4o-mini", False), ("o3", True), ("gpt-6-sol", True)]
)
def test_only_who_reasons_is_asked_for_a_summary(model: str, asked: bool) -> None:
    body = responses_messages.body(dataclasses.replace(request(model), show_thinking=True))
    assert ("reasoning" in body) is asked


def looped(*blocks: Any, model: str = "gpt-5.1") -> list[dict[str, Any]]:
    """The input of a call in the middle of a tool loop."""
    turns = [user("x"), message(SYSTEM, "It is late."), message(ASSISTANT, *blocks, CALL), message(TOOL, RESULT)]
    body = responses_messages.body(request(model, *turns, provider="openai"))
    made: list[dict[str, Any]] = body["input"]
    return made


def test_reasoning_goes_back_before_its_call() -> None:
    sealed = common_pb2.SealedThinking(provider="openai", model="gpt-5.1", data=json.dumps(REASONING))
    items = looped(sealed, "I will.")
    assert [item.get("type", item.get("role")) for item in items] == [
        "user", "system", "reasoning", "assistant", "function_call", "function_call_output",
    ]  # fmt: skip
    assert items[2] == REASONING
    assert items[4] == {"type": "function_call", "call_id": "call_1", "name": "Read", "arguments": CALL.input_json}
    assert items[5] == {"type": "function_call_output", "call_id": "call_1", "output": '{"ok":true}'}
    assert REASONING not in looped(sealed, model="gpt-5.2")


def test_media() -> None:
    image = common_pb2.Media(data=b"\x89PNG", media_type="image/png")
    pdf = common_pb2.Media(data=b"%PDF", media_type="application/pdf")
    linked = common_pb2.Media(uri="https://example.com/a.pdf", media_type="application/pdf")
    video = common_pb2.Media(uri="https://example.com/a.mp4", media_type="video/mp4")
    (turn,) = responses_messages.body(request("m", user("see", image, pdf, linked, video)))["input"]
    assert [part["type"] for part in turn["content"]] == [
        "input_text", "input_image", "input_file", "input_file", "input_text",
    ]  # fmt: skip
    assert turn["content"][1]["image_url"] == "data:image/png;base64,iVBORw=="
    assert turn["content"][2]["file_data"] == "data:application/pdf;base64,JVBERg=="
    assert turn["content"][3] == {"type": "input_file", "file_url": "https://example.com/a.pdf"}


async def test_what_a_stream_seals_is_what_goes_back(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(ResponsesReply(thinking="let me see", tools=[Tool("Read")]), ResponsesReply(thinking="x", sealed=""))
    (seal,) = (chunk for chunk in (await hear(provider, request("m"))).chunks if isinstance(chunk, Seal))
    summary = [{"type": "summary_text", "text": "let me see"}]
    assert json.loads(seal.data) == {**REASONING, "summary": summary}
    assert not [chunk for chunk in (await hear(provider, request("m"))).chunks if isinstance(chunk, Seal)]


async def test_details_of_usage(wire: WireServer, provider: OpenAIProvider) -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 20,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 7},
        "output_tokens_details": {"reasoning_tokens": 15},
    }
    wire.reply(ResponsesReply(text="x", usage=usage))
    finish = (await hear(provider, request("gpt-x"))).finish
    assert finish.model == "gpt-5.1-2025-11-13"
    assert finish.usage == common_pb2.TokenUsage(
        input_tokens=100, output_tokens=20, total_tokens=120,
        cached_input_tokens=60, cache_write_tokens=7, reasoning_tokens=15,
    )  # fmt: skip


def frames(*events: dict[str, Any]) -> RawReply:
    return RawReply(parts=[f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events])


ITEM = {"id": "m", "type": "message", "role": "assistant", "content": []}
FUNCTION = {"id": "f", "type": "function_call", "call_id": "c", "name": "A", "arguments": ""}
CREATED = {"type": "response.created", "response": {"model": "m"}}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": ITEM}
SAID = {"type": "response.output_text.delta", "output_index": 0, "delta": "x"}
DONE = {"type": "response.output_item.done", "output_index": 0, "item": ITEM}
COMPLETED = {"type": "response.completed", "response": {"model": "m", "usage": None}}
CALLED = {**ADDED, "item": FUNCTION}
PIECE = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}


def incomplete(reason: str) -> dict[str, Any]:
    ended = {"model": "m", "usage": None, "incomplete_details": {"reason": reason}}
    return {"type": "response.incomplete", "response": ended}


@pytest.mark.parametrize(
    "events",
    [
        (CREATED, ADDED, ADDED, DONE, COMPLETED),  # an index twice
        (CREATED, ADDED, DONE, ADDED, DONE, COMPLETED),
        (CREATED, ADDED, DONE, SAID, COMPLETED),  # a delta behind the end of its item
        (CREATED, SAID, COMPLETED),
        (CREATED, ADDED, SAID, COMPLETED),  # an item that stays open
        (CREATED, ADDED, SAID, DONE),  # no end
        (CREATED, ADDED, {**DONE, "item": FUNCTION}, COMPLETED),  # another item's end
        (CREATED, CALLED, PIECE, {**DONE, "item": {**FUNCTION, "arguments": '{"a":1}'}}, COMPLETED),  # two inputs
        (CREATED, CALLED, {**DONE, "item": {**FUNCTION, "arguments": '{"a":'}}, COMPLETED),  # half an input
        (CREATED, incomplete("steered")),
    ],
)
async def test_frames_that_do_not_fit(
    wire: WireServer, provider: OpenAIProvider, events: tuple[dict[str, Any], ...]
) -> None:
    wire.reply(frames(*events))
    heard = Heard()
    with pytest.raises(errors.ProviderTruncated):
        await hear(provider, request("m"), heard)
    assert not heard.calls


async def test_an_incomplete_answer(wire: WireServer, provider: OpenAIProvider) -> None:
    cut = {**DONE, "item": {**FUNCTION, "arguments": '{"a":', "status": "incomplete"}}
    wire.reply(frames(CREATED, CALLED, cut, incomplete("max_output_tokens")), frames(incomplete("content_filter")))
    heard = await hear(provider, request("m"))
    assert (heard.calls, heard.finish.stop_reason) == ([], agent_pb2.STOP_REASON_MAX_TOKENS)
    with pytest.raises(errors.ProviderRejected):
        await hear(provider, request("m"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("server_error", errors.ProviderUnavailable),
        ("rate_limit_exceeded", errors.ProviderLimit),
        ("invalid_prompt", errors.ProviderRejected),
        ("something_new", errors.ProviderUnavailable),
    ],
)
async def test_a_failed_response(
    wire: WireServer, provider: OpenAIProvider, code: str, expected: type[errors.AsterError]
) -> None:
    error = {"code": code, "message": f"see {KEY}"}
    wire.reply(frames(CREATED, {"type": "response.failed", "response": {"model": "m", "error": error}}))
    with pytest.raises(expected) as caught:
        await hear(provider, request("m"))
    assert KEY not in caught.value.text


async def test_a_refusal_is_text_and_summaries_have_paragraphs(wire: WireServer, provider: OpenAIProvider) -> None:
    reasoning = {"id": "r", "type": "reasoning", "summary": []}
    thought = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"}
    part = {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1, "part": {}}
    second = {**ADDED, "output_index": 1}
    refusal = {"type": "response.refusal.delta", "output_index": 1, "delta": "no"}
    ends = ({**DONE, "item": reasoning}, second, refusal, {**DONE, "output_index": 1})
    wire.reply(frames(CREATED, {**ADDED, "item": reasoning}, thought, part, thought, *ends, COMPLETED))
    heard = await hear(provider, request("m"))
    assert (heard.thinking, heard.text) == ("hm\n\nhm", "no")
