"""filesystem: the file tools, and a place for results too large for a conversation."""

import json
import re
from typing import ClassVar

from asteros.middleware.base import CallTool, Middleware, MiddlewareContext, ToolRequest
from asteros.tools.base import JsonObject, PathRefused
from asteros.tools.strict_json import canonical

GROUP = "filesystem"  # its tools page their own results
MOST = 0.8  # of a result in one text: then the file holds that text and not JSON
_ODD = re.compile(r"[^\w.-]")


class Filesystem(Middleware):
    """Writes a large result into the workspace; the model gets its beginning and the path."""

    name = "filesystem"
    priority = 100
    about = "file tools; large tool results go into a file"
    tools = (GROUP,)
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "max_result_bytes": {"type": "integer", "minimum": 1000, "maximum": 1_000_000, "default": 80_000},
            "head_bytes": {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 2_000},
            "folder": {"type": "string", "minLength": 1, "maxLength": 200, "default": "tool_results"},
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._limit: int = config["max_result_bytes"]
        self._head: int = config["head_bytes"]
        self._folder: str = config["folder"].strip("/")

    async def wrap_tool_call(self, call: ToolRequest, context: MiddlewareContext, proceed: CallTool) -> JsonObject:
        result = await proceed(call)
        if GROUP in call.tool.groups:
            return result
        text = canonical(result)
        size = len(text.encode())
        if size <= self._limit:
            return result
        body, kind = _body(result, size)
        path = f"{self._folder}/{_ODD.sub('_', call.call_id)[:100]}.{kind}"
        try:
            await context.files.write(path, body.encode())
        except (PathRefused, OSError):
            return result  # as large as it is: better than none
        head = body.encode()[: self._head].decode(errors="ignore")
        hint = f"the result has {size} bytes; all of it is in {path}: read it with Read, by offset and limit"
        facts = {"evicted": True, "file_path": path, "bytes": size, "head": head, "hint": hint}
        return {"ok": result.get("ok", True), **facts}


def _body(result: JsonObject, size: int) -> tuple[str, str]:
    """What goes into the file, and its kind: one long text as it is, for Read goes by lines; else JSON."""
    for value in result.values():
        if isinstance(value, str) and len(value.encode()) > MOST * size:
            return value, "txt"
    return json.dumps(result, ensure_ascii=False, indent=1), "json"
