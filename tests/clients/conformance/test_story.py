"""The same story by every client: the transcript is the one that the scenario tells."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from clients.conformance.languages import CLIENTS, LANGUAGES, Language, built, start
from clients.conformance.proxy import Proxy
from robustness.harness import ServerProcess

from aster import AsterClient
from clients.conformance import certificate

SCENARIO = CLIENTS / "conformance" / "scenario.json"
KEY = "story-0123456789-0123456789-0123456789"
LIMIT = 60.0  # seconds of one story; it takes about five
pytestmark = pytest.mark.timeout(1000)  # with a first build

transports = pytest.mark.parametrize("transport", ["plain", pytest.param("tls", marks=pytest.mark.long)])


# The others compile what they stand on when they are first built, for minutes: `make clients` runs them.
languages = pytest.mark.parametrize(
    "language",
    [
        pytest.param(language, id=language.name, marks=[] if language.name == "python" else [pytest.mark.clients])
        for language in LANGUAGES
    ],
)


@transports
@languages
async def test_story(language: Language, transport: str, tmp_path: Path, anyio_backend: str) -> None:
    built(language)
    arguments: Sequence[str] = ("--api-key", KEY)
    authority = ""
    if transport == "tls":
        chain, key, ca = certificate.make(tmp_path)
        arguments = (*arguments, "--tls-cert", str(chain), "--tls-key", str(key))
        authority = str(ca)
    async with (
        asyncio.timeout(LIMIT),
        ServerProcess(tmp_path, arguments=arguments) as server,
        Proxy(lambda: server.port) as proxy,
    ):
        without = await missing(server, authority)
        transcript = await play(language, server, proxy, authority, without)
    assert transcript == told(without)


async def missing(server: ServerProcess, authority: str) -> list[str]:
    """Features that this server does not have, as it says itself."""
    async with AsterClient(server.address, KEY, ca=authority or None) as client:
        return list((await client.server_info()).unavailable_features)


def test_every_client_has_its_tasks() -> None:
    assert {"go", "java", "python", "rust", "typescript"} <= {language.name for language in LANGUAGES}


def told(without: Sequence[str]) -> list[str]:
    """The transcript as the scenario has it."""
    steps = json.loads(SCENARIO.read_text(encoding="utf-8"))["steps"]
    return [
        line for step in steps if step.get("needs") not in without for line in (f"# {step['name']}", *step["expect"])
    ]


async def play(
    language: Language, server: ServerProcess, proxy: Proxy, authority: str, without: Sequence[str]
) -> list[str]:
    """What the runner prints, its wishes granted."""
    environment = {
        "ASTER_ADDRESS": f"127.0.0.1:{proxy.port}", "ASTER_API_KEY": KEY, "ASTER_CA": authority,
        "ASTER_WITHOUT": ",".join(without),
    }  # fmt: skip
    runner = await start(language, "conformance", str(SCENARIO), **environment)
    try:
        transcript = await follow(runner, server, proxy)
        assert await runner.wait() == 0, await complaint(runner, transcript)
    finally:
        if runner.returncode is None:
            runner.kill()
            await runner.wait()
    return transcript


async def follow(runner: asyncio.subprocess.Process, server: ServerProcess, proxy: Proxy) -> list[str]:
    assert runner.stdout is not None
    assert runner.stdin is not None
    transcript = []
    async for raw in runner.stdout:
        line = raw.decode().removesuffix("\n")
        if not line.startswith("! "):
            transcript.append(line)
            continue
        if line == "! cut":
            await proxy.cut()
        elif line == "! kill":
            await server.kill()
            await server.start()
        else:
            raise AssertionError(f"no such wish: {line}")
        runner.stdin.write(b"done\n")
        await runner.stdin.drain()
    return transcript


async def complaint(runner: asyncio.subprocess.Process, transcript: list[str]) -> str:
    assert runner.stderr is not None
    return "\n".join([*transcript[-10:], (await runner.stderr.read()).decode()[-4000:]])
