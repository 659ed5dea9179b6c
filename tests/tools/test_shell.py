"""Bash, BashOutput and KillShell with a real box, and without one."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tools.fakes import FakeContext

from asteros import errors
from asteros.sandbox.base import Tier
from asteros.sandbox.cgroups import Cgroups
from asteros.sandbox.commands import AgentCommands, Launcher, Limits
from asteros.sandbox.landlock import Unboxed
from asteros.sandbox.shells import Shells
from asteros.sandbox.workspaces import Workspaces
from asteros.tools import shell
from asteros.tools.base import JsonObject
from asteros.tools.inputs import BadToolInput, InputCheck
from asteros.tools.shell import Bash
from asteros.tools.shell_output import BashOutput, KillShell

pytestmark = pytest.mark.anyio
TOOLS = {tool.info.name: tool for tool in (Bash(), BashOutput(), KillShell())}


class Missing(AgentCommands):
    """Commands where no tier is offered."""

    def __init__(self, commands: AgentCommands) -> None:
        async def nowhere() -> Launcher:
            raise errors.SandboxUnavailable("no sandbox is available", missing="bubblewrap is not installed")

        super().__init__(nowhere, commands._workspace, commands.shells)


class Desk:
    """Calls tools by name, with one agent's workspace and shells. The box is none: what boxes
    hold is tested in their own suite, what the tools answer is the same in all."""

    def __init__(self, folder: Path) -> None:
        async def launcher() -> Launcher:
            return Launcher(Unboxed(), Limits(), Cgroups())

        self.files = Workspaces(folder, quota=1 << 20).open(1, "")
        self.commands = AgentCommands(launcher, self.files, Shells(), limit=0)
        self.context = FakeContext(self.files, commands=self.commands)

    async def call(self, name: str, **arguments: Any) -> JsonObject:
        tool = TOOLS[name]
        return await tool.run(InputCheck(tool.info).read(shell_json(arguments)), self.context)


def shell_json(arguments: JsonObject) -> str:
    import json

    return json.dumps(arguments)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    if os.geteuid() == 0:  # pytest's folders are shut, and commands run as somebody else
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
    desk = Desk(tmp_path)
    yield desk
    await desk.commands.shells.aclose()
    desk.files.close()


async def test_a_command(desk: Desk) -> None:
    answer = await desk.call("Bash", command="echo out; echo wrong >&2", description="says two things")
    assert answer.pop("seconds") < 10
    assert answer == {"ok": True, "exit_code": 0, "stdout": "out\n", "stderr": "wrong\n", "sandbox": "none"}


async def test_a_command_that_fails(desk: Desk) -> None:
    answer = await desk.call("Bash", command="echo half; exit 4")
    assert (answer["ok"], answer["error"], answer["exit_code"]) == (False, "exit code 4", 4)
    assert (answer["stdout"], answer["command"]) == ("half\n", "echo half; exit 4")


async def test_a_command_that_takes_too_long(desk: Desk) -> None:
    answer = await desk.call("Bash", command="echo on; sleep 60", timeout=0.3)
    assert (answer["ok"], answer["timed_out"], answer["stdout"]) == (False, True, "on\n")
    assert "stopped after" in answer["error"]


async def test_arguments_of_bash(desk: Desk) -> None:
    await desk.files.write("in/note", b"here\n")
    answer = await desk.call(
        "Bash", command='cat note; echo "$A"', working_dir="in", environment={"A": "b c"}, shell="sh"
    )
    assert answer["stdout"] == "here\nb c\n"
    silent = await desk.call("Bash", command="echo out; exit 2", capture_output=False)
    assert set(silent) == {"ok", "error", "command", "exit_code", "seconds", "sandbox"}
    long = await desk.call("Bash", command="head -c 500000 /dev/zero | tr '\\0' x")
    assert (long["truncated"], long["stdout_bytes"]) == (True, 500_000)


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 601}, {"timeout": 0}, {"shell": "python"}, {"shell_id": "a/b"}, {"command": ""}, {"sandbox": "none"}],
)
async def test_arguments_that_are_refused(desk: Desk, arguments: JsonObject) -> None:
    with pytest.raises(BadToolInput):
        await desk.call("Bash", **{"command": "true", **arguments})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"working_dir": "nowhere"}, "does not exist"),
        ({"environment": {"A=B": ""}}, "name that cannot be one"),
        ({"command": "x" * 200_000}, "limited to"),
    ],
)
async def test_commands_that_are_refused(desk: Desk, arguments: JsonObject, text: str) -> None:
    answer = await desk.call("Bash", **{"command": "true", **arguments})
    assert answer["ok"] is False
    assert text in answer["error"]


async def test_without_a_box_nothing_runs(desk: Desk) -> None:
    desk.context.commands = Missing(desk.commands)
    for background in (False, True):
        assert await desk.call("Bash", command="touch ran", background=background) == {
            "ok": False,
            "error": "no sandbox is available",
            "reason": "SANDBOX_UNAVAILABLE",
            "missing": "bubblewrap is not installed",
            "command": "touch ran",
        }
    assert await desk.files.list(".") == ()


async def test_a_long_command_reports(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PROGRESS_EVERY", 0.1)
    await desk.call("Bash", command="sleep 0.35")
    assert desk.context.reports[:2] == ["the command runs for 0.1 s", "the command runs for 0.2 s"]


async def test_a_cancelled_call_ends_its_command(desk: Desk) -> None:
    task = asyncio.create_task(desk.call("Bash", command="echo $$ > pid; exec sleep 60"))
    async with asyncio.timeout(10):
        while not (pid := await _read(desk, "pid")):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path("/proc", pid.strip()).exists()


async def _read(desk: Desk, name: str) -> str:
    try:
        return (await desk.files.read(name, 100)).decode()
    except FileNotFoundError:
        return ""


# -- background ------------------------------------------------------------------------------


async def test_a_background_shell(desk: Desk) -> None:
    started = await desk.call("Bash", command="echo one; echo wrong >&2; read line < <(sleep 60)", background=True)
    assert started == {"ok": True, "bash_id": "shell_1", "running": True, "sandbox": Tier.NONE}
    text = ""
    while "one" not in text or "wrong" not in text:
        text += (await desk.call("BashOutput", bash_id="shell_1", follow=True))["output"]
    again = await desk.call("BashOutput", shell_id="shell_1")
    assert (again["output"], again["running"], again["next_offset"]) == ("", True, len("one\nwrong\n"))
    whole = await desk.call("BashOutput", bash_id="shell_1", since=0, include_stderr=False, resource_info=True)
    assert (whole["output"], whole["buffered_bytes"]) == ("one\n", 10)
    ended = await desk.call("KillShell", shell_id="shell_1")
    assert (ended["ok"], ended["running"], ended["exit_code"]) == (True, False, 143)
    assert (await desk.call("KillShell", bash_id="shell_1", cleanup=True))["ok"]
    assert (await desk.call("BashOutput", bash_id="shell_1"))["reason"] == "SHELL_NOT_FOUND"


async def test_lines_of_output(desk: Desk) -> None:
    await desk.call("Bash", command="for i in 1 2 3 10; do echo line $i; done", background=True, shell_id="count")
    shell = desk.commands.shells.get("count")
    assert shell is not None
    assert await shell.ended(10)
    chosen = await desk.call("BashOutput", bash_id="count", since=0, filter="1", lines=1)
    assert (chosen["output"], chosen["exit_code"]) == ("line 10\n", 0)
    await desk.call("BashOutput", bash_id="count", clear_cache=True)
    forgotten = await desk.call("BashOutput", bash_id="count", since=0)
    assert (forgotten["output"], forgotten["missed_bytes"]) == ("", len("line 1\nline 2\nline 3\nline 10\n"))


@pytest.mark.parametrize(
    ("arguments", "code"), [({"force": True}, 137), ({"signal": "INT"}, 130), ({"signal": "TERM", "timeout": 0.1}, 137)]
)
async def test_ways_to_end_a_shell(desk: Desk, arguments: JsonObject, code: int) -> None:
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    command = deaf if "timeout" in arguments else "echo up; exec env --default-signal=INT sleep 60"
    await desk.call("Bash", command=command, background=True)
    await desk.call("BashOutput", bash_id="shell_1", follow=True)
    answer = await desk.call("KillShell", shell_id="shell_1", **arguments)
    assert (answer["running"], answer["exit_code"]) == (False, code)


async def test_shells_of_before_are_unknown(desk: Desk) -> None:
    for name, argument in (("BashOutput", "bash_id"), ("KillShell", "shell_id")):
        answer = await desk.call(name, **{argument: "shell_7"})
        assert (answer["ok"], answer["reason"], answer["bash_id"]) == (False, "SHELL_NOT_FOUND", "shell_7")
        assert "restart" in answer["error"]


async def test_too_many_shells(desk: Desk) -> None:
    for _ in range(8):
        assert (await desk.call("Bash", command="sleep 60", background=True))["ok"]
    answer = await desk.call("Bash", command="sleep 60", background=True)
    assert (answer["ok"], answer["reason"]) == (False, "QUOTA_EXCEEDED")
