from pathlib import Path

import pytest
from tools.fakes import FakeContext

from asteros.sandbox.files import Workspace
from asteros.tools.skill import Skill

pytestmark = pytest.mark.anyio


def put(root: Path, folder: str, text: str, **files: str) -> None:
    (root / folder).mkdir(parents=True)
    (root / folder / "SKILL.md").write_text(text)
    for name, content in files.items():
        (root / folder / f"{name}.md").write_text(content)


@pytest.fixture
def skills(tmp_path: Path) -> Workspace:
    root = tmp_path / "skills"
    put(
        root,
        "release",
        "---\nname: Release\ndescription: >\n  Makes a\n  release.\n---\n\nTag {{tag}}.\n",
        more="Notes {{tag}}",
    )
    put(root, "unnamed", "---\ndescription: Has its folder's name.\n---\nBody")
    put(root, "broken", "---\nname: [\n---\n")
    put(root, "silent", "---\nname: silent\n---\n")
    put(root, "plain", "no front matter")
    put(root, "list", "---\n- a\n---\n")
    (root / "file.md").write_text("")
    (root / "empty").mkdir()
    (tmp_path / "secret.md").write_text("secret")
    (root / "release" / "leak.md").symlink_to(tmp_path / "secret.md")
    return Workspace.open(root)


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(Workspace.open(tmp_path / "work"))


async def test_lists_what_there_is(skills: Workspace) -> None:
    tool = await Skill.of(skills)
    assert tool.info.description.endswith("Skills:\n- Release: Makes a release.\n- unnamed: Has its folder's name.")
    assert "Skills:" not in Skill.info.description


async def test_reads_a_skill(skills: Workspace, context: FakeContext) -> None:
    tool = await Skill.of(skills)
    assert await tool.run({"skill": "release", "params": {"tag": "v1"}}, context) == {
        "ok": True,
        "skill": "Release",
        "content": "Tag v1.\n",
        "files": ["more.md"],
    }
    found = await tool.run({"skill": "RELEASE", "params": {"file": "more.md", "tag": "v2"}}, context)
    assert found["content"] == "Notes v2"
    assert (await tool.run({"skill": "unnamed"}, context))["content"] == "Body"


async def test_an_edit_takes_effect_at_once(skills: Workspace, context: FakeContext, tmp_path: Path) -> None:
    tool = await Skill.of(skills)
    put(tmp_path / "skills", "new", "---\ndescription: d\n---\nx")
    assert (await tool.run({"skill": "new"}, context))["content"] == "x"


@pytest.mark.parametrize("path", ["../unnamed/SKILL.md", "../../secret.md", "leak.md", "a/../../unnamed/SKILL.md"])
async def test_stays_in_its_folder(skills: Workspace, context: FakeContext, path: str) -> None:
    found = await Skill(skills).run({"skill": "Release", "params": {"file": path}}, context)
    assert not found["ok"]
    assert "secret" not in str(found.get("content"))


async def test_what_is_no_skill(skills: Workspace, context: FakeContext) -> None:
    assert await Skill(skills).run({"skill": "broken"}, context) == {
        "ok": False,
        "error": "there is no such skill",
        "skill": "broken",
        "skills": ["Release", "unnamed"],
    }
    assert (await Skill().run({"skill": "x"}, context))["skills"] == []
    missing = await Skill(skills).run({"skill": "Release", "params": {"file": "none"}}, context)
    assert missing["error"] == "there is no such file or folder"
