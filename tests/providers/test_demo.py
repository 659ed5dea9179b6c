"""The offline assistant: what it understands, and what it says of the results."""

import json
from typing import Any

import pytest
from providers.kinds import Heard, hear, message, request, user

from aster.v1 import agent_pb2, common_pb2
from asteros.providers.base import TextDelta
from asteros.providers.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio

DEMO = ScriptedProvider()
HELLO = ("Write", {"file_path": "hello.txt", "content": "Hello World"})


async def told(text: str) -> Heard:
    return await hear(DEMO, request("demo", user(text)))


def calls(heard: Heard) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.input_json)) for call in heard.calls]


@pytest.mark.parametrize(
    "text",
    [
        "创建一个 hello.txt 文件,内容为 Hello World",
        "创建一个 hello.txt 文件，内容为 Hello World",
        "创建一个hello.txt文件；内容为Hello World",
        "创建一个 hello.txt，内容为：Hello World",
        "请帮我创建一个名为 hello.txt 的文件,内容是“Hello World”",
        "create a file hello.txt with the content Hello World",
        "Create a hello.txt file with content Hello World",
        'Please create a new file called hello.txt, containing "Hello World"',
        "create the file hello.txt with text: Hello World",
        "write hello.txt: Hello World",
        "Write hello.txt : Hello World",
    ],
)
async def test_the_ways_to_have_a_file_made(text: str) -> None:
    heard = await told(text)
    assert calls(heard) == [HELLO]
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_TOOL_USE
    assert "hello.txt" in heard.text
    assert isinstance(heard.chunks[0], TextDelta)


async def test_the_announcement_is_streamed() -> None:
    heard = await told("write notes.txt: x")
    assert [chunk.text for chunk in heard.chunks if isinstance(chunk, TextDelta)] == [
        "I ",
        "will ",
        "write ",
        "notes.txt.",
    ]


async def test_several_lines_are_several_calls() -> None:
    heard = await told("think first\nwrite a.txt: hi\nread a.txt\nlist\nlist src\nrun echo hi | wc -c\nplease!")
    assert heard.thinking == "first"
    assert calls(heard) == [
        ("Write", {"file_path": "a.txt", "content": "hi"}),
        ("Read", {"file_path": "a.txt"}),
        ("Ls", {"path": "."}),
        ("Ls", {"path": "src"}),
        ("Bash", {"command": "echo hi | wc -c"}),
    ]
    assert len({call.id for call in heard.calls}) == 5


async def test_questions() -> None:
    heard = await told("ask Which one? [red | green|blue]\nask Why [so]?")
    (_, first), (_, second) = calls(heard)
    options = [{"label": label, "description": ""} for label in ("red", "green", "blue")]
    assert first == {
        "questions": [{"question": "Which one?", "header": "Question", "options": options, "multi_select": False}]
    }
    assert second["questions"][0]["question"] == "Why [so]?"
    assert second["questions"][0]["options"] == []


async def test_only_thinking() -> None:
    heard = await told("think about it")
    assert (heard.thinking, calls(heard)) == ("about it", [])
    assert heard.text


@pytest.mark.parametrize("text", ["hello", "read the whole book", "write nothing", "run", "", "   "])
async def test_anything_else_is_answered_with_what_it_can(text: str) -> None:
    heard = await told(text)
    assert not heard.calls
    assert "`write PATH: TEXT`" in heard.text
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_END_TURN


async def test_it_answers_in_chinese() -> None:
    assert "我是离线演示助手" in (await told("你会什么？")).text
    assert (await told("创建一个 a.txt 文件,内容为 x")).text == "我来写入 a.txt。"


async def after(asked: str, *outputs: Any, is_error: bool = False) -> str:
    """What the demo says once its tools have answered."""
    made = (await told(asked)).calls
    results = [
        common_pb2.ToolResult(call_id=call.id, name=call.name, output_json=json.dumps(output), is_error=is_error)
        for call, output in zip(made, outputs, strict=True)
    ]
    answer = message(common_pb2.ROLE_ASSISTANT, "I will.", *made)
    history = [user(asked), answer, message(common_pb2.ROLE_TOOL, *results), message(common_pb2.ROLE_SYSTEM, "late")]
    heard = await hear(DEMO, request("demo", *history))
    assert not heard.calls
    assert heard.finish.stop_reason == agent_pb2.STOP_REASON_END_TURN
    return heard.text


@pytest.mark.parametrize(
    ("asked", "output", "said"),
    [
        ("write a.txt: x", {"ok": True, "path": "a.txt"}, "a.txt is written."),
        ("read a.txt", {"ok": True, "content": "line\n"}, "a.txt says:\nline\n"),
        ("list", {"ok": True, "entries": [{"name": "a"}, {"name": "b"}]}, "The workspace holds:\na\nb"),
        ("list src", {"ok": True, "entries": []}, "src is empty."),
        ("run ls", {"ok": True, "stdout": "a\n", "stderr": ""}, "ls printed:\na\n"),
        ("run true", {"ok": True, "stdout": ""}, "true printed nothing."),
        ("ask A? [x|y]", {"ok": True, "answers": [{"question": "A?", "answer": "y"}]}, "You answered: y"),
        ("read a.txt", {"ok": False, "error": "no such file"}, "Read a.txt did not work: no such file"),
        ("run ls", {"ok": False, "error": "exit 2", "stderr": "bad"}, "Bash ls did not work: exit 2\nbad"),
        ("write a.txt: x", {"ok": False, "error": "denied: not today"}, "Write a.txt did not work: denied: not today"),
        ("创建一个 a.txt 文件,内容为 x", {"ok": True}, "a.txt 已经写好。"),
        ("创建一个 a.txt 文件,内容为 x", {"ok": False, "error": "被拒绝"}, "Write a.txt 没有成功：被拒绝"),
        ("read a.txt", [1, 2], "Read answered: [1, 2]"),
    ],
)
async def test_it_says_what_happened(asked: str, output: Any, said: str) -> None:
    assert await after(asked, output) == said


async def test_every_result_is_told() -> None:
    assert await after("write a: 1\nwrite b: 2", {"ok": True}, {"ok": True}) == "a is written.\nb is written."


async def test_long_outputs_are_cut() -> None:
    assert len(await after("read a", {"ok": True, "content": "x" * 10_000})) < 2100


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    ["创建a" + " " * 300_000 + "x", "create a file x" + " " * 300_000 + "y", "write a" + " " * 300_000 + "b"],
)
async def test_no_text_is_slow_to_understand(text: str) -> None:
    assert not (await told(text)).calls
