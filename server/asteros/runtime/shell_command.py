"""Shell commands as permission rules see them: one simple command, or nothing.

Matching commands is a convenience and never the boundary; the sandbox is that. So an
allowing rule sees only what this parser understands in full: words, quotes without
expansion, escapes. Anything a shell would expand, redirect, chain, assign or
interpret otherwise is no simple command, and is asked about. A rule that holds back
is matched the other way round: also where it only might hold (``may_hold``)."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_LENGTH = 8192  # characters; nobody reads a longer command before allowing it
_BLANKS = " \t"
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]")  # stands for itself wherever it stands
_WILD = "*?"
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
# Words that are syntax in front of a command, not the name of one.
_RESERVED = {
    "if", "then", "elif", "else", "fi", "for", "in", "while", "until", "do", "done", "case", "esac", "select",
    "function", "time", "coproc", "!", "{", "}", "[[", "]]",
}  # fmt: skip
_CHAIN = re.compile(r"[;|&(){}<>`$\n\r]+")
_INNER_WORD = re.compile(r"[^\s,=:!]+")
_QUOTING = re.compile(r"[\\'\"]")


@dataclass(frozen=True, slots=True)
class _Char:
    """One character of a word, and whether quoting took its meaning away."""

    text: str
    quoted: bool


class _NotSimple(Exception):
    """The text is not one simple command."""


def parse(command: str) -> list[str] | None:
    """The words of one simple command as the program gets them; None for anything else."""
    try:
        words = ["".join(char.text for char in word) for word in _words(command, wild=False)]
    except _NotSimple:
        return None
    if not words or not words[0] or words[0] in _RESERVED or words[0].startswith("%"):
        return None
    return None if _ASSIGNMENT.match(words[0]) else words


def quoted(words: Sequence[str]) -> str:
    """A command, and a pattern, that means exactly these words."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and all(map(_PLAIN.fullmatch, word)):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


# -- characters ----------------------------------------------------------------------


def _words(text: str, *, wild: bool) -> list[list[_Char]]:
    """Splits at blanks. ``wild``: in a pattern "*" and "?" may stand unquoted.

    :raises _NotSimple:"""
    if len(text) > MAX_LENGTH:
        raise _NotSimple
    words: list[list[_Char]] = []
    inside = False
    for char in _characters(text, wild):
        if char is None:
            inside = False
            continue
        if not inside:
            words.append([])
            inside = True
        if char.text:  # nothing: a pair of quotes, which makes a word and adds no character
            words[-1].append(char)
    return words


def _characters(text: str, wild: bool) -> Iterator[_Char | None]:
    """The characters behind the quoting; None between two words."""
    place = 0
    while place < len(text):
        char = text[place]
        place += 1
        if char in _BLANKS:
            yield None
        elif char in "'\"":
            end = _closing(text, place, char)
            yield _Char("", quoted=True)
            yield from _single(text[place:end]) if char == "'" else _double(text[place:end])
            place = end + 1
        elif char == "\\":
            if place == len(text):
                raise _NotSimple
            yield _Char(_visible(text[place]), quoted=True)
            place += 1
        elif _PLAIN.fullmatch(char) or (char.isalnum() and not char.isascii()) or (wild and char in _WILD):
            yield _Char(_visible(char), quoted=False)
        else:
            raise _NotSimple


def _closing(text: str, start: int, quote: str) -> int:
    """Where the quote that was opened ends."""
    place = start
    while place < len(text) and text[place] != quote:
        place += 2 if quote == '"' and text[place] == "\\" else 1
    if place >= len(text):
        raise _NotSimple
    return place


def _single(text: str) -> Iterator[_Char]:
    return (_Char(_visible(char), quoted=True) for char in text)


def _double(text: str) -> Iterator[_Char]:
    """Between double quotes "$", "`" and "!" keep their meaning, and a backslash takes away that of four."""
    place = 0
    while place < len(text):
        char = text[place]
        if char in "$`!":
            raise _NotSimple
        if char == "\\" and text[place + 1] in '"\\$`':
            place += 1
            char = text[place]
        yield _Char(_visible(char), quoted=True)
        place += 1


def _visible(char: str) -> str:
    """Refuses what a reader would not see: controls, newlines, bidi and zero-width signs, half characters."""
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        raise _NotSimple
    return char


# -- patterns --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of a pattern."""

    regex: re.Pattern[str]
    literal: str  # the word itself; "" when it has wildcards
    option: bool  # begins with "-"

    def matches(self, word: str) -> bool:
        return self.regex.fullmatch(word) is not None


class Pattern:
    """The ``argument`` of a permission rule for a tool that takes a command.

    The pattern is split like a command, and each word matches one word: "*" any
    characters of it, "?" one, in quotes neither. A "*" at the very end also lets any
    words follow. The program's name has no wildcards: "git*" means git with any words,
    and a lone "*" any command."""

    def __init__(self, text: str) -> None:
        try:
            words = _words(text, wild=True)
        except _NotSimple:
            words = []
        self._text = glob(text)
        self._open = bool(words) and bool(words[-1]) and words[-1][-1] == _Char("*", quoted=False)
        if self._open and (len(words[-1]) == 1 or len(words) == 1):
            words[-1].pop()  # "git *" and "git*": git, and then anything
            words = [word for word in words if word]
        self._words = [_word(word) for word in words]
        # False: an allowing rule with this pattern would never match anything.
        self.can_allow = bool(self._words[0].literal) if self._words else self._open

    def allows(self, command: str) -> bool:
        """The whole command is one simple command and the pattern matches all of it."""
        words = parse(command)
        return words is not None and self.can_allow and self._fits(words)

    def holds(self, command: str) -> bool:
        """The pattern names this command, or one of those that are chained in it, or its text.

        For rules that hold back: a path in front of the program's name does not matter."""
        if self._text.fullmatch(command.strip()):
            return True
        words = parse(command)
        commands = [words] if words is not None else [_command(part) for part in _fragments(command)]
        return any(self._fits(_bare(words)) for words in commands if words)

    def may_hold(self, command: str) -> bool:
        """The pattern cannot be ruled out: nobody knows what the command does, or its words appear
        somewhere in it, behind another program or other options."""
        words = parse(command)
        if words is None:
            return True
        if not self._words:
            return self._open
        found = [each for word in words for each in (_base(word), *_inner(word))]
        place = 0
        for wanted in self._words:
            if wanted.option:  # may stand elsewhere, or be spelt otherwise
                continue
            while place < len(found) and not wanted.matches(found[place]):
                place += 1
            if place == len(found):
                return False
            place += 1
        return True

    def _fits(self, words: Sequence[str]) -> bool:
        if len(words) < len(self._words) or (len(words) > len(self._words) and not self._open):
            return False
        return all(pattern.matches(word) for pattern, word in zip(self._words, words, strict=False))


def _word(chars: Sequence[_Char]) -> _Word:
    wild = any(char.text in _WILD and not char.quoted for char in chars)
    literal = "" if wild else "".join(char.text for char in chars)
    return _Word(_regex(chars), literal, bool(chars) and chars[0].text == "-")


def glob(text: str) -> re.Pattern[str]:
    """The pattern over a whole text: "*" stands for any characters, "?" for one, and nothing else for others."""
    return _regex([_Char(char, quoted=False) for char in text])


def _regex(chars: Sequence[_Char]) -> re.Pattern[str]:
    """Each piece between two stars is found where it comes first, and that stays: a pattern of many
    stars takes no longer than its text is long."""
    pieces = [""]
    for char in chars:
        if char.text == "*" and not char.quoted:
            pieces.append("")
        else:
            pieces[-1] += "." if char.text == "?" and not char.quoted else re.escape(char.text)
    first, *middle = pieces
    inner = "".join(f"(?>.*?{piece})" for piece in middle[:-1] if piece)
    return re.compile(first + inner + (f".*{middle[-1]}" if middle else ""), re.DOTALL)


# -- commands that are not simple ----------------------------------------------------------


def _fragments(command: str) -> Iterator[str]:
    """What may be commands of their own inside a text that is none: a guess, on the safe side."""
    return (part for part in _CHAIN.split(_QUOTING.sub("", command)) if part.strip())


def _command(fragment: str) -> list[str]:
    """The words of a fragment from the program's name on."""
    words = fragment.split()
    while words and (_ASSIGNMENT.match(words[0]) or words[0] in _RESERVED):
        words.pop(0)
    return words


def _bare(words: Sequence[str]) -> list[str]:
    return [_base(words[0]), *words[1:]]


def _base(word: str) -> str:
    """The name of a program without the path to it."""
    return word.rsplit("/", 1)[-1] or word


def _inner(word: str) -> list[str]:
    """Words inside a word: of ``sh -c 'rm x'``, of ``--exec=rm``."""
    found = [_base(part) for part in _INNER_WORD.findall(_CHAIN.sub(" ", _QUOTING.sub("", word)))]
    return found if found != [_base(word)] else []
