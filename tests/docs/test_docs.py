"""Every command and program in README and docs/ runs, in order, against a real server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "server/README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench/README.md"]
BIN = Path(sys.executable).parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands that are what runs this very test, or too long for it; each is run elsewhere.
ELSEWHERE = {
    "git clone https://github.com/asteros/aster-grpc && cd aster-grpc": "the checkout this test runs in",
    "make run": "starts the server of this test, see the fixture",
    "make check": "runs beside the tests in .ci/run",
    "make test": "is running this test",
    "make bench": "minutes; its parts are tested in tests/bench",
    "make bench-quick": "a minute; its parts are tested in tests/bench",
}
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server on free ports, and a shell that finds it."""
    folder = tmp_path_factory.mktemp("docs")
    ready = folder / "ready.json"
    command = [
        str(BIN / "asteros"), "serve", "--data-dir", str(folder / "data"), "--grpc-port", "0",
        "--http-port", "0", "--studio-port", "-1", "--metrics-port", "-1",
        "--ready-file", str(ready),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "is running" in line:
                break
        ports = json.loads(ready.read_text())
        port = ports["grpc_port"]
        addresses = {"ASTER_ADDRESS": f"127.0.0.1:{port}", "ASTER_HTTP": f"http://127.0.0.1:{ports['http_port']}"}
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        yield {**os.environ, **addresses, "PATH": path, "NO_COLOR": "1", "PORT": str(port)}
        server.terminate()
        server.stderr.read()


def blocks() -> list[tuple[Path, str, str]]:
    return [
        (page, language, text)
        for page in PAGES
        if page.exists()
        for language, text in _BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def pending_id(environment: dict[str, str]) -> str:
    """What a reader copies from `aster approvals list`; waits until there is one."""
    watch = ["aster", "events", "tail", "--channel", "control", "--from", "earliest", "--json"]
    with subprocess.Popen(watch, env=environment, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        for line in tail.stdout:
            event = json.loads(line).get("event", {})
            if event.get("eventType") == "control.tool_approval_request":
                tail.terminate()
                return str(event["id"])
    raise AssertionError("no approval was asked for")


def run_shell(text: str, environment: dict[str, str]) -> None:
    """Runs the lines of a block; one that ends in & goes on beside the others."""
    beside: list[subprocess.Popen[bytes]] = []
    for line in text.splitlines():
        line = line.partition("  #")[0].strip()
        if not line or line in ELSEWHERE or line.startswith("export "):
            continue
        if "PENDING_ID" in line:
            line = line.replace("PENDING_ID", pending_id(environment))
        line = line.replace("127.0.0.1:50051", environment["ASTER_ADDRESS"])
        if line.endswith("&"):
            beside.append(
                subprocess.Popen(["bash", "-c", line.rstrip("& ")], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
            )
            continue
        done = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for process in beside:
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.exists()], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_page(page: Path, environment: dict[str, str]) -> None:
    for _, language, text in (block for block in blocks() if block[0] == page):
        if language == "sh":
            run_shell(text, environment)
        elif language == "python":
            done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_every_block_says_what_it_is() -> None:
    """A block in a language nobody runs would be a claim nobody checks."""
    for page in PAGES:
        for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if page.exists() else ():
            assert language in ("sh", "python", "toml", "yaml", "json", "proto"), f"{page}: {language}: {text[:60]}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")) if page.exists() else ():
            assert (page.parent / target).exists(), f"{page.name}: {target}"
