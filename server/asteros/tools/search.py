"""WebSearch, and the promise of a search backend."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from asteros.sandbox.outbound import ANYWHERE, FetchFailed, Outbound
from asteros.tools.base import JsonObject, RerunPolicy, ToolContext, ToolInfo

DEFAULT_RESULTS, MAX_RESULTS = 10, 50
MAX_ANSWER = 2 * 1024 * 1024  # bytes of a backend's answer
MAX_RAW = 20_000  # characters of one page's text
SECONDS = 20.0
TOPICS = ("general", "news", "science", "it")
_DOMAINS = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 253}, "maxItems": 100}


@dataclass(frozen=True, slots=True)
class Hit:
    """One result."""

    title: str
    url: str
    snippet: str = ""
    raw_content: str = ""  # text of the page, where the backend has it


class SearchFailed(Exception):
    """The backend gave no answer; ``sentence`` is for the model."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class SearchBackend(Protocol):
    """Finds pages. One instance serves all agents at once."""

    async def search(self, query: str, *, topic: str, limit: int, raw_content: bool) -> Sequence[Hit]:
        """The best first; more than ``limit`` are left out. Raises SearchFailed."""
        ...


class Searxng:
    """A SearXNG server with its JSON format switched on; needs no key."""

    def __init__(self, base_url: str, outbound: Outbound | None = None) -> None:
        """``base_url`` is the operator's own word, so a private address is fine."""
        self._url = base_url.rstrip("/")
        self._outbound = outbound or Outbound(ANYWHERE)

    async def aclose(self) -> None:
        await self._outbound.aclose()

    async def search(self, query: str, *, topic: str, limit: int, raw_content: bool) -> Sequence[Hit]:  # noqa: ARG002
        """SearXNG keeps no page texts, so ``raw_content`` stays empty."""
        question = urlencode({"q": query, "format": "json", "categories": topic})
        try:
            reply = await self._outbound.fetch(f"{self._url}/search?{question}", timeout=SECONDS, limit=MAX_ANSWER)
            if reply.status != 200:
                raise SearchFailed(f"the search backend answered with status {reply.status}")
            results: list[Any] = json.loads(reply.data)["results"]
            hits = [_hit(result) for result in results if isinstance(result, dict)]
        except FetchFailed as failed:
            raise SearchFailed(f"the search backend failed: {failed.sentence}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SearchFailed("the search backend did not answer in the JSON form of SearXNG") from None
        return [hit for hit in hits if hit.url][:limit]


class WebSearch:
    """{"ok", "query", "results": [{"title", "url", "snippet"}]}."""

    info = ToolInfo(
        name="WebSearch",
        description="Searches the web. Returns titles, addresses and snippets; WebFetch reads a page.",
        input_schema={
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 1000},
                "max_results": {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS},
                "topic": {"enum": list(TOPICS), "description": "Default general."},
                "include_raw_content": {"type": "boolean", "description": "The text of each page, where known."},
                "allowed_domains": {**_DOMAINS, "description": "Only results of these hosts and those below them."},
                "blocked_domains": {**_DOMAINS, "description": "No results of these hosts."},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        read_only=True,
        rerun=RerunPolicy.SAFE,
        main_argument="query",
    )

    def __init__(self, backend: SearchBackend | None = None) -> None:
        self._backend = backend

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """Without a backend every call is refused with a sentence that says so."""
        query: str = args["query"]
        if self._backend is None:
            text = "no search backend is configured on this server (see --search-backend)"
            return {"ok": False, "error": text, "query": query}
        limit: int = args.get("max_results", DEFAULT_RESULTS)
        raw: bool = args.get("include_raw_content", False)
        try:
            hits = await self._backend.search(
                query, topic=args.get("topic", TOPICS[0]), limit=MAX_RESULTS, raw_content=raw
            )
        except SearchFailed as failed:
            return {"ok": False, "error": failed.sentence, "query": query}
        wanted = [hit for hit in hits if _wanted(hit.url, args)][:limit]
        return {"ok": True, "query": query, "results": [_shown(hit, raw=raw) for hit in wanted]}


def _hit(result: dict[str, Any]) -> Hit:
    return Hit(*(str(result.get(name) or "").replace("\0", "")[:2000] for name in ("title", "url", "content")))


def _wanted(url: str, args: JsonObject) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    allowed, blocked = args.get("allowed_domains"), args.get("blocked_domains", ())
    return (not allowed or _among(host, allowed)) and not _among(host, blocked)


def _among(host: str, domains: Sequence[str]) -> bool:
    return any(
        host == domain or host.endswith(f".{domain}") for domain in (each.lower().strip(".") for each in domains)
    )


def _shown(hit: Hit, *, raw: bool) -> JsonObject:
    extra = {"raw_content": hit.raw_content[:MAX_RAW]} if raw and hit.raw_content else {}
    return {"title": hit.title, "url": hit.url, "snippet": hit.snippet, **extra}
