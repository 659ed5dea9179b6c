"""Tools that do one thing each, and count what they did."""

import asyncio
from typing import Any

from asteros.tools.base import RerunPolicy, ToolContext
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry


class Toolbox:
    """One set of tools; ``did`` lists what ran, with its argument."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.keys: list[str] = []  # idempotency keys of keyed calls
        self.hold = asyncio.Event()  # opens ``held`` and ``held_read``

    def registry(self) -> ToolRegistry:
        names = (
            "plain",
            "keyed",
            "look",
            "fails",
            "raises",
            "slow",
            "held",
            "held_read",
            "big",
            "times_out",
            "cancels",
        )
        return ToolRegistry.builtin().with_tools(*(getattr(self, f"_{name}")() for name in names))

    def _plain(self) -> Any:
        @tool(main_argument="text")
        async def plain(text: str = "") -> str:
            """Changes something; never to be run twice."""
            self.did.append(f"plain {text}")
            return f"did {text}"

        return plain

    def _keyed(self) -> Any:
        @tool(rerun=RerunPolicy.KEY)
        async def keyed(context: ToolContext, text: str = "") -> str:
            """Changes something, once per key."""
            self.did.append(f"keyed {text}")
            self.keys.append(context.idempotency_key)
            return f"did {text}"

        return keyed

    def _look(self) -> Any:
        @tool(read_only=True, rerun=RerunPolicy.SAFE)
        async def look(context: ToolContext, text: str = "") -> str:
            """Only looks."""
            self.did.append(f"look {text}")
            return f"saw {text}"

        return look

    def _fails(self) -> Any:
        @tool(read_only=True)
        async def fails() -> dict[str, Any]:
            """Answers that it could not."""
            return {"ok": False, "error": "no such city", "city": "Nowhere"}

        return fails

    def _raises(self) -> Any:
        @tool(read_only=True)
        async def raises() -> str:
            """Is broken."""
            raise RuntimeError("secret path /etc/shadow")

        return raises

    def _slow(self) -> Any:
        @tool(read_only=True, timeout=0.02)
        async def slow() -> str:
            """Takes too long."""
            try:
                await asyncio.Event().wait()
            finally:
                self.did.append("slow cleaned up")
            return ""

        return slow

    def _held(self) -> Any:
        @tool(timeout=None)
        async def held(context: ToolContext, text: str = "") -> str:
            """Waits until it is let go."""
            self.did.append(f"held {text}")
            context.progress("holding", 0.5)
            await self.hold.wait()
            return "let go"

        return held

    def _held_read(self) -> Any:
        @tool(read_only=True, timeout=None, rerun=RerunPolicy.SAFE)
        async def held_read(text: str = "") -> str:
            """Looks until it is let go."""
            self.did.append(f"held_read {text}")
            await self.hold.wait()
            return "let go"

        return held_read

    def _big(self) -> Any:
        @tool(read_only=True)
        async def big(size: int) -> str:
            """Says much."""
            return "é" * (size // 2)

        return big

    def _times_out(self) -> Any:
        @tool(read_only=True, timeout=None)
        async def times_out() -> str:
            """Fails with a timeout of its own."""
            raise TimeoutError

        return times_out

    def _cancels(self) -> Any:
        @tool(read_only=True)
        async def cancels() -> str:
            """Waits for something that was cancelled elsewhere."""
            task = asyncio.get_running_loop().create_future()
            task.cancel()
            await task
            return ""

        return cancels
