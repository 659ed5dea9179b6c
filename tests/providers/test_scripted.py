"""The offline provider: echo, flood and scripts."""

import asyncio
from pathlib import Path

import pytest
from providers.kinds import Heard, hear, message, request, user

from aster.v1 import agent_pb2, common_pb2
from asteros import clock, errors
from asteros.providers.base import TextDelta
from asteros.providers.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio

OFFLINE = ScriptedProvider()


@pytest.mark.parametrize(
    "text",
    [
        "Hello there,\n\n  world!  ",
        "  lead",
        "你好世界，这是一个测试。",
        "x" * 1000,
        "🌍🌍🌍🌍🌍🌍",
        "one",
        "mixed 中文 text 也可以",
    ],
)
async def test_echo_says_the_text_back(text: str) -> None:
    heard = await hear(OFFLINE, request("echo", user("first"), message(common_pb2.ROLE_ASSISTANT, "no"), user(text)))
    assert heard.text == text
    assert all(len(chunk.text) <= 70 for chunk in heard.chunks if isinstance(chunk, TextDelta))
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_END_TURN


async def test_echo_of_words_is_word_by_word() -> None:
    heard = await hear(OFFLINE, request("echo", user("one two  three")))
    assert [chunk.text for chunk in heard.chunks[:-1] if isinstance(chunk, TextDelta)] == ["one ", "two  ", "three"]


async def test_echo_of_nothing_only_finishes() -> None:
    heard = await hear(OFFLINE, request("echo", user()))
    assert len(heard.chunks) == 1
    assert heard.finish.usage.output_tokens == 1


async def test_usage_is_a_token_for_four_bytes() -> None:
    usage = (await hear(OFFLINE, request("echo", user("x" * 40)))).finish.usage
    assert usage.output_tokens == 10
    assert usage.input_tokens >= 10
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


async def test_the_output_limit_cuts_whole_characters() -> None:
    heard = await hear(OFFLINE, request("echo", user("世界世界"), max_tokens=1))
    assert heard.text == "世"
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_MAX_TOKENS


async def test_flood_sends_its_number_of_chunks() -> None:
    heard = await hear(OFFLINE, request("flood:1000@0"))
    assert len(heard.chunks) == 1001
    assert heard.text.startswith("tok0 tok1 ")


async def test_flood_lets_others_run() -> None:
    async def count() -> int:
        turns = 0
        while True:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return turns
            turns += 1

    other = asyncio.ensure_future(count())
    await hear(OFFLINE, request("flood:1000@0"))
    other.cancel()
    assert await other >= 10


async def test_flood_keeps_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    await hear(OFFLINE, request("flood:50@10"))
    assert now == pytest.approx(104.9)


@pytest.mark.parametrize("model", ["flood:x@1", "flood:1", "flood:99999999@0", "script:../etc", "script:none", "other"])
async def test_a_model_that_means_nothing(model: str, tmp_path: Path) -> None:
    provider = ScriptedProvider(tmp_path)
    with pytest.raises(errors.FieldViolation) as caught:
        provider.check(model, "m")
    assert caught.value.violations[0].field == "m"
    with pytest.raises(errors.ProviderRejected):
        await hear(provider, request(model))


def scripted(folder: Path, text: str) -> ScriptedProvider:
    (folder / "s.yaml").write_text(text, "utf-8")
    return ScriptedProvider(folder)


async def test_the_step_follows_from_the_messages(tmp_path: Path) -> None:
    provider = scripted(tmp_path, "- [text: one]\n- [text: two]\n- [text: three]\n")
    answer, result = message(common_pb2.ROLE_ASSISTANT, "a"), message(common_pb2.ROLE_TOOL)
    note = message(common_pb2.ROLE_SYSTEM, "n")
    for history, said in [
        ([user("x")], "one"),
        ([user("x"), answer, result], "two"),
        ([user("x"), answer, result, note, answer, result], "three"),
        ([user("x"), answer, result, answer, user("y")], "one"),
        ([user("x"), *[answer, result] * 9], "three"),
    ]:
        assert (await hear(provider, request("script:s", *history))).text == said


async def test_all_actions(tmp_path: Path) -> None:
    provider = scripted(
        tmp_path,
        """
- - think: hm
  - text: {text: abcdef, chunk: 2, pause: 0}
  - pause: 0
  - tool: {name: Write, input: {file_path: ä.txt, n: 3}}
  - tool: {name: Ls, id: call_fixed}
  - usage: {input_tokens: 7, output_tokens: 2, cached_input_tokens: 5}
  - stop: stop_sequence
  - text: never said
""",
    )
    heard = await hear(provider, request("script:s"))
    assert (heard.thinking, heard.text) == ("hm", "abcdef")
    assert sum(isinstance(chunk, TextDelta) for chunk in heard.chunks) == 3
    assert heard.calls[0].id.startswith("call_")
    assert heard.calls[0].input_json == '{"file_path": "ä.txt", "n": 3}'
    assert heard.calls[1] == common_pb2.ToolCall(id="call_fixed", name="Ls", input_json="{}")
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_STOP_SEQUENCE
    assert heard.finish.usage.total_tokens == 9


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("limit", errors.ProviderLimit),
        ("unavailable", errors.ProviderUnavailable),
        ("stalled", errors.ProviderStalled),
        ("truncated", errors.ProviderTruncated),
        ("auth", errors.ProviderAuth),
        ("rejected", errors.ProviderRejected),
    ],
)
async def test_failures(tmp_path: Path, kind: str, expected: type[errors.AsterError]) -> None:
    provider = scripted(tmp_path, f"- - text: some\n  - fail: {kind}\n")
    heard = Heard()
    with pytest.raises(expected):
        await hear(provider, request("script:s"), heard)
    assert heard.text == "some"


async def test_a_limit_may_say_when_to_come_back(tmp_path: Path) -> None:
    provider = scripted(tmp_path, "- - fail: {kind: limit, retry_after: 2}\n")
    with pytest.raises(errors.ProviderLimit) as caught:
        await hear(provider, request("script:s"))
    assert caught.value.retry_after == 2.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be a list"),
        ("a: 1", "must be a list"),
        ("- text: x", "step 1: must be a list of actions"),
        ("- []\n- - x", "step 2, action 1: must have exactly one of the keys"),
        ("- - {text: a, stop: end_turn}", "exactly one"),
        ("- - shout: a", "unknown key 'shout'"),
        ("- - text: 5", "text must be text"),
        ("- - text: {text: a, chunk: -1}", "text.chunk"),
        ("- - text: {text: a, speed: 1}", "unknown key speed"),
        ("- - tool: Write", "tool must be a mapping"),
        ("- - tool: {input: {}}", "tool.name"),
        ("- - tool: {name: A, input: {when: 2020-01-01}}", "JSON cannot carry"),
        ("- - tool: {name: A, input: [1]}", "tool.input must be a mapping"),
        ("- - tool: {name: A, input: {a: .nan}}", "JSON cannot carry"),
        ("- - pause: -1", "pause must be seconds"),
        ("- - usage: {input_tokens: many}", "usage.input_tokens"),
        ("- - usage: {tokens: 1}", "unknown key tokens"),
        ("- - usage: {input_tokens: 2000000000, output_tokens: 2000000000}", "too large"),
        ("- - stop: now", "stop must be one of"),
        ("- - fail: oops", "fail must be one of"),
        ("- - text: [", "line 1: is not YAML"),
        ("- - !!python/object:os.system x", "is not YAML"),
    ],
)
def test_a_bad_script_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(errors.FieldViolation) as caught:
        scripted(tmp_path, text).check("script:s", "config.model_config.model")
    assert complaint in caught.value.violations[0].description


def test_a_good_script_passes(tmp_path: Path) -> None:
    scripted(tmp_path, "- - text: hi\n").check("script:s", "m")


async def test_a_server_without_scripts() -> None:
    with pytest.raises(errors.ProviderRejected, match="no folder of scripts"):
        await hear(OFFLINE, request("script:s"))
