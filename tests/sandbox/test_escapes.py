"""Ways out of a box, tried for real in every tier that is offered here.

Each script says ESCAPED when it got through. What takes long (bombs, races) is in the
robustness suite; that an ordinary user's server holds as well is tested by running
this file as one (robustness/test_ordinary_user.py)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sandbox.boxes import TIERS, Ground, Make, grounds, lines, outside, untouched

from asteros.sandbox.base import Command, Tier

pytestmark = pytest.mark.anyio


@pytest.fixture(params=TIERS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with grounds(request.param) as make:
        yield make


@pytest.fixture
async def ground(make: Make) -> Ground:
    return await make()


# -- files ---------------------------------------------------------------------------------

# $OUT is a folder of the host that anybody may read and write, $SECRET a file in it.
FILES = {
    "dot-dot": 'up=$(printf "../%.0s" $(seq 20)); cat "$up$SECRET" && echo ESCAPED; echo x > "$up$OUT/new"',
    "above": "echo x > ../new && echo ESCAPED; ls ../../2 && echo ESCAPED",
    "absolute": 'cat "$SECRET" && echo ESCAPED; echo x > "$OUT/new" && echo ESCAPED; : > "$SECRET" && echo ESCAPED',
    "symbolic link": 'ln -s "$OUT" way; cat way/secret && echo ESCAPED; echo x > way/new && echo ESCAPED',
    "link in a folder": 'mkdir a; ln -s / a/root; cat "a/root$SECRET" && echo ESCAPED',
    "hard link": 'ln "$SECRET" mine && echo ESCAPED; ln -P "$SECRET" mine && echo ESCAPED',
    "/proc/self/root": 'cat "/proc/self/root$SECRET" && echo ESCAPED; cat "/proc/1/root$SECRET" && echo ESCAPED',
    "/proc/*/cwd": 'for i in /proc/[0-9]*; do cat "$i/root$SECRET" "$i/cwd/../../../../..$SECRET"; done',
    "rename away": 'touch t; mv t "$OUT/t" && echo ESCAPED; mv "$SECRET" here && echo ESCAPED',
    "delete": 'rm -f "$SECRET" && [ ! -e "$SECRET" ] && [ -d "$OUT" ] && echo ESCAPED; rmdir "$OUT" && echo ESCAPED',
    "permissions": 'chmod 600 "$SECRET"; chmod 700 "$OUT"; setfattr -n user.x -v y "$SECRET" && echo ESCAPED',
    "truncate": 'truncate -s 0 "$SECRET" && [ -d "$OUT" ] && echo ESCAPED',
    "archive": 'tar cf - "$OUT" 2>/dev/null | tar tf - | grep secret && echo ESCAPED',
}


@pytest.mark.parametrize("script", FILES.values(), ids=FILES)
async def test_files_of_the_host(ground: Ground, script: str) -> None:
    with outside() as folder:
        found = await ground.run(script, environment={"OUT": str(folder), "SECRET": f"{folder}/secret"})
        assert "ESCAPED" not in found.stdout.text
        assert "outside-content" not in found.stdout.text
        assert untouched(folder)


async def test_the_workspace_of_another_agent(make: Make) -> None:
    mine, other = await make(1), await make(2)
    await other.files.write("diary", b"of the other\n")
    script = "cat $THERE/diary ../2/diary /proc/*/cwd/diary; echo x > $THERE/new; ls -la $THERE ../2"
    found = await mine.run(script, environment={"THERE": str(other.folder)})
    assert "of the other" not in found.stdout.text
    assert "diary" not in found.stdout.text
    assert sorted(os.listdir(other.folder)) == ["diary"]


# -- the system ------------------------------------------------------------------------------

SYSTEM = {
    "/proc/sys": (
        "for f in kernel/core_pattern vm/swappiness kernel/hostname net/ipv4/ip_forward user/max_user_namespaces; do "
        "(: >> /proc/sys/$f) && echo ESCAPED; done"
    ),
    "/proc": "(: >> /proc/sysrq-trigger) && echo ESCAPED; (: >> /proc/kcore) && echo ESCAPED",
    "/sys": "(: >> /sys/power/state) && echo ESCAPED; ls /sys/fs/cgroup && echo ESCAPED",
    "write /": "(: > /new) && echo ESCAPED; mkdir /new && echo ESCAPED; (: > /etc/passwd) && echo ESCAPED",
    "write /usr": "(: > /usr/new) && echo ESCAPED; (: > /usr/bin/new) && echo ESCAPED; (: > /lib/new) && echo ESCAPED",
    "write /dev": "(: > /dev/new) && echo ESCAPED; mknod /dev/mem c 1 1; (: < /dev/mem) && echo ESCAPED",
    "device": "mknod here b 8 0 && echo ESCAPED; ls /dev | grep -E '^(sd|vd|nvme|kmsg|mem|kvm|fuse)' && echo ESCAPED",
    "/dev/shm": (
        "head -c 300000000 /dev/zero > /dev/shm/x; "
        "[ $(stat -c %s /dev/shm/x 2>/dev/null || echo 0) -le 16777216 ] || echo ESCAPED"
    ),
    "mount": (
        "mount -t tmpfs none /tmp && echo ESCAPED; mount --bind /usr /tmp && echo ESCAPED; umount /proc && echo ESCAPED"
    ),
    "namespaces": "for n in U m p n i u C Um Un Up; do unshare -$n true && echo ESCAPED; done",
    "chroot": "chroot / true && echo ESCAPED; nsenter -t 1 -m true && echo ESCAPED",
    "set-uid programs": (
        "for p in su sudo passwd newgrp mount; do command -v $p; done; "
        'cp /usr/bin/id . && chmod u+s id && [ "$(./id -u)" = 0 ] && echo ESCAPED; '
        'su -c id </dev/null 2>/dev/null | grep uid=0 && echo ESCAPED; [ "$(id -u)" = 0 ] && echo ESCAPED'
    ),
    "limits": "for l in c n v; do ulimit -$l 100000000 && echo ESCAPED; done",
    "priority": "nice -n -5 true 2>&1 | grep -q denied || [ $(nice -n -5 nice) -ge 0 ] || echo ESCAPED",
    "clock": "date -s 2001-01-01 && echo ESCAPED; hostname new && echo ESCAPED",
    "kernel log": "dmesg && echo ESCAPED",
    "LD_PRELOAD": "LD_PRELOAD=./x.so id -u | grep -x 0 && echo ESCAPED",
}


@pytest.mark.parametrize("script", SYSTEM.values(), ids=SYSTEM)
async def test_the_system(ground: Ground, script: str) -> None:
    assert "ESCAPED" not in (await ground.run(script)).stdout.text


async def test_secrets_of_the_server(ground: Ground) -> None:
    """M18, M30: neither its environment nor its command line, nor paths of the host in one."""
    own = Path("/proc/self/environ").read_bytes().decode(errors="replace").split("\0")
    secrets = [entry for entry in own if len(entry.partition("=")[2]) > 8 and not entry.startswith("PATH=")]
    commands = Path("/proc/self/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    found = await ground.run(
        'for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr "\\0" " " < "$f"; echo; done; env'
    )
    text = found.stdout.text
    assert [entry for entry in secrets if entry in text] == []
    assert commands not in text
    if ground.tier is Tier.STRONG:  # the others run in the folder itself
        assert "aster-box-" not in text


async def test_capabilities(ground: Ground) -> None:
    facts = await ground.run("cat /proc/self/status")
    if ground.tier is Tier.STRONG:
        assert "NoNewPrivs:\t1" in lines(facts)
        assert "Seccomp:\t2" in lines(facts)
        for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
            assert f"Cap{name}:\t0000000000000000" in lines(facts)
    else:
        assert facts.stdout.text == ""  # no view of /proc at all


# -- processes ----------------------------------------------------------------------------------


async def test_the_server_cannot_be_signalled(ground: Ground) -> None:
    script = "for s in 0 15 9; do kill -$s $SERVER && echo ESCAPED; done; kill -9 -$GROUP && echo ESCAPED"
    facts = {"SERVER": str(os.getpid()), "GROUP": str(os.getpgrp())}
    assert "ESCAPED" not in (await ground.run(script, environment=facts)).stdout.text


async def test_killing_everybody_ends_the_box_alone(make: Make) -> None:
    mine, other = await make(1), await make(2)
    shells = [await one.commands.start(Command("echo up; sleep 60")) for one in (mine, other)]
    for shell in shells:
        await shell.news(0, 10)
    await mine.run("kill -9 -1; kill -15 -1", timeout=10)
    assert [shell.running for shell in shells] == [True, True]


# -- the network ----------------------------------------------------------------------------------


async def test_network(ground: Ground) -> None:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        for one in (tcp, udp):
            one.setblocking(False)
        port = tcp.getsockname()[1]
        script = (
            f"(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo ESCAPED; echo x > /dev/udp/127.0.0.1/{port}; "
            "(exec 3<>/dev/tcp/192.0.2.1/80) && echo ESCAPED; (exec 3<>/dev/tcp/169.254.169.254/80) && echo ESCAPED; "
            f"for a in $(hostname -I); do (exec 3<>/dev/tcp/$a/{port}) && echo ESCAPED; done; true"
        )
        found = await ground.run(script)
        assert "ESCAPED" not in found.stdout.text
        with pytest.raises(BlockingIOError):
            tcp.accept()
        with pytest.raises(BlockingIOError):
            udp.recv(1)


PYTHON = "/usr/bin/python3"
needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is not there to make system calls with")

_SOCKETS = """
import socket
for family, address in ((socket.AF_UNIX, "\\0{name}"), (socket.AF_UNIX, "{path}"), (socket.AF_UNIX, "/run/docker.sock"),
                        (socket.AF_UNIX, "/var/run/postgresql/.s.PGSQL.5432"), (40, (2, 1024)), (40, (1, 1024))):
    try:
        s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(1); s.connect(address); print("ESCAPED", address)
    except OSError as e:
        print(e.errno)
for family, kind, protocol in ((17, 3, 3), (2, 3, 255), (38, 5, 0), (16, 3, 9)):  # packet, raw, crypto, audit
    try:
        s = socket.socket(family, kind, protocol)
        if family != 16: print("ESCAPED", family)
    except OSError as e:
        print(e.errno)
"""


@needs_python
async def test_unix_and_other_sockets(ground: Ground) -> None:
    with outside() as folder, contextlib.ExitStack() as stack:
        name, path = f"aster-{os.getpid()}", folder / "s.sock"
        for address in (f"\0{name}", str(path)):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        path.chmod(0o777)
        await ground.files.write("s.py", _SOCKETS.format(name=name, path=path).encode())
        found = await ground.run(f"{PYTHON} s.py")
        assert found.exit_code == 0, found.stderr.text
        assert "ESCAPED" not in found.stdout.text


# -- system calls -----------------------------------------------------------------------------------

_CALLS = """
import ctypes, errno, os, platform
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments or (0,) * 6))
    print(name, "ESCAPED" if result >= 0 else errno.errorcode[ctypes.get_errno()])
numbers = {
    "io_uring_setup": (425, 425), "bpf": (321, 280), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "swapon": (167, 224), "reboot": (169, 142), "init_module": (175, 105),
    "kexec_load": (246, 104), "kcmp": (312, 272), "clock_settime": (227, 112), "acct": (163, 89), "chroot": (161, 51),
}
for name, (first, second) in numbers.items():
    call(name, first if x86 else second)
call("clone3", 435)
for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000)):
    call("clone " + name, 56 if x86 else 220, flag | 17, 0, 0, 0, 0)
import fcntl, pty
for fd in (0, 1):
    try:
        fcntl.ioctl(fd, 0x5412, b"x"); print("TIOCSTI ESCAPED")
    except OSError as e:
        print("TIOCSTI", errno.errorcode[e.errno])
fd = os.memfd_create("program")
with open("/usr/bin/id", "rb") as program:
    os.write(fd, program.read())
os.execve(fd, ["id", "-u"], {})
"""


@needs_python
async def test_system_calls(ground: Ground) -> None:
    await ground.files.write("calls.py", _CALLS.encode())
    found = await ground.run(f"{PYTHON} -u calls.py")
    *answers, uid = lines(found)
    assert len(answers) == 29 + 1 + 4 + 2, found.stderr.text
    expected = {"clone3 ENOSYS", *(line for line in answers if line.endswith(" EPERM"))}
    assert set(answers) == expected
    # A program in memory may run; it is who the others are.
    assert int(uid) == ground.folder.stat().st_uid


@needs_python
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the 32-bit way in is one of x86-64")
async def test_calls_of_another_architecture_end_the_process(ground: Ground) -> None:
    """getpid by its x32 number: the same machine, other numbers."""
    script = "import ctypes; print('at'); print('ESCAPED', ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39)))"
    found = await ground.run(f'{PYTHON} -uc "{script}"')
    assert found.stdout.text == "at\n"
    assert found.exit_code == 128 + 31  # SIGSYS


@needs_python
async def test_siblings_cannot_be_traced(ground: Ground) -> None:
    script = (
        "sleep 60 & other=$!; "
        f"{PYTHON} -c 'import ctypes, sys; print(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0))' $other; "
        "kill $other"
    )
    assert (await ground.run(script)).stdout.text == "-1\n"


# -- repositories -------------------------------------------------------------------------------------


async def test_hooks_of_a_repository(ground: Ground) -> None:
    """M27. The medium tier cannot take a part out of the workspace; what holds everywhere is that
    the server starts nothing in a workspace but the box (test_one_door.py)."""
    await ground.run("git init -q . ; touch .git/description")
    script = (
        "echo x > .git/hooks/pre-commit && echo ESCAPED; echo x >> .git/config && echo ESCAPED; "
        "mv .git g2 && echo ESCAPED; rm -rf .git/hooks && echo ESCAPED; mv .git/hooks h && echo ESCAPED; "
        "ln -sf /tmp .git/hooks/x && echo ESCAPED; git config core.hooksPath /tmp && echo ESCAPED; "
        "git -c user.name=a -c user.email=b@c commit -q --allow-empty -m works && echo works"
    )
    found = await ground.run(script)
    if ground.tier is Tier.STRONG:
        assert found.stdout.text == "works\n"


async def test_a_link_in_place_of_a_repository(ground: Ground) -> None:
    with outside() as folder:
        for make in (
            f"ln -s {folder} .git",
            f"mkdir .git; ln -s {folder} .git/hooks; ln -s {folder}/secret .git/config",
        ):
            await ground.run(f"rm -rf .git; {make}")
            found = await ground.run(
                "cat .git/secret .git/config .git/hooks/secret; echo x > .git/new; echo x > .git/hooks/new"
            )
            assert "outside-content" not in found.stdout.text
            assert untouched(folder)


async def test_a_repository_that_changes_while_boxes_are_shut(ground: Ground) -> None:
    """A shell swaps .git for a link, over and over, while other boxes bind it."""
    with outside() as folder:
        swap = "mv -T real .git; mv -T .git real; mv -T way .git; mv -T .git way"
        script = f"mkdir -p real/hooks; ln -s {folder} way; while :; do {swap}; done"
        shell = await ground.commands.start(Command(script))
        for _ in range(15):
            with contextlib.suppress(Exception):  # a box that could not be shut is as good
                found = await ground.run("cat .git/secret; echo x > .git/new; echo x > .git/hooks/new")
                assert "outside-content" not in found.stdout.text
        assert shell.running
        shell.kill()
        assert await shell.ended(10)
        assert untouched(folder)


async def test_many_boxes_at_once(ground: Ground) -> None:
    found = await asyncio.gather(*(ground.out(f"echo {number}") for number in range(12)))
    assert found == [f"{number}\n" for number in range(12)]
