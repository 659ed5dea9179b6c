"""Clients that others generate, against a running server: TypeScript stubs over every transport of
Connect, and types made from /openapi.json. Stubs and types are made anew each time; only the
packages stay between runs."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from robustness.harness import ServerProcess, Stubs

from aster.v1 import agent_pb2, agent_service_pb2

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests/clients/node"
BUILD = PROJECT / "build"
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.long,
    pytest.mark.anyio,
    pytest.mark.timeout(400),
    pytest.mark.skipif(NODE is None, reason="node is not installed: TypeScript clients are not tested"),
]
SCRIPTS = {
    "quick": "- - text: one\n  - text: ' two'\n  - text: ' three'\n",
    "stuck": "- - text: begun\n  - pause: 50\n",
}


def run(*command: str, **environment: str) -> str:
    """Output of a program that must succeed."""
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-20000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def program(name: str) -> str:
    return str(PROJECT / "node_modules/.bin" / name)


@pytest.fixture(scope="module")
def packages() -> None:
    """What the lock names, fetched only when it is not there."""
    there, lock = PROJECT / "node_modules/.package-lock.json", PROJECT / "package-lock.json"
    if not there.exists() or there.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


@pytest.fixture(scope="module")
def stubs(packages: None) -> None:
    """TypeScript of the whole contract, and of the google protos it names."""
    shutil.rmtree(BUILD, ignore_errors=True)
    (BUILD / "gen").mkdir(parents=True)
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    google = sorted(
        str(path.relative_to(ROOT / "third_party/googleapis"))
        for path in (ROOT / "third_party/googleapis").rglob("*.proto")
    )
    run(
        str(ROOT / ".venv-proto/bin/python"), "-m", "grpc_tools.protoc",
        f"-I{ROOT}/proto", f"-I{ROOT}/third_party/googleapis",
        f"--plugin=protoc-gen-es={program('protoc-gen-es')}", f"--es_out={BUILD}/gen",
        "--es_opt=target=ts,import_extension=js", *protos, *google,
    )  # fmt: skip


async def prepared(server: ServerProcess) -> dict[str, str]:
    """Agents, and what the programs must know of the server."""
    for name, script in SCRIPTS.items():
        (server.scripts_dir / f"{name}.yaml").write_text(script)
    async with Stubs(server.address) as stubs:
        for name in SCRIPTS:
            config = agent_pb2.AgentConfig(template_id="chat", model_config={"model": f"script:{name}"})
            await stubs.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent_id=name, config=config))
    return {
        "ASTER_HTTP": f"http://127.0.0.1:{server.http_port}",
        "ASTER_GRPC": f"http://{server.address}",
        "ASTER_PID": str(server.pid),
    }


def compiled(http: str) -> None:
    """Everything, checked by tsc --strict; the types of the document among it."""
    with urllib.request.urlopen(f"{http}/openapi.json") as answer:
        document: Any = json.load(answer)
    (BUILD / "openapi.json").write_text(json.dumps(document))
    run(program("openapi-typescript"), "build/openapi.json", "--output", "build/api.ts")
    run(program("tsc"), "--project", "tsconfig.json")


async def test_generated_clients(stubs: None, tmp_path: Path) -> None:
    """The last program ends the server."""
    async with ServerProcess(tmp_path, arguments=("--http-port", "0", "--connect", "on")) as server:
        known = await prepared(server)
        compiled(known["ASTER_HTTP"])
        for name in ("openapi", "connect", "drain"):
            said = run("node", "--test", "--test-reporter=tap", f"build/out/{name}.test.js", **known)
            assert "# fail 0" in said
            assert "# pass 0" not in said
        assert await server.wait(30) == 0
        assert "Traceback" not in server.log
