"""Every example of docs/tools.md runs, in its order, and answers what is written there."""

import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext
from tools.test_contracts import NAMES
from tools.test_mcp import LIMIT, PROGRAM
from tools.web_server import Site, site

from asteros.sandbox import netguard
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.commands import AgentCommands, Launcher, Limits
from asteros.sandbox.files import Workspace
from asteros.sandbox.landlock import Unboxed
from asteros.sandbox.shells import Shells
from asteros.sandbox.workspaces import Workspaces
from asteros.tools import mcp_config
from asteros.tools.base import Answer
from asteros.tools.installed import Installed
from asteros.tools.mcp_config import McpServer

pytestmark = pytest.mark.anyio
PAGE = (Path(__file__).parents[2] / "docs/tools.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
EXAMPLES = [block for block in BLOCKS if "tool" in block]
VARIES = ("seconds", "sandbox")  # how long it took, and which box it was
ADDRESS = "https://docs.example"  # stands for the server of this test


async def unboxed() -> Launcher:
    return Launcher(Unboxed(), Limits(), Cgroups())


@pytest.fixture
async def web() -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/page"] = ("200 OK", {"Content-Type": "text/html"}, b"<h1>Title</h1><p>Some <b>text</b>.</p>")
        hit = {"title": "Aster", "url": "https://aster.example/", "content": "A control plane."}
        made.pages["/search"] = ("200 OK", {}, json.dumps({"results": [hit]}).encode())
        yield made


@pytest.fixture
async def house(web: Site, tmp_path: Path) -> AsyncIterator[Installed]:
    skill = tmp_path / "skills" / "release"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\ndescription: Makes a release.\n---\nTag v{{version}}.\n")
    (skill / "checklist.md").write_text("")
    made = await Installed.of(
        networks=netguard.networks(["127.0.0.0/8"]),
        search=web.url().rstrip("/"),
        skills=Workspace.open(tmp_path / "skills"),
        servers=[McpServer("notes", command=sys.executable, args=(PROGRAM,))],
    )
    made.start()
    yield made
    await made.aclose()


@pytest.mark.timeout(LIMIT + 20)
async def test_examples(house: Installed, web: Site, tmp_path: Path) -> None:
    workspace = Workspaces(tmp_path / "work", quota=1 << 20).open(1, "")
    # What a box holds is tested in its own suite; what the tools answer is the same in all.
    commands = AgentCommands(unboxed, workspace, Shells(), limit=0)
    context = FakeContext(workspace, {0: Answer("Approve")}, commands)
    await house._servers.connections["notes"]._ready.wait()
    for example in EXAMPLES:
        here: dict[str, Any] = json.loads(json.dumps(example).replace(ADDRESS, web.url().rstrip("/")))
        tool = house.registry.get(here["tool"])
        assert tool is not None, example
        args = house.registry.parse_input(tool, json.dumps(here["input"]))
        answer = await tool.run(args, context)
        if "bash_id" in answer and answer["running"]:
            await commands.shells._shells[answer["bash_id"]].ended(LIMIT)
        assert {name: value for name, value in answer.items() if name not in VARIES} == here["answer"], example
    await commands.shells.aclose()


def test_every_tool_has_an_example() -> None:
    assert set(NAMES) <= {example["tool"] for example in EXAMPLES}


def test_the_configuration_that_is_shown_is_read() -> None:
    (shown,) = [block for block in BLOCKS if "mcpServers" in block]
    servers = mcp_config.parse(json.dumps(shown), {"NOTES_TOKEN": "n", "SEARCH_KEY": "k"})
    assert [server.name for server in servers] == ["notes", "search"]
