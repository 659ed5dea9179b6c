"""Grep: lines of files that match a pattern.

The patterns are RE2's: searching takes linear time whatever the model writes, where a
backtracking engine could be kept busy for hours by twenty characters."""

from asyncio import to_thread
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from asteros.sandbox.files import MAX_WRITE
from asteros.tools.base import JsonObject, PathRefused, RerunPolicy, ToolContext, ToolInfo
from asteros.tools.files import PATH, failure
from asteros.tools.glob import within
from asteros.tools.globs import MAX_PATTERN, BadPattern, Matches, compiled, regex

DEFAULT_RESULTS = 200
MAX_RESULTS = 10_000
MAX_TEXT = 256 * 1024  # characters of one answer
MAX_LINE = 2000  # characters of one line
MAX_CONTEXT = 50  # lines
MAX_FILE = MAX_WRITE  # bytes of a file that are searched
_BINARY = 8192  # bytes in which a NUL means that this is no text
_TYPES = {
    "c": ("*.c", "*.h"), "cpp": ("*.cc", "*.cpp", "*.cxx", "*.h", "*.hh", "*.hpp"), "css": ("*.css", "*.scss"),
    "go": ("*.go",), "html": ("*.html", "*.htm"), "java": ("*.java",), "js": ("*.js", "*.jsx", "*.mjs", "*.cjs"),
    "json": ("*.json", "*.jsonl"), "md": ("*.md", "*.markdown"), "php": ("*.php",), "proto": ("*.proto",),
    "py": ("*.py", "*.pyi"), "rb": ("*.rb",), "rust": ("*.rs",), "sh": ("*.sh", "*.bash"), "sql": ("*.sql",),
    "toml": ("*.toml",), "ts": ("*.ts", "*.tsx"), "txt": ("*.txt",), "xml": ("*.xml",), "yaml": ("*.yaml", "*.yml"),
}  # fmt: skip
_MODES = ("files_with_matches", "content", "count")


class Grep:
    """{"ok", "path", "match_count", "file_count", "truncated"} and, by output_mode, "files",
    "content" (lines as ``path:line:text``, context as ``path-line-text``) or "counts"."""

    info = ToolInfo(
        name="Grep",
        description=(
            "Searches the text files of the workspace for a regular expression (RE2 syntax). Returns the "
            "files that match; output_mode content returns the lines, count their number in each file."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN},
                "path": {**PATH, "description": "File, or folder to begin in. Default: the workspace."},
                "glob": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_PATTERN,
                    "description": "Only files that match this pattern, for example *.{ts,tsx}.",
                },
                "file_type": {"enum": sorted(_TYPES), "description": "Only files of this language."},
                "output_mode": {"enum": list(_MODES)},
                "max_results": {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS},
                "context_lines": {"type": "integer", "minimum": 0, "maximum": MAX_CONTEXT},
                "case_insensitive": {"type": "boolean"},
                "whole_word": {"type": "boolean"},
                "line_numbers": {"type": "boolean", "description": "Default true."},
                "no_heading": {"type": "boolean", "description": "false: each file's name stands above its lines."},
                "hidden": {"type": "boolean", "description": "Also names that begin with a dot."},
                "follow": {"type": "boolean", "description": "Also through links that stay in the workspace."},
                "multiline": {
                    "type": "boolean",
                    "description": "A match may reach over lines, and . matches their ends.",
                },
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        groups=("filesystem", "grep"),
        main_argument="path",
    )

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """``truncated``: there may be more than is shown. A file that holds a NUL is no text and left out."""
        path: str = args.get("path", "/")
        try:
            search, wanted = _Search.of(args), _wanted(args)
        except BadPattern as error:
            return {"ok": False, "error": str(error), "pattern": args["pattern"]}
        try:
            paths, complete = await _paths(path, wanted, args, context)
        except (PathRefused, OSError) as error:
            return failure(path, error)
        results = _Results(args)
        for index, name in enumerate(paths):
            if results.full:
                complete = False
                break
            if index and index % 500 == 0:
                context.progress(f"{index} of {len(paths)} files searched", index / len(paths))
            try:
                data = await context.files.read(name, MAX_FILE)
            except (PathRefused, OSError):
                complete = False
                continue
            if b"\0" not in data[:_BINARY]:
                await to_thread(results.add, name, data, search)
        return results.answer(path, complete)


async def _paths(path: str, wanted: Matches, args: JsonObject, context: ToolContext) -> tuple[Sequence[str], bool]:
    """The files to search, and whether these are all."""
    try:
        walk = await context.files.walk(path, hidden=args.get("hidden", False), follow=args.get("follow", False))
    except NotADirectoryError:
        return [path], True
    return [within(path, file.path) for file in walk.files if wanted(file.path)], walk.complete


def _wanted(args: JsonObject) -> Matches:
    """Both glob and file_type must hold. Raises BadPattern."""
    tests = [
        compiled(patterns, anywhere=True)
        for patterns in (
            [args["glob"]] if "glob" in args else [],
            _TYPES[args["file_type"]] if "file_type" in args else [],
        )
        if patterns
    ]
    return lambda path: all(test(path) for test in tests)


@dataclass(frozen=True, slots=True)
class _Search:
    """A compiled pattern."""

    pattern: Any
    multiline: bool

    @classmethod
    def of(cls, args: JsonObject) -> "_Search":
        text: str = args["pattern"]
        regex(text)  # alone, so that a complaint is about what the model wrote
        if args.get("whole_word", False):
            text = rf"\b(?:{text})\b"
        multiline: bool = args.get("multiline", False)
        text = f"(?{'ms' if multiline else 'm'}){text}"
        exact = not args.get("case_insensitive", False)
        return cls(regex(text, case_sensitive=exact, one_line=not multiline), multiline)

    def lines(self, data: bytes) -> Iterator[tuple[int, int]]:
        """The lines of each match, from 0: first and last. A line begins one match at most."""
        position = line = counted = 0
        while position <= len(data) and (match := self.pattern.search(data, position)):
            start, end = match.span()
            if start == len(data) and (not data or data.endswith(b"\n")):
                return  # behind the last line there is none
            line += data.count(b"\n", counted, start)
            counted = start
            last = line + data.count(b"\n", start, max(start, end - 1))
            yield line, last
            newline = data.find(b"\n", max(start, end - 1))
            if newline < 0:
                return
            position = newline + 1


@dataclass(slots=True)
class _Results:
    """What was found so far, within the limits of one answer."""

    args: JsonObject
    out: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    size: int = 0
    full: bool = False

    def add(self, path: str, data: bytes, search: _Search) -> None:
        """Searches one file; runs in a thread."""
        mode = self.args.get("output_mode", _MODES[0])
        limit: int = self.args.get("max_results", DEFAULT_RESULTS)
        found: list[tuple[int, int]] = []
        for match in search.lines(data):
            if (sum(self.counts.values()) + len(found) if mode == "content" else len(self.counts)) >= limit:
                self.full = True
                break
            found.append(match)
            if mode == _MODES[0]:
                break
        if found:
            self.counts[path] = len(found)
            if mode == "content":
                self._show(path, data, found)

    def _show(self, path: str, data: bytes, found: Sequence[tuple[int, int]]) -> None:
        lines = data.split(b"\n")
        if data.endswith(b"\n"):
            lines.pop()
        around: int = self.args.get("context_lines", 0)
        matching = {number for first, last in found for number in range(first, last + 1)}
        shown = {n for hit in matching for n in range(max(0, hit - around), min(len(lines), hit + around + 1))}
        if not self.args.get("no_heading", True):
            self._say(path)
        before = -1
        for number in sorted(shown):
            if around and 0 <= before < number - 1:
                self._say("--")
            self._say(self._line(path, number, lines[number], matched=number in matching))
            before = number
            if self.full:
                return

    def _line(self, path: str, number: int, line: bytes, *, matched: bool) -> str:
        mark = ":" if matched else "-"
        text = line.rstrip(b"\r").decode(errors="replace")
        cut = f"{text[:MAX_LINE]}…" if len(text) > MAX_LINE else text
        head = f"{path}{mark}" if self.args.get("no_heading", True) else ""
        return f"{head}{number + 1}{mark}{cut}" if self.args.get("line_numbers", True) else f"{head}{cut}"

    def _say(self, line: str) -> None:
        self.size += len(line) + 1
        if self.size > MAX_TEXT:
            self.full = True
        else:
            self.out.append(line)

    def answer(self, path: str, complete: bool) -> JsonObject:
        mode = self.args.get("output_mode", _MODES[0])
        shown: JsonObject = {"files": list(self.counts)}
        if mode == "content":
            shown = {"content": "\n".join(self.out)}
        elif mode == "count":
            shown = {"counts": [{"path": name, "count": count} for name, count in self.counts.items()]}
        facts = {"match_count": sum(self.counts.values()), "file_count": len(self.counts)}
        return {"ok": True, "path": path, **shown, **facts, "truncated": self.full or not complete}
