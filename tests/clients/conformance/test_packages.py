"""What users install: the built artefact in a new project outside the tree, and every program of its README."""

import json
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from clients.conformance.languages import CLIENTS, LANGUAGES, ROOT, Language, built
from robustness.harness import ServerProcess

# The tag of a language's blocks in its README.
TAGS = {"go": "go", "typescript": "ts", "java": "java", "rust": "rust"}
PACKAGES = [language for language in LANGUAGES if language.name in TAGS]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.timeout(1000)


@pytest.mark.long
@pytest.mark.parametrize("language", PACKAGES, ids=lambda language: language.name)
async def test_programs_of_the_readme_run_in_a_new_project(
    language: Language, tmp_path: Path, anyio_backend: str
) -> None:
    built(language)
    project = tmp_path / "project"
    project.mkdir()
    language.task("fresh", str(project))
    async with ServerProcess(tmp_path) as server:
        for number, text in enumerate(programs(language)):
            program = tmp_path / f"program{number}"
            program.write_text(text, encoding="utf-8")
            said = language.task("snippet", str(project), str(program), ASTER_ADDRESS=server.address)
            assert said.strip(), text


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_checks_of_its_own(language: Language) -> None:
    built(language)
    language.task("lint")
    if language.name != "python":  # its tests are the folder beside this one
        language.task("test")


@pytest.mark.parametrize("language", PACKAGES, ids=lambda language: language.name)
def test_readme_has_its_programs(language: Language) -> None:
    assert len(programs(language)) >= 3, "first program, resume, approval"


def test_versions_are_in_step() -> None:
    versions = {
        toml(CLIENTS / "python/pyproject.toml")["project"]["version"],
        toml(ROOT / "server/pyproject.toml")["project"]["version"],
        json.loads((CLIENTS / "typescript/package.json").read_text(encoding="utf-8"))["version"],
        json.loads((CLIENTS / "typescript/package-lock.json").read_text(encoding="utf-8"))["version"],
        toml(CLIENTS / "rust/Cargo.toml")["package"]["version"],
        ElementTree.parse(CLIENTS / "java/pom.xml").findtext("{*}version"),
    }
    assert len(versions) == 1, versions
    assert f"clients/go@v{versions.pop()}" in (CLIENTS / "go/README.md").read_text(encoding="utf-8")


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((CLIENTS / "typescript/package-lock.json").read_text(encoding="utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def programs(language: Language) -> list[str]:
    text = (language.folder / "README.md").read_text(encoding="utf-8")
    return [body for tag, body in _BLOCK.findall(text) if tag == TAGS[language.name]]


def toml(path: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
