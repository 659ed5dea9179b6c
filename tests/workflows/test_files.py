"""Workflows of a folder: read at once and again when they change."""

import logging
from pathlib import Path

import grpc
import pytest
from services.helpers import Server, serving

from aster.v1 import workflow_service_pb2 as pb
from asteros.runtime.yaml_folder import YamlFolder

pytestmark = pytest.mark.anyio
HELLO = """\
displayName: Greeting
root:
  id: all
  sequential:
    steps:
      - {id: greet, agent: {agentId: echo}, input: "Hello, ${input}"}
      - {id: again, when: "size(previous) > 100", agent: {agentId: echo}}
"""


async def ids(server: Server) -> list[str]:
    return [one.id for one in (await server.workflows.ListWorkflows(pb.ListWorkflowsRequest())).workflows]


async def test_a_folder_of_workflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("asteros.runtime.yaml_folder.LOOK", 0.0)
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "hello.yaml").write_text(HELLO)
    (folder / "broken.yaml").write_text("root: {id: a, when: nobody, agent: {agentId: echo}}")
    (folder / "typo.yml").write_text("roots: {}")
    with caplog.at_level(logging.WARNING):
        async with serving(tmp_path, workflows_dir=folder) as server:
            await server.agent("echo", "echo")
            assert await ids(server) == ["hello"]
            run = pb.ExecuteWorkflowRequest(workflow_id="hello", message="Ann")
            assert (await server.workflows.ExecuteWorkflow(run)).run.output == "Hello, Ann"
            found = (await server.workflows.GetWorkflow(pb.GetWorkflowRequest(workflow_id="hello"))).workflow
            assert found.display_name == "Greeting"
            for call in (
                server.workflows.CreateWorkflow(pb.CreateWorkflowRequest(workflow_id="hello", root=found.root)),
                server.workflows.DeleteWorkflow(pb.DeleteWorkflowRequest(workflow_id="hello")),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code().name in ("ALREADY_EXISTS", "FAILED_PRECONDITION")
            (folder / "hello.yaml").write_text(HELLO.replace("Hello", "Good day"))
            assert (await server.workflows.ExecuteWorkflow(run)).run.output == "Good day, Ann"
            (folder / "hello.yaml").write_text("root: {}")  # broken: what it said before still holds
            (folder / "broken.yaml").write_text("id: mended\nroot: {id: a, agent: {agentId: echo}}")
            assert await ids(server) == ["hello", "mended"]
            (folder / "hello.yaml").unlink()
            assert await ids(server) == ["mended"]
    said = [record.getMessage() for record in caplog.records if "workflow file" in record.getMessage()]
    assert any("undeclared reference to 'nobody'" in line and "left out" in line for line in said)
    assert any("typo.yml" in line for line in said)
    assert any("hello.yaml" in line and "still holds" in line for line in said)


def test_a_folder_that_is_not_there_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = YamlFolder(tmp_path / "none", "workflow")
    assert folder.changes() == ([], [])
    folder._looked = None
    assert folder.changes() == ([], [])
    assert len(caplog.records) == 1
