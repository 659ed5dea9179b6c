"""Glob: files by name."""

from asyncio import to_thread

from asteros.sandbox.walk import Walk
from asteros.tools.base import JsonObject, PathRefused, RerunPolicy, ToolContext, ToolInfo
from asteros.tools.files import PATH, failure
from asteros.tools.globs import MAX_PATTERN, BadPattern, Matches, compiled

DEFAULT_RESULTS = 200
MAX_RESULTS = 10_000
_SORTS = ("path", "name", "size", "modified")


class Glob:
    """{"ok", "path", "files": [paths in the workspace], "count", "truncated"}."""

    info = ToolInfo(
        name="Glob",
        description=(
            "Finds files of the workspace by a pattern: *, ?, [a-z], {a,b}, and ** for any folders. "
            "A pattern without / matches names in every folder beneath path."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN},
                "path": {**PATH, "description": "Folder to begin in. Default: the workspace."},
                "exclude_patterns": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN},
                    "maxItems": 50,
                    "description": "Files and folders to leave out, for example node_modules.",
                },
                "include_hidden": {"type": "boolean", "description": "Also names that begin with a dot."},
                "case_sensitive": {"type": "boolean", "description": "Default true."},
                "max_results": {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS},
                "sort_by": {"enum": list(_SORTS), "description": "Default path; modified: newest first."},
                "recursive": {"type": "boolean", "description": "Look into folders. Default true."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        groups=("filesystem",),
        main_argument="path",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``count`` is the number of all files that match; ``truncated``: not all are listed, or looked at."""
        path: str = args.get("path", "/")
        recursive: bool = args.get("recursive", True)
        exact: bool = args.get("case_sensitive", True)
        try:
            wanted = compiled([args["pattern"]], anywhere=recursive, case_sensitive=exact)
            left_out = compiled(args.get("exclude_patterns", ()), anywhere=True, case_sensitive=exact)
        except BadPattern as error:
            return {"ok": False, "error": str(error), "pattern": args["pattern"]}
        try:
            walk = await context.files.walk(path, hidden=args.get("include_hidden", False), skip=left_out)
        except (PathRefused, OSError) as error:
            return failure(path, error)
        return await to_thread(_answer, walk, wanted, path, args)


def within(folder: str, path: str) -> str:
    """A path from a folder on as a path in the workspace."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join([*parts, path])


def _answer(walk: Walk, wanted: Matches, path: str, args: JsonObject) -> JsonObject:
    found = [file for file in walk.files if wanted(file.path) and (args.get("recursive", True) or "/" not in file.path)]
    sort = args.get("sort_by", "path")
    if sort == "name":
        found.sort(key=lambda file: (file.path.rpartition("/")[2], file.path))
    elif sort != "path":
        found.sort(key=lambda file: file.size if sort == "size" else file.modified, reverse=True)
    limit: int = args.get("max_results", DEFAULT_RESULTS)
    return {
        "ok": True,
        "path": path,
        "files": [within(path, file.path) for file in found[:limit]],
        "count": len(found),
        "truncated": len(found) > limit or not walk.complete,
    }
