"""A server with functions that note what was done, and agents that echo."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from services.helpers import LIMIT, Server, serving
from workflows.plans import made

from aster.v1 import control_service_pb2, event_pb2, workflow_pb2
from aster.v1 import workflow_service_pb2 as pb
from asteros.tools.base import RerunPolicy
from asteros.workflows.actions import Function


class Bench:
    """A running server and what its functions were asked to do."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.began: dict[str, asyncio.Event] = {}
        self.answers: dict[str, Callable[[str], str]] = {}
        self.server: Server

    def functions(self) -> dict[str, Function]:
        safe = RerunPolicy.SAFE
        return {
            "note": Function(self._note, safe),
            "once": Function(self._note),
            "held": Function(self._held, safe),
            "fail": Function(self._fail, safe),
            "fail_once": Function(self._fail),
            "thread": Function(lambda text, _: text[::-1], safe),
            "number": Function(lambda _, __: 3, safe),  # type: ignore[arg-type, return-value]
        }

    async def _note(self, text: str, _: str) -> str:
        self.did.append(text)
        return text

    async def _held(self, text: str, _: str) -> str:
        """Ends when the test opens its gate."""
        self.began.setdefault(text, asyncio.Event()).set()
        await self.gates.setdefault(text, asyncio.Event()).wait()
        return text

    async def _fail(self, text: str, _: str) -> str:
        self.did.append(text)
        if text in self.answers:
            return self.answers[text](text)
        raise ValueError(text)

    def let(self, *texts: str) -> None:
        for text in texts:
            self.gates.setdefault(text, asyncio.Event()).set()

    async def in_progress(self, *texts: str) -> None:
        async with asyncio.timeout(LIMIT):
            for text in texts:
                await self.began.setdefault(text, asyncio.Event()).wait()

    # -- workflows ------------------------------------------------------------------------

    async def create(self, plan: dict[str, Any], workflow_id: str = "") -> str:
        request = pb.CreateWorkflowRequest(workflow_id=workflow_id, root=made(plan))
        return str((await self.server.workflows.CreateWorkflow(request)).workflow.id)

    async def begin(self, plan: dict[str, Any] | str, message: str = "go", **fields: Any) -> workflow_pb2.WorkflowRun:
        workflow_id = plan if isinstance(plan, str) else await self.create(plan)
        request = pb.ExecuteWorkflowRequest(workflow_id=workflow_id, message=message, return_immediately=True, **fields)
        return (await self.server.workflows.ExecuteWorkflow(request)).run

    async def run(self, plan: dict[str, Any] | str, message: str = "go", **fields: Any) -> workflow_pb2.WorkflowRun:
        """Runs a workflow to its end."""
        workflow_id = plan if isinstance(plan, str) else await self.create(plan)
        request = pb.ExecuteWorkflowRequest(workflow_id=workflow_id, message=message, **fields)
        async with asyncio.timeout(LIMIT):
            return (await self.server.workflows.ExecuteWorkflow(request)).run

    async def look(self, run: workflow_pb2.WorkflowRun) -> workflow_pb2.WorkflowRun:
        request = pb.GetWorkflowRunRequest(workflow_id=run.workflow_id, run_id=run.id)
        return (await self.server.workflows.GetWorkflowRun(request)).run

    async def events(self, run: workflow_pb2.WorkflowRun, until: str = "") -> list[event_pb2.Event]:
        """All events of a run to its end, or to the first whose text has ``until`` in it."""
        found: list[event_pb2.Event] = []
        request = pb.StreamWorkflowRunRequest(workflow_id=run.workflow_id, run_id=run.id)
        async with asyncio.timeout(LIMIT):
            call = self.server.workflows.StreamWorkflowRun(request)
            async for response in call:
                for frame in response.frames:
                    if frame.HasField("event"):
                        found.append(frame.event)
                        if until and until in str(frame.event):
                            call.cancel()
                            return found
        return found

    async def ended(self, run: workflow_pb2.WorkflowRun) -> workflow_pb2.WorkflowRun:
        await self.events(run)
        return await self.look(run)

    async def asked(self, run: workflow_pb2.WorkflowRun) -> event_pb2.WorkflowApprovalRequest:
        events = await self.events(run, "workflow_approval_request {")
        return events[-1].control.workflow_approval_request

    async def decide(
        self, run: workflow_pb2.WorkflowRun, pending_id: str, *, allow: bool = True, note: str = ""
    ) -> control_service_pb2.PendingRequest:
        decision = control_service_pb2.DECISION_ALLOW if allow else control_service_pb2.DECISION_DENY
        request = control_service_pb2.RespondToWorkflowApprovalRequest(
            workflow_id=run.workflow_id, run_id=run.id, pending_id=pending_id, decision=decision, note=note
        )
        return (await self.server.control.RespondToWorkflowApproval(request)).pending


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Of a module, so that its server and its tests share a loop."""
    return "asyncio"


@pytest.fixture(scope="module")
async def _running(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    bench = Bench()
    async with serving(tmp_path_factory.mktemp("server"), functions=bench.functions()) as server:
        bench.server = server
        await server.agent("echo", "echo")
        yield bench


@pytest.fixture
def bench(_running: Bench) -> Bench:
    _running.did.clear()
    _running.answers.clear()
    _running.gates.clear()
    _running.began.clear()
    return _running


@pytest.fixture
async def alone(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """A server of one test."""
    bench = Bench()
    async with serving(tmp_path, functions=bench.functions()) as server:
        bench.server = server
        await server.agent("echo", "echo")
        yield bench
