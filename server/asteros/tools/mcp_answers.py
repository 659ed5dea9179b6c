"""What MCP servers answer, as JSON for a model: text as it is, of the rest what it is and how big."""

import json
from collections.abc import Iterable
from typing import Any

from asteros.tools.base import JsonObject

MAX_TEXT = 512 * 1024  # characters of one answer
MAX_STRUCTURED = 512 * 1024  # bytes of JSON


def clean(text: str) -> str:
    """The text without what cannot be stored."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def of_call(result: Any) -> JsonObject:
    """A CallToolResult: {"ok", "text", "content": [what is not text], "structured", "truncated"}."""
    text = "\n".join(clean(block.text) for block in result.content if block.type == "text")
    others = [_block(block) for block in result.content if block.type != "text"]
    answer: JsonObject = {"ok": not result.is_error}
    if result.is_error:
        answer["error"] = text[:2000] or "the tool failed"
    answer["text"] = text[:MAX_TEXT]
    if others:
        answer["content"] = others
    structured = _structured(result.structured_content)
    if structured is not None:
        answer["structured"] = structured
    if len(text) > MAX_TEXT or (structured is None and result.structured_content is not None):
        answer["truncated"] = True
    return answer


def of_resource(result: Any) -> JsonObject:
    """A ReadResourceResult: {"ok", "contents": [{"uri", "mime_type", "text" or "bytes"}], "truncated"}."""
    room = MAX_TEXT
    contents = []
    truncated = False
    for part in result.contents:
        shown = _content(part, room)
        truncated = truncated or len(shown.get("text", "")) < len(getattr(part, "text", ""))
        room -= len(shown.get("text", ""))
        contents.append(shown)
    return {"ok": True, "contents": contents, "truncated": truncated}


def of_resources(server: str, resources: Iterable[Any]) -> list[JsonObject]:
    """Resources of one server: [{"server", "uri", "name", "mime_type", "description"}]."""
    return [
        {
            "server": server,
            "uri": clean(str(each.uri)),
            "name": clean(each.name),
            "mime_type": clean(each.mime_type or ""),
            "description": clean(each.description or "")[:500],
        }
        for each in resources
    ]


def _block(block: Any) -> JsonObject:
    if block.type == "resource":
        return {"type": "resource", **_content(block.resource, MAX_TEXT)}
    shown: JsonObject = {"type": clean(str(block.type))}
    for member in ("uri", "name", "mime_type", "description"):
        value = getattr(block, member, None)
        if value:
            shown[member] = clean(str(value))[:2000]
    if isinstance(getattr(block, "data", None), str):
        shown["bytes"] = _decoded_size(block.data)
    return shown


def _content(part: Any, room: int) -> JsonObject:
    shown: JsonObject = {"uri": clean(str(part.uri)), "mime_type": clean(part.mime_type or "")}
    if isinstance(getattr(part, "text", None), str):
        return {**shown, "text": clean(part.text)[: max(room, 0)]}
    return {**shown, "bytes": _decoded_size(getattr(part, "blob", ""))}


def _decoded_size(base64: str) -> int:
    return len(base64) * 3 // 4 - base64[-2:].count("=")


def _structured(value: Any) -> Any:
    """The value, if it is JSON of a fair size."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        return None
    return value if size <= MAX_STRUCTURED else None
