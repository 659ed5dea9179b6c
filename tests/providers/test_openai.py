"""What only the OpenAI dialect does."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from providers.kinds import KEY, hear, message, request, user
from wire import OpenAIReply, RawReply, Tool, WireServer

from aster.v1 import agent_pb2, common_pb2
from asteros import errors
from asteros.providers import openai_messages
from asteros.providers.base import ModelRequest, Seal, ToolSpec
from asteros.providers.openai import OpenAIProvider
from asteros.providers.presets import TABLE

pytestmark = pytest.mark.anyio

CALL = common_pb2.ToolCall(id="call_1", name="Read", input_json='{"file_path":"a"}')
RESULT = common_pb2.ToolResult(call_id="call_1", name="Read", output_json='{"ok":true}')
ASSISTANT, SYSTEM, TOOL = common_pb2.ROLE_ASSISTANT, common_pb2.ROLE_SYSTEM, common_pb2.ROLE_TOOL
OPENAI, DEEPSEEK = TABLE.by_name["openai"], TABLE.by_name["deepseek"]


@pytest.fixture
async def provider(wire: WireServer) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider(OPENAI, name="openai", base_url=wire.openai_url, api_key=KEY)
    yield made
    await made.aclose()


async def body_of(wire: WireServer, provider: OpenAIProvider, asked: ModelRequest) -> Any:
    wire.reply(OpenAIReply(text="ok"))
    await hear(provider, asked)
    return wire.requests[-1].body


async def test_a_full_request(wire: WireServer, provider: OpenAIProvider) -> None:
    spec = ToolSpec("Read", "Reads.", '{"type":"object"}')
    config: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 7, "stop_sequences": ["END"]}
    body = await body_of(wire, provider, request("gpt-4.1", user("hi"), system="Be kind.", tools=[spec], **config))
    function = {"name": "Read", "description": "Reads.", "parameters": {"type": "object"}}
    assert body == {
        "model": "gpt-4.1",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": function}],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_completion_tokens": 7,
        "stop": ["END"],
    }
    assert wire.requests[-1].path == "/v1/chat/completions"
    assert wire.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_the_servers_own_account_is_told_to_nobody(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    provider = OpenAIProvider(TABLE.by_name["custom"], name="custom", base_url=wire.openai_url, api_key="")
    await body_of(wire, provider, request("any", max_tokens=3))
    assert "secret" not in str(wire.requests[0].headers)
    assert wire.requests[0].body["max_tokens"] == 3
    await provider.aclose()


def test_a_conversation_with_tools_and_notes() -> None:
    turn = openai_messages.messages(
        "",
        [
            user("read a"),
            message(ASSISTANT, "I will.", CALL),
            message(SYSTEM, "It is late."),
            message(TOOL, RESULT, common_pb2.ToolResult(call_id="call_2")),
            user("one", "two"),
        ],
    )
    assert [entry["role"] for entry in turn] == ["user", "assistant", "tool", "tool", "system", "user"]
    assert turn[1]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": '{"file_path":"a"}'}}
    ]
    assert turn[2] == {"role": "tool", "tool_call_id": "call_1", "content": '{"ok":true}'}
    assert turn[3]["content"] == "{}"
    assert turn[5]["content"] == "one\ntwo"


def test_reasoning_goes_back_only_with_tool_calls() -> None:
    because = common_pb2.SealedThinking(provider="deepseek", model="m", data='{"reasoning_content":"because"}')
    turns = [user("x"), message(ASSISTANT, because, "hm"), message(ASSISTANT, because, CALL), message(TOOL, RESULT)]
    asked = request("m", *turns, provider="deepseek")
    sent = openai_messages.body(asked, DEEPSEEK)["messages"]
    assert "reasoning_content" not in sent[1]
    assert sent[2]["reasoning_content"] == "because"
    assert "because" not in json.dumps(openai_messages.body(asked, OPENAI))


async def test_reasoning_is_sealed_for_those_who_want_it_back(wire: WireServer) -> None:
    for preset, expected in ((DEEPSEEK, ['{"reasoning_content": "let me see"}']), (OPENAI, [])):
        provider = OpenAIProvider(preset, name=preset.name, base_url=wire.openai_url, api_key=KEY)
        wire.reply(OpenAIReply(reasoning="let me see", tools=[Tool("Read")]), OpenAIReply(reasoning="hm", text="x"))
        chunks = [*(await hear(provider, request("m"))).chunks, *(await hear(provider, request("m"))).chunks]
        assert [chunk.data for chunk in chunks if isinstance(chunk, Seal)] == expected
        await provider.aclose()


def test_media() -> None:
    image = common_pb2.Media(data=b"\x89PNG", media_type="image/png")
    pdf = common_pb2.Media(data=b"%PDF", media_type="application/pdf", filename="a.pdf")
    video = common_pb2.Media(uri="https://example.com/a.mp4", media_type="video/mp4")
    (turn,) = openai_messages.messages("", [user("see", image, pdf, video)])
    assert [part["type"] for part in turn["content"]] == ["text", "image_url", "file", "text"]
    assert turn["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="


def test_mistral_is_not_asked_for_usage() -> None:
    assert "stream_options" not in openai_messages.body(request("x"), TABLE.by_name["mistral"])


async def test_details_of_usage(wire: WireServer, provider: OpenAIProvider) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    wire.reply(OpenAIReply(text="x", usage=usage))
    assert (await hear(provider, request("gpt-x"))).finish.usage == common_pb2.TokenUsage(
        input_tokens=100,
        output_tokens=20,
        total_tokens=120,
        cached_input_tokens=60,
        cache_write_tokens=7,
        reasoning_tokens=15,
    )


async def test_deepseeks_name_for_cached_tokens(wire: WireServer, provider: OpenAIProvider) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "prompt_cache_hit_tokens": 4}
    wire.reply(OpenAIReply(text="x", usage=usage))
    assert (await hear(provider, request("x"))).finish.usage.cached_input_tokens == 4


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("length", agent_pb2.STOP_REASON_MAX_TOKENS),
        ("tool_calls", agent_pb2.STOP_REASON_END_TURN),  # without any call
        ("something_new", agent_pb2.STOP_REASON_END_TURN),
    ],
)
async def test_finish_reasons(wire: WireServer, provider: OpenAIProvider, word: str, reason: int) -> None:
    wire.reply(OpenAIReply(text="x", finish_reason=word))
    assert (await hear(provider, request("x"))).finish.stop_reason == reason


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("content_filter", errors.ProviderRejected),
        ("sensitive", errors.ProviderRejected),
        ("insufficient_system_resource", errors.ProviderUnavailable),
    ],
)
async def test_finish_reasons_that_are_failures(
    wire: WireServer, provider: OpenAIProvider, word: str, expected: type[errors.AsterError]
) -> None:
    wire.reply(OpenAIReply(text="x", finish_reason=word))
    with pytest.raises(expected):
        await hear(provider, request("x"))


async def test_stop_behind_a_tool_call_means_the_tool(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(OpenAIReply(tools=[Tool("Read")], finish_reason="stop"))
    assert (await hear(provider, request("x"))).finish.stop_reason == agent_pb2.STOP_REASON_TOOL_USE


async def test_a_server_without_usage_or_without_done(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(OpenAIReply(text="one", usage=None), OpenAIReply(text="two", frames=-1))
    assert (await hear(provider, request("x"))).text == "one"
    assert (await hear(provider, request("x"))).text == "two"


async def test_neither_usage_nor_done_is_a_cut(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(OpenAIReply(text="one", usage=None, frames=-1))
    with pytest.raises(errors.ProviderTruncated):
        await hear(provider, request("x"))


def chunks(*deltas: dict[str, Any], reason: str = "tool_calls") -> RawReply:
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    parts = [f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice]})}\n\n" for choice in choices]
    return RawReply(parts=[*parts, "data: [DONE]\n\n"])


def tool(index: int | None, arguments: str, **named: Any) -> dict[str, Any]:
    name = {"name": named.pop("name")} if "name" in named else {}
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, **named, "function": {**name, "arguments": arguments}}]}


async def test_arguments_of_parallel_calls_may_alternate(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(
        chunks(
            tool(0, "", id="a", name="A"),
            tool(1, "", id="b", name="B"),
            tool(1, '{"y":'),
            tool(0, '{"x":'),
            tool(0, "1}"),
            tool(1, "2}"),
        )
    )
    heard = await hear(provider, request("x"))
    assert [(call.id, call.name, call.input_json) for call in heard.calls] == [
        ("a", "A", '{"x":1}'),
        ("b", "B", '{"y":2}'),
    ]


async def test_whole_calls_under_one_index(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(chunks(tool(0, '{"x":1}', id="a", name="A"), tool(None, '{"y":2}', id="b", name="B"), reason="stop"))
    heard = await hear(provider, request("x"))
    assert [call.id for call in heard.calls] == ["a", "b"]


async def test_a_call_without_an_id_gets_one(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(chunks(tool(0, "", name="A")))
    (call,) = (await hear(provider, request("x"))).calls
    assert call.id.startswith("call_")
    assert call.input_json == "{}"


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a"', "[" * 100_000])
async def test_input_that_is_no_json(wire: WireServer, provider: OpenAIProvider, text: str) -> None:
    wire.reply(chunks(tool(0, text, id="a", name="A")))
    with pytest.raises(errors.ProviderTruncated):
        await hear(provider, request("x"))


async def test_other_names_of_reasoning_and_refusals(wire: WireServer, provider: OpenAIProvider) -> None:
    wire.reply(chunks({"reasoning": "hm"}, {"refusal": "no"}, reason="stop"))
    heard = await hear(provider, request("x"))
    assert (heard.thinking, heard.text) == ("hm", "no")
