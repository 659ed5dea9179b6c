"""What only the Anthropic dialect does."""

import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from providers.kinds import KEY, hear, message, request, user
from wire import AnthropicReply, RawReply, Tool, WireServer

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import anthropic_messages
from asteros.providers.anthropic import AnthropicProvider
from asteros.providers.base import ModelRequest, Seal, ToolSpec

pytestmark = pytest.mark.anyio

CALL = common_pb2.ToolCall(id="call_1", name="Read", input_json='{"file_path":"a"}')
RESULT = common_pb2.ToolResult(call_id="call_1", name="Read", output_json='{"ok":false,"error":"no"}', is_error=True)
MARK = {"cache_control": {"type": "ephemeral"}}
ASSISTANT, SYSTEM, TOOL = common_pb2.ROLE_ASSISTANT, common_pb2.ROLE_SYSTEM, common_pb2.ROLE_TOOL


@pytest.fixture
async def provider(wire: WireServer) -> AsyncIterator[AnthropicProvider]:
    made = AnthropicProvider(base_url=wire.base_url, api_key=KEY)
    yield made
    await made.aclose()


async def body_of(wire: WireServer, provider: AnthropicProvider, asked: ModelRequest) -> Any:
    wire.reply(AnthropicReply(text="ok"))
    await hear(provider, asked)
    return wire.requests[-1].body


async def test_a_full_request(wire: WireServer, provider: AnthropicProvider) -> None:
    spec = ToolSpec("Read", "Reads.", '{"type":"object","properties":{}}')
    asked = request(
        "claude-sonnet-4-6",
        user("hi"),
        system="Be kind.",
        tools=[spec],
        temperature=0.0,
        top_p=0.5,
        max_tokens=7,
        stop_sequences=["END"],
    )
    body = await body_of(wire, provider, asked)
    assert body == {
        "model": "claude-sonnet-4-6",
        "max_tokens": 7,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", **MARK}]}],
        "stream": True,
        "system": [{"type": "text", "text": "Be kind.", **MARK}],
        "tools": [
            {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}, **MARK}
        ],
        "temperature": 0.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
    }
    headers = wire.requests[-1].headers
    assert wire.requests[-1].path == "/v1/messages"
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == anthropic_messages.SAMPLING_VERSION
    assert headers["accept-encoding"] == "identity"


async def test_unset_is_left_out(wire: WireServer, provider: AnthropicProvider) -> None:
    body = await body_of(wire, provider, request("claude-x"))
    assert set(body) == {"model", "max_tokens", "messages", "stream"}
    assert body["max_tokens"] == 4096
    assert wire.requests[-1].headers["anthropic-version"] != anthropic_messages.SAMPLING_VERSION


def test_a_conversation_with_tools_and_notes() -> None:
    turn = anthropic_messages.messages(
        [
            user("read a"),
            message(ASSISTANT, "I will.", CALL),
            message(SYSTEM, "It is late."),
            message(TOOL, RESULT),
            user("and now?"),
            message(ASSISTANT, "It failed."),
            user("  ", "again"),
        ]
    )
    assert [entry["role"] for entry in turn] == ["user", "assistant", "user", "assistant", "user"]
    assert turn[1]["content"][1] == {"type": "tool_use", "id": "call_1", "name": "Read", "input": {"file_path": "a"}}
    assert turn[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "content": '{"ok":false,"error":"no"}',
            "is_error": True,
        },
        {"type": "text", "text": "<system-note>\nIt is late.\n</system-note>"},
        {"type": "text", "text": "and now?"},
    ]
    assert turn[4]["content"] == [{"type": "text", "text": "again"}]


def test_media() -> None:
    image = common_pb2.Media(data=b"\x89PNG", media_type="image/png")
    linked = common_pb2.Media(uri="https://example.com/a.pdf", media_type="application/pdf")
    text = common_pb2.Media(data="héllo".encode(), media_type="text/plain", filename="a.txt")
    video = common_pb2.Media(uri="https://example.com/a.mp4", media_type="video/mp4")
    (turn,) = anthropic_messages.messages([user(image, linked, text, video)])
    assert [block["type"] for block in turn["content"]] == ["image", "document", "text", "text"]
    assert turn["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
    assert turn["content"][1]["source"] == {"type": "url", "url": "https://example.com/a.pdf"}
    assert turn["content"][2]["text"] == "[file a.txt]\nhéllo"
    assert "video/mp4" in turn["content"][3]["text"]


def test_a_cut_result_says_so() -> None:
    cut = common_pb2.ToolResult(call_id="call_1", output_preview='{"a":', output_size_bytes=99)
    (turn,) = anthropic_messages.messages([message(TOOL, cut)])
    assert turn["content"][0]["content"] == '{"a":\n[cut: the whole result has 99 bytes]'


@pytest.mark.parametrize(
    ("model", "config", "thinking", "max_tokens"),
    [
        ("claude-sonnet-4-5", {}, None, 4096),
        ("claude-sonnet-4-5", {"thinking_budget_tokens": 0}, {"type": "disabled"}, 4096),
        (
            "claude-sonnet-4-5",
            {"thinking_budget_tokens": 2000},
            {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
            6096,
        ),
        (
            "claude-opus-4-20250514",
            {"thinking_budget_tokens": 9000, "max_tokens": 3000},
            {"type": "enabled", "budget_tokens": 2999, "display": "omitted"},
            3000,
        ),
        ("claude-3-7-sonnet", {"thinking_budget_tokens": 2000, "max_tokens": 900}, {"type": "disabled"}, 900),
        ("claude-sonnet-5-5", {"thinking_budget_tokens": 2000}, {"type": "adaptive", "display": "omitted"}, 4096),
        ("claude-3-7-sonnet", {"thinking_budget_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}, 6096),
        ("kimi-k2", {"thinking_budget_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}, 6096),
    ],
)
def test_thinking(model: str, config: dict[str, Any], thinking: object, max_tokens: int) -> None:
    body = anthropic_messages.body(request(model, **config))
    assert (body.get("thinking"), body["max_tokens"]) == (thinking, max_tokens)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-sonnet-5-5"])
def test_shown_thinking_is_asked_for_in_clear(model: str) -> None:
    asked = dataclasses.replace(request(model, thinking_budget_tokens=2000), show_thinking=True)
    assert anthropic_messages.body(asked)["thinking"]["display"] == "summarized"


def test_a_thinking_budget_is_left_aside_in_a_tool_loop_that_began_without() -> None:
    history = [user("x"), message(ASSISTANT, CALL), message(TOOL, RESULT)]
    body = anthropic_messages.body(request("claude-sonnet-4-5", *history, thinking_budget_tokens=2000))
    assert body["thinking"] == {"type": "disabled"}


SIGNED = {"type": "thinking", "thinking": "héllo \ud83c", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}


def sealed(block: dict[str, Any], model: str = "claude-sonnet-4-5") -> common_pb2.SealedThinking:
    return common_pb2.SealedThinking(provider="anthropic", model=model, data=json.dumps(block))


def looped(*blocks: Any) -> ModelRequest:
    """A call in the middle of a tool loop whose first answer holds these blocks and a call."""
    history = [user("x"), message(ASSISTANT, *blocks, CALL), message(TOOL, RESULT)]
    return request("claude-sonnet-4-5", *history, provider="anthropic", thinking_budget_tokens=2000)


def test_signed_thinking_goes_back_unchanged_and_in_its_place() -> None:
    body = anthropic_messages.body(looped(sealed(SIGNED), "I will.", sealed(REDACTED)))
    assert body["thinking"]["type"] == "enabled"
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == ["thinking", "text", "redacted_thinking", "tool_use"]
    assert body["messages"][1]["content"][0] == SIGNED
    assert body["messages"][1]["content"][2] == REDACTED


def test_readable_thinking_before_the_seal_does_not_hide_it() -> None:
    asked = looped(sealed(SIGNED))
    asked.messages[1].content.insert(0, common_pb2.ContentBlock(thinking="héllo"))
    body = anthropic_messages.body(asked)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]


def test_thinking_of_another_model_stays_home() -> None:
    body = anthropic_messages.body(looped(sealed(SIGNED, "claude-opus-4-5")))
    assert body["thinking"] == {"type": "disabled"}
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


def test_thinking_of_an_earlier_turn_stays_home() -> None:
    asked = looped(sealed(SIGNED))
    later = dataclasses.replace(asked, messages=[*asked.messages, message(ASSISTANT, "Done."), user("thanks")])
    assert "signature" not in str(anthropic_messages.body(later)["messages"])


async def test_the_whole_loop_of_signed_thinking(wire: WireServer, provider: AnthropicProvider) -> None:
    """What a stream seals is what the next request sends."""
    wire.reply(AnthropicReply(thinking="let me see", tools=[Tool("Read", {"file_path": "a"})]), AnthropicReply())
    first = await hear(provider, looped())
    (seal,) = (chunk for chunk in first.chunks if isinstance(chunk, Seal))
    assert json.loads(seal.data) == {"type": "thinking", "thinking": "let me see", "signature": "c2lnbmVk"}
    await hear(provider, looped(sealed(json.loads(seal.data))))
    assert wire.requests[-1].body["messages"][1]["content"][0] == json.loads(seal.data)


def test_at_most_four_cache_marks_and_on_the_ends_of_prefixes() -> None:
    turns = [user("1"), message(ASSISTANT, "a"), user("2"), message(ASSISTANT, CALL), message(TOOL, RESULT)]
    tools = [ToolSpec("A", "a", "{}"), ToolSpec("B", "b", "{}")]
    body = anthropic_messages.body(request("claude-x", *turns, system="S", tools=tools))
    marked = [json.dumps(block) for block in _blocks(body) if "cache_control" in block]
    assert len(marked) == 4
    assert ['"B"' in marked[0], '"S"' in marked[1], '"2"' in marked[2], "tool_result" in marked[3]] == [True] * 4


def _blocks(body: Any) -> list[dict[str, Any]]:
    return [*body["tools"], *body["system"], *(block for each in body["messages"] for block in each["content"])]


async def test_cached_tokens_are_part_of_the_input(wire: WireServer, provider: AnthropicProvider) -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 30,
        "output_tokens": 5,
    }
    wire.reply(AnthropicReply(text="x", usage=usage))
    finish = (await hear(provider, request("claude-x"))).finish
    assert finish.usage == common_pb2.TokenUsage(
        input_tokens=240, output_tokens=5, cached_input_tokens=200, cache_write_tokens=30, total_tokens=245
    )
    assert finish.model == "claude-sonnet-4-5-20250929"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop_sequence", agent_pb2.STOP_REASON_STOP_SEQUENCE),
        ("pause_turn", agent_pb2.STOP_REASON_END_TURN),
        ("model_context_window_exceeded", agent_pb2.STOP_REASON_MAX_TOKENS),
        ("something_new", agent_pb2.STOP_REASON_END_TURN),
    ],
)
async def test_stop_reasons(wire: WireServer, provider: AnthropicProvider, word: str, reason: int) -> None:
    wire.reply(AnthropicReply(text="x", stop_reason=word))
    assert (await hear(provider, request("claude-x"))).finish.stop_reason == reason


async def test_a_refusal_is_no_answer(wire: WireServer, provider: AnthropicProvider) -> None:
    wire.reply(AnthropicReply(text="x", stop_reason="refusal"))
    with pytest.raises(errors.ProviderRejected):
        await hear(provider, request("claude-x"))


def frames(*events: dict[str, Any]) -> RawReply:
    return RawReply(parts=[f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events])


START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
STOP = {"type": "message_stop"}


def said(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


async def test_surrogates_cut_over_deltas_are_joined(wire: WireServer, provider: AnthropicProvider) -> None:
    end = {"type": "content_block_stop", "index": 0}
    wire.reply(frames(START, TEXT, said("a\ud83c"), said("\udf0d b\udf0d"), said("c\ud83c"), end, END, STOP))
    assert (await hear(provider, request("claude-x"))).text == "a🌍 b\ufffdc\ufffd"


@pytest.mark.parametrize(
    "events",
    [
        (START, TEXT, TEXT, END, STOP),
        (START, TEXT, said("x"), END, STOP),
        (START, said("x"), END, STOP),
        (START, STOP),
        (TEXT, said("x"), END),
    ],
)
async def test_frames_that_do_not_fit(
    wire: WireServer, provider: AnthropicProvider, events: tuple[dict[str, Any], ...]
) -> None:
    wire.reply(frames(*events))
    with pytest.raises(errors.ProviderTruncated):
        await hear(provider, request("claude-x"))


async def test_nothing_behind_the_stop_frame_is_heard(wire: WireServer, provider: AnthropicProvider) -> None:
    whole = AnthropicReply(text="yes")
    wire.reply(
        RawReply(parts=[b.decode() for b in whole.body()] + [b.decode() for b in frames(TEXT, said("no")).body()])
    )
    assert (await hear(provider, request("claude-x"))).text == "yes"


async def test_a_tool_turn_in_two_calls(wire: WireServer, provider: AnthropicProvider) -> None:
    wire.reply(AnthropicReply(tools=[Tool("Read", {"file_path": "a"})]), AnthropicReply(text="Done."))
    first = await hear(provider, request("claude-x", user("go")))
    history = [user("go"), message(ASSISTANT, first.calls[0]), message(TOOL, RESULT)]
    assert (await hear(provider, request("claude-x", *history))).text == "Done."


async def test_a_server_without_a_key(wire: WireServer) -> None:
    provider = AnthropicProvider(name="custom_claude", base_url=wire.base_url, api_key="")
    wire.reply(AnthropicReply(text="ok"))
    assert (await hear(provider, request("any"))).text == "ok"
    assert "x-api-key" not in wire.requests[0].headers
    await provider.aclose()
