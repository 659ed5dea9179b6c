"""The offline assistant ``demo``: does with real tools what it is told in plain forms.

It understands lines — ``write PATH: TEXT``, ``read PATH``, ``list [PATH]``, ``run
COMMAND``, ``ask QUESTION [A|B|C]``, ``think TEXT`` — and one sentence, "create a file
NAME with the content TEXT", in English and Chinese. All calls of one message are made
in one step; what became of them it says in words (``demo_report``)."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aster.v1 import common_pb2
from asteros.providers import demo_report
from asteros.providers.steps import Action, Call, Say, Step, Think, last_user_text

MAX_CALLS = 20  # of one message; more lines are left aside
MAX_OPTIONS = 4  # of one question

_CHINESE = re.compile(r"[\u3400-\u9fff]")
_QUOTED = re.compile(r"\"(.*)\"|'(.*)'|“(.*)”|‘(.*)’|「(.*)」|`(.*)`", re.DOTALL)
_COLON = re.compile(r"[:：]")

# Blanks are matched possessively: no text, however long, makes these slow.
_WITH_CONTENT = r",?\s++(?:with|containing)\s++(?:the\s++)?(?:contents?|text)?\s*+:?\s*+(?P<text>.+)"
_CREATE = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"请?(?:帮我)?\s*+创建\s*+(?:一个)?\s*+(?:名为|叫做?)?\s*+(?P<path>[^\s,，;；]+?)\s*+的?\s*+(?:文件)?\s*+[,，;；、]?"
        r"\s*+(?:其|它的|文件)?内容[为是]?\s*+[:：]?\s*+(?P<text>.+)",
        r"(?:please\s++)?create\s++(?:a\s++|the\s++)?(?:new\s++)?file\s++(?:named\s++|called\s++)?(?P<path>[^\s,;]+)"
        + _WITH_CONTENT,
        r"(?:please\s++)?create\s++(?:an?\s++|the\s++)?(?:new\s++)?(?P<path>[^\s,;]+)\s++file" + _WITH_CONTENT,
    )
)

HELP = (
    "I am the offline demo assistant. I do what a line says: `write PATH: TEXT`, `read PATH`, `list [PATH]`, "
    "`run COMMAND`, `ask QUESTION [A|B|C]`, `think TEXT`. Several lines are several tool calls. "
    "Or say: create a file hello.txt with the content Hello World."
)
HELP_ZH = (
    "我是离线演示助手。我按每一行的指令行事：`write 路径: 内容`、`read 路径`、`list [路径]`、`run 命令`、"
    "`ask 问题 [甲|乙|丙]`、`think 想法`。多行就是多个工具调用。"
    "也可以说：创建一个 hello.txt 文件，内容为 Hello World"
)

# What is said before an action, and the action.
Told = tuple[str, Action]


def step(messages: Sequence[common_pb2.Message]) -> Step:
    """What the assistant does next; follows from the messages alone."""
    text = last_user_text(messages)
    chinese = bool(_CHINESE.search(text))
    spoken = [message for message in messages if message.role != common_pb2.ROLE_SYSTEM]
    if spoken and spoken[-1].role == common_pb2.ROLE_TOOL:
        return (Say(demo_report.report(spoken, chinese)),)
    told = list(_told(text, chinese))
    if not told:
        return (Say(HELP_ZH if chinese else HELP),)
    return _in_words(told, chinese)


def _in_words(told: Sequence[Told], chinese: bool) -> Step:
    """Thoughts first, then one text that announces everything, then the calls."""
    thoughts = [action for _, action in told if isinstance(action, Think)]
    calls = [(words, action) for words, action in told if isinstance(action, Call)][:MAX_CALLS]
    announced = ("" if chinese else " ").join(words for words, _ in calls)
    if not calls:
        announced = "我想过了。" if chinese else "I have thought about it."
    return (*thoughts, Say(announced), *(call for _, call in calls))


def _told(text: str, chinese: bool) -> Iterator[Told]:
    """Everything the text asks for, in its order."""
    for pattern in _CREATE:
        if match := pattern.fullmatch(text.strip()):
            yield _write(_unquoted(match["path"]), _unquoted(match["text"]), chinese)
            return
    for line in text.splitlines():
        verb, *rest = line.split(maxsplit=1)[:2] or [""]
        make = _VERBS.get(verb.lower())
        told = make("".join(rest).strip(), chinese) if make else None
        if told is not None:
            yield told


def _unquoted(text: str) -> str:
    match = _QUOTED.fullmatch(text)
    return next(group for group in match.groups() if group is not None) if match else text


def _call(name: str, **arguments: Any) -> Call:
    return Call(name, json.dumps(arguments, ensure_ascii=False))


def _write(path: str, text: str, chinese: bool) -> Told:
    words = f"我来写入 {path}。" if chinese else f"I will write {path}."
    return words, _call("Write", file_path=path, content=text)


def _write_line(rest: str, chinese: bool) -> Told | None:
    path, *text = _COLON.split(rest, maxsplit=1)
    return _write(path.strip(), text[0].strip(), chinese) if text and path.strip() else None


def _read(path: str, chinese: bool) -> Told | None:
    if len(path.split()) != 1:
        return None
    return f"我来读取 {path}。" if chinese else f"I will read {path}.", _call("Read", file_path=path)


def _list(path: str, chinese: bool) -> Told | None:
    if not path:
        return "我来列出工作区。" if chinese else "I will list the workspace.", _call("Ls", path=".")
    if len(path.split()) != 1:
        return None
    return f"我来列出 {path}。" if chinese else f"I will list {path}.", _call("Ls", path=path)


def _run(command: str, chinese: bool) -> Told | None:
    if not command:
        return None
    return f"我来运行 {command}。" if chinese else f"I will run {command}.", _call("Bash", command=command)


def _ask(rest: str, chinese: bool) -> Told | None:
    question, bracket, options = rest[:-1].rpartition("[") if rest.endswith("]") else (rest, "", "")
    if bracket and "|" not in options:  # brackets of the question itself
        question, options = rest, ""
    if not question.strip():
        return None
    asked: dict[str, Any] = {"question": question.strip(), "header": "问题" if chinese else "Question"}
    labels = [label.strip() for label in options.split("|") if label.strip()][:MAX_OPTIONS]
    asked["options"] = [{"label": label, "description": ""} for label in labels]
    asked["multi_select"] = False
    return "我有一个问题。" if chinese else "I have a question.", _call("AskUserQuestion", questions=[asked])


def _think(text: str, _chinese: bool) -> Told | None:
    return ("", Think(text)) if text else None


_VERBS: dict[str, Callable[[str, bool], Told | None]] = {
    "write": _write_line,
    "read": _read,
    "list": _list,
    "run": _run,
    "ask": _ask,
    "think": _think,
}
