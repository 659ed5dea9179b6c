"""The TypeScript client as a page has it: Connect over fetch, on the HTTP port."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from clients.conformance.languages import CLIENTS, Language, built
from clients.conformance.test_story import KEY, LIMIT
from robustness.harness import ServerProcess

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1000)]  # with a first build
TOLD = """\
Hello, 世界
progress.text_done streamed
progress.complete completed end_turn
progress.text_done sent
error NOT_FOUND AGENT_NOT_FOUND agent_id=nobody
cancelled
progress.complete interrupted interrupted
DeadlineExceeded
"""


async def test_a_page_talks_to_the_http_port(tmp_path: Path, anyio_backend: str) -> None:
    typescript = built(Language("typescript"))
    program = typescript.folder / "build/programs/conformance/browser.js"
    async with (
        asyncio.timeout(LIMIT),
        ServerProcess(tmp_path, arguments=("--api-key", KEY, "--http-port", "0")),
    ):
        port = json.loads((tmp_path / "ready.json").read_text(encoding="utf-8"))["http_port"]
        page = await asyncio.create_subprocess_exec(
            "node", str(program), f"http://127.0.0.1:{port}",
            env={"ASTER_API_KEY": KEY, "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            told, failed = await page.communicate()
        finally:
            if page.returncode is None:
                page.kill()
                await page.wait()
    assert told.decode() == TOLD, failed.decode()


def test_the_page_needs_nothing_of_node() -> None:
    """What a page loads, followed from its entry, imports no module of Node.js."""
    source = CLIENTS / "typescript/src"
    ahead, seen = ["browser.ts"], set()
    while ahead:
        name = ahead.pop()
        seen.add(name)
        text = (source / name).read_text(encoding="utf-8")
        assert "connect-node" not in text, name
        assert "process.env" not in text, name
        found = {line.split('"')[-2] for line in text.splitlines() if ' from "./' in line}
        ahead += [path.removeprefix("./").removesuffix(".js") + ".ts" for path in found if "gen/" not in path]
        ahead = [path for path in ahead if path not in seen]
    assert "subscription.ts" in seen
