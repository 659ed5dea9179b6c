"""How the demo assistant tells in words what became of its tool calls."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aster.v1 import common_pb2

MAX_QUOTE = 2000  # characters of a file or an output that are said back

Json = Mapping[str, Any]


def report(messages: Sequence[common_pb2.Message], chinese: bool) -> str:
    """A sentence or more for every result behind the last answer of the model."""
    inputs: dict[str, Json] = {}
    sentences: list[str] = []
    for message in messages[_last_answer(messages) :]:
        for block in message.content:
            match block.WhichOneof("block"):
                case "tool_call":
                    inputs[block.tool_call.id] = _object(block.tool_call.input_json)
                case "tool_result":
                    result = block.tool_result
                    sentences.append(_sentence(result, inputs.get(result.call_id, {}), chinese))
                case _:
                    continue
    return "\n".join(sentences)


def _last_answer(messages: Sequence[common_pb2.Message]) -> int:
    answers = [i for i, message in enumerate(messages) if message.role == common_pb2.ROLE_ASSISTANT]
    return answers[-1] if answers else 0


def _object(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _sentence(result: common_pb2.ToolResult, given: Json, chinese: bool) -> str:
    output = _object(result.output_json)
    if result.is_error or output.get("ok") is False:
        return _failed(result, given, output, chinese)
    tell = _TELLERS.get(result.name)
    if tell is None or not output:
        shown = _quote(result.output_json or result.output_preview)
        return f"{result.name} 的结果：{shown}" if chinese else f"{result.name} answered: {shown}"
    return tell(given, output, chinese)


def _failed(result: common_pb2.ToolResult, given: Json, output: Json, chinese: bool) -> str:
    what = " ".join([result.name, *(str(given[key]) for key in ("file_path", "path", "command") if key in given)])
    reason = _quote(output.get("error") or result.output_json or result.output_preview)
    # A command that ran and failed has said why in its own words.
    told = "".join(f"\n{_quote(output[key])}" for key in ("stdout", "stderr", "output") if output.get(key))
    return (f"{what} 没有成功：{reason}" if chinese else f"{what} did not work: {reason}") + told


def _wrote(given: Json, output: Json, chinese: bool) -> str:
    path = given.get("file_path") or output.get("path")
    return f"{path} 已经写好。" if chinese else f"{path} is written."


def _read(given: Json, output: Json, chinese: bool) -> str:
    path, content = given.get("file_path") or output.get("path"), _quote(output.get("content", ""))
    return f"{path} 的内容：\n{content}" if chinese else f"{path} says:\n{content}"


def _listed(given: Json, output: Json, chinese: bool) -> str:
    path = given.get("path") or output.get("path")
    if path in (None, ".", "/"):
        path = "工作区" if chinese else "The workspace"
    entries = output.get("entries")
    names = [_entry(entry) for entry in entries] if isinstance(entries, list) else []
    if not names:
        return f"{path} 是空的。" if chinese else f"{path} is empty."
    listing = _quote("\n".join(names))
    return f"{path} 里有：\n{listing}" if chinese else f"{path} holds:\n{listing}"


def _entry(entry: object) -> str:
    return str(entry.get("name", "")) if isinstance(entry, dict) else str(entry)


def _ran(given: Json, output: Json, chinese: bool) -> str:
    printed = "".join(str(output[key]) for key in ("stdout", "output", "stderr") if output.get(key))
    command = given.get("command", "")
    if not printed.strip():
        return f"{command} 没有输出。" if chinese else f"{command} printed nothing."
    return f"{command} 的输出：\n{_quote(printed)}" if chinese else f"{command} printed:\n{_quote(printed)}"


def _answered(_given: Json, output: Json, chinese: bool) -> str:
    answers = output.get("answers")
    pairs = answers if isinstance(answers, list) else []
    said = ", ".join(_quote(pair["answer"]) for pair in pairs if isinstance(pair, dict) and "answer" in pair)
    return f"你的回答：{said}" if chinese else f"You answered: {said}"


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 1] + "…"


_TELLERS: dict[str, Callable[[Json, Json, bool], str]] = {
    "Write": _wrote,
    "Read": _read,
    "Ls": _listed,
    "Bash": _ran,
    "AskUserQuestion": _answered,
}
