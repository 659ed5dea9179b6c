"""The documented frames from another language: Node's own WebSocket, no library."""

import shutil
import subprocess
from pathlib import Path

import anyio.to_thread
import pytest
from bridge.studio_sockets import fronted
from services.programs import deltas, view

pytestmark = pytest.mark.anyio
PROGRAM = """
const socket = new WebSocket(process.argv[1]);
const say = (frame) => socket.send(JSON.stringify(frame));
socket.onopen = () => {
  say({type: "register", agent: {id: "node-1", name: "Writing Agent", status: "ready"}});
  say({type: "event", agent_id: "node-1",
       event: {channel: "progress", event_type: "text_chunk", delta: "Hello, "}});
  say({type: "ping"});
};
socket.onmessage = (message) => {
  console.log(message.data);
  if (message.data === '{"type":"pong"}') socket.close(1000);
};
socket.onclose = (end) => process.exit(end.code === 1000 ? 0 : 1);
"""


def _flags() -> list[str] | None:
    """What makes Node have a WebSocket: nothing since 22, an option from 20.10."""
    node = shutil.which("node")
    if node is None:
        return None
    for flags in ([], ["--experimental-websocket"]):
        probe = [node, *flags, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return [node, *flags]
    return None


async def test_a_program_in_another_language(tmp_path: Path) -> None:
    node = _flags()
    if node is None:
        pytest.skip("no node with a WebSocket")
    async with fronted(tmp_path) as front:
        command = [*node, "-e", PROGRAM, front.url]
        done = await anyio.to_thread.run_sync(
            lambda: subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            '{"type":"connected","payload":{"message":"Connected to Aster Studio Remote Agent Service"}}',
            '{"type":"registered","payload":{"agent_id":"node-1","message":"Agent registered successfully"}}',
            '{"type":"pong"}',
        ]
        assert (await view(front.server, "node-1")).display_name == "Writing Agent"
        await front.server.seen("node-1", "progress.text_chunk")
        assert await deltas(front.server, "node-1") == ["Hello, "]
