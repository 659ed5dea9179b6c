"""What every tier promises about commands, whatever it is made of."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest
from sandbox.boxes import TIERS, Ground, Make, grounds, lines, processes

from asteros import clock, errors
from asteros.sandbox import bubblewrap, cgroups
from asteros.sandbox.base import MAX_COMMAND, Command, CommandRefused, Limits, Tier
from asteros.sandbox.files import PathRefused
from asteros.sandbox.output import KEPT
from asteros.sandbox.shells import MAX_SHELLS

pytestmark = pytest.mark.anyio
LIMIT = 10.0  # seconds that nothing here needs when it is right


@pytest.fixture(params=TIERS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with grounds(request.param) as make:
        yield make


@pytest.fixture
async def ground(make: Make) -> Ground:
    return await make()


async def gone(marker: str) -> None:
    """Waits until no process names the marker."""
    async with asyncio.timeout(LIMIT):
        while processes(marker):
            await asyncio.sleep(0.01)


async def present(marker: str) -> None:
    async with asyncio.timeout(LIMIT):
        while not processes(marker):
            await asyncio.sleep(0.01)


# -- one command --------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "code"), [("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("no-such-program", 127)])
async def test_exit_code(ground: Ground, text: str, code: int) -> None:
    finished = await ground.run(text)
    assert (finished.exit_code, finished.timed_out, finished.tier) == (code, False, ground.tier)


async def test_streams_are_apart_and_plain(ground: Ground) -> None:
    finished = await ground.run(r"printf '\033[31mred\033[0m \xff \033]0;title\007end\n'; echo wrong >&2")
    assert finished.stdout.text == "red � end\n"
    assert finished.stderr.text == "wrong\n"
    assert not finished.stdout.cut


async def test_long_output_keeps_head_and_tail(ground: Ground) -> None:
    finished = await ground.run("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last")
    text = finished.stdout.text
    assert finished.stdout.cut
    assert finished.stdout.size == 3_000_000 + len("first\n\nlast\n")
    assert text.startswith("first\nxxx")
    assert text.endswith("xxx\nlast\n")
    assert "bytes left out" in text
    assert KEPT <= len(text) < KEPT + 100


async def test_standard_input_is_empty(ground: Ground) -> None:
    assert await ground.out("cat; echo done") == "done\n"


async def test_environment_is_built(ground: Ground) -> None:
    found = await ground.run("env", environment={"COLOUR": "blue = green"})
    names = {line.partition("=")[0] for line in lines(found)}
    assert names <= {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "COLOUR", "PWD", "SHLVL", "_", "GIT_CONFIG_NOSYSTEM"}
    assert "COLOUR=blue = green" in lines(found)
    assert await ground.out('echo x > "$HOME/a" && echo y > "$TMPDIR/b" && cat "$HOME/a" "$TMPDIR/b"') == "x\ny\n"


async def test_working_folder(ground: Ground) -> None:
    await ground.files.write("deep/er/note", b"here\n")
    assert await ground.out("cat note", folder="deep/er") == "here\n"
    assert await ground.out("cat note", folder="/deep/./er/") == "here\n"
    assert await ground.out("cat deep/er/note", folder="../..") == "here\n"  # the root, and not above it
    with pytest.raises(FileNotFoundError):
        await ground.run("true", folder="elsewhere")
    os.symlink("/etc", ground.folder / "link")
    with pytest.raises(PathRefused):
        await ground.run("true", folder="link")


async def test_shell_and_file_tools_share_files(ground: Ground) -> None:
    await ground.files.write("new/by-tool", b"tool\n")
    assert await ground.out("cat new/by-tool; echo more >> new/by-tool; echo shell > new/by-shell") == "tool\n"
    assert await ground.files.read("new/by-tool", 100) == b"tool\nmore\n"
    assert await ground.files.read("new/by-shell", 100) == b"shell\n"
    await ground.files.write("new/by-shell", b"again\n", append=True)
    await ground.files.write("fresh", b"1", append=True)
    owners = {(ground.folder / name).stat().st_uid for name in ("new", "new/by-tool", "new/by-shell", "fresh")}
    assert owners == {ground.folder.stat().st_uid}
    assert os.geteuid() != 0 or owners == {100_001}


async def test_programs_work(ground: Ground) -> None:
    # Each that the host has; git finds a user, Python a home, awk and perl their links.
    script = (
        "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; "
        "git log --oneline | wc -l; "
        "echo 6 7 | awk '{print $1 * $2}'; (echo 1; echo 2) | sort -rn | head -1"
    )
    finished = await ground.run(script)
    assert finished.stdout.text == "1\n42\n2\n", finished.stderr.text


@pytest.mark.parametrize(
    "command",
    [
        Command("x" * (MAX_COMMAND + 1)),
        Command("a\0b"),
        Command("true", environment={"A=B": "c"}),
        Command("true", environment={"": "c"}),
        Command("true", environment={"A": "\0"}),
        Command("true", environment={"A": "x" * 100_000}),
    ],
    ids=["long", "nul", "name", "empty name", "nul value", "large"],
)
async def test_what_cannot_be_run_is_refused(ground: Ground, command: Command) -> None:
    with pytest.raises(CommandRefused):
        await ground.commands.run(command)


# -- its end ------------------------------------------------------------------------------


async def test_time_limit_asks_first(ground: Ground) -> None:
    finished = await ground.run("trap 'echo bye; exit 7' TERM; echo on; sleep 60 & wait", timeout=0.5)
    assert finished.timed_out
    assert (finished.exit_code, finished.stdout.text) == (7, "on\nbye\n")


async def test_time_limit_does_not_ask_for_ever(ground: Ground) -> None:
    began = clock.monotonic()
    finished = await ground.run("trap '' TERM; echo on; while :; do sleep 60; done", timeout=0.3)
    assert finished.timed_out
    assert finished.exit_code == 137
    assert finished.stdout.text == "on\n"
    assert clock.monotonic() - began < LIMIT


async def test_the_agent_limits_the_time(ground: Ground) -> None:
    assert (await ground.commands_to(limit=0.3).run(Command("sleep 60", timeout=50))).timed_out


DAEMON = "setsid setsid bash -c 'trap \"\" TERM HUP; sleep 1{0} & sleep 2{0} & wait' >/dev/null 2>&1 </dev/null & "


async def test_nothing_is_left_of_a_command(ground: Ground) -> None:
    marker = f"000.{os.getpid()}1"
    await ground.run(DAEMON.format(marker) + "sleep 0.3; true")
    await gone(marker)


async def test_a_cancel_ends_the_whole_tree(ground: Ground) -> None:
    marker = f"000.{os.getpid()}2"
    task = asyncio.create_task(ground.run(DAEMON.format(marker) + "sleep 60"))
    await present(f"sleep 2{marker}")
    began = clock.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(marker)
    assert clock.monotonic() - began < 0.5 * 10  # the p99 of many is measured in the robustness suite


async def test_a_full_workspace_stops_the_command(make: Make) -> None:
    ground = await make(quota=4 << 20)
    finished = await ground.run("head -c 20000000 /dev/zero > big; sleep 60", timeout=30)
    assert finished.over_quota
    assert not finished.timed_out
    with pytest.raises(PathRefused, match="full"):
        await ground.files.write("more", b"x")
    await ground.run("rm big")
    await ground.files.write("more", b"x")


async def test_limits_hold(make: Make) -> None:
    ground = await make(77, limits=Limits(file_size=1 << 20, open_files=32, processes=40))
    found = await ground.run("ulimit -f -n -c; head -c 5000000 /dev/zero > big; stat -c %s big")
    assert "1048576" in found.stdout.text
    assert "32" in found.stdout.text
    if os.geteuid() == 0:
        many = await ground.run("i=0; while :; do sleep 9 & i=$((i+1)); echo $i; done", interpreter="sh")
        assert 30 < int(lines(many)[-1]) < 40


# -- shells in the background ---------------------------------------------------------------


async def test_a_shell_in_the_background(ground: Ground) -> None:
    shell = await ground.commands.start(Command("echo one; echo two >&2; read -t 60 line < <(sleep 60)"))
    while "two" not in shell.ring.read(0):
        await shell.news(shell.ring.end, LIMIT)
    assert shell.running
    assert sorted(shell.ring.read(0).split()) == ["one", "two"]
    assert shell.ring.read(0, errors=False) == "one\n"
    assert shell.ring.read(shell.ring.end) == ""
    shell.signal(15)
    assert await shell.ended(LIMIT)
    assert shell.exit_code == 143
    assert ground.shells.get(shell.id) is shell


async def test_a_shell_outlives_the_turn_that_closes_its_workspace(ground: Ground) -> None:
    shell = await ground.commands.start(Command("sleep 0.2; echo late > late; cat late"), "mine")
    ground.files.close()
    assert await shell.ended(LIMIT)
    assert (shell.id, shell.exit_code, shell.ring.read(0)) == ("mine", 0, "late\n")


async def test_shells_are_bounded_and_end_together(ground: Ground) -> None:
    marker = f"000.{os.getpid()}3"
    for _ in range(MAX_SHELLS):
        await ground.commands.start(Command(f"sleep 1{marker}"))
    with pytest.raises(errors.ResourceExhausted):
        await ground.commands.start(Command("true"))
    await ground.shells.aclose()
    await gone(marker)


@pytest.mark.parametrize("make", [Tier.STRONG], indirect=True)
async def test_a_box_ends_although_its_first_process_would_stay(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the wrong moment, bubblewrap leaves behind a process that has not yet asked to die with it."""
    flags = tuple(flag for flag in bubblewrap._FLAGS if flag != "--die-with-parent")
    monkeypatch.setattr(bubblewrap, "_FLAGS", flags)
    monkeypatch.setattr(cgroups, "_kill", lambda folder: None)  # they would end it, too, where there are groups
    marker = f"000.{os.getpid()}4"
    shell = await ground.commands.start(Command(f"sleep 1{marker}"))
    await present(marker)
    shell.kill()
    assert await shell.ended(LIMIT)
    await gone(marker)


async def test_a_running_name_is_taken(ground: Ground) -> None:
    shell = await ground.commands.start(Command("sleep 60"), "one")
    with pytest.raises(CommandRefused):
        await ground.commands.start(Command("true"), "one")
    shell.kill()
    assert await shell.ended(LIMIT)
    again = await ground.commands.start(Command("true"), "one")
    assert await again.ended(LIMIT)


# -- the way out --------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"you said " + await reader.readline())
    writer.close()


_CONNECT = (
    "exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'CONNECT {} HTTP/1.1\\r\\n\\r\\n' >&3; "
    'read -r line <&3; echo "$line"; read -r line <&3; echo hello >&3; read -r -t 5 line <&3; echo "$line"'
)


async def test_allowed_hosts(ground: Ground) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        commands = ground.commands_to(f"localhost:{port}", "192.0.2.1:9")
        if ground.tier is not Tier.STRONG:
            with pytest.raises(errors.SandboxUnavailable):
                await commands.run(Command("true"))
            return
        said = await commands.run(Command(_CONNECT.format(f"localhost:{port}"), timeout=LIMIT))
        assert "200 Connection established" in said.stdout.text
        assert "you said hello" in said.stdout.text
        for target in (f"127.0.0.1:{port}", "localhost:1", "192.0.2.1:9", "metadata.example:443"):
            said = await commands.run(Command(_CONNECT.format(target), timeout=LIMIT))
            assert "403 Forbidden" in said.stdout.text, target
        direct = await commands.run(Command(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo ESCAPED", timeout=LIMIT))
        assert "ESCAPED" not in direct.stdout.text
        assert "https_proxy=http://127.0.0.1:3128" in (await commands.run(Command("env"))).stdout.text


async def test_no_hosts_no_network(ground: Ground) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        found = await ground.run(
            f"(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo ESCAPED; (exec 3<>/dev/tcp/127.0.0.1/3128)"
        )
    assert found.stdout.text == ""
