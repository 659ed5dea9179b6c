"""The MCP client against a real server of the SDK, over both transports."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools import mcp
from asteros.tools.base import RerunPolicy, Tool
from asteros.tools.installed import Installed
from asteros.tools.mcp_config import McpServer
from asteros.tools.registry import ToolRegistry

pytestmark = pytest.mark.anyio
PROGRAM = str(Path(__file__).with_name("mcp_server.py"))
LIMIT = 20.0  # seconds that nothing here needs when it is right
TOOLS = {"add", "say_it", "fails", "picture", "variable", "dies", "waits"}


def stdio(**more: Any) -> McpServer:
    return McpServer(name="test", command=sys.executable, args=(PROGRAM,), **more)


@contextlib.asynccontextmanager
async def connected(*servers: McpServer) -> AsyncIterator[ToolRegistry]:
    """A registry that has the tools of the servers."""
    installed = await Installed.of(servers=servers)
    installed.start()
    try:
        async with asyncio.timeout(LIMIT):
            for server in servers:
                await installed._servers.connections[server.name]._ready.wait()
        yield installed.registry
    finally:
        await installed.aclose()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Of a module, so that all tests share one connection."""
    return "asyncio"


@pytest.fixture(scope="module")
async def registry(anyio_backend: str) -> AsyncIterator[ToolRegistry]:
    async with connected(stdio(env={"GIVEN": "yes"}, read_only=frozenset({"add"}))) as made:
        yield made


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(Workspace.open(tmp_path))


def tool(registry: ToolRegistry, name: str) -> Tool:
    found = registry.get(name)
    assert found is not None
    return found


async def call(registry: ToolRegistry, context: FakeContext, name: str, /, **args: Any) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT):
        return await tool(registry, f"mcp__test__{name}").run(args, context)


# -- what they are -------------------------------------------------------------------------


async def test_tools_as_ours(registry: ToolRegistry) -> None:
    names = {tool.info.name for tool in registry.select(["mcp__test"])}
    assert names == {f"mcp__test__{name}" for name in TOOLS}
    add = tool(registry, "mcp__test__add").info
    assert (add.description, add.origin, add.groups) == ("Adds two numbers.", "mcp:test", ("mcp", "mcp__test"))
    assert (add.read_only, add.rerun) == (True, RerunPolicy.SAFE)  # by the operator's word
    say = tool(registry, "mcp__test__say_it").info
    assert (say.read_only, say.rerun, say.timeout) == (False, RerunPolicy.NEVER, 60.0)
    assert registry.parse_input(tool(registry, "mcp__test__add"), '{"a": 1, "b": 2}') == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("add", {"a": 1, "b": 2}, {"ok": True, "text": "3", "structured": {"result": 3}}),
        ("say_it", {"text": "é", "times": 2}, {"ok": True, "text": "éé", "structured": {"result": "éé"}}),
        ("picture", {}, {"ok": True, "text": "", "content": [{"type": "image", "mime_type": "image/png", "bytes": 3}]}),
        ("variable", {"name": "GIVEN"}, {"ok": True, "text": "yes", "structured": {"result": "yes"}}),
    ],
)
async def test_calls(
    registry: ToolRegistry, context: FakeContext, name: str, args: dict[str, Any], answer: dict[str, Any]
) -> None:
    found = await call(registry, context, name, **args)
    if name == "picture":
        found.pop("structured", None)
    assert found == answer


async def test_a_tool_that_fails(registry: ToolRegistry, context: FakeContext) -> None:
    answer = await call(registry, context, "fails")
    assert answer["ok"] is False
    assert "fails" in answer["error"]
    wrong = await call(registry, context, "add", a="x")
    assert wrong["ok"] is False


async def test_the_servers_environment_stays_here(
    context: FakeContext, registry: ToolRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    async with connected(stdio()) as other:
        assert (await call(other, context, "variable", name="ANTHROPIC_API_KEY"))["text"] == "unset"


async def test_large_answers_are_cut(
    registry: ToolRegistry, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asteros.tools.mcp_answers.MAX_TEXT", 10)
    monkeypatch.setattr("asteros.tools.mcp_answers.MAX_STRUCTURED", 10)
    answer = await call(registry, context, "say_it", text="x", times=100)
    assert answer == {"ok": True, "text": "x" * 10, "truncated": True}


async def test_resources(registry: ToolRegistry, context: FakeContext) -> None:
    listed = await tool(registry, "ListMcpResources").run({}, context)
    assert [(each["server"], each["uri"]) for each in listed["resources"]] == [
        ("test", "notes://today"),
        ("test", "notes://blob"),
    ]
    assert listed["failed"] == []
    read = tool(registry, "ReadMcpResource")
    today = await read.run({"server": "test", "uri": "notes://today"}, context)
    assert (today["ok"], today["contents"][0]["text"]) == (True, "nothing")
    blob = await read.run({"server": "test", "uri": "notes://blob"}, context)
    assert blob["contents"][0]["bytes"] == 5
    assert not (await read.run({"server": "test", "uri": "notes://none"}, context))["ok"]
    unknown = {"ok": False, "error": "there is no such MCP server", "server": "x", "servers": ["test"]}
    assert await read.run({"server": "x", "uri": "u"}, context) == unknown
    assert await tool(registry, "ListMcpResources").run({"server": "x"}, context) == unknown


async def seen(path: Path) -> None:
    async with asyncio.timeout(LIMIT):
        while not path.exists():
            await asyncio.sleep(0.01)


async def test_progress_and_cancelling(registry: ToolRegistry, context: FakeContext, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    task = asyncio.create_task(call(registry, context, "waits", started=str(started), ended=str(ended)))
    await seen(started)
    assert not ended.exists()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen(ended)  # the server was told
    assert context.reports == ["a quarter"]
    assert (await call(registry, context, "add", a=1, b=1))["text"] == "2"


# -- when it breaks ------------------------------------------------------------------------


async def test_a_server_that_dies_is_started_again(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("asteros.clock.sleep", sleep)
    async with connected(stdio()) as registry:
        answer = await call(registry, context, "dies")
        assert answer["error"] == mcp.LOST.format("test")
        async with asyncio.timeout(LIMIT):
            while not (answer := await call(registry, context, "add", a=1, b=2))["ok"]:
                assert answer["error"] in (mcp.LOST.format("test"), "the MCP server test is not connected")
        assert answer["text"] == "3"
    assert pauses


async def test_a_server_that_cannot_be_started(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "WAIT_SECONDS", 0.01)
    installed = await Installed.of(servers=[McpServer(name="test", command="/does/not/exist")])
    assert installed.registry.select(["mcp__test__add", "mcp__test"]) == ()  # agents may name them already
    installed.start()
    found = await tool(installed.registry, "ListMcpResources").run({}, context)
    assert found == {"ok": True, "resources": [], "failed": ["test"]}
    alone = await tool(installed.registry, "ListMcpResources").run({"server": "test"}, context)
    assert alone["error"] == "the MCP server test is not connected"
    await installed.aclose()


async def test_a_call_that_takes_too_long(context: FakeContext, tmp_path: Path) -> None:
    async with connected(stdio(timeout=0.3)) as registry:
        answer = await call(registry, context, "waits", started=str(tmp_path / "s"), ended=str(tmp_path / "e"))
        assert answer["error"] == "the MCP server test did not answer in time"
        await seen(tmp_path / "e")


async def test_closing_ends_the_process() -> None:
    before = _children()
    async with connected(stdio()):
        assert _children() > before
    assert _children() == before


def _children() -> set[str]:
    """Processes of this one that run the test server."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                PROGRAM.encode() in (place / "cmdline").read_bytes()
                and b"--http" not in (place / "cmdline").read_bytes()
            ):
                found.add(place.name)
    return found


# -- over HTTP -------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def over_http(folder: Path) -> AsyncIterator[str]:
    place = folder / "port"
    process = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, "--http", str(place), "--token", "t0k")
    try:
        await seen(place)
        yield f"http://127.0.0.1:{place.read_text()}/mcp"
    finally:
        process.kill()
        await process.wait()


async def test_streamable_http(tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # names no proxy of ours
    async with over_http(tmp_path) as url:
        server = McpServer(name="test", url=url, headers={"X-Token": "t0k"})
        async with connected(server) as registry:
            assert {tool.info.name for tool in registry.select(["mcp__test"])} == {
                f"mcp__test__{name}" for name in TOOLS
            }
            assert (await call(registry, context, "add", a=20, b=22))["text"] == "42"
            assert not (await call(registry, context, "fails"))["ok"]
            read = tool(registry, "ReadMcpResource")
            today = await read.run({"server": "test", "uri": "notes://today"}, context)
            assert today["contents"][0]["text"] == "nothing"


async def test_http_without_its_token_or_to_the_metadata_service(
    tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "WAIT_SECONDS", 0.5)
    async with over_http(tmp_path) as url:
        wrong = McpServer(name="wrong", url=url)
        closed = McpServer(name="closed", url="http://169.254.169.254/mcp")
        installed = await Installed.of(servers=[wrong, closed])
        installed.start()
        for name in ("wrong", "closed"):
            found = await tool(installed.registry, "ListMcpResources").run({"server": name}, context)
            assert found["error"] == f"the MCP server {name} is not connected"
        await installed.aclose()
