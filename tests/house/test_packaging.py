"""What is shipped, and what is fetched: versions, locks, vendored files, wheels."""

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
PROJECTS = {"aster": ROOT / "clients" / "python", "asteros": ROOT / "server"}

# Vendored from github.com/googleapis/googleapis, untouched. A new version changes
# these on purpose; nothing else may.
VENDORED = {
    "google/api/annotations.proto": "e79ea741cb605a65e78ca322174764a4af9fde1962c1631e12b84c4934ba9a6c",
    "google/api/field_behavior.proto": "e2a1ac88c49909d4579bacbb18519085e82da32c2c7bb15c31037f3be19f667f",
    "google/api/http.proto": "ead99129aa15dd5f6233942030c72eec33bc0d7b1c7c260dc143293ef66c5b78",
    "google/rpc/error_details.proto": "5c18d42e6924f447622534b4b7cdb8b53c0606c8ce729b912ee5edf88d1c5520",
    "google/rpc/status.proto": "f5bfd262e6705c7ae73f32e0ad8ee20ce8c0a2578df8c4f76ebf76b572f295ed",
}

# Import names behind an extra: the server starts, and every module but the driver's
# own can be imported, without them.
OPTIONAL = {
    "a2a",
    "ag_ui",
    "asyncpg",
    "connectrpc",
    "mcp",
    "nats",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "uvloop",
}


def project(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text())["project"]
    return found


# -- versions --------------------------------------------------------------


def test_one_version() -> None:
    version = project("asteros")["version"]
    assert project("aster")["version"] == version
    # The stubs and the server are made for each other; ranges come with 1.0.
    assert f"aster-client=={version}" in project("asteros")["dependencies"]
    for name, folder in PROJECTS.items():
        stated = re.findall(r'^__version__ = "(.*)"', (folder / name / "__init__.py").read_text(), re.MULTILINE)
        assert stated in ([], [version])


def test_gencode_is_not_newer_than_what_users_may_have() -> None:
    """Generated code runs with the protobuf it was made for or newer, never an older one."""
    generator = {r.name: r for r in map(Requirement, plain(REQUIREMENTS / "proto.in"))}
    made_for = {
        "protobuf": generator["protobuf"].specifier,
        "grpcio": generator["grpcio-tools"].specifier,
    }
    for name in PROJECTS:
        for dependency in map(Requirement, project(name)["dependencies"]):
            if dependency.name in made_for:
                (pin,) = made_for[dependency.name]
                (floor,) = [s.version for s in dependency.specifier if s.operator == ">="]
                assert Version(floor) >= Version(pin.version), f"{name}: {dependency}"


# -- locks -----------------------------------------------------------------


def plain(path: Path) -> list[str]:
    """Requirements of an .in file, without comments."""
    lines = (line.split(" #")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def locked(text: str) -> Iterator[tuple[str, str, int]]:
    """(name, version, number of hashes) of each requirement of a lock."""
    for entry in re.split(r"\n(?=\S)", text):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", entry)
        if match:
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", entry)
            yield canonicalize_name(match[1]), match[2], len(hashes)


def lock_faults(text: str) -> list[str]:
    faults = [f"{name}: no hash" for name, _, hashes in locked(text) if not hashes]
    for line in text.splitlines():
        code = line.split("#")[0].rstrip(" \\")
        if re.search(r"://|--(?!hash=)|\s@\s|file:", code):
            faults.append(f"names a place: {code.strip()}")
        elif code and not re.match(r"\s+--hash=sha256:[0-9a-f]{64}$|[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+( ; .*)?$", code):
            faults.append(f"not a pinned requirement: {code.strip()}")
    return faults


SOURCES = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


def test_every_source_has_its_lock() -> None:
    assert sorted(path.stem for path in REQUIREMENTS.glob("*.txt")) == SOURCES


@pytest.mark.parametrize("name", SOURCES)
def test_lock(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert lock_faults(text) == []
    versions = {found: version for found, version, _ in locked(text)}
    for requirement in map(Requirement, plain(REQUIREMENTS / f"{name}.in")):
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not locked: make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: make lock"


@pytest.mark.parametrize("name", PROJECTS)
def test_lock_has_what_the_package_needs(name: str) -> None:
    """`make setup` installs the packages without dependencies: the lock must have them all."""
    versions = {found: version for found, version, _ in locked((REQUIREMENTS / "dev.txt").read_text())}
    needed = list(project(name)["dependencies"])
    for extra in project(name).get("optional-dependencies", {}).values():
        needed += extra
    for requirement in map(Requirement, needed):
        if requirement.name in {"aster-client", "asteros"}:
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{requirement}: not in requirements/dev.in"
        assert requirement.specifier.contains(version), f"{requirement}: locked at {version}"


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "fault",
    [
        "grpcio==1.0",
        f"grpcio>=1.0 \\\n    {HASH}",
        "grpcio==1.0 \\\n    --hash=sha256:short",
        f"--index-url https://wheels.example.net/simple\ngrpcio==1.0 \\\n    {HASH}",
        f"grpcio @ https://wheels.example.net/grpcio.whl \\\n    {HASH}",
        f"-e ../elsewhere\ngrpcio==1.0 \\\n    {HASH}",
    ],
)
def test_planted_lock_fault_is_found(fault: str) -> None:
    assert lock_faults(fault)


def test_a_sound_lock_is_quiet() -> None:
    sound = f"# via pip\ngrpcio==1.0 ; sys_platform != 'win32' \\\n    {HASH} \\\n    {HASH}\n    # via -r dev.in\n"
    assert lock_faults(sound) == []
    assert list(locked(sound)) == [("grpcio", "1.0", 2)]


# -- vendored --------------------------------------------------------------


def test_vendored_files_are_untouched() -> None:
    folder = ROOT / "third_party" / "googleapis"
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.proto"))
    }
    assert found == VENDORED


# -- packages --------------------------------------------------------------


def test_stubs_are_typed() -> None:
    folder = PROJECTS["aster"] / "aster" / "v1"
    bare = [path.name for path in folder.glob("*_pb2*.py") if not path.with_suffix(".pyi").exists()]
    assert bare == []


@pytest.mark.parametrize("name", PROJECTS)
def test_wheel_holds_the_package_and_nothing_else(name: str, tmp_path: Path) -> None:
    """Built from a copy: setuptools leaves folders behind where it builds."""
    source = tmp_path / "source"
    shutil.copytree(
        PROJECTS[name], source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".*")
    )
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {entry for entry in archive.namelist() if ".dist-info/" not in entry}
    # Every file of the package: data that package-data forgets is missed by users alone.
    assert shipped == {path.relative_to(source).as_posix() for path in (source / name).rglob("*") if path.is_file()}
    assert f"{name}/py.typed" in shipped


# Refuses the modules named on its command line, then imports all of asteros but the
# files named after "--".
IMPORT_ALL = """
import importlib, pkgutil, sys
cut = sys.argv.index("--")
banned, skipped = set(sys.argv[1:cut]), set(sys.argv[cut + 1:])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{root}.") for root in banned):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import asteros
for module in pkgutil.walk_packages(asteros.__path__, "asteros."):
    if module.name not in skipped and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_server_imports_without_extras() -> None:
    drivers = {"stores.postgres", "bus.nats", "tools.mcp", "bridge.a2a", "bridge.agui", "bridge.connect"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(OPTIONAL), "--", *sorted(f"asteros.{d}" for d in drivers)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "asteros.errors" in done.stdout


def test_planted_import_of_an_extra_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, "google", "--"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "No module named 'google" in done.stderr
