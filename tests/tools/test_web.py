"""WebFetch against a real server on loopback, which only an operator's word opens."""

import asyncio
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext
from tools.web_server import Site, site

from asteros.sandbox import netguard
from asteros.sandbox.files import Workspace
from asteros.sandbox.netguard import Address, Network
from asteros.sandbox.outbound import Outbound
from asteros.tools.web import WebFetch

pytestmark = pytest.mark.anyio
LOOPBACK = netguard.networks(["127.0.0.0/8"])


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/"] = ("200 OK", {"Content-Type": "text/plain; charset=latin-1"}, b"caf\xe9")
        yield made


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(Workspace.open(tmp_path))


async def fetch(context: FakeContext, url: str, networks: Sequence[Network] = LOOPBACK, **more: Any) -> dict[str, Any]:
    outbound = Outbound(networks)
    try:
        return await WebFetch(outbound).run({"url": url, **more}, context)
    finally:
        await outbound.aclose()


async def test_fetches_text(web: Site, context: FakeContext) -> None:
    assert await fetch(context, web.url()) == {
        "ok": True,
        "url": web.url(),
        "status": 200,
        "content_type": "text/plain",
        "content": "café",
        "truncated": False,
    }
    assert f"host: 127.0.0.1:{web.port}" in web.seen[0].lower()
    assert "accept-encoding: identity" in web.seen[0].lower()


async def test_html_becomes_markdown(web: Site, context: FakeContext) -> None:
    page = (
        "<html><style>x{}</style><h1>Täg</h1><p>one <b>two</b> <a href='/x'>three</a></p><script>evil()</script></html>"
    )
    web.pages["/page"] = ("200 OK", {"Content-Type": "Text/HTML; charset=utf-8"}, page.encode())
    assert (await fetch(context, web.url("/page")))["content"] == "# Täg\n\none **two** [three](/x)"


async def test_html_nested_without_end(web: Site, context: FakeContext) -> None:
    web.pages["/deep"] = ("200 OK", {"Content-Type": "text/html"}, b"<div>" * 20_000 + b"bottom")
    assert (await fetch(context, web.url("/deep")))["content"] == "bottom"


async def test_methods_headers_and_bodies(web: Site, context: FakeContext) -> None:
    answer = await fetch(context, web.url(), method="POST", headers={"X-A": "b", "Accept": "x/y"}, body="é")
    assert answer["ok"]
    assert web.seen[0].startswith("POST / HTTP/1.1")
    assert "x-a: b" in web.seen[0].lower()
    assert web.seen[0].endswith("é")
    web.pages["/"] = ("200 OK", {"Content-Type": "text/plain"}, b"")
    assert (await fetch(context, web.url(), method="DELETE"))["content"] == ""


@pytest.mark.parametrize("name", ["Host", "content-length", "Proxy-Authorization", "TE", "Accept-Encoding"])
async def test_headers_of_the_connection_are_not_the_models(web: Site, context: FakeContext, name: str) -> None:
    answer = await fetch(context, web.url(), headers={name: "x"})
    assert answer["error"] == f"the header {name} cannot be set"
    assert web.seen == []


async def test_a_failure_of_the_server_shows_its_page(web: Site, context: FakeContext) -> None:
    answer = await fetch(context, web.url("/none"))
    assert (answer["ok"], answer["error"], answer["content"]) == (
        False,
        "the server answered with status 404",
        "nothing",
    )


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({"Content-Type": "image/png"}, b"\x89PNG", "the page is not text"),
        ({}, b"\0", "the page is not text"),
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, b"x", "the server answered compressed, which"),
    ],
)
async def test_what_is_not_text(
    web: Site, context: FakeContext, headers: dict[str, str], body: bytes, error: str
) -> None:
    web.pages["/x"] = ("200 OK", headers, body)
    answer = await fetch(context, web.url("/x"))
    assert (answer["ok"], answer["error"].startswith(error)) == (False, True)


async def test_long_pages_are_cut(web: Site, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    web.pages["/x"] = ("200 OK", {"Content-Type": "text/plain"}, b"x" * 100)
    monkeypatch.setattr("asteros.tools.web.MAX_BYTES", 10)
    answer = await fetch(context, web.url("/x"))
    assert (answer["content"], answer["truncated"]) == ("x" * 10, True)
    monkeypatch.setattr("asteros.tools.web.MAX_TEXT", 4)
    assert (await fetch(context, web.url("/x")))["content"] == "xxxx"


# -- where it may go -------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/", "https://169.254.169.254/", "http://10.0.0.1/", "https://user:p@example.com/",
        "ftp://example.com/", "file:///etc/passwd", "example.com", "//example.com", "https://", "",
    ],
)  # fmt: skip
async def test_addresses_that_are_closed(web: Site, context: FakeContext, url: str) -> None:
    answer = await fetch(context, url.format(port=web.port), networks=())
    assert answer["error"] in ("this address may not be reached from here", "this is not a valid address")
    assert web.seen == []


async def test_the_metadata_service_is_closed_even_where_all_is_open(context: FakeContext) -> None:
    answer = await fetch(context, "http://169.254.169.254/latest", networks=netguard.networks(["0.0.0.0/0"]))
    assert answer["error"] == "this address may not be reached from here"


def elsewhere(address: str, asked: list[str]) -> Any:
    """A resolver that knows one answer."""

    async def resolve(host: str, port: int, networks: Sequence[Network]) -> tuple[Address, ...]:
        asked.append(f"{host}:{port}")
        found = ipaddress.ip_address(address)
        if not netguard.allowed(found, networks):
            raise netguard.errors.UrlNotAllowed("url")
        return (found,)

    return resolve


async def test_every_hop_is_judged(web: Site, context: FakeContext) -> None:
    web.pages["/out"] = ("302 Found", {"Location": "http://10.1.2.3/"}, b"")
    web.pages["/twice"] = ("302 Found", {"Location": "/out"}, b"")
    answer = await fetch(context, web.url("/twice"))
    assert answer["error"] == "this address may not be reached from here"
    assert len(web.seen) == 2


async def test_redirects(web: Site, context: FakeContext) -> None:
    web.pages["/see"] = ("303 See Other", {"Location": "/"}, b"")
    web.pages["/keep"] = ("307 Temporary Redirect", {"Location": "/"}, b"")
    web.pages["/loop"] = ("301 Moved", {"Location": "/loop"}, b"")
    assert (await fetch(context, web.url("/see"), method="POST", body="b"))["url"] == web.url()
    assert web.seen[-1].startswith("GET / ")
    await fetch(context, web.url("/keep"), method="PUT", body="b")
    assert web.seen[-1].startswith("PUT / ")
    assert web.seen[-1].endswith("b")
    before = len(web.seen)
    assert (await fetch(context, web.url("/loop")))["error"] == "the server redirects again and again"
    assert len(web.seen) - before == 6


async def test_credentials_stay_with_their_server(web: Site, context: FakeContext) -> None:
    async with site() as other:
        other.pages["/"] = ("200 OK", {"Content-Type": "text/plain"}, b"there")
        web.pages["/away"] = ("302 Found", {"Location": other.url()}, b"")
        web.pages["/here"] = ("302 Found", {"Location": "/"}, b"")
        headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-Kept": "k"}
        assert (await fetch(context, web.url("/away"), headers=headers))["content"] == "there"
        assert "secret" not in other.seen[0]
        assert "a=b" not in other.seen[0]
        assert "x-kept: k" in other.seen[0].lower()
        await fetch(context, web.url("/here"), headers=headers)
        assert "Bearer secret" in web.seen[-1]


async def test_http_becomes_https_where_only_that_is_open(context: FakeContext) -> None:
    asked: list[str] = []
    outbound = Outbound((), resolve=elsewhere("127.0.0.1", asked))
    await WebFetch(outbound).run({"url": "http://example.com/a"}, context)
    assert asked == ["example.com:80", "example.com:443"]
    await WebFetch(outbound).run({"url": "http://example.com:8080/a"}, context)
    assert asked[2:] == ["example.com:8080"]  # a port that was named stays
    await outbound.aclose()


async def test_tls_keeps_the_name_while_the_address_is_pinned(tmp_path: Path, context: FakeContext) -> None:
    """The certificate is for the name of the URL; the connection goes to what was judged."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=DNS:pinned.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    names: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: names.append(name)
    made = Site(pages={"/": ("200 OK", {"Content-Type": "text/plain"}, b"sealed")})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=server_side)
    made.port = server.sockets[0].getsockname()[1]

    asked: list[str] = []
    outbound = Outbound(LOOPBACK, resolve=elsewhere("127.0.0.1", asked))
    pages = await outbound._ready()
    import httpx2

    trusting = ssl.create_default_context(cafile=str(certificate))
    pages._client._transport._inner = httpx2.AsyncHTTPTransport(verify=trusting)  # type: ignore[attr-defined]
    tool = WebFetch(outbound)
    assert (await tool.run({"url": f"https://pinned.example:{made.port}/"}, context))["content"] == "sealed"
    assert f"host: pinned.example:{made.port}" in made.seen[0].lower()
    assert names == ["pinned.example"]
    assert asked == [f"pinned.example:{made.port}"]
    wrong = await tool.run({"url": f"https://other.example:{made.port}/"}, context)
    assert wrong["error"] == "the server cannot be reached"
    await outbound.aclose()
    server.close()
    await server.wait_closed()


# -- when it ends ------------------------------------------------------------------------


async def test_a_server_that_says_nothing(web: Site, context: FakeContext) -> None:
    answer = await fetch(context, web.url("/held"), timeout=0.5)
    assert answer["error"] == "the server did not answer in time"
    async with asyncio.timeout(10):
        await web.closed.wait()


async def test_cancelling_closes_the_connection(web: Site, context: FakeContext) -> None:
    task = asyncio.create_task(fetch(context, web.url("/held")))
    while not web.seen:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        await web.closed.wait()


@pytest.mark.parametrize("answer", [b"", b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_server_that_breaks_off(context: FakeContext, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await fetch(context, f"http://127.0.0.1:{port}/")
    assert found["error"] == "the server did not answer with proper HTTP"
    server.close()
    await server.wait_closed()
    refused = await fetch(context, f"http://127.0.0.1:{port}/")
    assert refused["error"] == "the server cannot be reached"


async def test_the_environment_names_no_proxy(web: Site, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetch(context, web.url()))["ok"]
