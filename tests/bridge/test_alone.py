"""`asteros bridge`: in front of a server it has never seen, by reflection."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from bridge.probe import Server as Probe
from bridge.probe import pool
from grpc_reflection.v1alpha import reflection
from services.helpers import bearer, dialled, serving

from asteros.bridge.reflection import ReflectionError, discover
from asteros.cli import main

pytestmark = pytest.mark.anyio


async def test_discover_a_foreign_server(anyio_backend: str) -> None:
    server = Probe()
    names = ("probe.v1.Probe", "probe.v1.Special", reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server.grpc, pool=pool())
    await server.grpc.start()
    async with dialled(f"127.0.0.1:{server.port}") as channel:
        found = await discover(channel)
    await server.grpc.stop(None)
    assert [each.full_name for each in found] == ["probe.v1.Probe", "probe.v1.Special"]
    assert found[0].methods_by_name["Get"].input_type.file.pool is not pool()


async def test_no_reflection(anyio_backend: str) -> None:
    server = Probe()
    await server.grpc.start()
    async with dialled(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(ReflectionError, match="UNIMPLEMENTED"):
            await discover(channel)
    await server.grpc.stop(None)


async def test_command(tmp_path: Path, anyio_backend: str) -> None:
    """Routes, events with their ids and keys work as on the server itself; SIGTERM ends it."""
    async with serving(tmp_path, api_key="sesame", metadata=bearer("sesame")) as server:
        agent = await server.agent()
        command = [sys.executable, "-m", "asteros", "bridge", "--upstream", server.address, "--port", "0"]
        with subprocess.Popen([*command, "--api-key", "sesame"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            async with httpx2.AsyncClient(base_url=await _announced(process), timeout=20) as http:
                assert (await http.get("/health")).json()["status"] == "healthy"
                assert (await http.get("/api/agents")).status_code == 401
                key = {"authorization": "Bearer sesame"}
                ran = await http.post(f"/api/agents/{agent}/run", json={"message": "hi"}, headers=key)
                assert ran.json()["text"] == "hi"
                url = f"/api/agents/{agent}/events/stream?position=START_POSITION_EARLIEST"
                async with http.stream("GET", url, headers={**key, "accept": "text/event-stream"}) as events:
                    lines = []
                    async for line in events.aiter_lines():
                        lines.append(line)
                        if line == "event: progress.complete":
                            process.terminate()  # the last id is told when the bridge goes
                    assert lines[-4:-1] == [lines[-4], "event: goaway", lines[-2]]
                    cursor = json.loads(lines[-2].removeprefix("data: "))["cursor"]
                    assert lines[-4] == f"id: {cursor}"
            assert process.wait(20) == 0


async def _announced(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    return line.split()[-1]


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bridge", "--upstream", "127.0.0.1:1", "--port", "0"]) == 78
    assert "127.0.0.1:1: UNAVAILABLE" in capsys.readouterr().err
