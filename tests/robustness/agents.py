"""The agents of the traffic, and the scripts that some of them play.

Agents whose tool adds one line to a file leave a trace of every single run of it: a
line that stands there twice was written by a tool that ran twice."""

from collections.abc import Sequence
from pathlib import Path

from aster.v1 import agent_pb2, common_pb2

ALLOW = common_pb2.PERMISSION_POLICY_ALLOW
ASK = common_pb2.PERMISSION_POLICY_ASK
MARKS = "marks.txt"  # in the workspace of an agent that plays `append`
APPENDS = 12  # tool steps of the script `append`
_APPEND = """\
- - text: {{text: "Step {number}. ", chunk: 3, pause: 0.004}}
  - tool: {{name: Write, input: {{file_path: marks.txt, content: "mark-{number}\\n", append: true}}}}
"""
_DONE = "- - text: Done.\n"


def write_scripts(folder: Path) -> None:
    """``append``: many steps with one write each; ``append-once``: one."""
    for name, count in (("append", APPENDS), ("append-once", 1)):
        steps = "".join(_APPEND.format(number=number) for number in range(count))
        (folder / f"{name}.yaml").write_text(steps + _DONE, encoding="utf-8")


def model(name: str, **more: object) -> agent_pb2.AgentConfig:
    """An agent of the offline provider."""
    return agent_pb2.AgentConfig(
        template_id="chat", model_config=agent_pb2.ModelConfig(provider="scripted", model=name), **more
    )


def demo() -> agent_pb2.AgentConfig:
    """Does what it is told, with real tools, and asks nobody."""
    return agent_pb2.AgentConfig(template_id="demo", tool_permissions={"Write": ALLOW})


def appending(agent_id: str, policy: int, script: str = "append") -> agent_pb2.AgentConfig:
    """Adds lines to a file of a folder that has the agent's name."""
    return model(
        f"script:{script}",
        tools=["filesystem"],
        tool_permissions={"Write": policy},
        sandbox=agent_pb2.SandboxConfig(work_dir=agent_id),
    )


def marks(data_dir: Path, agent_id: str) -> Sequence[str]:
    """The lines that the tool calls of an appending agent left behind."""
    path = data_dir / "workspaces" / "named" / agent_id / MARKS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else ()


def config_of(agent_id: str) -> agent_pb2.AgentConfig:
    """The config by the kind in front of the name: ``flood-3``."""
    kind = agent_id.partition("-")[0]
    if kind == "demo":
        return demo()
    if kind == "flood":
        return model("flood:200@400")
    if kind in ("append", "ask", "hold"):
        policy = ALLOW if kind == "append" else ASK
        return appending(agent_id, policy, "append" if kind == "append" else "append-once")
    return model("echo")
