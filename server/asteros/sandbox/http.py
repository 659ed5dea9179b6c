"""The HTTP client behind ``outbound``, and the transport that judges where it goes.

The transport resolves and judges the host of every request, each hop of a redirect
too, and connects to the address it judged; Host header, SNI and certificate stay
those of the URL (security, part 9). https on port 443 is open; anything else only to
networks that the operator allows."""

from collections.abc import Mapping, Sequence

import httpx2

from asteros import errors
from asteros.sandbox import netguard
from asteros.sandbox.netguard import Address, Network
from asteros.sandbox.outbound import CONNECT_SECONDS, MAX_HOPS, TOO_SLOW, FetchFailed, Reply, Resolve

_REDIRECTS = (301, 302, 303, 307, 308)
_PRIVATE_HEADERS = ("authorization", "cookie", "proxy-authorization")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests to judged addresses only. Raises UrlNotAllowed and OSError besides
    what httpx2 raises."""

    def __init__(self, networks: Sequence[Network] = (), *, keep: int = 0, resolve: Resolve = netguard.resolve) -> None:
        """``keep``: idle connections to keep. More than 0 only for a client of one host: a kept
        connection is found again by its address, and two hosts may share one."""
        self._networks = networks
        self._resolve = resolve
        self._limits = httpx2.Limits(max_connections=100, max_keepalive_connections=keep)
        self._inner: httpx2.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise errors.UrlNotAllowed("url")
        addresses = await self._resolve(url.host, port, self._networks)
        if (url.scheme, port) != ("https", 443) and not all(map(self._opened, addresses)):
            raise errors.UrlNotAllowed("url")
        failure: Exception = OSError("no address")
        for address in addresses:
            try:
                return await self._transport().handle_async_request(_pinned(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    def _opened(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _transport(self) -> httpx2.AsyncHTTPTransport:
        if self._inner is None:  # made when first used: it reads the certificates of the system
            self._inner = httpx2.AsyncHTTPTransport(trust_env=False, limits=self._limits)
        return self._inner

    async def aclose(self) -> None:
        if self._inner is not None:
            await self._inner.aclose()


def _pinned(request: httpx2.Request, address: Address) -> httpx2.Request:
    """The same request to one address; its Host header is set already."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def client(
    networks: Sequence[Network], headers: Mapping[str, str], timeout: float, *, keep: int = 0
) -> httpx2.AsyncClient:
    """A client for one server that an operator named; the SDK that is given it closes it.

    ``timeout``: seconds without a byte."""
    return httpx2.AsyncClient(
        transport=GuardedTransport(networks, keep=keep),
        headers=dict(headers),
        timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )


class Pages:
    """Fetches single pages for ``outbound.Outbound``."""

    def __init__(self, networks: Sequence[Network], resolve: Resolve) -> None:
        self._client = httpx2.AsyncClient(
            transport=GuardedTransport(networks, resolve=resolve), trust_env=False, follow_redirects=False
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def fetch(self, url: str, method: str, headers: Mapping[str, str], body: bytes, limit: int) -> Reply:
        """Raises FetchFailed for everything but a TimeoutError around it."""
        try:
            return await self._follow(httpx2.URL(url), method, dict(headers), body, limit)
        except errors.UrlNotAllowed:
            raise FetchFailed("this address may not be reached from here") from None
        except httpx2.InvalidURL:
            raise FetchFailed("this is not a valid address") from None
        except (TimeoutError, httpx2.TimeoutException):
            raise FetchFailed(TOO_SLOW) from None
        except (httpx2.ConnectError, OSError):
            raise FetchFailed("the server cannot be reached") from None
        except (httpx2.HTTPError, httpx2.StreamError, ValueError):
            raise FetchFailed("the server did not answer with proper HTTP") from None

    async def _follow(self, url: httpx2.URL, method: str, headers: dict[str, str], body: bytes, limit: int) -> Reply:
        for _ in range(MAX_HOPS + 1):
            request = self._client.build_request(
                method, url, headers={**headers, "Accept-Encoding": "identity"}, content=body or None
            )
            try:
                response = await self._client.send(request, stream=True)
            except errors.UrlNotAllowed:
                if url.scheme != "http" or url.port is not None:
                    raise
                url = url.copy_with(scheme="https")
                continue
            try:
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    return await _read(response, limit)
            finally:
                await response.aclose()
            there = url.join(response.headers["location"])
            if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
                method, body = "GET", b""
            if (there.scheme, there.host, there.port) != (url.scheme, url.host, url.port):
                headers = {name: value for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS}
            url = there
        raise FetchFailed("the server redirects again and again")


async def _read(response: httpx2.Response, limit: int) -> Reply:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed("the server answered compressed, which was not asked for")
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return Reply(
        url=str(response.request.url),
        status=response.status_code,
        content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        charset=response.charset_encoding or "",
        data=b"".join(chunks)[:limit],
        complete=size <= limit,
    )
