"""agent_memory: what the agent keeps for all its sessions, beside files of its workspace."""

import re
from collections.abc import Sequence
from typing import ClassVar

from asteros.middleware.base import CallModel, Middleware, MiddlewareContext, ModelContext, ModelStream
from asteros.middleware.prompts import with_prompt
from asteros.providers.base import ModelRequest
from asteros.tools.base import Files, JsonObject, PathRefused, RerunPolicy, Tool, ToolContext, ToolInfo

NOTE = "memories"
MAX_BYTES = 200_000  # of all memories together; a note holds 256 KiB
MAX_FILE = 32_000  # bytes of a memory file that are read
_WORD = re.compile(r"\w+")


class MemoryWrite:
    """Keeps or forgets one memory: {"ok", "name", "count"}."""

    info = ToolInfo(
        name="memory_write",
        description="Keeps something for all later sessions under a name; the same name replaces it, and without "
        "content it is forgotten.",
        input_schema={
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 100},
                "content": {"type": "string", "description": "What to keep; empty forgets it."},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        harmless=True,
        rerun=RerunPolicy.SAFE,
        main_argument="name",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        kept: dict[str, str] = await context.agent_notes.get(NOTE) or {}
        name, content = args["name"], args.get("content", "")
        kept.pop(name, None)
        if content:
            kept[name] = content
        if sum(len(each.encode()) for pair in kept.items() for each in pair) > MAX_BYTES:
            return {"ok": False, "error": f"memory holds {MAX_BYTES} bytes; forget something first", "name": name}
        await context.agent_notes.put(NOTE, kept or None)
        return {"ok": True, "name": name, "count": len(kept)}


class MemorySearch:
    """Memories and paragraphs of memory files by the words they share with the query."""

    info = ToolInfo(
        name="memory_search",
        description="Finds what was kept with memory_write, and paragraphs of the memory files, by words.",
        input_schema={
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words; empty lists everything."},
                "max_results": {"type": "integer", "minimum": 1, "maximum": 50},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        main_argument="query",
    )

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """{"ok", "results": [{"name" or "file_path", "content"}]}, the best first."""
        kept: dict[str, str] = await context.agent_notes.get(NOTE) or {}
        found: list[tuple[str, JsonObject]] = [
            (f"{name} {content}", {"name": name, "content": content}) for name, content in kept.items()
        ]
        for path in self._paths:
            paragraphs = re.split(r"\n\s*\n", await _text(context.files, path))
            found += [(part, {"file_path": path, "content": part.strip()}) for part in paragraphs if part.strip()]
        wanted = _words(args["query"])
        ranked = sorted(found, key=lambda each: -len(wanted & _words(each[0])))
        hits = [shown for text, shown in ranked if not wanted or wanted & _words(text)]
        return {"ok": True, "results": hits[: args.get("max_results", 10)]}


class AgentMemory(Middleware):
    """Shows the memory files and the names of what is kept; two tools search and write."""

    name = "agent_memory"
    priority = 5
    about = "memory_search, memory_write: memory for all sessions, and memory files"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "files": {
                "type": "array",
                "maxItems": 20,
                "items": {"type": "string", "minLength": 1, "maxLength": 500},
                "default": ["AGENTS.md"],
            }
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._paths: list[str] = config["files"]
        self._tools = (MemorySearch(self._paths), MemoryWrite())

    def own_tools(self) -> Sequence[Tool]:
        return self._tools

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        return await proceed(with_prompt(request, await self._shown(context)))

    async def _shown(self, context: MiddlewareContext) -> str:
        parts = ["What you remember from earlier sessions (memory_search, memory_write):"]
        for path in self._paths:
            text = await _text(context.files, path)
            parts += [f'<file path="{path}">\n{text}\n</file>'] if text else []
        names = sorted(await context.agent_notes.get(NOTE) or {})
        parts.append(f"Kept: {', '.join(names[:200]) or 'nothing yet'}")
        return "\n".join(parts)


async def _text(files: Files, path: str) -> str:
    """The beginning of a file; "" when there is none."""
    try:
        data = await files.read(path, MAX_FILE)
    except (PathRefused, OSError):
        return ""
    return data.decode(errors="replace").strip()


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
