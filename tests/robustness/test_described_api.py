"""Requests made from /openapi.json, right and wrong, against a server: no 5xx, and nothing that the
document does not say. First with any ids, then with those of things that are there."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from services.helpers import Server, serving

from asteros.services import credentials

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
SECONDS = int(float(os.environ.get("FUZZ_SECONDS") or 600))
EXAMPLES = 20  # of each operation
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1200)]

# Rules between fields, and tokens only we can make, are not in a schema: what keeps to the schema
# can be refused all the same, with 400. And what is not built yet is 501.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 429, 501]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]
"""
# Would take away what the other requests of the second run are about.
_ENDING = frozenset(("DeleteAgent", "CloseAgent", "EvictAgent"))


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(credentials, "BAD_TRIES", 1 << 30)  # one check sends nothing but wrong keys
    async with serving(tmp_path, http_port=0, api_key="secret", metadata=(("authorization", "secret"),)) as running:
        yield running


def operations(*, ending: bool) -> list[str]:
    """Operations to leave out: streams, which are tested elsewhere, and perhaps those that end things."""
    document = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text(encoding="utf-8"))
    return [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if "text/event-stream" in operation["responses"]["200"]["content"]
        or (ending and operation["operationId"].split("_")[1] in _ENDING)
    ]


async def examine(server: Server, folder: Path, config: str, excluded: Sequence[str], *arguments: str) -> str:
    """What the examiner says when it has nothing to complain of."""
    (folder / "examiner.toml").write_text(config)
    program = Path(sys.executable).with_name("schemathesis")
    url = f"http://127.0.0.1:{server.house.http_port}/openapi.json"
    command = [
        str(program), "--config-file", str(folder / "examiner.toml"), "run", url, "--checks", "all", "--no-color",
        "--header", "Authorization: Bearer secret", "--seed", str(SEED), "--warnings", "off",
        "--suppress-health-check", "all",
        *(part for name in excluded for part in ("--exclude-operation-id", name)), *arguments,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"SEED={SEED}\n{said[-12000:]}"
    return said


@pytest.mark.long
async def test_described_api(server: Server, tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    streams = operations(ending=False)
    assert "EventService_Subscribe" in streams
    await examine(server, tmp_path, CONFIG, streams, "--max-examples", str(EXAMPLES))
    known = CONFIG + f'\n[parameters]\n"path.agent_id" = "{await server.agent("echo", "known")}"\n'
    await examine(server, tmp_path, known, operations(ending=True), "--max-examples", str(EXAMPLES))


@pytest.mark.fuzz
async def test_fuzz_described_api(server: Server, tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    await examine(server, tmp_path, CONFIG, operations(ending=False), "--phases", "fuzzing", "--max-time", str(SECONDS))
