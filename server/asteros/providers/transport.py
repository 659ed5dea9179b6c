"""The HTTP client under both SDKs, and the only file that imports ``httpx2``.

Silence is measured here, in bytes and not in events: providers send pings and
comments through a long thought, and the SDKs swallow those."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2

from asteros import errors
from asteros.providers import failures
from asteros.providers.addresses import Addresses

# A longer line is no delta of any provider; buffering it would cost us the memory.
MAX_LINE_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
_TAIL_BYTES = 64

TransportFailure = httpx2.HTTPError
Client = httpx2.AsyncClient


class CappedStream(httpx2.AsyncByteStream):
    """A response body that refuses endless lines and remembers how it ended."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self.tail = b""  # the last bytes read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        open_line = 0
        async for chunk in self._inner:
            first = chunk.find(b"\n")
            if open_line + (len(chunk) if first < 0 else first) > MAX_LINE_BYTES:
                raise errors.ProviderTruncated("The model provider sent a line that is too long")
            open_line = open_line + len(chunk) if first < 0 else len(chunk) - 1 - chunk.rfind(b"\n")
            self.tail = (self.tail + chunk)[-_TAIL_BYTES:]
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _cap(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = CappedStream(response.stream)


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Connects to an address that was judged, under the name that was asked for."""

    def __init__(self, addresses: Addresses, limits: httpx2.Limits) -> None:
        self._addresses = addresses
        self._inner = httpx2.AsyncHTTPTransport(limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Like any transport's; UrlNotAllowed for an address that may not be reached.

        The Host header was made of the name, and so is the name that TLS checks."""
        name = request.url.host
        try:
            found = await self._addresses.check(str(request.url))
        except OSError as error:
            raise httpx2.ConnectError("the name cannot be resolved", request=request) from error
        request.extensions["sni_hostname"] = name
        request.url = request.url.copy_with(host=str(found[0]))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def new_client(addresses: Addresses | None = None) -> httpx2.AsyncClient:
    """A pool of connections. The SDK that is given it closes it.

    ``addresses`` judges every connection: for a server that a caller has named. Proxies
    of the environment are not used then, for they would do the connecting."""
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
    return httpx2.AsyncClient(
        transport=None if addresses is None else CheckedTransport(addresses, limits),
        trust_env=addresses is None,
        # A redirect would carry key and conversation to another host.
        follow_redirects=False,
        # Compressed, the cap on lines would count the wrong bytes.
        headers={"Accept-Encoding": "identity"},
        limits=limits,
        event_hooks={"response": [_cap]},
    )


def limits(idle: float) -> httpx2.Timeout:
    """Time limits of one call: ``idle`` seconds without a byte, less for the handshake."""
    return httpx2.Timeout(idle, connect=min(CONNECT_SECONDS, idle))


def ended_with(response: httpx2.Response, mark: bytes) -> bool:
    """Whether the last bytes of a body that was read hold the mark."""
    return isinstance(response.stream, CappedStream) and mark in response.stream.tail


def failure(provider: str, error: BaseException, *, streaming: bool) -> errors.AsterError:
    """The error for a broken connection; ``streaming``: the response had begun."""
    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__
    if isinstance(cause, errors.AsterError):  # our own word from inside the client
        return cause
    facts: dict[str, Any] = {"provider": provider, "cause": type(cause or error).__name__}
    if isinstance(cause, httpx2.TimeoutException) and not isinstance(cause, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return errors.ProviderStalled(**facts)
    # The peer closed in the middle of a body whose end it had promised to mark.
    if streaming and isinstance(cause, httpx2.RemoteProtocolError | httpx2.DecodingError):
        return failures.malformed(provider, "ended early")
    return errors.ProviderUnavailable("The model provider cannot be reached", **facts)
