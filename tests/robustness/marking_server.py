"""A program that serves as ``asteros serve`` does, with three tools, and as many functions for
workflows, that leave a line for each run.

The lines go to the file that ASTER_TEST_MARKS names: what a tool did outlives the
server that ran it. ``python marking_server.py`` takes the options of ``asteros serve``."""

import asyncio
import os
from pathlib import Path

from asteros import failpoints
from asteros.app import AsterOS
from asteros.config import parse
from asteros.tools.base import RerunPolicy, Tool, ToolContext
from asteros.tools.function import tool
from asteros.tools.registry import ToolRegistry
from asteros.workflows.actions import Function

KINDS = {"mark_never": RerunPolicy.NEVER, "mark_key": RerunPolicy.KEY, "mark_safe": RerunPolicy.SAFE}


def marking(name: str, rerun: RerunPolicy, path: Path) -> Tool:
    @tool(name=name, rerun=rerun, main_argument="text")
    async def mark(context: ToolContext, text: str) -> str:
        """Adds a line to the file."""
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{context.agent_id} {name} {text} {context.idempotency_key}\n")
        return "marked"

    return mark


def noting(name: str, rerun: RerunPolicy, path: Path) -> Function:
    def note(text: str, key: str) -> str:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"function {name} {text} {key}\n")
        return text

    return Function(note, rerun)


def main() -> None:
    failpoints.install(os.environ)
    path = Path(os.environ["ASTER_TEST_MARKS"])
    tools = ToolRegistry(marking(name, rerun, path) for name, rerun in KINDS.items())
    functions = {name: noting(name, rerun, path) for name, rerun in KINDS.items()}
    asyncio.run(AsterOS(parse(None), tools=tools, functions=functions).serve())


if __name__ == "__main__":
    main()
