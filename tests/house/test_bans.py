"""What no source of the house may contain, beyond what ruff can say.

A line that must break a rule says so at its end, with the reason:

    except asyncio.CancelledError:  # house: cancelled -- the turn was interrupted, which is a result

Each rule has planted faults below: a rule that finds nothing is no rule. Bare
``create_task`` is not here because ruff RUF006 finds it.
"""

import ast
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Finding = tuple[int, str]
WAIVER = re.compile(r"#\s*house: (?P<rule>[a-z-]+) -- \S.{9,}")
# One answer is enough where ruff asks the same question.
RUFF_SQL_WAIVER = re.compile(r"#\s*noqa: S608 - \S")


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute; a call or subscript below it becomes ``?``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module or ''}.{alias.name}") for alias in node.names)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def uses(tree: ast.AST, banned: set[str]) -> Iterator[Finding]:
    """Where one of these dotted names is imported or reached as an attribute."""
    for line, name in imported(tree):
        if name in banned:
            yield line, name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) in banned:
            yield node.lineno, dotted(node)


# -- the rules -------------------------------------------------------------


def wait_for(tree: ast.AST) -> Iterator[Finding]:
    """On 3.11 it swallows a cancellation that arrives as its future ends: asyncio.timeout."""
    return uses(tree, {"asyncio.wait_for"})


def wall_clock(tree: ast.AST) -> Iterator[Finding]:
    """Tests replace time and ids in one place: asteros.clock, asteros.ids."""
    banned = {"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "asyncio.sleep"}
    banned |= {f"{place}.{name}" for place in ("datetime", "datetime.datetime") for name in ("now", "utcnow", "today")}
    banned |= {f"uuid.uuid{n}" for n in (1, 3, 4, 5)}
    # A sleep of zero lets others run and has no length to replace.
    naps = {
        call.func.lineno
        for call in calls(tree)
        if dotted(call.func) == "asyncio.sleep" and [ast.unparse(a) for a in call.args] == ["0"]
    }
    return ((line, what) for line, what in uses(tree, banned) if line not in naps)


def shell(tree: ast.AST) -> Iterator[Finding]:
    """A string given to a shell is a hole; give the program a list."""
    yield from uses(tree, {"os.system", "os.popen", "asyncio.create_subprocess_shell"})
    for call in calls(tree):
        for keyword in call.keywords:
            named = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)  # our tool's own
            if keyword.arg == "shell" and not named and ast.unparse(keyword.value) != "False":
                yield call.lineno, "shell=True"


SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|WITH|COPY|TRUNCATE)\s", re.IGNORECASE)


def built_sql(tree: ast.AST) -> Iterator[Finding]:
    """SQL stands in files with parameters; text put together is how it gets injected.
    (PRAGMA takes no parameters and is left out.)"""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            head = node.values[0] if node.values else None
            text = head.value if isinstance(head, ast.Constant) and isinstance(head.value, str) else ""
            if SQL.match(text):
                yield node.lineno, "SQL in an f-string"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
            left = node.left
            if isinstance(left, ast.Constant) and isinstance(left.value, str) and SQL.match(left.value):
                yield node.lineno, "SQL put together with an operator"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            subject = node.func.value
            if node.func.attr == "format" and isinstance(subject, ast.Constant) and SQL.match(str(subject.value)):
                yield node.lineno, "SQL with format()"


PURE_PATHS = {"basename", "commonpath", "dirname", "isabs", "join", "normpath", "sep", "split", "splitext"}


def tool_files(tree: ast.AST) -> Iterator[Finding]:
    """A tool sees files only through ToolContext.files, which keeps it in its workspace."""
    # Of io only what opens files: io.StringIO is memory.
    doors = {"aiofiles", "glob", "io.FileIO", "io.open", "pathlib", "pathlib.Path", "shutil", "tempfile"}
    doors |= {"anyio.Path", "anyio.open_file"}
    for line, name in imported(tree):
        if name in doors or name.split(".")[0] in doors - {"pathlib"} or name.startswith("os."):
            yield line, f"import of {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "open()"
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            pure = name == "os.path" or (name.startswith("os.path.") and name.split(".")[2] in PURE_PATHS)
            if (name.startswith("os.") and not pure) or name in doors:
                yield node.lineno, name


def cancelled(tree: ast.AST) -> Iterator[Finding]:
    """A cancelled stream ends in three ways and only one is CancelledError: clean up in
    ``finally``. And who swallows it makes the task unstoppable."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(dotted(kind).endswith("CancelledError") for kind in kinds):
                yield node.lineno, "except CancelledError"


LOGGERS = {"log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
MESSAGES = {"config", "envelope", "event", "events", "frame", "frames", "reply", "req", "request", "resp", "response"}


def logged_message(tree: ast.AST) -> Iterator[Finding]:
    """Logs take named fields: debug_redact does not hide a field in str(message)."""
    for call in calls(tree):
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in LEVELS:
            continue
        if dotted(call.func.value).split(".")[-1] not in LOGGERS:
            continue
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
            for name in _whole(argument):
                yield call.lineno, f"{name} as a whole in a log call"


def _whole(node: ast.AST) -> Iterator[str]:
    """Names of messages that are used themselves and not for one of their fields."""
    if isinstance(node, ast.Attribute | ast.Subscript):
        return
    if isinstance(node, ast.Call) and dotted(node.func) in {"len", "type", "id", "bool"}:
        return
    if isinstance(node, ast.Name) and node.id in MESSAGES:
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _whole(child)


def exception_text(tree: ast.AST) -> Iterator[Finding]:
    """The text of an exception is for our log; a caller gets a reason and fixed words."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or not handler.name:
            continue
        for node in ast.walk(handler):
            inner: ast.AST | None = None
            if isinstance(node, ast.Call) and dotted(node.func) in {"str", "repr"} and node.args:
                inner = node.args[0]
            elif isinstance(node, ast.FormattedValue):
                inner = node.value
            if isinstance(inner, ast.Name) and inner.id == handler.name:
                yield inner.lineno, f"text of the exception {handler.name}"


@dataclass(frozen=True)
class Rule:
    """A search, where it applies, and where it does not."""

    find: Callable[[ast.AST], Iterator[Finding]]
    where: tuple[str, ...]  # folders
    but: tuple[str, ...] = ()  # files or folders inside them


OURS = ("server/asteros", "clients/python/aster")
RULES = {
    "wait-for": Rule(wait_for, (*OURS, "bench", "examples", "tests")),
    "clock": Rule(wall_clock, ("server/asteros",), ("server/asteros/clock.py", "server/asteros/ids.py")),
    "shell": Rule(shell, (*OURS, "bench", "examples", "tests")),
    "sql": Rule(built_sql, ("server/asteros",)),
    "tool-files": Rule(tool_files, ("server/asteros/tools",)),
    "cancelled": Rule(cancelled, ("server/asteros",)),
    "logged-message": Rule(logged_message, OURS),
    "exception-text": Rule(exception_text, ("server/asteros/services", "server/asteros/bridge")),
}


MADE = {"build", "node_modules", "target", ".venv"}  # folders of what was built or installed


def sources(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name and not MADE & set(path.relative_to(ROOT).parts):
                yield path


def broken(name: str, rule: Rule, source: str) -> list[Finding]:
    """Findings in one source, without those its lines answer for."""
    lines = source.splitlines()
    found = []
    for line, what in rule.find(ast.parse(source)):
        text = lines[line - 1]
        waiver = WAIVER.search(text)
        if not (waiver and waiver["rule"] == name) and not (name == "sql" and RUFF_SQL_WAIVER.search(text)):
            found.append((line, what))
    return found


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name: str) -> None:
    rule = RULES[name]
    wrong = []
    for path in sources(rule.where):
        place = path.relative_to(ROOT).as_posix()
        if not any(place == but or place.startswith(f"{but}/") for but in rule.but):
            wrong += [f"{place}:{line}: {what}" for line, what in broken(name, rule, path.read_text())]
    assert wrong == [], rule.find.__doc__


def test_waivers_name_a_rule() -> None:
    for path in sources(OURS):
        for waiver in re.finditer(r"# house: ([a-z-]*).*", path.read_text()):
            assert WAIVER.match(waiver[0]), f"{path.relative_to(ROOT)}: {waiver[0]}: needs ' -- ' and a reason"
            assert waiver[1] in RULES, f"{path.relative_to(ROOT)}: no such rule: {waiver[1]}"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("wait-for", "asyncio.wait_for(x, 1)"),
        ("wait-for", "from asyncio import wait_for"),
        ("clock", "t = time.time()"),
        ("clock", "from time import monotonic"),
        ("clock", "datetime.datetime.now(UTC)"),
        ("clock", "from uuid import uuid4"),
        ("clock", "await asyncio.sleep(0.1)"),
        ("shell", "subprocess.run(command, shell=True)"),
        ("shell", "subprocess.run(command, shell=flag)"),
        ("shell", "os.system(command)"),
        ("sql", 'db.execute(f"SELECT * FROM {table}")'),
        ("sql", 'db.execute("DELETE FROM agents WHERE id = %s" % id)'),
        ("sql", '"update agents set {}".format(column)'),
        ("sql", 'q = "SELECT 1 FROM " + table'),
        ("tool-files", 'open("x")'),
        ("tool-files", "from pathlib import Path"),
        ("tool-files", "import pathlib"),
        ("tool-files", "os.listdir(p)"),
        ("tool-files", "os.path.exists(p)"),
        ("tool-files", "from os import remove"),
        ("tool-files", "import shutil"),
        ("tool-files", "from io import FileIO"),
        ("tool-files", "io.open(p)"),
        ("cancelled", "try:\n    f()\nexcept (ValueError, asyncio.CancelledError):\n    pass"),
        ("cancelled", "try:\n    f()\nexcept CancelledError:  # house: clock -- a waiver of another rule\n    raise"),
        ("cancelled", "try:\n    f()\nexcept CancelledError:  # house: cancelled -- why\n    raise"),
        ("logged-message", 'log.info("got %s", request)'),
        ("logged-message", 'self._log.debug(f"got {event}")'),
        ("logged-message", 'logger.error("bad", extra={"config": MessageToDict(config)})'),
        ("exception-text", "try:\n    f()\nexcept E as error:\n    await context.abort(code, str(error))"),
        ("exception-text", 'try:\n    f()\nexcept E as error:\n    raise X(f"failed: {error}")'),
    ],
)
def test_planted_fault_is_found(name: str, fault: str) -> None:
    assert broken(name, RULES[name], fault)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("clock", "await asyncio.sleep(0)"),
        ("clock", "clock.monotonic()"),
        ("shell", "subprocess.run(command, shell=False)"),
        ("sql", 'db.execute(f"PRAGMA user_version = {version}")'),
        ("sql", 'log.info(f"selected {n}")'),
        ("sql", 'db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of our own constants'),
        (
            "tool-files",
            "from pathlib import PurePosixPath\nimport os\nos.path.join(a, b)\nawait context.files.read(p, 9)",
        ),
        (
            "cancelled",
            "try:\n    f()\nexcept CancelledError:  # house: cancelled -- an interrupt is a result\n    raise",
        ),
        ("logged-message", 'log.info("got %s of %s", request.agent_id, len(request))'),
        ("exception-text", "try:\n    f()\nexcept E as error:\n    raise X(error.reason) from error"),
    ],
)
def test_sound_code_is_quiet(name: str, sound: str) -> None:
    assert broken(name, RULES[name], sound) == []


# -- nothing of the machine it was written on ------------------------------


def tracked() -> list[Path]:
    """Files that are, or are about to be, committed; empty where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return []
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def machine_words(root: Path, home: Path, environ: dict[str, str]) -> set[str]:
    """What would betray this machine: the checkout, its neighbours, the home of the
    user, the hosts of its package index. Computed, so that no list has to name them."""
    words = set()
    # A checkout in the temporary folder has no neighbours of its own, and "/" none at all.
    if not root.is_relative_to(tempfile.gettempdir()) and len(root.parts) > 2:
        words |= {str(neighbour) for neighbour in root.parent.iterdir() if neighbour.is_dir()}
    # Service users and containers share these; a path below them betrays nobody.
    if home not in {Path("/"), Path("/root"), Path("/nonexistent")}:
        words.add(f"{home}/")
    for name, value in environ.items():
        if re.fullmatch(r"(PIP|UV|NPM_CONFIG|GOPROXY|CARGO)\w*(INDEX|REGISTRY|PROXY)\w*", name, re.IGNORECASE):
            words |= set(re.findall(r"https?://(?:[^/@\s]*@)?([^/:\s,]+)", value))
    return words - {"pypi.org", "registry.npmjs.org", "proxy.golang.org", "localhost", "127.0.0.1"}


def betrayals(text: str, words: set[str]) -> list[str]:
    """The words found in a text, each as a whole: "/home/ada/" is not in "/home/adam/"."""
    found = []
    for word in words:
        end = "" if word.endswith("/") else r"(?![\w-])"
        if re.search(rf"(?<![\w.]){re.escape(word)}{end}", text):
            found.append(word)
    return sorted(found)


def test_nothing_of_this_machine_is_committed() -> None:
    words = machine_words(ROOT, Path.home(), dict(os.environ))
    wrong = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        wrong += [f"{path.relative_to(ROOT)}: {word}" for word in betrayals(text, words)]
    assert wrong == []


def test_planted_machine_words_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = tmp_path / "desk"
    for name in ("aster", "notes"):
        (desk / name).mkdir(parents=True)
    # machine_words passes over the temporary folder, and pytest's lies there.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    words = machine_words(
        desk / "aster",
        Path("/home/ada"),
        {"PIP_INDEX_URL": "https://ada:secret@wheels.example.net/simple", "PATH": "https://not.example.net"},
    )
    assert words == {str(desk / "aster"), str(desk / "notes"), "/home/ada/", "wheels.example.net"}
    assert betrayals(f"see {desk}/notes/plan.md", words) == [str(desk / "notes")]
    assert betrayals("cd /home/ada/src", words) == ["/home/ada/"]
    assert betrayals("--find-links https://wheels.example.net/x", words) == ["wheels.example.net"]
    assert betrayals(f"{desk}/notes-of-others and /home/adam/", words) == []
