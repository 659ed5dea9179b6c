"""Edit: replaces a text in a file of the workspace."""

from asteros.sandbox.files import MAX_WRITE
from asteros.tools.base import JsonObject, PathRefused, ToolContext, ToolInfo
from asteros.tools.files import ALIASES, PATH, back_up, backup_of, failure


class Edit:
    """{"ok", "path", "replacements"}; the text must stand in the file once, unless replace_all is true."""

    # rerun stays NEVER: a person may have edited the file since the crash.
    info = ToolInfo(
        name="Edit",
        description=(
            "Replaces old_string by new_string in a text file of the workspace. old_string must be "
            "unique in the file, so give enough of the lines around it, or set replace_all."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "file_path": PATH,
                "old_string": {"type": "string", "minLength": 1, "description": "The text that is there now."},
                "new_string": {"type": "string", "description": "What it becomes."},
                "replace_all": {"type": "boolean", "description": "Replace every occurrence. Default false."},
                "preserve_indentation": {
                    "type": "boolean",
                    "description": "Find whole lines whatever their common indentation is, and keep that of the file.",
                },
                "backup": {"type": "boolean", "description": "Keep the old content as <file_path>.bak."},
            },
            "required": ["file_path", "old_string", "new_string"],
            "additionalProperties": False,
        },
        groups=("filesystem",),
        main_argument="file_path",
        argument_aliases=ALIASES,
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """The file keeps its line ends: where its lines end in CR LF, those of the arguments do too."""
        path: str = args["file_path"]
        answer: JsonObject = {"ok": True, "path": path}
        try:
            data = await context.files.read(path, MAX_WRITE + 1)
            if len(data) > MAX_WRITE:
                return _refusal(path, f"the file has more than {MAX_WRITE} bytes")
            text = data.decode()
            changed, count = _edited(text, args)
            if isinstance(changed, _Refused):
                return _refusal(path, changed, occurrences=count)
            if args.get("backup", False) and await back_up(path, context):
                answer["backup"] = backup_of(path)
            await context.files.write(path, changed.encode(), create_dirs=False)
        except UnicodeDecodeError:
            return _refusal(path, "the file is not UTF-8 text")
        except (PathRefused, OSError) as error:
            return failure(path, error)
        return {**answer, "replacements": count}


class _Refused(str):
    """Why the file stays as it is."""

    __slots__ = ()


def _refusal(path: str, text: str, **facts: object) -> JsonObject:
    return {"ok": False, "error": str(text), "path": path, **facts}


def _edited(text: str, args: JsonObject) -> tuple[str | _Refused, int]:
    """The new text and the number of replacements, or why not and the number of occurrences."""
    old, new = args["old_string"], args["new_string"]
    if "\r\n" in text and "\r" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    if old == new:
        return _Refused("old_string and new_string are the same"), 0
    count = text.count(old)
    if count == 0 and args.get("preserve_indentation", False):
        return _reindented(text, old, new, every=args.get("replace_all", False))
    return _checked(count, every=args.get("replace_all", False)) or text.replace(old, new), count


def _checked(count: int, *, every: bool) -> _Refused | None:
    if count == 0:
        return _Refused("old_string is not in the file; it must be the same to the last space")
    if count > 1 and not every:
        return _Refused(f"old_string is in the file {count} times; make it longer, or set replace_all")
    return None


def _reindented(text: str, old: str, new: str, *, every: bool) -> tuple[str | _Refused, int]:
    """Replaces whole lines that are ``old`` but for their common indentation."""
    lines = text.splitlines(keepends=True)
    wanted, _ = _dedented(old.splitlines())
    wanted = wanted or [""]
    found: list[tuple[int, str]] = []
    place = 0
    while place + len(wanted) <= len(lines):
        window, indent = _dedented([line.rstrip("\r\n") for line in lines[place : place + len(wanted)]])
        if window == wanted:
            found.append((place, indent))
            place += len(wanted)
        else:
            place += 1
    refused = _checked(len(found), every=every)
    if refused is not None:
        return refused, len(found)
    for place, indent in reversed(found):
        lines[place : place + len(wanted)] = _indented(new, indent, lines[place + len(wanted) - 1])
    return "".join(lines), len(found)


def _dedented(lines: list[str]) -> tuple[list[str], str]:
    """Lines without the indentation they share, and that; blank lines have none."""
    full = [line for line in lines if line.strip()]
    if not full:
        return ["" for _ in lines], ""
    first, last = min(full), max(full)
    size = 0
    while size < len(first) and first[size] in " \t" and first[size] == last[size]:
        size += 1
    return [line[size:] if line.strip() else "" for line in lines], full[0][:size]


def _indented(new: str, indent: str, last: str) -> list[str]:
    """``new`` behind ``indent``, its last line ended as the line it replaces was."""
    lines, _ = _dedented(new.splitlines())
    ends = [line[len(line.rstrip("\r\n")) :] or "\n" for line in new.splitlines(keepends=True)]
    ends[-1:] = [last[len(last.rstrip("\r\n")) :]] if ends else []
    return [f"{indent}{line}{end}" if line else end for line, end in zip(lines, ends, strict=True)]
