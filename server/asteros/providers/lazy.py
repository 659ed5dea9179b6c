"""A provider whose SDK is imported by its first call, in a thread: both take about a second."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from asteros.providers import failures
from asteros.providers.base import ModelChunk, ModelRequest, Provider


class LazyProvider:
    """Stands for a provider that is made when it is first needed.

    ``missing_key`` names the environment variable to set when the provider needs a
    key and none is known: every stream then raises ``ProviderAuth``."""

    def __init__(self, name: str, make: Callable[[], Provider], *, missing_key: str = "") -> None:
        self.name = name
        self.streams = 0  # open ones
        self._make = make
        self._missing_key = missing_key
        self._making = asyncio.Lock()
        self._provider: Provider | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """See ``Provider.stream``."""
        if self._missing_key:
            raise failures.no_key(self.name, self._missing_key)
        self.streams += 1
        try:
            provider = await self._get()
            async with aclosing(provider.stream(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self.streams -= 1

    async def aclose(self) -> None:
        """Frees the connections; a later stream opens new ones."""
        provider, self._provider = self._provider, None
        if provider is not None:
            await provider.aclose()

    async def _get(self) -> Provider:
        async with self._making:
            if self._provider is None:
                self._provider = await asyncio.to_thread(self._make)
            return self._provider
