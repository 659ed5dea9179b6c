"""HTTP to servers that a model or an operator names, behind the guard against SSRF.

What fetches is ``sandbox/http.py``, which is imported by the first fetch: its library
takes a tenth of a second."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asteros.sandbox import netguard
from asteros.sandbox.netguard import Address, Network

if TYPE_CHECKING:
    from asteros.sandbox.http import Pages

MAX_HOPS = 5  # redirects
CONNECT_SECONDS = 10.0
# For what an operator wrote into a file: every address but those that nothing opens.
ANYWHERE = netguard.networks(("0.0.0.0/0", "::/0"))
TOO_SLOW = "the server did not answer in time"
Resolve = Callable[[str, int, Sequence[Network]], Awaitable[Sequence[Address]]]


class FetchFailed(Exception):
    """Nothing came back; the text is one sentence, without the address."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    url: str  # of the last hop
    status: int
    content_type: str  # lower case, without parameters
    charset: str  # as declared; "": not
    data: bytes
    complete: bool  # False: the rest was not read


class Outbound:
    """Fetches single pages. One for all agents; several fetches at once are fine."""

    def __init__(self, networks: Sequence[Network] = (), *, resolve: Resolve = netguard.resolve) -> None:
        """``networks``: private addresses, and http and other ports than 443, are open there alone."""
        self._networks = networks
        self._resolve = resolve
        self._pages: Pages | None = None

    async def aclose(self) -> None:
        if self._pages is not None:
            await self._pages.aclose()

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str = "",
        timeout: float = 30.0,
        limit: int,
    ) -> Reply:
        """The answer after at most MAX_HOPS redirects, its body up to ``limit`` bytes.

        ``timeout``: seconds for all of it. http becomes https where only that is open.
        Raises FetchFailed. Cancelled: closes the connection."""
        pages = await self._ready()
        try:
            async with asyncio.timeout(timeout):
                return await pages.fetch(url, method, headers or {}, body.encode(), limit)
        except TimeoutError:
            raise FetchFailed(TOO_SLOW) from None

    async def _ready(self) -> "Pages":
        if self._pages is None:
            made = await asyncio.to_thread(_pages, self._networks, self._resolve)
            self._pages = self._pages or made
        return self._pages


def _pages(networks: Sequence[Network], resolve: Resolve) -> "Pages":
    from asteros.sandbox.http import Pages

    return Pages(networks, resolve)
