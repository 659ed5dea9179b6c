"""Path templates of google.api.http: their grammar, and what a request's path gives each variable.

    Template = "/" Segments [ ":" LITERAL ]      Segment  = "*" | "**" | LITERAL | Variable
    Segments = Segment { "/" Segment }           Variable = "{" FieldPath [ "=" Segments ] "}"

The raw path is matched, then each variable is decoded: an encoded slash never splits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_GROUP = re.compile(r"\(\?P<\w+>")
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What stays encoded in the value of `**`, so that it can be told from what divides it (RFC 6570).
_RESERVED = re.compile(r"%(?=2[1346789abcfABCF]|3[abdfABDF]|40|5[bdBD])")


class TemplateError(ValueError):
    """A template that is none."""


class BadEscape(ValueError):
    """A path whose percent-encoding is broken, or is not of UTF-8."""


@dataclass(frozen=True, slots=True)
class Variable:
    """``{a.b=seg/*/x}``: the field it sets, and the pattern of its value."""

    field: str  # "a.b"
    segments: tuple[str, ...]  # literals, "*" and "**"


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A parsed template. ``text`` is as written, ``parts`` are segments and variables in order."""

    text: str
    parts: tuple[str | Variable, ...]
    verb: str
    _pattern: re.Pattern[str]
    _values: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(part for part in self.parts if isinstance(part, Variable))

    @property
    def ungrouped(self) -> str:
        """Its regular expression, without groups that catch."""
        return _GROUP.sub("(?:", self._pattern.pattern)

    def matches(self, raw_path: str) -> "re.Match[str] | None":
        """The match of a raw, still encoded path (without its query), or None."""
        return self._pattern.fullmatch(raw_path)

    def values(self, match: "re.Match[str]") -> dict[str, str]:
        """Field path -> decoded text.

        :raises BadEscape:"""
        return {field: "/".join(_piece(match, *piece) for piece in pieces) for field, pieces in self._values}


def parse(text: str) -> Template:
    """
    :raises TemplateError: with what is wrong, for whoever wrote the proto."""
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._regex: list[str] = []
        self._values: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        self._groups = 0

    def template(self) -> Template:
        text = self._text
        if not text.startswith("/"):
            raise TemplateError(f"{text!r} does not start with a slash")
        path, verb = _without_verb(text)
        parts = tuple(self._part(piece) for piece in _split(path[1:])) if path != "/" else ()
        self._check(parts)
        # A verb alone is no segment: something stands before its colon.
        pattern = ("".join(self._regex) or "/") + (f"(?<!/){re.escape(f':{verb}')}" if verb else "")
        return Template(text, parts, verb, re.compile(pattern, re.DOTALL), tuple(self._values))

    def _part(self, piece: str) -> str | Variable:
        if not piece.startswith("{"):
            self._segment(piece)
            return piece
        if not piece.endswith("}"):
            raise TemplateError(f"{self._text!r}: {piece!r} is not closed")
        field, equals, inner = piece[1:-1].partition("=")
        if not _FIELD.fullmatch(field):
            raise TemplateError(f"{self._text!r}: {field!r} is no field")
        segments = tuple(_split(inner)) if equals else ("*",)
        self._values.append((field, tuple(self._segment(segment) for segment in segments)))
        return Variable(field, segments)

    def _segment(self, segment: str) -> tuple[str, str]:
        """Adds to the pattern; how to read the piece back: (kind, literal or group)."""
        if segment in ("*", "**"):
            group = f"g{self._groups}"
            self._groups += 1
            # `**` may be nothing at all, and then takes its slash with it.
            self._regex.append(f"/(?P<{group}>[^/]*)" if segment == "*" else f"(?:/(?P<{group}>.*))?")
            return segment, group
        if not segment or re.search(r"[{}*=]", segment):
            raise TemplateError(f"{self._text!r}: {segment!r} is no segment")
        self._regex.append("/" + re.escape(segment))
        return "", segment

    def _check(self, parts: tuple[str | Variable, ...]) -> None:
        flat = [each for part in parts for each in (part.segments if isinstance(part, Variable) else (part,))]
        if flat.count("**") > 1:
            raise TemplateError(f"{self._text!r}: more than one **")
        fields = [field for field, _ in self._values]
        if len(set(fields)) != len(fields):
            raise TemplateError(f"{self._text!r}: a field stands twice")


def _without_verb(text: str) -> tuple[str, str]:
    """Path and verb: the colon after the last slash that is outside braces."""
    depth = start = 0
    for index, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if char == "/" and depth == 0:
            start = index
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if text[index] == ":" and depth == 0:
            if index == len(text) - 1:
                raise TemplateError(f"{text!r}: the verb is empty")
            return text[:index], text[index + 1 :]
    return text, ""


def _split(text: str) -> Iterator[str]:
    """Pieces between slashes that are outside braces."""
    depth = start = 0
    for index, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth not in (0, 1):
            raise TemplateError(f"{text!r}: braces do not match")
        if char == "/" and depth == 0:
            yield text[start:index]
            start = index + 1
    if depth:
        raise TemplateError(f"{text!r}: braces do not match")
    yield text[start:]


def _piece(match: "re.Match[str]", kind: str, what: str) -> str:
    if not kind:
        return what
    raw = match[what] or ""
    return unescape(raw) if kind == "*" else unescape_but_reserved(raw)


def unescape(raw: str) -> str:
    """Percent-decoded UTF-8.

    :raises BadEscape:"""
    if "%" not in raw:
        return raw
    if _BROKEN.search(raw):
        raise BadEscape(raw)
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadEscape(raw) from None


def unescape_but_reserved(raw: str) -> str:
    """As ``unescape``, but what could be mistaken for a divider stays encoded.

    :raises BadEscape:"""
    if "%" not in raw:
        return raw
    return unescape(_RESERVED.sub("%25", raw))
