"""Read, Write and Ls: the files of the agent's workspace.

Their contract is the tool table of the contract's part 6 and seed 004: ``path`` is an
alias of ``file_path``, and a failure is a result, never an exception.
"""

import errno
import io
from asyncio import to_thread
from typing import Any

from asteros.sandbox.files import MAX_ENTRIES, MAX_WRITE
from asteros.tools.base import JsonObject, PathRefused, RerunPolicy, ToolContext, ToolInfo

DEFAULT_LINES = 2000  # of one Read
MAX_READ = 256 * 1024  # bytes of text in one answer
MAX_FILE = MAX_WRITE  # bytes of a file that Read looks at
_BLOCK = 64 * 1024

PATH = {"type": "string", "description": "Path in the workspace; a leading / means its root."}
ALIASES = {"path": "file_path"}
_SENTENCES = {
    errno.ENOENT: "there is no such file or folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EACCES: "the file system does not permit this",
    errno.ENOSPC: "the workspace has no room left",
}


class Read:
    """Some lines of a text file: {"ok", "path", "content", "line_count", "truncated", …}."""

    info = ToolInfo(
        name="Read",
        description=(
            f"Reads a text file of the workspace. Returns at most {DEFAULT_LINES} lines or "
            f"{MAX_READ // 1024} KiB; when truncated is true, go on with offset = next_offset."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "file_path": PATH,
                "offset": {"type": "integer", "minimum": 1, "description": "First line to return, from 1."},
                "limit": {"type": "integer", "minimum": 1, "description": "Number of lines to return."},
            },
            "required": ["file_path"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        groups=("filesystem",),
        main_argument="file_path",
        argument_aliases=ALIASES,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``line_count`` counts the whole file, as far as MAX_FILE bytes go."""
        path: str = args["file_path"]
        try:
            data = await context.files.read(path, MAX_FILE + 1)
        except (PathRefused, OSError) as error:
            return failure(path, error)
        page = await to_thread(_page, data, args.get("offset", 1), args.get("limit", DEFAULT_LINES))
        return {"ok": "error" not in page, "path": path, **page}


class Write:
    """Makes, replaces or extends a file: {"ok", "path", "bytes"}."""

    # rerun stays NEVER, although writing the same content twice would do no harm by itself:
    # after a crash a person may have edited the file, and an append would be there twice.
    info = ToolInfo(
        name="Write",
        description="Writes a text file of the workspace, replacing what is there unless append is true.",
        input_schema={
            "type": "object",
            "properties": {
                "file_path": PATH,
                "content": {"type": "string"},
                "create_dirs": {"type": "boolean", "description": "Make missing folders. Default true."},
                "backup": {"type": "boolean", "description": "Keep the old content as <file_path>.bak."},
                "append": {"type": "boolean", "description": "Add to the end of the file."},
            },
            "required": ["file_path", "content"],
            "additionalProperties": False,
        },
        groups=("filesystem",),
        main_argument="file_path",
        argument_aliases=ALIASES,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``bytes`` counts what this call wrote; ``backup`` is the path of the copy, if one was made."""
        path: str = args["file_path"]
        data = args["content"].encode()
        answer: JsonObject = {"ok": True, "path": path, "bytes": len(data)}
        try:
            if args.get("backup", False) and await back_up(path, context):
                answer["backup"] = backup_of(path)
            await context.files.write(
                path, data, append=args.get("append", False), create_dirs=args.get("create_dirs", True)
            )
        except (PathRefused, OSError) as error:
            return failure(path, error)
        return answer


class Ls:
    """The entries of a folder: {"ok", "path", "entries": [{"name", "kind", "size"}], "truncated"}."""

    info = ToolInfo(
        name="Ls",
        description=f"Lists a folder of the workspace: name, kind and size in bytes; at most {MAX_ENTRIES} entries.",
        input_schema={"type": "object", "properties": {"path": PATH}, "additionalProperties": False},
        read_only=True,
        rerun=RerunPolicy.SAFE,
        groups=("filesystem",),
        main_argument="path",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """Without ``path``: the root. ``truncated``: the folder may hold more."""
        path: str = args.get("path", "/")
        try:
            entries = await context.files.list(path)
        except (PathRefused, OSError) as error:
            return failure(path, error)
        listed = [{"name": entry.name, "kind": entry.kind, "size": entry.size} for entry in entries]
        return {"ok": True, "path": path, "entries": listed, "truncated": len(listed) >= MAX_ENTRIES}


def failure(path: str, error: Exception) -> JsonObject:
    """Never the text of an OSError: it may hold a path of the host."""
    if isinstance(error, OSError):
        text = _SENTENCES.get(error.errno or 0, f"the file system answered: {error.strerror}")
    else:
        text = str(error)
    return {"ok": False, "error": text, "path": path}


async def back_up(path: str, context: ToolContext) -> bool:
    """Copies the file beside itself; False when there is none yet."""
    try:
        data = await context.files.read(path, MAX_WRITE + 1)
    except FileNotFoundError:
        return False
    await context.files.write(backup_of(path), data)  # refused when longer than MAX_WRITE
    return True


def backup_of(path: str) -> str:
    return f"{path}.bak"


def _page(data: bytes, offset: int, limit: int) -> dict[str, Any]:
    """``limit`` lines from line ``offset``, or what of them fits in MAX_READ bytes.

    A line longer than that is cut and its rest cannot be read."""
    cut = len(data) > MAX_FILE
    data = data[:MAX_FILE]
    count = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    if offset > max(count, 1):
        return {"error": f"the file has only {count} lines", "line_count": count}
    start = _line_start(data, offset - 1)
    lines = _lines(data, start, limit)
    whole = b"".join(lines)
    text, bad = _text(_fitting(whole))
    after = offset + len(lines)
    truncated = cut or after <= count or len(whole) > MAX_READ
    page = {"content": text, "line_count": count, "truncated": truncated}
    if after <= count:
        page["next_offset"] = after
    if bad:
        page["note"] = "bytes that are not UTF-8 are shown as U+FFFD"
    return page


def _line_start(data: bytes, line: int) -> int:
    """Where line ``line`` (from 0) begins. By blocks: one long C call would hold the GIL."""
    position = 0
    while (inside := data.count(b"\n", position, position + _BLOCK)) < line:
        line -= inside
        position += _BLOCK
    for _ in range(line):
        position = data.find(b"\n", position) + 1
    return position


def _lines(data: bytes, start: int, limit: int) -> list[bytes]:
    """Whole lines up to MAX_READ bytes together; at least one, whatever its length."""
    lines: list[bytes] = []
    room = MAX_READ
    for line in io.BytesIO(data[start : start + MAX_READ + 1]):
        room -= len(line)
        if lines and (room < 0 or len(lines) >= limit):
            break
        lines.append(line)
    return lines


def _fitting(data: bytes) -> bytes:
    """At most MAX_READ bytes, not cut inside a UTF-8 character."""
    end = min(len(data), MAX_READ)
    while MAX_READ - 3 <= end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end]


def _text(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        return data.decode(errors="replace"), True
