"""Templates from a folder: what a file may say, when it is read again, what a broken one does."""

import logging
import os
from pathlib import Path

import pytest
from events.fakes import FakeClock

from aster.v1 import common_pb2
from asteros import errors
from asteros.runtime.template_files import TemplateFiles, parse
from asteros.runtime.templates import TemplateRegistry
from asteros.runtime.yaml_folder import LOOK

OPS = """
id: devops-engineer
displayName: DevOps engineer
description: Looks after deployments.
aliases: [ops]
defaults:
  systemPrompt: You look after deployments.
  tools: [filesystem, bash]
  toolPermissions: {Write: PERMISSION_POLICY_ALLOW}
  iterationLimit: 9
  middlewareConfigJson: {summarization: '{"trigger": 0.7}'}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ops.yaml").write_text(OPS)
    return tmp_path


def test_a_file_holds_a_template_in_protojson_names() -> None:
    template = parse(OPS.encode(), "ops")
    assert (template.id, template.display_name, template.aliases) == ("devops-engineer", "DevOps engineer", ("ops",))
    assert template.defaults.tool_permissions["Write"] == common_pb2.PERMISSION_POLICY_ALLOW
    assert template.defaults.iteration_limit == 9
    assert parse(b"description: x", "by-name").id == "by-name"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("id: [", "is not YAML"),
        ("a: &a [*a]", "a"),
        ("nonsense: 1", "nonsense"),
        ("defaults: {tools: Read}", "tools"),
        ("id: 'a b'", "id is"),
        ("id: x\naliases: ['a b']", "aliases"),
        ("id: x\ndefaults: {modelConfig: {model: m, apiKey: k}}", "apiKeySecret"),
        ("id: x\ndefaults: {modelConfig: {fallbacks: [{apiKey: k}]}}", "apiKeySecret"),
        ("id: x\n# " + "y" * (1 << 20), "bytes"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text.encode(), "file")


def _touched(path: Path, text: str) -> None:
    """Written later than before, also where the file system counts in coarse steps."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_files_are_read_again_when_they_change(folder: Path, fake_clock: FakeClock) -> None:
    registry = TemplateRegistry(more=TemplateFiles(folder))
    assert registry.get("ops") is registry.get("devops-engineer")
    _touched(folder / "ops.yaml", OPS.replace("You look", "You watch"))
    assert registry.get("ops").defaults.system_prompt.startswith("You look"), "at most one look a second"
    fake_clock.seconds += LOOK
    assert registry.get("ops").defaults.system_prompt.startswith("You watch")
    (folder / "writer.yml").write_text("description: Writes.")
    (folder / "ops.yaml").unlink()
    fake_clock.seconds += LOOK
    assert registry.get("writer").description == "Writes."
    with pytest.raises(errors.TemplateNotFound):
        registry.get("ops")
    assert [template.id for template in registry.all()][-1] == "writer"


def test_a_broken_file_is_told_once_and_what_it_said_still_holds(
    folder: Path, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    registry = TemplateRegistry(more=TemplateFiles(folder))
    registry.get("ops")
    _touched(folder / "ops.yaml", "id: [")
    (folder / "new.yaml").write_text("nonsense: 1")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            fake_clock.seconds += LOOK
            assert registry.get("ops").defaults.iteration_limit == 9
    told = [record.getMessage() for record in caplog.records]
    assert [("ops.yaml" in text, "still holds" in text) for text in sorted(told)] == [(False, False), (True, True)]


def test_a_folder_that_is_not_there_is_told_and_looked_for(
    tmp_path: Path, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    registry = TemplateRegistry(more=TemplateFiles(tmp_path / "later"))
    for _ in range(3):
        fake_clock.seconds += LOOK
        assert registry.get("chat").id == "chat"
    assert len(caplog.records) == 1
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "ops.yaml").write_text(OPS)
    fake_clock.seconds += LOOK
    assert registry.get("ops").id == "devops-engineer"


def test_a_file_may_stand_for_a_builtin_and_an_alias_hides_no_id(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("description: ours\naliases: [assistant]")
    registry = TemplateRegistry(more=TemplateFiles(tmp_path))
    assert registry.get("chat").description == "ours"
    assert registry.get("assistant").id == "assistant"
    assert registry.get("chat-template").description != "ours", "the aliases of the built-in stay its own"
