import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tools.fakes import FakeContext
from tools.web_server import Site, site

from asteros.sandbox.files import Workspace
from asteros.tools.search import Hit, Searxng, WebSearch

pytestmark = pytest.mark.anyio
RESULTS = [
    {"title": "One", "url": "https://docs.example.com/1", "content": "first", "engine": "x"},
    {"title": "Two", "url": "https://other.org/2"},
    {"title": "No address"},
    {"title": "Three", "url": "https://example.com/3", "content": None},
]


@pytest.fixture
async def engine() -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/base/search"] = answer(json.dumps({"query": "x", "results": RESULTS}))
        yield made


def answer(body: str, status: str = "200 OK") -> tuple[str, dict[str, str], bytes]:
    return (status, {"Content-Type": "application/json"}, body.encode())


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(Workspace.open(tmp_path))


async def search(engine: Site, context: FakeContext, **args: Any) -> dict[str, Any]:
    backend = Searxng(engine.url("/base/"))
    try:
        return await WebSearch(backend).run({"query": "a b&c", **args}, context)
    finally:
        await backend.aclose()


async def test_without_a_backend_it_says_so(context: FakeContext) -> None:
    assert await WebSearch().run({"query": "x"}, context) == {
        "ok": False,
        "error": "no search backend is configured on this server (see --search-backend)",
        "query": "x",
    }


async def test_asks_searxng(engine: Site, context: FakeContext) -> None:
    assert await search(engine, context, topic="news") == {
        "ok": True,
        "query": "a b&c",
        "results": [
            {"title": "One", "url": "https://docs.example.com/1", "snippet": "first"},
            {"title": "Two", "url": "https://other.org/2", "snippet": ""},
            {"title": "Three", "url": "https://example.com/3", "snippet": ""},
        ],
    }
    asked = urlsplit(engine.seen[0].split(" ")[1])
    assert asked.path == "/base/search"
    assert parse_qs(asked.query) == {"q": ["a b&c"], "format": ["json"], "categories": ["news"]}


@pytest.mark.parametrize(
    ("args", "titles"),
    [
        ({"max_results": 2}, ["One", "Two"]),
        ({"allowed_domains": ["Example.com"]}, ["One", "Three"]),
        ({"allowed_domains": ["docs.example.com"]}, ["One"]),
        ({"blocked_domains": ["example.com"]}, ["Two"]),
        ({"allowed_domains": ["ample.com"]}, []),
        ({"allowed_domains": ["example.com"], "blocked_domains": ["docs.example.com"]}, ["Three"]),
    ],
)
async def test_domains_and_limits(engine: Site, context: FakeContext, args: dict[str, Any], titles: list[str]) -> None:
    assert [hit["title"] for hit in (await search(engine, context, **args))["results"]] == titles


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (answer("{}"), "the search backend did not answer in the JSON form of SearXNG"),
        (answer("no json"), "the search backend did not answer in the JSON form of SearXNG"),
        (answer("[" * 100_000), "the search backend did not answer in the JSON form of SearXNG"),
        (answer('{"results": 3}'), "the search backend did not answer in the JSON form of SearXNG"),
        (answer("x", "403 Forbidden"), "the search backend answered with status 403"),
        (answer("x", "302 Found"), "the search backend answered with status 302"),
    ],
)
async def test_failures_are_results(
    engine: Site, context: FakeContext, page: tuple[str, dict[str, str], bytes], error: str
) -> None:
    engine.pages["/base/search"] = page
    found = await search(engine, context)
    assert (found["ok"], found["error"]) == (False, error)


async def test_a_backend_that_is_away(context: FakeContext) -> None:
    async with site() as gone:
        pass
    assert (await search(gone, context))["error"] == "the search backend failed: the server cannot be reached"


async def test_the_metadata_service_is_no_backend(context: FakeContext) -> None:
    found = await WebSearch(Searxng("http://169.254.169.254")).run({"query": "x"}, context)
    assert found["error"] == "the search backend failed: this address may not be reached from here"


class Own:
    """A backend of somebody else's."""

    async def search(self, query: str, *, topic: str, limit: int, raw_content: bool) -> Sequence[Hit]:
        return [Hit(f"{query} {topic}", "https://x.example/", "s", "r" * 30_000 if raw_content else "")]


async def test_any_backend_will_do(context: FakeContext) -> None:
    tool = WebSearch(Own())
    assert (await tool.run({"query": "q"}, context))["results"] == [
        {"title": "q general", "url": "https://x.example/", "snippet": "s"}
    ]
    found = await tool.run({"query": "q", "include_raw_content": True}, context)
    assert len(found["results"][0]["raw_content"]) == 20_000
