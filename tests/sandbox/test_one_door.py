"""Security rule 8.5: tools reach files through the workspace and in no other way."""

import ast
from pathlib import Path

import pytest

import asteros.tools

FOLDER = Path(asteros.tools.__path__[0])
DOORS = {"os", "pathlib", "shutil", "glob", "tempfile", "subprocess", "socket", "ctypes", "fileinput"}


def reached(source: str) -> set[str]:
    """Modules and functions by which the source could touch the file system."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"open"}
        elif isinstance(node, ast.Attribute) and node.attr in ("open", "FileIO", "open_code"):
            found.add("open")
    return found & (DOORS | {"open"})


@pytest.mark.parametrize("module", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_tools_touch_no_files(module: Path) -> None:
    assert reached(module.read_text()) == set()


# Where the server starts programs: boxes, the MCP servers that an operator has configured, and
# itself, to compute the expressions of workflows where they can take no memory from it.
STARTERS = {"sandbox/process.py", "tools/mcp.py", "workflows/expressions.py"}
STARTING = {"create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "posix_spawn", "Popen", "execve"}


def test_programs_are_started_in_few_places() -> None:
    """M27: hooks, configurations and virtual environments that a command plants are never run,
    because the server runs no git, npm, python or make in a workspace outside the box."""
    found = set()
    for module in FOLDER.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            imported = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if (isinstance(node, ast.Attribute) and node.attr in STARTING) or "subprocess" in imported:
                found.add(str(module.relative_to(FOLDER.parent)))
    # The shim is what process.py starts: it becomes the box.
    assert "sandbox/process.py" in found
    assert found - {"sandbox/shim.py"} <= STARTERS


@pytest.mark.parametrize("source", ["open('x')", "import os.path", "from pathlib import Path", "io.open('x')"])
def test_a_planted_way_around_is_found(source: str) -> None:
    assert reached(source)
