"""Web pages as text for a model.

markdownify and not html2text: that one is under the GPL, and a server that embeds it
would be too."""

import codecs

from asteros.sandbox.outbound import Reply

MAX_HTML = 1024 * 1024  # bytes that are converted; more would take seconds of the processor
_TEXTS = ("application/json", "application/xml", "application/javascript", "application/yaml", "application/x-ndjson")


def text_of(reply: Reply) -> str | None:
    """The body as text, HTML as Markdown; None when it is neither. Takes its time: run it in a thread."""
    kind = reply.content_type
    if kind in ("text/html", "application/xhtml+xml"):
        return _markdown(reply.data[:MAX_HTML], _known(reply.charset))
    if kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml")):
        return reply.data.decode(_known(reply.charset) or "utf-8", errors="replace")
    if not kind and b"\0" not in reply.data:
        return reply.data.decode(errors="replace")
    return None


def _known(charset: str) -> str:
    """The charset, if Python knows it and it is one of text."""
    try:
        found = codecs.lookup(charset)
    except (LookupError, ValueError):
        return ""
    return found.name if found._is_text_encoding else ""


def _markdown(data: bytes, charset: str) -> str:
    # Imported here: they take longer to import than all the rest of the tools.
    from bs4 import BeautifulSoup
    from markdownify import ATX, MarkdownConverter

    soup = BeautifulSoup(data, "html.parser", from_encoding=charset or None)
    for element in soup(["script", "style", "noscript", "template", "svg"]):
        element.decompose()
    try:
        return str(MarkdownConverter(heading_style=ATX).convert_soup(soup)).strip()
    except RecursionError:  # elements nested a thousand deep
        return soup.get_text("\n", strip=True)
