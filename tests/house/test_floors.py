"""Imports in the house go down only; a driver has one file that may import it.

The plan of rooms and floors is kept here, and with the standard library alone: the
sources are parsed, never imported, so that a broken module cannot hide its imports.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "asteros"
CLIENT = ROOT / "clients" / "python" / "aster"

# From the roof down. A room may import rooms of lower floors; rooms of one floor
# do not know each other, except on the ground.
FLOORS: list[set[str]] = [
    {"__init__", "__main__", "cli"},
    {"front"},
    {"app"},
    {"faces"},
    {"config"},
    {"services", "bridge"},
    {"stars", "workflows"},
    {"cosmos", "insight"},
    {"runtime"},
    {"middleware"},
    {"tools"},
    {"events", "providers", "sandbox", "bus"},
    {"stores"},
    {"errors", "ids", "clock", "failpoints"},
]
LEVEL = {room: len(FLOORS) - i for i, floor in enumerate(FLOORS) for room in floor}
GROUND = 1

# The roof is one room in three files: `python -m asteros`, the command, the front door.
ROOF = FLOORS[0]

# The bridge is given a channel and descriptors. It must stay able to run alone, in
# front of a server it has never seen.
ALONE = "bridge"

# The contract is below everything. The rest of `aster` (the client) is a guest:
# only the rooms that start the Studio exporter or speak to a running server.
CLIENT_GUESTS = {"app", "cli"}

# driver -> the file that may import it; one for each room where two rooms use it
DRIVERS: dict[str, str | tuple[str, ...]] = {
    "aiosqlite": "stores/sqlite.py",
    "asyncpg": "stores/postgres.py",
    "nats": "bus/nats.py",
    "anthropic": "providers/anthropic.py",
    "openai": "providers/openai.py",
    "httpx2": ("providers/transport.py", "sandbox/http.py"),
    "mcp": "tools/mcp.py",
    "re2": "tools/globs.py",
    "bs4": "tools/pages.py",
    "markdownify": "tools/pages.py",
    "a2a": "bridge/a2a.py",
    "ag_ui": "bridge/agui.py",
    "connectrpc": "bridge/connect.py",
    "cel_expr_python": "workflows/cel.py",
    "cronsim": "workflows/schedules.py",
}


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, also those inside
    functions and TYPE_CHECKING. ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def complaints(tree: Path) -> list[str]:
    """What is wrong with the imports below ``tree``, the folder of the package ``asteros``."""
    wrong: list[str] = []
    for path in sorted(tree.rglob("*.py")):
        place = path.relative_to(tree)
        room = place.parts[0].removesuffix(".py")
        if room not in LEVEL:
            wrong.append(f"{place}: the room {room!r} has no floor; give it one in FLOORS")
            continue
        package = ".".join(("asteros", *place.parts[:-1]))
        for line, name in imports(path, package):
            fault = _fault(room, name) or _driver_fault(place, name)
            if fault:
                wrong.append(f"{place}:{line}: {fault}")
    return wrong


def _fault(room: str, name: str) -> str:
    parts = name.split(".")
    if parts[0] == "aster":
        if room == ALONE:
            return f"{name}: the bridge gets descriptors, it knows no contract"
        if parts[1:2] != ["v1"] and room not in CLIENT_GUESTS:
            return f"{name}: the server uses aster.v1, not the client"
        return ""
    if parts[0] != "asteros" or parts == ["asteros", "__version__"]:
        return ""
    target = parts[1] if len(parts) > 1 else "__init__"
    if target not in LEVEL:
        # `from asteros import AsterOS`: a name behind the front door.
        target = "__init__"
    if target == room or {target, room} <= ROOF:
        return ""
    if room == ALONE:
        return f"{name}: the bridge imports no other room"
    if LEVEL[target] > LEVEL[room]:
        return f"{name}: up, from {room} to {target}"
    if LEVEL[target] == LEVEL[room] and LEVEL[room] != GROUND:
        return f"{name}: {room} and {target} are neighbours and do not know each other"
    return ""


def _driver_fault(place: Path, name: str) -> str:
    driver = name.split(".")[0]
    home = DRIVERS.get(driver, place.as_posix())
    homes = (home,) if isinstance(home, str) else home
    return "" if place.as_posix() in homes else f"{driver} may be imported by {' and '.join(homes)} alone"


def client_complaints(tree: Path) -> list[str]:
    """The client stands without the server, and its drivers are not the server's."""
    return [
        f"{path.relative_to(tree)}:{line}: {name}: the client knows no server"
        for path in sorted(tree.rglob("*.py"))
        for line, name in imports(path, ".".join(("aster", *path.relative_to(tree).parts[:-1])))
        if name.split(".")[0] == "asteros"
    ]


def test_server() -> None:
    assert complaints(SERVER) == []


def test_client() -> None:
    assert client_complaints(CLIENT) == []


def _plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("place", "source", "fault"),
    [
        ("errors.py", "from asteros import stores", "up, from errors to stores"),
        ("stores/base.py", "import asteros.events.log", "up, from stores to events"),
        ("stores/base.py", "from ..events import log", "up, from stores to events"),
        ("stores/base.py", "def f():\n    from asteros.runtime.turn import Turn", "up, from stores to runtime"),
        ("runtime/turn.py", "from asteros import AsterOS", "up, from runtime to __init__"),
        ("services/agents.py", "import asteros", "up, from services to __init__"),
        ("events/log.py", "from asteros.bus.base import Bus", "are neighbours"),
        ("services/server.py", "from asteros.bridge.app import Bridge", "are neighbours"),
        ("bridge/app.py", "from asteros.errors import AsterError", "imports no other room"),
        ("bridge/app.py", "from aster.v1 import agent_pb2", "it knows no contract"),
        ("runtime/turn.py", "from aster import Client", "aster.v1, not the client"),
        ("providers/router.py", "import anthropic", "anthropic may be imported by providers/anthropic.py alone"),
        ("stores/base.py", "from aiosqlite import Error", "aiosqlite may be imported by"),
        ("attic/boxes.py", "", "has no floor"),
    ],
)
def test_planted_fault_is_found(tmp_path: Path, place: str, source: str, fault: str) -> None:
    found = complaints(_plant(tmp_path, {place: source}))
    assert len(found) == 1
    assert fault in found[0]


def test_a_sound_house_is_quiet(tmp_path: Path) -> None:
    house = {
        "__main__.py": "from asteros.cli import main",
        "__init__.py": "from asteros.app import AsterOS",
        "cli.py": "import asteros\nfrom asteros.app import AsterOS\nfrom aster import Client",
        "app.py": "from asteros.bridge.app import Bridge\nfrom asteros.services.server import Server",
        "services/server.py": "from asteros.cosmos.registry import Registry\nfrom . import agents",
        "cosmos/registry.py": "from asteros import __version__\nfrom asteros.runtime.agent import Agent",
        "bridge/app.py": "from .transcode import Transcoder\nimport asteros.bridge.sse",
        "stores/sqlite.py": "import aiosqlite\nfrom aster.v1 import event_pb2\nfrom asteros import clock, errors",
        "ids.py": "from asteros import clock",
    }
    assert complaints(_plant(tmp_path, house)) == []


def test_planted_server_in_the_client_is_found(tmp_path: Path) -> None:
    assert client_complaints(_plant(tmp_path, {"client.py": "from asteros.ids import new"}))
