"""Steps in short, and what a run has done in one line."""

from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from aster.v1 import workflow_pb2

Step = workflow_pb2.WorkflowStep
STATES = {number: name.removeprefix("WORKFLOW_STEP_STATE_") for name, number in workflow_pb2.WorkflowStepState.items()}
RUN_STATES = {
    number: name.removeprefix("WORKFLOW_RUN_STATE_") for name, number in workflow_pb2.WorkflowRunState.items()
}


def step(id: str, **fields: Any) -> dict[str, Any]:
    """A step as ProtoJSON has it."""
    return {"id": id, **fields}


def say(id: str, agent: str = "echo", **fields: Any) -> dict[str, Any]:
    return step(id, agent={"agentId": agent}, **fields)


def call(id: str, function: str = "note", **fields: Any) -> dict[str, Any]:
    return step(id, function={"name": function}, **fields)


def sequence(id: str, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return step(id, sequential={"steps": steps}, **fields)


def together(id: str, *steps: dict[str, Any], join: str = "ALL", at_once: int = 0, **fields: Any) -> dict[str, Any]:
    order = {"steps": steps, "join": f"WORKFLOW_JOIN_{join}", "maxConcurrency": at_once}
    return step(id, parallel=order, **fields)


def loop(id: str, body: dict[str, Any], most: int = 10, **fields: Any) -> dict[str, Any]:
    control = {name: fields.pop(name) for name in list(fields) if name.endswith("Expression")}
    return step(id, loop={"body": body, "maxIterations": most, **control}, **fields)


def made(plan: dict[str, Any]) -> Step:
    return json_format.ParseDict(plan, Step())


def told(steps: Sequence[workflow_pb2.WorkflowStepRun]) -> str:
    """Executions of steps in one line: "a b=FAILED b~2 c.3=SKIPPED"."""
    return " ".join(map(_told, steps))


def _told(one: workflow_pb2.WorkflowStepRun) -> str:
    name = one.step_id + (f".{one.iteration}" if one.iteration else "") + (f"~{one.attempt}" if one.attempt > 1 else "")
    state = STATES[one.state]
    return name if state == "SUCCEEDED" else f"{name}={state}"
